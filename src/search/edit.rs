//! Changes files: all that a call changes, or nothing.
//!
//! A file is read with what is needed to keep it as it was otherwise: encoding, byte-order mark, line ends, mode. The new
//! text goes into a temporary file in the same folder, which is synchronised and then renamed over the old one, through
//! the handle of its [`crate::Root`]. First all temporary files are written, then all files are compared with what was
//! read, then all are renamed. When a rename fails, those before it are taken back.
//!
//! A process that is killed between two renames leaves some files changed, and one that is killed before may leave
//! files whose names end in `.orchestrator.tmp`.

use crate::error::SearchError;
use crate::limit::{EDIT_BYTES_MAX, EDIT_FILE_BYTES_MAX};
use crate::query::stopped;
use crate::root::{Located, Root};
use crate::text::{self, Encoding};
use cap_std::fs::OpenOptions;
use orchestrator_worker::Scope;
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file as it was read.
pub(crate) struct Original {
    located: Located,
    bytes: Vec<u8>,
    permissions: Permissions,
    encoding: Encoding,
    /// The text, without a byte-order mark, with its line ends.
    pub(crate) text: String,
}

impl Original {
    /// Reads a file that may be edited.
    ///
    /// # Errors
    ///
    /// [`SearchError::Protected`] and [`SearchError::NotLeased`] before anything is read; [`SearchError::NotAFile`],
    /// [`SearchError::TooLarge`], [`SearchError::NotText`], [`SearchError::PathUnreadable`].
    pub(crate) fn read(root: &Root, located: Located) -> Result<Original, SearchError> {
        let path = located.shown();
        check_writable(root, &located, &path)?;
        let unreadable =
            |error: &io::Error| SearchError::PathUnreadable { path: path.clone(), reason: error.to_string() };
        if located.is_folder {
            return Err(SearchError::NotAFile { path });
        }
        let (file, size_bytes) =
            located.folder.open_file(&located.path).map_err(|error| unreadable(&error))?;
        let too_large = || SearchError::TooLarge { path: path.clone(), max: EDIT_FILE_BYTES_MAX };
        if size_bytes > EDIT_FILE_BYTES_MAX {
            return Err(too_large());
        }
        let permissions = file.metadata().map_err(|error| unreadable(&error))?.permissions();
        let mut bytes = Vec::new();
        file.take(EDIT_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > EDIT_FILE_BYTES_MAX {
            return Err(too_large());
        }
        let (text, encoding) =
            text::decode(&bytes).map_err(|reason| SearchError::NotText { path: path.clone(), reason })?;
        Ok(Original { located, bytes, permissions, encoding, text })
    }

    /// Returns the path as it is shown.
    pub(crate) fn path(&self) -> String {
        self.located.shown()
    }

    /// Returns how most lines end: `\r\n` or `\n`.
    pub(crate) fn line_end(&self) -> &'static str {
        text::line_end(&self.text)
    }
}

/// A file with the text that it is to hold.
pub(crate) struct Edit {
    pub(crate) original: Original,
    pub(crate) text: String,
}

/// Writes all of `edits`, or none. Stops, with nothing written, when the job is stopped before the first file is renamed.
///
/// # Errors
///
/// [`SearchError::TooLarge`] for a file, or for all together; [`SearchError::Changed`], [`SearchError::WriteFailed`]: no
/// file was changed; [`SearchError::HalfWritten`] names those that were.
pub(crate) fn write_all(edits: &[Edit], scope: &Scope<'_>) -> Result<(), SearchError> {
    Staged::write(edits, scope)?.commit(scope)
}

/// Edits whose new texts are on the disk, each beside its file. Dropped, they are gone.
pub(crate) struct Staged<'a> {
    edits: &'a [Edit],
    temporaries: Vec<Temporary<'a>>,
}

