//! Whether a file can be read by the grammar of its language.
//!
//! Only ERROR and MISSING nodes of tree-sitter count, and only in languages whose grammar was found to read what
//! is really written: preprocessors, templates and young syntax make the others report errors in sound files.
//! Those are parsed too, but an error in them is a note and no verdict.

use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ast_grep_language::{LanguageExt, SupportLang};
use regex::Regex;
use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

/// The largest file that is parsed.
pub const SYNTAX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long one file may be parsed.
const PARSE_TIME_MAX: Duration = Duration::from_secs(20);
/// Errors listed of one file: after the first few, the others mostly follow from them.
const ERRORS_MAX: usize = 5;
/// Length of an offending line in a finding, in characters.
const LINE_CHARS_MAX: usize = 200;

/// What parsing a file gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// No error.
    Clean,
    /// Never empty, at most [`ERRORS_MAX`], in the order of the file.
    Errors(Vec<SyntaxError>),
    /// The reason why the file cannot be judged, which is no fault of the file.
    NotApplicable(String),
    /// The reason why the file should have been judged and could not be.
    Unknown(String),
}

/// One place the grammar cannot read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// From 1.
    pub(crate) line: u64,
    /// From 1, in characters.
    pub(crate) column: u64,
    /// What is wrong there.
    pub(crate) what: String,
    /// The line, cut to [`LINE_CHARS_MAX`].
    pub(crate) text: String,
}

/// How far a grammar's errors can be believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// An error is an error.
    Judge,
    /// An error may be the grammar's, for this reason.
    Doubt(&'static str),
}

/// Whether an error in a file of this name would be held against it.
pub(crate) fn is_judged(path: &str) -> bool {
    matches!(language(path), Some((_, Trust::Judge)))
}

/// Parses a file; the language follows from its name.
pub(crate) fn read(path: &str, content: &[u8], stop: &dyn Fn() -> bool) -> Reading {
    let Some((language, trust)) = language(path) else {
        return Reading::NotApplicable("no grammar for files of this name".to_owned());
    };
    if content.len() > SYNTAX_BYTES_MAX {
        return Reading::Unknown(format!("larger than {SYNTAX_BYTES_MAX} bytes"));
    }
    let Ok(source) = std::str::from_utf8(content) else {
        return match trust {
            Trust::Judge => Reading::Unknown("the content is not UTF-8".to_owned()),
            Trust::Doubt(_) => Reading::NotApplicable("the content is not UTF-8".to_owned()),
        };
    };
    let Some(tree) = parse(language, source, stop) else {
        return Reading::Unknown("parsing took too long".to_owned());
    };
    let errors = errors(language, &tree, source);
    if !errors.is_empty()
        && let Some(older) = without_young_syntax(language, source)
        && parse(language, &older, stop).is_some_and(|tree| !tree.root_node().has_error())
    {
        return Reading::Clean;
    }
    let trust = if language == SupportLang::JavaScript && has_flow_pragma(source) {
        Trust::Doubt("the file has Flow types")
    } else {
        trust
    };
    match (errors.first(), trust) {
        (None, _) => Reading::Clean,
        (Some(_), Trust::Judge) => Reading::Errors(errors),
        (Some(first), Trust::Doubt(reason)) => Reading::NotApplicable(format!(
            "the {language} grammar stops at {}:{}, which is not held against the file: {reason}",
            first.line, first.column
        )),
    }
}

