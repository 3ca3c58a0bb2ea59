//! Attempts: one try at a subject in one child session, from the queue to the end of its turn.
//!
//! Everything the host may do to a session is handled here: outcomes that come late, twice or never, turns that end
//! without a filled blank, sessions that run away, and a host that was restarted underneath. Whatever is unknown is
//! looked up before it is repeated.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use crate::blank::{self, Mistake, Review, Work};
use crate::event::{HostError, TurnFacts};
use crate::mission::{Mission, Stage};
use crate::question::Role;
use crate::{
    Answer, AttemptId, Effect, EffectId, Engine, Finding, Handled, Ignored, Limits, Millis, MissionId, Plan,
    RequestId, SessionId, TaskId, prompt,
};

/// One try at a subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub id: AttemptId,
    pub subject: Subject,
    pub session: Option<SessionId>,
    pub turn: Turn,
    pub say: Say,
    /// What the role filled in; its turn still has to end.
    pub submission: Option<Submission>,
    /// Fresh starts before this one because a session failed.
    pub recoveries: u64,
    /// Prompts that the session is known to have taken, also from earlier attempts.
    pub prompts: u64,
    pub nudges: u64,
    /// Blanks that were refused.
    pub refusals: u64,
    /// Prompts and creations that were repeated after a look-up showed that they had not happened.
    pub repeats: u64,
    pub steps: u64,
    minute: VecDeque<Millis>,
    unfinished: u64,
    steps_after_submission: u64,
    started: Millis,
    check_at: Millis,
    quiet: u32,
    idle_seen: u32,
    look_up: Option<EffectId>,
    /// What the host last said against creating or prompting the session.
    error: Option<HostError>,
}

/// What an attempt is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Subject {
    Plan,
    Task { task: TaskId },
    Review { task: TaskId },
    Master,
}

/// How an attempt's session stands. A slot is held in all states but `Queued`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Turn {
    /// Waits for a slot, and for a time after a failure.
    Queued {
        not_before: Option<Millis>,
    },
    Snapshotting {
        effect: EffectId,
    },
    Opening {
        effect: EffectId,
    },
    Prompting {
        effect: EffectId,
    },
    Working {
        prompt: EffectId,
    },
    Aborting {
        effect: EffectId,
        until: Millis,
        then: AfterAbort,
    },
}

/// What an abort was for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum AfterAbort {
    /// The attempt failed.
    Fail { failure: Failure },
    /// The blank was filled in, but the turn would not end.
    Submitted,
    /// The mission rests.
    Rest,
}

/// What the next prompt says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Say {
    /// The subject from the beginning; `broken_off` when an earlier attempt did not end.
    Start { broken_off: Option<String> },
    /// What checks or a reviewer found.
    Fix { findings: Vec<Finding> },
    /// Go on after an interruption.
    Continue,
    /// The turn ended without a blank, or with a wrong one.
    Nudge { mistakes: Vec<Mistake> },
}

/// A filled-in blank.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Submission {
    Plan { plan: Plan },
    Work { work: Work },
    Review { review: Review },
}

/// Why an attempt ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Failure {
    #[error("the session could not be created{}", because(.error))]
    NotOpened { error: Option<HostError> },
    #[error("the host did not take the prompt{}", because(.error))]
    NotPrompted { error: Option<HostError> },
    #[error("the session is gone from the host")]
    SessionGone,
    #[error("the model's turn ended in {}: {}", .error.name, .error.message)]
    Host { error: HostError },
    #[error("the model ended its turn without filling in its blank, {nudges} reminders included")]
    NoSubmission { nudges: u64 },
    #[error("the model ran away: {steps} requests{}", if *.per_minute { " within a minute" } else { "" })]
    Runaway { steps: u64, per_minute: bool },
    #[error("the model's answers ended {steps} times in a row without a finish reason")]
    Unfinished { steps: u64 },
    #[error("the session took longer than its time to live")]
    TimedOut,
    #[error("the reviewer could not tell")]
    Undecided,
    #[error("the files of the task could not be read before work began: {message}")]
    Snapshot { message: String },
    #[error("the session was interrupted {times} times")]
    Interrupted { times: u64 },
}

fn because(error: &Option<HostError>) -> String {
    error.as_ref().map(|error| format!(": {}: {}", error.name, error.message)).unwrap_or_default()
}

