//! Pausing and stopping: no new work, sessions aborted, and no end before the last of them has ended.
//!
//! A stop goes by steps, each with a deadline of `stopMs`: the fence (from the first moment no tool may be called), the
//! turn that follows the mission, its sessions and checks, what their commands left running. What would not die is named.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::attempt::AfterAbort;
use crate::event::Interruption;
use crate::{
    Answer, AttemptId, Checks, Effect, EffectId, Engine, Handled, Ignored, Level, Millis, MissionId, Outcome,
    PauseReason, RequestId, SessionId, Stage, Task, TaskState, Turn, report,
};

impl Engine {
    pub(crate) fn interrupted(&mut self, now: Millis, session: &SessionId, cause: Interruption) -> Handled {
        let Interruption::User = cause;
        let found =
            self.missions.values().find(|mission| mission.follower == *session && mission.is_under_way());
        let Some(id) = found.map(|mission| mission.id) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        self.pause(id, PauseReason::Interrupted);
        self.rest_attempts(now, id);
        Handled::Changed
    }

    pub(crate) fn pause(&mut self, id: MissionId, reason: PauseReason) {
        let mission = self.mission_mut(id);
        let running = mission.checks();
        mission.stage = Stage::Paused { reason, phase: mission.phase() };
        if let Some(Checks { effect, .. }) = running {
            self.emit(Effect::CancelChecks { effect });
        }
        self.report_mission(id, Outcome::Paused, Level::Warning);
    }

    /// Ends what the mission's sessions do. What cannot be ended at once is ended by its outcome.
    pub(crate) fn rest_attempts(&mut self, now: Millis, id: MissionId) {
        let live: Vec<_> =
            self.missions[&id].attempts.values().map(|attempt| (attempt.id, attempt.turn.clone())).collect();
        let paused = matches!(self.missions[&id].stage, Stage::Paused { .. });
        for (attempt, turn) in live {
            match turn {
                Turn::Queued { .. } | Turn::Opening { .. } if paused => {}
                Turn::Snapshotting { .. } if paused => self.put_back(id, attempt),
                // A session that is created all the same is never prompted.
                Turn::Queued { .. } | Turn::Snapshotting { .. } | Turn::Opening { .. } => {
                    self.rest_attempt(now, id, attempt);
                }
                Turn::Prompting { .. } | Turn::Working { .. } => {
                    self.abort(now, id, attempt, AfterAbort::Rest);
                }
                // A task that is given up stays so, and so does a lost race.
                Turn::Aborting {
                    then: AfterAbort::Cancel | AfterAbort::Block { .. } | AfterAbort::Lost,
                    ..
                } => {}
                Turn::Aborting { .. } => self.then_instead(id, attempt, AfterAbort::Rest),
            }
        }
    }

    /// Ends an attempt whatever it is at, for its task to be given up or blocked. A session at work keeps the lease
    /// until it has ended.
    pub(crate) fn leave(&mut self, now: Millis, id: MissionId, attempt: AttemptId, then: AfterAbort) {
        match self.missions[&id].attempts[&attempt].turn {
            Turn::Queued { .. } | Turn::Snapshotting { .. } | Turn::Opening { .. } => {
                self.left(id, attempt, then);
            }
            Turn::Prompting { .. } | Turn::Working { .. } => self.abort(now, id, attempt, then),
            Turn::Aborting { .. } => self.then_instead(id, attempt, then),
        }
    }

    /// What follows when the session of such an attempt has ended.
    pub(crate) fn left(&mut self, id: MissionId, attempt: AttemptId, then: AfterAbort) {
        let mission = self.mission_mut(id);
        let Some(attempt) = mission.attempts.remove(&attempt) else { return };
        let Some(task_id) = attempt.subject.task() else { return };
        match then {
            AfterAbort::Block { reason } => self.block(id, task_id, reason),
            AfterAbort::Cancel
            | AfterAbort::Fail { .. }
            | AfterAbort::Submitted
            | AfterAbort::Rest
            | AfterAbort::Lost => {
                if let Some(task) = mission.tasks.get_mut(task_id) {
                    task.state = TaskState::Cancelled;
                }
            }
        }
    }