/// The language of a file by its name, out of those that are compiled in.
///
/// A language missing from ast-grep-language's features would panic on its first use, which is why this table
/// exists and a test parses with each of its languages.
fn language(path: &str) -> Option<(SupportLang, Trust)> {
    use SupportLang as Lang;
    const MACROS: Trust = Trust::Doubt("a preprocessor may change it first");
    const YOUNG: Trust = Trust::Doubt("the grammar does not know all of the language");
    const TEMPLATES: Trust = Trust::Doubt("it may be a template");

    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, extension) = name.rsplit_once('.')?;
    let found = match extension {
        "js" | "mjs" | "cjs" | "jsx" => (Lang::JavaScript, Trust::Judge),
        "ts" | "mts" | "cts" if is_declaration(name) => (Lang::TypeScript, YOUNG),
        "ts" | "mts" | "cts" => (Lang::TypeScript, Trust::Judge),
        "tsx" => (Lang::Tsx, Trust::Judge),
        "json" if allows_trailing_commas(name, path) => {
            (Lang::Json, Trust::Doubt("its reader accepts more than JSON"))
        }
        "json" => (Lang::Json, Trust::Judge),
        "py" | "pyi" => (Lang::Python, Trust::Judge),
        "rs" => (Lang::Rust, Trust::Judge),
        "go" => (Lang::Go, Trust::Judge),
        "c" | "h" => (Lang::C, MACROS),
        "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => (Lang::Cpp, MACROS),
        "cs" => (Lang::CSharp, MACROS),
        "sh" | "bash" => (Lang::Bash, YOUNG),
        "css" => (Lang::Css, YOUNG),
        "dart" => (Lang::Dart, YOUNG),
        "ex" | "exs" => (Lang::Elixir, YOUNG),
        "hs" => (Lang::Haskell, MACROS),
        "java" => (Lang::Java, YOUNG),
        "kt" | "kts" => (Lang::Kotlin, YOUNG),
        "lua" => (Lang::Lua, YOUNG),
        "nix" => (Lang::Nix, YOUNG),
        "rb" => (Lang::Ruby, YOUNG),
        "scala" => (Lang::Scala, YOUNG),
        "sol" => (Lang::Solidity, YOUNG),
        "swift" => (Lang::Swift, YOUNG),
        "tf" | "hcl" => (Lang::Hcl, YOUNG),
        "zig" => (Lang::Zig, YOUNG),
        "html" | "htm" => (Lang::Html, TEMPLATES),
        "php" => (Lang::Php, TEMPLATES),
        "yaml" | "yml" => (Lang::Yaml, TEMPLATES),
        _ => return None,
    };
    Some(found)
}

/// Declarations are mostly written by compilers, in forms that the grammar often cannot read.
fn is_declaration(name: &str) -> bool {
    name.rsplit('.').nth(1) == Some("d")
}

fn allows_trailing_commas(name: &str, path: &str) -> bool {
    name.starts_with("tsconfig")
        || name.starts_with("jsconfig")
        || name.starts_with('.')
        || matches!(name, "devcontainer.json" | "api-extractor.json")
        || path.split('/').any(|part| part == ".vscode")
}

/// The source with what the TypeScript and JavaScript grammars do not know yet taken out, for a second reading;
/// `None` when there is no such thing in it. Only good for the question whether there are errors: what is taken
/// out is replaced by spaces, and also where it stands in a comment or a string.
fn without_young_syntax(language: SupportLang, source: &str) -> Option<String> {
    /// The first group is taken out.
    static YOUNG: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        [
            // export type * from "a"
            r"\bexport\s+(type)\s+\*",
            // interface A<in T, out U>
            r"[<,]\s*(?:const\s+)?(in\s+out|in|out)\s+[A-Z]",
            // export { a } from "a" with { type: "json" }
            r#"\bfrom\s*(?:"[^"\n]*"|'[^'\n]*')\s*(with\s*\{[^{}]*\})"#,
            // import defer * as a from "a"
            r"\bimport\s+(defer)\s+\*",
            // class A { static accessor a: number }
            r"\b(accessor)\s+[\w$#\[]",
            // export { a as null }
            r"\b(as\s+[a-z]+)\s*[,}]",
            // let a: import("a").A<T>
            r#"\b(import\(\s*(?:"[^"\n]*"|'[^'\n]*')\s*\)\s*\.)\s*[A-Za-z_$]"#,
        ]
        .into_iter()
        // Without one of them there is a false alarm, as without this function; a test has an example of each.
        .filter_map(|pattern| Regex::new(pattern).ok())
        .collect()
    });
    if !matches!(language, SupportLang::TypeScript | SupportLang::Tsx | SupportLang::JavaScript) {
        return None;
    }
    let mut older = source.to_owned();
    for pattern in YOUNG.iter() {
        let spans: Vec<_> =
            pattern.captures_iter(&older).filter_map(|found| Some(found.get(1)?.range())).collect();
        for span in spans {
            let spaces = " ".repeat(span.len());
            older.replace_range(span, &spaces);
        }
    }
    (older != source).then_some(older)
}

fn has_flow_pragma(source: &str) -> bool {
    const PRAGMA_BYTES: usize = 1024;
    source[..source.floor_char_boundary(PRAGMA_BYTES)].contains("@flow")
}

