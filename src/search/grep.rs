//! Text search with regular expressions.

use crate::answer::{Coverage, Cursor, column, count_of, show};
use crate::collect::Collector;
use crate::content::Content;
use crate::error::SearchError;
use crate::limit::{
    ANSWER_BYTES_MAX, CONTEXT_LINES_MAX, FILE_BYTES_MAX, Limit, PATTERN_BYTES_MAX, REGEX_BYTES_MAX,
    RESULTS_MAX,
};
use crate::pattern;
use crate::query::{ToText, Tool, check_range, default_path, default_results};
use crate::root::Root;
use crate::signature::{Need, Signature};
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk, check_length};
use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkFinish, SinkMatch,
};
use orchestrator_worker::Scope;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a text search returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// Every matching line.
    #[default]
    Lines,
    /// The path of every file with a match; the quickest.
    Files,
    /// Every file with a match, and how many of its lines match.
    Counts,
}

/// Options of a text search. Only `pattern` is required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GrepOptions")]
pub struct Options {
    /// What to look for: a regular expression in the syntax of Rust's regex crate (as ripgrep; no look-around, no
    /// back-references), or plain text with `fixedStrings`. At most 64 KiB.
    pub pattern: String,
    /// The folder or file to search, relative to the project root or absolute inside it.
    #[serde(default = "default_path")]
    pub path: String,
    /// Take `pattern` as plain text.
    #[serde(default)]
    pub fixed_strings: bool,
    /// Match upper and lower case alike.
    #[serde(default)]
    pub ignore_case: bool,
    /// Match upper and lower case alike if `pattern` has no upper-case letter.
    #[serde(default)]
    pub smart_case: bool,
    /// Match whole words only.
    #[serde(default)]
    pub word: bool,
    /// Let a match span lines; `\n` may then be used in `pattern`. Reads whole files.
    #[serde(default)]
    pub multiline: bool,
    /// Search only files that match one of these globs, relative to `path`, as in a .gitignore: `*.ts`, `src/**`. A
    /// leading `!` leaves files out. What ignore files hide stays hidden.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Search only files of these types, by ripgrep's names: `rust`, `ts`, `py`.
    #[serde(default)]
    pub types: Vec<String>,
    /// Search hidden files and folders too (names that begin with a dot), except `.git`.
    #[serde(default)]
    pub hidden: bool,
    /// Search files that .gitignore, .ignore and the like hide.
    #[serde(default)]
    pub no_ignore: bool,
    /// Search what `globs` name although ignore files or a leading dot hide it, as with ripgrep's `--glob`.
    #[serde(default)]
    pub override_ignore: bool,
    /// Lines to show before each match, 0 to 20.
    #[serde(default)]
    #[schemars(range(min = 0, max = 20))]
    pub before_context: u32,
    /// Lines to show after each match, 0 to 20.
    #[serde(default)]
    #[schemars(range(min = 0, max = 20))]
    pub after_context: u32,
    /// What to return.
    #[serde(default)]
    pub output: Output,
    /// How many results to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = RESULTS_MAX))]
    pub max_results: u32,
    /// Return the results after this place: `next` of an earlier answer to the same options.
    #[serde(default)]
    pub after: Option<Cursor>,
}

/// A matching line, or several when the match spans lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GrepMatch")]
pub struct Match {
    /// Path relative to the project root, with `/`.
    pub path: String,
    /// Line of the match, from 1.
    pub line: u64,
    /// Column of the first match in the line, from 1, in UTF-16 units.
    pub column: u64,
    /// The line without its end; invalid UTF-8 replaced, and cut to 2,000 characters around the match.
    pub text: String,
    /// The lines before it, as many as `beforeContext` asks for and no other result shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// The lines after it, as many as `afterContext` asks for and no other result shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// A file with a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileMatch {
    /// Path relative to the project root, with `/`.
    pub path: String,
    /// How many of its lines match; only with `output: "counts"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl FileMatch {
    /// Writes `path`, or `path: count`.
    pub(crate) fn write_text(&self, text: &mut String) {
        // Writing to a `String` does not fail.
        let _infallible = match self.count {
            Some(count) => writeln!(text, "{}: {count}", self.path),
            None => writeln!(text, "{}", self.path),
        };
    }
}

