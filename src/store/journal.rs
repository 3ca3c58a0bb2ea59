//! Writing a journal: batches that are durable whole or not at all, and never behind another process's back.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use serde::de::IgnoredAny;

use crate::anchor::Anchor;
use crate::chain::record_hash;
use crate::error::BUSY_TIMEOUT_MS;
use crate::reader::{APPLICATION_ID, FILE_NAME, FORMAT_VERSION, Format, SCHEMA, column_sequence};
use crate::state_dir::restrict;
use crate::{Head, Reader, Record, StateDir, StoreError};

/// The largest body of a record, and of an entry of a projection.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The largest kind or id of an entry of a projection.
pub const NAME_BYTES_MAX: usize = 256;

/// The largest batch: all bodies, kinds and ids together.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// A project's journal, opened for writing.
///
/// Several may be open at a time, also in several processes: an append says which head it was decided upon, and is
/// refused when that is no longer the head.
#[derive(Debug)]
pub struct Journal {
    reader: Reader,
    anchor: Anchor,
    /// The last record that was verified or appended here.
    head: Head,
    /// Set when a write failed in a way that leaves open whether it will be found later.
    is_in_doubt: bool,
}

/// A change to a projection, written in the same transaction as the records it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes the entry, over the one that was there.
    Put { kind: String, id: String, body: String },
    /// Removes the entry, if there is one.
    Delete { kind: String, id: String },
}

impl Journal {
    /// Opens the project's journal, makes it when there is none, verifies all of it, and returns its records in
    /// order.
    ///
    /// # Errors
    ///
    /// What is wrong with the stored journal, with the record's sequence number where one is at fault: see
    /// [`Reader::open`], [`Reader::records`] and [`Reader::verify`]; or `File`, `Busy`, `DiskFull`, `AccessDenied`, `Io`.
    pub fn open(state_dir: &StateDir) -> Result<(Journal, Vec<Record>), StoreError> {
        let mut anchor = Anchor::open(state_dir)?;
        let reader = open_or_create(state_dir)?;
        let mut records = Vec::new();
        let head = reader.walk(|record| {
            records.push(record);
            Ok(())
        })?;
        advance(&mut anchor, head);
        Ok((Journal { reader, anchor, head, is_in_doubt: false }, records))
    }

    /// Appends a batch behind record `expected_head`, with the changes it makes to projections, and returns the new
    /// head once all of it is durable.
    ///
    /// One transaction and one sync, whatever the size. Changes are made in their order; a batch may consist of
    /// changes alone. What other processes have appended up to `expected_head` is verified first, and what this
    /// batch has written is read back and verified before it is committed.
    ///
    /// # Errors
    ///
    /// Nothing was written, unless it is `Io`:
    /// - [`StoreError::Conflict`] when the head is another one; read on with [`Reader::records`] and decide again;
    /// - `BodyTooLarge`, `BodyMalformed`, `ChangeTooLarge`, `BatchTooLarge` when the batch cannot be taken;
    /// - `Busy`, `DiskFull`, `AccessDenied`: may be tried again;
    /// - what [`Reader::verify`] finds wrong with the stored records;
    /// - [`StoreError::Io`]: whether the batch will be found is known only when the journal is opened again, so until
    ///   then every append fails with [`StoreError::ReopenNeeded`].
    pub fn append<Body: AsRef<[u8]>>(
        &mut self,
        expected_head: u64,
        bodies: &[Body],
        changes: &[Change],
    ) -> Result<Head, StoreError> {
        if self.is_in_doubt {
            return Err(StoreError::ReopenNeeded);
        }
        check_batch(bodies, changes)?;
        match self.commit(expected_head, bodies, changes) {
            Ok(head) => {
                self.head = head;
                advance(&mut self.anchor, head);
                Ok(head)
            }
            Err(error) => {
                self.is_in_doubt = matches!(error, StoreError::Io { .. });
                Err(error)
            }
        }
    }

