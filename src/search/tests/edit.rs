//! Edits: all files of a call or none, as they were otherwise.

use super::{project, write};
use crate::SearchError;
use crate::edit::{Edit, Original, Staged, write_all};
use crate::limit::{EDIT_BYTES_MAX, EDIT_FILE_BYTES_MAX};
use crate::root::Root;
use orchestrator_worker::{Job, Lane, Pool, Scope};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

fn read(root: &Root, path: &str) -> Result<Original, SearchError> {
    Original::read(root, root.find(path)?)
}

/// Replaces `from` by `to` in the files, on the pool, as a tool does.
fn replace(root: &Root, paths: &[&str], from: &str, to: &str) -> Result<(), SearchError> {
    let originals = paths.iter().map(|path| read(root, path)).collect::<Result<Vec<_>, _>>()?;
    let edits = originals.into_iter().map(|original| {
        let text = original.text.replace(from, to);
        Edit { original, text }
    });
    commit(edits.collect())
}

fn commit(edits: Vec<Edit>) -> Result<(), SearchError> {
    on_pool(move |scope| write_all(&edits, scope))
}

fn on_pool(
    run: impl FnOnce(&Scope<'_>) -> Result<(), SearchError> + Send + 'static,
) -> Result<(), SearchError> {
    let (sender, receiver) = channel();
    let job = Job::new(Lane::Interactive, Duration::from_secs(60), move |scope| {
        sender.send(run(scope)).unwrap();
    });
    Pool::global().submit(job, |_| {}).unwrap();
    receiver.recv().unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn root(folder: &TempDir) -> Root {
    Root::open(folder.path()).unwrap()
}

/// Breaks if an edit changes mode, encoding, mark or line ends, or leaves something behind.
#[test]
fn an_edit_keeps_what_it_was_not_asked_to_change() {
    let folder = project(&[("a.sh", "one\r\ntwo\r\n")]);
    fs::set_permissions(folder.path().join("a.sh"), fs::Permissions::from_mode(0o751)).unwrap();
    write(folder.path(), "b.txt", b"\xEF\xBB\xBFone\n");
    write(folder.path(), "c.txt", b"\xFF\xFEo\0n\0e\0");
    replace(&root(&folder), &["a.sh", "b.txt", "c.txt"], "one", "1").unwrap();
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.sh"), b"1\r\ntwo\r\n");
    assert_eq!(bytes("b.txt"), b"\xEF\xBB\xBF1\n");
    assert_eq!(bytes("c.txt"), b"\xFF\xFE1\0");
    let mode = fs::metadata(folder.path().join("a.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o751);
    assert_eq!(names(&folder), ["a.sh", "b.txt", "c.txt"]);
    assert_eq!(read(&root(&folder), "a.sh").unwrap().line_end(), "\r\n");
}

/// Breaks if one file of a call is changed although another cannot be.
#[test]
fn all_files_are_changed_or_none() {
    let folder = project(&[("a.txt", "one\n"), ("b.txt", "one\n"), ("sub/c.txt", "one\n")]);
    let root = root(&folder);
    let edits = |paths: &[&str]| -> Vec<Edit> {
        let originals = paths.iter().map(|path| read(&root, path).unwrap());
        originals.map(|original| Edit { text: original.text.replace("one", "two"), original }).collect()
    };
    let texts =
        || ["a.txt", "b.txt", "sub/c.txt"].map(|path| fs::read_to_string(folder.path().join(path)).ok());

    // Someone else writes to a file between reading and writing.
    let pending = edits(&["a.txt", "b.txt"]);
    fs::write(folder.path().join("b.txt"), "ONE\n").unwrap();
    assert_eq!(commit(pending).unwrap_err().code(), "SEARCH_CHANGED");
    fs::write(folder.path().join("b.txt"), "one\n").unwrap();
    let one = Some("one\n".to_owned());
    assert_eq!(texts(), [one.clone(), one.clone(), one.clone()]);

    // The folder of the last file is gone.
    let pending = edits(&["a.txt", "sub/c.txt"]);
    fs::remove_dir_all(folder.path().join("sub")).unwrap();
    assert_eq!(commit(pending).unwrap_err().code(), "SEARCH_WRITE_FAILED");
    assert_eq!(texts(), [one.clone(), one, None]);
    assert_eq!(names(&folder), ["a.txt", "b.txt"]);
}

/// Breaks if a rename that fails leaves those before it made.
#[test]
fn a_failed_rename_is_taken_back() {
    let folder = project(&[("a.txt", "one\n"), ("sub/b.txt", "one\n")]);
    let root = root(&folder);
    let edit = |path: &str| Edit { original: read(&root, path).unwrap(), text: "two\n".to_owned() };
    let (edits, sub) = ([edit("a.txt"), edit("sub/b.txt")], folder.path().join("sub"));
    let error = on_pool(move |scope| {
        let staged = Staged::write(&edits, scope)?;
        // Someone takes the temporary file of the second away.
        for entry in fs::read_dir(sub).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "tmp") {
                fs::remove_file(path).unwrap();
            }
        }
        staged.commit(scope)
    });
    assert_eq!(error.unwrap_err().code(), "SEARCH_WRITE_FAILED");
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), "one\n");
    assert_eq!(names(&folder), ["a.txt", "sub"]);
}