impl Subject {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Plan => Role::Planner,
            Self::Task { .. } => Role::Worker,
            Self::Review { .. } | Self::Master => Role::Reviewer,
        }
    }

    /// The task that a worker works on.
    pub(crate) fn worker_task(&self) -> Option<&TaskId> {
        match self {
            Self::Task { task } => Some(task),
            Self::Plan | Self::Review { .. } | Self::Master => None,
        }
    }

    /// The task it is about, whoever the role.
    pub(crate) fn task(&self) -> Option<&TaskId> {
        match self {
            Self::Task { task } | Self::Review { task } => Some(task),
            Self::Plan | Self::Master => None,
        }
    }
}

impl Attempt {
    /// The role that plays it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.subject.role()
    }

    /// Whether it takes one of its lane's slots.
    #[must_use]
    pub fn holds_slot(&self) -> bool {
        !matches!(self.turn, Turn::Queued { .. })
    }

    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<Millis> {
        match self.turn {
            Turn::Queued { not_before } => not_before,
            Turn::Snapshotting { .. }
            | Turn::Opening { .. }
            | Turn::Prompting { .. }
            | Turn::Working { .. } => Some(self.check_at.min(self.expiry(limits))),
            Turn::Aborting { until, .. } => Some(self.check_at.min(until)),
        }
    }

    fn expiry(&self, limits: &Limits) -> Millis {
        self.started + limits.session_ttl_ms
    }

    /// Notes that the session lives, so that the host need not be asked for a while.
    fn heard(&mut self, now: Millis, limits: &Limits) {
        self.quiet = 0;
        self.idle_seen = 0;
        self.check_at = now + limits.sweep_ms;
    }

    /// What follows when its session is aborted for this reason: what was submitted counts all the same.
    fn after_abort(&self, failure: Failure) -> AfterAbort {
        if self.submission.is_some() { AfterAbort::Submitted } else { AfterAbort::Fail { failure } }
    }

    /// Notes that the host was asked, to ask again later each time.
    fn wait(&mut self, now: Millis, limits: &Limits) {
        self.check_at = now + (limits.sweep_ms << self.quiet.min(3));
        self.quiet += 1;
    }
}

/// Time before the `n`th fresh start after a failure: 1, 2, 4 … 64 s.
fn backoff_ms(recoveries: u64) -> Millis {
    1_000 << recoveries.saturating_sub(1).min(6)
}

/// Model requests that a session may still make after its blank was taken: one to say so, two to spare.
const STEPS_AFTER_SUBMISSION: u64 = 3;
/// Time between two look-ups of a session that seems to rest without having finished.
const SECOND_LOOK_MS: Millis = 1_000;

// Where attempts begin.
impl Engine {
    /// Puts a new attempt into the queue of its lane.
    pub(crate) fn queue(&mut self, mission: MissionId, new: NewAttempt) -> AttemptId {
        self.next_attempt += 1;
        let id = AttemptId(self.next_attempt);
        let attempt = Attempt {
            id,
            subject: new.subject,
            session: new.session.as_ref().map(|(session, _)| session.clone()),
            turn: Turn::Queued { not_before: new.not_before },
            say: new.say,
            submission: None,
            recoveries: new.recoveries,
            prompts: new.session.map_or(0, |(_, prompts)| prompts),
            nudges: 0,
            refusals: 0,
            repeats: 0,
            steps: 0,
            minute: VecDeque::new(),
            unfinished: 0,
            steps_after_submission: 0,
            started: 0,
            check_at: 0,
            quiet: 0,
            idle_seen: 0,
            look_up: None,
            error: None,
        };
        self.mission_mut(mission).attempts.insert(id, attempt);
        id
    }

    /// Gives a queued attempt its slot and sets it going.
    pub(crate) fn admit(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let limits = self.limits.clone();
        let mission = self.mission_mut(mission_id);
        let attempt = mission.attempts.get_mut(&id).expect("the scheduler chose a queued attempt");
        attempt.started = now;
        attempt.heard(now, &limits);
        if let Some(task) = attempt.subject.worker_task() {
            let task = mission.tasks.get_mut(task).expect("an attempt's task is in the plan");
            task.start(now, id);
            if task.before.is_none() {
                return self.take_snapshot(mission_id, id);
            }
        }
        self.open_or_prompt(now, mission_id, id);
    }

    fn take_snapshot(&mut self, mission_id: MissionId, id: AttemptId) {
        let effect = self.effect_id();
        let mission = self.mission_mut(mission_id);
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        attempt.turn = Turn::Snapshotting { effect };
        let task = attempt.subject.worker_task().and_then(|task| mission.tasks.get(task));
        let lease = task.expect("only a worker's files are hashed").spec.files.clone();
        self.emit(Effect::TakeSnapshot { effect, lease });
    }

