//! A job: what a caller hands in, and what the pool knows of it until it has ended.

use crate::pool::Scope;
use crate::sync::{AtomicBool, AtomicUsize, Mutex};
use crossbeam_deque::Injector;
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How many units of one job may wait or run at a time. A job that spawns more ends with [`JobError::TooManyUnits`].
pub const UNITS_MAX: usize = 262_144;

/// The line in which a job waits for its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Someone waits for the answer.
    Interactive,
    /// No one waits; gets one turn in [`crate::AGEING_TURNS`] when interactive jobs keep coming.
    Background,
}

/// Where a job stands for its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Interactive, and has had next to nothing yet.
    Fresh,
    /// Interactive.
    Interactive,
    /// In the background, or interactive with its budget used up.
    Background,
}

/// How a job ended when it did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JobError {
    /// [`Ticket::cancel`] was called before the last unit had ended.
    #[error("the job was cancelled; start it again if its result is still wanted")]
    Cancelled,
    /// The job's time, counted from its submission, was over before its last unit had ended.
    #[error("the job was not done within {limit_ms} ms; give it less to do")]
    TimedOut {
        /// The time the job had.
        limit_ms: u128,
    },
    /// A unit panicked; the units that had not started were dropped.
    #[error("the job panicked: {message}; this is a fault of ours, please report it")]
    Panicked {
        /// The panic's message, or a note that it had none.
        message: String,
    },
    /// More than [`UNITS_MAX`] units waited at a time.
    #[error("the job was split into more than {units_max} units at a time; give it less to do")]
    TooManyUnits {
        /// The bound, [`UNITS_MAX`].
        units_max: usize,
    },
    /// The system gave the pool no thread.
    #[error(
        "a worker thread could not be started ({reason}); raise the process or thread limit of this system"
    )]
    NoWorker {
        /// What the system said.
        reason: String,
    },
    /// The pool was shut down before the job's last unit had ended.
    #[error("the worker pool was shut down before the job had ended; start it again in a new process")]
    ShutDown,
}

impl JobError {
    /// Returns the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            JobError::Cancelled => "WORKER_CANCELLED",
            JobError::TimedOut { .. } => "WORKER_TIMED_OUT",
            JobError::Panicked { .. } => "WORKER_PANICKED",
            JobError::TooManyUnits { .. } => "WORKER_TOO_MANY_UNITS",
            JobError::NoWorker { .. } => "WORKER_START_FAILED",
            JobError::ShutDown => "WORKER_SHUT_DOWN",
        }
    }
}