/// Breaks if git's files, our state, what the lease leaves out, or what is no text can be edited.
#[test]
fn what_may_not_be_edited_is_refused_before_it_is_read() {
    let folder = project(&[
        (".git/config", "one\n"),
        ("sub/.git/hooks/pre-commit", "one\n"),
        (".GIT/config", "one\n"),
        (".opencode/orchestrator/journal.db", "one\n"),
        (".opencode/todo.md", "one\n"),
        (".opencode/opencode.json", "one\n"),
        (".gitignore", "one\n"),
        ("src/a.txt", "one\n"),
        ("srcs.txt", "one\n"),
        ("b.txt", "one\n"),
    ]);
    let outside = project(&[("c.txt", "one\n")]);
    let target = outside.path().canonicalize().unwrap();
    symlink(target.join("c.txt"), folder.path().join("out.txt")).unwrap();
    symlink("../.git/config", folder.path().join("src/config")).unwrap();
    let open = root(&folder);
    let code = |root: &Root, path: &str| read(root, path).err().map(|error| error.code());
    for path in [
        ".git/config",
        "sub/.git/hooks/pre-commit",
        ".GIT/config",
        ".opencode/orchestrator/journal.db",
        ".opencode/todo.md",
        "src/config",
    ] {
        assert_eq!(code(&open, path), Some("SEARCH_PROTECTED"), "{path}");
    }
    for path in [".opencode/opencode.json", ".gitignore", "src/a.txt", "b.txt"] {
        assert_eq!(code(&open, path), None, "{path}");
    }
    assert_eq!(code(&open, "out.txt"), Some("SEARCH_PATH_OUTSIDE"));
    let granted = root(&folder).with_granted(std::slice::from_ref(&target));
    assert_eq!(code(&granted, "out.txt"), None);
    let leased = granted.with_lease(&["src/".to_owned(), "b.txt".to_owned(), ".git/".to_owned()]);
    for (path, expected) in [
        ("src/a.txt", None),
        ("b.txt", None),
        ("srcs.txt", Some("SEARCH_NOT_LEASED")),
        (".gitignore", Some("SEARCH_NOT_LEASED")),
        ("out.txt", Some("SEARCH_NOT_LEASED")),
        (".git/config", Some("SEARCH_PROTECTED")),
    ] {
        assert_eq!(code(&leased, path), expected, "{path}");
    }

    write(folder.path(), "binary", b"a\0b");
    write(folder.path(), "latin1", b"caf\xE9");
    let large = fs::File::create(folder.path().join("large")).unwrap();
    large.set_len(EDIT_FILE_BYTES_MAX + 1).unwrap();
    assert_eq!(code(&open, "binary"), Some("SEARCH_NOT_TEXT"));
    assert_eq!(code(&open, "latin1"), Some("SEARCH_NOT_TEXT"));
    assert_eq!(code(&open, "large"), Some("SEARCH_TOO_LARGE"));
    assert_eq!(code(&open, "src"), Some("SEARCH_NOT_A_FILE"));
}

/// Breaks if one call may write without bound.
#[test]
fn the_size_of_an_edit_is_bounded() {
    let folder = project(&[("a.txt", "one\n")]);
    let root = root(&folder);
    let edit = |size_bytes: u64| Edit {
        original: read(&root, "a.txt").unwrap(),
        text: "x".repeat(usize::try_from(size_bytes).unwrap()),
    };
    assert_eq!(commit(vec![edit(EDIT_FILE_BYTES_MAX + 1)]).unwrap_err().code(), "SEARCH_TOO_LARGE");
    let count = EDIT_BYTES_MAX / EDIT_FILE_BYTES_MAX;
    let edits: Vec<Edit> = (0..=count).map(|_| edit(EDIT_FILE_BYTES_MAX)).collect();
    assert_eq!(commit(edits).unwrap_err().code(), "SEARCH_TOO_LARGE");
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), "one\n");
    assert_eq!(names(&folder), ["a.txt"]);
}
