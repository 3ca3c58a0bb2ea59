//! What can go wrong with a journal.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::Digest;

/// Why a journal could not be opened, read or extended.
///
/// Three families: the stored journal is not what was written (nothing is built on it), the caller's request cannot
/// be taken (nothing was written), or the world failed (whether a retry helps is said by the message).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error(
        "record {sequence} of the journal was altered: its content hashes to {expected}, stored is {found}; \
         restore the state folder from a backup, or move it away to start anew"
    )]
    HashMismatch { sequence: u64, expected: Digest, found: Digest },
    #[error(
        "record {sequence} of the journal does not follow its predecessor: that one's hash is {expected}, the link \
         says {found}; restore the state folder from a backup, or move it away to start anew"
    )]
    PreviousMismatch { sequence: u64, expected: Digest, found: Digest },
    #[error(
        "record {expected} of the journal is missing: found {found} in its place; restore the state folder from a \
         backup, or move it away to start anew"
    )]
    SequenceGap { expected: u64, found: u64 },
    #[error(
        "record {sequence} of the journal is malformed: its {column} is not what the format says; restore the state \
         folder from a backup, or move it away to start anew"
    )]
    RecordMalformed { sequence: u64, column: &'static str },
    #[error(
        "the journal ends at record {found}, yet record {acknowledged} had been written and acknowledged; restore \
         the state folder from a backup, or delete journal.head in it to go on with the shorter history"
    )]
    TailLost { acknowledged: u64, found: u64 },
    #[error(
        "the journal's history was replaced: record {sequence} had the hash {expected}, it now has {found}; restore \
         the state folder from a backup, or delete journal.head in it to go on with this history"
    )]
    HistoryReplaced { sequence: u64, expected: Digest, found: Digest },
    #[error(
        "the journal's database is damaged; restore the state folder from a backup, or move it away to start anew"
    )]
    Corrupt {
        /// What SQLite says. `None` when its integrity check or the encoding of a text found the damage.
        source: Option<rusqlite::Error>,
    },

    #[error(
        "{} is a database of another program (application id {application_id}); move it away to start anew",
        .path.display()
    )]
    NotAJournal { path: PathBuf, application_id: i64 },
    #[error(
        "the journal has format version {found}, this build reads version {supported}; update \
         opencode-orchestrator-native"
    )]
    FormatUnsupported { found: i64, supported: i64 },
    #[error(
        "the journal's schema is not that of its format version: look at {name:?}; remove what was added to the \
         database, or move the state folder away to start anew"
    )]
    SchemaMismatch { name: String },
    #[error("there is no journal at {}; start a mission with /task first", .path.display())]
    Missing { path: PathBuf },
    #[error("{} is a link or no plain file; remove it", .path.display())]
    NotAPlainFile { path: PathBuf },

    #[error(
        "the journal's head is record {found}, not {expected}: another process has appended; read the records \
         behind {expected} and decide again"
    )]
    Conflict { expected: u64, found: u64 },
    #[error(
        "body {index} has {size_bytes} bytes, more than the {max_bytes} a record may have; make it smaller"
    )]
    BodyTooLarge { index: usize, size_bytes: usize, max_bytes: usize },
    #[error("body {index} is not JSON text; append what a JSON serializer wrote")]
    BodyMalformed {
        index: usize,
        #[source]
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "change {index} to a projection has a {field} of {size_bytes} bytes, more than {max_bytes}; make it smaller"
    )]
    ChangeTooLarge { index: usize, field: &'static str, size_bytes: usize, max_bytes: usize },
    #[error("the batch has {size_bytes} bytes, more than {max_bytes}; append it in several batches")]
    BatchTooLarge { size_bytes: usize, max_bytes: usize },

    #[error(
        "another process has held the journal for {waited_ms} ms; nothing was written: try again, or see which \
         process that is"
    )]
    Busy { waited_ms: u64, source: rusqlite::Error },
    #[error("the disk is full; nothing was written: free some space and try again")]
    DiskFull { source: rusqlite::Error },
    #[error(
        "reading or writing the journal failed; check the disk, then open the journal again: the last batch is in \
         it whole, or not at all"
    )]
    Io { source: rusqlite::Error },
    #[error("a write of this journal has failed before; open it again to learn what it holds")]
    ReopenNeeded,
    #[error("the journal may not be opened or written; check the owner and the mode of the state folder")]
    AccessDenied { source: rusqlite::Error },
    #[error("{} could not be prepared; check the owner and the mode of the state folder", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the export could not be written; check where it goes")]
    Export { source: io::Error },
    #[error("SQLite refused a statement of ours; this is a fault in the orchestrator: please report it")]
    Internal { source: rusqlite::Error },
}

