//! One engine a project: who owns it, told at once.

use std::fs::{self, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process;

use crate::StateDir;
use crate::state_dir::{look_at, restrict};

/// The right to run the engine on a project, held until it is dropped or the process ends, however it ends.
///
/// It is the operating system's lock on `owner.lock`, so nothing stale remains after a crash. Readers and the journal
/// itself do not need it: it keeps two engines from acting on one project, while the journal keeps two writers from
/// losing records.
#[derive(Debug)]
pub struct OwnerLock {
    file: fs::File,
}

impl OwnerLock {
    /// Takes the lock or says at once who has it; never waits.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`], also when this process holds it already; [`LockError::NotAPlainFile`] and
    /// [`LockError::Io`].
    pub fn acquire(state_dir: &StateDir) -> Result<OwnerLock, LockError> {
        let path = state_dir.join("owner.lock");
        let io_error = |source| LockError::Io { path: path.clone(), source };
        if look_at(&path).map_err(io_error)?.is_some_and(|found| !found.is_file()) {
            return Err(LockError::NotAPlainFile { path });
        }
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { pid: read_pid(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let mut lock = OwnerLock { file };
        restrict(&path, 0o600).and_then(|()| lock.write_pid()).map_err(io_error)?;
        Ok(lock)
    }

    fn write_pid(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        writeln!(self.file, "{}", process::id())
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Closing the file gives the lock back. The number is only for the messages of others, and a wrong one is
        // overwritten by the next holder.
        self.file.set_len(0).ok();
    }
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    #[error("{} owns this project; use it there, or end it first", .pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// `None` in the moment between taking the lock and writing the number, and where the system does not let
        /// others read a locked file (Windows). After a crash, for the same moment, the former holder's.
        pid: Option<u32>,
    },
    #[error("{} is a link or no plain file; remove it", .path.display())]
    NotAPlainFile { path: PathBuf },
    #[error("{} could not be locked; check its owner and mode", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    /// A stable name for programs; the message may change, this does not.
    pub fn code(&self) -> &'static str {
        match self {
            LockError::Held { .. } => "OWNER_LOCK_HELD",
            LockError::NotAPlainFile { .. } => "OWNER_LOCK_NOT_A_PLAIN_FILE",
            LockError::Io { .. } => "OWNER_LOCK_IO",
        }
    }
}

fn read_pid(file: &mut fs::File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    // Bounded, since the file could hold anything.
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        // Breaks when two engines could act on one project, or when a lock outlives its holder.
        let project = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(project.path()).unwrap();
        let held = OwnerLock::acquire(&state_dir).unwrap();
        let error = OwnerLock::acquire(&state_dir).unwrap_err();
        assert!(matches!(error, LockError::Held { pid } if pid == Some(process::id())), "{error}");
        assert!(error.to_string().starts_with(&format!("process {} owns", process::id())));
        drop(held);
        OwnerLock::acquire(&state_dir).unwrap();
    }

    #[test]
    fn whatever_the_file_holds_is_no_number() {
        // Breaks when a file that is not ours makes the answer fail.
        let project = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(project.path()).unwrap();
        let other = fs::File::create(state_dir.join("owner.lock")).unwrap();
        other.lock().unwrap();
        for content in ["", "x", "-1", "99999999999999999999999", "\u{0}"] {
            fs::write(state_dir.join("owner.lock"), content).unwrap();
            let error = OwnerLock::acquire(&state_dir).unwrap_err();
            assert!(matches!(error, LockError::Held { pid: None }), "{content:?}: {error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_its_place_is_refused() {
        // Breaks when a repository can have us write over a file outside of it.
        let project = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(project.path()).unwrap();
        let outside = project.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        std::os::unix::fs::symlink(&outside, state_dir.join("owner.lock")).unwrap();
        assert_eq!(OwnerLock::acquire(&state_dir).unwrap_err().code(), "OWNER_LOCK_NOT_A_PLAIN_FILE");
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
    }
}
