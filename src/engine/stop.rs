//! Pausing and stopping: no new work, sessions aborted, and no end before the last of them has ended.

use crate::attempt::AfterAbort;
use crate::event::Interruption;
use crate::{
    Answer, AttemptId, Checks, Effect, Engine, Handled, Ignored, Level, Millis, MissionId, Outcome,
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
    fn rest_attempts(&mut self, now: Millis, id: MissionId) {
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
                Turn::Aborting { .. } => {
                    if let Turn::Aborting { then, .. } = &mut self.attempt_mut(id, attempt).turn {
                        *then = AfterAbort::Rest;
                    }
                }
            }
        }
    }

    /// Puts a worker back into the queue whose files are being hashed. Before the first attempt none has been touched.
    pub(crate) fn put_back(&mut self, id: MissionId, attempt_id: AttemptId) {
        let mission = self.mission_mut(id);
        let attempt = mission.attempts.get_mut(&attempt_id).expect("the caller holds a live attempt's id");
        attempt.turn = Turn::Queued { not_before: None };
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
        if let Stage::Stopping { requests } = &mut mission.stage {
            requests.push(request);
            return Handled::Changed;
        }
        let running: Vec<_> =
            mission.tasks.values().filter_map(Task::checks).chain(mission.checks()).collect();
        mission.stage = Stage::Stopping { requests: vec![request] };
        for task in mission.tasks.values_mut().filter(|task| task.state != TaskState::Done) {
            task.state = TaskState::Cancelled;
        }
        for Checks { effect, .. } in running {
            self.emit(Effect::CancelChecks { effect });
        }
        self.rest_attempts(now, id);
        Handled::Changed
    }

    /// Ends a stop when no session is left, and answers those who asked for it.
    pub(crate) fn end_stop(&mut self, now: Millis, id: MissionId) {
        let mission = &self.missions[&id];
        let Stage::Stopping { requests } = &mission.stage else { return };
        if !mission.attempts.is_empty() {
            return;
        }
        let requests = requests.clone();
        self.end(now, id, Stage::Stopped, Outcome::Stopped, Level::Warning);
        let text = report::report(&self.missions[&id]);
        for request in requests {
            self.reply(request, Answer::Accepted { mission: Some(id), text: text.clone() });
        }
    }
}