    fn then_instead(&mut self, id: MissionId, attempt: AttemptId, instead: AfterAbort) {
        if let Turn::Aborting { then, .. } = &mut self.attempt_mut(id, attempt).turn {
            *then = instead;
        }
    }

    /// Puts a worker back into the queue whose files are being hashed. Before the first attempt none has been touched.
    pub(crate) fn put_back(&mut self, id: MissionId, attempt_id: AttemptId) {
        let now = self.now;
        let mission = self.mission_mut(id);
        let attempt = mission.attempts.get_mut(&attempt_id).expect("the caller holds a live attempt's id");
        attempt.requeue(now);
        if let Some(task) = attempt.subject.worker_task().and_then(|task| mission.tasks.get_mut(task))
            && task.before.is_none()
        {
            task.state = TaskState::Ready { attempt: attempt_id };
        }
    }

    pub(crate) fn stop_requested(&mut self, now: Millis, request: RequestId, session: &SessionId) -> Handled {
        let id = match self.mission_for(session) {
            Ok(id) => id,
            Err(text) => {
                self.reply(request, Answer::Refused { code: "NO_MISSION".into(), text });
                return Handled::Ignored(Ignored::Refused);
            }
        };
        let mission = self.mission_mut(id);
        if let Stage::Stopping { requests, .. } = &mut mission.stage {
            requests.push(request);
            return Handled::Changed;
        }
        let checks: BTreeSet<_> = mission
            .tasks
            .values()
            .filter_map(Task::checks)
            .chain(mission.checks())
            .map(|checks| checks.effect)
            .collect();
        for task in mission.tasks.values_mut().filter(|task| task.state != TaskState::Done) {
            task.state = TaskState::Cancelled;
        }
        for &effect in &checks {
            self.emit(Effect::CancelChecks { effect });
        }
        self.forget_notices(id);
        let follower = self.missions[&id].follower.clone();
        // A stop from the session that follows the mission is a part of its turn, and ends it with its answer.
        let root = (follower != *session).then(|| self.effect_id());
        let ending = match root {
            Some(effect) => {
                self.emit(Effect::AbortSession { effect, session: follower });
                Ending::Root { effect, checks }
            }
            None => Ending::Tree { checks },
        };
        let until = now + self.limits.stop_ms;
        self.mission_mut(id).stage = Stage::Stopping { requests: vec![request], ending, until };
        if root.is_none() {
            self.rest_attempts(now, id);
        }
        Handled::Changed
    }

    /// Notes that the turn of the session that follows a stopping mission has ended, or will not. Gives whether there is
    /// such a mission.
    pub(crate) fn root_aborted(&mut self, now: Millis, aborted: EffectId) -> bool {
        let is_it = |ending: &Ending| matches!(ending, Ending::Root { effect, .. } if *effect == aborted);
        let Some(id) = self.stopping(is_it) else { return false };
        self.end_tree(now, id);
        true
    }

    /// Notes that cancelled checks have ended. Gives whether a stopping mission waited for them.
    pub(crate) fn stopped_checks_ended(&mut self, ended: EffectId) -> bool {
        let has = |ending: &Ending| ending.checks().is_some_and(|checks| checks.contains(&ended));
        let Some(id) = self.stopping(has) else { return false };
        if let Stage::Stopping { ending: Ending::Root { checks, .. } | Ending::Tree { checks }, .. } =
            &mut self.mission_mut(id).stage
        {
            checks.remove(&ended);
        }
        true
    }

    pub(crate) fn commands_killed(&mut self, now: Millis, killed: EffectId, alive: Vec<u32>) -> Handled {
        let is_it = |ending: &Ending| matches!(ending, Ending::Commands { effect } if *effect == killed);
        let Some(id) = self.stopping(is_it) else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        self.mission_mut(id).leftovers = alive;
        self.stopped(now, id);
        Handled::Changed
    }

    fn stopping(&self, is_it: impl Fn(&Ending) -> bool) -> Option<MissionId> {
        let found = self
            .missions
            .values()
            .find(|mission| matches!(&mission.stage, Stage::Stopping { ending, .. } if is_it(ending)));
        found.map(|mission| mission.id)
    }

