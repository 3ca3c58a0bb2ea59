//! Find and replace over files: all that a call changes, or nothing.
//!
//! Without `apply` a call changes nothing and shows what it would change.

use crate::answer::count_of;
use crate::content::Content;
use crate::diff::{CONTEXT_LINES_DEFAULT, Unified};
use crate::edit::{Edit, Original, write_all};
use crate::error::SearchError;
use crate::limit::{
    ANSWER_BYTES_MAX, EDIT_BYTES_MAX, EDIT_FILE_BYTES_MAX, EDIT_FILES_MAX, Limit, PATTERN_BYTES_MAX,
    REGEX_BYTES_MAX,
};
use crate::query::{ToText, Tool, default_path, stopped};
use crate::root::{Located, Root};
use crate::walk::{Counts, Filter, FoundFile, Search, Skipped, Visit, Walk, check_length};
use orchestrator_worker::Scope;
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// Options of find and replace. `pattern` and `replacement` are required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ReplaceOptions")]
pub struct Options {
    /// What to find: a regular expression as in ripgrep, or plain text with `fixedStrings`.
    pub pattern: String,
    /// What to put in its place. `$1` and `${name}` stand for groups, `$$` for a dollar sign; with `fixedStrings` it is
    /// taken as it is.
    pub replacement: String,
    /// The folder or file, relative to the project or absolute.
    #[serde(default = "default_path")]
    pub path: String,
    /// Write the changes. Without it nothing is changed, and the answer shows what would be.
    #[serde(default)]
    pub apply: bool,
    /// Take `pattern` and `replacement` as plain text.
    #[serde(default)]
    pub fixed_strings: bool,
    /// Match upper and lower case alike.
    #[serde(default)]
    pub ignore_case: bool,
    /// Match whole words only.
    #[serde(default)]
    pub word: bool,
    /// Let a match span lines.
    #[serde(default)]
    pub multiline: bool,
    /// Only files that match one of these globs, as in a .gitignore; `!` leaves files out.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Hidden files and folders too.
    #[serde(default)]
    pub hidden: bool,
    /// Files that ignore files hide too.
    #[serde(default)]
    pub no_ignore: bool,
}

/// A file that was, or would be, changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditedFile {
    /// Path relative to the project, with `/`.
    pub path: String,
    /// How many replacements there are in it.
    pub replacements: u64,
    /// How many lines were added.
    pub added: u64,
    /// How many lines were removed.
    pub removed: u64,
}

/// The answer of an editing tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EditAnswer")]
pub struct Answer {
    /// Whether the changes were written: all of them, or, without `apply`, none.
    pub applied: bool,
    /// The files, sorted by path; all of them, however much of `diff` was cut.
    pub files: Vec<EditedFile>,
    /// What was, or would be, changed, as a unified diff.
    pub diff: String,
    /// The limits that were met; empty when `diff` is whole and every file was looked at.
    pub limits: Vec<Limit>,
    /// How many files were searched.
    pub files_searched: u64,
    /// Files that were left out, by reason.
    pub skipped: Skipped,
}

impl ToText for Answer {
    fn to_text(&self) -> String {
        let mut text = self.diff.clone();
        let replacements = self.files.iter().map(|file| file.replacements).sum();
        // Writing to a `String` does not fail.
        let _infallible = write!(
            text,
            "({}: {} in {}; {} searched)",
            if self.applied { "written" } else { "dry run, nothing was changed" },
            count_of(replacements, "replacement", "replacements"),
            count_of(self.files.len() as u64, "file", "files"),
            count_of(self.files_searched, "file", "files"),
        );
        if self.limits.contains(&Limit::AnswerBytes) {
            text.push_str("\n[the diff is cut; all files:");
            for EditedFile { path, replacements, .. } in &self.files {
                let _infallible = write!(text, " {path} ({replacements})");
            }
            text.push(']');
        }
        if self.skipped.too_large > 0 {
            let _infallible = write!(
                text,
                "\n[{} too large to be edited]",
                count_of(self.skipped.too_large, "file", "files")
            );
        }
        if self.skipped.unreadable > 0 {
            let _infallible = write!(
                text,
                "\n[{} left out: not text in UTF-8 or UTF-16]",
                count_of(self.skipped.unreadable, "file", "files")
            );
        }
        if !self.applied && !self.files.is_empty() {
            text.push_str("\n[call again with apply: true to write this]");
        }
        text.push('\n');
        text
    }
}