    fn open_or_prompt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        if self.missions[&mission_id].attempts[&id].session.is_some() {
            self.send_prompt(now, mission_id, id);
        } else {
            self.open(now, mission_id, id);
        }
    }

    fn open(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let effect = self.effect_id();
        let limits = self.limits.clone();
        let agents = self.agents.clone();
        let mission = self.mission_mut(mission_id);
        let title = prompt::title(mission, &mission.attempts[&id]);
        let root = mission.root.clone();
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        attempt.turn = Turn::Opening { effect };
        attempt.heard(now, &limits);
        let agent = prompt::agent(&agents, attempt.role());
        self.emit(Effect::OpenSession { effect, mission: mission_id, attempt: id, root, title, agent });
    }

    fn send_prompt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let effect = self.effect_id();
        let limits = self.limits.clone();
        let agents = self.agents.clone();
        let mission = self.mission_mut(mission_id);
        let text = prompt::text(mission, &mission.attempts[&id]);
        let root = mission.root.clone();
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        let Some(session) = attempt.session.clone() else { return };
        attempt.turn = Turn::Prompting { effect };
        attempt.unfinished = 0;
        attempt.heard(now, &limits);
        let agent = prompt::agent(&agents, attempt.role());
        mission.prompts += 1;
        self.emit(Effect::Prompt { effect, root, session, agent, text });
    }

    fn send_again(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, say: Say) {
        let attempt = self.attempt_mut(mission_id, id);
        attempt.say = say;
        self.send_prompt(now, mission_id, id);
    }
}

/// What a new attempt starts with.
pub(crate) struct NewAttempt {
    pub(crate) subject: Subject,
    pub(crate) say: Say,
    /// The session to go on in, with the prompts it has had.
    pub(crate) session: Option<(SessionId, u64)>,
    pub(crate) recoveries: u64,
    pub(crate) not_before: Option<Millis>,
}

impl NewAttempt {
    /// A first attempt in a fresh session.
    pub(crate) fn fresh(subject: Subject) -> Self {
        Self { subject, say: Say::Start { broken_off: None }, session: None, recoveries: 0, not_before: None }
    }
}

// Outcomes of effects.
impl Engine {
    pub(crate) fn snapshot_taken(&mut self, now: Millis, effect: EffectId, snapshot: Value) -> Handled {
        let Some((mission_id, id)) =
            self.find(|turn| matches!(turn, Turn::Snapshotting { effect: e } if *e == effect))
        else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        let mission = self.mission_mut(mission_id);
        if let Some(task) = mission.attempts[&id].subject.worker_task().cloned()
            && let Some(task) = mission.tasks.get_mut(&task)
        {
            task.before = Some(snapshot);
        }
        self.open_or_prompt(now, mission_id, id);
        Handled::Changed
    }

    pub(crate) fn session_opened(&mut self, now: Millis, effect: EffectId, session: SessionId) -> Handled {
        let Some((mission_id, id)) =
            self.find(|turn| matches!(turn, Turn::Opening { effect: e } if *e == effect))
        else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        self.opened(now, mission_id, id, session);
        Handled::Changed
    }

    fn opened(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, session: SessionId) {
        let mission = self.mission_mut(mission_id);
        mission.sessions.insert(session.clone());
        let under_way = mission.is_under_way();
        self.attempt_mut(mission_id, id).session = Some(session);
        if under_way {
            self.send_prompt(now, mission_id, id);
        } else {
            // Created, never prompted: there is nothing to abort.
            self.rest_attempt(now, mission_id, id);
        }
    }

    pub(crate) fn prompt_sent(&mut self, now: Millis, effect: EffectId) -> Handled {
        let Some((mission_id, id)) =
            self.find(|turn| matches!(turn, Turn::Prompting { effect: e } if *e == effect))
        else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        let limits = self.limits.clone();
        self.prompt_taken(mission_id, id);
        self.attempt_mut(mission_id, id).heard(now, &limits);
        Handled::Changed
    }

    /// Notes that the host took the prompt on its way, if there is one: what it said has been said.
    fn prompt_taken(&mut self, mission_id: MissionId, id: AttemptId) {
        let attempt = self.attempt_mut(mission_id, id);
        if let Turn::Prompting { effect: prompt } = attempt.turn {
            attempt.turn = Turn::Working { prompt };
            attempt.say = Say::Continue;
            attempt.prompts += 1;
        }
    }

