//! Reading a journal, from its own process or from another one.

use std::io::{self, Write};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use serde::Serialize;

use crate::error::BUSY_TIMEOUT_MS;
use crate::state_dir::look_at;
use crate::{BODY_BYTES_MAX, Digest, Head, Record, StateDir, StoreError, anchor};

/// A journal opened for reading only, while another process may be writing it.
#[derive(Debug)]
pub struct Reader {
    pub(crate) connection: Connection,
    state_dir: StateDir,
}

/// One entry of a projection: what a caller derived from the records up to `sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    pub id: String,
    /// The journal's head right after the batch that wrote this entry.
    pub sequence: u64,
    pub body: String,
}

impl Reader {
    /// Opens the project's journal without changing it, and checks its format; the records are checked as they are
    /// read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] when nothing has been stored yet, `NotAJournal`, `FormatUnsupported`,
    /// `SchemaMismatch`, `Corrupt`, `Busy`, `AccessDenied` or `Io`.
    pub fn open(state_dir: &StateDir) -> Result<Reader, StoreError> {
        let reader = Reader::connect(state_dir, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        match reader.check_format()? {
            Format::Empty => Err(StoreError::Missing { path: state_dir.join(FILE_NAME) }),
            Format::Current => Ok(reader),
        }
    }

    /// Connects to a file that exists, in whatever state it is.
    pub(crate) fn connect(state_dir: &StateDir, mode: OpenFlags) -> Result<Reader, StoreError> {
        let path = state_dir.join(FILE_NAME);
        match look_at(&path) {
            Ok(None) => return Err(StoreError::Missing { path }),
            Ok(Some(found)) if found.is_file() => {}
            Ok(Some(_)) => return Err(StoreError::NotAPlainFile { path }),
            Err(source) => return Err(StoreError::File { path, source }),
        }
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
        // The file may come from a stranger's repository: nothing in it is run, and pages are checked as they are read.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(Reader { connection, state_dir: state_dir.clone() })
    }

    /// Checks that the database is ours, of a version we read, and holds our tables and nothing else.
    pub(crate) fn check_format(&self) -> Result<Format, StoreError> {
        let Header { application_id, version, schema } = self.read_header().map_err(|source| {
            match source.sqlite_error_code() {
                // The statements are sound, so what SQLite cannot make sense of is the file.
                Some(ErrorCode::Unknown) => StoreError::Corrupt { source: Some(source) },
                Some(_) | None => source.into(),
            }
        })?;
        if application_id == 0 && schema.is_empty() {
            return Ok(Format::Empty);
        }
        if application_id != APPLICATION_ID {
            return Err(StoreError::NotAJournal { path: self.state_dir.join(FILE_NAME), application_id });
        }
        if version != FORMAT_VERSION {
            return Err(StoreError::FormatUnsupported { found: version, supported: FORMAT_VERSION });
        }
        let is_ours = |name: &str, sql: &str| SCHEMA.contains(&(name, sql));
        if let Some((name, _)) = schema.iter().find(|(name, sql)| !is_ours(name, sql)) {
            return Err(StoreError::SchemaMismatch { name: name.clone() });
        }
        match SCHEMA.iter().find(|(name, _)| schema.iter().all(|(found, _)| found != name)) {
            Some((name, _)) => Err(StoreError::SchemaMismatch { name: (*name).to_owned() }),
            None => Ok(Format::Current),
        }
    }

    fn read_header(&self) -> Result<Header, rusqlite::Error> {
        // One transaction, so that a journal is not judged while another process is making it.
        let transaction = self.connection.unchecked_transaction()?;
        let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let application_id = pragma("application_id")?;
        let version = pragma("user_version")?;
        let schema = transaction
            .prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")?
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<(String, String)>, _>>()?;
        transaction.finish()?;
        Ok(Header { application_id, version, schema })
    }

    /// Reads the records behind `after`, in order, each verified before it is handed out.
    ///
    /// `after` is what the caller has already verified: [`Head::GENESIS`] for all records, else the head that an
    /// append or a record gave. At most 64 records are held at a time. The iterator ends at the newest record and
    /// may go on later, when there are more; after an error it is exhausted.
    pub fn records(&self, after: Head) -> Records<'_> {
        Records { reader: self, head: after, page: Vec::new().into_iter(), is_broken: false }
    }

