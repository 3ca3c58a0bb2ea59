//! What `docs/journal.md` promises, shown on real files and real processes.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as its assertions do")]

mod corruption;
mod crash;
mod model;
mod process;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use orchestrator_store::{Change, Journal, Reader, Record, StateDir, StoreError};

/// A project of its own, removed when it is dropped.
struct Project {
    folder: tempfile::TempDir,
    state_dir: StateDir,
}

impl Project {
    fn new() -> Project {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(folder.path()).unwrap();
        Project { folder, state_dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state_dir.path().join(name)
    }

    /// Reads a state file; empty when there is none.
    ///
    /// Closing `journal.db` drops the locks that SQLite holds in this process, so no second process may be at it.
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_default()
    }

    /// Puts the folder into the state in which a crash would have left it.
    fn restore(&self, database: &[u8], wal: &[u8], anchor: &[u8]) {
        let files = [
            ("journal.db", database),
            ("journal.db-wal", wal),
            ("journal.head", anchor),
            ("journal.db-shm", b""),
        ];
        for (name, bytes) in files {
            // In place, since this is done ten thousand times and making a file is slow.
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(false).open(self.path(name)).unwrap();
            file.write_all(bytes).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
        }
    }

    fn open(&self) -> (Journal, Vec<Record>) {
        Journal::open(&self.state_dir).unwrap()
    }

    /// Reads what a restart would see, or what it would be told.
    fn stored(&self) -> Result<Vec<u8>, StoreError> {
        let mut lines = Vec::new();
        Reader::open(&self.state_dir)?.export(&mut lines)?;
        Ok(lines)
    }
}

fn put(kind: &str, id: &str, body: &str) -> Change {
    Change::Put { kind: kind.into(), id: id.into(), body: body.into() }
}
