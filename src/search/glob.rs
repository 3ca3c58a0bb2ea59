//! File search by path.

use crate::answer::{Coverage, Cursor, count_of};
use crate::collect::Collector;
use crate::error::SearchError;
use crate::limit::{ANSWER_BYTES_MAX, GLOB_BYTES_MAX, Limit, RESULTS_MAX};
use crate::pattern;
use crate::query::{ToText, Tool, check_range, default_path, default_results};
use crate::root::Root;
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk, check_length};
use globset::{GlobBuilder, GlobMatcher};
use orchestrator_worker::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The order of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// By path.
    #[default]
    Path,
    /// By time of last change, latest first.
    Modified,
}

/// Options of a file search. Only `pattern` is required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GlobOptions")]
pub struct Options {
    /// A glob relative to `path`, such as `src/**`, `docs/*.md` or `*.{rs,toml}`. `*` and `?` stay within a folder,
    /// `**` as a whole name stands for any number of folders. A pattern without `/` matches names at any depth. At
    /// most 4 KiB.
    pub pattern: String,
    /// The folder to search, relative to the project root or absolute inside it.
    #[serde(default = "default_path")]
    pub path: String,
    /// List hidden files and folders too (names that begin with a dot), except `.git`.
    #[serde(default)]
    pub hidden: bool,
    /// List files that .gitignore, .ignore and the like hide.
    #[serde(default)]
    pub no_ignore: bool,
    /// Read `pattern` as ripgrep's `--glob`: it may begin with `!`, and what it matches is listed although ignore files
    /// or a leading dot hide it.
    #[serde(default)]
    pub override_ignore: bool,
    /// The order of the results.
    #[serde(default)]
    pub sort: Sort,
    /// How many results to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = RESULTS_MAX))]
    pub max_results: u32,
    /// Return the results after this place: `next` of an earlier answer to the same options.
    #[serde(default)]
    pub after: Option<Cursor>,
}

/// The answer of a file search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GlobAnswer")]
pub struct Answer {
    /// The files, relative to the project root, with `/`, in the order asked for.
    pub paths: Vec<String>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// Returns the answer as a model reads it: a path a line, and a last line that says what was cut.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for path in &self.paths {
            text.push_str(path);
            text.push('\n');
        }
        self.coverage.write_text(&count_of(self.paths.len() as u64, "file", "files"), &mut text);
        text
    }
}

/// A prepared file search.
pub(crate) struct Glob {
    /// `None` when the walk's filter does the matching.
    pattern: Option<Arc<Pattern>>,
    /// The base as shown, with a trailing `/` unless it is the root: what is cut off before the pattern is applied.
    base: String,
    options: Options,
    found: Collector<Key, ()>,
}

/// What results are sorted by: time, if that is the order, then path.
type Key = (Option<Reverse<u64>>, String);

struct Found {
    path: String,
    /// When it was last changed, if that is the order.
    modified: Option<u64>,
}

impl Found {
    fn of((modified, path): Key) -> Found {
        Found { path, modified: modified.map(|Reverse(modified)| modified) }
    }
}

/// A compiled glob.
struct Pattern {
    matcher: GlobMatcher,
    /// What every match ends with, which is sooner told than whether it is one.
    tail: String,
    /// Whether all that ends so is a match.
    is_tail_enough: bool,
    /// Whether names are matched, at any depth, and not paths.
    names_only: bool,
    /// What the folders on the way to a match are called, from the base on, as far as that is fixed.
    folders: Vec<GlobMatcher>,
    /// Whether a match may lie deeper than `folders` say.
    is_open: bool,
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Pattern, globset::Error> {
        let compile = |pattern: &str| -> Result<GlobMatcher, globset::Error> {
            let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()?;
            Ok(glob.compile_matcher())
        };
        let matcher = compile(pattern)?;
        let tail = pattern.rsplit(['*', '?', '[', ']', '{', ',', '}', '\\', '/']).next().unwrap_or_default();
        let parts: Vec<&str> = pattern.split('/').collect();
        let (_, folders) = parts.split_last().unwrap_or((&"", &[]));
        // A part that may match `/`, or is only a piece of a brace that does, says nothing of one folder.
        let is_fixed = |part: &&&str| {
            let balanced =
                |open: char, close: char| part.matches(open).count() == part.matches(close).count();
            !part.contains("**") && !part.contains(['[', ']', '\\']) && balanced('{', '}')
        };
        let fixed = folders.iter().take_while(is_fixed).map(|part| compile(part));
        let fixed = fixed.collect::<Result<Vec<_>, _>>()?;
        let is_open = fixed.len() < folders.len() || parts.last().is_some_and(|last| !is_fixed(&last));
        let is_tail_enough = ["*", "**/*"].iter().any(|head| pattern.strip_prefix(head) == Some(tail));
        let (tail, names_only) = (tail.to_owned(), folders.is_empty());
        Ok(Pattern { matcher, tail, is_tail_enough, names_only, folders: fixed, is_open })
    }