/// `None` when it was stopped or took longer than [`PARSE_TIME_MAX`].
fn parse(language: SupportLang, source: &str, stop: &dyn Fn() -> bool) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&language.get_ts_language()).ok()?;
    let deadline = Instant::now() + PARSE_TIME_MAX;
    let mut progress = |_: &ParseState| {
        if stop() || Instant::now() >= deadline { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = source.as_bytes();
    parser.parse_with_options(
        &mut |offset, _| bytes.get(offset..).unwrap_or_default(),
        None,
        Some(ParseOptions::new().progress_callback(&mut progress)),
    )
}

fn errors(language: SupportLang, tree: &Tree, source: &str) -> Vec<SyntaxError> {
    let root = tree.root_node();
    if language == SupportLang::Json && !root.has_error() {
        // The grammar reads a document of no value, or of several, which no reader of JSON accepts.
        let mut cursor = root.walk();
        let mut values = root.named_children(&mut cursor).filter(|node| node.kind() != "comment");
        return match (values.next(), values.next()) {
            (None, _) => vec![at(root, "there is no JSON value".to_owned(), source)],
            (Some(_), None) => Vec::new(),
            (Some(_), Some(second)) => {
                vec![at(second, "a second JSON value follows the first".to_owned(), source)]
            }
        };
    }

    let mut errors = Vec::new();
    let mut cursor = tree.walk();
    // A loop, not recursion: the depth of a tree is the file's choice.
    'nodes: while errors.len() < ERRORS_MAX {
        let node = cursor.node();
        if node.is_missing() {
            errors.push(at(node, format!("{} is missing", node.kind()), source));
        } else if node.is_error() {
            errors.push(at(node, "unexpected text".to_owned(), source));
        } else if node.has_error() && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                break 'nodes;
            }
        }
    }
    errors
}

