//! The threads, and the rules by which they choose what to run next.

use crate::job::{Job, JobError, Line, OnEnd, State, Task, Ticket, panic_message};
use crate::sleep::Sleep;
use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a worker stays with one job while others wait. A unit is never interrupted, so this is a lower bound.
pub const QUANTUM: Duration = Duration::from_millis(2);

/// The core time in which an interactive job is fresh: it goes before those that have had more, and a worker leaves such
/// a job for it after this long. So a small job waits for the units that run, not for every other job's turn.
pub const FRESH_BUDGET: Duration = Duration::from_micros(500);

/// A worker looks at the background lane first, and at fresh jobs last, in one of this many turns.
pub const AGEING_TURNS: u64 = 8;

/// The core time after which an interactive job goes on in the background lane.
pub const INTERACTIVE_BUDGET: Duration = Duration::from_millis(50);

/// How many jobs a pool holds at a time; beyond it [`Pool::submit`] refuses with [`SubmitError::QueueFull`].
pub const JOBS_MAX: usize = 4_096;

/// How many units wait on threads of their own at a time; beyond it [`Scope::wait_apart`] refuses.
pub const APART_MAX: usize = 64;

/// The stack of a worker. Comparing syntax trees recurses, and up to 10,000 levels deep takes some 10 MiB; the rest is
/// margin. The system commits what is used of it.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Why a job was not accepted. Its completion is not called.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// [`JOBS_MAX`] jobs are in the pool.
    #[error("{jobs_max} jobs are already waiting; wait until some have ended, then try again")]
    QueueFull {
        /// The bound, [`JOBS_MAX`].
        jobs_max: usize,
    },
    /// The pool was shut down.
    #[error("the worker pool was shut down; start it again in a new process")]
    ShutDown,
}

impl SubmitError {
    /// Returns the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            SubmitError::QueueFull { .. } => "WORKER_QUEUE_FULL",
            SubmitError::ShutDown => "WORKER_SHUT_DOWN",
        }
    }
}

/// What a pool has done since it started. Read while it works, the numbers need not be of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Units a worker took from its own deque.
    pub local: u64,
    /// Units a worker took from its job's shared queue: those submitted, and those put back at the end of a turn.
    pub shared: u64,
    /// Units a worker stole from another worker's deque.
    pub steals: u64,
    /// Panics caught in units and completions.
    pub panics: u64,
    /// Jobs that have not ended.
    pub jobs_live: usize,
}

/// A set of worker threads, which start when there is something for them to do. Dropping it shuts it down.
pub struct Pool {
    shared: Arc<Shared>,
    stack_bytes: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Returns a pool of `workers_count` threads, at least one. Until the first job is left to them there are none, so
    /// that a process whose calls do their work themselves never has them.
    pub fn new(workers_count: usize) -> Pool {
        Pool::with_stacks(workers_count, STACK_BYTES)
    }

    fn with_stacks(workers_count: usize, stack_bytes: usize) -> Pool {
        let deques: Vec<Deque<Task>> = (0..workers_count.max(1)).map(|_| Deque::new_lifo()).collect();
        let shared = Arc::new(Shared {
            fresh: Injector::new(),
            interactive: Injector::new(),
            background: Injector::new(),
            stealers: deques.iter().map(Deque::stealer).collect(),
            free: Mutex::new(deques.into_iter().enumerate().collect()),
            sleep: Sleep::default(),
            intake: Mutex::new(Intake { closed: false, jobs_live: 0 }),
            closed: AtomicBool::new(false),
            local: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            steals: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            apart: Mutex::new(0),
            none_apart: Condvar::new(),
        });
        Pool { shared, stack_bytes, threads: Mutex::new(Vec::new()) }
    }

