//! The thread that runs checks.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::check::{CheckRequest, cancelled_finding, check};
use crate::command::Groups;
use crate::report::{CheckReport, Finding, FindingCode};

/// Checks that run at a time; the others wait in the order in which they came.
pub const RUNNING_MAX: usize = 2;
/// Checks that may wait. One more is answered at once with `QUEUE_FULL`.
pub const QUEUE_MAX: usize = 256;

/// How long the runtime's helper threads may take to end. One can be stuck in a read from a dead file server.
const RUNTIME_SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Runs checks on a thread of its own, and answers each exactly once.
///
/// The answer is given on that thread, so a callback should only pass it on. One that panics is silenced: the
/// other checks go on. Dropped, it shuts down.
pub struct Verifier {
    messages: mpsc::UnboundedSender<Message>,
    groups: Arc<Groups>,
    next_ticket: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Names one check of a [`Verifier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckTicket(u64);

/// Why a verifier could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// The system gave no thread, or no descriptors for its event loop.
    #[error("the verifier cannot start; free threads and file descriptors, and start again")]
    Start(#[source] io::Error),
}

impl VerifierError {
    /// A name for the error that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Start(_) => "VERIFIER_START",
        }
    }
}

impl Verifier {
    /// Starts the thread. Nothing runs on it until a check comes.
    ///
    /// # Errors
    /// [`VerifierError::Start`] when the system is out of threads or descriptors.
    pub fn start() -> Result<Self, VerifierError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // One for the files of each running check, and one for a check that is being given up.
            .max_blocking_threads(2 * RUNNING_MAX)
            .build()
            .map_err(VerifierError::Start)?;
        let (messages, receiver) = mpsc::unbounded_channel();
        let groups = Arc::new(Groups::default());
        let thread = std::thread::Builder::new()
            .name("orchestrator-verify".to_owned())
            .spawn({
                let groups = Arc::clone(&groups);
                move || serve(runtime, receiver, &groups)
            })
            .map_err(VerifierError::Start)?;
        Ok(Self { messages, groups, next_ticket: AtomicU64::new(1), thread: Mutex::new(Some(thread)) })
    }

    /// Queues a check. `on_done` is called exactly once, on the verifier's thread; after a shutdown on the
    /// caller's, with a cancelled report.
    pub fn run(
        &self,
        request: CheckRequest,
        on_done: impl FnOnce(CheckReport) + Send + 'static,
    ) -> CheckTicket {
        let ticket = CheckTicket(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        let reply = Reply { id: request.id.clone(), on_done: Some(Box::new(on_done)) };
        let job = Job { ticket, request, reply };
        if let Err(mpsc::error::SendError(Message::Run(job))) =
            self.messages.send(Message::Run(Box::new(job)))
        {
            job.reply.cancelled();
        }
        ticket
    }

    /// Ends a check: its processes are killed, and it is answered with verdict unknown and code `CANCELLED`.
    /// Does not wait for that. A check that is done already is left as it is.
    pub fn cancel(&self, ticket: CheckTicket) {
        // After a shutdown there is nothing left to cancel.
        drop(self.messages.send(Message::Cancel(ticket)));
    }

    /// Ids of the process groups that run now, in ascending order.
    pub fn running(&self) -> Vec<u32> {
        self.groups.ids()
    }

    /// Cancels every check, waits until each is answered and no process group is left, and ends the thread.
    /// Called again, or from a callback, it does not wait.
    pub fn shutdown(&self) {
        // Fails when the thread is gone already, which is what is wanted.
        drop(self.messages.send(Message::Shutdown));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // It ends by panic only through a defect of this module, and then has dropped, and so answered, its
            // checks.
            drop(thread.join());
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.shutdown();
    }
}

enum Message {
    Run(Box<Job>),
    Cancel(CheckTicket),
    Shutdown,
}

struct Job {
    ticket: CheckTicket,
    request: CheckRequest,
    reply: Reply,
}

/// The one answer to a request. Dropped without one, it answers that the check has a defect.
struct Reply {
    id: String,
    on_done: Option<Box<dyn FnOnce(CheckReport) + Send>>,
}

impl Reply {
    fn send(mut self, report: CheckReport) {
        self.answer(report);
    }

    fn cancelled(self) {
        self.fail(cancelled_finding());
    }

    fn fail(self, finding: Finding) {
        let report = CheckReport::of(self.id.clone(), finding);
        self.send(report);
    }

    fn answer(&mut self, report: CheckReport) {
        if let Some(on_done) = self.on_done.take() {
            // The panic is the callback's; its owner cannot be told, and the other checks must go on.
            drop(catch_unwind(AssertUnwindSafe(|| on_done(report))));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.on_done.is_some() {
            let report = CheckReport::of(self.id.clone(), panicked_finding("its task was dropped"));
            self.answer(report);
        }
    }
}

fn serve(runtime: Runtime, receiver: mpsc::UnboundedReceiver<Message>, groups: &Arc<Groups>) {
    runtime.block_on(serve_messages(receiver, groups));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_MAX);
}

async fn serve_messages(mut receiver: mpsc::UnboundedReceiver<Message>, groups: &Arc<Groups>) {
    let mut queue: VecDeque<Job> = VecDeque::new();
    let mut running: JoinSet<CheckTicket> = JoinSet::new();
    let mut cancels: BTreeMap<CheckTicket, watch::Sender<bool>> = BTreeMap::new();
    loop {
        while running.len() < RUNNING_MAX
            && let Some(Job { ticket, request, reply }) = queue.pop_front()
        {
            let (cancel, cancelled) = watch::channel(false);
            cancels.insert(ticket, cancel);
            let work = check(request, Arc::clone(groups), cancelled);
            running.spawn(async move {
                settle(work, reply).await;
                ticket
            });
        }
        tokio::select! {
            message = receiver.recv() => match message {
                Some(Message::Run(job)) if queue.len() < QUEUE_MAX => queue.push_back(*job),
                Some(Message::Run(job)) => job.reply.fail(Finding::new(
                    FindingCode::QueueFull,
                    format!("{QUEUE_MAX} checks are waiting already; run this one again when some are done"),
                )),
                Some(Message::Cancel(ticket)) => {
                    if let Some(cancel) = cancels.get(&ticket) {
                        cancel.send_replace(true);
                    } else if let Some(index) = queue.iter().position(|job| job.ticket == ticket)
                        && let Some(job) = queue.remove(index)
                    {
                        job.reply.cancelled();
                    }
                }
                Some(Message::Shutdown) | None => break,
            },
            Some(done) = running.join_next() => {
                // The task catches what the check does, and the callback is caught too.
                if let Ok(ticket) = done {
                    cancels.remove(&ticket);
                }
            }
        }
    }

    for cancel in cancels.values() {
        cancel.send_replace(true);
    }
    for job in queue {
        job.reply.cancelled();
    }
    // From here on `run` answers by itself; what was sent before is still here.
    receiver.close();
    while let Some(message) = receiver.recv().await {
        if let Message::Run(job) = message {
            job.reply.cancelled();
        }
    }
    // Each ends within the bounds of killing and draining one command.
    while running.join_next().await.is_some() {}
}

/// Runs a check and answers with its report, or with its panic.
async fn settle(work: impl Future<Output = CheckReport> + Send + 'static, reply: Reply) {
    match tokio::spawn(work).await {
        Ok(report) => reply.send(report),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => reply.fail(panicked_finding(panic_message(panic.as_ref()))),
            Err(_) => reply.cancelled(),
        },
    }
}

fn panicked_finding(what: &str) -> Finding {
    Finding::new(
        FindingCode::CheckPanicked,
        format!("the check has a defect: {what}; report it, and verify this work by hand"),
    )
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else if let Some(message) = panic.downcast_ref::<&str>() {
        message
    } else {
        "it panicked"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    /// A defect in a check must become an answer, not a worker that waits for ever.
    #[test]
    fn a_panic_becomes_a_report() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let reply = |id: &str| {
            let sender = sender.clone();
            Reply { id: id.into(), on_done: Some(Box::new(move |report| sender.send(report).unwrap())) }
        };
        runtime.block_on(settle(async { panic!("at {}", 1) }, reply("formatted")));
        runtime.block_on(settle(async { std::panic::panic_any(7) }, reply("any")));
        drop(reply("dropped"));
        for id in ["formatted", "any", "dropped"] {
            let report: CheckReport = receiver.recv().unwrap();
            assert_eq!((report.id.as_str(), report.verdict), (id, Verdict::Unknown));
            assert_eq!(report.findings[0].code, FindingCode::CheckPanicked);
        }
        assert!(receiver.try_recv().is_err());
    }

    /// A callback's panic must not end the thread that the other checks run on.
    #[test]
    fn a_panicking_callback_is_silenced() {
        let reply = Reply { id: "id".into(), on_done: Some(Box::new(|_| panic!("the callback's"))) };
        reply.cancelled();
    }
}
