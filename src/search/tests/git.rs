//! What git says of a project, and that a repository made to do harm does none.

use super::*;
use std::process::Command;

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command
        .args(identity)
        .args(["-c", "commit.gpgSign=false", "-c", "protocol.file.allow=always"])
        .args(arguments);
    // A hook that runs while the repository is made proves nothing of ours.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a repository with a commit of these files.
fn repository(files: &[(&str, &str)]) -> TempDir {
    let folder = project(files);
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "First\n\nWith a body."]);
    folder
}

fn text(folder: &Path, tool: &str, options: Value) -> Result<String, SearchError> {
    let query = Query::parse(tool, &options.to_string())?;
    run(Pool::global(), &Root::open(folder)?, query).map(|answer| answer.to_text())
}

/// Breaks if what was changed, staged, renamed, deleted or is new is not told, or not by its path in the project.
#[test]
fn status_diff_and_log_tell_what_changed() {
    let folder = repository(&[
        ("a.txt", "one\n"),
        ("b.txt", "two\n"),
        ("c.txt", "three\nthree\nthree\n"),
        ("sub/d.txt", "four\n"),
        ("sub/é x.txt", "five\n"),
    ]);
    let root = folder.path();
    write(root, "a.txt", b"1\n");
    fs::remove_file(root.join("b.txt")).unwrap();
    git(root, &["mv", "c.txt", "sub/c.txt"]);
    write(root, "sub/new.txt", b"new\n");
    write(root, "sub/é x.txt", b"5\n");
    let status = text(root, "git_status", json!({})).unwrap();
    assert_eq!(
        status,
        "on main\n M a.txt\n D b.txt\nR  c.txt -> sub/c.txt\n?? sub/new.txt\n M sub/é x.txt\n(5 changed files)\n"
    );
    let inside = text(&root.join("sub"), "git_status", json!({})).unwrap();
    assert!(
        inside.contains("?? new.txt") && inside.contains(" M é x.txt") && !inside.contains("a.txt"),
        "{inside}"
    );
    let diff = text(root, "git_diff", json!({"paths": ["a.txt"], "context": 0})).unwrap();
    assert!(diff.ends_with("--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+1\n"), "{diff}");
    let staged = text(root, "git_diff", json!({"staged": true})).unwrap();
    assert!(staged.contains("rename to sub/c.txt") && !staged.contains("a.txt"), "{staged}");
    let inside = text(&root.join("sub"), "git_diff", json!({"from": "HEAD"})).unwrap();
    assert!(inside.contains("+++ b/é x.txt") && !inside.contains("a.txt"), "{inside}");
    let stat = text(root, "git_diff", json!({"stat": true})).unwrap();
    assert!(stat.contains("3 files changed"), "{stat}");

    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "Second"]);
    let log = text(root, "git_log", json!({})).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].ends_with(" T: Second") && lines[1].ends_with(" T: First"), "{log}");
    assert_eq!(&lines[2..], ["    With a body.", "(2 commits)"]);
    let page = text(root, "git_log", json!({"maxResults": 1})).unwrap();
    assert!(
        page.contains("Second") && page.ends_with("(1 commit; pass skip: 1 for those that follow)\n"),
        "{page}"
    );
    let of_path = text(root, "git_log", json!({"paths": ["sub/new.txt"]})).unwrap();
    assert!(of_path.contains("Second") && !of_path.contains("First"), "{of_path}");
    let found = text(root, "git_log", json!({"message": "first"})).unwrap();
    assert!(found.contains("First") && !found.contains("Second"), "{found}");
    let between =
        text(root, "git_diff", json!({"from": "HEAD~1", "to": "HEAD", "paths": ["b.txt"]})).unwrap();
    assert!(between.contains("deleted file"), "{between}");
    assert_eq!(text(root, "git_diff", json!({})).unwrap(), "(no differences)\n");
    assert!(text(root, "git_status", json!({})).unwrap().ends_with("(no changed files)\n"));
}

