//! Arguments nobody thought of. Each target makes arguments at random and holds what a tool does with them against a
//! plain way to do the same, or against what must never be.
//!
//! A short run is part of the tests. A long one, here of a minute for each target:
//!
//! ```text
//! FUZZ_SECONDS=60 cargo test -p orchestrator-search fuzz
//! ```
//!
//! What fails is made smaller and kept in `fuzz.regressions`, from where every later run tries it first.

use super::{project, search};
use crate::{Answer, NAMES, Query};
use globset::GlobBuilder;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use regex::RegexBuilder;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SHORT_RUN_CASES: u32 = 100;

/// Tries `check` on what `strategy` makes, for as long as `FUZZ_SECONDS` says, or a short run.
fn fuzz<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds =
        std::env::var("FUZZ_SECONDS").map_or(0, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let mut runner = TestRunner::new(Config {
            cases: SHORT_RUN_CASES,
            source_file: Some(file!()),
            failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
            max_global_rejects: 1_000_000,
            ..Config::default()
        });
        if let Err(error) = runner.run(strategy, &check) {
            panic!("{error}");
        }
        if Instant::now() >= end {
            return;
        }
    }
}

/// Text of pieces that mean something where it is used, and of others.
fn text_of(pieces: &'static [&'static str], length_max: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => prop::sample::select(pieces).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..length_max).prop_map(|pieces| pieces.concat())
}

/// Breaks if a path leads out of the project, or to something that is no file or folder.
#[test]
fn fuzz_path_resolution() {
    let outside = project(&[("deep/file.txt", "outside\n"), ("file.txt", "outside\n")]);
    let folder = project(&[("a/b/file.txt", "inside\n"), ("file.txt", "inside\n")]);
    let at = |name: &str| folder.path().join(name);
    symlink(outside.path(), at("out")).unwrap();
    symlink(outside.path().join("file.txt"), at("a/leak")).unwrap();
    symlink("a/b", at("in")).unwrap();
    symlink("..", at("a/up")).unwrap();
    symlink("round", at("round")).unwrap();
    let own = folder.path().canonicalize().unwrap();
    let strategy = text_of(
        &[
            "/",
            "/",
            "/",
            "..",
            ".",
            "a",
            "b",
            "in",
            "out",
            "leak",
            "up",
            "round",
            "deep",
            "file.txt",
            "\0",
            "\\",
            "~",
            "//",
            "/tmp",
            "/proc/self/root",
            "%2e%2e",
            "é",
        ],
        12,
    );
    let strategy = (strategy, any::<bool>())
        .prop_map(|(path, is_absolute)| if is_absolute { format!("{}/{path}", own.display()) } else { path });
    fuzz(&strategy, |path| {
        for (name, options) in [
            ("grep_search", json!({"pattern": ".", "path": path})),
            ("glob_search", json!({"pattern": "**", "path": path})),
        ] {
            match search(&folder, name, options) {
                Ok(answer) => {
                    prop_assert!(
                        !answer.to_text().contains("outside"),
                        "{name} {path:?} shows {}",
                        answer.to_text()
                    );
                    let reached = folder.path().join(&path).canonicalize();
                    prop_assert!(
                        reached.is_ok_and(|reached| reached.starts_with(&own)),
                        "{name} answers {path:?}"
                    );
                }
                Err(error) => prop_assert!(
                    [
                        "SEARCH_PATH_INVALID",
                        "SEARCH_PATH_OUTSIDE",
                        "SEARCH_PATH_UNREADABLE",
                        "SEARCH_NOT_A_FILE"
                    ]
                    .contains(&error.code()),
                    "{name} {path:?}: {error}"
                ),
            }
        }
        Ok(())
    });
}

const TREE: &[(&str, &str)] = &[
    ("a.rs", ""),
    ("b.txt", ""),
    ("src/a.rs", ""),
    ("src/[x].ts", ""),
    ("src/deep/b.d.ts", ""),
    ("src/deep/er/a.rs", ""),
    ("lib/é.rs", ""),
    ("lib/a b.txt", ""),
    ("srcs/a.rs", ""),
];

