//! Structural search: code that has the shape of a pattern, whatever its layout and names.

use crate::answer::{Coverage, Cursor, column, count_of, show};
use crate::collect::Collector;
use crate::error::SearchError;
use crate::limit::{ANSWER_BYTES_MAX, LINE_CHARS_MAX, Limit, RESULTS_MAX};
use crate::query::{ToText, Tool, check_range, default_path, default_results};
use crate::root::Root;
use crate::shape::{Shape, read_source};
use crate::signature::Signature;
use crate::walk::{Counts, Filter, FoundFile, Search, Visit, Walk};
use ast_grep_core::meta_var::MetaVariable;
use ast_grep_core::tree_sitter::StrDoc;
use ast_grep_core::{Node, NodeMatch};
use ast_grep_language::SupportLang;
use orchestrator_worker::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many nodes of a `$$$NAME` are shown.
const BOUND_NODES_MAX: usize = 100;

/// Options of a structural search: `pattern` with `language`, or `rule`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AstSearchOptions")]
pub struct Options {
    /// One piece of code to look for, as in ast-grep: `$NAME` stands for one node and is returned, the same name twice
    /// for the same code; `$$$ARGS` for any number of nodes; `$_` for any node. Example: `console.log($$$ARGS)`.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The language of the pattern and of the files to search: `typescript`, `tsx`, `python`, `rust`, … `.ts` and `.tsx`
    /// are two languages.
    #[serde(default)]
    pub language: Option<String>,
    /// In place of both: an ast-grep rule as YAML, with `language` and `rule`, and `constraints`, `utils`, `transform`,
    /// `files`, `ignores` where needed.
    #[serde(default)]
    pub rule: Option<String>,
    /// The folder or file to search, relative to the project root or absolute inside it.
    #[serde(default = "default_path")]
    pub path: String,
    /// Search only files that match one of these globs, relative to `path`, as in a .gitignore. A leading `!` leaves
    /// files out. What ignore files hide stays hidden.
    #[serde(default)]
    pub globs: Vec<String>,
    /// Search hidden files and folders too (names that begin with a dot), except `.git`.
    #[serde(default)]
    pub hidden: bool,
    /// Search files that .gitignore, .ignore and the like hide.
    #[serde(default)]
    pub no_ignore: bool,
    /// How many results to return at most, 1 to 1,000.
    #[serde(default = "default_results")]
    #[schemars(range(min = 1, max = RESULTS_MAX))]
    pub max_results: u32,
    /// Return the results after this place: `next` of an earlier answer to the same options.
    #[serde(default)]
    pub after: Option<Cursor>,
}

/// What a meta-variable stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Bound {
    /// The code of one node, for `$NAME`.
    One(String),
    /// The code of each node, for `$$$NAME`: the first 100, and no more than about 2,000 characters.
    Many(Vec<String>),
}

/// A piece of code with the shape of the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AstMatch")]
pub struct Match {
    /// Path relative to the project root, with `/`.
    pub path: String,
    /// First line, from 1.
    pub line: u64,
    /// Column of the first character, from 1, in UTF-16 units.
    pub column: u64,
    /// Last line, from 1.
    pub end_line: u64,
    /// Column after the last character, from 1, in UTF-16 units.
    pub end_column: u64,
    /// The code, cut to 2,000 characters.
    pub text: String,
    /// The code that each meta-variable stands for, by its name without `$`, each cut to 2,000 characters.
    pub variables: BTreeMap<String, Bound>,
}

/// The answer of a structural search, sorted by path, then by place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AstSearchAnswer")]
pub struct Answer {
    /// What was found. Matches may be nested. A few more than `maxResults` when several begin at one place.
    pub matches: Vec<Match>,
    /// How complete this is.
    #[serde(flatten)]
    pub coverage: Coverage,
}