    /// Reads the entries of one kind, sorted by id, as of one moment; empty when there are none.
    ///
    /// Entries are derived data, which the hash chain does not cover.
    ///
    /// # Errors
    ///
    /// `Corrupt`, `Busy` or `Io`.
    pub fn projection(&self, kind: &str) -> Result<Vec<Projection>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, seq, body FROM projection WHERE kind = ?1 ORDER BY id")?;
        let entries = statement.query_map([kind], |row| {
            let sequence = row.get::<_, i64>(1)?;
            let sequence =
                u64::try_from(sequence).or(Err(rusqlite::Error::IntegralValueOutOfRange(1, sequence)))?;
            Ok(Projection { id: row.get(0)?, sequence, body: row.get(2)? })
        })?;
        entries.map(|entry| entry.map_err(StoreError::from)).collect()
    }

    /// Checks every record, that no acknowledged one is missing, and the database's structure; returns the head.
    ///
    /// # Errors
    ///
    /// The first thing found wrong: what [`Reader::records`] finds, `HistoryReplaced`, `TailLost` or `Corrupt`.
    pub fn verify(&self) -> Result<Head, StoreError> {
        self.walk(|_| Ok(()))
    }

    /// Writes all records as lines of JSON, each with `seq`, `prev`, `hash` (hexadecimal) and `body`, and returns
    /// the head.
    ///
    /// The body is a string that holds the record's JSON text, so that every reader gets the hashed bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Export`] when `writer` fails, else as [`Reader::verify`]. What was written before an error is
    /// verified.
    pub fn export(&self, writer: impl Write) -> Result<Head, StoreError> {
        let mut writer = io::BufWriter::new(writer);
        let export_error = |source| StoreError::Export { source };
        let head = self.walk(|record| {
            let body = str::from_utf8(&record.body)
                .or(Err(StoreError::RecordMalformed { sequence: record.sequence, column: "body" }))?;
            let line = Line { seq: record.sequence, prev: record.previous, hash: record.hash, body };
            serde_json::to_writer(&mut writer, &line).map_err(|error| export_error(error.into()))?;
            writer.write_all(b"\n").map_err(export_error)
        })?;
        writer.flush().map_err(export_error)?;
        Ok(head)
    }

    /// Visits every record, holds the chain against the anchor and checks the structure of the database.
    pub(crate) fn walk(
        &self,
        mut visit: impl FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Head, StoreError> {
        // Read before the first record: a writer advances the anchor after its commit, never ahead of it.
        let anchor = anchor::read(&self.state_dir)?;
        let mut head = Head::GENESIS;
        for record in self.records(Head::GENESIS) {
            let record = record?;
            head = record.head();
            if head.sequence == anchor.sequence && head.hash != anchor.hash {
                return Err(StoreError::HistoryReplaced {
                    sequence: head.sequence,
                    expected: anchor.hash,
                    found: head.hash,
                });
            }
            visit(record)?;
        }
        if head.sequence < anchor.sequence {
            return Err(StoreError::TailLost { acknowledged: anchor.sequence, found: head.sequence });
        }
        // Last, because a record's number says more. It finds a damage in the projections and in pages not in use.
        let verdict =
            self.connection.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0))?;
        if verdict == "ok" { Ok(head) } else { Err(StoreError::Corrupt { source: None }) }
    }

    /// Reads the last record's number and hash without verifying it.
    pub(crate) fn stored_head(&self) -> Result<Head, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, prev, hash, body FROM events ORDER BY seq DESC LIMIT 1")?;
        let mut rows = statement.query(())?;
        let last = rows.next()?.map(|row| parse_row(row, Head::GENESIS)).transpose()?;
        Ok(last.map_or(Head::GENESIS, |record| record.head()))
    }

    fn page(&self, mut head: Head) -> Vec<Result<Record, StoreError>> {
        let mut page = Vec::new();
        let outcome = (|| {
            let mut statement = self.connection.prepare_cached(
                "SELECT seq, prev, hash, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            // From the start of the table, not from 1: what stands before the first record is to be found as well.
            let after = if head == Head::GENESIS { i64::MIN } else { column_sequence(head.sequence) };
            let mut rows = statement.query((after, PAGE_RECORDS))?;
            while let Some(row) = rows.next()? {
                let record = parse_row(row, head)?;
                record.verify_after(head)?;
                head = record.head();
                page.push(Ok(record));
            }
            Ok(())
        })();
        page.extend(outcome.err().map(Err));
        page
    }
}