    /// The last record that was verified or appended here; another process may have gone on.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Reads the same journal: records, projections, export.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    fn commit<Body: AsRef<[u8]>>(
        &self,
        expected_head: u64,
        bodies: &[Body],
        changes: &[Change],
    ) -> Result<Head, StoreError> {
        let connection = &self.reader.connection;
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let found = self.reader.stored_head()?;
        if found.sequence < self.head.sequence {
            return Err(StoreError::TailLost { acknowledged: self.head.sequence, found: found.sequence });
        }
        if found.sequence != expected_head {
            return Err(StoreError::Conflict { expected: expected_head, found: found.sequence });
        }
        self.verify_up_to(found)?;
        let head = insert_records(connection, found, bodies)?;
        write_changes(connection, head.sequence, changes)?;

        let mut read_back = found;
        for record in self.reader.records(found) {
            read_back = record?.head();
        }
        assert_eq!(read_back, head, "the journal does not hold what was just written to it");
        transaction.commit()?;
        Ok(head)
    }

    /// Verifies what has been appended since this journal last looked.
    fn verify_up_to(&self, stored: Head) -> Result<(), StoreError> {
        let mut head = self.head;
        for record in self.reader.records(self.head) {
            head = record?.head();
        }
        if head != stored {
            return Err(StoreError::HistoryReplaced {
                sequence: stored.sequence,
                expected: head.hash,
                found: stored.hash,
            });
        }
        Ok(())
    }
}

fn check_batch<Body: AsRef<[u8]>>(bodies: &[Body], changes: &[Change]) -> Result<(), StoreError> {
    let mut batch_bytes = 0;
    for (index, body) in bodies.iter().enumerate() {
        let body = body.as_ref();
        let size_bytes = body.len();
        if size_bytes > BODY_BYTES_MAX {
            return Err(StoreError::BodyTooLarge { index, size_bytes, max_bytes: BODY_BYTES_MAX });
        }
        let text = str::from_utf8(body)
            .map_err(|reason| StoreError::BodyMalformed { index, reason: Box::new(reason) })?;
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|reason| StoreError::BodyMalformed { index, reason: Box::new(reason) })?;
        batch_bytes += size_bytes;
    }
    for (index, change) in changes.iter().enumerate() {
        let (kind, id, body) = match change {
            Change::Put { kind, id, body } => (kind, id, body.as_str()),
            Change::Delete { kind, id } => (kind, id, ""),
        };
        let sizes = [
            ("kind", kind.len(), NAME_BYTES_MAX),
            ("id", id.len(), NAME_BYTES_MAX),
            ("body", body.len(), BODY_BYTES_MAX),
        ];
        for (field, size_bytes, max_bytes) in sizes {
            if size_bytes > max_bytes {
                return Err(StoreError::ChangeTooLarge { index, field, size_bytes, max_bytes });
            }
            batch_bytes += size_bytes;
        }
    }
    if batch_bytes > BATCH_BYTES_MAX {
        return Err(StoreError::BatchTooLarge { size_bytes: batch_bytes, max_bytes: BATCH_BYTES_MAX });
    }
    Ok(())
}

fn insert_records<Body: AsRef<[u8]>>(
    connection: &Connection,
    mut head: Head,
    bodies: &[Body],
) -> Result<Head, StoreError> {
    let mut insert =
        connection.prepare_cached("INSERT INTO events (seq, prev, hash, body) VALUES (?1, ?2, ?3, ?4)")?;
    for body in bodies {
        let next = Head { sequence: head.sequence + 1, hash: record_hash(head, body.as_ref()) };
        insert.execute((
            column_sequence(next.sequence),
            head.hash.as_bytes(),
            next.hash.as_bytes(),
            body.as_ref(),
        ))?;
        head = next;
    }
    Ok(head)
}

fn write_changes(connection: &Connection, sequence: u64, changes: &[Change]) -> Result<(), StoreError> {
    let mut put = connection.prepare_cached(
        "INSERT INTO projection (kind, id, seq, body) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq, body = excluded.body",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM projection WHERE kind = ?1 AND id = ?2")?;
    for change in changes {
        match change {
            Change::Put { kind, id, body } => put.execute((kind, id, column_sequence(sequence), body))?,
            Change::Delete { kind, id } => delete.execute((kind, id))?,
        };
    }
    Ok(())
}

fn advance(anchor: &mut Anchor, head: Head) {
    // The records are durable already, and an anchor that lags behind only notices less.
    anchor.advance(head).ok();
}

/// Connects for writing; every step can be repeated after a crash, and by two processes at once.
fn open_or_create(state_dir: &StateDir) -> Result<Reader, StoreError> {
    create_file(state_dir)?;
    let reader = Reader::connect(state_dir, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let format = reader.check_format()?;
    let connection = &reader.connection;
    switch_to_wal(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // macOS: `fsync` alone leaves the data in the drive's cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    if format == Format::Empty {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // Another process may have been quicker.
        if is_empty(&transaction)? {
            for (_, sql) in SCHEMA {
                transaction.execute_batch(sql)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
        }
        transaction.commit()?;
        reader.check_format()?;
    }
    Ok(reader)
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", (), |row| row.get(0))?)
}

/// Makes an empty database file with mode 0600, which SQLite gives to its companions too.
fn create_file(state_dir: &StateDir) -> Result<(), StoreError> {
    let path = state_dir.join(FILE_NAME);
    // An existing file is not even opened: closing it would drop the locks that SQLite holds for this process.
    let created = fs::OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| {
        drop(file);
        restrict(&path, 0o600)
    });
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|source| StoreError::File { path, source }),
    }
}