impl ToText for Answer {
    /// Returns the answer as a model reads it: `path:line: code`, further lines of the code below it, then the
    /// meta-variables as `  $NAME = code`, and a last line that says what was found and what was cut.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for Match { path, line, text: code, variables, .. } in &self.matches {
            // Writing to a `String` does not fail.
            let _infallible = writeln!(text, "{path}:{line}: {code}");
            for (name, bound) in variables {
                let _infallible = match bound {
                    Bound::One(code) => writeln!(text, "  ${name} = {code}"),
                    Bound::Many(codes) => writeln!(text, "  $$${name} = [{}]", codes.join(" | ")),
                };
            }
        }
        self.coverage.write_text(&count_of(self.matches.len() as u64, "match", "matches"), &mut text);
        text
    }
}

/// A prepared structural search.
pub(crate) struct Structural {
    shape: Shape,
    count_max: usize,
    after: Option<Cursor>,
    found: Collector<String, Match>,
    is_text_cut: AtomicBool,
}

impl Tool for Structural {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Structural>;

    fn prepare(root: &Root, options: Options) -> Result<Walk<Structural>, SearchError> {
        check_range("maxResults", options.max_results, 1, RESULTS_MAX)?;
        let [pattern, language, rule] =
            [&options.pattern, &options.language, &options.rule].map(|text| text.as_deref());
        let shape = Shape::compile(pattern, language, rule)?;
        let base = root.find(&options.path)?;
        let filter = Filter::compile(&base.path, &options.globs, &[], options.hidden, options.no_ignore)?;
        let visitor = Structural {
            shape,
            count_max: options.max_results as usize,
            after: options.after,
            found: Collector::new(options.max_results as usize, ANSWER_BYTES_MAX),
            is_text_cut: AtomicBool::new(false),
        };
        Ok(Walk::new(base, filter, visitor))
    }
}

impl Structural {
    fn is_open_to(&self, relative: &str) -> bool {
        self.found.is_open_to(|last| relative > last.as_str())
    }

    fn show(
        &self,
        path: &str,
        start: Place,
        end: Place,
        found: &NodeMatch<'_, StrDoc<SupportLang>>,
    ) -> Match {
        let environment = found.get_env();
        let variables = environment
            .get_matched_variables()
            .filter_map(|variable| match variable {
                MetaVariable::Capture(name, _) => {
                    let node = environment.get_match(&name)?;
                    Some((name, Bound::One(self.cut(&node.text()))))
                }
                MetaVariable::MultiCapture(name) => {
                    Some((name.clone(), Bound::Many(self.cut_all(&environment.get_multiple_matches(&name)))))
                }
                MetaVariable::Dropped(_) | MetaVariable::Multiple => None,
            })
            .collect();
        Match {
            path: path.to_owned(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            text: self.cut(&found.text()),
            variables,
        }
    }

    /// Shows the nodes of a list, within the size of one text. Separators are nodes too, but not what is meant.
    fn cut_all(&self, nodes: &[Node<'_, StrDoc<SupportLang>>]) -> Vec<String> {
        let mut texts = Vec::new();
        let mut size_bytes = 0;
        for node in nodes.iter().filter(|node| node.is_named()) {
            if size_bytes > LINE_CHARS_MAX || texts.len() == BOUND_NODES_MAX {
                self.is_text_cut.store(true, Ordering::Relaxed);
                texts.push("…".to_owned());
                break;
            }
            let text = self.cut(&node.text());
            size_bytes += text.len();
            texts.push(text);
        }
        texts
    }

    fn cut(&self, text: &str) -> String {
        let shown = show(text.as_bytes(), 0);
        if shown.is_cut {
            self.is_text_cut.store(true, Ordering::Relaxed);
        }
        shown.text
    }
}

/// A place in a source, moved forward from match to match, since counting each from the start of a long line would take
/// quadratic time.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    line: u64,
    column: u64,
}

impl Default for Place {
    fn default() -> Place {
        Place { offset: 0, line: 1, column: 1 }
    }
}

impl Place {
    /// Returns the place at `offset`. Quick when it is not before this one.
    fn moved_to(self, source: &str, offset: usize) -> Place {
        if offset < self.offset {
            return Place::default().moved_to(source, offset);
        }
        let between = &source[self.offset..offset];
        let lines_count = between.bytes().filter(|byte| *byte == b'\n').count() as u64;
        let column = match between.rfind('\n') {
            Some(newline) => column(&between.as_bytes()[newline + 1..], usize::MAX),
            None => self.column + column(between.as_bytes(), usize::MAX) - 1,
        };
        Place { offset, line: self.line + lines_count, column }
    }
}

impl Visit for Structural {
    fn wants_folder(&self, relative: &str) -> bool {
        !self.after.as_ref().is_some_and(|after| after.is_past_folder(relative)) && self.is_open_to(relative)
    }

