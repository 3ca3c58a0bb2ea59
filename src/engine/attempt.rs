//! Attempts: one try at a subject in one child session; what it is, its place in the queue, and how it is set going.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::blank::Mistake;
use crate::event::HostError;
use crate::mission::Mission;
use crate::question::Role;
use crate::recovery::Failure;
use crate::schedule::{Slot, Token};
use crate::submission::Submission;
use crate::{
    AttemptId, Effect, EffectId, Engine, Finding, Limits, Millis, MissionId, SessionId, TaskId, prompt,
};

/// One try at a subject.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub id: AttemptId,
    pub subject: Subject,
    pub session: Option<SessionId>,
    pub turn: Turn,
    /// The right to run, held in every turn but `Queued`.
    pub(crate) token: Option<Token>,
    /// The slot in whose queue it waits; `None` for its lane's common one.
    pub(crate) home: Option<Slot>,
    /// Since when it waits, or waited, for its token.
    pub(crate) queued: Millis,
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
    /// Calls of tools.
    pub calls: u64,
    /// The calls that last failed in a row with the same error.
    pub(crate) failing: Option<Failing>,
    /// What the host asks the user about the session, by the host's number of the question.
    pub permissions: BTreeMap<String, Permission>,
    /// What the session was not allowed; its turn ends by that.
    pub(crate) not_allowed: Option<String>,
    pub(crate) minute: VecDeque<Millis>,
    pub(crate) unfinished: u64,
    pub(crate) steps_after_submission: u64,
    pub(crate) check_at: Millis,
    pub(crate) quiet: u32,
    pub(crate) idle_seen: u32,
    pub(crate) look_up: Option<EffectId>,
    /// What the host last said against creating or prompting the session.
    pub(crate) error: Option<HostError>,
}

/// Calls that fail in a row with the same error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failing {
    pub(crate) fingerprint: String,
    pub(crate) times: u64,
}

/// A question of the host to the user, which holds a session up until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// What the session wants to do.
    pub what: String,
    /// When it is refused in the user's place, or refused again.
    pub(crate) until: Millis,
    /// How often it has been refused.
    pub(crate) refusals: u64,
}

/// What an attempt is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Subject {
    Plan,
    Task {
        task: TaskId,
    },
    Review {
        task: TaskId,
    },
    /// Reading ahead for the review of a task that is being worked on. It has no blank.
    Reading {
        task: TaskId,
    },
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
    /// The task was given up.
    Cancel,
    /// The task cannot go on without the user.
    Block { reason: String },
    /// Nothing is wanted of it: another attempt won, or its slot is wanted.
    Lost,
}

/// What the next prompt says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Say {
    /// The subject from the beginning; `after` the failure of an earlier attempt.
    Start { after: Option<Failure> },
    /// What checks or a reviewer found; `after` the failure of an earlier attempt to mend it.
    Fix { findings: Vec<Finding>, after: Option<Failure> },
    /// Go on after an interruption.
    Continue,
    /// Go on after a failure, in the session in which it happened.
    Again { failure: Failure },
    /// The turn ended because it was not allowed what it wanted to do.
    NotAllowed { what: String },
    /// The turn ended without a blank, or with a wrong one; `cut` when the answer was cut at the model's limit.
    Nudge { mistakes: Vec<Mistake>, cut: bool },
}

impl Subject {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Plan => Role::Planner,
            Self::Task { .. } => Role::Worker,
            Self::Review { .. } | Self::Reading { .. } | Self::Master => Role::Reviewer,
        }
    }

    /// The task that a worker works on.
    pub(crate) fn worker_task(&self) -> Option<&TaskId> {
        match self {
            Self::Task { task } => Some(task),
            Self::Plan | Self::Review { .. } | Self::Reading { .. } | Self::Master => None,
        }
    }

    /// The task that waits for it, whoever the role.
    pub(crate) fn task(&self) -> Option<&TaskId> {
        match self {
            Self::Task { task } | Self::Review { task } => Some(task),
            Self::Plan | Self::Reading { .. } | Self::Master => None,
        }
    }

    /// Whether it only reads ahead.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(self, Self::Reading { .. })
    }
}

