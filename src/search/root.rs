//! The folder a search may not leave.
//!
//! A path given by a model is resolved, links included, before anything is read, and must end inside the root. The walk
//! follows no link afterwards. What remains is a race: another process that swaps a folder for a link between the two
//! could lead a search out. That process has the user's rights already; closing the gap would need `openat` throughout.

use crate::error::SearchError;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

/// A folder with all links resolved. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Root {
    path: Arc<Path>,
}

impl Root {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    ///
    /// [`SearchError::BadRoot`] when it does not exist, is not a folder, or is not absolute.
    pub fn open(path: &Path) -> Result<Root, SearchError> {
        let bad = |reason: String| SearchError::BadRoot { path: path.display().to_string(), reason };
        if !path.is_absolute() {
            return Err(bad("not an absolute path".to_owned()));
        }
        let resolved = path.canonicalize().map_err(|error| bad(error.to_string()))?;
        if !resolved.is_dir() {
            return Err(bad("not a folder".to_owned()));
        }
        Ok(Root { path: resolved.into() })
    }

    /// Returns the resolved absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves `given`, relative to the root or absolute, to an absolute path without links inside the root.
    ///
    /// # Errors
    ///
    /// [`SearchError::PathOutside`] for `..`, NUL, an absolute path elsewhere and a link that leads out;
    /// [`SearchError::PathUnreadable`] when there is nothing to read.
    pub(crate) fn resolve(&self, given: &str) -> Result<PathBuf, SearchError> {
        let outside = || SearchError::PathOutside { path: given.to_owned() };
        let path = Path::new(given);
        if given.contains('\0') || path.components().any(|component| component == Component::ParentDir) {
            return Err(outside());
        }
        let joined = self.path.join(path);
        if !joined.starts_with(&self.path) {
            return Err(outside());
        }
        let resolved = joined.canonicalize().map_err(|error| SearchError::PathUnreadable {
            path: given.to_owned(),
            reason: error.kind().to_string(),
        })?;
        if resolved.starts_with(&self.path) { Ok(resolved) } else { Err(outside()) }
    }

    /// Returns `path`, which must be inside the root, as it is shown: relative, with `/`, odd bytes replaced.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.path).unwrap_or(path).to_string_lossy();
        if MAIN_SEPARATOR == '/' { relative.into_owned() } else { relative.replace(MAIN_SEPARATOR, "/") }
    }
}

/// Opens a regular file for reading and returns its size. Follows no link in the last component, and does not wait for
/// the other end of a FIFO that took the file's place.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}