    pub(crate) fn session_aborted(&mut self, now: Millis, effect: EffectId, busy: bool) -> Handled {
        let Some((mission_id, id)) =
            self.find(|turn| matches!(turn, Turn::Aborting { effect: e, .. } if *e == effect))
        else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        if busy {
            // Asked again when the attempt's check is due, until the deadline.
            self.attempt_mut(mission_id, id).check_at = now + SECOND_LOOK_MS;
        } else {
            self.after_abort(now, mission_id, id);
        }
        Handled::Changed
    }

    pub(crate) fn effect_failed(&mut self, now: Millis, effect: EffectId, error: &HostError) -> Handled {
        let found = self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt = mission.attempts.values().find(|attempt| {
                attempt.look_up == Some(effect)
                    || matches!(&attempt.turn,
                        Turn::Snapshotting { effect: e } | Turn::Opening { effect: e } | Turn::Prompting { effect: e }
                        | Turn::Aborting { effect: e, .. } if *e == effect)
            })?;
            Some((*mission_id, attempt.id))
        });
        let Some((mission_id, id)) = found else {
            return self.check_failed(effect, error);
        };
        let limits = self.limits.clone();
        let attempt = self.attempt_mut(mission_id, id);
        if attempt.look_up == Some(effect) {
            attempt.look_up = None;
            attempt.wait(now, &limits);
            return Handled::Changed;
        }
        match attempt.turn {
            Turn::Snapshotting { .. } => {
                let failure = Failure::Snapshot { message: error.message.clone() };
                self.fail(now, mission_id, id, failure);
            }
            // It may have happened all the same: see before repeating.
            Turn::Opening { .. } | Turn::Prompting { .. } => {
                attempt.error = Some(error.clone());
                self.look_up(now, mission_id, id);
            }
            // The session may be gone.
            Turn::Aborting { .. } => self.look_up(now, mission_id, id),
            Turn::Queued { .. } | Turn::Working { .. } => {}
        }
        Handled::Changed
    }

    /// Asks the host how the attempt stands.
    pub(crate) fn look_up(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let effect = self.effect_id();
        let limits = self.limits.clone();
        let mission = self.mission_mut(mission_id);
        let root = mission.root.clone();
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        attempt.look_up = Some(effect);
        attempt.wait(now, &limits);
        let session = attempt.session.clone();
        let prompt = match attempt.turn {
            Turn::Prompting { effect: prompt } | Turn::Working { prompt } => Some(prompt),
            Turn::Queued { .. }
            | Turn::Snapshotting { .. }
            | Turn::Opening { .. }
            | Turn::Aborting { .. } => None,
        };
        self.emit(Effect::LookUpSession { effect, root, attempt: id, session, prompt });
    }

    pub(crate) fn session_looked_up(
        &mut self,
        now: Millis,
        effect: EffectId,
        session: Option<SessionId>,
        prompted: bool,
        busy: bool,
        facts: Option<TurnFacts>,
    ) -> Handled {
        let found = self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt = mission.attempts.values().find(|attempt| attempt.look_up == Some(effect))?;
            Some((*mission_id, attempt.id))
        });
        let Some((mission_id, id)) = found else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        let under_way = self.missions[&mission_id].is_under_way();
        let attempt = self.attempt_mut(mission_id, id);
        attempt.look_up = None;
        let error = attempt.error.take();
        let Some(session) = session else {
            match attempt.turn {
                Turn::Opening { .. } if !under_way => self.rest_attempt(now, mission_id, id),
                Turn::Opening { .. } => {
                    if self.repeat(mission_id, id) {
                        self.open(now, mission_id, id);
                    } else {
                        self.fail(now, mission_id, id, Failure::NotOpened { error });
                    }
                }
                // What was acknowledged is not lost with the session.
                Turn::Prompting { .. } | Turn::Working { .. } if attempt.submission.is_some() => {
                    attempt.session = None;
                    self.finish(now, mission_id, id);
                }
                Turn::Prompting { .. } | Turn::Working { .. } => {
                    self.fail(now, mission_id, id, Failure::SessionGone);
                }
                Turn::Aborting { .. } => self.after_abort(now, mission_id, id),
                Turn::Queued { .. } | Turn::Snapshotting { .. } => {}
            }
            return Handled::Changed;
        };
        match attempt.turn {
            Turn::Opening { .. } => self.opened(now, mission_id, id, session),
            Turn::Prompting { .. } if !prompted && busy => {}
            // However the host tells the end: nothing more is wanted of the turn.
            Turn::Prompting { .. } | Turn::Working { .. } if !busy && attempt.submission.is_some() => {
                self.finish(now, mission_id, id);
            }
            Turn::Prompting { .. } if !prompted => {
                if self.repeat(mission_id, id) {
                    self.send_prompt(now, mission_id, id);
                } else {
                    self.fail(now, mission_id, id, Failure::NotPrompted { error });
                }
            }
            Turn::Prompting { .. } | Turn::Working { .. } => {
                self.prompt_taken(mission_id, id);
                if busy {
                    return Handled::Changed;
                }
                let attempt = self.attempt_mut(mission_id, id);
                match facts.filter(|facts| facts.error.is_some() || facts.is_finished()) {
                    Some(facts) => self.conclude(now, mission_id, id, &facts),
                    None if attempt.idle_seen == 0 => {
                        // A turn that has just been prompted may not show yet; look twice.
                        attempt.idle_seen = 1;
                        attempt.check_at = now + SECOND_LOOK_MS;
                    }
                    None if self.repeat(mission_id, id) => self.send_prompt(now, mission_id, id),
                    None => {
                        let times = self.missions[&mission_id].attempts[&id].repeats;
                        self.fail(now, mission_id, id, Failure::Interrupted { times });
                    }
                }
            }
            // It is aborted again.
            Turn::Aborting { .. } => attempt.check_at = now + SECOND_LOOK_MS,
            Turn::Queued { .. } | Turn::Snapshotting { .. } => {}
        }
        Handled::Changed
    }

    /// Counts a repeated creation or prompt. Gives whether it is within the limit.
    fn repeat(&mut self, mission_id: MissionId, id: AttemptId) -> bool {
        let most = self.limits.recoveries;
        let attempt = self.attempt_mut(mission_id, id);
        attempt.repeats += 1;
        attempt.repeats <= most
    }
}