/// What an editing tool does with the text of one file.
pub(crate) trait Rewrite: Send + Sync + 'static {
    /// Returns whether a file of this path can be changed, judged by its name.
    fn is_for(&self, relative: &str) -> bool;
    /// Returns whether a file with these bytes can hold a match. Cheap, and need not be right when it says yes.
    fn may_match(&self, bytes: &[u8]) -> bool;
    /// Returns whether it has to parse most files; see [`Visit::is_heavy`].
    fn is_heavy(&self) -> bool {
        false
    }
    /// Returns the new text and how many replacements it has; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Limit`] when the text cannot be looked through, or when it is stopped.
    fn rewrite(
        &self,
        text: &str,
        line_end: &str,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<(String, u64)>, Limit>;
}

/// A walk that edits what it finds, in the end.
pub(crate) struct Editing<R> {
    root: Root,
    apply: bool,
    rewrite: R,
    planned: Mutex<Planned>,
}

#[derive(Default)]
struct Planned {
    edits: BTreeMap<String, (Edit, u64)>,
    size_bytes: u64,
    /// The first error; nothing is written then.
    error: Option<SearchError>,
    result: Option<Result<Outcome, SearchError>>,
}

struct Outcome {
    files: Vec<EditedFile>,
    diff: String,
    is_cut: bool,
}

impl<R: Rewrite> Editing<R> {
    /// Prepares a walk over what `path`, `globs` and the rest choose.
    pub(crate) fn walk(
        root: &Root,
        rewrite: R,
        apply: bool,
        (path, globs, hidden, no_ignore): (&str, &[String], bool, bool),
    ) -> Result<Walk<Editing<R>>, SearchError> {
        let base = root.find(path)?;
        let filter = Filter::compile(&base.path, globs, &[], hidden, no_ignore)?;
        let planned = Mutex::new(Planned::default());
        Ok(Walk::new(base, filter, Editing { root: root.clone(), apply, rewrite, planned }))
    }

