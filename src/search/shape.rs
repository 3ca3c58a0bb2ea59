//! A shape of code: an ast-grep pattern or rule, compiled, with the text that every match must hold.
//!
//! Parsing is what takes the time, so a file is parsed only when it holds all the names that the shape needs. Compiling
//! and comparing recurse, so what is nested too deeply is refused before: a stack that overflows takes the host with it.

use crate::content::Content;
use crate::error::SearchError;
use crate::limit::{PATTERN_BYTES_MAX, PATTERN_DEPTH_MAX, SYNTAX_DEPTH_MAX, SYNTAX_FILE_BYTES_MAX};
use crate::signature::Need;
use crate::text::decode_lossy;
use crate::walk::{Counts, FoundFile, check_length};
use ast_grep_config::{GlobalRules, Rule, RuleConfig, from_yaml_string};
use ast_grep_core::matcher::PatternNode;
use ast_grep_core::tree_sitter::StrDoc;
use ast_grep_core::{AstGrep, Language, MatchStrictness, NodeMatch, Pattern};
use ast_grep_language::{LanguageExt, SupportLang};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use memchr::memmem::Finder;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;
use tree_sitter::{ParseOptions, ParseState, Parser};

/// The languages whose parsers are compiled in, by the name to use and other names that are understood.
///
/// ast-grep panics on the first use of a language that its cargo features left out, so what is not listed here is
/// refused before it is asked. A test parses with each of them.
const LANGUAGES: &[(SupportLang, &[&str])] = &[
    (SupportLang::Bash, &["bash", "sh"]),
    (SupportLang::C, &["c"]),
    (SupportLang::Cpp, &["cpp", "c++", "cc", "cxx"]),
    (SupportLang::CSharp, &["csharp", "cs"]),
    (SupportLang::Css, &["css"]),
    (SupportLang::Dart, &["dart"]),
    (SupportLang::Elixir, &["elixir", "ex"]),
    (SupportLang::Go, &["go", "golang"]),
    (SupportLang::Haskell, &["haskell", "hs"]),
    (SupportLang::Hcl, &["hcl", "terraform"]),
    (SupportLang::Html, &["html"]),
    (SupportLang::Java, &["java"]),
    (SupportLang::JavaScript, &["javascript", "js", "jsx"]),
    (SupportLang::Json, &["json"]),
    (SupportLang::Kotlin, &["kotlin", "kt"]),
    (SupportLang::Lua, &["lua"]),
    (SupportLang::Markdown, &["markdown", "md"]),
    (SupportLang::Nix, &["nix"]),
    (SupportLang::Php, &["php"]),
    (SupportLang::Python, &["python", "py"]),
    (SupportLang::Ruby, &["ruby", "rb"]),
    (SupportLang::Rust, &["rust", "rs"]),
    (SupportLang::Scala, &["scala"]),
    (SupportLang::Solidity, &["solidity", "sol"]),
    (SupportLang::Swift, &["swift"]),
    (SupportLang::TypeScript, &["typescript", "ts"]),
    (SupportLang::Tsx, &["tsx"]),
    (SupportLang::Yaml, &["yaml", "yml"]),
    (SupportLang::Zig, &["zig"]),
];

/// A parsed source.
pub(crate) type Tree = AstGrep<StrDoc<SupportLang>>;

/// A compiled pattern or rule.
pub(crate) struct Shape {
    pub(crate) language: SupportLang,
    matcher: Matcher,
    literals: Literals,
    need: Need,
    files: FileRules,
}

enum Matcher {
    Pattern(Pattern),
    Rule(Box<RuleConfig<SupportLang>>),
}

