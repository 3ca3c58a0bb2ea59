//! Structural replace: code that has the shape of a pattern, written anew, its parts kept.

use crate::error::SearchError;
use crate::limit::{Limit, PATTERN_BYTES_MAX};
use crate::query::{Tool, default_path};
use crate::replace::{Answer, Editing, Rewrite};
use crate::root::Root;
use crate::shape::Shape;
use crate::walk::{Walk, check_length};
use ast_grep_config::Fixer;
use ast_grep_core::replacer::TemplateFix;
use schemars::JsonSchema;
use serde::Deserialize;

/// Options of structural replace: `pattern`, `language` and `rewrite`, or a `rule` with a `fix`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AstReplaceOptions")]
pub struct Options {
    /// One piece of code to find, as in `ast_search`.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The code to put in its place; `$NAME` and `$$$NAME` stand for what the pattern's stand for.
    #[serde(default)]
    pub rewrite: Option<String>,
    /// The language of both, such as `typescript`.
    #[serde(default)]
    pub language: Option<String>,
    /// In place of these: an ast-grep rule as YAML, with `language`, `rule` and `fix`.
    #[serde(default)]
    pub rule: Option<String>,
    /// The folder or file, relative to the project or absolute.
    #[serde(default = "default_path")]
    pub path: String,
    /// Write the changes. Without it nothing is changed, and the answer shows what would be.
    #[serde(default)]
    pub apply: bool,
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

/// What matches are replaced with.
enum Fix {
    Template(TemplateFix),
    /// The first `fix` of the rule.
    OfRule,
}

/// Find a shape, write it anew.
pub(crate) struct Rewriting {
    shape: Shape,
    fix: Fix,
}

/// The tool.
pub(crate) struct AstReplace;

impl Tool for AstReplace {
    type Options = Options;
    type Answer = Answer;
    type Work = Walk<Editing<Rewriting>>;

    fn prepare(root: &Root, options: Options) -> Result<Self::Work, SearchError> {
        let rewriting = Rewriting::compile(&options)?;
        let chosen = (options.path.as_str(), options.globs.as_slice(), options.hidden, options.no_ignore);
        Editing::walk(root, rewriting, options.apply, chosen)
    }
}

impl Rewriting {
    fn compile(options: &Options) -> Result<Rewriting, SearchError> {
        let [pattern, language, rule] =
            [&options.pattern, &options.language, &options.rule].map(|text| text.as_deref());
        let shape = Shape::compile(pattern, language, rule)?;
        let bad = |path: &str, reason: String| SearchError::BadOptions { path: path.to_owned(), reason };
        let fix = match (shape.pattern(), shape.rule(), &options.rewrite) {
            (Some(pattern), _, Some(rewrite)) => {
                check_length("rewrite", rewrite.len(), PATTERN_BYTES_MAX)?;
                let template = TemplateFix::try_new(rewrite, &shape.language)
                    .map_err(|error| bad("rewrite", error.to_string()))?;
                let defined = pattern.defined_vars();
                if let Some(unknown) = template.used_vars().into_iter().find(|used| !defined.contains(used)) {
                    return Err(bad("rewrite", format!("the pattern has no meta-variable ${unknown}")));
                }
                Fix::Template(template)
            }
            (_, Some(rule), None) if !rule.fixer.is_empty() => Fix::OfRule,
            (_, Some(_), None) => return Err(bad("rule", "expected a rule with a fix".to_owned())),
            (_, Some(_), Some(_)) => {
                return Err(bad("rewrite", "the rule has a fix; leave this out".to_owned()));
            }
            (_, None, None) => {
                return Err(bad("rewrite", "expected the code to put in the pattern's place".to_owned()));
            }
            (None, None, Some(_)) => unreachable!("a shape is a pattern or a rule"),
        };
        Ok(Rewriting { shape, fix })
    }
}

impl Rewrite for Rewriting {
    fn is_for(&self, relative: &str) -> bool {
        self.shape.is_for(relative)
    }

    fn may_match(&self, bytes: &[u8]) -> bool {
        self.shape.may_match(bytes)
    }

