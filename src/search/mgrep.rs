//! Text search for many patterns in one pass over the files.
//!
//! One expression made of all patterns finds the lines; which of the patterns are meant is asked of each such line only.

use crate::answer::{Coverage, Cursor, column, count_of, show};
use crate::collect::Collector;
use crate::content::Content;
use crate::error::SearchError;
use crate::grep::{
    Compiled, FileMatch, Match, Output, Syntax, compile, file_bytes, match_bytes, search_content,
};
use crate::limit::{ANSWER_BYTES_MAX, FILE_BYTES_MAX, Limit, PATTERNS_MAX, RESULTS_MAX};
use crate::query::{ToText, Tool, check_range, default_path};
use crate::root::Root;
use crate::signature::Signature;
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk, check_length};
use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};
use orchestrator_worker::Scope;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many results of each pattern a call returns unless it says otherwise.
const RESULTS_DEFAULT: u32 = 100;

/// Options of a search for many patterns. Only `patterns` is required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "MgrepOptions")]
pub struct Options {
    /// What to look for, 1 to 100 patterns: regular expressions in the syntax of Rust's regex crate (as ripgrep; no
    /// look-around, no back-references), or plain texts with `fixedStrings`. At most 64 KiB each.
    #[schemars(length(min = 1, max = PATTERNS_MAX))]
    pub patterns: Vec<String>,
    /// The folder or file to search, relative to the project root or absolute inside it.
    #[serde(default = "default_path")]
    pub path: String,
    /// Take `patterns` as plain text.
    #[serde(default)]
    pub fixed_strings: bool,
    /// Match upper and lower case alike.
    #[serde(default)]
    pub ignore_case: bool,
    /// Match upper and lower case alike where a pattern has no upper-case letter.
    #[serde(default)]
    pub smart_case: bool,
    /// Match whole words only.
    #[serde(default)]
    pub word: bool,
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
    /// What to return.
    #[serde(default)]
    pub output: Output,
    /// How many results of each pattern to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = RESULTS_MAX))]
    pub max_results: u32,
}

fn default_results() -> u32 {
    RESULTS_DEFAULT
}

/// What was found of one pattern, sorted by path, then line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatternMatches {
    /// The pattern.
    pub pattern: String,
    /// The matching lines, with `output: "lines"`; empty otherwise.
    pub matches: Vec<Match>,
    /// The files, with `output: "files"` or `"counts"`; empty otherwise.
    pub files: Vec<FileMatch>,
    /// Where the results that were cut begin: give this as `after` to `grep_search` with this pattern. `null` when
    /// nothing was cut, or when the time was over.
    pub next: Option<Cursor>,
}

/// The answer of a search for many patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MgrepAnswer")]
pub struct Answer {
    /// The results of each pattern, in the order of `patterns`. A line that several match is among the results of each.
    pub patterns: Vec<PatternMatches>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// Returns the answer as a model reads it: for each pattern a line that names it, then `path:line: text`; and a last
    /// line that says what was found and what was cut.
    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut results_count = 0;
        for PatternMatches { pattern, matches, files, next } in &self.patterns {
            let found = if files.is_empty() {
                count_of(matches.len() as u64, "match", "matches")
            } else {
                count_of(files.len() as u64, "file with matches", "files with matches")
            };
            results_count += matches.len() + files.len();
            // Writing to a `String` does not fail.
            let _infallible = write!(text, "## {pattern}: {found}");
            if let Some(cursor) = next {
                let _infallible =
                    write!(text, ", more with grep_search and after: {}", serde_json::json!(cursor));
            }
            text.push('\n');
            for Match { path, line, text: shown, .. } in matches {
                let _infallible = writeln!(text, "{path}:{line}: {shown}");
            }
            for file in files {
                file.write_text(&mut text);
            }
        }
        let found = format!(
            "{}, {}",
            count_of(self.patterns.len() as u64, "pattern", "patterns"),
            count_of(results_count as u64, "result", "results")
        );
        self.coverage.write_text(&found, &mut text);
        text
    }
}

/// One pattern, and what was found of it.
struct Needle {
    pattern: String,
    matcher: RegexMatcher,
    lines: Collector<String, Match>,
    files: Collector<String, FileMatch>,
}

impl Needle {
    /// Returns whether a result in the file or folder could still count.
    fn is_open_to(&self, output: Output, relative: &str) -> bool {
        let comes_after = |last: &String| relative > last.as_str();
        match output {
            Output::Lines => self.lines.is_open_to(comes_after),
            Output::Files | Output::Counts => self.files.is_open_to(comes_after),
        }
    }
}

/// What one worker searches with. A matcher shared by threads contends.
struct Kit {
    searcher: Searcher,
    any: RegexMatcher,
    each: Vec<RegexMatcher>,
}