/// Verified records in order; see [`Reader::records`].
#[derive(Debug)]
pub struct Records<'reader> {
    reader: &'reader Reader,
    head: Head,
    page: std::vec::IntoIter<Result<Record, StoreError>>,
    is_broken: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        if self.page.as_slice().is_empty() {
            self.page = self.reader.page(self.head).into_iter();
        }
        let next = self.page.next()?;
        match &next {
            Ok(record) => self.head = record.head(),
            Err(_) => self.is_broken = true,
        }
        Some(next)
    }
}

/// What [`Reader::check_format`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A database without any table: nobody has finished making it.
    Empty,
    Current,
}

/// What says whose database it is, and what it holds: the name and text of each of its objects, sorted by name.
struct Header {
    application_id: i64,
    version: i64,
    schema: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Line<'record> {
    seq: u64,
    prev: Digest,
    hash: Digest,
    body: &'record str,
}

/// The value for the column `seq`.
pub(crate) fn column_sequence(sequence: u64) -> i64 {
    // A number that SQLite cannot hold stands behind every record; a counter of records never gets there.
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn parse_row(row: &Row<'_>, head: Head) -> Result<Record, StoreError> {
    let malformed = |sequence, column| StoreError::RecordMalformed { sequence, column };
    let sequence =
        u64::try_from(row.get::<_, i64>(0)?).or(Err(malformed(head.sequence.saturating_add(1), "seq")))?;
    let blob = |index, column| {
        row.get_ref(index)?.as_blob().or(Err(malformed(sequence, column))).and_then(|bytes: &[u8]| {
            if bytes.len() <= BODY_BYTES_MAX { Ok(bytes) } else { Err(malformed(sequence, column)) }
        })
    };
    let digest = |index, column| Digest::from_stored(blob(index, column)?).ok_or(malformed(sequence, column));
    Ok(Record {
        sequence,
        previous: digest(1, "prev")?,
        hash: digest(2, "hash")?,
        body: blob(3, "body")?.to_vec(),
    })
}

/// How many records an iterator holds at a time: at most 64 MiB.
const PAGE_RECORDS: i64 = 64;

pub(crate) const FILE_NAME: &str = "journal.db";

/// "OCOJ" in the database's header says whose file this is.
pub(crate) const APPLICATION_ID: i64 = 0x4f43_4f4a;

/// The one version of the format that this crate reads and writes, kept as the database's `user_version`.
pub(crate) const FORMAT_VERSION: i64 = 1;

/// Name and text of each table, as SQLite keeps them.
pub(crate) const SCHEMA: [(&str, &str); 2] = [
    (
        "events",
        "CREATE TABLE events (\
         seq INTEGER PRIMARY KEY, \
         prev BLOB NOT NULL, \
         hash BLOB NOT NULL, \
         body BLOB NOT NULL\
         ) STRICT",
    ),
    (
        "projection",
        "CREATE TABLE projection (\
         kind TEXT NOT NULL, \
         id TEXT NOT NULL, \
         seq INTEGER NOT NULL, \
         body TEXT NOT NULL, \
         PRIMARY KEY (kind, id)\
         ) STRICT, WITHOUT ROWID",
    ),
];
