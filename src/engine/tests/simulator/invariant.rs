//! What must hold whatever the host does, seen from outside. `Engine::check_invariants` is asked as well.

use std::collections::{BTreeMap, BTreeSet};

use orchestrator_engine::{
    Attempt, AttemptId, Effect, Engine, Event, Mission, MissionId, Outcome, PauseReason, Question, Role,
    SessionId, Stage, Subject, Task, TaskState, Turn,
};
use serde_json::json;

use crate::World;

const ROLES: [Role; 3] = [Role::Planner, Role::Worker, Role::Reviewer];

/// How things stood before an event.
pub(crate) struct Before {
    held: u64,
    by_role: [u64; 3],
    under_way: BTreeSet<MissionId>,
    submitted: BTreeMap<MissionId, (Vec<AttemptId>, u64)>,
}

/// What is durable, and must not be lost or done again.
#[derive(Debug, Default)]
pub(crate) struct History {
    done: BTreeSet<(MissionId, String)>,
    acknowledged: BTreeSet<(MissionId, String)>,
    ended: BTreeSet<MissionId>,
    stopped: BTreeSet<MissionId>,
}

impl Before {
    pub(crate) fn of(engine: &Engine) -> Self {
        let missions = engine.missions();
        let submitted = missions.values().map(|mission| {
            let taken = mission.attempts.values().filter(|attempt| attempt.submission.is_some());
            (mission.id, (taken.map(|attempt| attempt.id).collect(), mission.failures))
        });
        Self {
            held: held(engine),
            by_role: ROLES.map(|role| engine.sessions_held(role)),
            under_way: missions.values().filter(|m| m.is_under_way()).map(|m| m.id).collect(),
            submitted: submitted.collect(),
        }
    }
}

fn held(engine: &Engine) -> u64 {
    let attempts = engine.missions().values().flat_map(|mission| mission.attempts.values());
    attempts.filter(|attempt| attempt.holds_slot()).count() as u64
}