/// A prepared search for many patterns.
pub(crate) struct Mgrep {
    any: Arc<Compiled>,
    needles: Vec<Needle>,
    searcher: SearcherBuilder,
    output: Output,
    count_max: usize,
    size_bytes_max: usize,
    idle: Mutex<Vec<Kit>>,
    is_line_cut: AtomicBool,
}

impl Tool for Mgrep {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Mgrep>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Mgrep>, SearchError> {
        check_length("patterns", options.patterns.len(), PATTERNS_MAX)?;
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        if options.patterns.is_empty() {
            return Err(SearchError::BadOptions {
                path: "patterns".to_owned(),
                reason: "is empty; say what to look for".to_owned(),
            });
        }
        let base = root.find(&options.path)?;
        let filter =
            Filter::compile(&base.path, &options.globs, &options.types, options.hidden, options.no_ignore)?;
        let syntax = Syntax {
            fixed_strings: options.fixed_strings,
            ignore_case: options.ignore_case,
            smart_case: options.smart_case,
            word: options.word,
            multiline: false,
        };
        let patterns: Vec<&str> = options.patterns.iter().map(String::as_str).collect();
        let each = patterns.iter().enumerate().map(|(index, pattern)| {
            compile(&[pattern], syntax).map_err(|error| about(error, &format!("patterns[{index}]")))
        });
        let each = each.collect::<Result<Vec<_>, SearchError>>()?;
        // Where case depends on the pattern, all lines are looked at that might match.
        let ignore_case = syntax.ignore_case || syntax.smart_case;
        let any = compile(&patterns, Syntax { ignore_case, smart_case: false, ..syntax })
            .map_err(|error| about(error, "patterns"))?;
        let count_max = options.max_results as usize;
        let size_bytes_max = ANSWER_BYTES_MAX / patterns.len();
        let needles = patterns.iter().zip(each).map(|(pattern, compiled)| Needle {
            pattern: (*pattern).to_owned(),
            matcher: compiled.matcher.clone(),
            lines: Collector::new(count_max, size_bytes_max),
            files: Collector::new(count_max, size_bytes_max),
        });
        let mut searcher = SearcherBuilder::new();
        searcher.line_number(true).binary_detection(BinaryDetection::quit(0));
        let visitor = Mgrep {
            any,
            needles: needles.collect(),
            searcher,
            output: options.output,
            count_max,
            size_bytes_max,
            idle: Mutex::new(Vec::new()),
            is_line_cut: AtomicBool::new(false),
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

impl Mgrep {
    fn search(&self, file: &FoundFile<'_>, kit: &mut Kit, counts: &Counts, scope: &Scope<'_>) {
        let Some(content) = Content::open(file, FILE_BYTES_MAX, counts) else { return };
        let open = self.needles.iter().map(|needle| needle.is_open_to(self.output, file.relative));
        let mut sink = Collect {
            mgrep: self,
            matchers: &kit.each,
            path: file.relative,
            scope,
            found: open.map(|is_open| Found { is_open, ..Found::default() }).collect(),
            is_binary: false,
        };
        let fresh = || self.searcher.build();
        let used = (&mut kit.searcher, &kit.any);
        if search_content(content, scope, used, fresh, &mut sink).is_err() {
            // Unless the reader was stopped, which the job's end tells, the file could not be read to its end.
            if !scope.is_stopped() {
                Counts::add(&counts.unreadable);
            }
            return;
        }
        let Collect { found, is_binary, .. } = sink;
        Counts::add(if is_binary { &counts.binary } else { &counts.searched });
        for (needle, found) in self.needles.iter().zip(found) {
            match self.output {
                Output::Lines if found.matches.is_empty() => {}
                Output::Lines => {
                    needle.lines.offer(file.relative.to_owned(), found.matches, found.size_bytes)
                }
                Output::Files | Output::Counts if found.count > 0 && !is_binary => {
                    let count = (self.output == Output::Counts).then_some(found.count);
                    let item = FileMatch { path: file.relative.to_owned(), count };
                    let size_bytes = file_bytes(&item);
                    needle.files.offer(file.relative.to_owned(), vec![item], size_bytes);
                }
                Output::Files | Output::Counts => {}
            }
        }
    }
}

impl Visit for Mgrep {
    fn wants_folder(&self, relative: &str) -> bool {
        self.wants_file(relative)
    }

    fn wants_file(&self, relative: &str) -> bool {
        self.needles.iter().any(|needle| needle.is_open_to(self.output, relative))
    }

    fn may_match(&self, signature: &Signature) -> bool {
        signature.may_have(&self.any.need)
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        let idle = self.idle.lock().pop();
        let mut kit = idle.unwrap_or_else(|| Kit {
            searcher: self.searcher.build(),
            any: self.any.matcher.clone(),
            each: self.needles.iter().map(|needle| needle.matcher.clone()).collect(),
        });
        self.search(file, &mut kit, counts, scope);
        self.idle.lock().push(kit);
    }
}

impl Search for Mgrep {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let mut limits = Vec::new();
        let mut is_cut = false;
        let patterns = self.needles.iter().map(|needle| {
            let lines = needle.lines.finish(|_, items| items, match_bytes, |_, _| false);
            let files = needle.files.finish(|_, items| items, file_bytes, |_, _| false);
            let is_over = [
                (lines.over_count || files.over_count, Limit::MaxResults),
                (lines.over_size || files.over_size, Limit::AnswerBytes),
            ];
            limits.extend(is_over.iter().filter(|(is_over, _)| *is_over).map(|(_, limit)| *limit));
            let is_over = is_over.iter().any(|(is_over, _)| *is_over);
            is_cut |= is_over;
            let last = match (lines.items.last(), files.items.last()) {
                (Some(last), _) => {
                    Some(Cursor { path: last.path.clone(), line: last.line, column: last.column })
                }
                (None, Some(last)) => Some(Cursor { path: last.path.clone(), line: 0, column: 0 }),
                (None, None) => None,
            };
            PatternMatches {
                pattern: needle.pattern.clone(),
                matches: lines.items,
                files: files.items,
                next: last.filter(|_| is_over && !timed_out),
            }
        });
        let patterns = patterns.collect();
        if self.is_line_cut.load(Ordering::Relaxed) {
            limits.push(Limit::LineChars);
        }
        let mut coverage = Coverage::new(counts, limits, timed_out, None);
        if is_cut && !timed_out {
            let hint = "for more of one pattern call grep_search with it and its next as after; or narrow path or globs";
            coverage.hint = Some(hint.to_owned());
        }
        Ok(Answer { patterns, coverage })
    }
}

/// Names the option that a mistake in a pattern is in.
fn about(error: SearchError, option: &str) -> SearchError {
    let option = option.to_owned();
    if let SearchError::BadPattern { reason } = error {
        SearchError::BadPatterns { option, reason }
    } else if let SearchError::TooLong { max, found, .. } = error {
        SearchError::TooLong { option, max, found }
    } else {
        error
    }
}

/// What was found of one pattern in one file.
#[derive(Default)]
struct Found {
    /// Whether results in this file could still count.
    is_open: bool,
    matches: Vec<Match>,
    size_bytes: usize,
    count: u64,
}

impl Found {
    fn wants_more(&self, mgrep: &Mgrep) -> bool {
        self.is_open
            && match mgrep.output {
                Output::Files => self.count == 0,
                Output::Counts => true,
                // One more than asked for tells that there is more.
                Output::Lines => {
                    self.matches.len() <= mgrep.count_max && self.size_bytes <= mgrep.size_bytes_max
                }
            }
    }
}

/// Collects what the searcher finds in one file.
struct Collect<'a> {
    mgrep: &'a Mgrep,
    matchers: &'a [RegexMatcher],
    path: &'a str,
    scope: &'a Scope<'a>,
    found: Vec<Found>,
    is_binary: bool,
}

impl Sink for &mut Collect<'_> {
    type Error = io::Error;