impl Attempt {
    /// The role that plays it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.subject.role()
    }

    /// Whether it has a slot.
    #[must_use]
    pub fn holds_slot(&self) -> bool {
        self.token.is_some()
    }

    /// Puts it back into the queue, which releases its token.
    pub(crate) fn requeue(&mut self, now: Millis) {
        self.turn = Turn::Queued { not_before: None };
        self.token = None;
        self.queued = now;
    }

    /// Whether a turn of its session is under way, as far as is known.
    pub(crate) fn is_at_work(&self) -> bool {
        matches!(self.turn, Turn::Prompting { .. } | Turn::Working { .. })
    }

    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<Millis> {
        match self.turn {
            Turn::Queued { not_before } => not_before,
            Turn::Snapshotting { .. }
            | Turn::Opening { .. }
            | Turn::Prompting { .. }
            | Turn::Working { .. } => {
                let permissions = self.permissions.values().map(|permission| permission.until).min();
                let at = self.check_at.min(self.expiry(limits));
                Some(permissions.map_or(at, |until| until.min(at)))
            }
            Turn::Aborting { until, .. } => Some(self.check_at.min(until)),
        }
    }

    pub(crate) fn expiry(&self, limits: &Limits) -> Millis {
        self.token.as_ref().map_or(Millis::MAX, |token| token.granted() + limits.session_ttl_ms)
    }

    /// Notes that the session lives, so that the host need not be asked for a while.
    pub(crate) fn heard(&mut self, now: Millis, limits: &Limits) {
        self.quiet = 0;
        self.idle_seen = 0;
        self.check_at = now + limits.sweep_ms;
    }

    /// What follows when its session is aborted for this reason: what was submitted counts all the same.
    pub(crate) fn after_abort(&self, failure: Failure) -> AfterAbort {
        if self.submission.is_some() { AfterAbort::Submitted } else { AfterAbort::Fail { failure } }
    }

    /// Notes that the host was asked, to ask again later each time.
    pub(crate) fn wait(&mut self, now: Millis, limits: &Limits) {
        self.check_at = now + (limits.sweep_ms << self.quiet.min(3));
        self.quiet += 1;
    }
}

// Where attempts begin.
impl Engine {
    /// Puts a new attempt into the queue of its lane.
    pub(crate) fn queue(&mut self, mission: MissionId, new: NewAttempt) -> AttemptId {
        self.next_attempt += 1;
        let id = AttemptId(self.next_attempt);
        let home = self.missions[&mission].home(&new.subject);
        let attempt = Attempt {
            id,
            subject: new.subject,
            session: new.session.as_ref().map(|(session, _)| session.clone()),
            turn: Turn::Queued { not_before: new.not_before },
            token: None,
            home,
            queued: new.not_before.unwrap_or(self.now),
            say: new.say,
            submission: None,
            recoveries: new.recoveries,
            prompts: new.session.map_or(0, |(_, prompts)| prompts),
            nudges: 0,
            refusals: 0,
            repeats: 0,
            steps: 0,
            calls: 0,
            failing: None,
            permissions: BTreeMap::new(),
            not_allowed: None,
            minute: VecDeque::new(),
            unfinished: 0,
            steps_after_submission: 0,
            check_at: 0,
            quiet: 0,
            idle_seen: 0,
            look_up: None,
            error: None,
        };
        self.mission_mut(mission).attempts.insert(id, attempt);
        id
    }

    /// Sets an attempt going that has just got its token.
    pub(crate) fn admit(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let limits = self.limits.clone();
        let mission = self.mission_mut(mission_id);
        let attempt = mission.attempts.get_mut(&id).expect("the scheduler chose a queued attempt");
        attempt.heard(now, &limits);
        if let Some(task) = attempt.subject.worker_task() {
            let task = mission.tasks.get_mut(task).expect("an attempt's task is in the plan");
            // A session that knows nothing is told what those before it have changed.
            let is_stale = task.tries > 0 && attempt.session.is_none();
            task.start(now, id);
            if task.before.is_none() || is_stale {
                return self.take_snapshot(mission_id, id);
            }
        }
        self.open_or_prompt(now, mission_id, id);
    }

