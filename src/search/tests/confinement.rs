//! No tool leaves the folders it was given, whatever paths, links and other processes do.

use super::{project, write};
use crate::{Answer, Query, Root, SearchError, run};
use orchestrator_worker::Pool;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn call(root: &Root, name: &str, options: &Value) -> Result<Answer, SearchError> {
    run(Pool::global(), root, Query::parse(name, &options.to_string())?)
}

/// The options of every tool that takes a path, with `path`.
fn with_path(path: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("grep_search", json!({"pattern": "needle", "path": path})),
        ("mgrep", json!({"patterns": ["needle", "x"], "path": path})),
        ("glob_search", json!({"pattern": "**", "path": path})),
        ("file_stats", json!({"path": path})),
        ("ast_search", json!({"pattern": "needle", "language": "ts", "path": path})),
    ]
}

/// Breaks if a tool takes a path that leads out, or does not say what is wrong with it and what would have to be granted.
#[test]
fn every_tool_refuses_what_leads_out() {
    let outside = project(&[("secret.ts", "needle\n")]);
    let target = outside.path().canonicalize().unwrap();
    let folder = project(&[("a.ts", "needle\n"), ("in/b.ts", "needle\n")]);
    let at = |name: &str| folder.path().join(name);
    symlink(&target, at("out")).unwrap();
    symlink(target.join("secret.ts"), at("in/out.ts")).unwrap();
    symlink("..", at("in/up")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
    assert!(fifo.success());
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let shown = target.to_str().unwrap();
    for (path, code, grant) in [
        ("..", "SEARCH_PATH_INVALID", None),
        ("in/../../x", "SEARCH_PATH_INVALID", None),
        ("a\0b", "SEARCH_PATH_INVALID", None),
        ("/", "SEARCH_PATH_OUTSIDE", Some("/")),
        ("/etc/passwd", "SEARCH_PATH_OUTSIDE", Some("/etc")),
        ("/dev/zero", "SEARCH_PATH_OUTSIDE", Some("/dev")),
        ("/proc/self/cwd", "SEARCH_PATH_OUTSIDE", None),
        ("/nothing/is/here", "SEARCH_PATH_OUTSIDE", Some("/nothing/is")),
        (shown, "SEARCH_PATH_OUTSIDE", Some(shown)),
        ("out", "SEARCH_PATH_OUTSIDE", Some(shown)),
        ("out/secret.ts", "SEARCH_PATH_OUTSIDE", Some(shown)),
        ("in/out.ts", "SEARCH_PATH_OUTSIDE", Some(shown)),
        ("loop", "SEARCH_PATH_UNREADABLE", None),
        ("none", "SEARCH_PATH_UNREADABLE", None),
        ("fifo", "SEARCH_NOT_A_FILE", None),
        ("socket", "SEARCH_NOT_A_FILE", None),
    ] {
        for (name, options) in with_path(path) {
            let error = call(&root, name, &options).expect_err(path);
            assert_eq!(error.code(), code, "{name} {path}: {error}");
            if let (Some(grant), SearchError::PathOutside { folder, .. }) = (grant, &error) {
                assert_eq!(folder, Path::new(grant), "{path}");
            }
        }
    }
    drop(socket);
    for (name, options) in with_path("in/up") {
        assert!(call(&root, name, &options).is_ok(), "{name}: a link inside may be named");
    }
}

/// Breaks if a granted folder cannot be searched, or if more than it is granted.
#[test]
fn what_the_host_grants_can_be_reached_and_no_more() {
    let outside = project(&[("granted/a.ts", "needle\n"), ("other/b.ts", "needle\n")]);
    let target = outside.path().canonicalize().unwrap();
    symlink(target.join("other"), target.join("granted/way")).unwrap();
    let folder = project(&[]);
    symlink(target.join("granted"), folder.path().join("out")).unwrap();
    let granted = [target.join("granted"), PathBuf::from("/nothing/here")];
    let root = Root::open(folder.path()).unwrap().with_granted(&granted);
    let path = |below: &str| target.join(below).to_str().unwrap().to_owned();
    for given in [path("granted"), path("granted/a.ts"), "out".to_owned(), "out/a.ts".to_owned()] {
        let answer = call(&root, "grep_search", &json!({"pattern": "needle", "path": given})).unwrap();
        let text = answer.to_text();
        assert!(text.starts_with(&format!("{}:1: needle\n", path("granted/a.ts"))), "{given}: {text}");
        assert!(text.contains("(1 match;"), "a walk follows no link: {text}");
    }
    for given in [path("other"), path(""), path("granted/way"), path("granted/way/b.ts"), path("grantedx")] {
        let error = call(&root, "grep_search", &json!({"pattern": "needle", "path": given})).unwrap_err();
        assert_eq!(error.code(), "SEARCH_PATH_OUTSIDE", "{given}");
    }
}

/// Breaks if a folder that another process swaps for a link, in the middle of a search, leads the search out.
#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let outside = project(&[("d/secret.txt", "needle\n")]);
    let folder = project(&[]);
    for index in 0..50 {
        write(folder.path(), &format!("d/{index}.txt"), b"hay\n");
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        let (inside, aside) = (folder.path().join("d"), folder.path().join("aside"));
        let is_over = &is_over;
        let target = outside.path().join("d");
        threads.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                fs::rename(&inside, &aside).unwrap();
                symlink(&target, &inside).unwrap();
                fs::remove_file(&inside).unwrap();
                fs::rename(&aside, &inside).unwrap();
            }
        });
        let root = Root::open(folder.path()).unwrap();
        for path in [".", "d", "d/secret.txt"].into_iter().cycle().take(600) {
            let answer = call(&root, "grep_search", &json!({"pattern": "needle", "path": path}));
            if let Ok(answer) = answer {
                let text = answer.to_text();
                assert!(text.starts_with("(no matches"), "{path}: {text}");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Breaks if links that lead in circles keep a walk from ending.
#[test]
fn circles_of_links_end() {
    let folder = project(&[("a/b/c.ts", "needle\n")]);
    symlink(folder.path(), folder.path().join("a/b/top")).unwrap();
    symlink("../..", folder.path().join("a/b/up")).unwrap();
    let root = Root::open(folder.path()).unwrap();
    for (name, options) in with_path(".") {
        let text = call(&root, name, &options).unwrap().to_text();
        assert!(text.contains("1 file searched"), "{name}: {text}");
    }
}
