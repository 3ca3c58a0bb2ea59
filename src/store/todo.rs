//! The rendered to-do file: written for people, who may edit it, and whose edits are not lost.
//!
//! Rendering is a compare-and-swap on the file. The caller says what it rendered last, as a digest; a file that is
//! something else was touched by a person, is left alone, and its text is returned. The caller keeps that text (as a
//! proposal in the journal), and renders again with the digest of what it has now seen.
//!
//! One process at a time renders: the holder of the [`OwnerLock`](crate::OwnerLock). Between the last look at the
//! file and its replacement there are microseconds in which an edit is not seen; no portable call closes them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::state_dir::{folder_inside, look_at};
use crate::{Digest, FolderError};

/// What rendering did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// The file already held the text; it was not touched.
    Unchanged(Digest),
    /// The file now holds the text.
    Written(Digest),
    /// The file is not what was rendered last; it was not touched.
    Edited(Edit),
}

/// What a person did to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What to pass as `last` to render over this edit: the digest of the whole file, `None` when it was deleted.
    pub found: Option<Digest>,
    /// The first [`EDIT_BYTES_MAX`] bytes of the file, cut at a character; bytes that are not UTF-8 are replaced by
    /// U+FFFD. Empty when the file was deleted.
    pub text: String,
    /// The size of the whole file.
    pub size_bytes: u64,
    /// The file has more than `text`; who renders over it loses the rest.
    pub is_cut: bool,
}

/// The longest text of an edit that is returned.
pub const EDIT_BYTES_MAX: usize = 64 << 10;

/// The largest file that is looked at.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Makes `file`, a path below `project`, hold `text`, unless a person has changed it since it was rendered last.
///
/// `last` is the digest of what the caller rendered last, or `None` when the file should not exist. Missing parents
/// are made. The new text is synced and then takes the old one's place in one step, with the old one's mode. No link
/// is followed, neither below the project nor at the file itself.
///
/// # Errors
///
/// [`TodoError`]; the file is as it was.
pub fn render(project: &Path, file: &Path, text: &str, last: Option<Digest>) -> Result<Rendered, TodoError> {
    let outside = || FolderError::OutsideProject { path: file.to_owned() };
    let name = file.file_name().ok_or_else(outside)?;
    let folder = folder_inside(project, file.parent().ok_or_else(outside)?)?;
    let path = folder.join(name);
    let io_error = |source| TodoError::Io { path: path.clone(), source };

    let wanted = Digest::of(text.as_bytes());
    if let Some(rendered) = judge(present_bytes(&path)?, wanted, last) {
        return Ok(rendered);
    }
    let mut temporary_name = OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".tmp");
    let temporary = folder.join(temporary_name);
    write_new(&temporary, text, &path).map_err(io_error)?;
    // Writing took a while, in which somebody may have edited.
    if let Some(rendered) = judge(present_bytes(&path)?, wanted, last) {
        fs::remove_file(&temporary).map_err(io_error)?;
        return Ok(rendered);
    }
    // A link that appeared in the meantime is replaced, not followed.
    fs::rename(&temporary, &path).map_err(io_error)?;
    Ok(Rendered::Written(wanted))
}

/// Why the file could not be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TodoError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{} is a link or no plain file; remove it", .path.display())]
    NotAPlainFile { path: PathBuf },
    #[error("{} has {size_bytes} bytes, more than {max_bytes}; move it away", .path.display())]
    TooLarge { path: PathBuf, size_bytes: u64, max_bytes: u64 },
    #[error("{} could not be rendered; check its owner and mode, and the space on the disk", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl TodoError {
    /// A stable name for programs; the message may change, this does not.
    pub fn code(&self) -> &'static str {
        match self {
            TodoError::Folder(error) => error.code(),
            TodoError::NotAPlainFile { .. } => "TODO_NOT_A_PLAIN_FILE",
            TodoError::TooLarge { .. } => "TODO_TOO_LARGE",
            TodoError::Io { .. } => "TODO_IO",
        }
    }
}

