//! Runs CPU-bound jobs on a fixed set of threads, so that no job, however large, holds up another.
//!
//! It runs what it is given and knows nothing of missions, searches or files. It does no waiting either: a unit that
//! blocks on the network or on a child process blocks a core.
//!
//! A [`Job`] is split into units, say one per directory; a unit may spawn more. Three ideas share the cores among jobs:
//!
//! - **Stealing inside a job.** Each worker owns a Chase–Lev deque (Chase and Lev, "Dynamic circular work-stealing
//!   deque", SPAA 2005; `crossbeam-deque`). Its owner takes the newest unit, an idle worker steals the oldest.
//! - **Turns between jobs.** A job waits in its lane's line with at most one place in it. A worker takes the first job,
//!   runs its units for [`QUANTUM`], puts what is left back and the job at the end of the line.
//! - **Two lanes.** [`Lane::Interactive`] goes first, and in it a job that has had less than [`FRESH_BUDGET`]. Every
//!   [`AGEING_TURNS`]th turn of a worker looks at [`Lane::Background`] first, so background work never starves. A job that
//!   has used [`INTERACTIVE_BUDGET`] goes on in the background lane, so that small jobs overtake large ones without having
//!   to say that they are small.
//!
//! Invariant: a job that was accepted ends exactly once, as done, cancelled, late, failed or shut down, whatever its
//! units do; a worker's own deque holds units of one job only, that of its turn.
//!
//! ```
//! use orchestrator_worker::{Job, Lane, Pool};
//! use std::{sync::mpsc, time::Duration};
//!
//! let pool = Pool::new(2);
//! let (sender, receiver) = mpsc::channel();
//! let job = Job::new(Lane::Interactive, Duration::from_secs(30), |scope| {
//!     for _ in 0..8 {
//!         scope.spawn(|_| { /* one directory's worth of work */ });
//!     }
//! });
//! pool.submit(job, move |outcome| sender.send(outcome).expect("the receiver lives"))?;
//! assert_eq!(receiver.recv()?, Ok(()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffer;
mod job;
mod pool;
mod sleep;
mod sync;

pub use buffer::{BUFFER_BYTES_MAX, Buffer, Buffers};
pub use job::{Job, JobError, Lane, Ticket, UNITS_MAX};
pub use pool::{
    AGEING_TURNS, APART_MAX, Apart, Counters, FRESH_BUDGET, INTERACTIVE_BUDGET, JOBS_MAX, Pool, QUANTUM,
    Scope, SubmitError, Watch,
};