    /// Returns the process's pool, one worker per available core, never shut down.
    ///
    /// It is the only global of the project, on purpose: several JavaScript environments may load the addon into one
    /// process, and together they still have only so many cores.
    pub fn global() -> &'static Pool {
        static GLOBAL: OnceLock<Pool> = OnceLock::new();
        GLOBAL.get_or_init(|| Pool::new(thread::available_parallelism().map_or(1, usize::from)))
    }

    /// Starts the workers that have not been started. Those that there are do, if the system refuses more; a later job
    /// asks again. The pool stays open while `_intake` is held.
    ///
    /// # Errors
    ///
    /// [`JobError::NoWorker`] when there is none.
    fn man(&self, _intake: &Intake) -> Result<(), JobError> {
        let mut threads = self.threads.lock();
        while threads.len() < self.shared.stealers.len() {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new()
                .name(format!("orch-worker-{}", threads.len()))
                .stack_size(self.stack_bytes);
            match builder.spawn(move || shared.work()) {
                Ok(thread) => threads.push(thread),
                Err(refused) if threads.is_empty() => {
                    return Err(JobError::NoWorker { reason: refused.to_string() });
                }
                Err(_refused) => break,
            }
        }
        Ok(())
    }

    /// Accepts `job`. `on_end` is called exactly once, on a worker or, when there is none, before this returns, or,
    /// after [`Pool::shutdown`] began, before that returns; it must be short and must not block. A panic in it is caught
    /// and counted.
    ///
    /// # Errors
    ///
    /// [`SubmitError::QueueFull`] at [`JOBS_MAX`] jobs and [`SubmitError::ShutDown`] after a shutdown; `on_end` is
    /// dropped uncalled then.
    pub fn submit(
        &self,
        job: Job,
        on_end: impl FnOnce(Result<(), JobError>) + Send + 'static,
    ) -> Result<Ticket, SubmitError> {
        let (state, intake) = self.accept(job, Box::new(on_end))?;
        self.leave_to_workers(&state, intake);
        Ok(Ticket { job: state })
    }

    /// As [`Pool::submit`], but the calling thread runs the job itself for `time`, and workers only what is left then. A
    /// small job is done so without waking a thread, which would take longer than the job. `on_end` may be called here,
    /// before this returns.
    ///
    /// # Errors
    ///
    /// As [`Pool::submit`].
    pub fn submit_here(
        &self,
        job: Job,
        time: Duration,
        on_end: impl FnOnce(Result<(), JobError>) + Send + 'static,
    ) -> Result<Ticket, SubmitError> {
        let (state, intake) = self.accept(job, Box::new(on_end))?;
        drop(intake);
        self.shared.run_here(&state, time);
        if !state.queue.is_empty() {
            self.leave_to_workers(&state, self.shared.intake.lock());
        }
        Ok(Ticket { job: state })
    }

    /// Puts a job in line for the workers. Where there are none the job ends here.
    fn leave_to_workers(&self, state: &Arc<State>, intake: MutexGuard<'_, Intake>) {
        let manned = if intake.closed { Err(JobError::ShutDown) } else { self.man(&intake) };
        match manned {
            // The lock is held until the job is in line, so that a shutdown comes before it or after.
            Ok(()) => self.shared.queue_turn(state),
            Err(reason) => {
                drop(intake);
                state.stop(reason);
                // Each unit finds that the job is stopped.
                self.shared.run_here(state, Duration::MAX);
            }
        }
    }

    /// Takes a job in, unless the pool is full or closed.
    fn accept(&self, job: Job, on_end: OnEnd) -> Result<(Arc<State>, MutexGuard<'_, Intake>), SubmitError> {
        let state = Arc::new(State::new(job.lane, job.time_limit, job.units.len(), on_end));
        let mut intake = self.shared.intake.lock();
        if intake.closed {
            return Err(SubmitError::ShutDown);
        }
        if intake.jobs_live >= JOBS_MAX {
            return Err(SubmitError::QueueFull { jobs_max: JOBS_MAX });
        }
        intake.jobs_live += 1;
        for unit in job.units {
            state.queue.push(Task { job: Arc::clone(&state), unit });
        }
        Ok((state, intake))
    }

    /// Stops every job, ends each with [`JobError::ShutDown`], and returns when the workers have ended. Waits for the
    /// units that run, those on threads of their own too; calling it from a worker is allowed, and does not wait for
    /// that one.
    pub fn shutdown(&self) {
        {
            let mut intake = self.shared.intake.lock();
            intake.closed = true;
            self.shared.closed.store(true, Ordering::SeqCst);
        }
        self.shared.sleep.wake_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                let joined = thread.join();
                debug_assert!(joined.is_ok(), "a worker catches every panic of what it runs");
            }
        }
        let mut apart = self.shared.apart.lock();
        while *apart > 0 {
            self.shared.none_apart.wait(&mut apart);
        }
    }

    /// Returns what the pool has done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            local: self.shared.local.load(Ordering::Relaxed),
            shared: self.shared.shared.load(Ordering::Relaxed),
            steals: self.shared.steals.load(Ordering::Relaxed),
            panics: self.shared.panics.load(Ordering::Relaxed),
            jobs_live: self.shared.intake.lock().jobs_live,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What a running unit may ask of the pool.
pub struct Scope<'a> {
    shared: &'a Arc<Shared>,
    local: &'a Deque<Task>,
    job: &'a Arc<State>,
    turn: &'a Turn,
}

