//! Whole missions against a scripted host with a virtual clock and seeded faults.
//!
//! Every outcome may be lost, doubled, late or out of order; sessions fail, hang, run away or vanish; the process is
//! killed and the journal replayed at any step; the user stops, breaks off, resumes and edits. After every event the
//! invariants must hold, and every mission must end or say whom it waits for.
//!
//! A failure prints its seed. `SIM_SEED=<n> cargo test -p orchestrator-engine --test simulator` repeats it alone,
//! `SIM_SEEDS=<count>` runs more than the default.

#![expect(clippy::print_stdout, reason = "the counts of seeds, events and faults are the test's evidence")]
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a scripted host has no users")]
#![expect(clippy::disallowed_methods, reason = "the seeds to run are chosen from outside")]

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use orchestrator_engine::{
    Agents, Answer, Approval, AttemptId, CheckReport, CheckSubject, Effect, EffectId, Engine, Event, Finding,
    Handled, HostError, Interruption, Limits, Millis, MissionKind, Outcome, Question, Role, Scheduling,
    SessionId, Stage, Task, TaskState, ToolFailure, TurnFacts, Verdict,
};
use serde_json::{Value, json};

/// How often each fault was injected.
type Faults = BTreeMap<&'static str, u64>;

/// A session of the scripted host. It survives a crash of the process; what it was doing does not.
#[derive(Debug)]
struct Session {
    id: SessionId,
    attempt: AttemptId,
    /// Prompts taken, with how the answer to each stands.
    prompts: Vec<(EffectId, Option<TurnFacts>)>,
    busy: bool,
}

/// Something that happens at a time: an event that reaches the engine, or a step of the host itself.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "they are few")]
enum Happening {
    Deliver(Event),
    Execute(Effect),
    /// The model's turn in answer to a prompt ends.
    EndTurn {
        session: SessionId,
        prompt: EffectId,
        facts: TurnFacts,
    },
}

struct World {
    rng: Rng,
    now: Millis,
    engine: Engine,
    /// What the journal holds. Each event has been through its written form.
    journal: Vec<(Millis, Event)>,
    agenda: BTreeMap<(Millis, u64), Happening>,
    order: u64,
    sessions: Vec<Session>,
    next_request: u64,
    faults: Faults,
    fault_rate: f64,
    limits: Limits,
    scheduling: Scheduling,
    done: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    outcomes: Vec<Outcome>,
    events: u64,
    resumes: u32,
    last_execution: Millis,
    /// Reports that were delivered.
    told: BTreeSet<EffectId>,
    /// Whether the mission was started with `/plan`.
    asks: bool,
}

const ROOT: &str = "ses_root";
const ROLES: [Role; 3] = [Role::Planner, Role::Worker, Role::Reviewer];