/// Breaks if what a pattern's fixed parts prune holds a match, or a match is made up.
#[test]
fn fuzz_glob() {
    let folder = project(TREE);
    let strategy = text_of(
        &[
            "*", "**", "**/", "/", "?", "[", "]", "!", "{", "}", ",", "\\", "src", "deep", "a", "b", ".rs",
            ".ts", "-", "é", " ",
        ],
        10,
    );
    fuzz(&strategy, |pattern| {
        let answer = match search(&folder, "glob_search", json!({"pattern": pattern})) {
            Ok(Answer::Glob(answer)) => answer,
            Ok(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            Err(error) => {
                prop_assert!(
                    ["SEARCH_BAD_GLOB", "SEARCH_BAD_PATTERN", "SEARCH_BAD_OPTIONS", "SEARCH_PATH_INVALID"]
                        .contains(&error.code()),
                    "{error}"
                );
                return Ok(());
            }
        };
        // Where a pattern begins does not matter to the plain way, so it is asked only where it means the same.
        prop_assume!(!pattern.starts_with(['/', '.']) && !pattern.contains("//"));
        let Ok(plain) = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build()
        else {
            return Err(TestCaseError::fail("the plain way refuses the pattern"));
        };
        let plain = plain.compile_matcher();
        let is_match = |path: &str| {
            let subject = if pattern.contains('/') {
                Path::new(path)
            } else {
                Path::new(Path::new(path).file_name().unwrap())
            };
            plain.is_match(subject)
        };
        let mut expected: Vec<&str> =
            TREE.iter().map(|(path, _)| *path).filter(|path| is_match(path)).collect();
        expected.sort_unstable();
        prop_assert_eq!(answer.paths, expected);
        Ok(())
    });
}

/// Breaks if an expression finds other lines than those that match it, or one that is refused was fine.
#[test]
fn fuzz_regex() {
    let expression = text_of(
        &[
            "a", "b", "é", "x", ".", "*", "+", "?", "|", "(", ")", "(?:", "(?i)", "[", "]", "[^", "{2}",
            "{1,3}", "^", "$", r"\b", r"\w", r"\d", r"\s", r"\.", r"\pL", "-", " ",
        ],
        10,
    );
    let line = text_of(&["a", "b", "é", "x", "A", "1", ".", "-", " ", "(", "*"], 12);
    let strategy = (expression, prop::collection::vec(line, 1..8), any::<bool>(), any::<bool>());
    let folder = tempfile::tempdir().unwrap();
    fuzz(&strategy, |(pattern, lines, ignore_case, fixed_strings)| {
        // A byte-order mark at the beginning is no part of the first line.
        let strange = ['\n', '\r', '\0', '\u{feff}'];
        let lines: Vec<String> = lines.into_iter().map(|line| line.replace(strange, "")).collect();
        fs::write(folder.path().join("a.txt"), lines.join("\n") + "\n").unwrap();
        let options = json!({"pattern": pattern, "ignoreCase": ignore_case, "fixedStrings": fixed_strings});
        let source = if fixed_strings { regex::escape(&pattern) } else { pattern.clone() };
        let plain = RegexBuilder::new(&source).case_insensitive(ignore_case).build();
        match (search(&folder, "grep_search", options), plain) {
            (Ok(Answer::Grep(answer)), Ok(plain)) => {
                let numbers = lines
                    .iter()
                    .zip(1u64..)
                    .filter(|(line, _)| plain.is_match(line))
                    .map(|(_, number)| number);
                let found: Vec<u64> = answer.matches.iter().map(|found| found.line).collect();
                prop_assert_eq!(found, numbers.collect::<Vec<_>>());
            }
            // An expression stands in a group, as in ripgrep, which makes sense of `)(`.
            (Ok(Answer::Grep(_)), Err(_)) => {
                prop_assert!(
                    RegexBuilder::new(&format!("(?:{source})")).build().is_ok(),
                    "{source} is taken"
                );
            }
            // What is empty, or asks for the end of a line, itself or by an escape, is refused.
            (Err(error), _) if error.code() == "SEARCH_BAD_PATTERN" => {
                let ends = ["\n", "\r", r"\n", r"\r"];
                let is_spanning = pattern.is_empty() || ends.iter().any(|end| pattern.contains(end));
                prop_assert!(is_spanning || RegexBuilder::new(&source).build().is_err(), "{error}");
            }
            (other, plain) => {
                return Err(TestCaseError::fail(format!(
                    "{other:?}, but the plain way {:?}",
                    plain.map(|_| "takes it")
                )));
            }
        }
        Ok(())
    });
}

/// Breaks if what surrounds a secret hides it, if masking cuts other text or takes it apart, or does not come to an end.
#[test]
fn fuzz_redaction() {
    let surroundings = || {
        text_of(
            &[
                "token",
                "password",
                "key",
                "=",
                ":",
                " ",
                "\"",
                "'",
                "\n",
                "-----BEGIN ",
                "-----",
                "PRIVATE KEY",
                "eyJ",
                "sk-",
                "xoxb-",
                ".",
                "@",
                "//",
                "{",
                "}",
                "é",
                "[masked: ",
                "]",
                "a1B2",
            ],
            16,
        )
    };
    // Put together here so that no scanner takes this file for a leak.
    let secret = (prop::sample::select(&["ghp_", "npm_"][..]), "[A-Za-z0-9]{36}")
        .prop_map(|(kind, rest)| format!("{kind}{rest}"));
    fuzz(&(surroundings(), secret, surroundings()), |(before, secret, after)| {
        let text = format!("{before} {secret} {after}");
        let masked = crate::redact(&text);
        prop_assert!(!masked.contains(&secret), "{text:?} gives {masked:?}");
        prop_assert!(masked.contains("[masked: "));
        prop_assert!(!crate::redact(&masked).contains(&secret));
        let plain = format!("{before}\n");
        if let std::borrow::Cow::Borrowed(same) = crate::redact(&plain) {
            prop_assert_eq!(same, plain.as_str());
        }
        Ok(())
    });
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text_of(&["a", "/", "..", "*", "(", "$A", "{", "\\", "[", ".", "\0", "^"], 8).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Breaks if JSON is read as another value than jaq's own reader makes of it, or refused elsewhere.
#[test]
fn fuzz_json() {
    let piece = text_of(
        &[
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"a\":",
            "\\",
            "\\n",
            "\\u00e9",
            "\\ud83d",
            "\\ude00",
            "b\"",
            "\\xff",
            "null",
            "true",
            "false",
            "NaN",
            "Infinity",
            "-",
            "+",
            "0",
            "1",
            "12345678901234567",
            ".",
            "e",
            " ",
            "\n",
            "#",
            "é",
            "\u{1}",
        ],
        12,
    );
    let any_bytes = prop::collection::vec(any::<u8>(), 0..8);
    let strategy = (any_json(), any::<bool>(), any::<prop::sample::Index>(), piece, any_bytes);
    fuzz(&strategy, |(value, is_pretty, place, piece, bytes)| {
        let whole =
            if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let (start, end) = whole.split_at(place.index(whole.len() + 1));
        // As it is, cut off, with something in it, and something alone.
        let odd = [start, piece.as_bytes(), end].concat();
        for input in [&whole[..], start, &odd, &[start, &bytes, end].concat(), piece.as_bytes()] {
            let [ours, theirs] = crate::json::tests::both(input);
            prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(input));
        }
        Ok(())
    });
}

/// Breaks if a jq filter means something else where it is evaluated without jaq.
#[test]
fn fuzz_plain_filters() {
    let leaves = [
        ".",
        ".a",
        ".b",
        ".a.b",
        ".a?",
        ".[0]",
        ".[-1]",
        ".[1:]",
        ".[:2]",
        ".[]",
        ".[]?",
        ".a[]",
        ".a[]?.b",
        ".[\"c\"]",
        "null",
        "true",
        "false",
        "0",
        "1",
        "-2",
        "1.50",
        "\"a\"",
        "\"\\n\"",
        "not",
        "length",
        "{}",
        "[]",
        "{a}",
        "{\"b\", c: .a}",
    ];
    let filter = prop::sample::select(leaves.to_vec()).prop_map(str::to_owned);
    let filter = filter.prop_recursive(4, 12, 2, |inner| {
        let shapes = [
            "L | R",
            "L | R",
            "L, R",
            "L == R",
            "L < R",
            "L >= R",
            "L != R",
            "L + R",
            "L - R",
            "L * R",
            "L / R",
            "L and R",
            "L or R",
            "L // R",
            "(L)",
            "(L).a",
            "(L)[]",
            "(L)[]?",
            "(L)[0]?",
            "[L]",
            "map(L)",
            "select(L)",
            "{a: (L), b: (R)}",
            "{(L): (R)}",
            "(L) | select(R)",
            "-(L)",
        ];
        (prop::sample::select(shapes.to_vec()), inner.clone(), inner).prop_map(|(shape, left, right)| {
            shape
                .chars()
                .map(|char| match char {
                    'L' => left.clone(),
                    'R' => right.clone(),
                    other => other.to_string(),
                })
                .collect()
        })
    });
    let leaf = prop::sample::select(&["null", "true", "false", "0", "1", "-2", "1.50", "\"a\"", "\"\""][..])
        .prop_map(str::to_owned);
    let input = leaf.prop_recursive(3, 12, 3, |inner| {
        let field = ("[abc]", inner.clone()).prop_map(|(name, value)| format!("{name:?}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(field, 0..3).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    });
    fuzz(&(filter, input), |(filter, input)| {
        if let Some([plain, full]) = crate::jq::tests::both(&filter, &input) {
            prop_assert_eq!(plain, full, "{} of {}", filter, input);
        }
        Ok(())
    });
}

/// Breaks if a tool panics, hangs or writes on some arguments, or refuses them without saying what is wrong.
#[test]
fn fuzz_tool_arguments() {
    let schema = crate::schema();
    let options_of = |name: &str| -> Vec<String> {
        schema["tools"][name]["options"]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let known: Vec<(&str, Vec<String>)> = NAMES.iter().map(|name| (*name, options_of(name))).collect();
    let folder = project(&[("a.js", "first(1)\n"), ("b.json", "{\"a\": [1]}\n")]);
    let strategy = (
        prop::sample::select(known),
        prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..6),
    );
    fuzz(&strategy, |((name, options), values)| {
        let mut arguments = json!({"pattern": "first", "patterns": ["first"], "replacement": "x", "rewrite": "x", "language": "js", "filter": ".", "path": "."});
        let map = arguments.as_object_mut().unwrap();
        map.retain(|key, _| options.contains(key));
        for (index, value) in values {
            map.insert(index.get(&options).clone(), value);
        }
        // What is written is a matter of other tests.
        map.remove("apply");
        match search(&folder, name, arguments.clone()) {
            Ok(answer) => prop_assert!(!answer.to_text().is_empty()),
            Err(error) => prop_assert!(
                error.code().starts_with("SEARCH_") && error.message().contains([':', ';']),
                "{name} {arguments}: {error}"
            ),
        }
        prop_assert_eq!(fs::read_to_string(folder.path().join("a.js")).unwrap(), "first(1)\n");
        Ok(())
    });
    fuzz(&".{0,200}", |text| {
        for name in NAMES {
            prop_assert!(
                Query::parse(name, &text).is_err() || text.trim_start().starts_with('{'),
                "{name} takes {text:?}"
            );
        }
        Ok(())
    });
}

const CODE: &[(&str, &str, &str)] = &[
    ("js", "a.js", "const é = f(a, b)\nif (a) { g(x => [x, ...y]) } else { throw new E(`t${a}`) }\n"),
    ("python", "b.py", "def f(a, *b):\n    return [x for x in a if g(x)]\n"),
    ("rust", "c.rs", "fn f<T>(a: T) -> Option<T> { Some(a)? }\n"),
    ("css", "d.css", "a > b { color: red }\n"),
    ("json", "e.json", "{\"a\": [1, null]}\n"),
];

/// The text of a file from one place to another: lines from 1, columns from 1 in UTF-16 units.
fn between(source: &str, start: (u64, u64), end: (u64, u64)) -> Option<String> {
    let offset = |(line, column): (u64, u64)| -> Option<usize> {
        let before: usize =
            source.split_inclusive('\n').take(usize::try_from(line).ok()? - 1).map(str::len).sum();
        let mut units = 1;
        for (at, character) in source[before..].char_indices() {
            if units == column {
                return Some(before + at);
            }
            units += character.len_utf16() as u64;
        }
        Some(source.len())
    };
    source.get(offset(start)?..offset(end)?).map(str::to_owned)
}

/// Breaks if a syntax pattern makes the search panic, or what it finds is not in the file at the place that it names.
#[test]
fn fuzz_ast_pattern() {
    let files: Vec<(&str, &str)> = CODE.iter().map(|(_, path, source)| (*path, *source)).collect();
    let folder: TempDir = project(&files);
    let pattern = text_of(
        &[
            "$A", "$B", "$$$", "$$$ARGS", "$_", "f", "a", "(", ")", "{", "}", "[", "]", ",", " ", ";", ":",
            "=>", "=", "if ", "fn ", "def ", "return ", "\n", "\"", "'", "`", "1", "<", ">", "µ",
        ],
        9,
    );
    fuzz(&(prop::sample::select(CODE), pattern), |((language, path, source), pattern)| {
        match search(&folder, "ast_search", json!({"pattern": pattern, "language": language})) {
            Ok(Answer::AstSearch(answer)) => {
                for found in answer.matches {
                    prop_assert_eq!(&found.path, path);
                    let text =
                        between(source, (found.line, found.column), (found.end_line, found.end_column));
                    // A text is shown without the end of its last line.
                    let shown = text.as_deref().map(|text| text.strip_suffix('\n').unwrap_or(text));
                    prop_assert_eq!(shown, Some(found.text.as_str()));
                }
            }
            Ok(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            Err(error) => prop_assert_eq!(error.code(), "SEARCH_BAD_PATTERN", "{}", error),
        }
        Ok(())
    });
}
