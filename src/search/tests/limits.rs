//! Each limit at its edge: what reaches it passes, what is one beyond does not.

use super::{ast, check_error, glob, grep, project, search, write};
use crate::Answer;
use crate::limit::*;
use serde_json::json;
use std::fs;

/// A text of so many bytes that matches itself, as an expression, a glob and a filter.
fn text(size_bytes: usize) -> String {
    "x".repeat(size_bytes)
}

/// Breaks if an option is refused that the documents allow, or taken that they do not.
#[test]
fn options_reach_their_limits_and_no_further() {
    let too_long = "SEARCH_TOO_LONG";
    let out_of_range = "SEARCH_OUT_OF_RANGE";
    let pattern = |size| json!({"pattern": text(size), "fixedStrings": true});
    let globs = |count| json!({"pattern": "x", "globs": vec!["*"; count]});
    let types = |count| json!({"pattern": "x", "types": vec!["js"; count]});
    let glob_of = |size| json!({"pattern": text(size)});
    let patterns = |count| json!({"patterns": vec!["x"; count]});
    let each_pattern = |size| json!({"patterns": [text(size)], "fixedStrings": true});
    let results = |count: u32| json!({"pattern": "x", "maxResults": count});
    let context = |count: u32| json!({"pattern": "x", "beforeContext": count, "afterContext": count});
    let diff_context = |count: u32| json!({"beforeText": "", "afterText": "", "context": count});
    let filter = |size| json!({"text": "1", "filter": format!(".{}", " ".repeat(size - 1))});
    for (kind, within, beyond, code) in [
        ("grep_search", pattern(PATTERN_BYTES_MAX), pattern(PATTERN_BYTES_MAX + 1), too_long),
        ("grep_search", globs(GLOBS_MAX), globs(GLOBS_MAX + 1), too_long),
        ("grep_search", types(GLOBS_MAX), types(GLOBS_MAX + 1), too_long),
        ("grep_search", results(RESULTS_MAX), results(RESULTS_MAX + 1), out_of_range),
        ("grep_search", results(1), results(0), out_of_range),
        ("grep_search", context(CONTEXT_LINES_MAX), context(CONTEXT_LINES_MAX + 1), out_of_range),
        ("glob_search", glob_of(GLOB_BYTES_MAX), glob_of(GLOB_BYTES_MAX + 1), too_long),
        ("glob_search", results(RESULTS_MAX), results(RESULTS_MAX + 1), out_of_range),
        ("mgrep", patterns(PATTERNS_MAX), patterns(PATTERNS_MAX + 1), too_long),
        ("mgrep", each_pattern(PATTERN_BYTES_MAX), each_pattern(PATTERN_BYTES_MAX + 1), too_long),
        ("diff", diff_context(CONTEXT_LINES_MAX), diff_context(CONTEXT_LINES_MAX + 1), out_of_range),
        ("jq", filter(FILTER_BYTES_MAX), filter(FILTER_BYTES_MAX + 1), too_long),
    ] {
        let found = search(&project(&[("a.txt", "x\n")]), kind, within);
        assert!(found.is_ok(), "{kind}: {}", found.unwrap_err());
        check_error(kind, beyond, code, "");
    }
}

/// Breaks if options of the size allowed are refused, or larger ones are parsed.
#[test]
fn the_size_of_options_is_bounded() {
    let of = |size_bytes: usize| {
        let frame = json!({"text": "\"\"", "filter": "."}).to_string().len();
        json!({"text": format!("\"{}\"", text(size_bytes - frame)), "filter": "."})
    };
    assert_eq!(of(OPTIONS_BYTES_MAX).to_string().len(), OPTIONS_BYTES_MAX);
    assert!(search(&project(&[]), "jq", of(OPTIONS_BYTES_MAX)).is_ok());
    check_error("jq", of(OPTIONS_BYTES_MAX + 1), "SEARCH_TOO_LONG", "options");
}