    /// Ends the sessions of a mission whose root no longer works.
    fn end_tree(&mut self, now: Millis, id: MissionId) {
        let stop_until = now + self.limits.stop_ms;
        if let Stage::Stopping { ending, until, .. } = &mut self.mission_mut(id).stage
            && let Ending::Root { checks, .. } = ending
        {
            *ending = Ending::Tree { checks: std::mem::take(checks) };
            *until = stop_until;
        }
        self.rest_attempts(now, id);
    }

    /// Has killed what the mission's commands left running. Gives the number of the outcome.
    pub(crate) fn kill_commands(&mut self, id: MissionId) -> EffectId {
        let effect = self.effect_id();
        let sessions = self.missions[&id].sessions.iter().cloned().collect();
        self.emit(Effect::KillCommands { effect, mission: id, sessions });
        effect
    }

    /// Takes a stop further when no session and no check is left.
    pub(crate) fn advance_stop(&mut self, now: Millis, id: MissionId) {
        let mission = &self.missions[&id];
        let Stage::Stopping { ending: Ending::Tree { checks }, .. } = &mission.stage else { return };
        if !mission.attempts.is_empty() || !checks.is_empty() {
            return;
        }
        let effect = self.kill_commands(id);
        let stop_until = now + self.limits.stop_ms;
        if let Stage::Stopping { ending, until, .. } = &mut self.mission_mut(id).stage {
            *ending = Ending::Commands { effect };
            *until = stop_until;
        }
    }

    /// Goes on with a stop whose present step takes too long. Gives whether there was one.
    pub(crate) fn stop_due(&mut self, now: Millis, id: MissionId) -> bool {
        let stop_until = now + self.limits.stop_ms;
        let Stage::Stopping { ending, until, .. } = &mut self.mission_mut(id).stage else { return false };
        if *until > now {
            return false;
        }
        match ending {
            Ending::Root { .. } => self.end_tree(now, id),
            // The sessions have deadlines of their own. What checks leave behind is killed in the next step.
            Ending::Tree { checks } => {
                checks.clear();
                *until = stop_until;
            }
            Ending::Commands { .. } => self.stopped(now, id),
        }
        true
    }

    /// Carries a stop on in a new process, in which no check runs.
    pub(crate) fn recover_stop(&mut self, now: Millis, id: MissionId) {
        let (follower, stop_until) = (self.missions[&id].follower.clone(), now + self.limits.stop_ms);
        let Stage::Stopping { ending, until, .. } = &mut self.mission_mut(id).stage else { return };
        *until = stop_until;
        match ending {
            Ending::Root { effect, checks } => {
                checks.clear();
                let effect = *effect;
                self.emit(Effect::AbortSession { effect, session: follower });
            }
            Ending::Tree { checks } => checks.clear(),
            Ending::Commands { .. } => {
                let effect = self.kill_commands(id);
                if let Stage::Stopping { ending, .. } = &mut self.mission_mut(id).stage {
                    *ending = Ending::Commands { effect };
                }
            }
        }
    }

    /// Ends a stop, and answers those who asked for it.
    fn stopped(&mut self, now: Millis, id: MissionId) {
        let Stage::Stopping { requests, .. } = &self.missions[&id].stage else { return };
        let requests = requests.clone();
        self.end(now, id, Stage::Stopped, Outcome::Stopped, Level::Warning);
        let text = report::report(&self.missions[&id]);
        for request in requests {
            self.reply(request, Answer::Accepted { mission: Some(id), text: text.clone() });
        }
    }
}

/// What a stop waits for, one after the other; nothing new has been launched since it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Ending {
    /// The turn in which the mission is followed; checks end meanwhile.
    Root { effect: EffectId, checks: BTreeSet<EffectId> },
    /// The sessions, each with a deadline of its own, and checks.
    Tree { checks: BTreeSet<EffectId> },
    /// What commands left running.
    Commands { effect: EffectId },
}

impl Ending {
    fn checks(&self) -> Option<&BTreeSet<EffectId>> {
        match self {
            Self::Root { checks, .. } | Self::Tree { checks } => Some(checks),
            Self::Commands { .. } => None,
        }
    }
}
