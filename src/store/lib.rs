//! The journal of a project, durable on disk: what happened, in order, in a chain of hashes.
//!
//! The crate owns the files of a project's state folder (`<project>/.opencode/orchestrator/`) and the rendered
//! to-do file. It knows no mission and no event: a record's body is JSON text that the caller made, a projection is
//! text under a kind and an id. It starts no thread and reads no clock.

mod owner;
mod state_dir;

pub use owner::{LockError, OwnerLock};
pub use state_dir::{FolderError, StateDir};
