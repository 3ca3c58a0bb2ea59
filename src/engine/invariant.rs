//! What must hold after every event.

use crate::{Engine, MissionId, Stage, Task};

impl Engine {
    /// Checks what must hold after every event.
    ///
    /// # Panics
    /// When something does not hold; the message names it.
    pub fn check_invariants(&self) {
        let mut leases: Vec<(&str, MissionId, &str)> = Vec::new();
        for mission in self.missions.values() {
            for task in mission.tasks.values() {
                if task.holds_lease() {
                    assert!(mission.is_free(task), "task {} runs before its dependencies", task.spec.id);
                    for file in &task.spec.files {
                        for (other, holder, name) in &leases {
                            assert!(
                                (*holder == mission.id && *name == task.spec.id)
                                    || !crate::lease::overlap(other, file),
                                "{file} is leased to {name} and to {}",
                                task.spec.id
                            );
                        }
                        leases.push((file, mission.id, &task.spec.id));
                    }
                }
                let Some(attempt) = task.state.attempt() else { continue };
                assert!(
                    !mission.is_open() || mission.attempts.contains_key(&attempt),
                    "task {} waits for {attempt}, which is gone",
                    task.spec.id
                );
            }
            for (id, attempt) in &mission.attempts {
                let awaited = attempt.subject.task().map(|task| &mission.tasks[task].state);
                assert!(
                    matches!(mission.stage, Stage::Stopping { .. })
                        || awaited.is_none_or(|state| state.attempt() == Some(*id)),
                    "{id} is live, and its task is {awaited:?}"
                );
            }
            if mission.stage == Stage::Sealed {
                assert!(mission.has_evidence(), "{} is sealed without evidence", mission.id);
            }
            if !mission.is_open() {
                assert!(mission.attempts.is_empty(), "{} has ended with live attempts", mission.id);
                let waits = mission.next_deadline(&self.limits);
                assert!(waits.is_none(), "{} has ended and still waits for time", mission.id);
            }
            if mission.is_under_way() {
                let mut checks = mission.tasks.values().filter_map(Task::checks).chain(mission.checks());
                assert!(
                    checks.next().is_some() || !mission.attempts.is_empty(),
                    "{} is under way, and nothing moves it",
                    mission.id
                );
            }
        }
    }
}