impl TurnFacts {
    /// Whether the model itself ended its turn. An answer cut before its tools ran is not an end.
    fn is_finished(&self) -> bool {
        !matches!(self.finish.as_deref(), None | Some("tool-calls" | "unknown"))
    }
}

// Steps, turns and blanks.
impl Engine {
    pub(crate) fn step_started(&mut self, now: Millis, session: &SessionId) -> Handled {
        let limits = self.limits.clone();
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let mission = self.mission_mut(mission_id);
        mission.steps += 1;
        let attempt = mission.attempts.get_mut(&id).expect("found just now");
        attempt.steps += 1;
        attempt.minute.push_back(now);
        while attempt.minute.front().is_some_and(|at| at + 60_000 <= now) {
            attempt.minute.pop_front();
        }
        attempt.heard(now, &limits);
        if matches!(attempt.turn, Turn::Aborting { .. } | Turn::Queued { .. }) {
            return Handled::Changed;
        }
        let per_minute = attempt.minute.len() as u64;
        let then = if attempt.submission.is_some() {
            attempt.steps_after_submission += 1;
            (attempt.steps_after_submission > STEPS_AFTER_SUBMISSION).then_some(AfterAbort::Submitted)
        } else if attempt.steps > limits.steps_per_attempt {
            let failure = Failure::Runaway { steps: attempt.steps, per_minute: false };
            Some(AfterAbort::Fail { failure })
        } else if per_minute > limits.steps_per_minute {
            let failure = Failure::Runaway { steps: per_minute, per_minute: true };
            Some(AfterAbort::Fail { failure })
        } else {
            None
        };
        if let Some(then) = then {
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    pub(crate) fn step_finished(&mut self, now: Millis, session: &SessionId, finish: &str) -> Handled {
        let most = self.limits.unfinished_steps;
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        if finish != "unknown" {
            if attempt.unfinished == 0 {
                return Handled::Ignored(Ignored::OutOfTurn);
            }
            attempt.unfinished = 0;
            return Handled::Changed;
        }
        attempt.unfinished += 1;
        let steps = attempt.unfinished;
        if steps >= most && matches!(attempt.turn, Turn::Prompting { .. } | Turn::Working { .. }) {
            let then = attempt.after_abort(Failure::Unfinished { steps });
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    pub(crate) fn turn_ended(
        &mut self,
        now: Millis,
        session: &SessionId,
        prompt: Option<EffectId>,
        facts: &TurnFacts,
    ) -> Handled {
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        let (Turn::Prompting { effect: current } | Turn::Working { prompt: current }) = attempt.turn else {
            return Handled::Ignored(Ignored::OutOfTurn);
        };
        match prompt {
            Some(prompt) if prompt == current => self.conclude(now, mission_id, id, facts),
            // The end of an earlier turn, told again.
            Some(_) => return Handled::Ignored(Ignored::OutOfTurn),
            // It cannot be told which prompt this answers; the host knows.
            None if attempt.look_up.is_none() => self.look_up(now, mission_id, id),
            None => return Handled::Ignored(Ignored::OutOfTurn),
        }
        Handled::Changed
    }

    /// The turn is over: goes on with what was submitted, or asks again, or gives up.
    fn conclude(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, facts: &TurnFacts) {
        let (nudges_most, tasks_max) = (self.limits.nudges, self.limits.plan_tasks);
        self.prompt_taken(mission_id, id);
        let attempt = self.attempt_mut(mission_id, id);
        if attempt.submission.is_some() {
            return self.finish(now, mission_id, id);
        }
        if let Some(error) = &facts.error {
            return self.fail(now, mission_id, id, Failure::Host { error: error.clone() });
        }
        let mistakes = match blank::fenced(&facts.text) {
            None => Vec::new(),
            // Its commands have not been shown to the host's permissions.
            Some(_) if attempt.subject == Subject::Plan => {
                vec![Mistake::new("", "a plan is taken from a call of the tool only")]
            }
            Some(value) => match read(&self.missions[&mission_id], id, &value, tasks_max) {
                Ok(submission) => {
                    self.attempt_mut(mission_id, id).submission = Some(submission);
                    return self.finish(now, mission_id, id);
                }
                Err(mistakes) => mistakes,
            },
        };
        let attempt = self.attempt_mut(mission_id, id);
        if attempt.nudges < nudges_most {
            attempt.nudges += 1;
            self.send_again(now, mission_id, id, Say::Nudge { mistakes });
        } else {
            let nudges = attempt.nudges;
            self.fail(now, mission_id, id, Failure::NoSubmission { nudges });
        }
    }

    pub(crate) fn plan_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        plan: &Value,
        denied: &[Vec<String>],
    ) -> Handled {
        self.submit(request, session, Role::Planner, plan, denied)
    }

    pub(crate) fn work_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        work: &Value,
    ) -> Handled {
        self.submit(request, session, Role::Worker, work, &[])
    }

    pub(crate) fn review_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        review: &Value,
    ) -> Handled {
        self.submit(request, session, Role::Reviewer, review, &[])
    }

    /// Takes a blank from the session whose role it is, or answers with every mistake.
    fn submit(
        &mut self,
        request: RequestId,
        session: &SessionId,
        role: Role,
        value: &Value,
        denied: &[Vec<String>],
    ) -> Handled {
        let tasks_max = self.limits.plan_tasks;
        let refuse = |engine: &mut Self, code: &str, text: String| {
            engine.reply(request, Answer::Refused { code: code.to_owned(), text });
        };
        let found = self.find_session(session).filter(|(mission_id, id)| {
            let mission = &self.missions[mission_id];
            let attempt = &mission.attempts[id];
            mission.is_under_way()
                && attempt.role() == role
                && matches!(attempt.turn, Turn::Prompting { .. } | Turn::Working { .. })
        });
        let Some((mission_id, id)) = found else {
            refuse(self, "NO_OPEN_BLANK", format!("This session has no {} blank to fill in.", role.name()));
            return Handled::Ignored(Ignored::Refused);
        };
        if self.missions[&mission_id].attempts[&id].submission.is_some() {
            refuse(self, "ALREADY_SUBMITTED", "It has been taken already. End your turn now.".into());
            return Handled::Ignored(Ignored::Refused);
        }
        let read = read(&self.missions[&mission_id], id, value, tasks_max).and_then(|submission| {
            let mistakes = match &submission {
                Submission::Plan { plan } => plan.denied(denied),
                Submission::Work { .. } | Submission::Review { .. } => Vec::new(),
            };
            blank::finish(submission, mistakes)
        });
        let attempt = self.attempt_mut(mission_id, id);
        match read {
            Ok(submission) => {
                attempt.submission = Some(submission);
                let text = "Taken. End your turn now with one short sentence; do nothing else.";
                self.reply(request, Answer::Accepted { mission: Some(mission_id), text: text.into() });
            }
            Err(mistakes) => {
                attempt.refusals += 1;
                let text =
                    format!("Not taken. Mend every point and submit again:\n{}", prompt::mistakes(&mistakes));
                refuse(self, "BLANK_INVALID", text);
            }
        }
        Handled::Changed
    }
}

/// Reads the blank of an attempt, as a call of its tool or its text gave it.
fn read(mission: &Mission, id: AttemptId, value: &Value, tasks_max: u64) -> Result<Submission, Vec<Mistake>> {
    Ok(match mission.attempts[&id].subject {
        Subject::Plan => Submission::Plan { plan: Plan::parse(value, tasks_max)? },
        Subject::Task { .. } => Submission::Work { work: Work::parse(value)? },
        Subject::Review { .. } => Submission::Review { review: Review::parse(value, false)? },
        Subject::Master => {
            let review = Review::parse(value, true)?;
            if mission.failed_project_checks() && review.findings.is_empty() {
                let message = "the project's checks failed: give fail, with findings that mend them";
                return Err(vec![Mistake::new("verdict", message)]);
            }
            Submission::Review { review }
        }
    })
}

// Where attempts end.
impl Engine {
    /// Aborts the session of an attempt, or ends it at once where there is none.
    pub(crate) fn abort(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, then: AfterAbort) {
        let effect = self.effect_id();
        let (limits, until) = (self.limits.clone(), now + self.limits.stop_ms);
        let attempt = self.attempt_mut(mission_id, id);
        attempt.turn = Turn::Aborting { effect, until, then };
        attempt.look_up = None;
        attempt.heard(now, &limits);
        match attempt.session.clone() {
            Some(session) => self.emit(Effect::AbortSession { effect, session }),
            None => self.after_abort(now, mission_id, id),
        }
    }

