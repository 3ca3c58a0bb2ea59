//! Find and replace, in text and in structure, over real files.

use super::*;

fn change(folder: &TempDir, tool: &str, options: Value) -> Result<crate::replace::Answer, SearchError> {
    let answer = search(folder, tool, options)?;
    let (Answer::Replace(answer) | Answer::AstReplace(answer)) = answer else { panic!("{answer:?}") };
    Ok(answer)
}

fn read(folder: &TempDir, path: &str) -> String {
    fs::read_to_string(folder.path().join(path)).unwrap()
}

/// Breaks if a dry run changes something, or if what is applied is not what it showed.
#[test]
fn a_dry_run_shows_what_apply_does() {
    for (tool, options) in [
        ("replace", json!({"pattern": "old(\\w*)", "replacement": "new$1", "globs": ["*.ts"]})),
        ("ast_replace", json!({"pattern": "old($A)", "rewrite": "new($A)", "language": "ts"})),
    ] {
        let files = [
            ("a.ts", "old(1)\nkeep\n"),
            ("sub/b.ts", "x\nold(2); old(3)\n"),
            ("c.txt", "old(4)\n"),
            ("d.ts", "none\n"),
        ];
        let folder = project(&files);
        let dry = change(&folder, tool, options.clone()).unwrap();
        assert!(!dry.applied);
        let counts: Vec<_> = dry
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.replacements, file.added, file.removed))
            .collect();
        assert_eq!(counts, [("a.ts", 1, 1, 1), ("sub/b.ts", 2, 1, 1)], "{tool}");
        assert!(
            dry.diff.contains(
                "--- a/sub/b.ts\n+++ b/sub/b.ts\n@@ -1,2 +1,2 @@\n x\n-old(2); old(3)\n+new(2); new(3)\n"
            ),
            "{}",
            dry.diff
        );
        for (path, content) in files {
            assert_eq!(read(&folder, path), content);
        }
        let shown = search(&folder, tool, options.clone()).unwrap().to_text();
        assert!(
            shown.contains("(dry run, nothing was changed: 3 replacements in 2 files;")
                && shown.contains("apply: true"),
            "{shown}"
        );

        let mut applying = options;
        applying["apply"] = json!(true);
        let done = change(&folder, tool, applying.clone()).unwrap();
        assert_eq!((done.applied, &done.diff, &done.files), (true, &dry.diff, &dry.files));
        assert_eq!(
            (read(&folder, "a.ts"), read(&folder, "sub/b.ts")),
            ("new(1)\nkeep\n".to_owned(), "x\nnew(2); new(3)\n".to_owned())
        );
        assert_eq!(read(&folder, "c.txt"), "old(4)\n");
        assert!(change(&folder, tool, applying).unwrap().files.is_empty());
    }
}

/// Breaks if one file that may not be written leaves others changed.
#[test]
fn nothing_is_written_unless_all_can_be() {
    let folder = project(&[("a.txt", "old\n"), ("b.txt", "old\n")]);
    let options = json!({"pattern": "old", "replacement": "new", "apply": true});
    let query = Query::parse("replace", &options.to_string()).unwrap();
    let root = Root::open(folder.path()).unwrap().with_lease(&["a.txt".to_owned()]);
    let error = run(Pool::global(), &root, query).unwrap_err();
    assert_eq!(error.code(), "SEARCH_NOT_LEASED");
    assert_eq!((read(&folder, "a.txt"), read(&folder, "b.txt")), ("old\n".to_owned(), "old\n".to_owned()));
}