/// Breaks if what a model writes is taken for an option of git, or if a mistake is not told.
#[test]
fn arguments_are_no_options() {
    let folder = repository(&[("a.txt", "one\n"), ("--output=x", "o\n")]);
    let root = folder.path();
    for revision in ["--output=/tmp/x", "-x", "a b", "", "a\0b", "a\nb"] {
        for (tool, option) in [("git_diff", "from"), ("git_log", "revision")] {
            let error = text(root, tool, json!({option: revision})).unwrap_err();
            assert_eq!(error.code(), "SEARCH_BAD_OPTIONS", "{revision}");
        }
    }
    assert_eq!(text(root, "git_diff", json!({"from": "nobody"})).unwrap_err().code(), "SEARCH_GIT_FAILED");
    write(root, "--output=x", b"p\n");
    let diff = text(root, "git_diff", json!({"paths": ["--output=x"]})).unwrap();
    assert!(diff.contains("+p\n"), "{diff}");
    for (path, code) in
        [("../x", "SEARCH_PATH_INVALID"), ("/etc", "SEARCH_PATH_OUTSIDE"), ("a\0b", "SEARCH_PATH_INVALID")]
    {
        for tool in ["git_status", "git_diff", "git_log"] {
            assert_eq!(text(root, tool, json!({"paths": [path]})).unwrap_err().code(), code);
        }
    }
    let magic = text(root, "git_status", json!({"paths": [":(top)", "*.txt"]})).unwrap();
    assert!(magic.ends_with("(no changed files)\n"), "{magic}");
    let nowhere = project(&[]);
    assert_eq!(text(nowhere.path(), "git_status", json!({})).unwrap_err().code(), "SEARCH_NO_REPOSITORY");
}

/// Breaks if anything that a repository's configuration names is run.
#[cfg(unix)]
#[test]
fn a_hostile_repository_runs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = repository(&[("a.txt", "one\n"), ("b.bin", "two\n"), ("late.txt", "x\n")]);
    let root = folder.path();
    let (marks, script) = (root.join(".git/marks"), root.join(".git/evil"));
    fs::create_dir(&marks).unwrap();
    // Says that it was run, and by what.
    let source = format!("#!/bin/sh\necho \"$0 $*\" > {}/$$\ncat\n", marks.display());
    fs::write(&script, source).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let evil = script.to_str().unwrap();
    let hooks = root.join(".git/hooks");
    for hook in ["post-index-change", "fsmonitor-watchman", "pre-commit", "query-watchman"] {
        fs::copy(&script, hooks.join(hook)).unwrap();
    }
    for key in [
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.askPass",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "diff.external",
        "pager.diff",
        "pager.log",
        "pager.status",
        "sequence.editor",
        "gpg.program",
        "gpg.ssh.program",
        "interactive.diffFilter",
        "credential.helper",
        "diff.evil.command",
        "diff.evil.textconv",
        "diff.a.b.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "filter.Ev.IL.clean",
        "merge.evil.driver",
        "remote.origin.uploadpack",
        "uploadpack.packObjectsHook",
    ] {
        git(root, &["config", key, evil]);
    }
    for (key, value) in [
        ("alias.status", "!evil"),
        ("alias.diff", "!evil"),
        ("alias.log", "!evil"),
        ("filter.evil.required", "true"),
        ("log.showSignature", "true"),
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("status.submoduleSummary", "true"),
        ("diff.submodule", "log"),
        ("format.pretty", "%G?"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", &format!("ext::{evil}")),
        ("extensions.partialClone", "origin"),
        ("core.repositoryFormatVersion", "1"),
        ("protocol.ext.allow", "always"),
        ("core.worktree", "/etc"),
        ("diff.noprefix", "true"),
        ("core.attributesFile", "/dev/null"),
    ] {
        git(root, &["--work-tree=.", "config", key, value]);
    }
    let attributes = "* filter=evil diff=evil merge=evil\n*.bin diff=a.b\nlate.txt filter=Ev.IL\n";
    write(root, ".gitattributes", attributes.as_bytes());
    write(root, ".git/info/attributes", attributes.as_bytes());
    // A submodule with a configuration of its own.
    let inner = root.join("inner");
    fs::create_dir(&inner).unwrap();
    git(&inner, &["init", "-q"]);
    write(&inner, "f.txt", b"1\n");
    git(&inner, &["add", "-A"]);
    git(&inner, &["commit", "-qm", "inner"]);
    git(&inner, &["config", "core.fsmonitor", evil]);
    git(&inner, &["config", "filter.evil.clean", evil]);
    write(&inner, ".git/info/attributes", b"* filter=evil\n");
    write(
        root,
        ".gitmodules",
        b"[submodule \"inner\"]\n path = inner\n url = ./inner\n ignore = none\n update = !evil\n",
    );
    let added = Command::new("git")
        .args([
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.worktree=",
            "--work-tree=.",
            "-c",
            "filter.evil.clean=",
            "-c",
            "filter.evil.process=",
            "-c",
            "filter.evil.required=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args([
            "update-index",
            "--add",
            "--cacheinfo",
            "160000,1111111111111111111111111111111111111111,inner",
        ])
        .current_dir(root)
        .env("GIT_NO_LAZY_FETCH", "1")
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    write(&inner, "f.txt", b"2\n");
    write(root, "a.txt", b"changed\n");
    write(root, "b.bin", b"changed\n");
    write(root, "late.txt", b"y\n");
    for entry in fs::read_dir(&marks).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }

    let status = text(root, "git_status", json!({})).unwrap();
    assert!(status.contains(" M a.txt") && !status.contains("passwd"), "{status}");
    let diff = text(root, "git_diff", json!({})).unwrap();
    assert!(diff.contains("+++ b/a.txt\n@@ -1 +1 @@\n-one\n+changed\n"), "{diff}");
    text(root, "git_diff", json!({"from": "HEAD", "stat": true})).unwrap();
    text(root, "git_diff", json!({"staged": true})).unwrap();
    assert!(text(root, "git_log", json!({})).unwrap().contains("First"));
    text(root, "git_log", json!({"paths": ["a.txt"]})).unwrap();
    let missing = "2222222222222222222222222222222222222222";
    assert!(text(root, "git_diff", json!({"from": missing})).is_err());
    let ran: Vec<String> =
        fs::read_dir(&marks).unwrap().map(|mark| fs::read_to_string(mark.unwrap().path()).unwrap()).collect();
    assert!(ran.is_empty(), "these were run: {ran:?}");

    // The trap is live: git by itself falls into it.
    for arguments in [&["--work-tree=.", "status"][..], &["--work-tree=.", "diff"]] {
        drop(
            Command::new("git")
                .args(arguments)
                .current_dir(root)
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap(),
        );
    }
    assert!(fs::read_dir(&marks).unwrap().count() > 0, "nothing of this was ever going to run");
    for entry in fs::read_dir(&marks).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }

    git(root, &["--work-tree=.", "config", "filter.x=y.clean", evil]);
    assert_eq!(text(root, "git_status", json!({})).unwrap_err().code(), "SEARCH_GIT_FAILED");
    let ran = fs::read_dir(&marks).unwrap().count();
    assert_eq!(ran, 0, "a driver whose name cannot be written on a command line was run");
}

