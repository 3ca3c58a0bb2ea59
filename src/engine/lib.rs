//! The deterministic engine: events in, effects out.
//!
//! It owns the state of every mission and decides what happens next. It reads no clock, file, environment or
//! random source and starts no thread: time comes in with each event, and what the world has to do goes out as an
//! [`Effect`] whose outcome comes back as an [`Event`]. The same events at the same times give the same effects and
//! the same state, byte for byte, which is how it is tested, replayed and resumed.
//!
//! Invariants, checked by [`Engine::check_invariants`]: one task holds a path, a live attempt is the one its task waits
//! for, no task runs before its dependencies are done, a mission that is under way is moved by something, and one is
//! sealed only on passing evidence. No token is granted above a cap.
//!
//! ```
//! use orchestrator_engine::{Agents, Approval, Effect, Engine, Event, Limits, MissionKind, Scheduling, SessionId};
//!
//! let mut engine = Engine::default();
//! engine.handle(0, Event::EngineStarted {
//!     limits: Limits::default(),
//!     agents: Agents::default(),
//!     approval: Approval::default(),
//!     scheduling: Scheduling::default(),
//! });
//! engine.handle(1, Event::MissionRequested {
//!     request: 1,
//!     session: SessionId::from("ses_root"),
//!     objective: "Add a health endpoint".into(),
//!     kind: MissionKind::Task,
//! });
//! let effects: Vec<Effect> = std::iter::from_fn(|| engine.poll_effect()).collect();
//! assert!(effects.iter().any(|effect| matches!(effect, Effect::OpenSession { .. })));
//! ```

mod attempt;
mod blank;
mod budget;
mod control;
mod decision;
mod effect;
mod event;
pub mod hook;
mod id;
mod invariant;
mod lease;
mod limits;
mod mission;
mod notice;
mod plan;
mod prompt;
mod question;
mod recovery;
mod report;
mod schedule;
mod session;
mod stop;
mod submission;
mod task;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use notice::Notice;
use serde::Serialize;

pub use attempt::{Attempt, Subject, Turn};
pub use blank::{Mistake, Review, ReviewFinding, Verdict, Work, schema};
pub use budget::{Budget, Experience, Spent};
pub use control::Wish;
pub use decision::{DECISION_VERSION, Decision, Divergence, ReplayError};
pub use effect::{Answer, CheckSubject, Effect, Level, Outcome};
pub use event::{
    Agents, Approval, CheckReport, Event, FileChange, Finding, HostError, Ignored, Interruption, MissionKind,
    ToolFailure, TurnFacts,
};
pub use id::{AttemptId, EffectId, MissionId, ModelId, RequestId, SessionId, TaskId};
pub use lease::{PathMistake, normalize, paths_written};
pub use limits::{LIMITS, Limit, Limits};
pub use mission::{Mission, PauseReason, Phase, Stage};
pub use plan::{Plan, Priority, Reprioritise, Revision, Split, TaskSpec};
pub use question::{Question, Role};
pub use recovery::{Class, Failure, REMEDIES, Remedy};
pub use report::read_review;
pub use schedule::{Breaker, Caps, Counters, Lane, Scheduling, Slot, Token};
pub use stop::Ending;
pub use task::{Checks, Task, TaskState};

/// Milliseconds since the Unix epoch, as the caller's clock gives them.
pub type Millis = u64;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The state changed: the event belongs into the journal.
    Changed,
    /// The event made no sense here, and nothing changed; a reply may still be waiting to be polled.
    Ignored(Ignored),
}

/// All missions of one project, and the effects that wait to be taken.
///
/// Serialising it gives the whole state in a stable order; two engines that were fed the same events compare equal.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    limits: Limits,
    agents: Agents,
    approval: Approval,
    missions: BTreeMap<MissionId, Mission>,
    /// Sessions of missions that have left memory, so that they stay fenced.
    former: BTreeMap<SessionId, MissionId>,
    notices: BTreeMap<EffectId, Notice>,
    experience: Experience,
    /// When the last event came in.
    last: Millis,
    last_mission: u64,
    scheduler: schedule::Scheduler,
    next_effect: u64,
    next_attempt: u64,
    /// The time of the event that is handled.
    #[serde(skip)]
    now: Millis,
    #[serde(skip)]
    effects: VecDeque<Effect>,
    #[serde(skip)]
    dirty: BTreeSet<MissionId>,
    /// How the missions stood that have left memory since the last call of `take_dirty`.
    #[serde(skip)]
    leaving: BTreeMap<MissionId, serde_json::Value>,
    /// The list of tasks as last rendered, and whether it may read differently now.
    #[serde(skip)]
    todo: String,
    #[serde(skip)]
    todo_stale: bool,
}

impl Engine {
    /// Takes one event at a time that never runs backwards and queues what follows from it.
    ///
    /// An event that makes no sense in the present state changes nothing and says why. Sessions that belong to no
    /// mission are always ignored.
    pub fn handle(&mut self, now: Millis, event: Event) -> Handled {
        self.now = now;
        let handled = self.dispatch(now, event);
        if handled == Handled::Changed {
            self.advance(now);
        }
        handled
    }

