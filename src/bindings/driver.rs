//! The thread that owns the engine of one project: it adds the clock and the journal, and runs what needs no host.
//!
//! A batch of events is handled, appended to the journal in one transaction, and only then are its effects handed
//! out. When an append fails, or the engine panics, the engine in memory is not trusted: it is rebuilt from the
//! journal, and what was under way is looked up in the host like after a restart.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestrator_engine::{
    Agents, Answer, Approval, CheckSubject, Decision, Effect, EffectId, Engine, Event, HostError, Limits,
    Millis, MissionId, Question, ReplayError, RequestId, Scheduling, SessionId, paths_written,
};
use orchestrator_store::todo::{self, Rendered};
use orchestrator_store::{BODY_BYTES_MAX, Change, Digest, Head, Journal, OwnerLock, StateDir, StoreError};
use orchestrator_verify::{CheckRequest, CheckTicket, Owner, Verifier, snapshot};
use orchestrator_worker::{Job, JobError, Lane, Pool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::memory::Memory;
use super::panic::describe;

/// What an engine is opened with.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OpenOptions {
    /// The project's folder, absolute.
    pub(crate) directory: PathBuf,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) agents: Agents,
    /// Whether plans wait for the user's approval.
    #[serde(default)]
    pub(crate) approval: Approval,
    #[serde(default)]
    pub(crate) scheduling: Scheduling,
}

/// A question to the engine's thread.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Inquiry {
    Call(CallInquiry),
    Engine(Question),
}

/// May this session make this call of a tool? The files it would write are found in its arguments, links resolved.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum CallInquiry {
    MayCall { session: SessionId, tool: String, args: Value },
}

/// What the thread tells the outside, as one JSON text.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Notice {
    /// The journal has been replayed: this many records, missions and open missions. Commands of this process carry
    /// `environment`; `reaped` are those of an earlier one that had outlived it and were killed.
    Ready {
        records: u64,
        missions: usize,
        open: usize,
        environment: BTreeMap<String, String>,
        reaped: Vec<String>,
    },
    /// Things to do, in this order.
    Effects { effects: Vec<Effect> },
    /// The answer to a question.
    Answer { id: u64, value: Value },
    /// The engine cannot go on at present; it is rebuilt from the journal in `retry_ms`. `again` when that has been told
    /// and is still so.
    Fault { code: String, message: String, retry_ms: u64, again: bool },
    /// The engine goes on after a fault.
    Recovered { code: String },
}

enum Message {
    Post(Vec<Event>),
    Ask { id: u64, inquiry: Inquiry },
    Panic,
    FillDisk(bool),
    Close,
}

type Sink = Box<dyn Fn(&Notice) + Send>;