/// What is done to a mission, each often enough to meet every state.
const FAULTS: [&str; 33] = [
    "abort ignored",
    "answer cut",
    "bad blank",
    "blank as text",
    "blocked from outside",
    "check not run",
    "crash",
    "doubled",
    "effect failed",
    "hang",
    "interrupt",
    "kill ignored",
    "late",
    "lost",
    "model error",
    "no blank",
    "no finish reason",
    "nothing changed",
    "overflow",
    "parked by the host",
    "permission asked",
    "prompt untold",
    "rebuild",
    "refusal ignored",
    "reordered",
    "revised",
    "runaway",
    "same call",
    "same finding",
    "session gone",
    "session gone after its turn",
    "stop",
    "todo edited",
];

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let fault_rate = [0.0, 0.02, 0.08, 0.2][rng.usize(..4)];
        let limits = Limits {
            worker_slots: 1 + rng.u64(..8),
            sessions: [50, 2][rng.usize(..2)],
            iterations: 4,
            steps_per_minute: 30,
            session_ttl_ms: [3_600_000, 60_000][rng.usize(..2)],
            stop_ms: [60_000, 2_000][rng.usize(..2)],
            mission_tokens: [0, 0, 0, 50_000][rng.usize(..4)],
            mission_ms: [0, 0, 0, 600_000][rng.usize(..4)],
            task_tokens: [0, 0, 0, 10_000][rng.usize(..4)],
            planner_race: [1, 3][rng.usize(..2)],
            sessions_per_agent: [10, 3][rng.usize(..2)],
            sessions_per_model: [50, 4][rng.usize(..2)],
            ageing_ms: [120_000, 2_000][rng.usize(..2)],
            ..Limits::default()
        };
        let asks = rng.bool();
        let scheduling = Scheduling { proactive: rng.bool(), ..Scheduling::default() };
        let mut world = Self {
            rng,
            now: 1_000_000,
            engine: Engine::default(),
            journal: Vec::new(),
            agenda: BTreeMap::new(),
            order: 0,
            sessions: Vec::new(),
            next_request: 0,
            faults: Faults::new(),
            fault_rate,
            limits,
            scheduling,
            done: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            outcomes: Vec::new(),
            events: 0,
            resumes: 0,
            last_execution: 0,
            told: BTreeSet::new(),
            asks,
        };
        world.start();
        world.request_mission("Build it");
        world
    }

    fn start(&mut self) {
        let limits = self.limits.clone();
        let scheduling = self.scheduling.clone();
        let approval = Approval::Auto;
        self.handle(Event::EngineStarted { limits, agents: Agents::default(), approval, scheduling });
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn request_mission(&mut self, objective: &str) {
        let request = self.request();
        let kind = if self.asks { MissionKind::Plan } else { MissionKind::Task };
        self.command(request, objective, kind);
    }

    fn fault(&mut self, name: &'static str) -> bool {
        let hit = self.rng.f64() < self.fault_rate;
        if hit {
            *self.faults.entry(name).or_default() += 1;
        }
        hit
    }

    fn at(&mut self, delay: Millis, happening: Happening) {
        self.order += 1;
        self.agenda.insert((self.now + delay, self.order), happening);
    }

    /// Sends an outcome on its way, where it may be lost, doubled, late or overtaken.
    fn deliver(&mut self, delay: Millis, event: Event) {
        if self.fault("lost") {
            return;
        }
        let mut delay = delay + self.rng.u64(..20);
        if self.fault("late") {
            delay += self.rng.u64(..90_000);
        } else if self.fault("reordered") {
            delay += self.rng.u64(..2_000);
        }
        if self.fault("doubled") {
            let again = delay + self.rng.u64(..5_000);
            self.at(again, Happening::Deliver(event.clone()));
        }
        self.at(delay, Happening::Deliver(event));
    }

    /// Feeds one event as the driver would: through its journalled form, with the invariants checked after it.
    fn handle(&mut self, event: Event) {
        self.events += 1;
        let record = serde_json::to_string(&event).unwrap();
        let event: Event = serde_json::from_str(&record).unwrap();
        let (held, submitted) = (self.slots(), self.submitted());
        let handled = self.engine.handle(self.now, event.clone());
        if event != (Event::DeadlinePassed {}) {
            self.check_submitted(&submitted);
        }
        if handled == Handled::Changed {
            self.journal.push((self.now, event));
        }
        self.engine.check_invariants();
        self.check_slots(held);
        while let Some(effect) = self.engine.poll_effect() {
            self.take(effect);
        }
        self.check_history();
    }

    /// Answers at once what the driver answers at once, and sends the rest to the host.
    fn take(&mut self, effect: Effect) {
        if matches!(effect, Effect::OpenSession { .. } | Effect::Prompt { .. }) {
            let mission = self.engine.missions().values().next().unwrap();
            assert!(mission.is_under_way(), "{effect:?} of a mission that is {:?}", mission.stage);
        }
        match effect {
            Effect::Reply { answer, .. } => {
                if let Answer::Refused { text, .. } = answer {
                    assert!(!text.is_empty());
                }
            }
            Effect::ReportMission { effect, outcome, report, again, .. } => {
                assert!(report.contains("Mission m1"));
                assert!(again || !self.told.contains(&effect), "a report is told twice");
                if self.told.insert(effect) {
                    self.outcomes.push(outcome);
                }
                self.deliver(5, Event::Notified { effect });
            }
            Effect::RenderTodo { text } => {
                if self.fault("todo edited") {
                    self.deliver(10, Event::TodoEdited { text, cut: false });
                }
            }
            Effect::CancelChecks { effect } => {
                // Its report comes all the same, sooner and without a verdict.
                let before = self.agenda.len();
                self.agenda.retain(|_, happening| !outcome_of(happening, effect));
                let ended = self.agenda.len() < before;
                if ended {
                    let report = CheckReport {
                        verdict: Verdict::Unknown,
                        findings: vec![],
                        evidence: vec![],
                        changed: vec![],
                    };
                    self.deliver(5, Event::ChecksFinished { effect, report });
                }
            }
            Effect::RefusePermission { session, permission } => self.refuse(&session, permission),
            Effect::ShowToast { effect, .. } | Effect::TellCommander { effect, .. } => {
                let error = HostError::new("timeout", "no answer");
                let event = if self.fault("effect failed") {
                    Event::EffectFailed { effect, error }
                } else {
                    Event::Notified { effect }
                };
                self.deliver(5, event);
            }
            Effect::Annotate { .. } => {}
            effect => {
                // One after another, as the plugin does for each session.
                let at = (self.now + 1 + self.rng.u64(..10)).max(self.last_execution);
                self.last_execution = at;
                self.at(at - self.now, Happening::Execute(effect));
            }
        }
    }

    fn execute(&mut self, effect: Effect) {
        if effect.id().is_some() && self.fault("effect failed") {
            let error = HostError::new("timeout", "no answer");
            // It may have happened all the same.
            if self.rng.bool() {
                self.deliver(5, Event::EffectFailed { effect: effect.id().unwrap(), error });
                return;
            }
            let id = effect.id().unwrap();
            self.perform(effect);
            self.agenda.retain(|_, happening| !outcome_of(happening, id));
            self.deliver(5, Event::EffectFailed { effect: id, error });
            return;
        }
        self.perform(effect);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::OpenSession { effect, attempt, .. } => {
                let id = SessionId(format!("ses_{}", self.request()));
                self.sessions.push(Session { id: id.clone(), attempt, prompts: Vec::new(), busy: false });
                self.deliver(5, Event::SessionOpened { effect, session: id });
            }
            Effect::Prompt { effect, session, text, .. } => self.prompt(effect, &session, &text),
            Effect::AbortSession { effect, session } if session.0 == ROOT => {
                self.deliver(30, Event::SessionAborted { effect, busy: false });
            }
            Effect::KillCommands { effect, .. } => {
                // One mission gives but one chance of it.
                let ignored =
                    self.fault("kill ignored") || self.fault("kill ignored") || self.fault("kill ignored");
                let alive = if ignored { vec![4711] } else { vec![] };
                self.deliver(50, Event::CommandsKilled { effect, alive });
            }
            Effect::AbortSession { effect, session } => {
                let busy = self.fault("abort ignored");
                let Some(found) = self.sessions.iter_mut().find(|s| s.id == session) else {
                    return self.deliver(5, Event::EffectFailed { effect, error: not_found() });
                };
                found.busy = busy && found.busy;
                let busy = self.sessions.iter().any(|s| s.id == session && s.busy);
                if !busy {
                    self.forget_turn(&session);
                }
                self.deliver(30, Event::SessionAborted { effect, busy });
            }
            Effect::LookUpSession { effect, attempt, session, prompt, .. } => {
                let found = self.sessions.iter().find(|s| match &session {
                    Some(id) => s.id == *id,
                    None => s.attempt == attempt,
                });
                let event = match found {
                    None => Event::SessionLookedUp {
                        effect,
                        session: None,
                        prompted: false,
                        busy: false,
                        facts: None,
                    },
                    Some(found) => {
                        let entry =
                            prompt.and_then(|prompt| found.prompts.iter().find(|(id, _)| *id == prompt));
                        Event::SessionLookedUp {
                            effect,
                            session: Some(found.id.clone()),
                            prompted: entry.is_some(),
                            busy: found.busy,
                            facts: entry.and_then(|(_, facts)| facts.clone()),
                        }
                    }
                };
                self.deliver(5, event);
            }
            Effect::TakeSnapshot { effect, .. } => {
                let hash = if self.fault("nothing changed") { 0 } else { self.request() };
                let snapshot = json!({"files": {"src/x.ts": {"kind": "file", "hash": hash}}});
                self.deliver(2, Event::SnapshotTaken { effect, snapshot });
            }
            Effect::RunChecks { effect, subject, commands, .. } => {
                assert!(!commands.is_empty(), "checks without a command");
                let report = self.check_report(&subject);
                let delay = self.rng.u64(..3_000);
                self.deliver(delay, Event::ChecksFinished { effect, report });
            }
            other => unreachable!("{other:?} is taken at once"),
        }
    }

    /// The model's turn: steps, a blank more or less well filled in, an end or none.
    fn prompt(&mut self, effect: EffectId, session: &SessionId, text: &str) {
        if self.fault("session gone") {
            self.sessions.retain(|s| s.id != *session);
            return self.deliver(5, Event::PromptSent { effect });
        }
        let Some(found) = self.sessions.iter_mut().find(|s| s.id == *session) else {
            return self.deliver(5, Event::EffectFailed { effect, error: not_found() });
        };
        let is_told = !found.prompts.is_empty() || text.contains("## Objective");
        assert!(is_told, "a session that knows nothing is told only: {text}");
        found.prompts.push((effect, None));
        found.busy = true;
        self.deliver(5, Event::PromptSent { effect });
        let mut delay = 20;
        if self.fault("runaway") {
            for _ in 0..40 {
                delay += 100;
                self.at(delay, Happening::Deliver(Event::StepStarted { session: session.clone() }));
            }
            return;
        }
        if self.fault("no finish reason") {
            for _ in 0..6 {
                delay += 100;
                self.at(delay, Happening::Deliver(Event::StepStarted { session: session.clone() }));
                let event = Event::StepFinished { session: session.clone(), finish: "unknown".into() };
                self.at(delay + 50, Happening::Deliver(event));
            }
            return;
        }
        if self.fault("hang") {
            return;
        }
        if self.fault("parked by the host") {
            let (session, message) = (session.clone(), "slow down".into());
            return self.deliver(delay, Event::RetryScheduled { session, message, wait_ms: 3_600_000 });
        }
        if self.fault("overflow") {
            let error = HostError::new("ContextOverflowError", "too long");
            return self.deliver(delay, Event::SessionErred { session: session.clone(), error });
        }
        if self.fault("permission asked") {
            let (session, permission) = (session.clone(), format!("per_{}", effect.0));
            return self
                .deliver(delay, Event::PermissionAsked { session, permission, what: "run rm".into() });
        }
        if self.fault("same call") {
            let unread = self.rng.bool();
            for _ in 0..4 {
                delay += 100;
                let tool: String = if unread { "invalid" } else { "read" }.into();
                self.at(
                    delay,
                    Happening::Deliver(Event::ToolCalled { session: session.clone(), tool: tool.clone() }),
                );
                let failure =
                    ToolFailure { command: None, exit_code: None, message: format!("line {delay}") };
                let ended = Event::ToolEnded { session: session.clone(), tool, failure: Some(failure) };
                self.at(delay + 10, Happening::Deliver(ended));
            }
            return;
        }
        for _ in 0..self.rng.u64(1..4) {
            delay += self.rng.u64(100..4_000);
            self.deliver(delay, Event::StepStarted { session: session.clone() });
            let (message, tokens) = (format!("msg_{:09}", effect.0), self.rng.u64(..4_000));
            let used =
                Event::UsageReported { session: session.clone(), message, tokens, cost_micros: tokens };
            self.deliver(delay + 50, used);
        }
        let mut facts = TurnFacts { finish: Some("stop".into()), error: None, text: "done".into() };
        if self.fault("model error") {
            facts.finish = None;
            let status = [503, 429, 400, 401][self.rng.usize(..4)];
            let retry_after_ms = (status == 429).then(|| self.rng.u64(..200_000));
            facts.error =
                Some(HostError { status: Some(status), retry_after_ms, ..HostError::new("APIError", "no") });
        } else if self.fault("answer cut") {
            facts.finish = Some("length".into());
        } else if text.contains("reading ahead") && self.rng.u32(..8) > 0 {
            facts.text = "Look at the callers.".into();
        } else if self.fault("no blank") {
            facts.text = "I am done!".into();
        } else {
            let (event, blank) = self.blank(session, text);
            if self.fault("blank as text") {
                facts.text = format!("Here it is:\n```json\n{blank}\n```");
            } else {
                if self.fault("bad blank") {
                    let bad = self.blank_event(session, text, &json!({"tasks": 1, "verdict": "maybe"}));
                    self.at(delay, Happening::Deliver(bad));
                }
                self.at(delay + 10, Happening::Deliver(event));
            }
        }
        delay += 50;
        self.at(delay, Happening::EndTurn { session: session.clone(), prompt: effect, facts });
    }

    fn blank(&mut self, session: &SessionId, text: &str) -> (Event, Value) {
        let value = if text.contains(": plan") {
            self.plan()
        } else if text.contains(": master review") {
            // Fewer findings every time, so that missions end within their rounds.
            if self.rng.f64() < 0.25 || text.contains("They did not pass") {
                let files: Vec<_> = (0..=self.rng.u64(..2)).map(|n| format!("src/{n}.ts")).collect();
                json!({"verdict": "fail", "summary": "no", "findings": [
                    {"message": "mend this", "files": files}, {"message": "and that", "files": ["src/0.ts"]}]})
            } else {
                json!({"verdict": "pass", "summary": "good"})
            }
        } else if text.contains(": review") {
            match self.rng.u32(..20) {
                0..3 => json!({"verdict": "fail", "summary": "no", "findings": [{"message": "mend this"}]}),
                3 => json!({"verdict": "unknown", "summary": "cannot tell"}),
                _ => json!({"verdict": "pass", "summary": "good"}),
            }
        } else {
            if self.fault("blocked from outside") {
                json!({"summary": "did a part", "files": [], "blocked": "Which key?"})
            } else {
                json!({"summary": "did it", "files": ["src/x.ts"]})
            }
        };
        (self.blank_event(session, text, &value), value)
    }

    fn blank_event(&mut self, session: &SessionId, text: &str, value: &Value) -> Event {
        let request = self.request();
        let (session, value) = (session.clone(), value.clone());
        if text.contains(": plan") {
            Event::PlanSubmitted { request, session, plan: value, denied: vec![] }
        } else if text.contains("review") && !text.contains(": task") {
            Event::ReviewSubmitted { request, session, review: value }
        } else {
            Event::WorkSubmitted { request, session, work: value }
        }
    }

    /// A random acyclic plan in which tasks that may run together share no file.
    fn plan(&mut self) -> Value {
        let count = 1 + self.rng.usize(..8);
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let mut depends_on: Vec<String> = Vec::new();
                for earlier in 0..index {
                    if self.rng.u32(..4) == 0 {
                        depends_on.push(format!("t{earlier}"));
                    }
                }
                let race = [1, 1, 2, 3][self.rng.usize(..4)];
                let priority = ["high", "normal", "low"][self.rng.usize(..3)];
                json!({"id": format!("t{index}"), "title": "t", "objective": "o", "files": [format!("src/{index}.ts")],
                       "depends_on": depends_on, "acceptance": [["true"]],
                       "priority": priority, "race": race})
            })
            .collect();
        json!({"tasks": tasks, "checks": [["true"]]})
    }

    fn check_report(&mut self, subject: &CheckSubject) -> CheckReport {
        let not_run = self.fault("check not run");
        let verdict = match self.rng.u32(..20) {
            _ if not_run => Verdict::Unknown,
            0..2 => Verdict::Fail,
            2 => Verdict::Unknown,
            _ => Verdict::Pass,
        };
        if matches!(subject, CheckSubject::Task { claimed, .. } if claimed.is_empty()) {
            panic!("checks of a task without a submission");
        }
        // What is found differs from try to try, as it does where work goes on; now and then nothing moves.
        let (code, message) = match verdict {
            _ if not_run => ("CHECK_NOT_RUN", "no".to_owned()),
            _ if self.fault("same finding") => ("COMMAND_FAILED", "the same".to_owned()),
            _ => ("COMMAND_FAILED", format!("finding {}", self.request())),
        };
        let finding = Finding { code: code.into(), path: None, message, detail: None };
        CheckReport {
            verdict,
            findings: if verdict == Verdict::Pass { vec![] } else { vec![finding] },
            evidence: vec![json!({"kind": "command", "argv": ["true"], "exitCode": 0})],
            changed: vec![],
        }
    }

    /// Drops what an aborted turn would still have done.
    fn forget_turn(&mut self, session: &SessionId) {
        self.agenda.retain(|_, happening| match happening {
            Happening::EndTurn { session: s, .. } => s != session,
            Happening::Deliver(
                Event::StepStarted { session: s }
                | Event::StepFinished { session: s, .. }
                | Event::RetryScheduled { session: s, .. }
                | Event::SessionErred { session: s, .. }
                | Event::ToolCalled { session: s, .. }
                | Event::ToolEnded { session: s, .. }
                | Event::PermissionAsked { session: s, .. }
                | Event::PlanSubmitted { session: s, .. }
                | Event::WorkSubmitted { session: s, .. }
                | Event::ReviewSubmitted { session: s, .. },
            ) => s != session,
            _ => true,
        });
    }

    /// The host refuses what the session had asked for, by which its turn ends, unless it does not heed that.
    fn refuse(&mut self, session: &SessionId, permission: String) {
        if self.rng.u32(..2) == 0 {
            *self.faults.entry("refusal ignored").or_default() += 1;
            return;
        }
        let Some(found) = self.sessions.iter().find(|s| s.id == *session && s.busy) else { return };
        let Some((prompt, _)) = found.prompts.last().cloned() else { return };
        self.deliver(5, Event::PermissionAnswered { session: session.clone(), permission, allowed: false });
        let facts = TurnFacts { finish: Some("tool-calls".into()), ..TurnFacts::default() };
        self.at(20, Happening::EndTurn { session: session.clone(), prompt, facts });
    }

    fn end_turn(&mut self, session: &SessionId, prompt: EffectId, facts: TurnFacts) {
        let Some(found) = self.sessions.iter_mut().find(|s| s.id == *session) else { return };
        if let Some(entry) = found.prompts.iter_mut().find(|(id, _)| *id == prompt) {
            entry.1 = Some(facts.clone());
        }
        found.busy = false;
        if self.fault("session gone after its turn") {
            return self.sessions.retain(|s| s.id != *session);
        }
        let prompt = (!self.fault("prompt untold")).then_some(prompt);
        self.deliver(5, Event::TurnEnded { session: session.clone(), prompt, facts });
    }

    /// Kills the process: what was in flight is gone, sessions rest where they were, the journal is replayed.
    fn crash(&mut self) {
        self.agenda.clear();
        for session in &mut self.sessions {
            session.busy = false;
        }
        self.replay();
        self.now += self.rng.u64(1_000..100_000);
        // The user may have configured other lanes meanwhile.
        self.limits.worker_slots = 1 + self.rng.u64(..8);
        self.start();
    }

    /// The journal could not be written: the engine is rebuilt in the same process while the host goes on. Checks are
    /// cancelled, and what was about to be recorded is lost.
    fn rebuild(&mut self) {
        self.agenda
            .retain(|_, happening| !matches!(happening, Happening::Deliver(Event::ChecksFinished { .. })));
        if let Some(next) = self.agenda.first_entry()
            && matches!(next.get(), Happening::Deliver(_))
        {
            next.remove();
        }
        self.replay();
        self.start();
    }

    fn replay(&mut self) {
        let mut replayed = Engine::default();
        for (at, event) in &self.journal {
            assert_eq!(replayed.handle(*at, event.clone()), Handled::Changed);
        }
        replayed.discard_effects();
        let before = serde_json::to_string(&self.engine).unwrap();
        assert_eq!(serde_json::to_string(&replayed).unwrap(), before, "replay gives another state");
        self.engine = replayed;
    }

    /// The attempts whose blank was taken, and the failures so far.
    fn submitted(&self) -> (Vec<AttemptId>, u64) {
        let Some(mission) = self.engine.missions().values().next() else { return (Vec::new(), 0) };
        let submitted = mission.attempts.values().filter(|attempt| attempt.submission.is_some());
        (submitted.map(|attempt| attempt.id).collect(), mission.failures)
    }

    /// No attempt whose blank was taken ends as a failure. When a deadline passes, another may fail beside it.
    fn check_submitted(&self, (before, failures): &(Vec<AttemptId>, u64)) {
        let Some(mission) = self.engine.missions().values().next() else { return };
        let is_over = before.iter().any(|id| !mission.attempts.contains_key(id));
        assert!(!is_over || mission.failures == *failures, "what was submitted is lost");
    }

    /// For each role the slots of its lane that are held, and its sessions.
    fn slots(&self) -> [(u64, u64); 3] {
        ROLES.map(|role| (self.engine.slots_held(role), self.engine.sessions_held(role)))
    }

    /// No slot is given in a lane that is full, nor above the cap on all.
    fn check_slots(&self, before: [(u64, u64); 3]) {
        let held = self.slots();
        for ((held, before), role) in held.into_iter().zip(before).zip(ROLES) {
            let most = self.engine.sessions_max(role).max(before.1);
            assert!(held.1 <= most, "{} {role:?} sessions run, after {}", held.1, before.1);
        }
        let sum = |of: [(u64, u64); 3]| of.iter().map(|(_, sessions)| sessions).sum::<u64>();
        let (held, before) = (sum(held), sum(before));
        assert!(
            held <= self.engine.limits().sessions.max(before),
            "{held} slots are held in all, after {before}"
        );
    }

    /// What has been acknowledged stays, and what is done is not done again.
    fn check_history(&mut self) {
        let Some(mission) = self.engine.missions().values().next() else { return };
        for (id, task) in &mission.tasks {
            let known = self.done.contains(&id.0);
            assert!(!known || task.state == TaskState::Done, "task {id} was done and is {:?}", task.state);
            if !known && task.state == TaskState::Done {
                self.done.insert(id.0.clone());
            }
            let known = self.acknowledged.contains(&id.0);
            assert!(!known || task.work.is_some(), "the work of task {id} was lost");
            if !known && task.work.is_some() {
                self.acknowledged.insert(id.0.clone());
            }
        }
    }

    /// The user has the commander give up or retry what is blocked, or both, or the same twice.
    fn revise_blocked(&mut self) {
        let Some(mission) = self.engine.missions().values().next() else { return };
        let is_blocked = |task: &&Task| matches!(task.state, TaskState::Blocked { .. });
        let blocked: Vec<_> =
            mission.tasks.values().filter(is_blocked).map(|task| task.spec.id.clone()).collect();
        if blocked.is_empty() {
            return;
        }
        *self.faults.entry("revised").or_default() += 1;
        let list = |rng: &mut Rng| {
            let twice: Vec<_> = blocked.iter().chain(&blocked).filter(|_| rng.bool()).cloned().collect();
            json!(twice)
        };
        let revision = json!({"cancel": list(&mut self.rng), "retry": list(&mut self.rng)});
        let (request, session) = (self.request(), SessionId::from(ROOT));
        self.handle(Event::PlanRevised { request, session, revision, denied: vec![] });
    }

    /// The user approves a plan, or has it made again.
    fn decide(&mut self) {
        let words = ["approve", "approve", "edit smaller tasks", "refuse it is too much"];
        let words = words[self.rng.usize(..words.len())];
        let request = self.request();
        self.command(request, words, MissionKind::Plan);
    }

    /// The user gives the mission more tokens.
    fn raise_budget(&mut self) {
        let request = self.request();
        let spent = self.engine.missions().values().next().unwrap().spent.tokens;
        let words = format!("budget missionTokens={} taskTokens=0", spent + 100_000);
        self.command(request, &words, MissionKind::Task);
    }

    fn command(&mut self, request: u64, words: &str, kind: MissionKind) {
        let (session, objective) = (ROOT.into(), words.into());
        self.handle(Event::MissionRequested { request, session, objective, kind });
    }

    /// For every file, at most one session may write it.
    fn check_writers(&self) {
        for file in 0..8 {
            // A session that was created twice, and whose creation got lost, is a stranger that is never prompted.
            let prompted = self.sessions.iter().filter(|session| !session.prompts.is_empty());
            let writers = prompted.filter(|session| {
                let question = Question::MayWrite {
                    session: session.id.clone(),
                    paths: vec![Some(format!("src/{file}.ts"))],
                };
                self.engine.answer(&question)["allowed"] == json!(true)
            });
            assert!(writers.count() <= 1, "two sessions may write src/{file}.ts");
        }
    }

    fn user(&mut self) {
        let session = SessionId::from(ROOT);
        match self.rng.u32(..3000) {
            0 => {
                *self.faults.entry("stop").or_default() += 1;
                let request = self.request();
                let session = [session, SessionId::from("ses_elsewhere")][self.rng.usize(..2)].clone();
                self.handle(Event::StopRequested { request, session });
            }
            1..4 => {
                *self.faults.entry("interrupt").or_default() += 1;
                self.handle(Event::Interrupted { session, cause: Interruption::User });
            }
            4..8 => {
                let request = self.request();
                let revision = if self.rng.bool() {
                    json!({"add": [{"id": format!("extra{request}"), "title": "t", "objective": "o",
                        "files": ["src/0.ts"], "acceptance": [["true"]]}]})
                } else {
                    [
                        json!({"cancel": ["t1"]}),
                        json!({"reprioritise": [{"task": "t1", "priority": "low"}]}),
                        json!({"split": [{"task": "t2", "into": [{"id": format!("part{request}"), "title": "t",
                            "objective": "o", "files": ["src/0.ts"], "acceptance": [["true"]]}]}]}),
                    ][self.rng.usize(..3)]
                    .clone()
                };
                self.handle(Event::PlanRevised { request, session, revision, denied: vec![] });
            }
            8..12 => {
                let request = self.request();
                let limits =
                    json!({"workerSlots": 1 + self.rng.u64(..20), "sessions": 1 + self.rng.u64(..20)});
                self.handle(Event::LimitsChanged { request, limits });
            }
            12..16 => {
                let model = ["a/x", "a/y", "b/x"][self.rng.usize(..3)].into();
                self.handle(Event::ModelNoted { session, model });
            }
            16..24 => {
                let percent = self.rng.u64(..=100);
                self.handle(Event::MemoryMeasured { percent });
            }
            _ => {}
        }
    }

    /// Runs until the mission has ended.
    fn run(&mut self) {
        for _ in 0..40_000 {
            let stage = self.engine.missions().values().next().unwrap().stage.clone();
            match stage {
                Stage::Sealed | Stage::Stopped | Stage::Failed { .. } => return self.settle(),
                Stage::Paused { .. } => {
                    self.resumes += 1;
                    if self.resumes > 60 {
                        let request = self.request();
                        self.handle(Event::StopRequested { request, session: ROOT.into() });
                    } else if self.rng.bool() {
                        self.raise_budget();
                    } else if self.rng.bool() {
                        self.revise_blocked();
                    } else if self.rng.bool() || self.agenda.is_empty() {
                        self.request_mission("");
                    }
                }
                Stage::Approval => self.decide(),
                Stage::Planning
                | Stage::Executing
                | Stage::Verifying { .. }
                | Stage::MasterReview
                | Stage::Stopping { .. } => {}
            }
            if self.rng.u32(..200) == 0 {
                self.check_writers();
            }
            if self.rng.u32(..1_000) == 0 && self.fault_rate > 0.0 {
                *self.faults.entry("crash").or_default() += 1;
                self.crash();
            }
            if self.rng.u32(..1_000) == 0 && self.fault_rate > 0.0 {
                *self.faults.entry("rebuild").or_default() += 1;
                self.rebuild();
            }
            self.user();
            self.step();
        }
        panic!(
            "the mission does not come to an end: {}",
            self.engine.answer(&Question::Status { session: ROOT.into() })["text"]
        );
    }

    fn step(&mut self) {
        let deadline = self.engine.next_deadline();
        let next = self.agenda.keys().next().copied();
        match (next, deadline) {
            (Some((at, _)), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                self.now = self.now.max(at);
                let (_, happening) = self.agenda.pop_first().unwrap();
                match happening {
                    Happening::Deliver(event) => self.handle(event),
                    Happening::Execute(effect) => self.execute(effect),
                    Happening::EndTurn { session, prompt, facts } => self.end_turn(&session, prompt, facts),
                }
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                self.handle(Event::DeadlinePassed {});
                assert!(
                    self.engine.next_deadline().is_none_or(|next| next > self.now),
                    "a deadline that has passed is due again"
                );
            }
            (None, None) => {
                let mission = self.engine.missions().values().next().unwrap();
                assert!(
                    !mission.is_under_way() && !matches!(mission.stage, Stage::Stopping { .. }),
                    "nothing will wake the mission: {mission:#?}"
                );
            }
            (Some(_), None) => unreachable!("without a deadline the agenda goes first"),
        }
    }

    /// After the end nothing may happen any more, whatever still arrives.
    fn settle(&mut self) {
        let stage = self.engine.missions().values().next().unwrap().stage.clone();
        for role in ROLES {
            assert_eq!(self.engine.slots_held(role), 0, "a slot is held after the end");
        }
        while let Some((_, happening)) = self.agenda.pop_first() {
            if let Happening::Deliver(event) = happening {
                self.handle(event);
            }
        }
        let mission = self.engine.missions().values().next().unwrap();
        assert_eq!(mission.stage, stage, "the end was not the end");
        let survivors = &mission.survivors;
        for session in &self.sessions {
            assert!(
                !session.busy || survivors.contains(&session.id) || !mission.sessions.contains(&session.id),
                "{} is busy after the end",
                session.id
            );
        }
        self.crash();
        assert_eq!(self.engine.missions().values().next().unwrap().stage, stage);
    }
}