impl Scope<'_> {
    /// Adds a unit to the job. It is dropped unrun when the job is stopped, or at [`crate::UNITS_MAX`] units, which
    /// stops the job with [`JobError::TooManyUnits`].
    pub fn spawn(&self, unit: impl FnOnce(&Scope<'_>) + Send + 'static) {
        if self.job.add_unit() {
            self.local.push(Task { job: Arc::clone(self.job), unit: Box::new(unit) });
            if !self.is_borrowed() {
                self.shared.sleep.wake_one();
            }
        }
    }

    /// Returns whether the thread is not a worker but the one that has submitted the job, and that has else to do.
    pub fn is_borrowed(&self) -> bool {
        self.turn.time.is_some()
    }

    /// Gives a borrowed thread back at the end of this unit, which spawns what it leaves undone. A worker goes on.
    pub fn leave(&self) {
        self.turn.has_left.set(self.is_borrowed());
    }

    /// Returns whether [`Scope::leave`] was called on a borrowed thread.
    pub fn has_left(&self) -> bool {
        self.turn.has_left.get()
    }

    /// Returns whether another job waits for this worker and the job's turn is over. A unit with more to do then spawns
    /// the rest and returns.
    pub fn is_turn_over(&self) -> bool {
        self.shared.is_over(self.turn)
    }

    /// Runs a unit of the job on a thread of its own, for what waits, as for a child process: a worker would be a core
    /// less for everyone. It asks [`Apart::is_stopped`] every few milliseconds and returns when it is.
    ///
    /// # Errors
    ///
    /// [`SubmitError::QueueFull`] at [`APART_MAX`] such units, or when the system refuses a thread; the unit is dropped
    /// unrun.
    pub fn wait_apart(&self, unit: impl FnOnce(&Apart) + Send + 'static) -> Result<(), SubmitError> {
        let full = || SubmitError::QueueFull { jobs_max: APART_MAX };
        {
            let mut apart = self.shared.apart.lock();
            if *apart >= APART_MAX {
                return Err(full());
            }
            *apart += 1;
        }
        // Dropped, whether the thread has run or could not be started, it ends the unit.
        let guard = self.job.add_unit().then(|| Apart { watch: self.watch() });
        let Some(guard) = guard else {
            self.shared.end_apart();
            return Err(full());
        };
        let run = move || {
            let guarded = catch_unwind(AssertUnwindSafe(|| unit(&guard)));
            if let Err(payload) = guarded {
                guard.watch.shared.panics.fetch_add(1, Ordering::Relaxed);
                guard.watch.job.stop(JobError::Panicked { message: panic_message(payload.as_ref()) });
            }
        };
        match thread::Builder::new().name("orch-apart".to_owned()).spawn(run) {
            Ok(_detached) => Ok(()),
            Err(_refused) => Err(full()),
        }
    }

    /// Returns what tells of the job's stop where the scope cannot be had.
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(self.shared), job: Arc::clone(self.job) }
    }

    /// Returns whether the job was cancelled, is late, has failed or is being shut down; a long unit asks now and then
    /// and returns.
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped(self.job)
    }
}

/// Tells whether a job was stopped. It may outlive the job.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
    job: Arc<State>,
}

impl Watch {
    /// As [`Scope::is_stopped`].
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped(&self.job)
    }
}

/// What a unit on a thread of its own may ask of the pool. Dropped, it ends the unit.
pub struct Apart {
    watch: Watch,
}

impl Apart {
    /// As [`Scope::is_stopped`].
    pub fn is_stopped(&self) -> bool {
        self.watch.is_stopped()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let Watch { shared, job } = &self.watch;
        if job.end_unit() {
            shared.settle(job);
        }
        shared.end_apart();
    }
}

/// Which jobs may come in, and how many are here.
struct Intake {
    closed: bool,
    jobs_live: usize,
}

/// What a worker's turn begins with.
enum Next {
    /// The first job in a line.
    Job(Arc<State>),
    /// A unit stolen from another worker, and with it a turn for the unit's job.
    Stolen(Task),
}

/// A thread's time with one job.
struct Turn {
    started: Instant,
    line: Line,
    /// How long a thread may be borrowed that is no worker.
    time: Option<Duration>,
    has_left: Cell<bool>,
}

impl Turn {
    fn new(line: Line, time: Option<Duration>) -> Turn {
        Turn { started: Instant::now(), line, time, has_left: Cell::new(false) }
    }
}

/// What the workers share.
struct Shared {
    fresh: Injector<Arc<State>>,
    interactive: Injector<Arc<State>>,
    background: Injector<Arc<State>>,
    stealers: Vec<Stealer<Task>>,
    /// The deques that no worker has yet, with their places among `stealers`.
    free: Mutex<Vec<(usize, Deque<Task>)>>,
    sleep: Sleep,
    intake: Mutex<Intake>,
    /// A copy of `intake.closed` that is read without the lock.
    closed: AtomicBool,
    local: AtomicU64,
    shared: AtomicU64,
    steals: AtomicU64,
    panics: AtomicU64,
    /// How many units run on threads of their own.
    apart: Mutex<usize>,
    none_apart: Condvar,
}

impl Shared {
    /// Takes turns, as a worker, until the pool is closed and nothing is left to end.
    fn work(self: &Arc<Self>) {
        let free = self.free.lock().pop();
        let Some((index, local)) = free else {
            debug_assert!(false, "there is a deque for every worker");
            return;
        };
        let mut turns_count = 0_u64;
        loop {
            // Read first: once closed nothing comes in, so a search that finds nothing afterwards is final.
            let closed = self.closed.load(Ordering::SeqCst);
            if let Some(turn) = self.next_turn(index, turns_count) {
                turns_count = turns_count.wrapping_add(1);
                self.take_turn(turn, &local);
            } else if closed {
                return;
            } else {
                self.sleep.park_unless(|| self.has_work() || self.closed.load(Ordering::SeqCst));
            }
        }
    }

