//! Races: several sessions at one subject, of which the first accepted result counts.
//!
//! Only what reads is raced: planners, and the reviewers of a task. Two workers at one task would hold one lease and
//! write over each other.

use crate::attempt::{AfterAbort, NewAttempt, Subject, Turn};
use crate::{Attempt, AttemptId, Engine, Millis, Mission, MissionId, Phase, Stage, TaskState};

impl Engine {
    /// Puts as many attempts at one subject into the queue as are to race. Gives the first, for which a task waits.
    pub(crate) fn queue_race(&mut self, id: MissionId, first: NewAttempt, racers: u64) -> AttemptId {
        let subject = first.subject.clone();
        let leader = self.queue(id, first);
        for _ in 1..racers {
            self.queue(id, NewAttempt::fresh(subject.clone()));
        }
        leader
    }

    /// An attempt at the subject came to nothing. Gives whether others are still in the race; then a task waits for
    /// the first of them.
    pub(crate) fn hand_over(&mut self, id: MissionId, subject: &Subject) -> bool {
        let mission = self.mission_mut(id);
        let rival = mission.attempts.values().find(|rival| rival.subject == *subject && !rival.has_lost());
        let Some(rival) = rival.map(|rival| rival.id) else { return false };
        if let Some(task) = subject.task().and_then(|task| mission.tasks.get_mut(task))
            && let TaskState::Reviewing { attempt } = &mut task.state
        {
            *attempt = rival;
        }
        true
    }

    /// Whether another attempt has given what this one, which has just ended, was for. Counts the lost race.
    pub(crate) fn is_beaten(&mut self, id: MissionId, attempt: &Attempt) -> bool {
        let mission = self.mission_mut(id);
        let is_beaten = !mission.wants(attempt);
        mission.counters.races_lost += u64::from(is_beaten);
        is_beaten
    }

    /// Ends the attempts that nobody waits for any more: those that lost a race, and those that read ahead for work
    /// that is finished.
    pub(crate) fn end_strays(&mut self, now: Millis, id: MissionId) {
        let mission = &self.missions[&id];
        let strays: Vec<_> = mission
            .attempts
            .values()
            .filter(|attempt| !attempt.has_lost() && !mission.wants(attempt))
            .map(|attempt| attempt.id)
            .collect();
        for stray in strays {
            self.lose(now, id, stray);
        }
    }

    /// Ends an attempt of which nothing is wanted: its session is fenced at once, and its token comes back when the
    /// session has ended.
    pub(super) fn lose(&mut self, now: Millis, id: MissionId, attempt_id: AttemptId) {
        let mission = self.mission_mut(id);
        let attempt = mission.attempts.get_mut(&attempt_id).expect("the caller holds a live attempt's id");
        mission.counters.races_lost += u64::from(!attempt.subject.is_reading());
        match &mut attempt.turn {
            Turn::Queued { .. } => drop(mission.attempts.remove(&attempt_id)),
            Turn::Aborting { then, .. } => *then = AfterAbort::Lost,
            Turn::Snapshotting { .. }
            | Turn::Opening { .. }
            | Turn::Prompting { .. }
            | Turn::Working { .. } => {
                self.abort(now, id, attempt_id, AfterAbort::Lost);
            }
        }
    }
}

impl Attempt {
    /// Whether nothing is wanted of it but that its session ends.
    pub(crate) fn has_lost(&self) -> bool {
        matches!(self.turn, Turn::Aborting { then: AfterAbort::Lost, .. })
    }
}

impl Mission {
    /// Whether someone waits for what the attempt gives.
    fn wants(&self, attempt: &Attempt) -> bool {
        let state = |task| self.tasks.get(task).map(|task| &task.state);
        match &attempt.subject {
            Subject::Plan => {
                matches!(self.stage, Stage::Planning | Stage::Paused { phase: Phase::Planning, .. })
            }
            Subject::Review { task } => matches!(state(task), Some(TaskState::Reviewing { .. })),
            Subject::Reading { task } => {
                matches!(state(task), Some(TaskState::Running { .. } | TaskState::Checking(_)))
            }
            Subject::Task { .. } | Subject::Master => true,
        }
    }
}