fn outcome_of(happening: &Happening, id: EffectId) -> bool {
    matches!(happening, Happening::Deliver(
        Event::SessionOpened { effect, .. } | Event::PromptSent { effect } | Event::SessionAborted { effect, .. }
        | Event::SessionLookedUp { effect, .. } | Event::SnapshotTaken { effect, .. }
        | Event::ChecksFinished { effect, .. } | Event::CommandsKilled { effect, .. }) if *effect == id)
}

fn not_found() -> HostError {
    HostError::new("NotFoundError", "no such session")
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run();
    world
}

#[test]
fn every_mission_ends_whatever_the_host_does() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match variable("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..variable("SIM_SEEDS").unwrap_or(10_000)).collect(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut faults, mut outcomes, mut events) = (Faults::new(), BTreeMap::<String, u64>::new(), 0);
    let results: Vec<_> = std::thread::scope(|scope| {
        let chunks = seeds.chunks(seeds.len().div_ceil(threads)).map(|chunk| {
            scope.spawn(move || {
                chunk
                    .iter()
                    .map(|&seed| {
                        let world = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| {
                            panic!("seed {seed}: SIM_SEED={seed} cargo test -p orchestrator-engine --test simulator")
                        });
                        if seed % 100 == 0 {
                            assert_eq!(run(seed).journal, world.journal, "seed {seed} gives another journal");
                        }
                        (world.faults, world.outcomes, world.events)
                    })
                    .collect::<Vec<_>>()
            })
        });
        chunks.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for (of_seed, rests, count) in results {
        for (name, count) in of_seed {
            *faults.entry(name).or_default() += count;
        }
        if let Some(last) = rests.last() {
            *outcomes.entry(format!("{last:?}")).or_default() += 1;
        }
        events += count;
    }
    println!("{} seeds, {events} events, ended {outcomes:?}\nfaults {faults:?}", seeds.len());
    if seeds.len() >= 10_000 {
        for name in FAULTS {
            let count = faults.get(name).copied().unwrap_or(0);
            assert!(count >= 1_000, "{name} happened only {count} times");
        }
        assert!(outcomes["Sealed"] > seeds.len() as u64 / 3, "missions should be sealed: {outcomes:?}");
    }
}
