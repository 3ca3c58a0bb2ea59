//! The project's state folder: where it is, that it is ours, and that nobody else reads it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The folder `<project>/.opencode/orchestrator`, existing, inside the project and no link.
///
/// Whatever the repository holds is not trusted: a link on the way or in a file's place is refused, so that no state
/// is read from or written to another place.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the folder where it is missing, with mode 0700 and a `.gitignore` that excludes all of it.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; see its variants.
    pub fn prepare(project: &Path) -> Result<StateDir, FolderError> {
        let path = folder_inside(project, Path::new(BELOW_PROJECT))?;
        let io_error = |source| FolderError::Io { path: path.clone(), source };
        restrict(&path, 0o700).map_err(io_error)?;
        let gitignore = path.join(".gitignore");
        // Whatever has content there is the user's to change; an empty file is what a crash has left.
        if look_at(&gitignore).map_err(io_error)?.is_none_or(|found| found.is_file() && found.len() == 0) {
            fs::write(&gitignore, "*\n").map_err(io_error)?;
        }
        Ok(StateDir { path })
    }

    /// Finds the folder of a project that has one, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`FolderError::Missing`] when nothing was ever stored in this project, else as [`StateDir::prepare`].
    pub fn find(project: &Path) -> Result<StateDir, FolderError> {
        let mut path = canonical(project)?;
        for name in Path::new(BELOW_PROJECT) {
            path.push(name);
            if !is_folder(&path)? {
                return Err(FolderError::Missing { path: project.join(BELOW_PROJECT) });
            }
        }
        Ok(StateDir { path })
    }

    /// Absolute, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Why a folder inside the project could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    #[error("{} is a link or no folder; put a real folder in its place", .path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} leaves the project; name a path below it", .path.display())]
    OutsideProject { path: PathBuf },
    #[error("nothing is stored in {}; start a mission with /task first", .path.display())]
    Missing { path: PathBuf },
    #[error("{} could not be prepared; check its owner and mode, and the space on the disk", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl FolderError {
    /// A stable name for programs; the message may change, this does not.
    pub fn code(&self) -> &'static str {
        match self {
            FolderError::NotAFolder { .. } => "FOLDER_NOT_A_FOLDER",
            FolderError::OutsideProject { .. } => "FOLDER_OUTSIDE_PROJECT",
            FolderError::Missing { .. } => "FOLDER_MISSING",
            FolderError::Io { .. } => "FOLDER_IO",
        }
    }
}

/// Makes `below` and its parents inside `project` where they are missing, and returns the absolute path.
///
/// The project itself may be reached through links, `below` may not: it consists of plain names only, and each is a
/// real folder. New folders have mode 0755 less the umask and are synced into their parents.
pub(crate) fn folder_inside(project: &Path, below: &Path) -> Result<PathBuf, FolderError> {
    let mut path = canonical(project)?;
    for component in below.components() {
        let Component::Normal(name) = component else {
            return Err(FolderError::OutsideProject { path: below.to_owned() });
        };
        let parent = path.clone();
        path.push(name);
        if is_folder(&path)? {
            continue;
        }
        let made = match fs::create_dir(&path) {
            // Another process was quicker; what it made is looked at like any other.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_folder(&path).map(drop),
            other => other
                .and_then(|()| sync_folder(&parent))
                .map_err(|source| FolderError::Io { path: path.clone(), source }),
        };
        made?;
    }
    Ok(path)
}

/// Lets only the owner in.
#[cfg_attr(
    not(unix),
    expect(unused_variables, reason = "files inherit the access list of the user's project")
)]
pub(crate) fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(())
}

/// Returns what is at `path` itself, which may be a link, or `None` when nothing is.
pub(crate) fn look_at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn canonical(project: &Path) -> Result<PathBuf, FolderError> {
    fs::canonicalize(project).map_err(|source| FolderError::Io { path: project.to_owned(), source })
}

/// Says whether a folder is there; an error when it is something else.
fn is_folder(path: &Path) -> Result<bool, FolderError> {
    match look_at(path) {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found.is_dir() => Ok(true),
        Ok(Some(_)) => Err(FolderError::NotAFolder { path: path.to_owned() }),
        Err(source) => Err(FolderError::Io { path: path.to_owned(), source }),
    }
}

/// Makes the names in a folder durable.
#[cfg_attr(not(unix), expect(unused_variables, reason = "a folder cannot be opened as a file there"))]
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(path)?.sync_all()?;
    Ok(())
}

const BELOW_PROJECT: &str = ".opencode/orchestrator";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_folder_is_private_and_ignored() {
        // Breaks when other users could read the state, or when git would take it up.
        let project = tempfile::tempdir().unwrap();
        let code = StateDir::find(project.path()).unwrap_err().code();
        assert_eq!(code, "FOLDER_MISSING");

        let state_dir = StateDir::prepare(project.path()).unwrap();
        assert_eq!(fs::read_to_string(state_dir.join(".gitignore")).unwrap(), "*\n");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(state_dir.path()).unwrap().permissions())
                & 0o777,
            0o700
        );
        assert_eq!(StateDir::find(project.path()).unwrap().path(), state_dir.path());

        fs::write(state_dir.join(".gitignore"), "!keep\n").unwrap();
        StateDir::prepare(project.path()).unwrap();
        assert_eq!(fs::read_to_string(state_dir.join(".gitignore")).unwrap(), "!keep\n");
    }

    #[test]
    #[cfg(unix)]
    fn links_on_the_way_are_refused() {
        // Breaks when a repository can send our state to a place outside of it.
        let elsewhere = tempfile::tempdir().unwrap();
        for (made, link) in [("", ".opencode"), (".opencode", ".opencode/orchestrator")] {
            let project = tempfile::tempdir().unwrap();
            fs::create_dir_all(project.path().join(made)).unwrap();
            std::os::unix::fs::symlink(elsewhere.path(), project.path().join(link)).unwrap();
            assert_eq!(StateDir::prepare(project.path()).unwrap_err().code(), "FOLDER_NOT_A_FOLDER");
            assert_eq!(StateDir::find(project.path()).unwrap_err().code(), "FOLDER_NOT_A_FOLDER");
        }
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