/// The answer of a text search, sorted by path, then line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GrepAnswer")]
pub struct Answer {
    /// The matching lines, with `output: "lines"`; empty otherwise.
    pub matches: Vec<Match>,
    /// The files, with `output: "files"` or `"counts"`; empty otherwise.
    pub files: Vec<FileMatch>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// Returns the answer as a model reads it: `path:line: text`, context as `path-line- text`, and a last line that
    /// says what was found and what was cut.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for found in &self.matches {
            let Match { path, line, .. } = found;
            // Writing to a `String` does not fail.
            for (before, line) in found.before.iter().zip(line - found.before.len() as u64..) {
                let _infallible = writeln!(text, "{path}-{line}- {before}");
            }
            let mut end = *line;
            for (shown, line) in found.text.split('\n').zip(*line..) {
                let _infallible = writeln!(text, "{path}:{line}: {shown}");
                end = line;
            }
            for (after, line) in found.after.iter().zip(end + 1..) {
                let _infallible = writeln!(text, "{path}-{line}- {after}");
            }
        }
        for file in &self.files {
            file.write_text(&mut text);
        }
        let found = if self.files.is_empty() {
            count_of(self.matches.len() as u64, "match", "matches")
        } else {
            count_of(self.files.len() as u64, "file with matches", "files with matches")
        };
        self.coverage.write_text(&found, &mut text);
        text
    }
}

/// A prepared text search.
pub(crate) struct Grep {
    compiled: Arc<Compiled>,
    searcher: SearcherBuilder,
    /// How many lines are shown before and after a match.
    context: (u32, u32),
    options: Options,
    /// Kits not in use. At the end of the call they are kept, if they may be.
    idle: Mutex<Vec<Kit>>,
    lines: Collector<String, Match>,
    files: Collector<String, FileMatch>,
    is_line_cut: AtomicBool,
}

impl Tool for Grep {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Grep>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Grep>, SearchError> {
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        check_range("beforeContext", options.before_context, 0, CONTEXT_LINES_MAX)?;
        check_range("afterContext", options.after_context, 0, CONTEXT_LINES_MAX)?;
        let base = root.find(&options.path)?;
        let filter =
            Filter::compile(&base.path, &options.globs, &options.types, options.hidden, options.no_ignore)?;
        let filter = Filter { override_ignore: options.override_ignore, ..filter };
        let has_context = options.output == Output::Lines;
        let context = if has_context { (options.before_context, options.after_context) } else { (0, 0) };
        let mut searcher = SearcherBuilder::new();
        searcher
            .line_number(true)
            .multi_line(options.multiline)
            .binary_detection(BinaryDetection::quit(0))
            .before_context(context.0 as usize)
            .after_context(context.1 as usize);
        let count_max = options.max_results as usize;
        let syntax = Syntax {
            fixed_strings: options.fixed_strings,
            ignore_case: options.ignore_case,
            smart_case: options.smart_case,
            word: options.word,
            multiline: options.multiline,
        };
        let visitor = Grep {
            compiled: compile(&[&options.pattern], syntax)?,
            searcher,
            context,
            options,
            idle: Mutex::default(),
            lines: Collector::new(count_max, ANSWER_BYTES_MAX),
            files: Collector::new(count_max, ANSWER_BYTES_MAX),
            is_line_cut: AtomicBool::new(false),
        };
        Ok(Walk::new(base, filter, visitor))
    }

    /// Plain text in every file is soon prepared and soon looked for.
    fn brief_at(options: &Options) -> Option<&str> {
        let Options { pattern, globs, types, .. } = options;
        let is_plain = options.fixed_strings || !pattern.chars().any(regex_syntax::is_meta_character);
        let is_brief =
            is_plain && pattern.len() <= BRIEF_PATTERN_BYTES_MAX && globs.is_empty() && types.is_empty();
        (is_brief && !options.multiline).then_some(&options.path)
    }
}

/// The longest pattern that is dealt with on the caller's thread.
const BRIEF_PATTERN_BYTES_MAX: usize = 256;

impl Grep {
    fn is_open_to(&self, relative: &str) -> bool {
        let comes_after = |last: &String| relative > last.as_str();
        match self.options.output {
            Output::Lines => self.lines.is_open_to(comes_after),
            Output::Files | Output::Counts => self.files.is_open_to(comes_after),
        }
    }

