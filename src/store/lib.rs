//! The journal of a project, durable on disk: what happened, in order, in a chain of hashes.
//!
//! The crate owns the files of a project's state folder (`<project>/.opencode/orchestrator/`) and the rendered
//! to-do file. It knows no mission and no event: a record's body is JSON text that the caller made, a projection is
//! text under a kind and an id. It starts no thread and reads no clock.
//!
//! **Invariant:** a record is handed out only after its place, its link to its predecessor and its hash have been
//! verified, and [`Journal::append`] extends nothing that has not been. `docs/journal.md` is the format.
//!
//! ```
//! use orchestrator_store::{Change, Journal, StateDir};
//!
//! let project = tempfile::tempdir()?;
//! let state_dir = StateDir::prepare(project.path())?;
//! let (mut journal, records) = Journal::open(&state_dir)?;
//! assert!(records.is_empty());
//!
//! let status = Change::Put { kind: "mission".into(), id: "m1".into(), body: r#"{"state":"planning"}"#.into() };
//! let head = journal.append(0, &[r#"{"type":"mission_started"}"#], &[status])?;
//! assert_eq!(head.sequence, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod anchor;
mod chain;
mod error;
mod journal;
mod owner;
mod reader;
mod state_dir;
pub mod todo;

pub use chain::{Digest, Head, MalformedDigest, Record};
pub use error::StoreError;
pub use journal::{BATCH_BYTES_MAX, BODY_BYTES_MAX, Change, Journal, NAME_BYTES_MAX};
pub use owner::{LockError, OwnerLock};
pub use reader::{Projection, Reader, Records};
pub use state_dir::{FolderError, StateDir};