    fn plan(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) -> Result<(), SearchError> {
        let Some(content) = Content::open(file, EDIT_FILE_BYTES_MAX, counts) else { return Ok(()) };
        let is_large = matches!(content, Content::Large(..));
        let bytes = content.whole();
        let is_utf16 =
            bytes.as_ref().is_ok_and(|bytes| matches!(**bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]));
        if !is_utf16 && bytes.as_ref().is_ok_and(|bytes| !self.rewrite.may_match(bytes)) {
            Counts::add(&counts.searched);
            return Ok(());
        }
        drop(bytes);
        let located = Located { folder: file.folder.clone(), path: file.path(), is_folder: false };
        let original = match Original::read(&self.root, located) {
            Ok(original) => original,
            Err(SearchError::NotText { .. }) => {
                Counts::add(if is_utf16 { &counts.unreadable } else { &counts.binary });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if is_large {
            file.leave_rest();
        }
        let line_end = original.line_end();
        let rewritten = match self.rewrite.rewrite(&original.text, line_end, &|| scope.is_stopped()) {
            Ok(rewritten) => rewritten,
            Err(_limit) => {
                Counts::add(&counts.too_deep);
                return Ok(());
            }
        };
        Counts::add(&counts.searched);
        let Some((text, replacements)) = rewritten else { return Ok(()) };
        let mut planned = self.planned.lock();
        planned.size_bytes += text.len() as u64;
        if planned.size_bytes > EDIT_BYTES_MAX {
            return Err(SearchError::TooLarge { path: file.relative.to_owned(), max: EDIT_BYTES_MAX });
        }
        planned.edits.insert(file.relative.to_owned(), (Edit { original, text }, replacements));
        if planned.edits.len() > EDIT_FILES_MAX {
            return Err(SearchError::TooManyFiles { max: EDIT_FILES_MAX });
        }
        Ok(())
    }

    fn finish(&self, scope: &Scope<'_>) -> Result<Outcome, SearchError> {
        let (edits, error) = {
            let mut planned = self.planned.lock();
            (std::mem::take(&mut planned.edits), planned.error.take())
        };
        if let Some(error) = error {
            return Err(error);
        }
        let mut unified = Unified::new(CONTEXT_LINES_DEFAULT, ANSWER_BYTES_MAX / 2);
        let mut files = Vec::with_capacity(edits.len());
        for (path, (edit, replacements)) in &edits {
            if scope.is_stopped() {
                return Err(stopped());
            }
            let names = [format!("a/{path}"), format!("b/{path}")];
            let change =
                unified.add(&names[0], &names[1], edit.original.text.as_bytes(), edit.text.as_bytes());
            files.push(EditedFile {
                path: path.clone(),
                replacements: *replacements,
                added: change.added,
                removed: change.removed,
            });
        }
        if self.apply {
            let edits: Vec<Edit> = edits.into_values().map(|(edit, _)| edit).collect();
            write_all(&edits, scope)?;
        }
        Ok(Outcome { files, diff: unified.text, is_cut: unified.is_cut })
    }
}

impl<R: Rewrite> Visit for Editing<R> {
    fn wants_folder(&self, _relative: &str) -> bool {
        self.planned.lock().error.is_none()
    }

    fn wants_file(&self, relative: &str) -> bool {
        self.rewrite.is_for(relative) && self.planned.lock().error.is_none()
    }

    fn is_heavy(&self) -> bool {
        self.rewrite.is_heavy()
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        if let Err(error) = self.plan(file, counts, scope) {
            self.planned.lock().error.get_or_insert(error);
        }
    }
}

impl<R: Rewrite> Search for Editing<R> {
    type Answer = Answer;

    fn walked(&self, _counts: &Counts, scope: &Scope<'_>) {
        let result = self.finish(scope);
        self.planned.lock().result = Some(result);
    }

    fn answer(&self, counts: &Counts, _timed_out: bool) -> Result<Answer, SearchError> {
        // An edit of what was found by then would be half an edit.
        let outcome = self.planned.lock().result.take().unwrap_or_else(|| Err(stopped()))?;
        let skipped = counts.skipped();
        let mut limits = Vec::new();
        for (is_met, limit) in [
            (outcome.is_cut, Limit::AnswerBytes),
            (counts.below_depth.load(Ordering::Relaxed), Limit::TreeDepth),
            (skipped.too_large > 0, Limit::FileBytes),
            (skipped.too_deep > 0, Limit::SyntaxDepth),
        ] {
            if is_met {
                limits.push(limit);
            }
        }
        Ok(Answer {
            applied: self.apply,
            files: outcome.files,
            diff: outcome.diff,
            limits,
            files_searched: counts.searched.load(Ordering::Relaxed),
            skipped,
        })
    }
}

/// Find and replace with a regular expression.
pub(crate) struct Replacing {
    regex: Regex,
    /// The same over bytes, for a look at a file that was not decoded.
    bytes: regex::bytes::Regex,
    replacement: String,
    is_literal: bool,
    multiline: bool,
}

/// The tool.
pub(crate) struct Replace;

impl Tool for Replace {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Editing<Replacing>>;