    fn search(
        &self,
        file: &FoundFile<'_>,
        Kit { searcher, matcher }: &mut Kit,
        counts: &Counts,
        scope: &Scope<'_>,
    ) {
        let matcher = &*matcher;
        let Some(content) = Content::open(file, FILE_BYTES_MAX, counts) else { return };
        if matches!(content, Content::Large(..)) && scope.is_borrowed() {
            return scope.leave();
        }
        let mut sink = Collect {
            grep: self,
            matcher,
            path: file.relative,
            scope,
            matches: Vec::new(),
            size_bytes: 0,
            before: Vec::new(),
            count: 0,
            is_binary: false,
        };
        let fresh = || self.searcher.build();
        let searched = search_content(content, scope, (searcher, matcher), fresh, &mut sink);
        if searched.is_err() {
            // Unless the reader was stopped, which the job's end tells, the file could not be read to its end.
            if !scope.is_stopped() {
                Counts::add(&counts.unreadable);
            }
            return;
        }
        let Collect { matches, size_bytes, count, is_binary, .. } = sink;
        Counts::add(if is_binary { &counts.binary } else { &counts.searched });
        match self.options.output {
            Output::Lines if matches.is_empty() => {}
            Output::Lines => self.lines.offer(file.relative.to_owned(), matches, size_bytes),
            Output::Files | Output::Counts if count > 0 && !is_binary => {
                let count = (self.options.output == Output::Counts).then_some(count);
                let found = FileMatch { path: file.relative.to_owned(), count };
                let size_bytes = file_bytes(&found);
                self.files.offer(file.relative.to_owned(), vec![found], size_bytes);
            }
            Output::Files | Output::Counts => {}
        }
    }
}

impl Visit for Grep {
    fn wants_folder(&self, relative: &str) -> bool {
        !self.options.after.as_ref().is_some_and(|after| after.is_past_folder(relative))
            && self.is_open_to(relative)
    }

    fn wants_file(&self, relative: &str) -> bool {
        // Of the cursor's own file, lines after the cursor may follow; of a file given whole, nothing.
        let is_past = |after: &Cursor| match self.options.output {
            Output::Lines => relative < after.path.as_str(),
            Output::Files | Output::Counts => relative <= after.path.as_str(),
        };
        !self.options.after.as_ref().is_some_and(is_past) && self.is_open_to(relative)
    }

    fn may_match(&self, signature: &Signature) -> bool {
        signature.may_have(&self.compiled.need)
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        let idle = self.idle.lock().pop().or_else(|| take_kit(&self.compiled, self.context));
        let mut kit = idle.unwrap_or_else(|| Kit {
            searcher: self.searcher.build(),
            matcher: self.compiled.matcher.clone(),
        });
        self.search(file, &mut kit, counts, scope);
        self.idle.lock().push(kit);
    }
}

impl Drop for Grep {
    fn drop(&mut self) {
        if self.compiled.is_small {
            keep_kits(&self.compiled, self.context, std::mem::take(self.idle.get_mut()));
        }
    }
}

/// What one thread searches with. Each holds buffers and states of the search that are worth keeping; a matcher shared by
/// threads contends.
struct Kit {
    searcher: Searcher,
    matcher: RegexMatcher,
}

/// A kit that an earlier call has left, for the same expression and context.
struct KeptKit {
    compiled: Arc<Compiled>,
    context: (u32, u32),
    kit: Kit,
}

/// Kits of earlier calls, the one used last at the end.
static KITS: Mutex<Vec<KeptKit>> = Mutex::new(Vec::new());

/// How many are kept. Each has up to [`STATES_BYTES_MAX`], and a buffer of 64 KiB.
const KITS_MAX: usize = 8;

fn take_kit(compiled: &Arc<Compiled>, context: (u32, u32)) -> Option<Kit> {
    let mut kept = KITS.lock();
    let is_such = |kept: &KeptKit| Arc::ptr_eq(&kept.compiled, compiled) && kept.context == context;
    let place = kept.iter().rposition(is_such)?;
    Some(kept.remove(place).kit)
}

fn keep_kits(compiled: &Arc<Compiled>, context: (u32, u32), kits: Vec<Kit>) {
    let mut kept = KITS.lock();
    let keep = |kit| KeptKit { compiled: Arc::clone(compiled), context, kit };
    kept.extend(kits.into_iter().take(KITS_MAX).map(keep));
    let over = kept.len().saturating_sub(KITS_MAX);
    // Dropped when the lock is free again.
    let _old: Vec<_> = kept.drain(..over).collect();
}