impl Shape {
    /// Compiles what a call asks for: a pattern in a language, or a rule, which names its own.
    ///
    /// # Errors
    ///
    /// [`SearchError::BadOptions`] unless exactly one of the two is given; [`SearchError::TooLong`],
    /// [`SearchError::UnknownLanguage`], [`SearchError::BadPattern`].
    pub(crate) fn compile(
        pattern: Option<&str>,
        language: Option<&str>,
        rule: Option<&str>,
    ) -> Result<Shape, SearchError> {
        let bad = |path: &str, reason: &str| {
            Err(SearchError::BadOptions { path: path.to_owned(), reason: reason.to_owned() })
        };
        match (pattern, language, rule) {
            (Some(pattern), Some(language), None) => {
                check_length("pattern", pattern.len(), PATTERN_BYTES_MAX)?;
                let language = parse_language(language)?;
                let pattern = compile_pattern(pattern, language)?;
                let required = required_of_pattern(&pattern, language);
                Ok(Shape::new(language, Matcher::Pattern(pattern), &required, FileRules::default()))
            }
            (None, None, Some(rule)) => {
                check_length("rule", rule.len(), PATTERN_BYTES_MAX)?;
                compile_rule(rule)
            }
            (Some(_), None, None) => {
                bad("language", "expected the language of the pattern, such as \"typescript\"")
            }
            (None, Some(_), Some(_)) => bad("language", "the rule names its language; leave this out"),
            (Some(_), _, Some(_)) => bad("rule", "expected either pattern or rule"),
            (None, _, None) => bad("pattern", "expected a pattern with its language, or a rule"),
        }
    }

    fn new(language: SupportLang, matcher: Matcher, required: &Required, files: FileRules) -> Shape {
        let texts = |choices: &Vec<Literal>| choices.iter().map(|literal| literal.text.clone()).collect();
        let need = Need::of_texts(&required.iter().map(texts).collect::<Vec<Vec<_>>>());
        Shape { language, matcher, literals: Literals::new(required), need, files }
    }

    /// Returns what every match holds.
    pub(crate) fn need(&self) -> &Need {
        &self.need
    }

    /// Returns whether most files have to be parsed, since nothing in their bytes tells that there is no match.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.need == Need::Nothing
    }

    /// Returns whether a file of this path is searched, judged by its name.
    pub(crate) fn is_for(&self, relative: &str) -> bool {
        is_of(self.language, relative.as_ref()) && self.files.admits(relative)
    }

    /// Returns whether a file with these bytes can hold a match. Cheap.
    pub(crate) fn may_match(&self, bytes: &[u8]) -> bool {
        self.literals.are_in(bytes)
    }

    /// Parses a source; `None` when it is nested too deeply to be searched, or when it is stopped.
    pub(crate) fn parse(&self, source: &str, is_stopped: &dyn Fn() -> bool) -> Option<Tree> {
        parse(self.language, source, is_stopped)
    }

    /// Calls `take` with each match, in order of where they begin, an outer one before those in it, until it returns
    /// false.
    pub(crate) fn each_match<'t>(
        &self,
        tree: &'t Tree,
        mut take: impl FnMut(NodeMatch<'t, StrDoc<SupportLang>>) -> bool,
    ) {
        let root = tree.root();
        match &self.matcher {
            Matcher::Pattern(pattern) => {
                let _all_taken = root.find_all(pattern).all(&mut take);
            }
            Matcher::Rule(rule) => {
                let _all_taken = root.find_all(&rule.matcher).all(&mut take);
            }
        }
    }

    /// Returns the rule, if it is one.
    pub(crate) fn rule(&self) -> Option<&RuleConfig<SupportLang>> {
        match &self.matcher {
            Matcher::Pattern(_) => None,
            Matcher::Rule(rule) => Some(rule),
        }
    }

    /// Returns the pattern, if it is one.
    pub(crate) fn pattern(&self) -> Option<&Pattern> {
        match &self.matcher {
            Matcher::Pattern(pattern) => Some(pattern),
            Matcher::Rule(_) => None,
        }
    }
}

thread_local! {
    /// The parsers of this thread; making one takes longer than parsing a small file.
    static PARSERS: RefCell<HashMap<SupportLang, Parser>> = RefCell::default();
}

/// Parses a source; `None` when it is nested too deeply, or when it is stopped, which may be in the midst of it.
pub(crate) fn parse(language: SupportLang, source: &str, is_stopped: &dyn Fn() -> bool) -> Option<Tree> {
    if has_deeper_brackets(source, SYNTAX_DEPTH_MAX) {
        return None;
    }
    let tree = PARSERS.with_borrow_mut(|parsers| {
        let parser = parsers.entry(language).or_default();
        // Where it was stopped the last time it would go on.
        parser.reset();
        parser.set_language(&language.get_ts_language()).ok()?;
        let mut go_on = |_: &ParseState| if is_stopped() { Break(()) } else { Continue(()) };
        let options = ParseOptions::new().progress_callback(&mut go_on);
        let mut rest = |offset: usize, _| source.as_bytes().get(offset..).unwrap_or_default();
        parser.parse_with_options(&mut rest, None, Some(options))
    })?;
    let tree = AstGrep::doc(StrDoc { src: source.to_owned(), lang: language, tree });
    (!is_nested_deeper(&tree, SYNTAX_DEPTH_MAX)).then_some(tree)
}

