//! Slots, leases and limits against plain models, in random sequences.
//!
//! The model of slots knows nothing of attempts: it counts what the engine has asked for and what has not come to its
//! end yet. The engine must hold exactly as many slots, never more than its caps, and none when all is over.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a sequence that cannot be run is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};

use orchestrator_engine::{
    Agents, CheckReport, Effect, EffectId, Engine, Event, HostError, LIMITS, Limits, Millis, Role, SessionId,
    TurnFacts, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
enum Op {
    /// The outcome of one of the effects that have none yet.
    Settle(usize),
    /// One of the sessions that work fills in its blank and ends its turn, or ends it in an error.
    End(usize, bool),
    Mission,
    Restart(u64, u64),
    /// Other limits, whatever is under way.
    Limits(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..64_usize).prop_map(Op::Settle),
        8 => (0..64_usize, prop::bool::weighted(0.8)).prop_map(|(at, well)| Op::End(at, well)),
        1 => Just(Op::Mission),
        1 => (1..9_u64, 1..9_u64).prop_map(|(slots, all)| Op::Restart(slots, all)),
        2 => (1..9_u64, 1..9_u64).prop_map(|(slots, all)| Op::Limits(slots, all)),
    ]
}

#[derive(Default)]
struct Model {
    engine: Engine,
    now: Millis,
    requests: u64,
    /// Effects without an outcome that stand for a slot; the checks; the look-ups.
    pending: BTreeMap<EffectId, Effect>,
    checks: BTreeSet<EffectId>,
    /// Sessions that work, with the prompt they were given.
    working: BTreeMap<SessionId, EffectId>,
    agents: BTreeMap<SessionId, String>,
}

impl Model {
    fn feed(&mut self, event: Event) {
        let before = self.held();
        self.engine.handle(self.now, event);
        self.engine.check_invariants();
        while let Some(effect) = self.engine.poll_effect() {
            match &effect {
                Effect::TakeSnapshot { effect: id, .. } | Effect::OpenSession { effect: id, .. } => {
                    self.pending.insert(*id, effect);
                }
                Effect::Prompt { effect: id, .. } => {
                    self.pending.insert(*id, effect);
                }
                Effect::AbortSession { effect: id, session } => {
                    self.working.remove(session);
                    self.pending.retain(|_, other| !concerns(other, session));
                    self.pending.insert(*id, effect);
                }
                Effect::RunChecks { effect: id, .. } => {
                    self.checks.insert(*id);
                }
                _ => {}
            }
        }
        let held = self.held();
        let model = (self.pending.len() + self.working.len()) as u64;
        assert_eq!(held, model, "slots held, and what runs: {:?} {:?}", self.pending, self.working);
        let most = self.engine.limits().sessions;
        assert!(held <= most.max(before), "{held} of {most} sessions, after {before}");
    }

    fn start(&mut self, slots: u64, all: u64) {
        let limits = limits(slots, all);
        let started = json!({"type": "engineStarted", "limits": limits, "agents": Agents::default()});
        self.feed(serde_json::from_value(started).unwrap());
    }

    fn change_limits(&mut self, slots: u64, all: u64) {
        self.requests += 1;
        let limits = json!({"workerSlots": slots, "sessions": all});
        self.feed(Event::LimitsChanged { request: self.requests, limits });
        assert_eq!(self.engine.limits().sessions, all, "a limit in range was not taken");
    }

    fn held(&self) -> u64 {
        [Role::Planner, Role::Worker, Role::Reviewer].map(|role| self.engine.slots_held(role)).iter().sum()
    }

    fn settle(&mut self, at: usize) {
        let count = self.pending.len() + self.checks.len();
        if count == 0 {
            return;
        }
        let at = at % count;
        if let Some(effect) = self.checks.iter().nth(at).copied() {
            self.checks.remove(&effect);
            let evidence = vec![json!({"kind": "command"})];
            let report = CheckReport { verdict: Verdict::Pass, findings: vec![], evidence, changed: vec![] };
            return self.feed(Event::ChecksFinished { effect, report });
        }
        let (effect, asked) = self.pending.iter().nth(at - self.checks.len()).unwrap();
        let (effect, asked) = (*effect, asked.clone());
        self.pending.remove(&effect);
        match asked {
            Effect::TakeSnapshot { .. } => {
                let snapshot = json!({"files": {"n": self.requests}});
                self.feed(Event::SnapshotTaken { effect, snapshot });
            }
            Effect::OpenSession { agent, .. } => {
                self.requests += 1;
                let session = SessionId(format!("ses_{}", self.requests));
                self.agents.insert(session.clone(), agent);
                self.feed(Event::SessionOpened { effect, session });
            }
            Effect::Prompt { session, .. } => {
                self.working.insert(session, effect);
                self.feed(Event::PromptSent { effect });
            }
            Effect::AbortSession { .. } => self.feed(Event::SessionAborted { effect, busy: false }),
            other => panic!("{other:?} stands for no slot"),
        }
    }

