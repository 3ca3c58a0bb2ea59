//! Sessions of attempts: outcomes of effects that come late, twice or never, model requests, the ends of turns, aborts.
//!
//! A host that was restarted underneath, a session that runs away or hangs: whatever is unknown is looked up before it
//! is repeated.

use serde_json::Value;

use crate::attempt::{AfterAbort, Failing, Permission, Say, Turn};
use crate::event::{HostError, ToolFailure, TurnFacts};
use crate::mission::Stage;
use crate::prompt::{self, blank_tool};
use crate::recovery::{Class, Failure};
use crate::task::STAGNANT_MOST;
use crate::{AttemptId, Effect, EffectId, Engine, Handled, Ignored, Level, Millis, MissionId, SessionId};

/// Model requests that a session may still make after its blank was taken: one to say so, two to spare.
const STEPS_AFTER_SUBMISSION: u64 = 3;
/// Time between two look-ups of a session that seems to rest without having finished.
const SECOND_LOOK_MS: Millis = 1_000;
/// Refusals of one permission before the session is aborted that does not heed them.
const REFUSALS_MOST: u64 = 3;

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
            if task.before.is_none() {
                task.before = Some(snapshot);
            } else {
                task.take_checkpoint(snapshot);
                if task.stagnant > STAGNANT_MOST {
                    let reason = task.standstill();
                    let task = task.id();
                    self.mission_mut(mission_id).attempts.remove(&id);
                    self.block(mission_id, &task, reason);
                    return Handled::Changed;
                }
            }
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
    pub(crate) fn prompt_taken(&mut self, mission_id: MissionId, id: AttemptId) {
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
            return match self.root_aborted(now, effect) {
                true => Handled::Changed,
                false => Handled::Ignored(Ignored::StaleEffect),
            };
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
            // A stop goes on without what could not be ended.
            if self.root_aborted(now, effect)
                || self.commands_killed(now, effect, Vec::new()) == Handled::Changed
            {
                return Handled::Changed;
            }
            return self.check_failed(now, effect, error);
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
        let mission = &self.missions[&mission_id];
        let under_way = mission.is_under_way();
        // A session that would not die is not taken up again, though it carries the attempt's number.
        let is_fenced = |session: &SessionId| mission.survivors.contains(session);
        let session = session.filter(|session| !is_fenced(session));
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

// Model requests, and the ends of turns.
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
        if steps >= most && attempt.is_at_work() {
            let then = attempt.after_abort(Failure::Unfinished { steps });
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    pub(crate) fn retry_scheduled(
        &mut self,
        now: Millis,
        session: &SessionId,
        message: String,
        wait_ms: Millis,
    ) -> Handled {
        let limits = self.limits.clone();
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        if !attempt.is_at_work() {
            return Handled::Ignored(Ignored::OutOfTurn);
        }
        attempt.heard(now, &limits);
        if wait_ms > limits.retry_after_ms {
            let then = attempt.after_abort(Failure::Parked { message, wait_ms });
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    /// Only one error has to be met before the turn's end: the host would compact the conversation and meet it again.
    pub(crate) fn session_erred(&mut self, now: Millis, session: &SessionId, error: HostError) -> Handled {
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        if error.class() != Class::Overflow || !attempt.is_at_work() {
            return Handled::Ignored(Ignored::OutOfTurn);
        }
        let then = attempt.after_abort(Failure::Host { error });
        self.abort(now, mission_id, id, then);
        Handled::Changed
    }

    pub(crate) fn tool_called(&mut self, now: Millis, session: &SessionId, tool: &str) -> Handled {
        let limits = self.limits.clone();
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        attempt.calls += 1;
        attempt.heard(now, &limits);
        let calls = attempt.calls;
        // The blank is still taken: with it the attempt has what it was for.
        if calls > limits.tool_calls_per_attempt
            && attempt.is_at_work()
            && blank_tool(&attempt.subject) != Some(tool)
        {
            let then = attempt.after_abort(Failure::ToolCalls { calls });
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    pub(crate) fn tool_ended(
        &mut self,
        now: Millis,
        session: &SessionId,
        tool: &str,
        failure: Option<&ToolFailure>,
    ) -> Handled {
        let most = self.limits.same_errors;
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        let Some(failure) = failure else {
            return match attempt.failing.take() {
                Some(_) => Handled::Changed,
                None => Handled::Ignored(Ignored::OutOfTurn),
            };
        };
        let fingerprint = failure.fingerprint(tool);
        let last = attempt.failing.take().filter(|failing| failing.fingerprint == fingerprint);
        let times = last.map_or(0, |failing| failing.times) + 1;
        attempt.failing = Some(Failing { fingerprint: fingerprint.clone(), times });
        if times >= most && attempt.is_at_work() {
            let error = failure.text(tool);
            let then = attempt.after_abort(Failure::SameCalls { error, times, fingerprint });
            self.abort(now, mission_id, id, then);
        }
        Handled::Changed
    }

    pub(crate) fn permission_asked(
        &mut self,
        now: Millis,
        session: &SessionId,
        permission: String,
        what: String,
    ) -> Handled {
        let until = now + self.limits.permission_ms;
        let seconds = self.limits.permission_ms / 1_000;
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let mission = self.mission_mut(mission_id);
        let attempt = mission.attempts.get_mut(&id).expect("found just now");
        if !attempt.is_at_work() || attempt.permissions.contains_key(&permission) {
            return Handled::Ignored(Ignored::OutOfTurn);
        }
        let text = format!(
            "{} asks: may it {what}? Without an answer it is refused in {seconds} s.",
            prompt::title(mission, &mission.attempts[&id])
        );
        let asked = Permission { what, until, refusals: 0 };
        self.attempt_mut(mission_id, id).permissions.insert(permission, asked);
        self.toast(mission_id, Level::Warning, text);
        Handled::Changed
    }

    pub(crate) fn permission_answered(
        &mut self,
        now: Millis,
        session: &SessionId,
        permission: &str,
        allowed: bool,
    ) -> Handled {
        let limits = self.limits.clone();
        let Some((mission_id, id)) = self.find_session(session) else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let attempt = self.attempt_mut(mission_id, id);
        let Some(asked) = attempt.permissions.remove(permission) else {
            return Handled::Ignored(Ignored::OutOfTurn);
        };
        if !allowed {
            attempt.not_allowed = Some(asked.what);
        }
        attempt.heard(now, &limits);
        Handled::Changed
    }

    /// Refuses what nobody has answered in time. A session that hears of no refusal is aborted.
    fn refuse_permissions(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let limits = self.limits.clone();
        let again_ms = limits.sweep_ms;
        let attempt = self.attempt_mut(mission_id, id);
        attempt.wait(now, &limits);
        let Some(session) = attempt.session.clone() else { return };
        let mut refused = Vec::new();
        for (permission, asked) in attempt.permissions.iter_mut().filter(|(_, asked)| asked.until <= now) {
            if asked.refusals >= REFUSALS_MOST {
                let then = AfterAbort::Fail { failure: Failure::NotAllowed { what: asked.what.clone() } };
                return self.abort(now, mission_id, id, then);
            }
            asked.refusals += 1;
            asked.until = now + again_ms;
            refused.push((permission.clone(), asked.what.clone()));
        }
        for (permission, what) in refused {
            // It may be that only the end of the turn is told.
            self.attempt_mut(mission_id, id).not_allowed = Some(what);
            self.emit(Effect::RefusePermission { session: session.clone(), permission });
        }
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
}

// Aborts, and the passing of time.
impl Engine {
    /// Aborts the session of an attempt, or ends it at once where there is none.
    pub(crate) fn abort(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, then: AfterAbort) {
        let effect = self.effect_id();
        let (limits, until) = (self.limits.clone(), now + self.limits.stop_ms);
        let attempt = self.attempt_mut(mission_id, id);
        attempt.turn = Turn::Aborting { effect, until, then };
        attempt.look_up = None;
        attempt.permissions.clear();
        attempt.heard(now, &limits);
        match attempt.session.clone() {
            Some(session) => self.emit(Effect::AbortSession { effect, session }),
            None => self.after_abort(now, mission_id, id),
        }
    }

    pub(crate) fn after_abort(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let attempt = self.attempt_mut(mission_id, id);
        let Turn::Aborting { then, .. } = attempt.turn.clone() else { return };
        match then {
            AfterAbort::Fail { failure } => self.fail(now, mission_id, id, failure),
            AfterAbort::Submitted => self.finish(now, mission_id, id),
            AfterAbort::Rest => self.rest_attempt(now, mission_id, id),
            then @ (AfterAbort::Cancel | AfterAbort::Block { .. }) => self.left(mission_id, id, then),
            AfterAbort::Lost => drop(self.mission_mut(mission_id).attempts.remove(&id)),
        }
    }

    /// Takes an attempt out of the running: a mission that is paused, or has been resumed meanwhile, keeps it queued
    /// with its session; one that is ending drops it.
    pub(crate) fn rest_attempt(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let mission = self.mission_mut(mission_id);
        let under_way = mission.is_under_way();
        let attempt = mission.attempts.get_mut(&id).expect("the caller holds a live attempt's id");
        let is_ending = !under_way && !matches!(mission.stage, Stage::Paused { .. });
        if is_ending || attempt.subject.is_reading() {
            mission.attempts.remove(&id);
            return;
        }
        attempt.requeue(now);
        attempt.look_up = None;
        if under_way && attempt.submission.is_some() {
            self.finish(now, mission_id, id);
        }
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
                Turn::Prompting { .. } | Turn::Working { .. }
                    if attempt.permissions.values().any(|asked| asked.until <= now) =>
                {
                    self.refuse_permissions(now, mission_id, id);
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
