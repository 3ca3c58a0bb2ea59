//! Searches for many patterns at once, and statistics.

use super::{check_error, grep, project, search, write};
use crate::{Answer, mgrep, stats};
use serde_json::{Value, json};
use tempfile::TempDir;

fn ask_mgrep(folder: &TempDir, options: Value) -> mgrep::Answer {
    match search(folder, "mgrep", options) {
        Ok(Answer::Mgrep(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn ask_stats(folder: &TempDir, options: Value) -> stats::Answer {
    match search(folder, "file_stats", options) {
        Ok(Answer::FileStats(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

/// Breaks if one pass over the files gives other results than a search for each pattern.
#[test]
fn many_patterns_give_what_each_gives_alone() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..60 {
        let text = format!(
            "alpha {index}\nBeta gamma\nfoo.bar\nfoo-bar\n\u{e9}t\u{e9} alpha beta\n{}",
            "x\n".repeat(index % 5)
        );
        write(folder.path(), &format!("d{}/f{index}.txt", index % 7), text.as_bytes());
    }
    write(folder.path(), "binary", b"alpha\n\0beta\n");
    let patterns = ["alpha", "beta", "foo.bar", "^x$", "nothing", "\\bgam", "alpha.*beta"];
    for output in ["lines", "files", "counts"] {
        for options in
            [json!({}), json!({"ignoreCase": true}), json!({"fixedStrings": true}), json!({"word": true})]
        {
            let with = |key: &str, value: Value| {
                let mut options = options.clone();
                options[key] = value;
                options["output"] = json!(output);
                options["maxResults"] = json!(1_000);
                options
            };
            let many = ask_mgrep(&folder, with("patterns", json!(patterns)));
            for (pattern, found) in patterns.iter().zip(&many.patterns) {
                let alone = grep(&folder, with("pattern", json!(pattern)));
                assert_eq!(
                    (&found.matches, &found.files),
                    (&alone.matches, &alone.files),
                    "{pattern} {options}"
                );
                assert_eq!((found.pattern.as_str(), &found.next), (*pattern, &None));
            }
            assert!(!many.coverage.truncated);
        }
    }
}

/// Breaks if a frequent pattern crowds out a rare one, or if what was cut cannot be had.
#[test]
fn each_pattern_is_cut_on_its_own_and_can_be_continued() {
    let often = "often\n".repeat(500);
    let folder = project(&[("a.txt", often.as_str()), ("z.txt", "rare\noften\n")]);
    let options = json!({"patterns": ["often", "rare"], "maxResults": 10});
    let answer = ask_mgrep(&folder, options.clone());
    assert_eq!((answer.patterns[0].matches.len(), answer.patterns[1].matches.len()), (10, 1));
    assert_eq!(answer.patterns[1].next, None);
    assert!(answer.coverage.truncated);
    let next = answer.patterns[0].next.clone();
    let rest = grep(&folder, json!({"pattern": "often", "after": next}));
    assert_eq!((rest.matches.len(), rest.matches[0].line), (491, 11));
    let text = search(&folder, "mgrep", options).unwrap().to_text();
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "## often: 10 matches, more with grep_search and after: {\"column\":1,\"line\":10,\"path\":\"a.txt\"}"
    );
    assert!(text.contains("\n## rare: 1 match\nz.txt:1: rare\n"), "{text}");
}

/// Breaks if a pattern's case rule is taken from another's.
#[test]
fn smart_case_is_each_patterns_own() {
    let folder = project(&[("a.txt", "foo\nFOO\nBar\nbar\n")]);
    let answer = ask_mgrep(&folder, json!({"patterns": ["foo", "Bar"], "smartCase": true}));
    let lines = |index: usize| -> Vec<u64> {
        answer.patterns[index].matches.iter().map(|found| found.line).collect()
    };
    assert_eq!((lines(0), lines(1)), (vec![1, 2], vec![3]));
}

/// Breaks if a mistake in one of many patterns is told without its place.
#[test]
fn mistakes_in_many_patterns_are_told_with_their_place() {
    for (options, code, part) in [
        (json!({}), "SEARCH_BAD_OPTIONS", "missing field `patterns`"),
        (json!({"patterns": []}), "SEARCH_BAD_OPTIONS", "patterns: is empty"),
        (json!({"patterns": ["a", 1]}), "SEARCH_BAD_OPTIONS", "patterns[1]: "),
        (json!({"patterns": ["a", ""]}), "SEARCH_BAD_PATTERN", "patterns[1]: is empty"),
        (json!({"patterns": ["a", "("]}), "SEARCH_BAD_PATTERN", "patterns[1]: "),
        (json!({"patterns": ["x".repeat(65_537)]}), "SEARCH_TOO_LONG", "patterns[0]: expected at most 65536"),
        (json!({"patterns": vec!["x"; 101]}), "SEARCH_TOO_LONG", "patterns: expected at most 100"),
        (json!({"patterns": ["a"], "maxResults": 1_001}), "SEARCH_OUT_OF_RANGE", "maxResults: "),
    ] {
        check_error("mgrep", options, code, part);
    }
    check_error("file_stats", json!({"largest": 101}), "SEARCH_OUT_OF_RANGE", "largest: ");
}

/// Breaks if lines, bytes or languages are counted wrongly, or the largest files are not those.
#[test]
fn statistics_count_by_language() {
    let generated = "x\n".repeat(100);
    let folder = project(&[
        (".gitignore", "gen/\n"),
        (".git/HEAD", "x"),
        ("gen/big.rs", generated.as_str()),
        ("src/a.rs", "fn a() {}\n\n// end"),
        ("src/b.rs", "fn b() {}\n"),
        ("Makefile", "all:\n"),
        ("run", "#!/bin/sh\necho\n"),
        ("notes.xyzzy", "one\r\ntwo\r\n"),
        ("empty.txt", ""),
        ("LICENCE", "MIT\n"),
    ]);
    write(folder.path(), "logo.png", b"\x89PNG\0\n\n");
    let answer = ask_stats(&folder, json!({"largest": 2}));
    let of = |name: &str| {
        let found = answer.languages.iter().find(|stats| stats.language == name);
        found.map(|stats| (stats.files, stats.lines, stats.bytes))
    };
    assert_eq!(of("Rust"), Some((2, 4, 27)));
    assert_eq!(of("Makefile"), Some((1, 1, 5)));
    assert_eq!(of("Shell"), Some((1, 2, 15)));
    assert_eq!(of(".xyzzy"), Some((1, 2, 10)));
    assert_eq!(of("binary"), Some((1, 0, 7)));
    assert_eq!((answer.files, answer.coverage.files_searched), (8, 8), "{:?}", answer.languages);
    let largest: Vec<_> =
        answer.largest.iter().map(|file| (file.path.as_str(), file.bytes, file.lines)).collect();
    assert_eq!(largest, [("src/a.rs", 17, 3), ("run", 15, 2)]);
    let text = search(&folder, "file_stats", json!({"largest": 1})).unwrap().to_text();
    assert!(text.starts_with("language: files, lines, bytes\nRust: 2, 4, 27\n"), "{text}");
    assert!(
        text.ends_with(
            "largest files: lines, bytes\nsrc/a.rs: 3, 17\n(8 files, 10 lines, 68 bytes; 8 files searched)\n"
        ),
        "{text}"
    );
}