    fn wants_file(&self, relative: &str) -> bool {
        self.shape.is_for(relative)
            && self.after.as_ref().is_none_or(|after| relative >= after.path.as_str())
            && self.is_open_to(relative)
    }

    fn may_match(&self, signature: &Signature) -> bool {
        signature.may_have(self.shape.need())
    }

    fn is_heavy(&self) -> bool {
        self.shape.is_everywhere()
    }

    fn visit(&self, file: &FoundFile<'_>, counts: &Counts, scope: &Scope<'_>) {
        let Some(source) = read_source(file, counts, |bytes| self.shape.may_match(bytes)) else { return };
        let Some(tree) = self.shape.parse(&source, &|| scope.is_stopped()) else {
            if !scope.is_stopped() {
                Counts::add(&counts.too_deep);
            }
            return;
        };
        Counts::add(&counts.searched);
        let mut matches: Vec<Match> = Vec::new();
        let (mut size_bytes, mut start) = (0, Place::default());
        self.shape.each_match(&tree, |found| {
            start = start.moved_to(&source, found.range().start);
            if self.after.as_ref().is_some_and(|after| after.covers(file.relative, start.line, start.column))
            {
                return true;
            }
            // One place more than asked for tells that there is more.
            let is_full = matches.len() > self.count_max || size_bytes > ANSWER_BYTES_MAX;
            if is_full
                && matches.last().is_some_and(|last| (last.line, last.column) != (start.line, start.column))
            {
                return false;
            }
            let found = self.show(file.relative, start, start.moved_to(&source, found.range().end), &found);
            size_bytes += match_bytes(&found);
            matches.push(found);
            !scope.is_stopped()
        });
        if !scope.is_stopped() {
            // A rule may match a node by another that stands before it.
            matches.sort_by_key(|found| (found.line, found.column));
            self.found.offer(file.relative.to_owned(), matches, size_bytes);
        }
    }
}

impl Search for Structural {
    type Answer = Answer;

    fn answer(&self, counts: &Counts, timed_out: bool) -> Result<Answer, SearchError> {
        let found = self.found.finish(
            |_, items| items,
            match_bytes,
            |a, b| (&a.path, a.line, a.column) == (&b.path, b.line, b.column),
        );
        let mut limits = Vec::new();
        if found.over_count {
            limits.push(Limit::MaxResults);
        }
        if found.over_size {
            limits.push(Limit::AnswerBytes);
        }
        if self.is_text_cut.load(Ordering::Relaxed) {
            limits.push(Limit::LineChars);
        }
        let next = found.items.last().map(|last| Cursor {
            path: last.path.clone(),
            line: last.line,
            column: last.column,
        });
        Ok(Answer { coverage: Coverage::new(counts, limits, timed_out, next), matches: found.items })
    }
}

/// Returns what a match adds to the answer, roughly: its texts and the JSON around them.
fn match_bytes(found: &Match) -> usize {
    let bound_bytes = |bound: &Bound| match bound {
        Bound::One(text) => text.len() + 4,
        Bound::Many(texts) => texts.iter().map(|text| text.len() + 4).sum(),
    };
    let variables: usize =
        found.variables.iter().map(|(name, bound)| name.len() + 4 + bound_bytes(bound)).sum();
    found.path.len() + found.text.len() + variables + 128
}