    pub(crate) fn take_snapshot(&mut self, mission_id: MissionId, id: AttemptId) {
        let effect = self.effect_id();
        let mission = self.mission_mut(mission_id);
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        attempt.turn = Turn::Snapshotting { effect };
        let task = attempt.subject.worker_task().and_then(|task| mission.tasks.get(task));
        let lease = task.expect("only a worker's files are hashed").spec.files.clone();
        self.emit(Effect::TakeSnapshot { effect, lease });
    }

    pub(crate) fn open_or_prompt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        if self.missions[&mission_id].attempts[&id].session.is_some() {
            self.send_prompt(now, mission_id, id);
        } else {
            self.open(now, mission_id, id);
        }
    }

    pub(crate) fn open(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        // The fence: however the attempt came here, what rests, ends or has spent its budget launches nothing.
        if !self.may_launch(now, mission_id, id) {
            return self.rest_attempt(now, mission_id, id);
        }
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

    pub(crate) fn send_prompt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        // The fence: however the attempt came here, what rests, ends or has spent its budget launches nothing.
        if !self.may_launch(now, mission_id, id) {
            return self.rest_attempt(now, mission_id, id);
        }
        let effect = self.effect_id();
        let limits = self.limits.clone();
        let agents = self.agents.clone();
        let mission = self.mission_mut(mission_id);
        let text = prompt::text(mission, &mission.attempts[&id]);
        let root = mission.root.clone();
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        let Some(session) = attempt.session.clone() else { return };
        attempt.turn = Turn::Prompting { effect };
        // An answer about an earlier prompt says nothing of this one.
        attempt.look_up = None;
        attempt.unfinished = 0;
        attempt.failing = None;
        attempt.permissions.clear();
        attempt.not_allowed = None;
        attempt.heard(now, &limits);
        let agent = prompt::agent(&agents, attempt.role());
        mission.prompts += 1;
        let model = attempt.token.as_ref().and_then(|token| token.model().cloned());
        self.emit(Effect::Prompt { effect, root, session, agent, model, text });
    }

    pub(crate) fn send_again(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, say: Say) {
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
        Self { subject, say: Say::Start { after: None }, session: None, recoveries: 0, not_before: None }
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

    /// The sessions in which a turn is under way, as far as is known.
    #[must_use]
    pub fn sessions_at_work(&self) -> Vec<SessionId> {
        let attempts = self.missions.values().flat_map(|mission| mission.attempts.values());
        attempts
            .filter(|attempt| attempt.is_at_work())
            .filter_map(|attempt| attempt.session.clone())
            .collect()
    }

    /// The mission in which this session had a part that is over.
    pub(crate) fn former_attempt(&self, session: &SessionId) -> Option<MissionId> {
        let found = self.missions.values().find(|mission| mission.sessions.contains(session));
        found.map(|mission| mission.id).or_else(|| self.former.get(session).copied())
    }

    pub(crate) fn find_session(&self, session: &SessionId) -> Option<(MissionId, AttemptId)> {
        self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt =
                mission.attempts.values().find(|attempt| attempt.session.as_ref() == Some(session))?;
            Some((*mission_id, attempt.id))
        })
    }

    pub(crate) fn find(&self, is: impl Fn(&Turn) -> bool) -> Option<(MissionId, AttemptId)> {
        self.missions.iter().find_map(|(mission_id, mission)| {
            let attempt = mission.attempts.values().find(|attempt| is(&attempt.turn))?;
            Some((*mission_id, attempt.id))
        })
    }

    pub(crate) fn attempt_mut(&mut self, mission: MissionId, id: AttemptId) -> &mut Attempt {
        self.mission_mut(mission).attempts.get_mut(&id).expect("the caller holds a live attempt's id")
    }
}