/// The handle to the thread. Dropping it closes the engine.
pub(crate) struct Driver {
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// Time after which a human's edit of the list of tasks is noticed, while a mission is open.
const TODO_SWEEP: Duration = Duration::from_secs(2);
/// Time between two readings of the memory in use, while a mission is open.
const MEMORY_SWEEP_MS: Millis = 2_000;
/// Messages that are taken into one batch.
const BATCH_MAX: usize = 1_000;
/// Time the snapshot of a lease may take.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(120);
const RETRY_FIRST_MS: u64 = 500;
const RETRY_MAX_MS: u64 = 30_000;
/// The host's tool that has another session work.
const DELEGATING_TOOL: &str = "task";
/// The number of an effect whose outcome nobody waits for; the engine's begin at 1.
const UNTRACKED: EffectId = EffectId(0);
/// Missions that have left memory which a status says something of.
const FORMER_SHOWN: usize = 20;
/// The largest event as JSON: what a record may be, less room for what is decided on it.
const EVENT_BYTES_MAX: usize = BODY_BYTES_MAX - 64 * 1024;
const TODO_FILE: &str = ".opencode/todo.md";

impl Driver {
    /// Takes the project for this process and starts the thread, which replays the journal.
    ///
    /// # Errors
    /// The project's state folder cannot be used, or another process has the project.
    pub(crate) fn open(options: OpenOptions, sink: Sink) -> Result<Self, OpenError> {
        let state_dir = StateDir::prepare(&options.directory)
            .map_err(|error| OpenError { code: error.code(), message: chain(&error) })?;
        let lock = OwnerLock::acquire(&state_dir)
            .map_err(|error| OpenError { code: error.code(), message: chain(&error) })?;
        let verifier =
            Verifier::start().map_err(|error| OpenError { code: error.code(), message: chain(&error) })?;
        let owner = Owner::this_process(&options.directory);
        let (sender, receiver) = channel();
        let worker = Worker {
            options,
            owner,
            reaped: Vec::new(),
            state_dir,
            _lock: lock,
            sink,
            receiver,
            sender: sender.clone(),
            core: None,
            verifier,
            checks: BTreeMap::new(),
            memory: Memory::new(),
            memory_at: 0,
            now: 0,
            retry_ms: RETRY_FIRST_MS,
            retry_at: 0,
            fault: None,
            at_work: Vec::new(),
            is_disk_full: false,
            todo_seen: None,
        };
        let thread = std::thread::Builder::new()
            .name("orchestrator-engine".into())
            .spawn(move || worker.run())
            .map_err(|error| OpenError { code: "ENGINE_START", message: chain(&error) })?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Hands events over; never waits. After `close` they are dropped.
    pub(crate) fn post(&self, events: Vec<Event>) -> bool {
        self.sender.send(Message::Post(events)).is_ok()
    }

    /// Asks a question, answered by a notice with the same id.
    pub(crate) fn ask(&self, id: u64, inquiry: Inquiry) -> bool {
        self.sender.send(Message::Ask { id, inquiry }).is_ok()
    }

    /// Makes the thread panic in the middle of a batch, to prove that it survives.
    pub(crate) fn panic(&self) -> bool {
        self.sender.send(Message::Panic).is_ok()
    }

    /// Has the journal find the disk full until told otherwise, to prove that missions survive it.
    pub(crate) fn fill_disk(&self, full: bool) -> bool {
        self.sender.send(Message::FillDisk(full)).is_ok()
    }

    /// Ends the checks that run, gives the project back and ends the thread. What was acknowledged is durable.
    pub(crate) fn close(&mut self) {
        // The thread may have ended already; then there is nobody to tell.
        self.sender.send(Message::Close).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why an engine could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct OpenError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The engine and the journal it follows from.
struct Core {
    engine: Engine,
    journal: Journal,
    head: u64,
    /// Digests the rendered list may have: the last one, and the one that was about to be written.
    rendered: Vec<Digest>,
    /// A person's edit of the list that was posted, and whether its record is durable: then it may be written over.
    edit: Option<(Digest, bool)>,
}

struct Worker {
    options: OpenOptions,
    owner: Owner,
    /// Commands of an earlier process that were killed, until they are told.
    reaped: Vec<String>,
    state_dir: StateDir,
    _lock: OwnerLock,
    sink: Sink,
    receiver: Receiver<Message>,
    sender: Sender<Message>,
    core: Option<Core>,
    verifier: Verifier,
    checks: BTreeMap<EffectId, CheckTicket>,
    memory: Memory,
    /// When it is read next.
    memory_at: Millis,
    /// The last time that was read, so that time never runs backwards.
    now: Millis,
    retry_ms: u64,
    retry_at: Millis,
    /// What the engine cannot go on for, until it does.
    fault: Option<Fault>,
    /// The sessions that were at work when the engine was given up.
    at_work: Vec<SessionId>,
    /// For tests.
    is_disk_full: bool,
    todo_seen: Option<(SystemTime, u64)>,
}

/// Why the engine has to be rebuilt.
struct Fault {
    code: String,
    message: String,
}

impl Fault {
    /// As it is asked for by tests.
    fn disk_full() -> Fault {
        Fault { code: "JOURNAL_DISK_FULL".into(), message: "the disk is full, as was asked for".into() }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self { code: error.code().to_owned(), message: chain(&error) }
    }
}

impl From<ReplayError> for Fault {
    fn from(error: ReplayError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

impl Worker {
    fn run(mut self) {
        // The lock is ours, so whoever had the project before is gone, or has given it up.
        let reaped = self.owner.kill_leftovers();
        self.reaped = reaped.into_iter().map(|left| format!("{} ({})", left.command, left.pid)).collect();
        self.rebuild();
        loop {
            let now = self.read_clock();
            let message = match self.wait_ms(now) {
                Some(wait_ms) => self.receiver.recv_timeout(Duration::from_millis(wait_ms)),
                None => self.receiver.recv().map_err(|_closed| RecvTimeoutError::Disconnected),
            };
            let mut events = Vec::new();
            let mut panics = false;
            let mut next = match message {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut closes = false;
            while let Some(message) = next {
                match message {
                    Message::Post(posted) => events.extend(posted),
                    Message::Ask { id, inquiry } => {
                        // A question sees what was posted before it.
                        self.batch(std::mem::take(&mut events), false);
                        let value = self.answer(inquiry);
                        (self.sink)(&Notice::Answer { id, value });
                    }
                    Message::Panic => panics = true,
                    Message::FillDisk(full) => {
                        self.batch(std::mem::take(&mut events), false);
                        self.is_disk_full = full;
                    }
                    Message::Close => {
                        closes = true;
                        break;
                    }
                }
                next = if events.len() < BATCH_MAX { self.receiver.try_recv().ok() } else { None };
            }
            events.extend(self.measure_memory());
            self.batch(events, panics);
            if closes {
                break;
            }
        }
        self.verifier.shutdown();
    }

    fn wait_ms(&self, now: Millis) -> Option<u64> {
        let Some(core) = &self.core else {
            return Some(self.retry_at.saturating_sub(now));
        };
        let deadline = core.engine.next_deadline().map(|at| at.saturating_sub(now));
        let open = core.engine.missions().values().any(|mission| mission.is_open());
        let sweep = open.then_some(TODO_SWEEP.as_millis() as u64);
        [deadline, sweep].into_iter().flatten().min()
    }

    /// Reads how much memory is in use, and gives it where it matters to the engine.
    fn measure_memory(&mut self) -> Option<Event> {
        let now = self.read_clock();
        let engine = &self.core.as_ref()?.engine;
        if now < self.memory_at || !engine.missions().values().any(|mission| mission.is_open()) {
            return None;
        }
        self.memory_at = now + MEMORY_SWEEP_MS;
        let percent = self.memory.percent()?;
        engine.minds_memory(percent).then_some(Event::MemoryMeasured { percent })
    }

    fn read_clock(&mut self) -> Millis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now = self.now.max(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        self.now
    }

    /// Handles events and whatever has become due, journals what changed the state, and hands the effects out.
    fn batch(&mut self, events: Vec<Event>, panics: bool) {
        let now = self.read_clock();
        if self.core.is_none() {
            if now >= self.retry_at {
                self.rebuild();
            }
            if self.core.is_none() {
                return self.refuse(&events, "ENGINE_UNAVAILABLE", &self.unavailable());
            }
        }
        let Some(core) = &mut self.core else { return };
        let sink = &self.sink;
        let requests: Vec<_> = events.iter().filter_map(request_of).collect();
        let edited = events.iter().any(|event| matches!(event, Event::TodoEdited { .. }));
        let handled = catch_unwind(AssertUnwindSafe(|| {
            assert!(!panics, "a panic was asked for");
            let (mut decisions, mut effects) = (Vec::new(), Vec::new());
            for event in events {
                decisions.extend(decide(&mut core.engine, now, event, &mut effects, sink));
            }
            if core.engine.next_deadline().is_some_and(|at| at <= now) {
                decisions.extend(core.engine.decide(now, Event::DeadlinePassed {}, &mut effects));
            }
            if let Some(last) = decisions.last_mut() {
                last.state = Some(core.engine.digest());
            }
            // The list of tasks is rendered when all else has been taken.
            effects.extend(std::iter::from_fn(|| core.engine.poll_effect()));
            let bodies: Vec<_> = decisions.iter().map(|decision| json!(decision).to_string()).collect();
            (bodies, effects)
        }));
        let (bodies, effects) = match handled {
            Ok(result) => result,
            Err(panic) => {
                let message = format!(
                    "the engine panicked ({}); it is rebuilt from the journal. Please report this as a defect.",
                    describe(&*panic)
                );
                return self.fault(Fault { code: "ENGINE_POISONED".into(), message }, &requests);
            }
        };
        match self.commit(&bodies, &effects) {
            Ok(()) => {
                if edited && let Some((_, durable)) = self.core.as_mut().and_then(|core| core.edit.as_mut()) {
                    *durable = true;
                }
                self.perform(effects);
            }
            Err(fault) => self.fault(fault, &requests),
        }
        self.sweep_todo();
    }

    /// Makes a batch durable, with what follows from it for readers in other processes.
    fn commit(&mut self, bodies: &[String], effects: &[Effect]) -> Result<(), Fault> {
        let Some(core) = &mut self.core else { return Ok(()) };
        let mut changes: Vec<_> = core
            .engine
            .take_dirty()
            .into_iter()
            .map(|(id, body)| Change::Put {
                kind: "mission".into(),
                id: id.to_string(),
                body: body.to_string(),
            })
            .collect();
        for effect in effects {
            if let Effect::RenderTodo { text } = effect {
                // Known before it is written, so that a crash in between does not make it look like somebody's edit.
                let last = core.rendered.last().copied();
                core.rendered = last.into_iter().chain([Digest::of(text.as_bytes())]).collect();
                changes.push(rendered_change(&core.rendered));
            }
        }
        if bodies.is_empty() && changes.is_empty() {
            return Ok(());
        }
        if self.is_disk_full {
            return Err(Fault::disk_full());
        }
        core.head = core.journal.append(core.head, bodies, &changes)?.sequence;
        self.retry_ms = RETRY_FIRST_MS;
        if let Some(Fault { code, .. }) = self.fault.take() {
            (self.sink)(&Notice::Recovered { code });
        }
        Ok(())
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut outward = Vec::new();
        for effect in effects {
            match effect {
                Effect::TakeSnapshot { effect, lease } => self.take_snapshot(effect, lease),
                Effect::RunChecks { effect, mission, subject, commands, timeout_ms } => {
                    self.run_checks(effect, mission, subject, commands, timeout_ms);
                }
                Effect::CancelChecks { effect } => {
                    if let Some(ticket) = self.checks.remove(&effect) {
                        self.verifier.cancel(ticket);
                    }
                }
                Effect::RenderTodo { text } => self.render_todo(&text),
                Effect::KillCommands { effect, mission, sessions } => {
                    let works = sessions.into_iter().map(|session| session.0).chain([mission.to_string()]);
                    self.kill_commands(effect, works.collect());
                }
                effect @ (Effect::OpenSession { .. }
                | Effect::Prompt { .. }
                | Effect::AbortSession { .. }
                | Effect::LookUpSession { .. }
                | Effect::RefusePermission { .. }
                | Effect::Reply { .. }
                | Effect::ShowToast { .. }
                | Effect::TellCommander { .. }
                | Effect::Annotate { .. }
                | Effect::ReportMission { .. }) => outward.push(effect),
            }
        }
        if !outward.is_empty() {
            (self.sink)(&Notice::Effects { effects: outward });
        }
    }

    /// Posts to this thread itself, which outlives every sender of its own.
    fn post(&self, event: Event) {
        self.sender.send(Message::Post(vec![event])).ok();
    }

    /// Hashes a lease on the worker pool: a large one takes longer than a question may wait.
    fn take_snapshot(&self, effect: EffectId, lease: Vec<String>) {
        let (sender, directory) = (self.sender.clone(), self.options.directory.clone());
        let tell = move |event| {
            // After a close there is nobody to tell.
            sender.send(Message::Post(vec![event])).ok();
        };
        let tell_end = tell.clone();
        let job = Job::new(Lane::Background, SNAPSHOT_LIMIT, move |_| {
            tell(match snapshot(&directory, &lease) {
                Ok(snapshot) => Event::SnapshotTaken { effect, snapshot: json!(snapshot) },
                Err(error) => failed(effect, error.code(), chain(&error)),
            });
        });
        let on_end = move |result: Result<(), JobError>| {
            if let Err(error) = result {
                tell_end(failed(effect, error.code(), error.to_string()));
            }
        };
        if let Err(refused) = Pool::global().submit(job, on_end) {
            self.post(failed(effect, refused.code(), refused.to_string()));
        }
    }

    /// Kills what was left running, on a thread of its own: it looks through all processes and waits until they are gone.
    fn kill_commands(&self, effect: EffectId, works: Vec<String>) {
        let (owner, sender) = (self.owner.clone(), self.sender.clone());
        let kill = move || {
            let killed = owner.kill_work(&works);
            let alive =
                killed.iter().filter(|leftover| leftover.alive).map(|leftover| leftover.pid).collect();
            // After a close there is nobody to tell.
            sender.send(Message::Post(vec![Event::CommandsKilled { effect, alive }])).ok();
        };
        if let Err(error) = std::thread::Builder::new().name("orchestrator-kill".into()).spawn(kill) {
            self.post(failed(effect, "THREAD_START", error.to_string()));
        }
    }

    fn run_checks(
        &mut self,
        effect: EffectId,
        mission: MissionId,
        subject: CheckSubject,
        commands: Vec<Vec<String>>,
        timeout_ms: u64,
    ) {
        let (lease, before, claimed) = match subject {
            CheckSubject::Task { lease, before, claimed, .. } => (lease, before, claimed),
            CheckSubject::Project {} => (Vec::new(), json!({ "lease": [], "files": {} }), Vec::new()),
        };
        let before = match serde_json::from_value(before) {
            Ok(before) => before,
            Err(error) => return self.post(failed(effect, "SNAPSHOT_UNREADABLE", error.to_string())),
        };
        let request = CheckRequest {
            id: effect.to_string(),
            root: self.options.directory.clone(),
            lease,
            before,
            claimed,
            commands,
            timeout_ms: Some(timeout_ms),
            environment: self.owner.environment(Some(&mission.to_string())),
        };
        let sender = self.sender.clone();
        let ticket = self.verifier.run(request, move |report| {
            let event = match serde_json::to_value(&report).and_then(serde_json::from_value) {
                Ok(report) => Event::ChecksFinished { effect, report },
                Err(error) => failed(effect, "REPORT_UNREADABLE", error.to_string()),
            };
            sender.send(Message::Post(vec![event])).ok();
        });
        self.checks.insert(effect, ticket);
    }

    /// Writes the list of tasks. What a person changed in it is journalled before it is written over.
    fn render_todo(&mut self, text: &str) {
        let Some(core) = &mut self.core else { return };
        let project = &self.options.directory;
        let file = Path::new(TODO_FILE);
        let mut last = core.rendered.iter().rev().nth(1).copied();
        let mut result = todo::render(project, file, text, last);
        if let Ok(Rendered::Edited(edit)) = &result
            && edit
                .found
                .is_none_or(|found| core.rendered.contains(&found) || core.edit == Some((found, true)))
        {
            // Deleted, what was written before a crash, or an edit that is in the journal: nobody's words are lost.
            last = edit.found;
            result = todo::render(project, file, text, last);
        }
        match result {
            Ok(Rendered::Written(_) | Rendered::Unchanged(_)) => core.edit = None,
            Ok(Rendered::Edited(edit)) => {
                if let Some(found) = edit.found {
                    self.tell_edit(found, edit.text, edit.is_cut);
                }
            }
            Err(error) => {
                let (code, message) = (error.code().to_owned(), chain(&error));
                (self.sink)(&Notice::Fault { code, message, retry_ms: 0, again: false });
            }
        }
        self.todo_seen = self.todo_metadata();
    }

    /// Notices an edit of the list of tasks while nothing is rendered.
    fn sweep_todo(&mut self) {
        if self.todo_seen.is_none() || self.todo_metadata() == self.todo_seen {
            return;
        }
        self.todo_seen = self.todo_metadata();
        let path = self.options.directory.join(TODO_FILE);
        // Too large, gone or unreadable: the next rendering says so.
        let Ok(bytes) = std::fs::read(path) else { return };
        let Some(core) = &self.core else { return };
        let found = Digest::of(&bytes);
        if !core.rendered.contains(&found) {
            let end = bytes.len().min(todo::EDIT_BYTES_MAX);
            self.tell_edit(found, String::from_utf8_lossy(&bytes[..end]).into_owned(), end < bytes.len());
        }
    }

    /// Posts a person's edit of the list, once. It is written over when its record is durable.
    fn tell_edit(&mut self, found: Digest, text: String, cut: bool) {
        let Some(core) = &mut self.core else { return };
        if core.edit.is_none_or(|(posted, _)| posted != found) {
            core.edit = Some((found, false));
            self.post(Event::TodoEdited { text, cut });
        }
    }

    fn todo_metadata(&self) -> Option<(SystemTime, u64)> {
        let metadata = std::fs::symlink_metadata(self.options.directory.join(TODO_FILE)).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn answer(&mut self, inquiry: Inquiry) -> Value {
        let question = match inquiry {
            Inquiry::Engine(question) => question,
            Inquiry::Call(CallInquiry::MayCall { session, tool, .. }) if tool == DELEGATING_TOOL => {
                Question::MayDelegate { session }
            }
            Inquiry::Call(CallInquiry::MayCall { session, tool, args }) => {
                match paths_written(&tool, &args) {
                    Some(paths) => {
                        let paths = paths.iter().map(|path| self.inside(path)).collect();
                        Question::MayWrite { session, paths }
                    }
                    // Blanks are answered by the engine; reading needs nobody who knows the leases.
                    None if tool.starts_with("submit_") || self.core.is_none() => {
                        return json!({ "allowed": true });
                    }
                    None => Question::MayCall { session },
                }
            }
        };
        match &self.core {
            Some(core) => {
                let mut value = core.engine.answer(&question);
                if matches!(question, Question::Status { .. }) {
                    add_former(core, &mut value);
                }
                value
            }
            None => json!({
                "unavailable": true,
                "allowed": false,
                "reason": "The engine is being rebuilt; nothing may be written now.",
                "text": self.unavailable(),
                "missions": [],
            }),
        }
    }

    /// The path relative to the project with links resolved, as the engine knows it; `None` when it is outside.
    fn inside(&self, path: &str) -> Option<String> {
        let root = self.options.directory.canonicalize().ok()?;
        let mut existing = root.join(path);
        let mut missing = Vec::new();
        let resolved = loop {
            match existing.canonicalize() {
                Ok(resolved) => break resolved,
                // A link that leads nowhere could be made to lead anywhere.
                Err(_) if existing.is_symlink() => return None,
                Err(_) => {
                    missing.push(existing.file_name()?.to_owned());
                    if !existing.pop() {
                        return None;
                    }
                }
            }
        };
        let full = missing.into_iter().rev().fold(resolved, |path, name| path.join(name));
        let relative = full.strip_prefix(&root).ok()?;
        let parts: Option<Vec<_>> = relative
            .components()
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
            })
            .collect();
        Some(parts?.join("/"))
    }

    /// Replays the journal into a fresh engine, and looks up what was under way.
    fn rebuild(&mut self) {
        for (_, ticket) in std::mem::take(&mut self.checks) {
            self.verifier.cancel(ticket);
        }
        let replayed = catch_unwind(AssertUnwindSafe(|| self.replay()));
        let core = match replayed {
            Ok(Ok(core)) => core,
            Ok(Err(fault)) => return self.fault(fault, &[]),
            Err(panic) => {
                let message = format!("the journal could not be replayed ({})", describe(&*panic));
                return self.fault(Fault { code: "REPLAY_PANICKED".into(), message }, &[]);
            }
        };
        let missions = core.engine.missions();
        let open = missions.values().filter(|mission| mission.is_open()).count();
        (self.sink)(&Notice::Ready {
            records: core.head,
            missions: missions.len(),
            open,
            environment: self.owner.environment(None),
            reaped: std::mem::take(&mut self.reaped),
        });
        self.core = Some(core);
        let OpenOptions { limits, agents, approval, scheduling, .. } = self.options.clone();
        self.batch(vec![Event::EngineStarted { limits, agents, approval, scheduling }], false);
    }

    /// Why nothing can be done at present, for people and models.
    fn unavailable(&self) -> String {
        match &self.fault {
            Some(Fault { code, message }) => {
                format!(
                    "The engine cannot go on at present: {message} ({code}). Nothing is lost; it is tried again."
                )
            }
            None => "The engine is being rebuilt from the journal; try again in a moment.".into(),
        }
    }

    fn replay(&mut self) -> Result<Core, Fault> {
        // A full disk may stand against opening it, too.
        if self.is_disk_full {
            return Err(Fault::disk_full());
        }
        let (journal, records) = Journal::open(&self.state_dir)?;
        let mut engine = Engine::default();
        let mut head = Head::GENESIS.sequence;
        for record in records {
            // What has been decided is not held against this version's decisions: a text that reads differently now
            // must not break a mission that is open.
            let (decision, _) = engine.repeat_record(record.sequence, &record.body)?;
            self.now = self.now.max(decision.at);
            head = record.sequence;
        }
        engine.discard_effects();
        engine.take_dirty();
        let rendered = journal
            .reader()
            .projection("todo")?
            .first()
            .and_then(|entry| serde_json::from_str::<Vec<String>>(&entry.body).ok())
            .unwrap_or_default()
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        Ok(Core { engine, journal, head, rendered, edit: None })
    }

    /// Gives the engine in memory up, says so, and refuses what waits for an answer.
    fn fault(&mut self, fault: Fault, requests: &[RequestId]) {
        if let Some(core) = self.core.take() {
            self.at_work = core.engine.sessions_at_work();
        }
        self.retry_at = self.now + self.retry_ms;
        let Fault { code, message } = &fault;
        self.answer_refused(requests, code, message);
        let again = self.fault.as_ref().is_some_and(|last| last.code == *code);
        if self.fault.is_some() {
            self.rest();
        }
        let (code, message) = (code.clone(), message.clone());
        (self.sink)(&Notice::Fault { code, message, retry_ms: self.retry_ms, again });
        self.fault = Some(fault);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MAX_MS);
    }

    /// Has the sessions at work aborted: what they do could be neither taken nor bounded. They are looked up, and gone on
    /// with, when the engine can go on.
    fn rest(&mut self) {
        let effect = UNTRACKED;
        let effects: Vec<_> =
            self.at_work.drain(..).map(|session| Effect::AbortSession { effect, session }).collect();
        if !effects.is_empty() {
            (self.sink)(&Notice::Effects { effects });
        }
    }

    fn refuse(&self, events: &[Event], code: &str, text: &str) {
        let requests: Vec<_> = events.iter().filter_map(request_of).collect();
        self.answer_refused(&requests, code, text);
    }

    fn answer_refused(&self, requests: &[RequestId], code: &str, text: &str) {
        let effects: Vec<_> = requests
            .iter()
            .map(|&request| Effect::Reply {
                request,
                answer: Answer::Refused { code: code.to_owned(), text: text.to_owned() },
            })
            .collect();
        if !effects.is_empty() {
            (self.sink)(&Notice::Effects { effects });
        }
    }
}

/// Feeds one event, and gives its decision if it changed the state. One that is too large for a record is refused.
fn decide(
    engine: &mut Engine,
    now: Millis,
    event: Event,
    effects: &mut Vec<Effect>,
    sink: &Sink,
) -> Option<Decision> {
    let size = json!(event).to_string().len();
    if size <= EVENT_BYTES_MAX {
        return engine.decide(now, event, effects);
    }
    let text = format!("It is {size} bytes; at most {EVENT_BYTES_MAX} are taken. Make it shorter.");
    if let Some(request) = request_of(&event) {
        let answer = Answer::Refused { code: "BLANK_TOO_LARGE".into(), text };
        sink(&Notice::Effects { effects: vec![Effect::Reply { request, answer }] });
        return None;
    }
    if let Event::SnapshotTaken { effect, .. } = event {
        let event = failed(effect, "LEASE_TOO_LARGE", format!("the lease has too many files: {text}"));
        return engine.decide(now, event, effects);
    }
    // Whatever else was too large is as good as lost; the engine asks again when it misses it.
    sink(&Notice::Fault { code: "EVENT_TOO_LARGE".into(), message: text, retry_ms: 0, again: false });
    None
}

fn request_of(event: &Event) -> Option<RequestId> {
    match event {
        Event::MissionRequested { request, .. }
        | Event::StopRequested { request, .. }
        | Event::PlanSubmitted { request, .. }
        | Event::WorkSubmitted { request, .. }
        | Event::ReviewSubmitted { request, .. }
        | Event::PlanRevised { request, .. }
        | Event::LimitsChanged { request, .. } => Some(*request),
        Event::EngineStarted { .. }
        | Event::DeadlinePassed {}
        | Event::ModelNoted { .. }
        | Event::MemoryMeasured { .. }
        | Event::Interrupted { .. }
        | Event::SessionOpened { .. }
        | Event::PromptSent { .. }
        | Event::SessionAborted { .. }
        | Event::SessionLookedUp { .. }
        | Event::EffectFailed { .. }
        | Event::StepStarted { .. }
        | Event::StepFinished { .. }
        | Event::RetryScheduled { .. }
        | Event::SessionErred { .. }
        | Event::ToolCalled { .. }
        | Event::ToolEnded { .. }
        | Event::PermissionAsked { .. }
        | Event::PermissionAnswered { .. }
        | Event::TurnEnded { .. }
        | Event::SnapshotTaken { .. }
        | Event::ChecksFinished { .. }
        | Event::CommandsKilled { .. }
        | Event::Notified { .. }
        | Event::UsageReported { .. }
        | Event::TodoEdited { .. } => None,
    }
}

/// Adds to a status the missions that have left the engine's memory, newest first; what the text says of them is
/// bounded.
fn add_former(core: &Core, status: &mut Value) {
    let Ok(entries) = core.journal.reader().projection("mission") else { return };
    let known = |id: &str| core.engine.missions().keys().any(|mission| mission.to_string() == id);
    let former = entries.iter().filter(|entry| !known(&entry.id));
    let mut former: Vec<Value> = former.filter_map(|entry| serde_json::from_str(&entry.body).ok()).collect();
    former.sort_by_key(|mission| std::cmp::Reverse(mission["id"].as_u64()));
    let mut text = status["text"].as_str().unwrap_or_default().to_owned();
    for mission in former.iter().take(FORMER_SHOWN) {
        text.push_str(&format!("{}\n", mission["headline"].as_str().unwrap_or_default()));
    }
    if former.len() > FORMER_SHOWN {
        text.push_str(&format!(
            "… and {} before; `opencode-orchestrator status` shows all.\n",
            former.len() - FORMER_SHOWN
        ));
    }
    status["text"] = json!(text);
    if let Some(missions) = status["missions"].as_array_mut() {
        missions.extend(former);
    }
}

fn failed(effect: EffectId, name: &str, message: String) -> Event {
    Event::EffectFailed { effect, error: HostError::new(name, message) }
}

fn rendered_change(rendered: &[Digest]) -> Change {
    let digests: Vec<_> = rendered.iter().map(Digest::to_string).collect();
    Change::Put { kind: "todo".into(), id: "rendered".into(), body: json!(digests).to_string() }
}