impl Search for Grep {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let lines = self.lines.finish(|_, items| items, match_bytes, |_, _| false);
        let files = self.files.finish(|_, items| items, file_bytes, |_, _| false);
        let mut limits = Vec::new();
        if lines.over_count || files.over_count {
            limits.push(Limit::MaxResults);
        }
        if lines.over_size || files.over_size {
            limits.push(Limit::AnswerBytes);
        }
        if self.is_line_cut.load(Ordering::Relaxed) {
            limits.push(Limit::LineChars);
        }
        let next = match (lines.items.last(), files.items.last()) {
            (Some(last), _) => Some(Cursor { path: last.path.clone(), line: last.line, column: last.column }),
            (None, Some(last)) => Some(Cursor { path: last.path.clone(), line: 0, column: 0 }),
            (None, None) => None,
        };
        let coverage = Coverage::new(counts, limits, timed_out, next);
        Ok(Answer { matches: lines.items, files: files.items, coverage })
    }
}

/// How patterns are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syntax {
    pub(crate) fixed_strings: bool,
    pub(crate) ignore_case: bool,
    pub(crate) smart_case: bool,
    pub(crate) word: bool,
    pub(crate) multiline: bool,
}

/// A compiled expression, what each match of it must hold, and whether it may be kept for other calls.
pub(crate) struct Compiled {
    pub(crate) matcher: RegexMatcher,
    pub(crate) need: Need,
    is_small: bool,
}

/// The most that an expression takes which is kept.
const SMALL_BYTES_MAX: usize = 1024 * 1024;
/// The most that the states take which a search with such an expression makes as it goes.
const STATES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Compiles patterns into one that matches where any of them does. With `crlf`, `$` matches before `\r\n` too.
///
/// # Errors
///
/// [`SearchError::TooLong`] and [`SearchError::BadPattern`], about `pattern`.
pub(crate) fn compile(patterns: &[&str], syntax: Syntax) -> Result<Arc<Compiled>, SearchError> {
    for pattern in patterns {
        check_length("pattern", pattern.len(), PATTERN_BYTES_MAX)?;
        if pattern.is_empty() {
            return Err(SearchError::BadPattern {
                reason: "is empty and would match every line; say what to look for".to_owned(),
            });
        }
    }
    let key = format!("{syntax:?}{patterns:?}");
    let compiled = |matcher, is_small| {
        let need = Need::of(patterns, syntax.fixed_strings, syntax.ignore_case || syntax.smart_case);
        Compiled { matcher, need, is_small }
    };
    let small = || {
        let matcher = build(patterns, syntax, SMALL_BYTES_MAX)?;
        Ok::<_, grep_regex::Error>(compiled(matcher, key.len() <= pattern::KEY_BYTES_MAX))
    };
    pattern::cached(&key, small).or_else(|_large_or_bad| {
        let matcher = build(patterns, syntax, REGEX_BYTES_MAX).map_err(|error| {
            let remedy = match error.kind() {
                grep_regex::ErrorKind::NotAllowed(_) => "set multiline to match across lines",
                grep_regex::ErrorKind::Regex(_)
                | grep_regex::ErrorKind::InvalidLineTerminator(_)
                | grep_regex::ErrorKind::Banned(_)
                | _ => "correct the expression, or set fixedStrings to search for it as plain text",
            };
            SearchError::BadPattern { reason: format!("{error}; {remedy}") }
        })?;
        Ok(Arc::new(compiled(matcher, false)))
    })
}

fn build(patterns: &[&str], syntax: Syntax, size_max: usize) -> Result<RegexMatcher, grep_regex::Error> {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .case_insensitive(syntax.ignore_case)
        .case_smart(syntax.smart_case)
        .fixed_strings(syntax.fixed_strings)
        .word(syntax.word)
        .size_limit(size_max)
        .dfa_size_limit(size_max.max(STATES_BYTES_MAX))
        .crlf(true)
        // Without a line terminator a match may span lines. In the other case it is told that it may not, and is
        // then searched for many lines at a time.
        .line_terminator(if syntax.multiline { None } else { Some(b'\n') });
    builder.build_many(patterns)
}

/// Returns what a match adds to the answer, roughly: its texts and the JSON around them.
pub(crate) fn match_bytes(found: &Match) -> usize {
    let context: usize = found.before.iter().chain(&found.after).map(|line| line_bytes(line)).sum();
    found.path.len() + found.text.len() + context + 64
}