/// Breaks if a file of the size allowed is passed over, or a larger one is read.
#[test]
fn files_reach_their_limits_and_no_further() {
    let folder = project(&[]);
    // The text, then line ends up to the size.
    let sized = |text: &str, size_bytes: u64| {
        let filling = usize::try_from(size_bytes).unwrap() - text.len();
        format!("{text}{}", "\n".repeat(filling))
    };
    let put = |path: &str, text: &str, size_bytes: u64| {
        write(folder.path(), path, sized(text, size_bytes).as_bytes());
    };

    put("grep/within.txt", "needle", FILE_BYTES_MAX);
    put("grep/beyond.txt", "needle", FILE_BYTES_MAX + 1);
    let answer = grep(&folder, json!({"pattern": "needle", "path": "grep"}));
    assert_eq!((answer.matches.len(), answer.coverage.skipped.too_large), (1, 1));
    fs::remove_dir_all(folder.path().join("grep")).unwrap();

    put("ast/within.js", "needle()", SYNTAX_FILE_BYTES_MAX);
    put("ast/beyond.js", "needle()", SYNTAX_FILE_BYTES_MAX + 1);
    let answer = ast(&folder, json!({"pattern": "needle()", "language": "js", "path": "ast"}));
    assert_eq!((answer.matches.len(), answer.coverage.skipped.too_large), (1, 1));

    put("edit/within.txt", "needle", EDIT_FILE_BYTES_MAX);
    put("edit/beyond.txt", "needle", EDIT_FILE_BYTES_MAX + 1);
    let replaced = |path: &str, replacement: &str| {
        let options = json!({"pattern": "needle", "replacement": replacement, "path": path, "apply": true});
        search(&folder, "replace", options).map_err(|error| error.code())
    };
    assert!(replaced("edit/within.txt", "noodle").is_ok());
    match replaced("edit/beyond.txt", "noodle") {
        Ok(Answer::Replace(answer)) => assert_eq!((answer.files.len(), answer.skipped.too_large), (0, 1)),
        other => panic!("{other:?}"),
    }
    put("edit/within.txt", "needle", EDIT_FILE_BYTES_MAX);
    assert_eq!(replaced("edit/within.txt", "needles").unwrap_err(), "SEARCH_TOO_LARGE", "after the edit");
    fs::remove_dir_all(folder.path().join("edit")).unwrap();

    for (name, size_bytes, seen) in
        [("within", IGNORE_FILE_BYTES_MAX, false), ("beyond", IGNORE_FILE_BYTES_MAX + 1, true)]
    {
        put(&format!("{name}/.ignore"), "hidden.txt\n", size_bytes);
        put(&format!("{name}/hidden.txt"), "", 0);
        let answer = glob(&folder, json!({"pattern": "hidden.txt", "path": name}));
        assert_eq!(!answer.paths.is_empty(), seen, "{name}");
    }
}

/// Breaks if a line or an answer is cut that is as long as allowed, or one beyond is given whole.
#[test]
fn answers_reach_their_limits_and_no_further() {
    let shown = |length: usize| {
        let folder = project(&[("a.txt", &*format!("{}\n", text(length)))]);
        let answer = grep(&folder, json!({"pattern": "^x"}));
        (answer.matches[0].text.clone(), answer.coverage.limits)
    };
    assert_eq!(shown(LINE_CHARS_MAX), (text(LINE_CHARS_MAX), vec![]));
    assert_eq!(shown(LINE_CHARS_MAX + 1), (format!("{}…", text(LINE_CHARS_MAX)), vec![Limit::LineChars]));

    let found = |count: usize| {
        let folder = project(&[("a.txt", &*"x\n".repeat(count))]);
        let answer = grep(&folder, json!({"pattern": "x"}));
        (answer.matches.len(), answer.coverage.truncated)
    };
    let most = RESULTS_MAX as usize;
    assert_eq!((found(most), found(most + 1)), ((most, false), (most, true)));
}

/// Breaks if a call may edit more files than the documents say, or fewer.
#[test]
fn the_number_of_edited_files_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let put = |index: usize| write(folder.path(), &format!("{index}.txt"), b"old\n");
    (0..EDIT_FILES_MAX).for_each(put);
    let apply = || {
        let options = json!({"pattern": "old", "replacement": "new", "apply": true});
        search(&folder, "replace", options).map_err(|error| error.code())
    };
    match apply() {
        Ok(Answer::Replace(answer)) => assert_eq!(answer.files.len(), EDIT_FILES_MAX),
        other => panic!("{other:?}"),
    }
    (0..=EDIT_FILES_MAX).for_each(put);
    assert_eq!(apply().unwrap_err(), "SEARCH_TOO_MANY_FILES");
    assert_eq!(fs::read_to_string(folder.path().join("0.txt")).unwrap(), "old\n", "nothing is written");
}