    fn end(&mut self, at: usize, well: bool) {
        if self.working.is_empty() {
            return;
        }
        let (session, prompt) = self.working.iter().nth(at % self.working.len()).unwrap();
        let (session, prompt) = (session.clone(), Some(*prompt));
        self.requests += 1;
        let request = self.requests;
        let mut facts = TurnFacts { finish: Some("stop".into()), error: None, text: String::new() };
        if well {
            let session = session.clone();
            let pass = json!({"verdict": "pass", "summary": "good"});
            self.feed(match self.agents[&session].as_str() {
                "planner" => Event::PlanSubmitted { request, session, plan: plan(), denied: vec![] },
                "worker" => {
                    let work = json!({"summary": "did", "files": ["a.ts"]});
                    Event::WorkSubmitted { request, session, work }
                }
                _ => Event::ReviewSubmitted { request, session, review: pass },
            });
        } else {
            facts.error = Some(HostError { status: Some(503), ..HostError::new("APIError", "no") });
        }
        self.working.remove(&session);
        self.feed(Event::TurnEnded { session, prompt, facts });
    }

    fn mission(&mut self) {
        self.requests += 1;
        let session = SessionId(format!("ses_root{}", self.requests));
        let asked = json!({"type": "missionRequested", "request": self.requests, "session": session,
            "objective": "Build it"});
        self.feed(serde_json::from_value(asked).unwrap());
    }

    /// Lets time pass when nothing else can happen: an attempt waits after a failure.
    fn wait(&mut self) {
        if self.pending.is_empty()
            && self.working.is_empty()
            && self.checks.is_empty()
            && let Some(at) = self.engine.next_deadline()
        {
            self.now = at.max(self.now);
            self.feed(Event::DeadlinePassed {});
        }
    }
}

fn concerns(effect: &Effect, of: &SessionId) -> bool {
    matches!(effect, Effect::Prompt { session, .. } | Effect::AbortSession { session, .. } if session == of)
}

/// Tasks beside and behind each other.
fn plan() -> Value {
    let spec = |id: &str, depends_on: &[&str]| {
        json!({"id": id, "title": id, "objective": "o", "files": [format!("{id}.ts")],
            "depends_on": depends_on, "acceptance": [["true"]]})
    };
    let tasks = [spec("a", &[]), spec("b", &[]), spec("c", &[]), spec("d", &["a"]), spec("e", &["a", "b"])];
    json!({"tasks": tasks, "checks": [["true"]]})
}

fn limits(slots: u64, all: u64) -> Limits {
    Limits { worker_slots: slots, sessions: all, recoveries: 20, ..Limits::default() }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(100_000))]

    #[test]
    fn what_runs_holds_a_slot_and_nothing_else_does(
        (slots, all) in (1..9_u64, 1..9_u64),
        ops in vec(op(), 1..60),
    ) {
        // Breaks when a slot leaks, is given twice, is given above the cap, or is kept by what has ended.
        let mut model = Model { now: 1_000_000, ..Model::default() };
        model.start(slots, all);
        model.mission();
        for op in ops {
            match op {
                Op::Settle(at) => model.settle(at),
                Op::End(at, well) => model.end(at, well),
                Op::Mission => if model.engine.missions().len() < 3 { model.mission() },
                // A process begins where nothing is under way that would be looked up.
                Op::Restart(slots, all) => if model.pending.is_empty() && model.working.is_empty() {
                    model.checks.clear();
                    model.start(slots, all);
                },
                Op::Limits(slots, all) => model.change_limits(slots, all),
            }
            model.wait();
        }
        for mission in 1..=model.engine.missions().len() {
            let id = orchestrator_engine::MissionId(mission as u64);
            let session = model.engine.missions()[&id].root.clone();
            // What a stop does not wait for is given up at once.
            model.engine.handle(model.now, Event::StopRequested { request: 0, session });
            model.engine.check_invariants();
        }
        while let Some(effect) = model.engine.poll_effect() {
            if let Effect::AbortSession { effect, .. } = effect {
                model.engine.handle(model.now, Event::SessionAborted { effect, busy: false });
            }
        }
        prop_assert_eq!(model.held(), 0, "a slot is held after the end");
    }

    #[test]
    fn limits_are_taken_whole_or_not_at_all(
        fields in vec((0..LIMITS.len() + 1, 0..6_u8), 0..8),
    ) {
        // Breaks when a value out of range is taken, a good one is refused, or a mistake is not named.
        let mut object = serde_json::Map::new();
        let mut wrong = BTreeSet::new();
        for (at, kind) in fields {
            let Some(limit) = LIMITS.get(at) else {
                object.insert("nothing".into(), json!(1));
                wrong.insert("limits.nothing".to_owned());
                continue;
            };
            let value = match kind {
                0 => json!(limit.min),
                1 => json!(limit.max),
                2 => json!(limit.default),
                3 => json!(limit.max + 1),
                4 => limit.min.checked_sub(1).map_or(json!(-1), |below| json!(below)),
                _ => json!(limit.min as f64 + 0.5),
            };
            let path = format!("limits.{}", limit.name);
            if kind < 3 { wrong.remove(&path); } else { wrong.insert(path); }
            object.insert(limit.name.into(), value);
        }
        match Limits::parse(&Value::Object(object.clone())) {
            Ok(limits) => {
                prop_assert!(wrong.is_empty(), "{:?} were taken", wrong);
                let taken = serde_json::to_value(&limits).unwrap();
                for limit in LIMITS {
                    let expected = object.get(limit.name).cloned().unwrap_or(json!(limit.default));
                    prop_assert_eq!(&taken[limit.name], &expected);
                }
            }
            Err(mistakes) => {
                let named: BTreeSet<_> = mistakes.into_iter().map(|mistake| mistake.path).collect();
                prop_assert_eq!(named, wrong);
            }
        }
    }
}