fn line_bytes(line: &str) -> usize {
    line.len() + 4
}

pub(crate) fn file_bytes(found: &FileMatch) -> usize {
    found.path.len() + 32
}

/// Returns whether the bytes of a file are text as they are: without NUL, and without a mark of their encoding.
fn is_plain(bytes: &[u8]) -> bool {
    let has_mark = matches!(bytes, [0xef, 0xbb, 0xbf, ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    !has_mark && memchr::memchr(0, bytes).is_none()
}

/// Searches a file with `searcher` and `matcher`, a large one with a `fresh` searcher: how much one that was used reads at
/// a time depends on the lines it has seen, and so would what is found in a file before it turns out to be binary.
pub(crate) fn search_content<S: Sink<Error = io::Error>>(
    content: Content,
    scope: &Scope<'_>,
    (searcher, matcher): (&mut Searcher, &RegexMatcher),
    fresh: impl FnOnce() -> Searcher,
    sink: S,
) -> Result<(), io::Error> {
    match content {
        Content::Small(bytes) if is_plain(&bytes) => searcher.search_slice(matcher, &bytes, sink),
        Content::Small(bytes) => fresh().search_reader(matcher, &*bytes, sink),
        Content::Large(file, _) => {
            let reader = StoppableReader { file: file.take(FILE_BYTES_MAX), scope };
            fresh().search_reader(matcher, reader, sink)
        }
    }
}

/// Reads a file until the job is stopped.
struct StoppableReader<'a> {
    file: io::Take<File>,
    scope: &'a Scope<'a>,
}

impl Read for StoppableReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.scope.is_stopped() {
            return Err(io::Error::other("the search was stopped"));
        }
        self.file.read(buffer)
    }
}

/// Collects what the searcher finds in one file.
struct Collect<'a> {
    grep: &'a Grep,
    matcher: &'a RegexMatcher,
    path: &'a str,
    scope: &'a Scope<'a>,
    matches: Vec<Match>,
    size_bytes: usize,
    /// Lines that precede the next match.
    before: Vec<String>,
    count: u64,
    is_binary: bool,
}

impl Collect<'_> {
    fn show(&self, bytes: &[u8], around: usize) -> String {
        let shown = show(bytes, around);
        if shown.is_cut {
            self.grep.is_line_cut.store(true, Ordering::Relaxed);
        }
        shown.text
    }

    fn take_line(&mut self, line: u64, bytes: &[u8]) {
        let before = std::mem::take(&mut self.before);
        // A match that needs what surrounds the line is not found in the line alone; it is shown from its start.
        let start = self.matcher.find(bytes).ok().flatten().map_or(0, |found| found.start());
        let column = column(bytes, start);
        if self.grep.options.after.as_ref().is_some_and(|after| after.covers(self.path, line, column)) {
            return;
        }
        let text = if self.grep.options.multiline {
            self.show(bytes, start).replace("\r\n", "\n")
        } else {
            self.show(bytes, start)
        };
        self.matches.push(Match {
            path: self.path.to_owned(),
            line,
            column,
            text,
            before,
            after: Vec::new(),
        });
    }
}

impl Sink for &mut Collect<'_> {
    type Error = io::Error;

    fn matched(&mut self, _searcher: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        self.count += 1;
        let options = &self.grep.options;
        let goes_on = match options.output {
            Output::Files => false,
            Output::Counts => true,
            Output::Lines => {
                self.take_line(found.line_number().unwrap_or(0), found.bytes());
                // One more than asked for tells that there is more.
                self.matches.len() <= options.max_results as usize && self.size_bytes <= ANSWER_BYTES_MAX
            }
        };
        Ok(goes_on && !self.scope.is_stopped())
    }

    fn context(&mut self, _searcher: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        let line = self.show(context.bytes(), 0);
        match (context.kind(), self.matches.last_mut()) {
            (SinkContextKind::Before, _) => self.before.push(line),
            (SinkContextKind::After, Some(last)) => {
                self.size_bytes += line_bytes(&line);
                last.after.push(line);
            }
            // What follows a match that the cursor covers, and lines no option asks for.
            (SinkContextKind::After, None) | (SinkContextKind::Other, _) => {}
        }
        Ok(true)
    }

    fn finish(&mut self, _searcher: &Searcher, finish: &SinkFinish) -> Result<(), io::Error> {
        self.is_binary = finish.binary_byte_offset().is_some();
        Ok(())
    }
}
