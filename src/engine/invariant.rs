//! What must hold after every event.

use std::collections::BTreeSet;

use crate::{Engine, MissionId, Stage, Task, TaskState, Turn};

impl Engine {
    /// Checks what must hold after every event.
    ///
    /// # Panics
    /// When something does not hold; the message names it.
    pub fn check_invariants(&self) {
        self.check_tokens();
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
                        || attempt.has_lost()
                        || awaited.is_none_or(|state| match state {
                            TaskState::Reviewing { attempt: leader } => {
                                mission.attempts[leader].subject == attempt.subject
                            }
                            TaskState::Pending
                            | TaskState::Ready { .. }
                            | TaskState::Running { .. }
                            | TaskState::Checking(_)
                            | TaskState::Done
                            | TaskState::Blocked { .. }
                            | TaskState::Cancelled => state.attempt() == Some(*id),
                        }),
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

    /// A token is held by whoever runs, and by nobody else; no slot, and no probe of a circuit, is held twice.
    fn check_tokens(&self) {
        let (mut slots, mut probes) = (BTreeSet::new(), BTreeSet::new());
        for attempt in self.missions.values().flat_map(|mission| mission.attempts.values()) {
            let is_queued = matches!(attempt.turn, Turn::Queued { .. });
            let Some(token) = &attempt.token else {
                assert!(is_queued, "{} runs without a token: {:?}", attempt.id, attempt.turn);
                continue;
            };
            assert!(!is_queued, "{} waits, and holds {token:?}", attempt.id);
            assert!(slots.insert(token.slot()), "{:?} is held twice", token.slot());
            if token.is_probe() {
                assert!(probes.insert(token.model()), "two probes of {:?} are under way", token.model());
            }
        }
    }
}
