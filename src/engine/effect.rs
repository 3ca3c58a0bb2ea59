//! Effects: what the world has to do for the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AttemptId, EffectId, MissionId, ModelId, RequestId, SessionId, TaskId};

/// An output of the engine, in the imperative. One with an `effect` number has an outcome, which comes back as an
/// event that names the number; the others have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// Create a child session of `root`. Outcome: `SessionOpened`.
    OpenSession {
        effect: EffectId,
        mission: MissionId,
        attempt: AttemptId,
        root: SessionId,
        title: String,
        agent: String,
    },
    /// Prompt a session, marking the prompt with the effect's number; without a `model`, the root's is used.
    /// Outcome: `PromptSent`.
    Prompt {
        effect: EffectId,
        root: SessionId,
        session: SessionId,
        agent: String,
        model: Option<ModelId>,
        text: String,
    },
    /// Abort a session and see whether it is idle. Outcome: `SessionAborted`.
    AbortSession { effect: EffectId, session: SessionId },
    /// Find out how an attempt stands: its session if known, otherwise the child of `root` whose metadata names it,
    /// and the prompt marked with `prompt`. Outcome: `SessionLookedUp`.
    LookUpSession {
        effect: EffectId,
        root: SessionId,
        attempt: AttemptId,
        session: Option<SessionId>,
        prompt: Option<EffectId>,
    },
    /// Hash the files of a lease. Outcome: `SnapshotTaken`.
    TakeSnapshot { effect: EffectId, lease: Vec<String> },
    /// Run checks. Outcome: `ChecksFinished`.
    RunChecks {
        effect: EffectId,
        mission: MissionId,
        subject: CheckSubject,
        commands: Vec<Vec<String>>,
        timeout_ms: u64,
    },
    /// End checks that are under way. What comes of it is their outcome.
    CancelChecks { effect: EffectId },
    /// Refuse what a session asked the user for, who did not answer. Told by `PermissionAnswered`.
    RefusePermission { session: SessionId, permission: String },
    /// Kill what the mission's checks and the shells of its sessions left running. Outcome: `CommandsKilled`.
    KillCommands { effect: EffectId, mission: MissionId, sessions: Vec<SessionId> },
    /// Answer a request.
    Reply { request: RequestId, answer: Answer },
    /// Show the user a short message. Outcome: `Notified`.
    ShowToast { effect: EffectId, session: SessionId, level: Level, text: String },
    /// Put a message before the commander without asking for an answer, marking it with the effect's number. Outcome:
    /// `Notified`. It may have happened when it comes `again`: see whether the session has it.
    TellCommander { effect: EffectId, session: SessionId, text: String, again: bool },
    /// Note the state of the mission on its root session.
    Annotate { session: SessionId, mission: MissionId, stage: String, done: usize, total: usize },
    /// A mission came to rest; whoever follows it in `session` is released with the report. Outcome: `Notified`, when
    /// the report is shown, or no longer wanted. It may have been shown when it comes `again`.
    ReportMission {
        effect: EffectId,
        mission: MissionId,
        session: SessionId,
        outcome: Outcome,
        report: String,
        again: bool,
    },
    /// Write the list of tasks for people.
    RenderTodo { text: String },
}

/// What checks look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CheckSubject {
    /// A worker's submission: the lease, the files before, the files it says it changed.
    Task { task: TaskId, lease: Vec<String>, before: Value, claimed: Vec<String> },
    /// The whole project.
    Project {},
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// It was taken; the text tells the caller what happens next.
    Accepted { mission: Option<MissionId>, text: String },
    /// It was not taken; the text says why and what to do.
    Refused { code: String, text: String },
}

/// How loud a toast is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Info,
    Success,
    Warning,
    Error,
}

/// How a mission came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Sealed,
    Stopped,
    Failed,
    /// Not an end: it goes on when the user resumes it.
    Paused,
    /// Not an end: the plan waits for the user's decision.
    Planned,
}

impl Effect {
    /// The number under which the outcome comes back.
    #[must_use]
    pub fn id(&self) -> Option<EffectId> {
        match self {
            Self::OpenSession { effect, .. }
            | Self::Prompt { effect, .. }
            | Self::AbortSession { effect, .. }
            | Self::LookUpSession { effect, .. }
            | Self::TakeSnapshot { effect, .. }
            | Self::RunChecks { effect, .. }
            | Self::KillCommands { effect, .. }
            | Self::ShowToast { effect, .. }
            | Self::TellCommander { effect, .. }
            | Self::ReportMission { effect, .. } => Some(*effect),
            Self::CancelChecks { .. }
            | Self::RefusePermission { .. }
            | Self::Reply { .. }
            | Self::Annotate { .. }
            | Self::RenderTodo { .. } => None,
        }
    }
}