    /// Finds something to do: a job in line, else a unit of a job that another worker has.
    fn next_turn(&self, index: usize, turns_count: u64) -> Option<Next> {
        let mut lines = [&self.fresh, &self.interactive, &self.background];
        if turns_count % AGEING_TURNS == AGEING_TURNS - 1 {
            lines.reverse();
        }
        let job = lines.into_iter().find_map(|line| steal(|| line.steal()));
        job.map(Next::Job).or_else(|| {
            let count = self.stealers.len();
            (1..count)
                .map(|offset| &self.stealers[(index + offset) % count])
                .find_map(|stealer| steal(|| stealer.steal()))
                .map(Next::Stolen)
        })
    }

    /// Runs units of one job until there are none, or until the turn is over.
    fn take_turn(self: &Arc<Self>, next: Next, local: &Deque<Task>) {
        let (job, next) = match next {
            Next::Job(job) => {
                job.begin_turn();
                (job, None)
            }
            Next::Stolen(task) => {
                self.steals.fetch_add(1, Ordering::Relaxed);
                (Arc::clone(&task.job), Some(task))
            }
        };
        let turn = Turn::new(job.line(FRESH_BUDGET, INTERACTIVE_BUDGET), None);
        self.run_units(&job, next, local, &turn);
        if !job.queue.is_empty() {
            self.queue_turn(&job);
        }
    }

    /// Runs units of the job on the calling thread, which is no worker, for `time`.
    fn run_here(self: &Arc<Self>, job: &Arc<State>, time: Duration) {
        self.run_units(job, None, &Deque::new_lifo(), &Turn::new(Line::Fresh, Some(time)));
    }

    /// Runs `next` and further units of the job until the turn is over, and puts those that are left into its queue.
    fn run_units(
        self: &Arc<Self>,
        job: &Arc<State>,
        mut next: Option<Task>,
        local: &Deque<Task>,
        turn: &Turn,
    ) {
        while let Some(task) = next.take().or_else(|| self.next_unit(job, local)) {
            self.run(task, local, turn);
            if self.is_over(turn) {
                break;
            }
        }
        job.add_spent(turn.started.elapsed());
        while let Some(task) = local.pop() {
            job.queue.push(task);
        }
    }

    fn is_over(&self, turn: &Turn) -> bool {
        let spent = turn.started.elapsed();
        if let Some(time) = turn.time {
            return turn.has_left.get() || spent >= time;
        }
        match turn.line {
            _ if spent < FRESH_BUDGET => false,
            Line::Fresh => self.is_anyone_in_line(),
            Line::Interactive | Line::Background if !self.fresh.is_empty() => true,
            Line::Interactive | Line::Background => spent >= QUANTUM && self.is_anyone_in_line(),
        }
    }

    /// Takes a unit of `job`: the newest of the worker's own, else a batch of the shared ones.
    fn next_unit(&self, job: &Arc<State>, local: &Deque<Task>) -> Option<Task> {
        if let Some(task) = local.pop() {
            self.local.fetch_add(1, Ordering::Relaxed);
            return Some(task);
        }
        let task = steal(|| job.queue.steal_batch_and_pop(local))?;
        self.shared.fetch_add(1, Ordering::Relaxed);
        if !job.queue.is_empty() {
            // More than this worker took: another may join.
            self.queue_turn(job);
        } else if !local.is_empty() {
            self.sleep.wake_one();
        }
        Some(task)
    }

    /// Runs one unit inside the panic guard and ends the job when it was the last.
    fn run(self: &Arc<Self>, task: Task, local: &Deque<Task>, turn: &Turn) {
        let Task { job, unit } = task;
        let scope = Scope { shared: self, local, job: &job, turn };
        // What a unit drops may panic too, so an unrun unit is dropped inside the guard as well.
        let guarded = catch_unwind(AssertUnwindSafe(|| {
            if scope.is_stopped() {
                drop(unit);
            } else {
                unit(&scope);
            }
        }));
        if let Err(payload) = guarded {
            self.panics.fetch_add(1, Ordering::Relaxed);
            job.stop(JobError::Panicked { message: panic_message(payload.as_ref()) });
        }
        if job.end_unit() {
            self.settle(&job);
        }
    }