    fn after_abort(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let attempt = self.attempt_mut(mission_id, id);
        let Turn::Aborting { then, .. } = attempt.turn.clone() else { return };
        match then {
            AfterAbort::Fail { failure } => self.fail(now, mission_id, id, failure),
            AfterAbort::Submitted => self.finish(now, mission_id, id),
            AfterAbort::Rest => self.rest_attempt(now, mission_id, id),
        }
    }

    /// Takes an attempt out of the running: a mission that is paused, or has been resumed meanwhile, keeps it queued
    /// with its session; one that is ending drops it.
    pub(crate) fn rest_attempt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let mission = self.mission_mut(mission_id);
        let under_way = mission.is_under_way();
        if !under_way && !matches!(mission.stage, Stage::Paused { .. }) {
            mission.attempts.remove(&id);
            return;
        }
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        attempt.turn = Turn::Queued { not_before: None };
        attempt.look_up = None;
        if under_way && attempt.submission.is_some() {
            self.finish(now, mission_id, id);
        }
    }

    /// Goes on with what was submitted before the mission rested, without another turn.
    pub(crate) fn finish_rested(&mut self, now: Millis, mission_id: MissionId) {
        let is_rested =
            |attempt: &&Attempt| attempt.submission.is_some() && matches!(attempt.turn, Turn::Queued { .. });
        let rested: Vec<_> = self.missions[&mission_id]
            .attempts
            .values()
            .filter(is_rested)
            .map(|attempt| attempt.id)
            .collect();
        for id in rested {
            self.finish(now, mission_id, id);
        }
    }