    /// Gives the next effect, oldest first, until `None`.
    ///
    /// The list of tasks is rendered when all else has been taken, so once for a batch of events.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front().or_else(|| self.render_todo())
    }

    /// Drops the effects that wait: after a replay they have long been handed out.
    pub fn discard_effects(&mut self) {
        self.effects.clear();
        self.leaving.clear();
    }

    /// Gives the missions that changed since the last call, in ascending order, with how they stand.
    pub fn take_dirty(&mut self) -> Vec<(MissionId, serde_json::Value)> {
        let mut left = std::mem::take(&mut self.leaving);
        std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|id| Some((id, left.remove(&id).or_else(|| self.summary(id))?)))
            .collect()
    }

    /// The time at which [`Event::DeadlinePassed`] is due; `None` when nothing waits for time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let missions = self.missions.values().filter_map(|mission| mission.next_deadline(&self.limits));
        missions.chain(self.circuit_deadline()).min()
    }

    /// The missions, by id.
    #[must_use]
    pub fn missions(&self) -> &BTreeMap<MissionId, Mission> {
        &self.missions
    }

    /// A mission for programs: what status, panels and other processes show.
    #[must_use]
    pub fn summary(&self, mission: MissionId) -> Option<serde_json::Value> {
        self.missions.get(&mission).map(|found| report::summary(found, self.untold(mission)))
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn dispatch(&mut self, now: Millis, event: Event) -> Handled {
        match event {
            Event::EngineStarted { limits, agents, approval, scheduling } => {
                self.engine_started(now, limits, agents, approval, scheduling)
            }
            Event::LimitsChanged { request, limits } => self.limits_changed(request, &limits),
            Event::ModelNoted { session, model } => self.model_noted(&session, &model),
            Event::MemoryMeasured { percent } => self.memory_measured(percent),
            Event::DeadlinePassed {} => self.deadline_passed(now),
            Event::MissionRequested { request, session, objective, kind } => {
                self.mission_requested(now, request, session, objective, kind)
            }
            Event::StopRequested { request, session } => self.stop_requested(now, request, &session),
            Event::Interrupted { session, cause } => self.interrupted(now, &session, cause),
            Event::PlanSubmitted { request, session, plan, denied } => {
                self.plan_submitted(request, &session, &plan, &denied)
            }
            Event::WorkSubmitted { request, session, work } => self.work_submitted(request, &session, &work),
            Event::ReviewSubmitted { request, session, review } => {
                self.review_submitted(request, &session, &review)
            }
            Event::PlanRevised { request, session, revision, denied } => {
                self.plan_revised(now, request, &session, &revision, &denied)
            }
            Event::SessionOpened { effect, session } => self.session_opened(now, effect, session),
            Event::PromptSent { effect } => self.prompt_sent(now, effect),
            Event::SessionAborted { effect, busy } => self.session_aborted(now, effect, busy),
            Event::SessionLookedUp { effect, session, prompted, busy, facts } => {
                self.session_looked_up(now, effect, session, prompted, busy, facts)
            }
            Event::EffectFailed { effect, .. } if self.notices.contains_key(&effect) => {
                self.notice_failed(effect);
                Handled::Changed
            }
            Event::EffectFailed { effect, error } => self.effect_failed(now, effect, &error),
            Event::StepStarted { session } => self.step_started(now, &session),
            Event::StepFinished { session, finish } => self.step_finished(now, &session, &finish),
            Event::RetryScheduled { session, message, wait_ms } => {
                self.retry_scheduled(now, &session, message, wait_ms)
            }
            Event::SessionErred { session, error } => self.session_erred(now, &session, error),
            Event::ToolCalled { session, tool } => self.tool_called(now, &session, &tool),
            Event::ToolEnded { session, tool, failure } => {
                self.tool_ended(now, &session, &tool, failure.as_ref())
            }
            Event::PermissionAsked { session, permission, what } => {
                self.permission_asked(now, &session, permission, what)
            }
            Event::PermissionAnswered { session, permission, allowed } => {
                self.permission_answered(now, &session, &permission, allowed)
            }
            Event::TurnEnded { session, prompt, facts } => self.turn_ended(now, &session, prompt, &facts),
            Event::SnapshotTaken { effect, snapshot } => self.snapshot_taken(now, effect, snapshot),
            Event::ChecksFinished { effect, report } => self.checks_finished(now, effect, report),
            Event::CommandsKilled { effect, alive } => self.commands_killed(now, effect, alive),
            Event::Notified { effect } => self.notified(effect),
            Event::UsageReported { session, message, tokens, cost_micros } => {
                self.usage_reported(&session, &message, tokens, cost_micros)
            }
            Event::TodoEdited { text, cut } => self.todo_edited(text, cut),
        }
    }

    fn effect_id(&mut self) -> EffectId {
        self.next_effect += 1;
        EffectId(self.next_effect)
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn reply(&mut self, request: RequestId, answer: Answer) {
        self.emit(Effect::Reply { request, answer });
    }

    /// The mission, which the caller has just found in the map.
    fn mission_mut(&mut self, id: MissionId) -> &mut Mission {
        self.dirty.insert(id);
        self.missions.get_mut(&id).expect("only missions that have ended leave memory")
    }
}