    /// Returns whether a path may match that has this name at its end.
    fn may_end(&self, name: &OsStr) -> bool {
        // Odd bytes of a name are replaced before it is matched.
        !self.tail.is_ascii() || name.as_encoded_bytes().ends_with(self.tail.as_bytes())
    }

    fn matches(&self, below: &str) -> bool {
        below.ends_with(&self.tail)
            && (self.is_tail_enough
                || self.matcher.is_match(if self.names_only { file_name(below) } else { below }))
    }

    /// Returns whether the folder `below`, which ends in `/` unless it is the base, can hold a match.
    fn leads_through(&self, below: &str) -> bool {
        if self.names_only {
            return true;
        }
        let names: Vec<&str> = below.split_terminator('/').collect();
        (self.is_open || names.len() <= self.folders.len())
            && names.iter().zip(&self.folders).all(|(name, folder)| folder.is_match(name))
    }
}

impl Tool for Glob {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Glob>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Glob>, SearchError> {
        check_length("pattern", options.pattern.len(), GLOB_BYTES_MAX)?;
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        let base = root.find(&options.path)?;
        let pattern = options.pattern.strip_prefix("./").unwrap_or(&options.pattern);
        let relative = pattern.strip_prefix('/').unwrap_or(pattern);
        if relative.is_empty() {
            return Err(SearchError::BadPattern {
                reason: "is empty and would match nothing; use ** for every file".to_owned(),
            });
        }
        let bad = |reason: String| SearchError::BadGlob { option: "pattern".to_owned(), reason };
        let (pattern, globs) = if options.override_ignore {
            (None, vec![pattern.to_owned()])
        } else {
            let pattern = pattern::cached(relative, || Pattern::compile(relative));
            (Some(pattern.map_err(|error| bad(error.to_string()))?), Vec::new())
        };
        let filter = Filter::compile(&base.path, &globs, &[], options.hidden, options.no_ignore);
        let filter = filter.map_err(|error| {
            if let SearchError::BadGlob { reason, .. } = error { bad(reason) } else { error }
        })?;
        let filter = Filter { override_ignore: options.override_ignore, ..filter };
        let shown_base = base.shown();
        let visitor = Glob {
            pattern,
            base: if shown_base.is_empty() { shown_base } else { format!("{shown_base}/") },
            found: Collector::new(options.max_results as usize, ANSWER_BYTES_MAX),
            options,
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

impl Glob {
    /// Returns `relative` as the pattern sees it. A file named as the base has only its name.
    fn below_base<'a>(&self, relative: &'a str) -> &'a str {
        // To compare with an empty text that lies nowhere can take as long as all else that is done for a path.
        if self.base.is_empty() {
            return relative;
        }
        relative.strip_prefix(&self.base).unwrap_or_else(|| file_name(relative))
    }

    fn is_open_to(&self, relative: &str) -> bool {
        self.options.sort == Sort::Modified || self.found.is_open_to(|(_, last)| relative > last.as_str())
    }

    /// Returns whether the cursor has passed all that is sorted by path up to `relative`.
    fn is_past(&self, is_past: impl FnOnce(&Cursor) -> bool) -> bool {
        self.options.sort == Sort::Path && self.options.after.as_ref().is_some_and(is_past)
    }
}

impl Visit for Glob {
    fn wants_folder(&self, relative: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.leads_through(self.below_base(relative)))
            && !self.is_past(|after| after.is_past_folder(relative))
            && self.is_open_to(relative)
    }