impl World<'_> {
    /// Holds the state after an event, and what follows from it, against how things stood before.
    pub(crate) fn check(&self, before: &Before, event: &Event, effects: &[Effect]) {
        let engine = &self.engine;
        engine.check_invariants();
        let held = held(engine);
        assert!(
            held <= engine.limits().sessions.max(before.held),
            "{held} slots are held in all, after {}",
            before.held
        );
        for (role, before) in ROLES.into_iter().zip(before.by_role) {
            let (held, most) = (engine.sessions_held(role), engine.sessions_max(role));
            assert!(held <= most.max(before), "{held} {role:?} sessions run, after {before}");
        }
        for (id, (taken, failures)) in &before.submitted {
            // When a deadline passes, another may fail beside it.
            let Some(mission) = engine.missions().get(id) else { continue };
            let is_over = taken.iter().any(|attempt| !mission.attempts.contains_key(attempt));
            assert!(
                !is_over || mission.failures == *failures || *event == Event::DeadlinePassed {},
                "what was submitted is lost"
            );
        }
        self.check_dispatch(before, effects);
        self.check_wake_up();
    }

    /// Nothing is dispatched for a mission at rest, and no session is prompted that has no part in one.
    fn check_dispatch(&self, before: &Before, effects: &[Effect]) {
        let missions = self.engine.missions();
        for effect in effects {
            let id = match effect {
                Effect::OpenSession { mission, .. } | Effect::RunChecks { mission, .. } => *mission,
                Effect::Prompt { session, .. } => {
                    let owner = missions.values().find_map(|mission| {
                        let attempt = mission
                            .attempts
                            .values()
                            .find(|attempt| attempt.session.as_ref() == Some(session))?;
                        Some((mission, attempt))
                    });
                    let Some((mission, _)) = owner else {
                        // Its turn may have come to its end within the same event.
                        panic!("{session} is prompted and has no attempt");
                    };
                    assert!(mission.sessions.contains(session), "{session} is prompted and not ours");
                    assert!(!mission.survivors.contains(session), "{session} is fenced and prompted");
                    mission.id
                }
                _ => continue,
            };
            let mission = &missions[&id];
            let rests = matches!(mission.stage, Stage::Stopping { .. }) || !mission.is_open();
            assert!(!rests, "{id} is {:?} and dispatches {effect:?}", mission.stage);
            // Checks of what was submitted go on while a mission rests, and are run again in a new process.
            let paused =
                matches!(mission.stage, Stage::Paused { .. }) && !matches!(effect, Effect::RunChecks { .. });
            assert!(!paused || before.under_way.contains(&id), "{id} is paused and dispatches {effect:?}");
        }
    }

    /// Each mission that is under way, or is being stopped, has a deadline of its own; or all it has is queued behind what is
    /// held by one that has, or that rests.
    fn check_wake_up(&self) {
        let missions = self.engine.missions();
        let has_deadline = |mission: &Mission| mission.next_deadline(self.engine.limits()).is_some();
        let (mut woken, mut waiting): (Vec<_>, Vec<_>) =
            missions.values().partition(|mission| has_deadline(mission) || names_whom_it_waits_for(mission));
        while !waiting.is_empty() {
            let (more, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|mission| self.waits_for_one_of(mission, &woken));
            assert!(!more.is_empty(), "nothing will wake {rest:#?}");
            woken.extend(more);
            waiting = rest;
        }
    }

    /// Whether the mission is under way, and all its attempts are queued, each behind what one of the others holds.
    fn waits_for_one_of(&self, mission: &Mission, others: &[&Mission]) -> bool {
        let is_held = |file: &String, task: &Task| task.holds_lease() && task.spec.files.contains(file);
        let is_behind = |attempt: &Attempt| {
            let task =
                if let Subject::Task { task } = &attempt.subject { mission.tasks.get(task) } else { None };
            let files = task.filter(|task| !task.holds_lease()).map_or(&[][..], |task| &task.spec.files);
            let holds_file = |other: &Mission| {
                files.iter().any(|file| other.tasks.values().any(|task| is_held(file, task)))
            };
            if self.engine.missions().values().any(holds_file) {
                // Whoever holds it in this mission waits for a slot, as all its attempts do that are looked at here.
                return holds_file(mission) || others.iter().any(|other| holds_file(other));
            }
            let has_slot = |other: &&Mission| other.attempts.values().any(Attempt::holds_slot);
            // A circuit that is open lets a probe pass at a time that is no mission's.
            let is_circuit = || {
                let status = self.engine.answer(&Question::Status { session: mission.root.clone() });
                status["schedule"]["circuits"] != json!({}) && self.engine.next_deadline().is_some()
            };
            others.iter().any(has_slot) || is_circuit()
        };
        let mut attempts = mission.attempts.values();
        mission.is_under_way()
            && !mission.attempts.is_empty()
            && attempts.all(|each| each.turn == Turn::Queued { not_before: None } && is_behind(each))
    }

    /// A mission at rest says whom it waits for.
    pub(crate) fn check_rest(&self, outcome: Outcome, mission: MissionId, report: &str) {
        assert!(report.contains(&format!("Mission {mission}")), "{report}");
        if let (Outcome::Paused, Some(found)) = (outcome, self.engine.missions().get(&mission))
            && let Stage::Paused { .. } = &found.stage
        {
            assert!(names_whom_it_waits_for(found), "{mission} waits for the user and does not ask anything");
        }
    }

    /// What is durable stays: what is done is done once, what was acknowledged is kept, an end is the end.
    pub(crate) fn check_history(&mut self) {
        for mission in self.engine.missions().values() {
            for (name, task) in &mission.tasks {
                let key = (mission.id, name.0.clone());
                let done = task.state == TaskState::Done;
                assert!(
                    done || !self.history.done.contains(&key),
                    "{key:?} was done and is {:?}",
                    task.state
                );
                let kept = task.work.is_some();
                assert!(kept || !self.history.acknowledged.contains(&key), "the work of {key:?} was lost");
                if done {
                    self.history.done.insert(key.clone());
                }
                if kept {
                    self.history.acknowledged.insert(key);
                }
            }
            assert!(
                !mission.is_open() || !self.history.ended.contains(&mission.id),
                "{} had ended and is open",
                mission.id
            );
            let stops = matches!(mission.stage, Stage::Stopping { .. } | Stage::Stopped);
            assert!(
                stops || !self.history.stopped.contains(&mission.id),
                "{} was stopped and goes on",
                mission.id
            );
            if stops {
                self.history.stopped.insert(mission.id);
            }
            if !mission.is_open() {
                self.history.ended.insert(mission.id);
            }
        }
    }

    /// A call that writes a file is let through only by the lease of the one task that holds it.
    pub(crate) fn check_write(&self, session: &SessionId, path: &str) {
        if self.down_until.is_some() {
            // While the engine is rebuilt, the driver refuses every write.
            return;
        }
        if !self.may_write(session, path) {
            return;
        }
        let holders: Vec<_> = self
            .engine
            .missions()
            .values()
            .flat_map(|mission| mission.tasks.values().map(move |task| (mission, task)))
            .filter(|(_, task)| task.holds_lease() && task.spec.files.iter().any(|file| file == path))
            .collect();
        let [(mission, task)] = holders[..] else {
            panic!("{session} may write {path}, which {} tasks hold", holders.len());
        };
        let attempt = task.state.attempt().and_then(|id| mission.attempts.get(&id));
        assert_eq!(
            attempt.and_then(|attempt| attempt.session.as_ref()),
            Some(session),
            "{path} is another's"
        );
        assert!(
            mission.is_under_way() && !mission.survivors.contains(session),
            "{session} is fenced and writes"
        );
    }

    /// For every file, at most one session of the host may write it; a stranger of the user's may always.
    pub(crate) fn check_writers(&self) {
        for file in 0..8 {
            let path = format!("src/{file}.ts");
            // A session that was created twice, and whose creation got lost, is a stranger that is never prompted.
            let prompted = self.sessions.iter().filter(|session| !session.prompts.is_empty());
            let writers = prompted.filter(|session| self.may_write(&session.id, &path));
            assert!(writers.count() <= 1, "two sessions may write {path}");
        }
    }

    fn may_write(&self, session: &SessionId, path: &str) -> bool {
        let question = Question::MayWrite { session: session.clone(), paths: vec![Some(path.to_owned())] };
        self.engine.answer(&question)["allowed"] == json!(true)
    }
}

/// Whether the mission has ended, or rests until the user decides and says so.
fn names_whom_it_waits_for(mission: &Mission) -> bool {
    match &mission.stage {
        Stage::Sealed | Stage::Stopped | Stage::Failed { .. } | Stage::Approval => true,
        Stage::Paused { reason: PauseReason::Interrupted, .. } => true,
        Stage::Paused {
            reason: PauseReason::NeedsUser { question } | PauseReason::Budget { question },
            ..
        } => !question.trim().is_empty(),
        Stage::Planning
        | Stage::Executing
        | Stage::Verifying(_)
        | Stage::MasterReview
        | Stage::Stopping { .. } => false,
    }
}
