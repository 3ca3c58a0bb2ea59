//! File search by path.

use crate::answer::{Coverage, Cursor, count_of};
use crate::collect::Collector;
use crate::error::SearchError;
use crate::limit::{ANSWER_BYTES_MAX, GLOB_BYTES_MAX, Limit, RESULTS_MAX};
use crate::query::{ToText, Tool, check_range, default_path, default_results};
use crate::root::Root;
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk, check_length};
use globset::{GlobBuilder, GlobMatcher};
use orchestrator_worker::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::time::SystemTime;

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
    /// The order of the results.
    #[serde(default)]
    pub sort: Sort,
    /// How many results to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = RESULTS_MAX))]
    pub max_results: u32,
    /// Return the results after this place: `next` of an earlier answer to the same options. Only with `sort: "path"`.
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
    matcher: GlobMatcher,
    /// The base as shown, with a trailing `/` unless it is the root: what is cut off before the pattern is applied.
    base: String,
    /// The folders every match is in, relative to the base, with a trailing `/` unless empty.
    prefix: String,
    names_only: bool,
    options: Options,
    /// Keyed by time, if that is the order, then by path.
    found: Collector<(Option<Reverse<SystemTime>>, String), String>,
}

impl Tool for Glob {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Glob>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Glob>, SearchError> {
        check_length("pattern", options.pattern.len(), GLOB_BYTES_MAX)?;
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        if options.sort == Sort::Modified && options.after.is_some() {
            return Err(SearchError::BadOptions {
                path: "after".to_owned(),
                reason: "needs sort: \"path\", since times change between calls".to_owned(),
            });
        }
        let base = root.find(&options.path)?;
        let pattern = options.pattern.strip_prefix("./").unwrap_or(&options.pattern);
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        if pattern.is_empty() {
            return Err(SearchError::BadPattern {
                reason: "is empty and would match nothing; use ** for every file".to_owned(),
            });
        }
        let matcher = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| SearchError::BadGlob {
                option: "pattern".to_owned(),
                reason: error.to_string(),
            })?
            .compile_matcher();
        let filter = Filter::compile(&base.path, &[], &[], options.hidden, options.no_ignore)?;
        let shown_base = base.shown();
        let visitor = Glob {
            matcher,
            base: if shown_base.is_empty() { shown_base } else { format!("{shown_base}/") },
            prefix: fixed_prefix(pattern).to_owned(),
            names_only: !pattern.contains('/'),
            found: Collector::new(options.max_results as usize, ANSWER_BYTES_MAX),
            options,
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

impl Glob {
    /// Returns `relative` as the pattern sees it. A file named as the base has only its name.
    fn below_base<'a>(&self, relative: &'a str) -> &'a str {
        relative.strip_prefix(&self.base).unwrap_or_else(|| file_name(relative))
    }

    fn is_open_to(&self, relative: &str) -> bool {
        self.options.sort == Sort::Modified || self.found.is_open_to(|(_, last)| relative > last.as_str())
    }
}

impl Visit for Glob {
    fn wants_folder(&self, relative: &str) -> bool {
        let below = self.below_base(relative);
        (self.prefix.starts_with(below) || below.starts_with(&self.prefix))
            && !self.options.after.as_ref().is_some_and(|after| after.is_past_folder(relative))
            && self.is_open_to(relative)
    }

    fn wants_file(&self, relative: &str) -> bool {
        let below = self.below_base(relative);
        self.matcher.is_match(if self.names_only { file_name(below) } else { below })
            && self.options.after.as_ref().is_none_or(|after| relative > after.path.as_str())
            && self.is_open_to(relative)
    }

    fn visit(&self, file: &FoundFile, counts: &Counts, _scope: &Scope<'_>) {
        let modified = match self.options.sort {
            Sort::Path => None,
            Sort::Modified => match file.folder.modified(&file.path) {
                Ok(time) => Some(Reverse(time)),
                Err(_unreadable) => {
                    Counts::add(&counts.unreadable);
                    return;
                }
            },
        };
        Counts::add(&counts.searched);
        let size_bytes = path_bytes(&file.relative);
        self.found.offer((modified, file.relative.clone()), vec![file.relative.clone()], size_bytes);
    }
}

impl Search for Glob {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let found = self.found.finish(|path| path_bytes(path), |_, _| false);
        let mut limits = Vec::new();
        if found.over_count {
            limits.push(Limit::MaxResults);
        }
        if found.over_size {
            limits.push(Limit::AnswerBytes);
        }
        let next = match (self.options.sort, found.items.last()) {
            (Sort::Path, Some(last)) => Some(Cursor { path: last.clone(), line: 0, column: 0 }),
            (Sort::Path, None) | (Sort::Modified, _) => None,
        };
        Ok(Answer { coverage: Coverage::new(counts, limits, timed_out, next), paths: found.items })
    }
}

/// Returns the folders at the start of a glob that hold no special character, with their `/`.
fn fixed_prefix(pattern: &str) -> &str {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern[..special].rfind('/').map_or("", |slash| &pattern[..=slash])
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
    use super::fixed_prefix;

    /// Breaks if a search reads folders that cannot hold a match, or passes over one that can.
    #[test]
    fn the_fixed_prefix_ends_before_the_first_special_character() {
        for (pattern, expected) in [
            ("*.rs", ""),
            ("src/*.rs", "src/"),
            ("src/a/b.rs", "src/a/"),
            ("src/a*/b/c.rs", "src/"),
            ("src/{a,b}/c.rs", "src/"),
            ("a[/]b/c", ""),
        ] {
            assert_eq!(fixed_prefix(pattern), expected, "{pattern}");
        }
    }
}