/// Breaks if a project can name a repository that is not its own and have it read.
#[test]
fn a_foreign_repository_is_not_read() {
    let secret = repository(&[("secret.txt", "secret\n")]);
    let folder = project(&[("a.txt", "one\n")]);
    write(folder.path(), ".git", format!("gitdir: {}/.git\n", secret.path().display()).as_bytes());
    for tool in ["git_status", "git_diff", "git_log"] {
        assert_eq!(text(folder.path(), tool, json!({})).unwrap_err().code(), "SEARCH_NO_REPOSITORY");
    }
    // A linked worktree is the project's own.
    let linked = tempfile::tempdir().unwrap();
    let worktree = linked.path().join("w");
    git(secret.path(), &["worktree", "add", "-q", worktree.to_str().unwrap()]);
    write(&worktree, "secret.txt", b"changed\n");
    assert!(text(&worktree, "git_status", json!({})).unwrap().contains(" M secret.txt"));
}

/// Breaks if a large output takes the memory, or an answer does not say that it was cut.
#[test]
fn large_outputs_are_cut_and_say_so() {
    let folder = repository(&[("a.txt", "one\n")]);
    let lines: String = (0..2_000_000).map(|line| format!("{line}\n")).collect();
    write(folder.path(), "a.txt", lines.as_bytes());
    let diff = text(folder.path(), "git_diff", json!({})).unwrap();
    assert!(diff.len() < ANSWER_BYTES_MAX + 200 && diff.contains("[cut at: AnswerBytes"), "{}", diff.len());
    for index in 0..20 {
        write(folder.path(), &format!("new{index}.txt"), b"x");
    }
    let status = text(folder.path(), "git_status", json!({"maxResults": 5})).unwrap();
    assert!(status.contains("(5 changed files)\n[cut at: MaxResults"), "{status}");
}
