//! Checks of submitted work, run by the program itself and kept as evidence.
//!
//! A worker's word that it is done is a claim. This crate compares the claim with the files as they were
//! before ([`snapshot`]), parses what changed, and runs the task's acceptance commands; a [`CheckReport`] says
//! what was found and what that rests on. The verdict is fail when something is wrong, unknown when something
//! could not be determined, and pass otherwise: unknown is never pass.
//!
//! It decides nothing about tasks or attempts, writes no file, and uses no shell. The user's commands run in a
//! process group of their own, which is killed as a whole when the command ends, for whatever reason.
//!
//! Invariants:
//! - Every request handed to a [`Verifier`] is answered exactly once, also after a panic, a cancel or a shutdown.
//! - No content outside the root is read; a link that leaves the root is recorded, never followed.
//! - A report is at most [`REPORT_BYTES_MAX`] bytes as JSON; what was left out is counted in it.
//!
//! ```
//! use orchestrator_verify::{CheckRequest, Verdict, Verifier, snapshot};
//!
//! let root = tempfile::tempdir()?;
//! let lease = vec!["src/".to_owned()];
//! let before = snapshot(root.path(), &lease)?;
//!
//! std::fs::create_dir(root.path().join("src"))?;
//! std::fs::write(root.path().join("src/a.json"), "{}")?;
//!
//! let verifier = Verifier::start()?;
//! let (sender, receiver) = std::sync::mpsc::channel();
//! let request = CheckRequest {
//!     id: "task-1".into(),
//!     root: root.path().into(),
//!     lease,
//!     before,
//!     claimed: vec!["src/a.json".into()],
//!     commands: vec![],
//!     timeout_ms: None,
//!     environment: Default::default(),
//! };
//! verifier.run(request, move |report| sender.send(report).expect("the receiver waits"));
//! assert_eq!(receiver.recv()?.verdict, Verdict::Pass);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod command;
mod leftover;
mod report;
mod snapshot;
mod syntax;
mod verifier;

pub use check::{CLAIMS_MAX, COMMANDS_MAX, CheckRequest};
pub use command::{
    ARGV_BYTES_MAX, HEAD_BYTES, OUTPUT_BYTES_MAX, TAIL_BYTES, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX,
};
pub use leftover::{Leftover, OWNER_VARIABLE, Owner, WORK_VARIABLE};
pub use report::{
    CheckReport, CommandEvidence, Cut, Evidence, FileChange, FileEvidence, Finding, FindingCode,
    REPORT_BYTES_MAX, SyntaxVerdict, Verdict,
};
pub use snapshot::{
    FILE_BYTES_MAX, FILES_MAX, FileState, LEASE_ENTRIES_MAX, SKIPPED_FOLDERS, SNAPSHOT_BYTES_MAX, Snapshot,
    SnapshotError, snapshot,
};
pub use syntax::SYNTAX_BYTES_MAX;
pub use verifier::{CheckTicket, QUEUE_MAX, RUNNING_MAX, Verifier, VerifierError};