impl<'a> Staged<'a> {
    /// Writes the new texts. Errors as [`write_all`].
    pub(crate) fn write(edits: &'a [Edit], scope: &Scope<'_>) -> Result<Staged<'a>, SearchError> {
        let mut size_bytes = 0;
        let mut temporaries = Vec::new();
        for edit in edits {
            if scope.is_stopped() {
                return Err(stopped());
            }
            let bytes = edit.original.encoding.encode(&edit.text);
            let too_large = |max: u64| SearchError::TooLarge { path: edit.original.path(), max };
            size_bytes += bytes.len() as u64;
            if bytes.len() as u64 > EDIT_FILE_BYTES_MAX {
                return Err(too_large(EDIT_FILE_BYTES_MAX));
            }
            if size_bytes > EDIT_BYTES_MAX {
                return Err(too_large(EDIT_BYTES_MAX));
            }
            temporaries.push(Temporary::write(&edit.original, &bytes).map_err(|error| failed(edit, &error))?);
        }
        Ok(Staged { edits, temporaries })
    }

    /// Puts the new texts in place of the old. Errors as [`write_all`].
    pub(crate) fn commit(self, scope: &Scope<'_>) -> Result<(), SearchError> {
        let Staged { edits, temporaries } = self;
        if let Some(edit) = edits.iter().find(|edit| !is_unchanged(&edit.original)) {
            return Err(SearchError::Changed { path: edit.original.path() });
        }
        if scope.is_stopped() {
            return Err(stopped());
        }
        for (index, temporary) in temporaries.into_iter().enumerate() {
            if let Err(error) = temporary.replace() {
                return Err(take_back(&edits[..index], &edits[index], &error));
            }
        }
        Ok(())
    }
}

fn failed(edit: &Edit, error: &io::Error) -> SearchError {
    SearchError::WriteFailed { path: edit.original.path(), reason: error.to_string() }
}

/// Gives files back what they held, after `failed_edit` could not be made; returns what the caller is told.
fn take_back(made: &[Edit], failed_edit: &Edit, error: &io::Error) -> SearchError {
    let stays_changed = |edit: &&Edit| {
        let original = &edit.original;
        Temporary::write(original, &original.bytes).and_then(Temporary::replace).is_err()
    };
    let changed: Vec<String> = made.iter().filter(stays_changed).map(|edit| edit.original.path()).collect();
    if changed.is_empty() {
        failed(failed_edit, error)
    } else {
        SearchError::HalfWritten { path: failed_edit.original.path(), reason: error.to_string(), changed }
    }
}

fn is_unchanged(original: &Original) -> bool {
    let Ok((file, size_bytes)) = original.located.folder.open_file(&original.located.path) else {
        return false;
    };
    let mut bytes = Vec::new();
    size_bytes == original.bytes.len() as u64
        && file.take(size_bytes + 1).read_to_end(&mut bytes).is_ok()
        && bytes == original.bytes
}

/// A file beside another whose place it is to take; removed unless it does.
struct Temporary<'a> {
    original: &'a Original,
    /// Relative to the handle.
    path: PathBuf,
    is_renamed: bool,
}

impl Temporary<'_> {
    /// Writes `bytes` to a new file beside `original`, with its mode, down to the disk.
    fn write<'a>(original: &'a Original, bytes: &[u8]) -> io::Result<Temporary<'a>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = &original.located.folder;
        let target = folder.below(&original.located.path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let (file, path) = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(format!(".{}-{count}.orchestrator.tmp", std::process::id()));
            match folder.handle().open_with(&path, &options) {
                Ok(file) => break (file.into_std(), path),
                // Left by a process that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let temporary = Temporary { original, path, is_renamed: false };
        let mut file = file;
        file.write_all(bytes)?;
        file.set_permissions(original.permissions.clone())?;
        file.sync_all()?;
        Ok(temporary)
    }

    /// Puts the file in the place of the one it is for.
    fn replace(mut self) -> io::Result<()> {
        let Located { folder, path, .. } = &self.original.located;
        folder.handle().rename(&self.path, folder.handle(), folder.below(path)?)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_renamed {
            // Nothing more can be done about a file that cannot be removed; its name tells whose it is.
            let _left_behind = self.original.located.folder.handle().remove_file(&self.path).is_err();
        }
    }
}

/// Refuses files of git, our own state, and what the lease does not cover.
fn check_writable(root: &Root, located: &Located, shown: &str) -> Result<(), SearchError> {
    let protected = |reason| Err(SearchError::Protected { path: shown.to_owned(), reason });
    // Names that differ in case only are one file on some systems.
    let names: Vec<String> = Path::new(&located.path)
        .strip_prefix(located.folder.path())
        .unwrap_or(&located.path)
        .components()
        .map(|component| component.as_os_str().to_string_lossy().to_ascii_lowercase())
        .collect();
    if names.iter().any(|name| name == ".git") {
        return protected("it belongs to git");
    }
    if names.windows(2).any(|pair| pair[0] == ".opencode" && matches!(&*pair[1], "orchestrator" | "todo.md"))
    {
        return protected("it is the state of missions");
    }
    let covers = |lease: &String| match lease.strip_suffix('/') {
        Some(_) => shown.starts_with(lease),
        None => shown == lease,
    };
    match root.leased() {
        Some(leases) if !(located.folder.is_project() && leases.iter().any(covers)) => {
            Err(SearchError::NotLeased { path: shown.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}
