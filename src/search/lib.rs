//! The tools on a project's files: they search, outline, compare and edit them.
//!
//! A call is a job on an [`orchestrator_worker::Pool`]: many run at once, a large one holds up no small one, each can be
//! cancelled. It reads files below a [`Root`] and nothing else. Only editing tools write, and only when told to; only
//! those of git start a process. Nothing is kept between calls but compiled patterns and, where it pays, an index that
//! misses no change. What a model is shown of an answer goes through [`redact`].
//!
//! Invariants:
//!
//! - The same query on the same files gives the same answer, in order of path and place, although files are searched in
//!   parallel: a cut answer holds the first results, not those found first. The exception is [`Limit::TimeLimit`].
//! - An answer that is not complete says so, names the limits it met, and says how to get the rest ([`Coverage`]).
//! - No path leads out of the root, by `..` or by a link; links are not followed on the way down.
//! - Everything is bounded by a constant in this crate.
//!
//! ```
//! use orchestrator_search::{Answer, Query, Root, run};
//! use orchestrator_worker::Pool;
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("a.txt"), "one\ntwo\n")?;
//! let query = Query::parse("grep_search", r#"{"pattern": "tw."}"#)?;
//! let answer = run(&Pool::new(2), &Root::open(folder.path())?, query)?;
//! assert_eq!(answer.to_text(), "a.txt:2: two\n(1 match; 1 file searched)\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(target_os = "linux")]
mod above;
mod answer;
mod collect;
mod content;
pub mod diff;
mod edit;
mod error;
pub mod git;
pub mod glob;
pub mod grep;
#[cfg(target_os = "linux")]
mod index;
pub mod jq;
mod json;
mod limit;
pub mod mgrep;
mod pattern;
mod query;
mod redact;
pub mod replace;
pub mod rewrite;
mod root;
mod rule;
mod shape;
mod signature;
pub mod stats;
pub mod structural;
pub mod symbols;
mod text;
mod walk;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(test)]
mod tests;

pub use answer::{Coverage, Cursor};
pub use error::SearchError;
#[cfg(target_os = "linux")]
pub use index::warm;
pub use limit::*;
pub use query::{Answer, NAMES, Query, run, schema, start, start_here};
pub use redact::redact;
pub use root::Root;
pub use walk::Skipped;