    fn prepare(root: &Root, options: Options) -> Result<Self::Work, SearchError> {
        check_length("pattern", options.pattern.len(), PATTERN_BYTES_MAX)?;
        check_length("replacement", options.replacement.len(), PATTERN_BYTES_MAX)?;
        let replacing = Replacing::compile(&options)?;
        let chosen = (options.path.as_str(), options.globs.as_slice(), options.hidden, options.no_ignore);
        Editing::walk(root, replacing, options.apply, chosen)
    }
}

impl Replacing {
    fn compile(options: &Options) -> Result<Replacing, SearchError> {
        if options.pattern.is_empty() {
            let reason = "is empty and would match everywhere; say what to find".to_owned();
            return Err(SearchError::BadPattern { reason });
        }
        let mut pattern =
            if options.fixed_strings { regex::escape(&options.pattern) } else { options.pattern.clone() };
        if options.word {
            pattern = format!(r"\b(?:{pattern})\b");
        }
        let bad = |error: regex::Error| SearchError::BadPattern {
            reason: format!("{error}; correct the expression, or set fixedStrings to find it as plain text"),
        };
        let regex = RegexBuilder::new(&pattern)
            .case_insensitive(options.ignore_case)
            .multi_line(true)
            .crlf(true)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(bad)?;
        let bytes = regex::bytes::RegexBuilder::new(&pattern)
            .case_insensitive(options.ignore_case)
            .multi_line(true)
            .crlf(true)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(bad)?;
        if !options.fixed_strings {
            check_groups(&options.replacement, &regex)?;
        }
        Ok(Replacing {
            regex,
            bytes,
            replacement: options.replacement.clone(),
            is_literal: options.fixed_strings,
            multiline: options.multiline,
        })
    }

    /// Adds `text` with its matches replaced to `out`; returns how many there were.
    fn replace_in(&self, text: &str, replacement: &str, out: &mut String) -> u64 {
        let (mut count, mut at) = (0, 0);
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(&text[at..whole.start()]);
            if self.is_literal {
                out.push_str(replacement);
            } else {
                captures.expand(replacement, out);
            }
            at = whole.end();
            count += 1;
        }
        out.push_str(&text[at..]);
        count
    }
}

impl Rewrite for Replacing {
    fn is_for(&self, _relative: &str) -> bool {
        true
    }

    fn may_match(&self, bytes: &[u8]) -> bool {
        // With `\r\n` as line ends the text is searched otherwise than it lies there.
        self.bytes.is_match(bytes) || (self.multiline && bytes.contains(&b'\r'))
    }