    /// Ends an attempt that has its result.
    fn finish(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let mission = self.mission_mut(mission_id);
        let under_way = mission.is_under_way();
        if !under_way {
            return self.rest_attempt(now, mission_id, id);
        }
        let Some(attempt) = mission.attempts.remove(&id) else { return };
        let session = attempt.session.clone().map(|session| (session, attempt.prompts));
        match (attempt.subject.clone(), attempt.submission.clone()) {
            (Subject::Plan, Some(Submission::Plan { plan })) => self.plan_accepted(mission_id, plan),
            (Subject::Task { task }, Some(Submission::Work { work })) => {
                self.check_task(now, mission_id, &task, work, session);
            }
            (Subject::Review { task }, Some(Submission::Review { review })) => {
                self.task_reviewed(now, mission_id, &task, review, attempt.recoveries);
            }
            (Subject::Master, Some(Submission::Review { review })) => {
                self.mission_reviewed(now, mission_id, review, attempt.recoveries);
            }
            (subject, submission) => unreachable!("{subject:?} was answered with {submission:?}"),
        }
    }

    /// Ends an attempt without a result: a fresh one after a while, or the user is asked.
    pub(crate) fn fail(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, failure: Failure) {
        let mission = self.mission_mut(mission_id);
        if !mission.is_under_way() {
            return self.rest_attempt(now, mission_id, id);
        }
        let Some(attempt) = mission.attempts.remove(&id) else { return };
        mission.failures += 1;
        let say = mission.introduction(&attempt.subject, Some(failure.to_string()));
        self.try_again(now, mission_id, attempt.subject, say, attempt.recoveries, &failure);
    }

