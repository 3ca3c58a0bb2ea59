//! Events: everything the engine may be told. Accepted ones are the journal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blank::Verdict;
use crate::schedule::Scheduling;
use crate::{EffectId, Limits, Millis, ModelId, RequestId, SessionId};

/// An input of the engine, in the past tense.
///
/// Events of a session that belongs to no mission are ignored, so that a sender need not know which do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one comes once in a process, and a box would show in each use"
)]
pub enum Event {
    /// A process took the engine over: the limits and agents of this run. What was under way is looked up.
    EngineStarted {
        limits: Limits,
        agents: Agents,
        #[serde(default)]
        approval: Approval,
        #[serde(default)]
        scheduling: Scheduling,
    },
    /// Someone wants other limits until the next start, such as `{"workerSlots": 12}`; the others stay.
    LimitsChanged { request: RequestId, limits: Value },
    /// The user's session speaks with this model.
    ModelNoted { session: SessionId, model: ModelId },
    /// So much of the system's or the container's memory is in use.
    MemoryMeasured { percent: u64 },
    /// The time given by `next_deadline` has come.
    DeadlinePassed {},
    /// The user gave an objective; an empty one resumes a paused mission, or follows a running one. With the kind `plan`
    /// it may be what becomes of a plan that waits: `approve`, `edit` and what, `refuse` and why.
    MissionRequested {
        request: RequestId,
        session: SessionId,
        objective: String,
        #[serde(default)]
        kind: MissionKind,
    },
    /// The user wants the mission stopped.
    StopRequested { request: RequestId, session: SessionId },
    /// The user broke off the turn in which they follow a mission.
    Interrupted { session: SessionId, cause: Interruption },
    /// A planner filled in its blank. `denied` are commands that the host's permissions refuse, as lists of words.
    PlanSubmitted { request: RequestId, session: SessionId, plan: Value, denied: Vec<Vec<String>> },
    /// A worker filled in its blank.
    WorkSubmitted { request: RequestId, session: SessionId, work: Value },
    /// A reviewer filled in its blank.
    ReviewSubmitted { request: RequestId, session: SessionId, review: Value },
    /// The commander changed the plan.
    PlanRevised { request: RequestId, session: SessionId, revision: Value, denied: Vec<Vec<String>> },
    /// A session was created.
    SessionOpened { effect: EffectId, session: SessionId },
    /// The host took a prompt.
    PromptSent { effect: EffectId },
    /// An abort returned; `busy` when the session went on all the same.
    SessionAborted { effect: EffectId, busy: bool },
    /// The answer to a look-up: the session if it exists, whether our prompt is in it, whether it is at work, and how
    /// the answer to that prompt stands.
    SessionLookedUp {
        effect: EffectId,
        session: Option<SessionId>,
        prompted: bool,
        busy: bool,
        facts: Option<TurnFacts>,
    },
    /// An effect did not succeed, as far as its executor can tell.
    EffectFailed { effect: EffectId, error: HostError },
    /// A model request is about to be made in the session.
    StepStarted { session: SessionId },
    /// A model answered; `finish` is the reason as the host names it, `unknown` when there was none.
    StepFinished { session: SessionId, finish: String },
    /// The host waits before it repeats a model request that failed.
    RetryScheduled { session: SessionId, message: String, wait_ms: Millis },
    /// The host tells of an error of a session whose turn goes on.
    SessionErred { session: SessionId, error: HostError },
    /// A model is about to have a tool called, `invalid` for one that does not exist or cannot be read.
    ToolCalled { session: SessionId, tool: String },
    /// A call of a tool came to its end, and how it failed if it did.
    ToolEnded { session: SessionId, tool: String, failure: Option<ToolFailure> },
    /// The host asks the user whether the session may do something; `permission` is its number of the question.
    PermissionAsked { session: SessionId, permission: String, what: String },
    /// That question was answered, by the user or by our refusal.
    PermissionAnswered { session: SessionId, permission: String, allowed: bool },
    /// The session went idle. `prompt` is our prompt that was answered, where it can be told.
    TurnEnded { session: SessionId, prompt: Option<EffectId>, facts: TurnFacts },
    /// The files of a lease as they were before work on it.
    SnapshotTaken { effect: EffectId, snapshot: Value },
    /// Checks came to an end.
    ChecksFinished { effect: EffectId, report: CheckReport },
    /// What a mission's commands had left running was killed: the ids of those that are still there.
    CommandsKilled { effect: EffectId, alive: Vec<u32> },
    /// A toast, a report or a message to the commander was delivered, or is no longer wanted.
    Notified { effect: EffectId },
    /// What an answer in a session has taken so far, as the host reports it: tokens of all kinds, and the cost in
    /// millionths. `message` is the host's id of the answer.
    UsageReported { session: SessionId, message: String, tokens: u64, cost_micros: u64 },
    /// Someone else changed the rendered list of tasks; this is what it said. `cut` when it was too long to keep whole.
    TodoEdited { text: String, cut: bool },
}

/// Which command started a mission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MissionKind {
    /// `/task`.
    #[default]
    Task,
    /// `/plan`: nothing is carried out before the user has approved the plan.
    Plan,
    /// `/fix`: a plan of one task.
    Fix,
}

/// Whether plans are carried out without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    #[default]
    Auto,
    /// Every plan waits for the user's approval.
    Ask,
}

/// Why a mission was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Interruption {
    /// The user broke off the turn.
    User,
}

/// The host's names of the agents that fill the roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    pub planner: String,
    pub worker: String,
    pub reviewer: String,
}

impl Default for Agents {
    fn default() -> Self {
        Self { planner: "planner".into(), worker: "worker".into(), reviewer: "reviewer".into() }
    }
}

/// How the last answer in a session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TurnFacts {
    /// The finish reason of the last message; `null` when it was not finished.
    pub finish: Option<String>,
    /// The error of the last message.
    pub error: Option<HostError>,
    /// The text of the last message, at most 64 KiB.
    pub text: String,
}

/// An error as the host names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostError {
    /// The host's class, such as `APIError`, or `timeout` when it did not answer.
    pub name: String,
    pub message: String,
    /// The HTTP status of the model's provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long the provider asks to be left alone, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<Millis>,
}

impl HostError {
    #[must_use]
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), ..Self::default() }
    }
}

/// How a call of a tool failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolFailure {
    /// What was to be run, or on which file, so that calls of one tool can be told apart.
    pub command: Option<String>,
    /// The exit code, where the tool ran a program.
    pub exit_code: Option<i64>,
    /// What the tool said, at most 4 KiB of its end.
    pub message: String,
}

/// What the checks of a submission or of the whole project found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    /// What the verdict rests on: commands with exit code, duration and output digest; files with their hashes.
    pub evidence: Vec<Value>,
    /// Files that differ from the snapshot.
    #[serde(default)]
    pub changed: Vec<FileChange>,
}

/// A file that differs from what it was when the task began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    pub path: String,
    #[serde(flatten)]
    pub facts: BTreeMap<String, Value>,
}

/// Something a check found wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable code such as `COMMAND_FAILED`.
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub message: String,
    /// For instance the end of a command's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ignored {
    /// The session belongs to no mission, or not to one that is under way.
    ForeignSession,
    /// No effect of that number waits for an outcome: it is settled, or was given up.
    StaleEffect,
    /// The session is not in a state in which this could happen, for instance an idle event that came twice.
    OutOfTurn,
    /// A request was refused, and its answer says why.
    Refused,
    /// Nothing was due.
    NothingDue,
}