    /// Tells the caller how its job ended.
    fn settle(&self, job: &State) {
        self.intake.lock().jobs_live -= 1;
        let Some((on_end, outcome)) = job.take_end() else {
            debug_assert!(false, "a job ends once");
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| on_end(outcome))).is_err() {
            // The caller's own code failed; the counter is the only one left to tell.
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end_apart(&self) {
        let mut apart = self.apart.lock();
        *apart -= 1;
        if *apart == 0 {
            self.none_apart.notify_all();
        }
    }

    /// Puts `job` at the end of its line, unless it has a place in one.
    fn queue_turn(&self, job: &Arc<State>) {
        if job.claim_turn() {
            match job.line(FRESH_BUDGET, INTERACTIVE_BUDGET) {
                Line::Fresh => self.fresh.push(Arc::clone(job)),
                Line::Interactive => self.interactive.push(Arc::clone(job)),
                Line::Background => self.background.push(Arc::clone(job)),
            }
            self.sleep.wake_one();
        }
    }

    fn is_stopped(&self, job: &State) -> bool {
        if self.closed.load(Ordering::Relaxed) {
            job.stop(JobError::ShutDown);
        }
        job.is_stopped()
    }

    fn is_anyone_in_line(&self) -> bool {
        !self.fresh.is_empty() || !self.interactive.is_empty() || !self.background.is_empty()
    }

    fn has_work(&self) -> bool {
        self.is_anyone_in_line() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }
}

/// Repeats `attempt` while it loses races.
fn steal<T>(attempt: impl Fn() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(item) => return Some(item),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::{Lane, UNITS_MAX};
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const LIMIT: Duration = Duration::from_secs(60);
    /// Far beyond what a test needs; a test that waits this long hangs.
    const HANG: Duration = Duration::from_secs(60);

    type End = (&'static str, Result<(), JobError>);

    struct Ender(Sender<End>);

    impl Ender {
        fn on(&self, name: &'static str) -> impl FnOnce(Result<(), JobError>) + Send + 'static {
            let sender = self.0.clone();
            move |outcome| sender.send((name, outcome)).unwrap()
        }
    }

    fn ends() -> (Ender, Receiver<End>) {
        let (sender, receiver) = channel();
        (Ender(sender), receiver)
    }

    fn take(receiver: &Receiver<End>, count: usize) -> Vec<End> {
        (0..count).map(|_| receiver.recv_timeout(HANG).expect("a job did not end")).collect()
    }

    /// Occupies one worker until the returned barrier is met.
    fn hold_worker(pool: &Pool) -> Arc<Barrier> {
        let (started, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (inner_started, inner_gate) = (Arc::clone(&started), Arc::clone(&gate));
        let job = Job::new(Lane::Interactive, LIMIT, move |_| {
            inner_started.wait();
            inner_gate.wait();
        });
        pool.submit(job, |_| {}).unwrap();
        started.wait();
        gate
    }

    fn spawn_tree(scope: &Scope<'_>, depth: usize, ran: &Arc<AtomicUsize>) {
        ran.fetch_add(1, Ordering::SeqCst);
        if depth > 0 {
            for _ in 0..3 {
                let ran = Arc::clone(ran);
                scope.spawn(move |scope| spawn_tree(scope, depth - 1, &ran));
            }
        }
    }

    /// Breaks if a small job wakes a worker although the caller lends its thread.
    #[test]
    fn a_lent_thread_does_a_small_job_itself() {
        let pool = Pool::new(1);
        let gate = hold_worker(&pool);
        let (ender, receiver) = ends();
        let caller = thread::current().id();
        let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
            assert!(scope.is_borrowed() && thread::current().id() == caller);
            scope.spawn(move |_| assert_eq!(thread::current().id(), caller));
        });
        pool.submit_here(job, LIMIT, ender.on("small")).unwrap();
        assert_eq!(receiver.try_recv(), Ok(("small", Ok(()))), "it has ended before the call returns");
        let job = Job::new(Lane::Interactive, LIMIT, |_| panic!("boom"));
        pool.submit_here(job, LIMIT, ender.on("panics")).unwrap();
        let panicked = JobError::Panicked { message: "boom".into() };
        assert_eq!(receiver.try_recv(), Ok(("panics", Err(panicked))), "the caller survives");
        gate.wait();
    }

    /// Breaks if a lent thread is kept for longer than it was lent, or if what it leaves is lost.
    #[test]
    fn workers_do_what_a_lent_thread_leaves() {
        let pool = Pool::new(2);
        let (ender, receiver) = ends();
        let caller = thread::current().id();
        for (name, time, leaves) in [("time", Duration::ZERO, false), ("leaves", LIMIT, true)] {
            let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
                for _ in 0..10 {
                    scope.spawn(move |scope| {
                        assert!(!scope.is_borrowed() && thread::current().id() != caller);
                        scope.leave();
                        assert!(!scope.has_left(), "a worker goes on");
                    });
                }
                if leaves {
                    scope.leave();
                    assert!(scope.has_left());
                }
            });
            pool.submit_here(job, time, ender.on(name)).unwrap();
            assert_eq!(take(&receiver, 1), [(name, Ok(()))]);
        }
    }