    fn is_heavy(&self) -> bool {
        self.shape.is_everywhere()
    }

    fn rewrite(
        &self,
        text: &str,
        line_end: &str,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<(String, u64)>, Limit> {
        let tree = self.shape.parse(text, is_stopped).ok_or(Limit::SyntaxDepth)?;
        let mut edits = Vec::new();
        self.shape.each_match(&tree, |found| {
            let edit = match (&self.fix, self.shape.pattern(), self.shape.rule()) {
                (Fix::Template(template), Some(pattern), _) => Some(found.make_edit(pattern, template)),
                (Fix::OfRule, _, Some(rule)) => {
                    rule.fixer.first().map(|fixer: &Fixer| found.make_edit(&rule.matcher, fixer))
                }
                (Fix::Template(_) | Fix::OfRule, _, _) => None,
            };
            edits.extend(edit);
            true
        });
        edits.sort_by_key(|edit| edit.position);
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut count) = (0, 0);
        for edit in edits {
            // What lies inside of a match that was replaced is gone.
            if edit.position < at {
                continue;
            }
            out.extend_from_slice(&text.as_bytes()[at..edit.position]);
            let inserted = edit.inserted_text;
            if line_end == "\r\n" {
                let inserted = String::from_utf8_lossy(&inserted).replace("\r\n", "\n").replace('\n', "\r\n");
                out.extend_from_slice(inserted.as_bytes());
            } else {
                out.extend_from_slice(&inserted);
            }
            at = edit.position + edit.deleted_length;
            count += 1;
        }
        out.extend_from_slice(&text.as_bytes()[at..]);
        let out = String::from_utf8_lossy(&out).into_owned();
        Ok((count > 0 && out != text).then_some((out, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pattern: &str, rewrite: &str) -> Options {
        Options {
            pattern: Some(pattern.to_owned()),
            rewrite: Some(rewrite.to_owned()),
            language: Some("typescript".to_owned()),
            rule: None,
            path: ".".to_owned(),
            apply: false,
            globs: Vec::new(),
            hidden: false,
            no_ignore: false,
        }
    }

    fn rewritten(options: &Options, text: &str) -> Option<(String, u64)> {
        let rewriting = Rewriting::compile(options).unwrap();
        rewriting.rewrite(text, crate::text::line_end(text), &|| false).unwrap()
    }

    /// Breaks if code is written anew otherwise than its pattern, its rule and its surroundings say.
    #[test]
    fn code_is_written_anew() {
        let check = |options: Options, text: &str, expected: Option<(&str, u64)>| {
            let found = rewritten(&options, text);
            assert_eq!(found.as_ref().map(|(text, count)| (text.as_str(), *count)), expected, "{text}");
        };
        check(
            options("var $A = $B", "const $A = $B"),
            "var a = 1\nvar b = f(2)\n",
            Some(("const a = 1\nconst b = f(2)\n", 2)),
        );
        check(options("f($$$A)", "g($$$A)"), "f(f(1), 2)", Some(("g(f(1), 2)", 1)));
        check(options("f($A)", "f($A)"), "f(1)", None);
        check(options("f($A)", "g(\n  $A\n)"), "x\r\nf(1)\r\n", Some(("x\r\ng(\r\n  1\r\n)\r\n", 1)));
        let rule = |rule: &str| Options {
            pattern: None,
            language: None,
            rewrite: None,
            rule: Some(rule.to_owned()),
            ..options("", "")
        };
        let yaml = "id: r\nlanguage: ts\nrule:\n  pattern: $A == $B\nconstraints:\n  B: { kind: number }\nfix: $A === $B\n";
        check(rule(yaml), "a == 1; b == c", Some(("a === 1; b == c", 1)));
        for bad in [
            rule("language: ts\nrule: { pattern: a }"),
            options("f($A)", "$B"),
            Options { rewrite: None, ..options("a", "") },
        ] {
            assert_eq!(Rewriting::compile(&bad).err().map(|error| error.code()), Some("SEARCH_BAD_OPTIONS"));
        }
    }
}