fn at(node: Node<'_>, what: String, source: &str) -> SyntaxError {
    let offset = source.floor_char_boundary(node.start_byte());
    let (before, after) = source.split_at(offset);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(source.len(), |newline| offset + newline);
    SyntaxError {
        line: node.start_position().row as u64 + 1,
        column: source[start..offset].chars().count() as u64 + 1,
        what,
        text: source[start..end].trim_end().chars().take(LINE_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENSIONS: [&str; 41] = [
        "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "json", "py", "pyi", "rs", "go", "c", "h",
        "cc", "cpp", "cxx", "hh", "hpp", "hxx", "cs", "sh", "bash", "css", "dart", "ex", "exs", "hs", "java",
        "kt", "kts", "lua", "nix", "rb", "scala", "sol", "swift", "tf", "hcl", "zig",
    ];

    fn read_text(path: &str, text: &str) -> Reading {
        read(path, text.as_bytes(), &|| false)
    }

    #[track_caller]
    fn check_clean(path: &str, text: &str) {
        assert_eq!(read_text(path, text), Reading::Clean, "{path}");
    }

    #[track_caller]
    fn check_error(path: &str, text: &str, line: u64, column: u64) {
        let reading = read_text(path, text);
        let Reading::Errors(errors) = reading else { panic!("{path}: {reading:?}") };
        let expected = text.lines().nth(line as usize - 1).unwrap_or_default();
        assert_eq!((errors[0].line, errors[0].column, errors[0].text.as_str()), (line, column, expected));
    }

    /// A language whose feature is off would panic on its first use, inside the host.
    #[test]
    fn every_language_of_the_table_is_compiled_in() {
        for extension in EXTENSIONS.into_iter().chain(["html", "htm", "php", "yaml", "yml"]) {
            let (language, _) = language(&format!("a.{extension}")).expect("in the table");
            assert!(parse(language, "", &|| false).is_some(), "{extension}");
        }
    }

    /// A false alarm would send sound work back for ever.
    #[test]
    fn sound_files_are_clean() {
        check_clean("a.ts", "export async function f<const T>(x: T): Promise<T> { return x satisfies T }\n");
        check_clean("a.tsx", "export const A = <T,>(p: T) => <><b {...p}>x &amp; y</b></>;\n");
        check_clean("a.mts", "using file = open(); export default await import('x');\n");
        check_clean("a.js", "#!/usr/bin/env node\nclass A { static #x = 1; static { f() } } a ??= b?.c;\n");
        check_clean("a.jsx", "export default () => <p onClick={f}>hi</p>\n");
        check_clean("a.json", "{\"a\": [1, -2.5e3, null, \"\\u00e9\"]}\n");
        check_clean("a.json", "// a comment\n{}\n");
        check_clean("a.json", "\u{feff}3");
        check_clean("a.py", "match x:\n    case {'a': [1, *r]} if r: print(f\"{x!r:>{w}} {y['k']}\")\n");
        check_clean("a.rs", "async fn f<'a>(x: &'a str) -> u8 { let Some(y) = g(x) else { return 1 }; y }\n");
        check_clean("a.go", "package a\n\nfunc f[T any](x ...T) { for i := range 3 { _ = i } }\n");
        check_clean("a.ts", "");
    }

    /// The worker is sent to this place, so it must be the right one.
    #[test]
    fn an_error_is_found_where_it_is() {
        check_error("a.ts", "const a = 1;\nfunction f( {\n", 2, 1);
        check_error("a.js", "const b = {\n  c: 1,\n", 1, 1);
        check_error("a.json", "{\n  \"a\": 1,\n}\n", 2, 9);
        check_error("a.py", "x = 1\ndef f(:\n    pass\n", 2, 7);
        check_error("a.rs", "fn main() {\n    let é = ;\n}\n", 2, 11);
        check_error("a.json", "", 1, 1);
        check_error("a.json", "{}\n{}\n", 2, 1);
    }

    /// The grammars lag behind the languages.
    #[test]
    fn young_syntax_is_read_a_second_time() {
        for text in [
            "export type * from './a';\nexport type * as b from \"./b\";\n",
            "interface A<in T, out U> {}\ntype B<in out T> = T;\n",
            "export { a } from './a.json' with { type: 'json' };\n",
            "import defer * as a from './a';\n",
            "class A { static accessor a: number = 1; }\n",
            "export { _null as null, _void as void };\n",
            "let a: import('./a').A<string>;\n",
        ] {
            check_clean("a.ts", text);
            let broken = format!("{text}let b = ;\n");
            let line = broken.lines().count() as u64;
            let reading = read_text("a.ts", &broken);
            let Reading::Errors(errors) = reading else { panic!("{broken}: {reading:?}") };
            assert!(errors.iter().any(|error| error.line == line), "{errors:?}");
        }
    }

    /// Preprocessors, templates and loose JSON are no mistakes.
    #[test]
    fn what_a_grammar_cannot_judge_is_not_held_against_the_file() {
        for (path, text) in [
            ("a.h", "namespace a { template <class T> class B : public C {}; }\n"),
            ("a.yaml", "a: {{ .Values.x }}\n{{- if .y }}\nb: 1\n{{- end }}\n"),
            ("tsconfig.json", "{ \"a\": 1, }\n"),
            (".vscode/settings.json", "{ \"a\": 1, }\n"),
            ("a.js", "// @flow\nfunction f(a: string): number { return 1 }\n"),
            ("README", "const ("),
            ("a.unheard-of", "const ("),
            ("a.vue", "<template>"),
            ("a.d.mts", "export default function (): {\n    a: string;\n};\n"),
        ] {
            let reading = read_text(path, text);
            assert!(matches!(reading, Reading::NotApplicable(_)), "{path}: {reading:?}");
        }
    }

    /// What was not looked at must not pass.
    #[test]
    fn what_cannot_be_parsed_is_unknown() {
        let large = " ".repeat(SYNTAX_BYTES_MAX + 1);
        assert!(matches!(read_text("a.ts", &large), Reading::Unknown(_)));
        assert!(matches!(read("a.ts", b"let a = '\xff'", &|| false), Reading::Unknown(_)));
        let stopped = read("a.ts", "let a = 1;\n".repeat(20_000).as_bytes(), &|| true);
        assert!(matches!(stopped, Reading::Unknown(_)));
    }

    /// A deep tree must not exhaust the stack, which would take the host down.
    #[test]
    fn depth_is_no_danger() {
        for path in ["a.json", "a.ts", "a.py", "a.rs"] {
            let open = "[".repeat(200_000);
            let closed = format!("{open}{}", "]".repeat(200_000));
            let _: Reading = read_text(path, &open);
            let _: Reading = read_text(path, &closed);
        }
    }
}