/// Breaks if encodings, marks, line ends or modes change, or if what is no text is touched.
#[test]
fn files_stay_what_they_are() {
    let folder = project(&[]);
    let bom = b"\xEF\xBB\xBFold\r\nnext\r\n";
    write(folder.path(), "bom.txt", bom);
    write(folder.path(), "utf16.txt", &[0xFF, 0xFE, b'o', 0, b'l', 0, b'd', 0]);
    write(folder.path(), "latin1.txt", b"old \xE9\n");
    write(folder.path(), "binary.bin", b"old\0old");
    write(folder.path(), ".opencode/todo.md", b"old\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path().join("bom.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let options = json!({"pattern": "old", "replacement": "new\nx", "apply": true, "multiline": true});
    let answer = change(&folder, "replace", options.clone()).unwrap();
    let paths: Vec<&str> = answer.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["bom.txt", "utf16.txt"]);
    assert_eq!(fs::read(folder.path().join("bom.txt")).unwrap(), b"\xEF\xBB\xBFnew\r\nx\r\nnext\r\n");
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain("new\nx".bytes().flat_map(|byte| [byte, 0])).collect();
    assert_eq!(fs::read(folder.path().join("utf16.txt")).unwrap(), utf16);
    assert_eq!(fs::read(folder.path().join("latin1.txt")).unwrap(), b"old \xE9\n");
    assert_eq!(fs::read(folder.path().join("binary.bin")).unwrap(), b"old\0old");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join("bom.txt")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
    let mut hidden = options;
    hidden["hidden"] = json!(true);
    let error = change(&folder, "replace", hidden).unwrap_err();
    assert_eq!(error.code(), "SEARCH_PROTECTED");
}

/// Breaks if a comparison is not that of the two files or texts given, or if a mistake is not told.
#[test]
fn files_and_texts_are_compared() {
    let folder = project(&[("a.txt", "1\n2\n"), ("b.txt", "1\n3\n"), ("c.bin", "a\0b")]);
    let text = |options: Value| search(&folder, "diff", options).unwrap().to_text();
    let expected =
        "--- a.txt\n+++ b.txt\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n(1 line added, 1 line removed, 1 hunk)\n";
    assert_eq!(text(json!({"before": "a.txt", "after": "b.txt"})), expected);
    assert!(text(json!({"before": "a.txt", "afterText": "1\n2\nx\n"})).contains("+x\n"));
    assert_eq!(text(json!({"beforeText": "a", "afterText": "a"})), "(the same, byte by byte)\n");
    assert_eq!(text(json!({"before": "c.bin", "afterText": "a"})), "(binary data, which differs)\n");
    for (options, code) in [
        (json!({"before": "a.txt"}), "SEARCH_BAD_OPTIONS"),
        (json!({"before": "a.txt", "beforeText": "", "afterText": ""}), "SEARCH_BAD_OPTIONS"),
        (json!({"before": "../a.txt", "after": "b.txt"}), "SEARCH_PATH_INVALID"),
        (json!({"before": "/etc/hostname", "after": "b.txt"}), "SEARCH_PATH_OUTSIDE"),
        (json!({"before": "none.txt", "after": "b.txt"}), "SEARCH_PATH_UNREADABLE"),
    ] {
        assert_eq!(search(&folder, "diff", options.clone()).unwrap_err().code(), code, "{options}");
    }
}

/// Breaks if an outline leaves out a file or a language without a word, or cannot be narrowed and continued.
#[test]
fn outlines_of_trees() {
    let folder = project(&[
        ("src/a.ts", "export class A {\n  m() {}\n}\n"),
        ("src/b.py", "def helper():\n    pass\n"),
        ("src/c.css", "a {}\n"),
        ("README.md", "# Title\n"),
    ]);
    let text = |options: Value| search(&folder, "symbols", options).unwrap().to_text();
    let whole = "README.md:1: heading Title\nsrc/a.ts:1: class A\nsrc/a.ts:2:   method m\nsrc/b.py:1: function helper\n(4 symbols; 3 files searched)\n";
    assert_eq!(text(json!({})), whole);
    assert_eq!(
        text(json!({"path": "src/a.ts"})),
        "src/a.ts:1: class A\nsrc/a.ts:2:   method m\n(2 symbols; 1 file searched)\n"
    );
    assert!(text(json!({"name": "HELP"})).starts_with("src/b.py:1: function helper\n(1 symbol;"));
    let Ok(Answer::Symbols(page)) = search(&folder, "symbols", json!({"maxResults": 2})) else { panic!() };
    let next = page.coverage.next.unwrap();
    assert!(text(json!({"after": next})).starts_with("src/a.ts:2:"));
    let error = search(&folder, "symbols", json!({"path": "src/c.css"})).unwrap_err();
    assert_eq!(error.code(), "SEARCH_NO_OUTLINE");
}