/// Returns whether more brackets than `depth_max` are open anywhere, wherever they stand: a parser takes minutes then.
fn has_deeper_brackets(source: &str, depth_max: usize) -> bool {
    // To count them all takes a twentieth of the time.
    if source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() <= depth_max {
        return false;
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            0..=u8::MAX => {}
        }
    }
    deepest > depth_max
}

/// Names a language that can be searched.
///
/// # Errors
///
/// [`SearchError::UnknownLanguage`].
fn parse_language(name: &str) -> Result<SupportLang, SearchError> {
    let known =
        LANGUAGES.iter().find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    match known {
        Some((language, _)) => Ok(*language),
        None => Err(SearchError::UnknownLanguage { name: name.chars().take(100).collect() }),
    }
}

/// Returns the names of the languages that can be searched, for a message.
pub(crate) fn language_names() -> String {
    let names: Vec<&str> = LANGUAGES.iter().filter_map(|(_, names)| names.first().copied()).collect();
    names.join(", ")
}

/// Returns whether a file of this path is of the language, judged by its name.
pub(crate) fn is_of(language: SupportLang, path: &Path) -> bool {
    SupportLang::from_path(path) == Some(language)
}

/// Compiles a pattern, after a check that it is not nested so deeply that compiling it would overflow the stack.
fn compile_pattern(pattern: &str, language: SupportLang) -> Result<Pattern, SearchError> {
    let bad = |reason: &str| SearchError::BadPattern { reason: reason.to_owned() };
    check_depth(pattern, language)?;
    let compiled = Pattern::try_new(pattern, language).map_err(|error| SearchError::BadPattern {
        reason: format!("{error} Give one complete expression, statement or declaration of the language"),
    })?;
    if compiled.has_error() {
        return Err(bad(
            "is not valid code of the language; give one complete expression, statement or declaration",
        ));
    }
    Ok(compiled)
}

/// Refuses a pattern that is nested too deeply.
fn check_depth(pattern: &str, language: SupportLang) -> Result<(), SearchError> {
    if is_nested_deeper(&language.ast_grep(pattern), PATTERN_DEPTH_MAX) {
        let reason = format!("is nested more than {PATTERN_DEPTH_MAX} levels deep; use a smaller pattern");
        return Err(SearchError::BadPattern { reason });
    }
    Ok(())
}

/// Compiles one rule.
fn compile_rule(yaml: &str) -> Result<Shape, SearchError> {
    let bad = |reason: String| SearchError::BadRule { reason };
    // Looked through before ast-grep sees it: for a language that it does not have, and for patterns too deep for it.
    let parsed: Value = ast_grep_config::from_str(yaml).map_err(|error| bad(error.to_string()))?;
    let Some(name) = parsed.get("language").and_then(Value::as_str) else {
        return Err(bad("expected one rule with the keys language and rule".to_owned()));
    };
    let language = parse_language(name)?;
    check_patterns(&parsed, language)?;
    let mut rules =
        from_yaml_string::<SupportLang>(yaml, &GlobalRules::default()).map_err(|error| bad(chain(&error)))?;
    let rule = rules.pop().ok_or_else(|| bad("expected one rule, found none".to_owned()))?;
    if !rules.is_empty() {
        return Err(bad("expected one rule, found several; make a call for each".to_owned()));
    }
    if has_error_pattern(&rule.matcher) {
        return Err(bad("a pattern is not valid code of the language".to_owned()));
    }
    let files = FileRules::compile(&parsed)?;
    let required = required_of_rule(&rule.matcher, language);
    Ok(Shape::new(language, Matcher::Rule(Box::new(rule)), &required, files))
}