pub(crate) type Unit = Box<dyn FnOnce(&Scope<'_>) + Send>;
pub(crate) type OnEnd = Box<dyn FnOnce(Result<(), JobError>) + Send>;

/// Work to be submitted: a lane, a time limit, and one unit or more.
pub struct Job {
    pub(crate) lane: Lane,
    pub(crate) time_limit: Duration,
    pub(crate) units: Vec<Unit>,
}

impl Job {
    /// Creates a job of one unit. `time_limit` counts from submission; it is checked before each unit and by
    /// [`Scope::is_stopped`], so a unit that never asks runs on to its own end.
    pub fn new(lane: Lane, time_limit: Duration, unit: impl FnOnce(&Scope<'_>) + Send + 'static) -> Job {
        Job { lane, time_limit, units: vec![Box::new(unit)] }
    }

    /// Adds a unit. Units of a job run in any order and at the same time.
    pub fn with_unit(mut self, unit: impl FnOnce(&Scope<'_>) + Send + 'static) -> Job {
        self.units.push(Box::new(unit));
        self
    }
}

/// Stops a submitted job. Dropping it does nothing.
#[derive(Clone)]
pub struct Ticket {
    pub(crate) job: Arc<State>,
}

impl Ticket {
    /// Cancels the job: units that have not started are dropped, running ones see [`Scope::is_stopped`]. The completion
    /// is called, with [`JobError::Cancelled`], when the last running unit has returned. Has no effect on a job that
    /// has ended or that was stopped for another reason.
    pub fn cancel(&self) {
        self.job.stop(JobError::Cancelled);
    }
}

/// One unit on its way through the queues, with the job it belongs to.
pub(crate) struct Task {
    pub(crate) job: Arc<State>,
    pub(crate) unit: Unit,
}

/// What the pool knows of a job from its submission to its end.
pub(crate) struct State {
    lane: Lane,
    time_limit: Duration,
    deadline: Instant,
    /// Units no worker holds. Whoever pushes here queues a turn afterwards, so that someone comes to look.
    pub(crate) queue: Injector<Task>,
    /// Whether the job has its place in a line: set before it is pushed there, cleared by the worker who takes it,
    /// before that worker looks at `queue`.
    turn_queued: AtomicBool,
    /// Units that wait or run. The job ends when it falls to zero; a unit's children are counted before it ends.
    pending: AtomicUsize,
    spent_us: AtomicU64,
    /// Why the job was stopped; the first reason stands.
    stopped: OnceLock<JobError>,
    on_end: Mutex<Option<OnEnd>>,
}

impl State {
    pub(crate) fn new(lane: Lane, time_limit: Duration, units_count: usize, on_end: OnEnd) -> State {
        let now = Instant::now();
        State {
            lane,
            time_limit,
            // A limit beyond the clock's range is no limit; a century stands for that.
            deadline: now.checked_add(time_limit).unwrap_or(now + Duration::from_secs(3_155_760_000)),
            queue: Injector::new(),
            turn_queued: AtomicBool::new(false),
            pending: AtomicUsize::new(units_count),
            spent_us: AtomicU64::new(0),
            stopped: OnceLock::new(),
            on_end: Mutex::new(Some(on_end)),
        }
    }

    /// Stops the job for `reason`, unless it was stopped before.
    pub(crate) fn stop(&self, reason: JobError) {
        // A second reason comes too late to matter: the first one is what ended the job.
        self.stopped.get_or_init(|| reason);
    }

    /// Returns whether the job's remaining work is to be dropped; looks at the clock.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.stopped.get().is_none() && Instant::now() >= self.deadline {
            self.stop(JobError::TimedOut { limit_ms: self.time_limit.as_millis() });
        }
        self.stopped.get().is_some()
    }

    /// Claims the job's one place in line; the caller pushes it there when this returns true.
    pub(crate) fn claim_turn(&self) -> bool {
        !self.turn_queued.swap(true, Ordering::SeqCst)
    }

    /// Gives up the place in line, before the queue is looked at.
    pub(crate) fn begin_turn(&self) {
        self.turn_queued.store(false, Ordering::SeqCst);
    }

    pub(crate) fn add_spent(&self, spent: Duration) {
        let spent_us = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        self.spent_us.fetch_add(spent_us, Ordering::Relaxed);
    }

    /// Returns the line for the next turn: that of the job's lane, until it has used up its budgets.
    pub(crate) fn line(&self, fresh_budget: Duration, interactive_budget: Duration) -> Line {
        let spent = Duration::from_micros(self.spent_us.load(Ordering::Relaxed));
        match self.lane {
            Lane::Background => Line::Background,
            Lane::Interactive if spent < fresh_budget => Line::Fresh,
            Lane::Interactive if spent < interactive_budget => Line::Interactive,
            Lane::Interactive => Line::Background,
        }
    }

    /// Counts one more unit; returns false, and stops the job, at [`UNITS_MAX`].
    pub(crate) fn add_unit(&self) -> bool {
        // Only running units add units, so the count is above zero here and the job cannot end meanwhile.
        if self.pending.load(Ordering::Relaxed) >= UNITS_MAX {
            self.stop(JobError::TooManyUnits { units_max: UNITS_MAX });
            return false;
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts one unit less; returns true to exactly one caller, the one whose unit was the last.
    pub(crate) fn end_unit(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Returns the completion and its argument; `None` when they were taken before.
    pub(crate) fn take_end(&self) -> Option<(OnEnd, Result<(), JobError>)> {
        let on_end = self.on_end.lock().take()?;
        Some((on_end, self.stopped.get().map_or(Ok(()), |reason| Err(reason.clone()))))
    }
}

/// Returns the message of a caught panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(message) = payload.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
#[cfg(loom)]
mod tests {
    use super::*;
    use loom::thread;

    fn state(units_count: usize, ended: &Arc<AtomicUsize>) -> Arc<State> {
        let ended = Arc::clone(ended);
        let on_end = move |_outcome| {
            ended.fetch_add(1, Ordering::SeqCst);
        };
        Arc::new(State::new(Lane::Interactive, Duration::from_secs(60), units_count, Box::new(on_end)))
    }

    /// Ends a unit as a worker does.
    fn end(state: &State) {
        if state.end_unit()
            && let Some((on_end, outcome)) = state.take_end()
        {
            on_end(outcome);
        }
    }

    /// Breaks if a job ends twice, or never, when its last units end at the same time, one after adding another.
    #[test]
    fn a_job_ends_once() {
        loom::model(|| {
            let ended = Arc::new(AtomicUsize::new(0));
            let job = state(2, &ended);
            let inner = Arc::clone(&job);
            let other = thread::spawn(move || {
                assert!(inner.add_unit());
                end(&inner);
                end(&inner);
            });
            job.stop(JobError::Cancelled);
            end(&job);
            other.join().expect("the worker ends");
            assert_eq!(ended.load(Ordering::SeqCst), 1);
        });
    }

    /// Breaks if a unit that is put back is left without a turn: whoever pushes claims one, unless a worker is still to
    /// look.
    #[test]
    fn what_is_pushed_has_a_turn() {
        loom::model(|| {
            let job = state(1, &Arc::new(AtomicUsize::new(0)));
            let (queue, line) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (inner, inner_queue, inner_line) = (Arc::clone(&job), Arc::clone(&queue), Arc::clone(&line));
            let pushes = thread::spawn(move || {
                inner_queue.fetch_add(1, Ordering::SeqCst);
                if inner.claim_turn() {
                    inner_line.fetch_add(1, Ordering::SeqCst);
                }
            });
            // A worker whose turn has come.
            let mut taken = 0;
            if job.claim_turn() {
                job.begin_turn();
                taken = queue.swap(0, Ordering::SeqCst);
            }
            pushes.join().expect("the other worker ends");
            assert!(taken + line.load(Ordering::SeqCst) >= 1, "a unit waits, and no turn for it");
        });
    }
}