impl StoreError {
    /// A stable name for programs; the message may change, this does not.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::HashMismatch { .. } => "JOURNAL_HASH_MISMATCH",
            StoreError::PreviousMismatch { .. } => "JOURNAL_PREVIOUS_MISMATCH",
            StoreError::SequenceGap { .. } => "JOURNAL_SEQUENCE_GAP",
            StoreError::RecordMalformed { .. } => "JOURNAL_RECORD_MALFORMED",
            StoreError::TailLost { .. } => "JOURNAL_TAIL_LOST",
            StoreError::HistoryReplaced { .. } => "JOURNAL_HISTORY_REPLACED",
            StoreError::Corrupt { .. } => "JOURNAL_CORRUPT",
            StoreError::NotAJournal { .. } => "JOURNAL_NOT_OURS",
            StoreError::FormatUnsupported { .. } => "JOURNAL_FORMAT_UNSUPPORTED",
            StoreError::SchemaMismatch { .. } => "JOURNAL_SCHEMA_MISMATCH",
            StoreError::Missing { .. } => "JOURNAL_MISSING",
            StoreError::NotAPlainFile { .. } => "JOURNAL_NOT_A_PLAIN_FILE",
            StoreError::Conflict { .. } => "JOURNAL_CONFLICT",
            StoreError::BodyTooLarge { .. } => "JOURNAL_BODY_TOO_LARGE",
            StoreError::BodyMalformed { .. } => "JOURNAL_BODY_MALFORMED",
            StoreError::ChangeTooLarge { .. } => "JOURNAL_CHANGE_TOO_LARGE",
            StoreError::BatchTooLarge { .. } => "JOURNAL_BATCH_TOO_LARGE",
            StoreError::Busy { .. } => "JOURNAL_BUSY",
            StoreError::DiskFull { .. } => "JOURNAL_DISK_FULL",
            StoreError::Io { .. } => "JOURNAL_IO",
            StoreError::ReopenNeeded => "JOURNAL_REOPEN_NEEDED",
            StoreError::AccessDenied { .. } => "JOURNAL_ACCESS_DENIED",
            StoreError::File { .. } => "JOURNAL_FILE",
            StoreError::Export { .. } => "JOURNAL_EXPORT",
            StoreError::Internal { .. } => "JOURNAL_INTERNAL",
        }
    }
}

/// How long a statement waits for another process before it gives up.
pub(crate) const BUSY_TIMEOUT_MS: u64 = 5_000;

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> StoreError {
        // A row that is not of the types its strict table promises.
        let is_misread = matches!(
            source,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        );
        let code = source.sqlite_error_code();
        let is_any = |codes: &[ErrorCode]| code.is_some_and(|code| codes.contains(&code));
        if is_misread || is_any(&[ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase]) {
            StoreError::Corrupt { source: Some(source) }
        } else if is_any(&[ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked]) {
            StoreError::Busy { waited_ms: BUSY_TIMEOUT_MS, source }
        } else if is_any(&[ErrorCode::DiskFull]) {
            StoreError::DiskFull { source }
        } else if is_any(&[ErrorCode::SystemIoFailure, ErrorCode::FileLockingProtocolFailed]) {
            StoreError::Io { source }
        } else if is_any(&[ErrorCode::ReadOnly, ErrorCode::CannotOpen, ErrorCode::PermissionDenied]) {
            StoreError::AccessDenied { source }
        } else {
            StoreError::Internal { source }
        }
    }
}