fn switch_to_wal(connection: &Connection) -> Result<(), StoreError> {
    // SQLite's own waiting does not cover all of this step, which a second process may be doing right now.
    connection.busy_timeout(Duration::ZERO)?;
    let mut attempts_left = BUSY_TIMEOUT_MS / WAL_PAUSE_MS;
    let outcome = loop {
        let outcome = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
        match outcome.map_err(StoreError::from) {
            Err(StoreError::Busy { .. }) if attempts_left > 0 => {
                attempts_left -= 1;
                thread::sleep(Duration::from_millis(WAL_PAUSE_MS));
            }
            outcome => break outcome,
        }
    };
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    outcome
}

const WAL_PAUSE_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, StateDir, Journal) {
        let project = tempfile::tempdir().unwrap();
        let state_dir = StateDir::prepare(project.path()).unwrap();
        let (journal, _) = Journal::open(&state_dir).unwrap();
        (project, state_dir, journal)
    }

    fn put(kind: &str, id: &str, body: &str) -> Change {
        Change::Put { kind: kind.into(), id: id.into(), body: body.into() }
    }

    #[test]
    fn a_full_disk_leaves_nothing_half_written() {
        // Breaks when a batch that did not fit leaves a part of itself, or when the journal cannot go on afterwards.
        let (_project, state_dir, mut journal) = open();
        let head = journal.append(0, &["1"], &[put("k", "a", "old")]).unwrap();
        let connection = &journal.reader.connection;
        let limit = |pages: i64| {
            connection
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
                .unwrap();
        };
        limit(8);
        let big = format!("\"{}\"", "x".repeat(100_000));
        let bodies = ["2", &big];
        let error = journal.append(1, &bodies, &[put("k", "a", "new")]).unwrap_err();
        assert_eq!(error.code(), "JOURNAL_DISK_FULL");
        assert_eq!(Reader::open(&state_dir).unwrap().verify().unwrap(), head);
        assert_eq!(journal.reader().projection("k").unwrap()[0].body, "old");

        let connection = &journal.reader.connection;
        connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        let head = journal.append(1, &bodies, &[put("k", "a", "new")]).unwrap();
        assert_eq!(Reader::open(&state_dir).unwrap().verify().unwrap(), head);
    }

    #[test]
    fn a_busy_journal_is_told_and_nothing_is_written() {
        // Breaks when a writer waits for ever, or when giving up is not told apart from a failure.
        let (_project, state_dir, mut journal) = open();
        let (other, _) = Journal::open(&state_dir).unwrap();
        let connection = &other.reader.connection;
        let held = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).unwrap();
        journal.reader.connection.busy_timeout(Duration::ZERO).unwrap();
        assert_eq!(journal.append(0, &["1"], &[]).unwrap_err().code(), "JOURNAL_BUSY");
        held.finish().unwrap();
        journal.append(0, &["1"], &[]).unwrap();
    }

    #[test]
    fn what_cannot_be_taken_is_refused_whole() {
        // Breaks when a limit is not kept, or when a good record before a bad one is written.
        let (_project, _state_dir, mut journal) = open();
        let text = |size: usize| format!("\"{}\"", "x".repeat(size - 2)).into_bytes();
        let mut check = |bodies: &[Vec<u8>], changes: &[Change], code: Option<&str>| {
            let head = journal.head();
            let outcome = journal.append(head.sequence, bodies, changes);
            assert_eq!(outcome.as_ref().err().map(StoreError::code), code);
            let stored = journal.reader().verify().unwrap();
            assert_eq!(stored, outcome.unwrap_or(head));
        };
        let one = b"1".to_vec();
        check(&[one.clone(), text(BODY_BYTES_MAX)], &[], None);
        check(&[one.clone(), text(BODY_BYTES_MAX + 1)], &[], Some("JOURNAL_BODY_TOO_LARGE"));
        check(&[one.clone(), b"{".to_vec()], &[], Some("JOURNAL_BODY_MALFORMED"));
        check(&[one.clone(), b"".to_vec()], &[], Some("JOURNAL_BODY_MALFORMED"));
        check(&[one.clone(), b"\"\xff\"".to_vec()], &[], Some("JOURNAL_BODY_MALFORMED"));
        check(&[one.clone(), b"1 2".to_vec()], &[], Some("JOURNAL_BODY_MALFORMED"));
        check(&vec![text(BODY_BYTES_MAX); 65], &[], Some("JOURNAL_BATCH_TOO_LARGE"));

        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let refused = Some("JOURNAL_CHANGE_TOO_LARGE");
        check(&[], &[put(&long[1..], &long[1..], "b")], None);
        check(std::slice::from_ref(&one), &[put(&long, "a", "b")], refused);
        check(std::slice::from_ref(&one), &[put("k", &long, "b")], refused);
        check(std::slice::from_ref(&one), &[put("k", "a", &"x".repeat(BODY_BYTES_MAX + 1))], refused);
        check(&[one], &[Change::Delete { kind: "k".into(), id: long }], refused);
    }

    #[test]
    fn records_of_others_are_verified_before_they_are_extended() {
        // Breaks when an append builds on a record that another process, or a damage, has put there.
        let (_project, state_dir, mut journal) = open();
        let (mut other, _) = Journal::open(&state_dir).unwrap();
        journal.append(0, &["1"], &[]).unwrap();
        other.append(1, &["2", "3"], &[]).unwrap();
        let error = journal.append(1, &["4"], &[]).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { expected: 1, found: 3 }), "{error}");

        let change = |sql: &str| journal.reader.connection.execute_batch(sql).unwrap();
        change("UPDATE events SET body = CAST('5' AS BLOB) WHERE seq = 2");
        let error = journal.append(3, &["4"], &[]).unwrap_err();
        assert!(matches!(error, StoreError::HashMismatch { sequence: 2, .. }), "{error}");

        let change = |sql: &str| journal.reader.connection.execute_batch(sql).unwrap();
        change("UPDATE events SET body = CAST('2' AS BLOB) WHERE seq = 2");
        journal.append(3, &["4"], &[]).unwrap();

        let change = |sql: &str| journal.reader.connection.execute_batch(sql).unwrap();
        change("UPDATE events SET hash = zeroblob(32) WHERE seq = 4");
        let error = journal.append(4, &["5"], &[]).unwrap_err();
        assert!(matches!(error, StoreError::HistoryReplaced { sequence: 4, .. }), "{error}");

        let change = |sql: &str| journal.reader.connection.execute_batch(sql).unwrap();
        change("DELETE FROM events WHERE seq = 4");
        let error = journal.append(3, &["5"], &[]).unwrap_err();
        assert!(matches!(error, StoreError::TailLost { acknowledged: 4, found: 3 }), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn files_are_private() {
        // Breaks when other users of the machine can read what a session did.
        use std::os::unix::fs::PermissionsExt;
        let (_project, state_dir, mut journal) = open();
        journal.append(0, &["1"], &[]).unwrap();
        let _lock = crate::OwnerLock::acquire(&state_dir).unwrap();
        for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.head", "owner.lock"] {
            let mode = fs::metadata(state_dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_the_place_of_the_database_is_refused() {
        // Breaks when a repository can have us open a database outside of it.
        let (project, state_dir, journal) = open();
        drop(journal);
        let outside = project.path().join("outside.db");
        fs::rename(state_dir.join(FILE_NAME), &outside).unwrap();
        std::os::unix::fs::symlink(&outside, state_dir.join(FILE_NAME)).unwrap();
        assert_eq!(Journal::open(&state_dir).unwrap_err().code(), "JOURNAL_NOT_A_PLAIN_FILE");
        assert_eq!(Reader::open(&state_dir).unwrap_err().code(), "JOURNAL_NOT_A_PLAIN_FILE");
    }
}