    fn matched(&mut self, _searcher: &Searcher, line: &SinkMatch<'_>) -> Result<bool, io::Error> {
        let bytes = line.bytes();
        for (found, matcher) in self.found.iter_mut().zip(self.matchers) {
            if !found.wants_more(self.mgrep) {
                continue;
            }
            let Some(place) = matcher.find(bytes).ok().flatten() else { continue };
            found.count += 1;
            if self.mgrep.output != Output::Lines {
                continue;
            }
            let shown = show(bytes, place.start());
            if shown.is_cut {
                self.mgrep.is_line_cut.store(true, Ordering::Relaxed);
            }
            let item = Match {
                path: self.path.to_owned(),
                line: line.line_number().unwrap_or(0),
                column: column(bytes, place.start()),
                text: shown.text,
                before: Vec::new(),
                after: Vec::new(),
            };
            found.size_bytes += match_bytes(&item);
            found.matches.push(item);
        }
        let goes_on = self.found.iter().any(|found| found.wants_more(self.mgrep));
        Ok(goes_on && !self.scope.is_stopped())
    }

    fn finish(&mut self, _searcher: &Searcher, finish: &SinkFinish) -> Result<(), io::Error> {
        self.is_binary = finish.binary_byte_offset().is_some();
        Ok(())
    }
}
