//! Reading ahead: while a worker works and slots are idle, a reviewer reads the code around the task. When the work is
//! there, the review goes on in that session, which knows the place already.
//!
//! Off unless `proactive` is set. It takes what nobody else wants: it never waits in a queue, leaves one session free
//! under every cap, and gives its slot back as soon as other work has to wait.

use crate::attempt::{NewAttempt, Subject};
use crate::question::Role;
use crate::{Attempt, AttemptId, Engine, Millis, MissionId, Task, TaskId, TaskState};

use super::{Choice, Held, Obstacle, is_waiting};

impl Engine {
    /// Starts to read ahead where nothing else wants the slot, or gives one back that something else wants. Gives
    /// whether one has come free at once, as that of a session which had not been created.
    pub(super) fn read_ahead(&mut self, now: Millis) -> bool {
        if self.is_short(now) {
            let Some((mission, reading)) = self.newest_reading() else { return false };
            self.lose(now, mission, reading);
            return !self.missions[&mission].attempts.contains_key(&reading);
        }
        while let Some((mission, task)) = self.next_to_read() {
            let Some(choice) = self.reading_slot(mission) else { return false };
            let attempt = self.queue(mission, NewAttempt::fresh(Subject::Reading { task: task.clone() }));
            let of = self.mission_mut(mission);
            of.counters.readings += 1;
            of.tasks.get_mut(&task).expect("found just now").was_read = true;
            self.grant(now, Choice { attempt, ..choice });
        }
        false
    }

    /// Whether an attempt waits for nothing but a slot or a cap.
    fn is_short(&self, now: Millis) -> bool {
        let held = self.held();
        let mut waiting = self.live().filter(|(mission, attempt)| is_waiting(mission, attempt));
        waiting.any(|(mission, attempt)| {
            matches!(self.obstacle(now, &held, mission, attempt), None | Some(Obstacle::Cap { .. }))
        })
    }

    fn newest_reading(&self) -> Option<(MissionId, AttemptId)> {
        let readings = self.live().filter(|(_, attempt)| attempt.subject.is_reading() && !attempt.has_lost());
        readings.map(|(mission, attempt)| (mission.id, attempt.id)).max_by_key(|(_, attempt)| *attempt)
    }

    /// The first task at work for which nobody has read ahead.
    fn next_to_read(&self) -> Option<(MissionId, TaskId)> {
        if !self.scheduler.scheduling.proactive || self.scheduler.memory.is_some() {
            return None;
        }
        let missions = self.missions.values().filter(|mission| mission.is_under_way());
        missions.into_iter().find_map(|mission| {
            let is_unread = |task: &Task| {
                let is_at_work = matches!(task.state, TaskState::Running { attempt }
                    if mission.attempts.get(&attempt).is_some_and(Attempt::holds_slot));
                is_at_work && !task.was_read
            };
            let (task, _) = mission.tasks.iter().find(|(_, task)| is_unread(task))?;
            Some((mission.id, task.clone()))
        })
    }

    /// A reviewer's slot, if one more session after it would still fit everywhere.
    fn reading_slot(&mut self, id: MissionId) -> Option<Choice> {
        let mission = &self.missions[&id];
        let model = self.model_of(mission, Role::Reviewer);
        if model.as_ref().is_some_and(|model| self.scheduler.breakers.contains_key(model)) {
            return None;
        }
        let mut held = self.held();
        let slot = self.free_slot(&held, Role::Reviewer)?;
        let size = self.scheduler.lanes[&Role::Reviewer].size();
        held.add(Role::Reviewer, slot, model.as_ref(), false);
        if Held::of(&held.lanes, Role::Reviewer) >= size
            || self.cap(&held, Role::Reviewer, model.as_ref()).is_some()
        {
            return None;
        }
        Some(Choice { mission: id, attempt: AttemptId(0), slot, model, is_local: false, is_stolen: false })
    }

    /// A session has read ahead: the review of the task goes on in it.
    pub(crate) fn reading_ended(&mut self, id: MissionId, attempt: Attempt) {
        let Subject::Reading { task } = &attempt.subject else { return };
        let mission = self.mission_mut(id);
        let Some(task) = mission.tasks.get_mut(task) else { return };
        task.reading = attempt.session.map(|session| (session, attempt.prompts));
    }
}