    /// Queues a fresh attempt after a failure, or gives the subject up when too many have failed.
    pub(crate) fn try_again(
        &mut self,
        now: Millis,
        mission_id: MissionId,
        subject: Subject,
        say: Say,
        recoveries: u64,
        failure: &Failure,
    ) {
        if recoveries >= self.limits.recoveries {
            return self.give_up(mission_id, &subject, failure);
        }
        let recoveries = recoveries + 1;
        let not_before = Some(now + backoff_ms(recoveries));
        let new = NewAttempt { subject: subject.clone(), say, session: None, recoveries, not_before };
        let id = self.queue(mission_id, new);
        self.mission_mut(mission_id).attempt_queued(&subject, id);
    }

    /// Looks after every attempt whose time has come. Gives whether there was one.
    pub(crate) fn attempts_due(&mut self, now: Millis, mission_id: MissionId) -> bool {
        let limits = self.limits.clone();
        let mission = &self.missions[&mission_id];
        let due: Vec<_> = mission
            .attempts
            .values()
            .filter(|attempt| mission.counts_time(attempt))
            .filter(|attempt| attempt.next_deadline(&limits).is_some_and(|at| at <= now))
            .map(|attempt| attempt.id)
            .collect();
        for &id in &due {
            let attempt = self.attempt_mut(mission_id, id);
            match attempt.turn.clone() {
                Turn::Queued { .. } => attempt.turn = Turn::Queued { not_before: None },
                Turn::Snapshotting { .. }
                | Turn::Opening { .. }
                | Turn::Prompting { .. }
                | Turn::Working { .. }
                    if now >= attempt.expiry(&limits) =>
                {
                    let then = attempt.after_abort(Failure::TimedOut);
                    self.abort(now, mission_id, id, then);
                }
                Turn::Snapshotting { .. } => {
                    // Hashing files has no consequences; it is simply asked again.
                    attempt.wait(now, &limits);
                    self.take_snapshot(mission_id, id);
                }
                Turn::Opening { .. } | Turn::Prompting { .. } | Turn::Working { .. } => {
                    self.look_up(now, mission_id, id);
                }
                Turn::Aborting { until, .. } if now >= until => {
                    // It would not die. The fence holds: its writes are refused, and it is named in the report.
                    if let Some(session) = attempt.session.take() {
                        attempt.prompts = 0;
                        let mission = self.mission_mut(mission_id);
                        mission.survivors.insert(session);
                        let say = mission.introduction(&mission.attempts[&id].subject, None);
                        self.attempt_mut(mission_id, id).say = say;
                    }
                    self.after_abort(now, mission_id, id);
                }
                Turn::Aborting { until, then, .. } => {
                    attempt.wait(now, &limits);
                    let Some(session) = attempt.session.clone() else { continue };
                    let effect = self.effect_id();
                    self.attempt_mut(mission_id, id).turn = Turn::Aborting { effect, until, then };
                    self.emit(Effect::AbortSession { effect, session });
                }
            }
        }
        !due.is_empty()
    }
}

// Finding attempts.
impl Engine {
    /// The live attempt in this session, with its mission.
    pub(crate) fn attempt_of(&self, session: &SessionId) -> Option<(&Mission, &Attempt)> {
        let (mission, attempt) = self.find_session(session)?;
        let mission = &self.missions[&mission];
        Some((mission, &mission.attempts[&attempt]))
    }

    /// The mission in which this session had a part that is over.
    pub(crate) fn former_attempt(&self, session: &SessionId) -> Option<&Mission> {
        self.missions.values().find(|mission| mission.sessions.contains(session))
    }

    pub(crate) fn find_session(&self, session: &SessionId) -> Option<(MissionId, AttemptId)> {
        self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt =
                mission.attempts.values().find(|attempt| attempt.session.as_ref() == Some(session))?;
            Some((*mission_id, attempt.id))
        })
    }

    fn find(&self, is: impl Fn(&Turn) -> bool) -> Option<(MissionId, AttemptId)> {
        self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt = mission.attempts.values().find(|attempt| is(&attempt.turn))?;
            Some((*mission_id, attempt.id))
        })
    }

    pub(crate) fn attempt_mut(&mut self, mission: MissionId, id: AttemptId) -> &mut Attempt {
        self.mission_mut(mission).attempts.get_mut(&id).expect("the caller holds a live attempt's id")
    }
}
