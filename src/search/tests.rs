//! Searches of real temporary folders, through the public functions.

use crate::limit::*;
use crate::query::start_within;
use crate::{Answer, Query, Root, SearchError, glob, grep, run, structural};
use ignore::WalkBuilder;
use ignore::overrides::OverrideBuilder;
use orchestrator_worker::{Job, Lane, Pool};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod change;
mod confinement;
mod edit;
mod fuzz;
mod git;
mod limits;
mod many;

const HANG: Duration = Duration::from_secs(60);

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text.as_bytes());
    }
    folder
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn search(folder: &TempDir, kind: &str, options: Value) -> Result<Answer, SearchError> {
    let query = Query::parse(kind, &options.to_string())?;
    run(Pool::global(), &Root::open(folder.path())?, query)
}

fn grep(folder: &TempDir, options: Value) -> grep::Answer {
    match search(folder, "grep_search", options) {
        Ok(Answer::Grep(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn glob(folder: &TempDir, options: Value) -> glob::Answer {
    match search(folder, "glob_search", options) {
        Ok(Answer::Glob(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn ast(folder: &TempDir, options: Value) -> structural::Answer {
    match search(folder, "ast_search", options) {
        Ok(Answer::AstSearch(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

/// The matches as `path:line:column:text`.
fn lines(answer: &grep::Answer) -> Vec<String> {
    let show = |found: &grep::Match| format!("{}:{}:{}:{}", found.path, found.line, found.column, found.text);
    answer.matches.iter().map(show).collect()
}

fn check_error(kind: &str, options: Value, code: &str, message_part: &str) {
    let folder = project(&[("a.txt", "one\n"), ("sub/b.txt", "one\n")]);
    let error = search(&folder, kind, options.clone()).expect_err("an error");
    assert_eq!(error.code(), code, "{options} gave {error}");
    assert!(error.to_string().contains(message_part), "{error}");
}

/// Breaks if matches are missing, misplaced, or in the order in which files happened to be searched.
#[test]
fn grep_gives_every_matching_line_in_order() {
    let folder = project(&[
        ("b.txt", "no\nüx needle needle\nlast needle"),
        ("a/z.txt", "needle\r\nno\r\nNEEDLE\r\n"),
        ("a.txt", "haystack\n"),
    ]);
    let answer = grep(&folder, json!({"pattern": "needle"}));
    assert_eq!(lines(&answer), ["a/z.txt:1:1:needle", "b.txt:2:4:üx needle needle", "b.txt:3:6:last needle"]);
    assert_eq!(answer.coverage.files_searched, 3);
    assert!(
        !answer.coverage.truncated && answer.coverage.limits.is_empty() && answer.coverage.hint.is_none()
    );
    let text = search(&folder, "grep_search", json!({"pattern": "needle"})).unwrap().to_text();
    assert_eq!(
        text,
        "a/z.txt:1: needle\nb.txt:2: üx needle needle\nb.txt:3: last needle\n(3 matches; 3 files searched)\n"
    );
}

/// Breaks if an option of the expression does not reach it.
#[test]
fn grep_options_change_what_matches() {
    let folder = project(&[("a.txt", "foo(1)\nFoo\nfoobar\nfoo\r\n")]);
    let check = |options: Value, expected: &[u64]| {
        let found: Vec<u64> = grep(&folder, options.clone()).matches.iter().map(|found| found.line).collect();
        assert_eq!(found, expected, "{options}");
    };
    check(json!({"pattern": "foo"}), &[1, 3, 4]);
    check(json!({"pattern": "foo", "ignoreCase": true}), &[1, 2, 3, 4]);
    check(json!({"pattern": "foo", "smartCase": true}), &[1, 2, 3, 4]);
    check(json!({"pattern": "Foo", "smartCase": true}), &[2]);
    check(json!({"pattern": "foo", "word": true}), &[1, 4]);
    check(json!({"pattern": "foo(1)", "fixedStrings": true}), &[1]);
    check(json!({"pattern": "foo(1)"}), &[]);
    check(json!({"pattern": "^foo$"}), &[4]);
    check(json!({"pattern": r"Foo\nfoo", "multiline": true}), &[2]);
    check(json!({"pattern": "foo", "path": "a.txt"}), &[1, 3, 4]);
    check(
        json!({"pattern": "foo", "path": folder.path().canonicalize().unwrap().to_str().unwrap()}),
        &[1, 3, 4],
    );
}

/// Breaks if context lines are lost, doubled, or numbered wrongly.
#[test]
fn grep_shows_context() {
    let folder = project(&[("a.txt", "1\n2\nx\n4\nx\n6\n7\n")]);
    let options = json!({"pattern": "x", "beforeContext": 2, "afterContext": 1});
    let answer = grep(&folder, options.clone());
    assert_eq!(
        (answer.matches[0].before.clone(), answer.matches[0].after.clone()),
        (vec!["1".to_owned(), "2".to_owned()], vec!["4".to_owned()])
    );
    let text = search(&folder, "grep_search", options).unwrap().to_text();
    assert_eq!(
        text,
        "a.txt-1- 1\na.txt-2- 2\na.txt:3: x\na.txt-4- 4\na.txt:5: x\na.txt-6- 6\n(2 matches; 1 file searched)\n"
    );
}

/// Breaks if `files` or `counts` list the wrong files, or give lines.
#[test]
fn grep_can_give_files_or_counts() {
    let folder = project(&[("a.txt", "x\nx\n"), ("b.txt", "y\n"), ("c.txt", "x\n")]);
    let files = grep(&folder, json!({"pattern": "x", "output": "files"}));
    let counts = grep(&folder, json!({"pattern": "x", "output": "counts"}));
    let show = |answer: &grep::Answer| -> Vec<_> {
        assert!(answer.matches.is_empty());
        answer.files.iter().map(|file| (file.path.clone(), file.count)).collect()
    };
    assert_eq!(show(&files), [("a.txt".to_owned(), None), ("c.txt".to_owned(), None)]);
    assert_eq!(show(&counts), [("a.txt".to_owned(), Some(2)), ("c.txt".to_owned(), Some(1))]);
}

/// A tree in which each rule of the ignore files decides about some file.
fn ruled_project() -> TempDir {
    let folder = project(&[
        (".git/info/exclude", "excluded.txt\n"),
        (".git/config", "x"),
        (".gitignore", "*.log\n/build/\n!keep.log\nboth.txt\n"),
        (".ignore", "ignored.txt\n!both.txt\n"),
        (".rgignore", "rg.txt\n"),
        (".hidden/a.txt", "x"),
        (".github/a.txt", "x"),
        ("a.log", "x"),
        ("keep.log", "x"),
        ("both.txt", "x"),
        ("excluded.txt", "x"),
        ("ignored.txt", "x"),
        ("rg.txt", "x"),
        ("build/out.txt", "x"),
        ("sub/build/out.txt", "x"),
        ("sub/.gitignore", "!a.log\n*.tmp\n!.env\n"),
        ("sub/a.log", "x"),
        ("sub/b.tmp", "x"),
        ("sub/.env", "x"),
        ("sub/deep/c.tmp", "x"),
        ("inner/.git/HEAD", "x"),
        ("inner/.gitignore", "own.txt\n"),
        ("inner/own.txt", "x"),
        ("inner/a.log", "x"),
        ("plain.txt", "x"),
    ]);
    fs::write(folder.path().join("sub/.gitignore.bak"), "x").unwrap();
    folder
}

/// Breaks if our walk and ripgrep's see different files, from the top or from a folder below it.
#[test]
fn sees_the_files_that_ripgrep_sees() {
    let folder = ruled_project();
    for base in [".", "sub", "inner", "build", "sub/deep"] {
        for (hidden, no_ignore) in [(false, false), (true, false), (false, true), (true, true)] {
            let top = folder.path().join(base).canonicalize().unwrap();
            let mut walk = WalkBuilder::new(&top);
            walk.standard_filters(!no_ignore).hidden(!hidden);
            if !no_ignore {
                walk.add_custom_ignore_filename(".rgignore");
            }
            walk.filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git");
            let root = folder.path().canonicalize().unwrap();
            let mut expected: Vec<String> = walk
                .build()
                .map(Result::unwrap)
                .filter(|entry| entry.file_type().is_some_and(|file_type| file_type.is_file()))
                .map(|entry| entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
                .collect();
            expected.sort();
            let options = json!({"pattern": "**", "path": base, "hidden": hidden, "noIgnore": no_ignore});
            assert_eq!(glob(&folder, options.clone()).paths, expected, "{options}");
        }
    }
}

/// Breaks if a glob or type brings back what the ignore files hide, or narrows to the wrong files.
#[test]
fn globs_and_types_narrow() {
    let folder = project(&[
        (".git/HEAD", ""),
        (".gitignore", "gen.ts\n"),
        ("gen.ts", "x"),
        ("a.ts", "x"),
        ("b.rs", "x"),
        ("src/c.ts", "x"),
        ("src/d.test.ts", "x"),
    ]);
    let check = |options: Value, expected: &[&str]| {
        let answer = grep(&folder, options.clone());
        let paths: Vec<&str> = answer.matches.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, expected, "{options}");
    };
    check(json!({"pattern": "x", "globs": ["*.ts"]}), &["a.ts", "src/c.ts", "src/d.test.ts"]);
    check(json!({"pattern": "x", "globs": ["*.ts", "!*.test.ts"]}), &["a.ts", "src/c.ts"]);
    check(json!({"pattern": "x", "globs": ["!src"]}), &["a.ts", "b.rs"]);
    check(json!({"pattern": "x", "globs": ["src/**"]}), &["src/c.ts", "src/d.test.ts"]);
    check(json!({"pattern": "x", "path": "src", "globs": ["/c.ts"]}), &["src/c.ts"]);
    check(json!({"pattern": "x", "types": ["rust"]}), &["b.rs"]);
    check(json!({"pattern": "x", "path": "a.ts", "types": ["rust"]}), &[]);
    check(json!({"pattern": "x", "path": "gen.ts"}), &["gen.ts"]);
}

/// Breaks if a glob lists too much, too little, or in the wrong order.
#[test]
fn glob_lists_what_the_pattern_names() {
    let folder =
        project(&[("a.ts", ""), ("src/b.ts", ""), ("src/c.rs", ""), ("src/in/d.ts", ""), ("srcs/e.ts", "")]);
    let check = |options: Value, expected: &[&str]| {
        assert_eq!(glob(&folder, options.clone()).paths, expected, "{options}");
    };
    check(json!({"pattern": "*.ts"}), &["a.ts", "src/b.ts", "src/in/d.ts", "srcs/e.ts"]);
    check(json!({"pattern": "./*.ts"}), &["a.ts", "src/b.ts", "src/in/d.ts", "srcs/e.ts"]);
    check(json!({"pattern": "src/*.ts"}), &["src/b.ts"]);
    check(json!({"pattern": "src/**/*.{ts,rs}"}), &["src/b.ts", "src/c.rs", "src/in/d.ts"]);
    check(json!({"pattern": "src/in/d.ts"}), &["src/in/d.ts"]);
    check(json!({"pattern": "in/*", "path": "src"}), &["src/in/d.ts"]);
    check(json!({"pattern": "*.md"}), &[]);
    for (seconds, path) in [(1_000, "src/b.ts"), (3_000, "a.ts"), (2_000, "srcs/e.ts")] {
        let file = fs::File::options().write(true).open(folder.path().join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000 + seconds)).unwrap();
    }
    let latest = glob(&folder, json!({"pattern": "**/*.ts", "sort": "modified", "maxResults": 3}));
    assert_eq!(latest.paths, ["a.ts", "srcs/e.ts", "src/b.ts"]);
    assert_eq!(latest.coverage.limits, [Limit::MaxResults]);
    let (mut paged, mut after) = (Vec::new(), Value::Null);
    while paged.len() < 100 {
        let page =
            glob(&folder, json!({"pattern": "**/*.ts", "sort": "modified", "maxResults": 1, "after": after}));
        paged.extend(page.paths);
        after = json!(page.coverage.next);
        if after.is_null() {
            break;
        }
    }
    let whole = glob(&folder, json!({"pattern": "**/*.ts", "sort": "modified"}));
    assert_eq!((paged, whole.paths[..3].to_vec()), (whole.paths, latest.paths));
}

/// Breaks if globs that are to override leave out what ripgrep's `--glob` brings back, or if others bring it back.
#[test]
fn globs_may_override_what_is_hidden() {
    let folder = project(&[
        (".git/HEAD", ""),
        (".gitignore", "gen.ts\nout/\n*.log\n"),
        ("gen.ts", "x"),
        ("out/a.ts", "x"),
        (".b.ts", "x"),
        (".hidden/c.ts", "x"),
        ("d.ts", "x"),
        ("e.log", "x"),
    ]);
    let root = folder.path().canonicalize().unwrap();
    for (glob_pattern, count) in [
        ("*.ts", 3),
        ("**/*.ts", 3),
        ("out/**", 0),
        ("{out,out/**}", 1),
        ("!*.ts", 0),
        ("*.{ts,log}", 4),
        (".hidden/c.ts", 0),
        ("/gen.ts", 1),
    ] {
        let overrides = OverrideBuilder::new(&root).add(glob_pattern).unwrap().build().unwrap();
        let walk = WalkBuilder::new(&root).overrides(overrides).sort_by_file_path(Path::cmp).build();
        let files = walk.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
        let expected: Vec<String> = files
            .map(|entry| entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(expected.len(), count, "{glob_pattern}: {expected:?}");
        let overriding = json!({"pattern": glob_pattern, "overrideIgnore": true});
        assert_eq!(glob(&folder, overriding).paths, expected, "{glob_pattern}");
        let overriding = json!({"pattern": "x", "globs": [glob_pattern], "overrideIgnore": true});
        let found = grep(&folder, overriding).matches;
        assert_eq!(
            found.iter().map(|found| found.path.clone()).collect::<Vec<_>>(),
            expected,
            "{glob_pattern}"
        );
    }
    assert_eq!(glob(&folder, json!({"pattern": "*.ts"})).paths, ["d.ts"]);
}

/// Breaks if a cut answer does not say so, or if what follows cannot be had by going on.
#[test]
fn a_cut_answer_can_be_continued_to_the_same_whole() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..40 {
        let text = "let x = f(1); let y = f(2);\n".repeat(index % 4);
        write(folder.path(), &format!("d{}/f{index}.ts", index % 7), text.as_bytes());
    }
    for (kind, options) in [
        ("grep_search", json!({"pattern": "f"})),
        ("grep_search", json!({"pattern": "f", "output": "counts"})),
        ("glob_search", json!({"pattern": "**"})),
        ("ast_search", json!({"pattern": "f($A)", "language": "ts"})),
    ] {
        let results = |answer: &Value| -> Vec<Value> {
            let lists = ["matches", "files", "paths"].iter().filter_map(|name| answer[name].as_array());
            lists.flatten().cloned().collect()
        };
        let ask = |options: &Value| json!(search(&folder, kind, options.clone()).unwrap());
        let whole = ask(&options);
        assert_eq!(whole["truncated"], false, "{whole}");
        let (mut parts, mut options) = (Vec::new(), options);
        options["maxResults"] = json!(7);
        loop {
            let part = ask(&options);
            parts.extend(results(&part));
            if part["next"].is_null() {
                assert_eq!((&part["truncated"], &part["limits"]), (&json!(false), &json!([])));
                break;
            }
            assert_eq!((&part["truncated"], &part["limits"]), (&json!(true), &json!(["maxResults"])));
            assert_eq!(results(&part).len(), 7);
            assert!(part["hint"].as_str().unwrap().starts_with("pass after: {"), "{part}");
            options["after"] = part["next"].clone();
        }
        assert_eq!(parts, results(&whole), "{kind} {options}");
    }
}

/// Breaks if an answer may grow without bound, or drops the place of a match in a long line.
#[test]
fn lines_and_answers_are_cut() {
    let long = format!("{}needle{}\n", "x".repeat(100_000), "y".repeat(100_000));
    let folder = project(&[("a.txt", &long)]);
    let answer = grep(&folder, json!({"pattern": "needle"}));
    assert_eq!(
        (answer.coverage.limits.as_slice(), answer.coverage.truncated),
        (&[Limit::LineChars][..], false)
    );
    assert_eq!(answer.matches[0].column, 100_001);
    assert!(answer.matches[0].text.chars().count() <= LINE_CHARS_MAX + 2);
    assert!(answer.matches[0].text.contains("needle"));

    let folder = project(&[("a.txt", &format!("{}\n", "x".repeat(1_000)).repeat(600))]);
    let answer = grep(&folder, json!({"pattern": "x"}));
    assert_eq!(answer.coverage.limits, [Limit::AnswerBytes]);
    assert!(serde_json::to_string(&answer).unwrap().len() < ANSWER_BYTES_MAX + 4_096);
    let next = json!(answer.coverage.next);
    let following = grep(&folder, json!({"pattern": "x", "after": next}));
    assert_eq!(following.matches[0].line, answer.matches.len() as u64 + 1);
    let text = search(&folder, "grep_search", json!({"pattern": "x"})).unwrap().to_text();
    assert!(text.trim_end().ends_with("or narrow path, globs or pattern]"), "{}", &text[text.len() - 200..]);
}

/// Breaks if binary data, odd encodings or oversized files spoil an answer, or are passed over in silence.
#[test]
fn odd_files_are_skipped_and_counted() {
    let folder = project(&[("plain.txt", "needle\n")]);
    write(folder.path(), "binary", b"needle\nab\0c needle\n");
    write(folder.path(), "latin1.txt", b"caf\xe9 needle\n");
    write(folder.path(), "utf16.txt", b"\xff\xfen\0e\0e\0d\0l\0e\0\n\0");
    write(folder.path(), "large.txt", "text\n".repeat(10_000).as_bytes());
    for name in ["large.txt", "large.bin"] {
        let large = fs::File::options().create(true).append(true).open(folder.path().join(name)).unwrap();
        large.set_len(FILE_BYTES_MAX + 1).unwrap();
    }
    let answer = grep(&folder, json!({"pattern": "needle"}));
    assert_eq!(
        lines(&answer),
        ["latin1.txt:1:6:caf\u{fffd} needle", "plain.txt:1:1:needle", "utf16.txt:1:1:needle"]
    );
    assert_eq!((answer.coverage.skipped.binary, answer.coverage.skipped.too_large), (2, 1));
    assert_eq!(
        (answer.coverage.limits.as_slice(), answer.coverage.truncated),
        (&[Limit::FileBytes][..], true)
    );
    assert_eq!(answer.coverage.files_searched, 3);
}

/// Breaks if lines are lost, or given, that ripgrep gives or not of a file whose binary part comes late; or if that depends
/// on what was searched before.
#[test]
fn lines_before_late_binary_data_are_given() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a long line", "x".repeat(1_000_000).as_bytes());
    let text = format!("needle\n{}\0\nneedle\n", "hay\n".repeat(50_000));
    write(folder.path(), "late", text.as_bytes());
    let answer = grep(&folder, json!({"pattern": "needle"}));
    assert_eq!((lines(&answer), answer.coverage.skipped.binary), (vec!["late:1:1:needle".to_owned()], 1));
    assert!(grep(&folder, json!({"pattern": "needle", "output": "counts"})).files.is_empty());
}

/// Breaks if a search leaves the root, follows a link, or waits for ever on a FIFO or device.
#[cfg(unix)]
#[test]
fn links_and_special_files_are_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = project(&[("secret.txt", "needle\n")]);
    let folder = project(&[("in/a.txt", "needle\n")]);
    let at = |name: &str| folder.path().join(name);
    symlink(outside.path(), at("out")).unwrap();
    symlink(outside.path().join("secret.txt"), at("out.txt")).unwrap();
    symlink(at("in"), at("loop")).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(at("fifo")).arg(at(".gitignore")).status().unwrap();
    assert!(fifo.success());
    fs::create_dir(at(".git")).unwrap();
    let answer = grep(&folder, json!({"pattern": "needle"}));
    assert_eq!(lines(&answer), ["in/a.txt:1:1:needle"]);
    assert_eq!(answer.coverage.skipped.special, 5);
    assert_eq!(lines(&grep(&folder, json!({"pattern": "needle", "path": "loop"}))), ["in/a.txt:1:1:needle"]);
    let code_of = |path: &str| {
        search(&folder, "grep_search", json!({"pattern": "needle", "path": path})).unwrap_err().code()
    };
    assert_eq!(code_of("fifo"), "SEARCH_NOT_A_FILE");
    for path in ["out", "out/secret.txt", "out.txt", "zero"] {
        assert_eq!(code_of(path), "SEARCH_PATH_OUTSIDE", "{path}");
    }
}

/// Breaks if a folder without leave to read it ends a search, or goes unmentioned.
#[cfg(unix)]
#[test]
fn unreadable_folders_are_counted() {
    use std::os::unix::fs::PermissionsExt;
    let folder = project(&[("a.txt", "x\n"), ("shut/b.txt", "x\n")]);
    let shut = folder.path().join("shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    // A privileged user reads it all the same.
    let expected = if fs::read_dir(&shut).is_ok() { (2, 0) } else { (1, 1) };
    let answer = grep(&folder, json!({"pattern": "x"}));
    assert_eq!((answer.matches.len(), answer.coverage.skipped.unreadable), expected);
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Breaks if a mistake in the options passes, or is told without its place and a remedy.
#[test]
fn mistakes_are_told_with_their_place() {
    let too_long = "x".repeat(PATTERN_BYTES_MAX + 1);
    for (kind, options, code, part) in [
        ("find", json!({}), "SEARCH_UNKNOWN_TOOL", "use one of grep_search"),
        ("grep_search", json!([]), "SEARCH_BAD_OPTIONS", "options: "),
        ("grep_search", json!({}), "SEARCH_BAD_OPTIONS", "missing field `pattern`"),
        ("grep_search", json!({"pattern": 3}), "SEARCH_BAD_OPTIONS", "pattern: invalid type: integer `3`"),
        ("grep_search", json!({"pattern": "x", "patern": 1}), "SEARCH_BAD_OPTIONS", "unknown field `patern`"),
        ("grep_search", json!({"pattern": "x", "globs": ["a", 1]}), "SEARCH_BAD_OPTIONS", "globs[1]: "),
        (
            "grep_search",
            json!({"pattern": "x", "output": "all"}),
            "SEARCH_BAD_OPTIONS",
            "output: unknown variant `all`",
        ),
        ("grep_search", json!({"pattern": "x", "maxResults": -1}), "SEARCH_BAD_OPTIONS", "maxResults: "),
        ("grep_search", json!({"pattern": "x", "maxResults": 1.5}), "SEARCH_BAD_OPTIONS", "maxResults: "),
        ("grep_search", json!({"pattern": "x", "maxResults": null}), "SEARCH_BAD_OPTIONS", "maxResults: "),
        (
            "grep_search",
            json!({"pattern": "x", "maxResults": 1_u64 << 33}),
            "SEARCH_BAD_OPTIONS",
            "maxResults: ",
        ),
        (
            "grep_search",
            json!({"pattern": "x", "maxResults": 0}),
            "SEARCH_OUT_OF_RANGE",
            "maxResults: expected 1 to 1000",
        ),
        (
            "grep_search",
            json!({"pattern": "x", "beforeContext": 21}),
            "SEARCH_OUT_OF_RANGE",
            "beforeContext: ",
        ),
        ("grep_search", json!({"pattern": too_long}), "SEARCH_TOO_LONG", "pattern: expected at most 65536"),
        ("grep_search", json!({"pattern": ""}), "SEARCH_BAD_PATTERN", "pattern: is empty"),
        ("grep_search", json!({"pattern": "a("}), "SEARCH_BAD_PATTERN", "set fixedStrings"),
        ("grep_search", json!({"pattern": "a\\nb"}), "SEARCH_BAD_PATTERN", "set multiline"),
        ("grep_search", json!({"pattern": "(".repeat(30_000)}), "SEARCH_BAD_PATTERN", "pattern: "),
        ("grep_search", json!({"pattern": "(\\pL{100}){1000}"}), "SEARCH_BAD_PATTERN", "size limit"),
        ("grep_search", json!({"pattern": "x", "globs": ["a["]}), "SEARCH_BAD_GLOB", "globs[0]: "),
        (
            "grep_search",
            json!({"pattern": "x", "globs": ["{".repeat(4_000)]}),
            "SEARCH_BAD_GLOB",
            "globs[0]: ",
        ),
        (
            "grep_search",
            json!({"pattern": "x", "globs": vec!["a"; 101]}),
            "SEARCH_TOO_LONG",
            "globs: expected at most 100",
        ),
        ("grep_search", json!({"pattern": "x", "types": ["cobolt"]}), "SEARCH_UNKNOWN_TYPE", "types[0]: "),
        ("grep_search", json!({"pattern": "x", "path": "../x"}), "SEARCH_PATH_INVALID", "path: "),
        (
            "grep_search",
            json!({"pattern": "x", "path": "sub/../a.txt"}),
            "SEARCH_PATH_INVALID",
            "holds \"..\"",
        ),
        ("grep_search", json!({"pattern": "x", "path": "/etc"}), "SEARCH_PATH_OUTSIDE", "path: "),
        ("grep_search", json!({"pattern": "x", "path": "a\0b"}), "SEARCH_PATH_INVALID", "path: "),
        (
            "grep_search",
            json!({"pattern": "x", "path": "none"}),
            "SEARCH_PATH_UNREADABLE",
            "give an existing",
        ),
        ("glob_search", json!({"pattern": "a["}), "SEARCH_BAD_GLOB", "pattern: "),
        ("glob_search", json!({"pattern": "./"}), "SEARCH_BAD_PATTERN", "pattern: is empty"),
        ("ast_search", json!({"pattern": "f()"}), "SEARCH_BAD_OPTIONS", "language: expected the language"),
        (
            "ast_search",
            json!({"pattern": "f()", "language": "cobol"}),
            "SEARCH_UNKNOWN_LANGUAGE",
            "typescript",
        ),
        ("ast_search", json!({"pattern": "", "language": "ts"}), "SEARCH_BAD_PATTERN", "pattern: "),
        (
            "ast_search",
            json!({"pattern": "f(); g()", "language": "ts"}),
            "SEARCH_BAD_PATTERN",
            "one complete",
        ),
        ("ast_search", json!({"pattern": "$$$A", "language": "ts"}), "SEARCH_BAD_PATTERN", "pattern: "),
        (
            "ast_search",
            json!({"pattern": "(".repeat(30_000), "language": "ts"}),
            "SEARCH_BAD_PATTERN",
            "pattern: ",
        ),
    ] {
        check_error(kind, options, code, part);
    }
    let error = Root::open(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.code(), "SEARCH_BAD_ROOT");
    assert_eq!(Root::open(Path::new("relative")).unwrap_err().code(), "SEARCH_BAD_ROOT");
}

/// Breaks if JSON that no text can hold, or that is nested without bound, is taken or brings the process down.
#[test]
fn hostile_json_is_refused() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"pattern": "x", "globs": {open}{close}}}"#)
    };
    for (json, part) in [
        (r#"{"pattern": "\ud800"}"#.to_owned(), "pattern: "),
        (r#"{"pattern": "a\udc00b"}"#.to_owned(), "pattern: "),
        (r#"{"pattern": "x"} x"#.to_owned(), "options: trailing characters"),
        (r#"{"pattern": "x", "pattern": "y"}"#.to_owned(), "duplicate field"),
        (nested(JSON_DEPTH_MAX - 1), "globs[0]: "),
        (nested(100_000), "globs"),
        (String::new(), "options: EOF"),
    ] {
        let error = Query::parse("grep_search", &json).unwrap_err();
        assert_eq!(error.code(), "SEARCH_BAD_OPTIONS", "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let folder = project(&[("a.txt", "\u{1d11e}\n")]);
    let query = Query::parse("grep_search", r#"{"pattern": "\ud834\udd1e"}"#).unwrap();
    let answer = run(Pool::global(), &Root::open(folder.path()).unwrap(), query).unwrap();
    assert!(answer.to_text().starts_with("a.txt:1: "), "a pair of surrogates is a character");
}

/// Breaks if structure is not matched, or what meta-variables stand for is lost.
#[test]
fn ast_search_finds_shapes_and_names_their_parts() {
    let folder = project(&[
        ("a.ts", "// log(nothing)\nif (é) { log(a,\n  b); }\nlog();\n"),
        ("b.tsx", "log(tsx)\n"),
        ("c.ts", "const x = y === y;\n"),
    ]);
    let answer = ast(&folder, json!({"pattern": "log($$$ARGS)", "language": "typescript"}));
    let found = &answer.matches;
    assert_eq!(found.len(), 2);
    assert_eq!(
        json!(found[0]),
        json!({
            "path": "a.ts", "line": 2, "column": 10, "endLine": 3, "endColumn": 5, "text": "log(a,\n  b)",
            "variables": {"ARGS": ["a", "b"]},
        })
    );
    assert_eq!((found[1].line, found[1].column, found[1].end_column), (4, 1, 6));
    let answer = ast(&folder, json!({"pattern": "$A === $A", "language": "ts"}));
    assert_eq!(json!(answer.matches[0].variables), json!({"A": "y"}));
    assert_eq!(
        search(&folder, "ast_search", json!({"pattern": "$A === $A", "language": "ts"})).unwrap().to_text(),
        "c.ts:1: y === y\n  $A = y\n(1 match; 2 files searched)\n"
    );
    assert_eq!(ast(&folder, json!({"pattern": "log($A)", "language": "tsx"})).matches.len(), 1);
}

/// Breaks if the filter by a literal drops a match, or if files without one are parsed and found wanting.
#[test]
fn the_literal_filter_loses_no_match() {
    let folder = project(&[("a.py", "print('x')\nfoo(1)\n"), ("b.py", "bar(1)\n")]);
    for (pattern, expected) in [("print($A)", 1), ("$F(1)", 2), ("$F($A)", 3), ("baz($A)", 0)] {
        let answer = ast(&folder, json!({"pattern": pattern, "language": "python"}));
        assert_eq!((answer.matches.len(), answer.coverage.files_searched), (expected, 2), "{pattern}");
    }
}

/// Breaks if a deeply nested file overflows a worker's stack, which would take the host down.
#[test]
fn deeply_nested_files_are_skipped() {
    let folder = project(&[("a.ts", "1 + 1\n")]);
    let nested = format!("{}1{} + 1\n", "(".repeat(100_000), ")".repeat(100_000));
    write(folder.path(), "b.ts", nested.as_bytes());
    let answer = ast(&folder, json!({"pattern": "$A + $A", "language": "ts"}));
    assert_eq!((answer.matches.len(), answer.coverage.skipped.too_deep), (1, 1));
    assert_eq!(answer.coverage.limits, [Limit::SyntaxDepth]);
}

/// Breaks if a worker's stack is too small for what may be nested: comparing two trees, and compiling a pattern, recurse.
#[test]
fn what_is_nested_as_deeply_as_allowed_is_searched() {
    let nest = |inside: &str, depth: usize| format!("{}{inside}{}", "(".repeat(depth), ")".repeat(depth));
    let deep = nest("1", SYNTAX_DEPTH_MAX - 10);
    let folder = project(&[("a.ts", &*format!("{deep} === {deep}\n"))]);
    for pattern in ["$A === $A".to_owned(), nest("$A", PATTERN_DEPTH_MAX - 10)] {
        let answer = ast(&folder, json!({"pattern": pattern, "language": "ts"}));
        let found = (answer.matches.is_empty(), answer.coverage.skipped.too_deep);
        assert_eq!(found, (false, 0), "{}", &pattern[..9]);
    }
}

/// Breaks if a language in the table has no parser compiled in, which ast-grep answers with a panic.
#[test]
fn every_language_offered_can_be_parsed() {
    for name in crate::shape::language_names().split(", ") {
        let folder = project(&[]);
        let answer = ast(&folder, json!({"pattern": "$A", "language": name}));
        assert!(answer.matches.is_empty(), "{name}");
    }
}

/// Breaks if a tree may be walked without bound.
#[test]
fn the_depth_of_a_walk_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("{}f.txt", "d/".repeat(TREE_DEPTH_MAX)), b"x\n");
    write(folder.path(), &format!("{}g.txt", "d/".repeat(TREE_DEPTH_MAX + 1)), b"x\n");
    let answer = glob(&folder, json!({"pattern": "*.txt"}));
    assert_eq!((answer.paths.len(), answer.coverage.limits.as_slice()), (1, &[Limit::TreeDepth][..]));
    assert!(answer.coverage.hint.unwrap().contains("deep folders"));
}

/// Breaks if a search cannot be cancelled before it starts, or answers after it was.
#[test]
fn a_cancelled_search_ends_with_an_error() {
    let folder = project(&[("a.txt", "x\n")]);
    let pool = Pool::new(1);
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    let hold = Job::new(Lane::Interactive, HANG, move |_| {
        held.wait();
    });
    pool.submit(hold, |_| {}).unwrap();
    let (sender, receiver) = channel();
    let query = Query::parse("grep_search", r#"{"pattern": "x"}"#).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let on_end = move |result| sender.send(result).unwrap();
    crate::start(&pool, &root, query, on_end).unwrap().cancel();
    gate.wait();
    let error = receiver.recv_timeout(HANG).unwrap().unwrap_err();
    assert_eq!(error.code(), "SEARCH_CANCELLED");
}

/// Breaks if a search that runs cannot be cancelled, or answers after it was.
#[test]
fn a_search_is_cancelled_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..200 {
        write(
            folder.path(),
            &format!("{index}.txt"),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(20_000).as_bytes(),
        );
    }
    let pool = Pool::new(2);
    let (sender, receiver) = channel();
    let query = Query::parse("grep_search", r#"{"pattern": "(a|aa)+b", "output": "counts"}"#).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let ticket = crate::start(&pool, &root, query, move |result| sender.send(result).unwrap()).unwrap();
    while pool.counters().local + pool.counters().shared + pool.counters().steals < 2 {
        std::thread::yield_now();
    }
    ticket.cancel();
    assert_eq!(receiver.recv_timeout(HANG).unwrap().unwrap_err().code(), "SEARCH_CANCELLED");
}

/// Breaks if work that was cancelled goes on, whatever it is at: walking, reading one large file, or looking through it.
#[test]
fn cancelled_work_ends_soon() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..2_000 {
        write(folder.path(), &format!("many/{}/{index}.txt", index % 50), b"hay\n");
    }
    let lines = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(500_000);
    write(folder.path(), "lines.txt", lines.as_bytes());
    write(folder.path(), "line.txt", lines.replace('\n', " ").as_bytes());
    let call = "call(argument, [1, 2, 3], { key: value })\n";
    let calls = call.repeat(usize::try_from(SYNTAX_FILE_BYTES_MAX).unwrap() / call.len());
    write(folder.path(), "calls.js", calls.as_bytes());
    let pool = Pool::new(2);
    let root = Root::open(folder.path()).unwrap();
    // No literal that every match holds, so that every place is looked at.
    let slow = r"(a|aa)+\b[^\sa]\w{50}";
    for (name, options) in [
        ("grep_search", json!({"pattern": "x", "path": "many"})),
        ("grep_search", json!({"pattern": slow, "path": "lines.txt"})),
        ("grep_search", json!({"pattern": slow, "path": "line.txt"})),
        ("grep_search", json!({"pattern": slow, "path": "lines.txt", "multiline": true})),
        ("mgrep", json!({"patterns": [slow, "c"], "path": "lines.txt"})),
        ("ast_search", json!({"pattern": "call(none)", "language": "js", "path": "calls.js"})),
        ("symbols", json!({"path": "calls.js"})),
        ("file_stats", json!({})),
        ("glob_search", json!({"pattern": "**/*.none"})),
    ] {
        for delay_ms in [3, 60] {
            let (sender, receiver) = channel();
            let query = Query::parse(name, &options.to_string()).unwrap();
            let ticket =
                crate::start(&pool, &root, query, move |result| sender.send(result).unwrap()).unwrap();
            std::thread::sleep(Duration::from_millis(delay_ms));
            let started = Instant::now();
            ticket.cancel();
            let result = receiver.recv_timeout(HANG).unwrap();
            let took = started.elapsed();
            if let Err(error) = result {
                assert_eq!(error.code(), "SEARCH_CANCELLED", "{name} {options}");
            }
            // A tenth of a second is promised; a machine that runs other tests too is given more.
            assert!(took < Duration::from_secs(1), "{name} {options} went on for {took:?}");
        }
    }
}

/// Breaks if a search whose time is over gives nothing, or does not say that it was stopped.
#[test]
fn when_its_time_is_over_a_search_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..3_000 {
        write(folder.path(), &format!("{}/{index}.txt", index % 100), "needle\n".repeat(200).as_bytes());
    }
    let (sender, receiver) = channel();
    let query = Query::parse("grep_search", r#"{"pattern": "needle", "output": "counts"}"#).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let on_end = move |result| sender.send(result).unwrap();
    start_within(Pool::global(), &root, query, Duration::from_millis(5), false, on_end).unwrap();
    match receiver.recv_timeout(HANG).unwrap() {
        Ok(Answer::Grep(answer)) => {
            assert!(answer.coverage.limits.contains(&Limit::TimeLimit), "{:?}", answer.coverage);
            assert!(answer.coverage.truncated && answer.coverage.next.is_none());
            assert!(answer.files.len() < 3_000);
        }
        // So little time that not even the first unit ran.
        Err(error) => assert_eq!(error.code(), "WORKER_TIMED_OUT"),
        Ok(other) => panic!("{other:?}"),
    }
}

/// Breaks if the schemas, from which tools and TypeScript types are made, lose a field or its documentation.
#[test]
fn schemas_describe_every_option_and_result() {
    let schema = crate::schema();
    assert_eq!(schema["tools"]["grep_search"]["options"]["required"], json!(["pattern"]));
    assert_eq!(schema["tools"]["replace"]["options"]["required"], json!(["pattern", "replacement"]));
    let tools = schema["tools"].as_object().unwrap().iter();
    let mut objects: Vec<(&String, &Value)> = tools.map(|(name, tool)| (name, &tool["options"])).collect();
    for (name, options) in &objects {
        assert_eq!(options["additionalProperties"], json!(false), "{name}");
        assert!(!options.to_string().contains("$ref"), "{name} is not complete in itself");
    }
    objects.extend(schema["answers"]["definitions"].as_object().unwrap());
    for (name, object) in objects {
        for (property, described) in object["properties"].as_object().into_iter().flatten() {
            assert!(described["description"].is_string(), "{name}.{property} has no documentation");
        }
    }
}