    fn wants_name(&self, name: &OsStr) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.may_end(name))
    }

    fn wants_file(&self, relative: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(self.below_base(relative)))
            && !self.is_past(|after| relative <= after.path.as_str())
            && self.is_open_to(relative)
    }

    fn is_slow(&self) -> bool {
        self.options.sort == Sort::Modified
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, _scope: &Scope<'_>) {
        let modified = match self.options.sort {
            Sort::Path => None,
            Sort::Modified => match file.folder.modified(&file.path()) {
                Ok(time) => Some(micros(time)),
                Err(_unreadable) => {
                    Counts::add(&counts.unreadable);
                    return;
                }
            },
        };
        Counts::add(&counts.searched);
        let path = file.relative.to_owned();
        let is_past =
            |after: &Cursor| (Some(Reverse(after.line)), &after.path) >= (modified.map(Reverse), &path);
        if modified.is_some() && self.options.after.as_ref().is_some_and(is_past) {
            return;
        }
        let size_bytes = path_bytes(&path);
        // The key says it all.
        self.found.offer((modified.map(Reverse), path), vec![()], size_bytes);
    }
}

impl Search for Glob {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let found =
            self.found.finish(|key, _| Some(Found::of(key)), |found| path_bytes(&found.path), |_, _| false);
        let mut limits = Vec::new();
        if found.over_count {
            limits.push(Limit::MaxResults);
        }
        if found.over_size {
            limits.push(Limit::AnswerBytes);
        }
        let next = found.items.last().map(|Found { path, modified }| Cursor {
            path: path.clone(),
            line: modified.unwrap_or(0),
            column: 0,
        });
        let paths = found.items.into_iter().map(|found| found.path).collect();
        Ok(Answer { coverage: Coverage::new(counts, limits, timed_out, next), paths })
    }
}

/// Returns a time as a cursor holds it: in microseconds since the epoch, which JSON keeps exactly.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn file_name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}

/// Returns what a path adds to the answer, roughly.
fn path_bytes(path: &str) -> usize {
    path.len() + 3
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// Breaks if the look at a path's end rules a match out.
    #[test]
    fn the_end_of_a_path_is_that_of_its_pattern() {
        for (pattern, path, expected) in [
            ("**/b.rs", "b.rs", true),
            ("**/b.rs", "a/b.rs", true),
            ("**/", "a/b.rs", true),
            ("src/**", "src/b.rs", true),
            ("*.{rs,d.ts}", "a/b.d.ts", true),
            ("*.d.[tj]s", "a/b.d.js", true),
            ("a/\\*b", "a/*b", true),
            ("*.rs", "a/b.rsx", false),
        ] {
            assert_eq!(Pattern::compile(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    /// Breaks if a search reads folders that cannot hold a match, or passes over one that can.
    #[test]
    fn only_folders_on_the_way_to_a_match_are_read() {
        for (pattern, through, not_through) in [
            ("*.rs", &["src/", "a/b/c/"][..], &[][..]),
            ("**/*.rs", &["src/", "a/b/c/"], &[]),
            ("src/*.rs", &["src/"], &["srcs/", "src/a/", "a/"]),
            ("src/a/b.rs", &["src/", "src/a/"], &["src/b/", "src/a/b/", "b/"]),
            ("src/a*/b/c.rs", &["src/", "src/ax/", "src/a/b/"], &["src/b/", "src/ax/c/", "src/ax/b/d/"]),
            ("src/{a,b}/c.rs", &["src/", "src/a/", "src/b/"], &["src/c/"]),
            ("src/{a/x,b}/c.rs", &["src/", "src/a/", "src/a/x/", "src/q/r/"], &["lib/"]),
            ("a[/]b/c", &["a/", "a/b/", "x/"], &[]),
            ("p/*/src/**/*.ts", &["p/", "p/q/", "p/q/src/", "p/q/src/r/s/"], &["q/", "p/q/lib/"]),
            ("a/**", &["a/", "a/b/"], &["b/"]),
            ("a/b**/c", &["a/", "a/bx/"], &["c/"]),
        ] {
            let compiled = Pattern::compile(pattern).unwrap();
            for (folders, expected) in [(through, true), (not_through, false)] {
                for folder in folders {
                    assert_eq!(compiled.leads_through(folder), expected, "{pattern} {folder}");
                }
            }
        }
    }
}