    /// Breaks if threads are started that have nothing to do.
    #[test]
    fn workers_start_when_a_job_is_left_to_them() {
        let pool = Pool::new(2);
        let (ender, receiver) = ends();
        pool.submit_here(Job::new(Lane::Interactive, LIMIT, |_| {}), LIMIT, ender.on("small")).unwrap();
        assert_eq!((take(&receiver, 1), pool.threads.lock().len()), (vec![("small", Ok(()))], 0));
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("left")).unwrap();
        assert_eq!((take(&receiver, 1), pool.threads.lock().len()), (vec![("left", Ok(()))], 2));
    }

    /// Breaks if a job hangs, or what it holds is kept, when the system gives no thread: no stack is as large as this.
    #[test]
    fn without_a_thread_a_job_ends_where_it_was_submitted() {
        let pool = Pool::with_stacks(1, usize::MAX / 4);
        let (ender, receiver) = ends();
        let held = Arc::new(());
        for is_lent in [false, true] {
            let inner = Arc::clone(&held);
            let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
                assert!(scope.is_borrowed());
                scope.spawn(move |_| drop(inner));
            });
            if is_lent {
                pool.submit_here(job, Duration::ZERO, ender.on("job")).unwrap();
            } else {
                pool.submit(job, ender.on("job")).unwrap();
            }
            let end = receiver.try_recv();
            assert!(matches!(end, Ok(("job", Err(JobError::NoWorker { .. })))), "{end:?}");
            assert_eq!((Arc::strong_count(&held), pool.counters().jobs_live), (1, 0));
        }
    }

    /// Breaks if a job of a lent thread is never told of its end when the pool closes meanwhile.
    #[test]
    fn a_lent_thread_ends_its_job_when_the_pool_closes() {
        let pool = Arc::new(Pool::new(1));
        let (ender, receiver) = ends();
        let inner = Arc::clone(&pool);
        let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
            inner.shutdown();
            scope.spawn(|_| panic!("this one is dropped"));
        });
        pool.submit_here(job, Duration::ZERO, ender.on("job")).unwrap();
        assert_eq!(receiver.try_recv(), Ok(("job", Err(JobError::ShutDown))));
    }

    /// Breaks if a unit is lost or run twice, or a completion is missing or doubled.
    #[test]
    fn a_thousand_jobs_run_each_unit_once_and_end_once() {
        let pool = Pool::new(4);
        let ran = Arc::new(AtomicUsize::new(0));
        let (ender, receiver) = ends();
        for index in 0..1_000 {
            let lane = if index % 2 == 0 { Lane::Interactive } else { Lane::Background };
            let ran = Arc::clone(&ran);
            let job = Job::new(lane, LIMIT, move |scope| spawn_tree(scope, 3, &ran));
            pool.submit(job, ender.on("job")).unwrap();
        }
        assert!(take(&receiver, 1_000).iter().all(|(_, outcome)| outcome.is_ok()));
        assert_eq!(ran.load(Ordering::SeqCst), 1_000 * 40);
        pool.shutdown();
        assert!(receiver.try_recv().is_err(), "a completion was called twice");
        assert_eq!(pool.counters().jobs_live, 0);
    }

    /// Breaks if units stay with the worker that spawned them: two units that wait for each other would never end.
    #[test]
    fn an_idle_worker_steals() {
        let pool = Pool::new(2);
        let (ender, receiver) = ends();
        let job = Job::new(Lane::Interactive, LIMIT, |scope| {
            let meeting = Arc::new(Barrier::new(2));
            for _ in 0..2 {
                let meeting = Arc::clone(&meeting);
                scope.spawn(move |_| {
                    meeting.wait();
                });
            }
        });
        pool.submit(job, ender.on("job")).unwrap();
        assert_eq!(take(&receiver, 1), [("job", Ok(()))]);
        let counters = pool.counters();
        assert!(counters.steals >= 1, "{counters:?}");
        assert_eq!(counters.local + counters.steals + counters.shared, 3, "{counters:?}");
    }

    /// Breaks if the units of one submission are not shared among workers.
    #[test]
    fn units_of_one_submission_run_at_the_same_time() {
        let pool = Pool::new(2);
        let meeting = Arc::new(Barrier::new(2));
        let (first, second) = (Arc::clone(&meeting), Arc::clone(&meeting));
        let job = Job::new(Lane::Interactive, LIMIT, move |_| {
            first.wait();
        })
        .with_unit(move |_| {
            second.wait();
        });
        let (ender, receiver) = ends();
        pool.submit(job, ender.on("job")).unwrap();
        assert_eq!(take(&receiver, 1), [("job", Ok(()))]);
    }

    /// Breaks if a panic hangs its job, kills a worker, or lets the job's other units run on.
    #[test]
    fn a_panicking_unit_ends_its_job_and_spares_the_pool() {
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let ran = Arc::new(AtomicUsize::new(0));
        let inner = Arc::clone(&ran);
        let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
            scope.spawn(move |_| {
                inner.fetch_add(1, Ordering::SeqCst);
            });
            panic!("boom {}", 7);
        });
        pool.submit(job, ender.on("panics")).unwrap();
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("next")).unwrap();
        let ended = take(&receiver, 2);
        assert!(
            ended.contains(&("panics", Err(JobError::Panicked { message: "boom 7".into() }))),
            "{ended:?}"
        );
        assert!(ended.contains(&("next", Ok(()))), "{ended:?}");
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!(pool.counters().panics, 1);
    }

    /// Breaks if a worker dies of a panic in a completion or in the drop of a unit that was never run.
    #[test]
    fn panics_outside_a_unit_are_caught_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let gate = hold_worker(&pool);
        let bomb = Bomb;
        let job = Job::new(Lane::Interactive, LIMIT, move |_| std::mem::forget(bomb));
        pool.submit(job, ender.on("cancelled")).unwrap().cancel();
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), |_| panic!("in the completion")).unwrap();
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("next")).unwrap();
        gate.wait();
        assert_eq!(take(&receiver, 2), [("cancelled", Err(JobError::Cancelled)), ("next", Ok(()))]);
        assert_eq!(pool.counters().panics, 2);
    }

    /// Breaks if a job cancelled before its first unit runs anyway.
    #[test]
    fn cancelled_before_it_started_a_job_runs_nothing() {
        let pool = Pool::new(1);
        let gate = hold_worker(&pool);
        let (ender, receiver) = ends();
        let ran = Arc::new(AtomicUsize::new(0));
        let inner = Arc::clone(&ran);
        let job = Job::new(Lane::Interactive, LIMIT, move |_| {
            inner.fetch_add(1, Ordering::SeqCst);
        });
        let ticket = pool.submit(job, ender.on("job")).unwrap();
        ticket.cancel();
        ticket.cancel();
        gate.wait();
        assert_eq!(take(&receiver, 1), [("job", Err(JobError::Cancelled))]);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    /// Breaks if a running unit cannot see a cancellation, or if its children run after it.
    #[test]
    fn cancelled_while_it_runs_a_job_sees_it_and_ends() {
        let pool = Pool::new(2);
        let (ender, receiver) = ends();
        let (started, seen) = channel();
        let job = Job::new(Lane::Interactive, LIMIT, move |scope| {
            started.send(()).unwrap();
            while !scope.is_stopped() {
                thread::yield_now();
            }
            scope.spawn(|_| unreachable!("a unit of a cancelled job ran"));
        });
        let ticket = pool.submit(job, ender.on("job")).unwrap();
        seen.recv_timeout(HANG).unwrap();
        ticket.cancel();
        assert_eq!(take(&receiver, 1), [("job", Err(JobError::Cancelled))]);
        ticket.cancel();
    }

    /// Breaks if the time limit is not enforced on a unit that asks, or on units that wait.
    #[test]
    fn a_job_beyond_its_time_ends_as_timed_out() {
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let asks = Job::new(Lane::Interactive, Duration::from_millis(5), |scope| {
            while !scope.is_stopped() {
                thread::yield_now();
            }
        });
        pool.submit(asks, ender.on("asks")).unwrap();
        let waits = Job::new(Lane::Interactive, Duration::ZERO, |_| unreachable!("ran after its time"));
        pool.submit(waits, ender.on("waits")).unwrap();
        assert_eq!(
            take(&receiver, 2),
            [
                ("asks", Err(JobError::TimedOut { limit_ms: 5 })),
                ("waits", Err(JobError::TimedOut { limit_ms: 0 }))
            ]
        );
    }

    /// Runs on until `until` is set, one short unit after another, at most ten million of them.
    fn run_until(scope: &Scope<'_>, until: Arc<AtomicBool>, left: usize) {
        if left > 0 && !until.load(Ordering::SeqCst) {
            scope.spawn(move |scope| run_until(scope, until, left - 1));
        }
    }

    /// Breaks if one large job keeps a later small one waiting: the large one here ends only after the small one.
    #[test]
    fn a_small_job_ends_while_a_large_one_is_in_progress() {
        for lane in [Lane::Interactive, Lane::Background] {
            let pool = Pool::new(1);
            let (ender, receiver) = ends();
            let small_ended = Arc::new(AtomicBool::new(false));
            let gate = hold_worker(&pool);
            let until = Arc::clone(&small_ended);
            let large = Job::new(Lane::Interactive, LIMIT, move |scope| run_until(scope, until, 10_000_000));
            pool.submit(large, ender.on("large")).unwrap();
            let tell = ender.on("small");
            let on_end = move |outcome| {
                tell(outcome);
                small_ended.store(true, Ordering::SeqCst);
            };
            pool.submit(Job::new(lane, LIMIT, |_| {}), on_end).unwrap();
            gate.wait();
            let names: Vec<_> = take(&receiver, 2).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["small", "large"], "small job in {lane:?}");
        }
    }

    /// Breaks if the interactive lane does not go first, or if the background lane starves behind it.
    #[test]
    fn interactive_goes_first_and_background_gets_its_share() {
        let pool = Pool::new(1);
        let gate = hold_worker(&pool);
        let (ender, receiver) = ends();
        pool.submit(Job::new(Lane::Background, LIMIT, |_| {}), ender.on("background")).unwrap();
        for _ in 0..100 {
            pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("interactive")).unwrap();
        }
        gate.wait();
        let order = take(&receiver, 101);
        let place = order.iter().position(|(name, _)| *name == "background").unwrap();
        assert!((1..AGEING_TURNS as usize).contains(&place), "background came {place}");
    }

    /// Breaks if a shutdown leaves a job unsettled, runs it, or accepts another.
    #[test]
    fn shutdown_settles_every_pending_job() {
        let pool = Arc::new(Pool::new(2));
        let (gates, (ender, receiver)) = ([hold_worker(&pool), hold_worker(&pool)], ends());
        for _ in 0..50 {
            let job = Job::new(Lane::Background, LIMIT, |_| unreachable!("ran after the shutdown"));
            pool.submit(job, ender.on("pending")).unwrap();
        }
        let closer = Arc::clone(&pool);
        let closing = thread::spawn(move || closer.shutdown());
        while pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), |_| {}).is_ok() {
            thread::yield_now();
        }
        for gate in gates {
            gate.wait();
        }
        closing.join().unwrap();
        assert_eq!(receiver.try_iter().collect::<Vec<End>>(), vec![("pending", Err(JobError::ShutDown)); 50]);
        assert_eq!(pool.counters().jobs_live, 0);
        pool.shutdown();
    }

    /// Breaks if a completion that shuts its pool down waits for its own thread.
    #[test]
    fn a_completion_may_shut_the_pool_down() {
        let pool = Arc::new(Pool::new(2));
        let (ender, receiver) = ends();
        let (inner, tell) = (Arc::clone(&pool), ender.on("job"));
        let on_end = move |outcome| {
            inner.shutdown();
            tell(outcome);
        };
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), on_end).unwrap();
        assert_eq!(take(&receiver, 1), [("job", Ok(()))]);
    }

    /// Breaks if the queue of jobs has no bound, or if a job that ended still counts.
    #[test]
    fn at_the_bound_a_job_is_refused() {
        let pool = Pool::new(1);
        let gate = hold_worker(&pool);
        let (ender, receiver) = ends();
        for _ in 1..JOBS_MAX {
            pool.submit(Job::new(Lane::Background, LIMIT, |_| {}), ender.on("job")).unwrap();
        }
        let refused = pool.submit(Job::new(Lane::Background, LIMIT, |_| {}), |_| {});
        assert_eq!(refused.map(drop), Err(SubmitError::QueueFull { jobs_max: JOBS_MAX }));
        gate.wait();
        take(&receiver, JOBS_MAX - 1);
        pool.submit(Job::new(Lane::Background, LIMIT, |_| {}), ender.on("after")).unwrap();
        assert_eq!(take(&receiver, 1), [("after", Ok(()))]);
    }

    /// Breaks if a unit may fill the memory with children.
    #[test]
    fn at_the_bound_of_units_a_job_ends() {
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let job = Job::new(Lane::Interactive, LIMIT, |scope| {
            for _ in 0..UNITS_MAX {
                scope.spawn(|_| {});
            }
        });
        pool.submit(job, ender.on("job")).unwrap();
        assert_eq!(take(&receiver, 1), [("job", Err(JobError::TooManyUnits { units_max: UNITS_MAX }))]);
    }

    /// Breaks if a wake-up is lost: each job starts on sleeping workers.
    #[test]
    fn sleeping_workers_wake_for_every_job() {
        let pool = Pool::new(3);
        let (ender, receiver) = ends();
        for _ in 0..2_000 {
            pool.submit(Job::new(Lane::Interactive, LIMIT, |scope| scope.spawn(|_| {})), ender.on("job"))
                .unwrap();
            take(&receiver, 1);
        }
    }

    /// Breaks if the process-wide pool is started twice.
    #[test]
    fn the_global_pool_is_one() {
        assert!(std::ptr::eq(Pool::global(), Pool::global()));
    }

    /// Breaks if a unit that waits holds up others, is not waited for by its job, or hides that it failed.
    #[test]
    fn units_apart_hold_up_no_worker() {
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let gate = Arc::new(Barrier::new(2));
        let inner = Arc::clone(&gate);
        let waits = Job::new(Lane::Interactive, LIMIT, move |scope| {
            let wait = move |_: &Apart| {
                inner.wait();
            };
            scope.wait_apart(wait).unwrap();
        });
        pool.submit(waits, ender.on("waits")).unwrap();
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("quick")).unwrap();
        assert_eq!(take(&receiver, 1), [("quick", Ok(()))]);
        gate.wait();
        assert_eq!(take(&receiver, 1), [("waits", Ok(()))]);

        let fails = Job::new(Lane::Interactive, LIMIT, |scope| {
            scope.wait_apart(|_| panic!("apart")).unwrap();
        });
        pool.submit(fails, ender.on("fails")).unwrap();
        let end = take(&receiver, 1);
        assert!(
            matches!(&end[..], [("fails", Err(JobError::Panicked { message }))] if message == "apart"),
            "{end:?}"
        );
    }

    /// Breaks if a unit apart outlives a cancel or the pool.
    #[test]
    fn units_apart_see_a_cancel_and_a_shutdown() {
        let pool = Pool::new(1);
        let (ender, receiver) = ends();
        let until_stopped = || {
            Job::new(Lane::Interactive, LIMIT, |scope| {
                let wait = |apart: &Apart| {
                    while !apart.is_stopped() {
                        thread::sleep(Duration::from_millis(1));
                    }
                };
                scope.wait_apart(wait).unwrap();
            })
        };
        let ticket = pool.submit(until_stopped(), ender.on("cancelled")).unwrap();
        ticket.cancel();
        assert_eq!(take(&receiver, 1), [("cancelled", Err(JobError::Cancelled))]);
        pool.submit(until_stopped(), ender.on("shut down")).unwrap();
        pool.submit(Job::new(Lane::Interactive, LIMIT, |_| {}), ender.on("after")).unwrap();
        assert_eq!(take(&receiver, 1), [("after", Ok(()))]);
        pool.shutdown();
        assert_eq!(take(&receiver, 1), [("shut down", Err(JobError::ShutDown))]);
    }
}