/// Refuses a rule that has a pattern nested too deeply anywhere.
fn check_patterns(value: &Value, language: SupportLang) -> Result<(), SearchError> {
    match value {
        Value::String(text) => check_depth(text, language),
        Value::Array(values) => values.iter().try_for_each(|value| check_patterns(value, language)),
        Value::Object(fields) => fields.values().try_for_each(|value| check_patterns(value, language)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Returns an error with its causes: ast-grep's own text says only which part is wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push(' ');
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn has_error_pattern(rule: &Rule) -> bool {
    match rule {
        Rule::Pattern(pattern) => pattern.has_error(),
        Rule::All(rules) => rules.inner().iter().any(has_error_pattern),
        Rule::Any(rules) => rules.inner().iter().any(has_error_pattern),
        Rule::Kind(_)
        | Rule::Regex(_)
        | Rule::NthChild(_)
        | Rule::Range(_)
        | Rule::Inside(_)
        | Rule::Has(_)
        | Rule::Precedes(_)
        | Rule::Follows(_)
        | Rule::Not(_)
        | Rule::Matches(_) => false,
    }
}

/// The files that a rule is for: its `files`, without its `ignores`, both relative to the project.
#[derive(Default)]
struct FileRules {
    files: Option<GlobSet>,
    ignores: Option<GlobSet>,
}

impl FileRules {
    fn compile(rule: &Value) -> Result<FileRules, SearchError> {
        Ok(FileRules { files: globs(rule.get("files"))?, ignores: globs(rule.get("ignores"))? })
    }

    fn admits(&self, relative: &str) -> bool {
        self.files.as_ref().is_none_or(|files| files.is_match(relative))
            && !self.ignores.as_ref().is_some_and(|ignores| ignores.is_match(relative))
    }
}

/// Compiles a list of globs, each a text or `{ glob, caseInsensitive }`.
fn globs(list: Option<&Value>) -> Result<Option<GlobSet>, SearchError> {
    let bad = |error: globset::Error| SearchError::BadRule { reason: error.to_string() };
    let Some(list) = list.and_then(Value::as_array) else { return Ok(None) };
    let mut set = GlobSetBuilder::new();
    for entry in list {
        let glob = entry.as_str().or_else(|| entry.get("glob").and_then(Value::as_str)).unwrap_or_default();
        let ignore_case = entry.get("caseInsensitive").and_then(Value::as_bool).unwrap_or(false);
        let glob = glob.strip_prefix("./").unwrap_or(glob);
        set.add(GlobBuilder::new(glob).case_insensitive(ignore_case).build().map_err(bad)?);
    }
    set.build().map(Some).map_err(bad)
}

/// A text that matches hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Literal {
    text: String,
    /// Whether it is a word, with no letter right before it, and no letter or digit right behind.
    is_word: bool,
}

/// Of each list one literal must be there.
type Required = Vec<Vec<Literal>>;

/// Looks whether a file holds the literals that are required.
struct Literals {
    required: Vec<Vec<(Literal, Finder<'static>)>>,
}

impl Literals {
    fn new(required: &Required) -> Literals {
        let mut required: Vec<&Vec<Literal>> = required.iter().collect();
        // What is longest is rarest, and so settles most files.
        required.sort_by_key(|choices| std::cmp::Reverse(shortest(choices)));
        required.dedup();
        let finder = |literal: &Literal| (literal.clone(), Finder::new(&literal.text).into_owned());
        let finders = |choices: &Vec<Literal>| choices.iter().map(finder).collect();
        Literals { required: required.into_iter().map(finders).collect() }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        let is_in = |(literal, finder): &(Literal, Finder<'static>)| {
            finder.find_iter(bytes).any(|start| !literal.is_word || is_word(bytes, start, literal.text.len()))
        };
        self.required.iter().all(|choices| choices.iter().any(is_in))
    }
}

fn shortest(choices: &[Literal]) -> Option<usize> {
    choices.iter().map(|literal| literal.text.len()).min()
}

/// Returns whether a word could stand there. A digit may come right before it, as in `0if`; other alphabets count as no
/// letters, so that such a file is parsed rather than passed over.
fn is_word(bytes: &[u8], start: usize, length: usize) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let before = start.checked_sub(1).and_then(|place| bytes.get(place));
    let behind = bytes.get(start + length);
    !before.is_some_and(|byte| is_letter(*byte))
        && !behind.is_some_and(|byte| is_letter(*byte) || byte.is_ascii_digit())
}

/// Returns whether the language's names and keywords end only where another kind of character follows.
fn has_plain_words(language: SupportLang) -> bool {
    use SupportLang::{C, CSharp, Cpp, Go, Java, JavaScript, Rust, Tsx, TypeScript};
    [C, CSharp, Cpp, Go, Java, JavaScript, Rust, Tsx, TypeScript].contains(&language)
}

/// Returns what every match of a pattern holds.
fn required_of_pattern(pattern: &Pattern, language: SupportLang) -> Required {
    let has_words = match pattern.strictness {
        // PHP's keywords are the same in upper and lower case.
        MatchStrictness::Cst | MatchStrictness::Smart => language != SupportLang::Php,
        MatchStrictness::Ast | MatchStrictness::Relaxed => false,
        // Only kinds are compared, or what is between the texts is left open.
        MatchStrictness::Signature | MatchStrictness::Template => return Vec::new(),
    };
    let mut literals = Vec::new();
    collect_literals(&pattern.node, language, has_words, &mut literals);
    literals.sort();
    literals.dedup();
    literals.into_iter().map(|literal| vec![literal]).collect()
}

/// Collects the names of a pattern, and its keywords where they count. Punctuation is in every file anyway.
fn collect_literals(
    node: &PatternNode,
    language: SupportLang,
    has_keywords: bool,
    literals: &mut Vec<Literal>,
) {
    match node {
        PatternNode::MetaVar { .. } => {}
        PatternNode::Terminal { text, is_named, kind_id } => {
            let is_keyword =
                !is_named && text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
            let is_name = || {
                let grammar = language.get_ts_language();
                grammar.node_kind_for_id(*kind_id).is_some_and(|kind| kind.ends_with("identifier"))
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            if text.len() > 1 && *is_named || has_keywords && is_keyword {
                let is_word = has_plain_words(language) && (is_keyword || is_name());
                literals.push(Literal { text: text.clone(), is_word });
            }
        }
        PatternNode::Internal { children, .. } => {
            for child in children {
                collect_literals(child, language, has_keywords, literals);
            }
        }
    }
}

/// Returns what every match of a rule holds: of all its parts together, or of one of those among which it chooses.
fn required_of_rule(rule: &Rule, language: SupportLang) -> Required {
    match rule {
        Rule::Pattern(pattern) => required_of_pattern(pattern, language),
        Rule::All(rules) => rules.inner().iter().flat_map(|rule| required_of_rule(rule, language)).collect(),
        Rule::Any(rules) => {
            // Of each alternative its longest literal; one without any may match everywhere.
            let longest = |rule: &Rule| {
                required_of_rule(rule, language).into_iter().max_by_key(|choices| shortest(choices))
            };
            let alternatives: Option<Required> = rules.inner().iter().map(longest).collect();
            alternatives.map(|choices| vec![choices.concat()]).unwrap_or_default()
        }
        Rule::Kind(_)
        | Rule::Regex(_)
        | Rule::NthChild(_)
        | Rule::Range(_)
        | Rule::Inside(_)
        | Rule::Has(_)
        | Rule::Precedes(_)
        | Rule::Follows(_)
        | Rule::Not(_)
        | Rule::Matches(_) => Vec::new(),
    }
}

/// Reads the text of a file for parsing. `None`, and counted, when it cannot be had, or when `may_match` says no to its
/// bytes. Before a large one is given, the walk is left to others.
pub(crate) fn read_source(
    file: &FoundFile<'_>,
    counts: &Counts,
    may_match: impl Fn(&[u8]) -> bool,
) -> Option<String> {
    let content = Content::open(file, SYNTAX_FILE_BYTES_MAX, counts)?;
    let is_large = matches!(content, Content::Large(..));
    let Ok(bytes) = content.whole() else {
        Counts::add(&counts.unreadable);
        return None;
    };
    let is_utf16 = matches!(*bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
    if !is_utf16 && !may_match(&bytes) {
        Counts::add(if bytes.contains(&0) { &counts.binary } else { &counts.searched });
        return None;
    }
    let Some(source) = decode_lossy(&bytes) else {
        Counts::add(&counts.binary);
        return None;
    };
    if is_utf16 && !may_match(source.as_bytes()) {
        Counts::add(&counts.searched);
        return None;
    }
    if is_large {
        file.leave_rest();
    }
    Some(source.into_owned())
}

/// Returns whether the syntax tree is nested deeper than `depth_max`. Does not recurse.
fn is_nested_deeper(tree: &Tree, depth_max: usize) -> bool {
    let node = tree.root().get_inner_node();
    // The parser has counted them: few nodes cannot be nested deeply.
    if node.descendant_count() <= depth_max {
        return false;
    }
    let mut cursor = node.walk();
    let mut depth = 0;
    loop {
        if cursor.goto_first_child() {
            depth += 1;
            if depth > depth_max {
                return true;
            }
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
            depth -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(pattern: &str, language: SupportLang) -> Vec<String> {
        let required = required_of_pattern(&compile_pattern(pattern, language).unwrap(), language);
        required.concat().into_iter().map(|literal| literal.text).collect()
    }

    /// Breaks if a language in the table has no parser, which is a panic, or is missing in it.
    #[test]
    fn every_language_has_a_parser() {
        for (language, names) in LANGUAGES {
            assert!(!names.is_empty());
            assert!(language.ast_grep("x").root().get_inner_node().child_count() < 10, "{language:?}");
        }
        assert_eq!(LANGUAGES.len(), SupportLang::all_langs().len());
    }

    /// Breaks if a file that may match is not parsed, or if files are parsed that cannot match.
    #[test]
    fn a_file_must_hold_the_names_of_the_pattern() {
        assert_eq!(required("console.log($$$ARGS)", SupportLang::TypeScript), ["console", "log"]);
        assert_eq!(
            required("async function $F($$$) { $$$ }", SupportLang::JavaScript),
            ["async", "function"]
        );
        assert_eq!(required("$A + $A", SupportLang::Rust), Vec::<String>::new());
        assert_eq!(required("FUNCTION_NAME($A);", SupportLang::Php), ["FUNCTION_NAME"]);
        let shape = |yaml: &str| Shape::compile(None, None, Some(yaml)).unwrap();
        let any = shape("language: ts\nrule:\n  any:\n  - pattern: foo.bar($A)\n  - pattern: bazzz($A)\n");
        assert!(any.may_match(b"foo bar") && any.may_match(b"bazzz") && !any.may_match(b"ba fo"));
        assert!(any.may_match("0bazzz(é)".as_bytes()) && any.may_match("ébazzzé".as_bytes()));
        assert!(!any.may_match(b"bazzzz xbazzz bazzz_ bazzz1") && any.may_match(b"bazzz1 bazzz"));
        let all =
            shape("language: ts\nrule:\n  pattern: foo($A)\n  inside: { kind: program, stopBy: end }\n");
        assert!(all.may_match(b"foo") && !all.may_match(b"fo"));
        let text = shape("language: ts\nrule: { pattern: '\"bar\"' }\n");
        assert!(text.may_match(b"\"\\nbar\""), "what stands in a text is no word");
        let open = shape("language: ts\nrule:\n  any: [{ pattern: foo($A) }, { kind: number }]\n");
        assert!(open.may_match(b""));
        let signature = "language: ts\nrule: { pattern: { context: foo($A), strictness: signature } }\n";
        assert!(shape(signature).may_match(b"bar(1)"));
    }

    /// Breaks if a rule that is wrong is a panic, or its author is not told what is wrong.
    #[test]
    fn rules_are_checked() {
        let deep =
            format!("language: ts\nrule: {{ pattern: '{}1{}' }}", "(".repeat(3_000), ")".repeat(3_000));
        for (yaml, code) in [
            ("language: cobol\nrule: { pattern: a }", "SEARCH_UNKNOWN_LANGUAGE"),
            ("rule: { pattern: a }", "SEARCH_BAD_RULE"),
            (
                "language: ts\nrule: { pattern: a }\n---\nlanguage: ts\nrule: { pattern: b }",
                "SEARCH_BAD_RULE",
            ),
            ("language: ts\nrule: { kind: nonsense }", "SEARCH_BAD_RULE"),
            ("language: ts\nrule: { matches: nobody }", "SEARCH_BAD_RULE"),
            ("language: ts\nrule: { regex: '(' , kind: number }", "SEARCH_BAD_RULE"),
            ("language: ts\nrule: { pattern: 'a(' }", "SEARCH_BAD_RULE"),
            ("language: ts\nrule: { pattern: a }\nfixx: b", "SEARCH_BAD_RULE"),
            ("- [", "SEARCH_BAD_RULE"),
            ("", "SEARCH_BAD_RULE"),
            (&deep, "SEARCH_BAD_PATTERN"),
            (&format!("language: ts\nrule: {}{}", "{not: ".repeat(100), "}".repeat(100)), "SEARCH_BAD_RULE"),
        ] {
            let error = Shape::compile(None, None, Some(yaml)).err().map(|error| error.code());
            assert_eq!(error, Some(code), "{yaml}");
        }
        let error = Shape::compile(None, None, Some("language: ts\nrule: { kind: nonsense }")).err().unwrap();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