    fn rewrite(
        &self,
        text: &str,
        line_end: &str,
        _is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<(String, u64)>, Limit> {
        // In a file all of whose lines end in `\r\n` the pattern sees `\n` only, and new lines get their neighbours' end.
        let is_crlf = line_end == "\r\n";
        let mut out = String::with_capacity(text.len());
        let count = if self.multiline {
            let is_uniform = is_crlf && text.matches("\r\n").count() == text.matches('\n').count();
            if is_uniform {
                let mut plain = String::with_capacity(text.len());
                let count = self.replace_in(
                    &text.replace("\r\n", "\n"),
                    &self.replacement.replace("\r\n", "\n"),
                    &mut plain,
                );
                out = plain.replace('\n', "\r\n");
                count
            } else {
                self.replace_in(text, &self.replacement, &mut out)
            }
        } else {
            let replacement = if is_crlf {
                self.replacement.replace("\r\n", "\n").replace('\n', "\r\n")
            } else {
                self.replacement.clone()
            };
            let mut count = 0;
            for line in text.split_inclusive('\n') {
                let content = line.strip_suffix('\n').unwrap_or(line);
                let content = content.strip_suffix('\r').unwrap_or(content);
                count += self.replace_in(content, &replacement, &mut out);
                out.push_str(&line[content.len()..]);
            }
            count
        };
        Ok((count > 0 && out != text).then_some((out, count)))
    }
}

/// Refuses a replacement that names a group which the expression does not have; it would stand for nothing.
fn check_groups(replacement: &str, regex: &Regex) -> Result<(), SearchError> {
    let mut rest = replacement;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(name, _)| name);
        let name = braced.unwrap_or_else(|| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            &rest[..end.unwrap_or(rest.len())]
        });
        let is_known = match name.parse::<usize>() {
            Ok(index) => index < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|known| known == name),
        };
        // A dollar sign before anything else is one.
        if !name.is_empty() && !is_known {
            let reason = format!(
                "the pattern has no group {name:?}; write ${{1}}x for group 1 followed by x, and $$ for a dollar sign"
            );
            return Err(SearchError::BadOptions { path: "replacement".to_owned(), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pattern: &str, replacement: &str) -> Options {
        Options {
            pattern: pattern.to_owned(),
            replacement: replacement.to_owned(),
            path: ".".to_owned(),
            apply: false,
            fixed_strings: false,
            ignore_case: false,
            word: false,
            multiline: false,
            globs: Vec::new(),
            hidden: false,
            no_ignore: false,
        }
    }

    fn replaced(options: &Options, text: &str) -> Option<(String, u64)> {
        let replacing = Replacing::compile(options).unwrap();
        let rewritten = replacing.rewrite(text, crate::text::line_end(text), &|| false).unwrap();
        assert!(rewritten.is_none() || replacing.may_match(text.as_bytes()), "a match that the look missed");
        rewritten
    }

    /// Breaks if a replacement is not what the options say, or spoils what stands beside it.
    #[test]
    fn replaces_what_the_options_say() {
        let check = |options: Options, text: &str, expected: Option<(&str, u64)>| {
            let found = replaced(&options, text);
            assert_eq!(found.as_ref().map(|(text, count)| (text.as_str(), *count)), expected, "{options:?}");
        };
        check(options(r"(\w+)@(\w+)", "$2 at ${1}x"), "a@b c@d\n", Some(("b at ax d at cx\n", 2)));
        check(options(r"\s+$", ""), "a  \nb\t\n\n", Some(("a\nb\n\n", 2)));
        check(options("^", "> "), "a\nb\n", Some(("> a\n> b\n", 2)));
        check(options("a$", "b"), "a\r\na\r\n", Some(("b\r\nb\r\n", 2)));
        check(options("a", "b\nc"), "a\r\n", Some(("b\r\nc\r\n", 1)));
        check(options("a", "a"), "a\n", None);
        check(options("x", "y"), "a\n", None);
        check(
            Options { fixed_strings: true, ..options("a.b($1)", "$2.*") },
            "a.b($1) axb\n",
            Some(("$2.* axb\n", 1)),
        );
        check(Options { word: true, ..options("a", "b") }, "a ab ba a", Some(("b ab ba b", 2)));
        check(Options { ignore_case: true, ..options("é", "x") }, "É é", Some(("x x", 2)));
        let multiline = |pattern: &str, to: &str| Options { multiline: true, ..options(pattern, to) };
        check(multiline(r"a\nb", "c\nd"), "a\nb\n", Some(("c\nd\n", 1)));
        check(multiline(r"a\nb", "c\nd"), "a\r\nb\r\n", Some(("c\r\nd\r\n", 1)));
        check(Options { fixed_strings: true, ..multiline("a\nb", "c") }, "a\r\nb\r\n", Some(("c\r\n", 1)));
        check(multiline(r"(?s)\{.*\}", "{}"), "{\n1\n}\n", Some(("{}\n", 1)));
    }

    /// Breaks if a group that is not there is replaced by nothing, without a word.
    #[test]
    fn unknown_groups_are_refused() {
        for (replacement, is_known) in [
            ("$1", true),
            ("$1a", false),
            ("${1}a", true),
            ("$name", true),
            ("$2", true),
            ("$3", false),
            ("$$3 $ a$", true),
            ("${none}", false),
        ] {
            let compiled = Replacing::compile(&options("(a)(?<name>b)", replacement));
            assert_eq!(compiled.is_ok(), is_known, "{replacement}");
        }
    }
}