/// Says what to answer without writing, or `None` when the file is what was rendered last and not yet what is wanted.
fn judge(present: Option<Vec<u8>>, wanted: Digest, last: Option<Digest>) -> Option<Rendered> {
    let found = present.as_deref().map(Digest::of);
    if found == Some(wanted) {
        return Some(Rendered::Unchanged(wanted));
    }
    if found == last {
        return None;
    }
    let bytes = present.unwrap_or_default();
    let is_cut = bytes.len() > EDIT_BYTES_MAX;
    let mut end = bytes.len().min(EDIT_BYTES_MAX);
    // Back to where a character begins; three steps at most, since what is not UTF-8 is cut anywhere.
    for _ in 0..3 {
        if is_cut && bytes[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
    }
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    Some(Rendered::Edited(Edit { found, text, size_bytes: bytes.len() as u64, is_cut }))
}

/// Reads the whole file, or `None` when there is none.
fn present_bytes(path: &Path) -> Result<Option<Vec<u8>>, TodoError> {
    let path = path.to_owned();
    let size_bytes = match look_at(&path) {
        Ok(None) => return Ok(None),
        Ok(Some(found)) if found.is_file() => found.len(),
        Ok(Some(_)) => return Err(TodoError::NotAPlainFile { path }),
        Err(source) => return Err(TodoError::Io { path, source }),
    };
    if size_bytes > FILE_BYTES_MAX {
        return Err(TodoError::TooLarge { path, size_bytes, max_bytes: FILE_BYTES_MAX });
    }
    fs::read(&path).map(Some).map_err(|source| TodoError::Io { path, source })
}

/// Writes and syncs a new file, with the mode of `model` when that exists.
fn write_new(path: &Path, text: &str, model: &Path) -> io::Result<()> {
    // A crash can leave one behind; the name is ours, so it is removed and never written through.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::File::create_new(path)?;
    if let Some(found) = look_at(model)? {
        file.set_permissions(found.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = ".opencode/todo.md";

    fn edit(rendered: Rendered) -> Edit {
        match rendered {
            Rendered::Edited(edit) => edit,
            Rendered::Unchanged(_) | Rendered::Written(_) => panic!("the edit was not seen: {rendered:?}"),
        }
    }

    #[test]
    fn renders_only_what_changed() {
        // Breaks when a file is not written, or written although it holds the text (editors would reload it).
        let project = tempfile::tempdir().unwrap();
        let render = |text, last| render(project.path(), Path::new(FILE), text, last).unwrap();
        let one = Digest::of(b"one");
        assert_eq!(render("one", None), Rendered::Written(one));
        assert_eq!(render("one", Some(one)), Rendered::Unchanged(one));
        assert_eq!(render("one", None), Rendered::Unchanged(one));
        assert_eq!(render("two", Some(one)), Rendered::Written(Digest::of(b"two")));
        assert_eq!(fs::read_to_string(project.path().join(FILE)).unwrap(), "two");
        assert_eq!(
            fs::read_dir(project.path().join(".opencode")).unwrap().count(),
            1,
            "a temporary file is left"
        );
    }

    #[test]
    fn an_edit_is_returned_before_it_is_overwritten() {
        // Breaks when a person's edit is lost.
        let project = tempfile::tempdir().unwrap();
        let path = project.path().join(FILE);
        let render = |text, last| render(project.path(), Path::new(FILE), text, last).unwrap();
        render("one", None);
        fs::write(&path, "one, and mine").unwrap();

        let found = edit(render("two", Some(Digest::of(b"one"))));
        assert_eq!((found.text.as_str(), found.is_cut, found.size_bytes), ("one, and mine", false, 13));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one, and mine");

        fs::write(&path, "edited again").unwrap();
        let again = edit(render("two", found.found));
        assert_eq!(again.text, "edited again");
        assert_eq!(render("two", again.found), Rendered::Written(Digest::of(b"two")));
    }

    #[test]
    fn a_deletion_is_an_edit() {
        // Breaks when a deleted file comes back without a word.
        let project = tempfile::tempdir().unwrap();
        let render = |text, last| render(project.path(), Path::new(FILE), text, last).unwrap();
        render("one", None);
        fs::remove_file(project.path().join(FILE)).unwrap();
        let found = edit(render("two", Some(Digest::of(b"one"))));
        assert_eq!(found, Edit { found: None, text: String::new(), size_bytes: 0, is_cut: false });
        assert_eq!(render("two", found.found), Rendered::Written(Digest::of(b"two")));
    }

    #[test]
    fn a_file_that_was_there_before_us_is_an_edit() {
        // Breaks when a person's own to-do file is overwritten by the first rendering.
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("TODO.md"), "mine").unwrap();
        let found = edit(render(project.path(), Path::new("TODO.md"), "one", None).unwrap());
        assert_eq!((found.text.as_str(), found.found), ("mine", Some(Digest::of(b"mine"))));
    }

    #[test]
    fn a_long_edit_is_cut_at_a_character() {
        // Breaks when an edit without bound reaches the journal, or is cut without saying so.
        let project = tempfile::tempdir().unwrap();
        let path = project.path().join("TODO.md");
        let render = |last| render(project.path(), Path::new("TODO.md"), "one", last);
        for (character, ascii_before) in
            [("x", 1), ("é", 1), ("€", 1), ("€", 2), ("🙂", 1), ("🙂", 2), ("🙂", 3)]
        {
            let whole = "a".repeat(ascii_before) + &character.repeat(EDIT_BYTES_MAX);
            fs::write(&path, &whole).unwrap();
            let found = edit(render(None).unwrap());
            assert!(found.is_cut && whole.starts_with(&found.text), "{character} behind {ascii_before}");
            assert!(found.text.len() + 4 > EDIT_BYTES_MAX && found.text.len() <= EDIT_BYTES_MAX);
            assert_eq!(found.size_bytes, whole.len() as u64);
            assert_eq!(found.found, Some(Digest::of(whole.as_bytes())));
        }
        fs::write(&path, "x".repeat(EDIT_BYTES_MAX)).unwrap();
        assert!(!edit(render(None).unwrap()).is_cut);

        fs::write(&path, [0x80; EDIT_BYTES_MAX + 1]).unwrap();
        assert!(edit(render(None).unwrap()).is_cut);

        fs::File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(render(None).unwrap_err().code(), "TODO_TOO_LARGE");
    }

    #[test]
    fn paths_stay_in_the_project() {
        // Breaks when a configured path reaches out of the project.
        let project = tempfile::tempdir().unwrap();
        let outside = project.path().join("outside.md");
        let outside = outside.to_str().unwrap();
        for file in ["../todo.md", "a/../../todo.md", outside, "", "."] {
            let inner = project.path().join("inner");
            fs::create_dir_all(&inner).unwrap();
            let error = render(&inner, Path::new(file), "one", None).unwrap_err();
            assert_eq!(error.code(), "FOLDER_OUTSIDE_PROJECT", "{file:?}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn links_are_not_followed() {
        // Breaks when a repository can have us read or write a file outside of it.
        use std::os::unix::fs::symlink;
        let project = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("todo.md"), "kept").unwrap();
        let check = |file, code| {
            let error =
                render(project.path(), Path::new(file), "one", Some(Digest::of(b"kept"))).unwrap_err();
            assert_eq!(error.code(), code);
        };
        symlink(elsewhere.path().join("todo.md"), project.path().join("todo.md")).unwrap();
        check("todo.md", "TODO_NOT_A_PLAIN_FILE");
        symlink(elsewhere.path().join("nothing"), project.path().join("dangling.md")).unwrap();
        check("dangling.md", "TODO_NOT_A_PLAIN_FILE");
        symlink(elsewhere.path(), project.path().join("folder")).unwrap();
        check("folder/todo.md", "FOLDER_NOT_A_FOLDER");
        check("folder/new/todo.md", "FOLDER_NOT_A_FOLDER");

        // Where the temporary file goes.
        symlink(elsewhere.path().join("todo.md"), project.path().join(".fine.md.tmp")).unwrap();
        render(project.path(), Path::new("fine.md"), "one", None).unwrap();

        assert_eq!(fs::read_to_string(elsewhere.path().join("todo.md")).unwrap(), "kept");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn the_mode_is_kept() {
        // Breaks when rendering makes a private file readable to others.
        use std::os::unix::fs::PermissionsExt;
        let project = tempfile::tempdir().unwrap();
        let path = project.path().join("TODO.md");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        render(project.path(), Path::new("TODO.md"), "two", Some(Digest::of(b"one"))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
