//! Which waiting attempt is next: lanes of slots per role, a cap on all, and leases that must be free.
//!
//! Slots and leases are not counted but read off the attempts and tasks that hold them, so that none can leak.

use crate::question::Role;
use crate::{
    Attempt, AttemptId, Engine, Limits, Millis, Mission, MissionId, Priority, Task, TaskState, Turn, lease,
};

impl Engine {
    /// Gives free slots to waiting attempts until none fits. Where a new process has fewer slots than are held, none
    /// is given before enough have come free.
    pub(crate) fn admit_all(&mut self, now: Millis) {
        while let Some((mission, attempt)) = self.next_attempt() {
            self.admit(now, mission, attempt);
        }
    }

    /// The slots of the role's lane that are held.
    #[must_use]
    pub fn slots_held(&self, role: Role) -> u64 {
        self.live().filter(|(_, attempt)| attempt.role() == role && attempt.holds_slot()).count() as u64
    }

    fn live(&self) -> impl Iterator<Item = (&Mission, &Attempt)> {
        self.missions
            .values()
            .flat_map(|mission| mission.attempts.values().map(move |attempt| (mission, attempt)))
    }

    /// The waiting attempt that is admitted next: reviews before work before plans, what has begun before what has
    /// not, then by priority, then the oldest.
    fn next_attempt(&self) -> Option<(MissionId, AttemptId)> {
        if !self.live().any(|(mission, attempt)| is_waiting(mission, attempt)) {
            return None;
        }
        let lanes = [Role::Reviewer, Role::Worker, Role::Planner].map(|role| (role, self.slots_held(role)));
        if lanes.iter().map(|(_, held)| held).sum::<u64>() >= self.limits.sessions {
            return None;
        }
        lanes.into_iter().filter(|(role, held)| *held < role.slots(&self.limits)).find_map(|(role, _)| {
            self.live()
                .filter(|(_, attempt)| attempt.role() == role)
                .filter(|(mission, attempt)| self.is_admissible(mission, attempt))
                .min_by_key(|(mission, attempt)| order(mission, attempt))
                .map(|(mission, attempt)| (mission.id, attempt.id))
        })
    }

    /// What a task that is not in hand waits for.
    pub(crate) fn wait_of(&self, mission: &Mission, task: &Task) -> Option<String> {
        match &task.state {
            TaskState::Pending => {
                let unfinished =
                    task.spec.depends_on.iter().filter(|id| {
                        mission.tasks.get(id.as_str()).is_some_and(|before| !before.is_finished())
                    });
                Some(unfinished.cloned().collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
            }
            TaskState::Ready { .. } => {
                let holder = task.spec.files.iter().find_map(|file| {
                    let (holder, name) = self.holder_of(file)?;
                    Some(format!("{file}, which {name} of {} holds", holder.id))
                });
                Some(holder.unwrap_or_else(|| "a slot".into()))
            }
            TaskState::Checking(_) => Some("its checks".into()),
            TaskState::Running { .. }
            | TaskState::Reviewing { .. }
            | TaskState::Done
            | TaskState::Blocked { .. }
            | TaskState::Cancelled => None,
        }
    }

    fn is_admissible(&self, mission: &Mission, attempt: &Attempt) -> bool {
        if !is_waiting(mission, attempt) {
            return false;
        }
        let Some(task) = attempt.subject.worker_task().and_then(|task| mission.tasks.get(task)) else {
            return true;
        };
        // A task that has begun holds its lease already.
        task.holds_lease() || !self.overlaps_a_lease(&task.spec.files)
    }

    fn overlaps_a_lease(&self, files: &[String]) -> bool {
        self.missions
            .values()
            .flat_map(|mission| mission.tasks.values())
            .filter(|task| task.holds_lease())
            .any(|holder| {
                holder.spec.files.iter().any(|held| files.iter().any(|file| lease::overlap(held, file)))
            })
    }
}

fn is_waiting(mission: &Mission, attempt: &Attempt) -> bool {
    mission.is_under_way() && attempt.turn == Turn::Queued { not_before: None }
}

/// Sorts what has begun before what has not, then by priority, then by age.
fn order(mission: &Mission, attempt: &Attempt) -> (bool, Priority, AttemptId) {
    let task = attempt.subject.task().and_then(|task| mission.tasks.get(task));
    let fresh = task.is_some_and(|task| matches!(task.state, TaskState::Ready { .. }));
    (fresh, task.map_or(Priority::Normal, |task| task.spec.priority), attempt.id)
}

impl Role {
    /// The slots of the role's lane.
    fn slots(self, limits: &Limits) -> u64 {
        match self {
            Self::Planner => limits.planner_slots,
            Self::Worker => limits.worker_slots,
            Self::Reviewer => limits.reviewer_slots,
        }
    }
}
