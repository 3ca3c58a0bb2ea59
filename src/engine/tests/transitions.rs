//! Every event in every state: what becomes of it, where it leads, and what the world is asked to do.
//!
//! Without this an event that arrives in an odd moment could be taken, or dropped, and nobody would have decided
//! which. The table is `transitions.txt`: a section for each scene, a line for each outcome, with the events that have
//! it. States are reached by feeding events, so that none stands here that cannot occur. A scene is needed for each
//! state and a sample for each event of the schema; the lines of a scene must name each sample once.
//!
//! `TRANSITIONS=write cargo test -p orchestrator-engine --test transitions` makes the table anew.
//!
//! What is rendered for people (`Annotate`, `RenderTodo`) follows from the state alone and is left out.

#![expect(clippy::unwrap_used, reason = "a scene that cannot be built is a failure")]
#![expect(clippy::disallowed_methods, reason = "the table is written when someone asks for it from outside")]

use std::collections::BTreeSet;

use orchestrator_engine::{
    Agents, Answer, Approval, Attempt, CheckReport, Effect, EffectId, Ending, Engine, Event, Finding,
    Handled, HostError, Interruption, Limits, Millis, Mission, MissionId, MissionKind, PauseReason, Phase,
    Scheduling, SessionId, Stage, Subject, TaskId, TaskState, ToolFailure, Turn, TurnFacts, Verdict,
};
use serde_json::{Value, json};

const ROOT: &str = "ses_root";
const EXPECTED: &str = include_str!("transitions.txt");

#[test]
fn every_event_in_every_state() {
    let mut seen = BTreeSet::new();
    let mut actual = String::new();
    for (name, build) in SCENES {
        seen.extend(build().states());
        actual.push_str(&section(name, *build));
    }
    let all: BTreeSet<_> = STAGES.iter().chain(&TURNS).chain(&TASKS).copied().collect();
    assert_eq!(seen, all, "each state needs a scene");
    if std::env::var("TRANSITIONS").is_ok_and(|value| value == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions.txt");
        return std::fs::write(path, actual).unwrap();
    }
    for (expected, actual) in EXPECTED.split_inclusive("\n\n").zip(actual.split_inclusive("\n\n")) {
        assert!(expected == actual, "the table says\n{expected}and the engine\n{actual}");
    }
    assert_eq!(
        EXPECTED.len(),
        actual.len(),
        "scenes are missing from the table, or stand there without being built"
    );
}

#[test]
fn every_event_has_a_sample() {
    let schema = schemars::schema_for!(Event).to_value();
    let variants = schema["oneOf"].as_array().unwrap().iter();
    let all: BTreeSet<_> =
        variants.map(|variant| variant["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect();
    let scene = Scene::start(Limits::default());
    let of = |event: Event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned();
    let sampled: BTreeSet<_> = samples(&scene).into_iter().map(|(_, _, event)| of(event)).collect();
    assert_eq!(sampled, all);
}

/// The scene's part of the table, as the engine has it.
fn section(name: &str, build: fn() -> Scene) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    let before = build().describe();
    for index in 0..samples(&build()).len() {
        let mut scene = build();
        let (sample, later, event) = samples(&scene).swap_remove(index);
        let outcome = check(&mut scene, later, event);
        match lines.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, samples)) => samples.push(sample),
            None => lines.push((outcome, vec![sample])),
        }
    }
    let lines: String = lines
        .into_iter()
        .map(|(outcome, samples)| format!("{outcome}\n    {}\n", samples.join(", ")))
        .collect();
    format!("# {name}: {}\n{lines}\n", before.join(", "))
}

/// Feeds the event and tells what became of it.
fn check(scene: &mut Scene, later: Millis, event: Event) -> String {
    let (before, state) = (scene.describe(), serde_json::to_string(&scene.engine).unwrap());
    scene.now += later;
    let handled = scene.engine.handle(scene.now, event);
    scene.engine.check_invariants();
    let effects: Vec<_> =
        std::iter::from_fn(|| scene.engine.poll_effect()).filter_map(|effect| name(&effect)).collect();
    let after = scene.describe();
    let mut outcome = match handled {
        Handled::Changed => "changed".to_owned(),
        Handled::Ignored(why) => {
            assert_eq!(
                serde_json::to_string(&scene.engine).unwrap(),
                state,
                "what is ignored changes nothing"
            );
            format!("ignored, {why:?}")
        }
    };
    let moves: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, b)| format!("{a} → {b}")).collect();
    if !moves.is_empty() {
        outcome += &format!("; {}", moves.join(", "));
    }
    if !effects.is_empty() {
        outcome += &format!("; {}", effects.join(", "));
    }
    outcome
}

fn name(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Annotate { .. } | Effect::RenderTodo { .. } => None,
        Effect::Reply { answer: Answer::Accepted { .. }, .. } => Some("accept".into()),
        Effect::Reply { answer: Answer::Refused { code, .. }, .. } => Some(format!("refuse {code}")),
        Effect::ReportMission { outcome, .. } => Some(format!("reportMission {outcome:?}")),
        Effect::OpenSession { .. }
        | Effect::Prompt { .. }
        | Effect::AbortSession { .. }
        | Effect::LookUpSession { .. }
        | Effect::TakeSnapshot { .. }
        | Effect::RunChecks { .. }
        | Effect::CancelChecks { .. }
        | Effect::RefusePermission { .. }
        | Effect::KillCommands { .. }
        | Effect::ShowToast { .. }
        | Effect::TellCommander { .. } => {
            Some(serde_json::to_value(effect).unwrap()["type"].as_str().unwrap().to_owned())
        }
    }
}

/// Each event as it would come in for the attempt or the checks of the scene, with the time that passes before.
fn samples(scene: &Scene) -> Vec<(&'static str, Millis, Event)> {
    let request = 99;
    let root = || SessionId::from(ROOT);
    let session = scene.session();
    let effect = scene.effect();
    let asked = scene.asked();
    let error = || HostError::new("APIError", "503");
    let facts = |finish: Option<&str>| TurnFacts {
        finish: finish.map(str::to_owned),
        error: None,
        text: "done".into(),
    };
    let ended = |prompt, facts| Event::TurnEnded { session: session.clone(), prompt, facts };
    let found = |prompted, busy, facts| Event::SessionLookedUp {
        effect: asked,
        session: Some(if session.0 == NOBODY { "ses_1".into() } else { session.clone() }),
        prompted,
        busy,
        facts,
    };
    let commands = |kind, objective: &str| Event::MissionRequested {
        request,
        session: root(),
        objective: objective.into(),
        kind,
    };
    let asks = |objective| commands(MissionKind::Task, objective);
    let plans = |words| commands(MissionKind::Plan, words);
    let revised = |revision| Event::PlanRevised { request, session: root(), revision, denied: vec![] };
    let (work, review) =
        (json!({"summary": "s", "files": ["a.ts"]}), json!({"verdict": "pass", "summary": "s"}));
    let submitted = |plan| Event::PlanSubmitted { request, session: session.clone(), plan, denied: vec![] };
    let used = |tokens| Event::UsageReported {
        session: session.clone(),
        message: "msg_1".into(),
        tokens,
        cost_micros: 1,
    };
    let due = scene.engine.next_deadline().map_or(0, |at| at.saturating_sub(scene.now));
    let fence = format!("```json\n{work}\n```");
    let retries =
        |wait_ms| Event::RetryScheduled { session: session.clone(), message: "slow down".into(), wait_ms };
    let tool = |failure| Event::ToolEnded { session: session.clone(), tool: "read".into(), failure };
    let failure = ToolFailure { command: Some("a".into()), exit_code: None, message: "no such file".into() };
    let overflow = HostError::new("ContextOverflowError", "too long");
    let refusal = HostError { status: Some(401), ..HostError::new("APIError", "no key") };
    let blocked = json!({"summary": "s", "files": [], "blocked": "Which key?"});
    let mut not_run = report(Verdict::Unknown);
    not_run.findings[0].code = "CHECK_NOT_RUN".into();
    vec![
        ("engineStarted", 0, started(scene.engine.limits().clone())),
        ("limitsChanged", 0, Event::LimitsChanged { request, limits: json!({"workerSlots": 3}) }),
        ("limitsChanged wrong", 0, Event::LimitsChanged { request, limits: json!({"workerSlots": 0}) }),
        ("modelNoted", 0, Event::ModelNoted { session: root(), model: "a/b".into() }),
        ("memoryMeasured high", 0, Event::MemoryMeasured { percent: 99 }),
        ("memoryMeasured low", 0, Event::MemoryMeasured { percent: 1 }),
        ("deadlinePassed early", 0, Event::DeadlinePassed {}),
        ("deadlinePassed", due, Event::DeadlinePassed {}),
        ("deadlinePassed a day late", 86_400_000, Event::DeadlinePassed {}),
        ("missionRequested", 0, asks("Another")),
        ("missionRequested empty", 0, asks("")),
        ("missionRequested budget", 0, asks("budget missionTokens=1000000")),
        ("missionRequested fix", 0, commands(MissionKind::Fix, "It is broken")),
        ("missionRequested plan", 0, plans("Another")),
        ("missionRequested approve", 0, plans("approve")),
        ("missionRequested edit", 0, plans("edit smaller tasks")),
        ("missionRequested refuse", 0, plans("refuse it is too much")),
        ("stopRequested", 0, Event::StopRequested { request, session: root() }),
        ("stopRequested elsewhere", 0, Event::StopRequested { request, session: "ses_elsewhere".into() }),
        ("commandsKilled", 0, Event::CommandsKilled { effect, alive: vec![] }),
        ("interrupted", 0, Event::Interrupted { session: root(), cause: Interruption::User }),
        ("planSubmitted", 0, submitted(plan())),
        ("planSubmitted wrong", 0, submitted(json!({}))),
        ("workSubmitted", 0, Event::WorkSubmitted { request, session: session.clone(), work }),
        (
            "workSubmitted blocked",
            0,
            Event::WorkSubmitted { request, session: session.clone(), work: blocked },
        ),
        ("reviewSubmitted", 0, Event::ReviewSubmitted { request, session: session.clone(), review }),
        ("planRevised add", 0, revised(json!({"add": [spec("new", &[])]}))),
        ("planRevised cancel", 0, revised(json!({"cancel": ["a"]}))),
        ("planRevised retry", 0, revised(json!({"retry": ["a", "a"]}))),
        (
            "planRevised split",
            0,
            revised(json!({"split": [{"task": "a", "into": [spec("a1", &[]), spec("a2", &["a1"])]}]})),
        ),
        ("planRevised reprioritise", 0, revised(json!({"reprioritise": [{"task": "a", "priority": "low"}]}))),
        ("sessionOpened", 0, Event::SessionOpened { effect, session: "ses_1".into() }),
        ("promptSent", 0, Event::PromptSent { effect }),
        ("sessionAborted", 0, Event::SessionAborted { effect, busy: false }),
        ("sessionAborted busy", 0, Event::SessionAborted { effect, busy: true }),
        (
            "sessionLookedUp gone",
            0,
            Event::SessionLookedUp {
                effect: asked,
                session: None,
                prompted: false,
                busy: false,
                facts: None,
            },
        ),
        ("sessionLookedUp unprompted", 0, found(false, false, None)),
        ("sessionLookedUp busy", 0, found(true, true, None)),
        ("sessionLookedUp idle", 0, found(true, false, None)),
        ("sessionLookedUp finished", 0, found(true, false, Some(facts(Some("stop"))))),
        ("effectFailed", 0, Event::EffectFailed { effect, error: error() }),
        ("effectFailed look-up", 0, Event::EffectFailed { effect: asked, error: error() }),
        ("stepStarted", 0, Event::StepStarted { session: session.clone() }),
        ("stepFinished", 0, Event::StepFinished { session: session.clone(), finish: "stop".into() }),
        (
            "stepFinished unknown",
            0,
            Event::StepFinished { session: session.clone(), finish: "unknown".into() },
        ),
        ("retryScheduled", 0, retries(1_000)),
        ("retryScheduled in an hour", 0, retries(3_600_000)),
        ("sessionErred", 0, Event::SessionErred { session: session.clone(), error: error() }),
        ("sessionErred overflow", 0, Event::SessionErred { session: session.clone(), error: overflow }),
        ("toolCalled", 0, Event::ToolCalled { session: session.clone(), tool: "read".into() }),
        ("toolEnded", 0, tool(None)),
        ("toolEnded failed", 0, tool(Some(failure))),
        (
            "permissionAsked",
            0,
            Event::PermissionAsked {
                session: session.clone(),
                permission: "per_1".into(),
                what: "run rm".into(),
            },
        ),
        (
            "permissionAnswered",
            0,
            Event::PermissionAnswered { session: session.clone(), permission: "per_1".into(), allowed: true },
        ),
        ("turnEnded", 0, ended(Some(effect), facts(Some("stop")))),
        ("turnEnded earlier", 0, ended(Some(EffectId(0)), facts(Some("stop")))),
        ("turnEnded untold", 0, ended(None, facts(Some("stop")))),
        ("turnEnded error", 0, ended(Some(effect), TurnFacts { error: Some(error()), ..facts(None) })),
        ("turnEnded refused", 0, ended(Some(effect), TurnFacts { error: Some(refusal), ..facts(None) })),
        ("turnEnded text", 0, ended(Some(effect), TurnFacts { text: fence, ..facts(Some("stop")) })),
        ("snapshotTaken", 0, Event::SnapshotTaken { effect, snapshot: json!({}) }),
        ("checksFinished", 0, Event::ChecksFinished { effect, report: report(Verdict::Pass) }),
        ("checksFinished fail", 0, Event::ChecksFinished { effect, report: report(Verdict::Fail) }),
        ("checksFinished not run", 0, Event::ChecksFinished { effect, report: not_run }),
        ("notified", 0, Event::Notified { effect: scene.notice() }),
        ("effectFailed notice", 0, Event::EffectFailed { effect: scene.notice(), error: error() }),
        ("usageReported", 0, used(100)),
        ("usageReported beyond the budget", 0, used(100_000)),
        ("todoEdited", 0, Event::TodoEdited { text: "- [ ] mine".into(), cut: false }),
    ]
}

fn started(limits: Limits) -> Event {
    Event::EngineStarted {
        limits,
        agents: Agents::default(),
        approval: Approval::Auto,
        scheduling: Scheduling::default(),
    }
}

const NOBODY: &str = "ses_nobody";

fn spec(id: &str, depends_on: &[&str]) -> Value {
    json!({"id": id, "title": id, "objective": "o", "files": [format!("{id}.ts")], "depends_on": depends_on,
        "acceptance": [["true"]]})
}

/// Task `b` waits for task `a`, so that one attempt is live at a time.
fn plan() -> Value {
    json!({"tasks": [spec("a", &[]), spec("b", &["a"])], "checks": [["true"]]})
}

fn report(verdict: Verdict) -> CheckReport {
    let finding = Finding { code: "COMMAND_FAILED".into(), path: None, message: "1".into(), detail: None };
    CheckReport {
        verdict,
        findings: if verdict == Verdict::Pass { vec![] } else { vec![finding] },
        evidence: vec![json!({"kind": "command"})],
        changed: vec![],
    }
}

const STAGES: [&str; 23] = [
    "planning",
    "executing",
    "verifying",
    "in master review",
    "interrupted in planning",
    "interrupted in executing",
    "interrupted in verifying",
    "interrupted in master review",
    "asking in planning",
    "asking in executing",
    "asking in verifying",
    "asking in master review",
    "stopping the root",
    "stopping",
    "killing commands",
    "sealed",
    "stopped",
    "failed",
    "approval",
    "out of budget in planning",
    "out of budget in executing",
    "out of budget in verifying",
    "out of budget in master review",
];

fn stage(stage: &Stage) -> &'static str {
    let phase = |phase: &Phase| match phase {
        Phase::Planning => 0,
        Phase::Executing => 1,
        Phase::Verifying => 2,
        Phase::MasterReview => 3,
    };
    STAGES[match stage {
        Stage::Planning => 0,
        Stage::Executing => 1,
        Stage::Verifying(_) => 2,
        Stage::MasterReview => 3,
        Stage::Paused { reason: PauseReason::Interrupted, phase: at } => 4 + phase(at),
        Stage::Paused { reason: PauseReason::NeedsUser { .. }, phase: at } => 8 + phase(at),
        Stage::Approval => 18,
        Stage::Paused { reason: PauseReason::Budget { .. }, phase: at } => 19 + phase(at),
        Stage::Stopping { ending: Ending::Root { .. }, .. } => 12,
        Stage::Stopping { ending: Ending::Tree { .. }, .. } => 13,
        Stage::Stopping { ending: Ending::Commands { .. }, .. } => 14,
        Stage::Sealed => 15,
        Stage::Stopped => 16,
        Stage::Failed { .. } => 17,
    }]
}

const TURNS: [&str; 9] = [
    "queued",
    "waiting",
    "snapshotting",
    "opening",
    "prompting",
    "prompting, submitted",
    "working",
    "submitted",
    "aborting",
];

fn turn(attempt: &Attempt) -> &'static str {
    TURNS[match attempt.turn {
        Turn::Queued { not_before: None } => 0,
        Turn::Queued { not_before: Some(_) } => 1,
        Turn::Snapshotting { .. } => 2,
        Turn::Opening { .. } => 3,
        Turn::Prompting { .. } if attempt.submission.is_none() => 4,
        Turn::Prompting { .. } => 5,
        Turn::Working { .. } if attempt.submission.is_none() => 6,
        Turn::Working { .. } => 7,
        Turn::Aborting { .. } => 8,
    }]
}

const TASKS: [&str; 8] =
    ["pending", "ready", "running", "checking", "reviewing", "done", "blocked", "cancelled"];

fn task(state: &TaskState) -> &'static str {
    TASKS[match state {
        TaskState::Pending => 0,
        TaskState::Ready { .. } => 1,
        TaskState::Running { .. } => 2,
        TaskState::Checking(_) => 3,
        TaskState::Reviewing { .. } => 4,
        TaskState::Done => 5,
        TaskState::Blocked { .. } => 6,
        TaskState::Cancelled => 7,
    }]
}

/// An engine that has been brought into a state.
struct Scene {
    engine: Engine,
    now: Millis,
}

impl Scene {
    fn start(limits: Limits) -> Self {
        let mut scene = Self { engine: Engine::default(), now: 1_000_000 };
        scene.feed(started(limits));
        scene
    }

    /// A mission whose planner's session is being opened.
    fn mission(limits: Limits) -> Self {
        let mut scene = Self::start(limits);
        scene.feed(Event::MissionRequested {
            request: 1,
            session: ROOT.into(),
            objective: "Build it".into(),
            kind: MissionKind::Task,
        });
        scene
    }

    /// A mission whose plan waits for the user.
    fn planned() -> Self {
        let scene = Self::start(limits()).then(|_| Event::MissionRequested {
            request: 1,
            session: ROOT.into(),
            objective: "Build it".into(),
            kind: MissionKind::Plan,
        });
        scene.done()
    }

    /// The live session has taken more than the mission may.
    fn spent(self) -> Self {
        self.then(|scene| Event::UsageReported {
            session: scene.session(),
            message: "msg_0".into(),
            tokens: 60_000,
            cost_micros: 1,
        })
    }

    fn feed(&mut self, event: Event) {
        self.now += 1;
        assert_eq!(self.engine.handle(self.now, event.clone()), Handled::Changed, "{event:?}");
        self.engine.check_invariants();
        while self.engine.poll_effect().is_some() {}
    }

    fn then(mut self, event: impl FnOnce(&Self) -> Event) -> Self {
        let event = event(&self);
        self.feed(event);
        self
    }

    fn opened(self) -> Self {
        let session = SessionId(format!("ses_{}", self.now));
        self.then(|scene| Event::SessionOpened { effect: scene.effect(), session })
    }

    fn prompted(self) -> Self {
        self.then(|scene| Event::PromptSent { effect: scene.effect() })
    }

    fn working(self) -> Self {
        self.opened().prompted()
    }

    fn ended(self) -> Self {
        let facts = TurnFacts { finish: Some("stop".into()), error: None, text: "done".into() };
        self.then(|scene| Event::TurnEnded { session: scene.session(), prompt: Some(scene.effect()), facts })
    }

    /// The live session's turn ends in an error.
    fn failed(self) -> Self {
        let error = Some(HostError::new("APIError", "503"));
        let facts = TurnFacts { error, ..TurnFacts::default() };
        self.then(|scene| Event::TurnEnded { session: scene.session(), prompt: Some(scene.effect()), facts })
    }

    fn submitted(self) -> Self {
        self.then(|scene| {
            let (request, session) = (1, scene.session());
            match scene.attempt().unwrap().subject {
                Subject::Plan => Event::PlanSubmitted { request, session, plan: plan(), denied: vec![] },
                Subject::Task { .. } => Event::WorkSubmitted {
                    request,
                    session,
                    work: json!({"summary": "s", "files": ["a.ts"]}),
                },
                Subject::Review { .. } | Subject::Reading { .. } | Subject::Master => {
                    Event::ReviewSubmitted {
                        request,
                        session,
                        review: json!({"verdict": "pass", "summary": "s"}),
                    }
                }
            }
        })
    }

    /// The live attempt does what it is there for.
    fn done(self) -> Self {
        self.working().submitted().ended()
    }

    fn hashed(self) -> Self {
        self.then(|scene| Event::SnapshotTaken { effect: scene.effect(), snapshot: json!({}) })
    }

    fn checked(self, verdict: Verdict) -> Self {
        self.then(|scene| Event::ChecksFinished { effect: scene.effect(), report: report(verdict) })
    }

    fn executing(limits: Limits) -> Self {
        Self::mission(limits).done()
    }

    fn checking(limits: Limits) -> Self {
        Self::executing(limits).hashed().done()
    }

    fn reviewing(limits: Limits) -> Self {
        Self::checking(limits).checked(Verdict::Pass)
    }

    fn verifying(limits: Limits) -> Self {
        Self::reviewing(limits).done().hashed().done().checked(Verdict::Pass).done()
    }

    fn master(limits: Limits) -> Self {
        Self::verifying(limits).checked(Verdict::Pass)
    }

    fn interrupted(self) -> Self {
        self.then(|_| Event::Interrupted { session: ROOT.into(), cause: Interruption::User })
    }

    fn aborted(self) -> Self {
        self.then(|scene| Event::SessionAborted { effect: scene.effect(), busy: false })
    }

    fn stopping(self) -> Self {
        self.then(|_| Event::StopRequested { request: 1, session: ROOT.into() })
    }

    fn stopping_elsewhere(self) -> Self {
        self.then(|_| Event::StopRequested { request: 1, session: "ses_elsewhere".into() })
    }

    fn killed(self) -> Self {
        self.then(|scene| Event::CommandsKilled { effect: scene.effect(), alive: vec![] })
    }

    fn revised(self, revision: Value) -> Self {
        self.then(|_| Event::PlanRevised { request: 1, session: ROOT.into(), revision, denied: vec![] })
    }

    /// The host is asked how the session stands.
    fn restarted(self) -> Self {
        self.then(|scene| started(scene.engine.limits().clone()))
    }

    fn runaway(mut self) -> Self {
        for _ in 0..3 {
            self =
                self.then(|scene| Event::StepFinished { session: scene.session(), finish: "unknown".into() });
        }
        self
    }

    fn expired(mut self) -> Self {
        self.now = self.engine.next_deadline().unwrap();
        self.then(|_| Event::DeadlinePassed {})
    }

    fn watched(&self) -> Option<&Mission> {
        self.engine.missions().get(&MissionId(1))
    }

    /// The attempt of task `a` if it has one, else the only one.
    fn attempt(&self) -> Option<&Attempt> {
        let attempts = &self.watched()?.attempts;
        let of_a =
            attempts.values().find(|attempt| attempt.subject == Subject::Task { task: TaskId("a".into()) });
        of_a.or_else(|| attempts.values().next())
    }

    fn session(&self) -> SessionId {
        self.attempt().and_then(|attempt| attempt.session.clone()).unwrap_or_else(|| NOBODY.into())
    }

    /// The effect whose outcome the attempt or the checks wait for; otherwise one that is settled.
    fn effect(&self) -> EffectId {
        let Some(mission) = self.watched() else { return EffectId(0) };
        let of_turn = self.attempt().and_then(|attempt| match attempt.turn {
            Turn::Queued { .. } => None,
            Turn::Snapshotting { effect }
            | Turn::Opening { effect }
            | Turn::Prompting { effect }
            | Turn::Working { prompt: effect }
            | Turn::Aborting { effect, .. } => Some(effect),
        });
        let of_checks = mission.tasks.values().find_map(|task| match &task.state {
            TaskState::Checking(checks) => Some(checks.effect),
            TaskState::Pending
            | TaskState::Ready { .. }
            | TaskState::Running { .. }
            | TaskState::Reviewing { .. }
            | TaskState::Done
            | TaskState::Blocked { .. }
            | TaskState::Cancelled => None,
        });
        let of_project =
            if let Stage::Verifying(checks) = mission.stage { Some(checks.effect) } else { None };
        let of_stop = if let Stage::Stopping { ending, .. } = &mission.stage {
            match ending {
                Ending::Root { effect, .. } | Ending::Commands { effect } => Some(*effect),
                Ending::Tree { checks } => checks.first().copied(),
            }
        } else {
            None
        };
        of_stop.or(of_turn).or(of_checks).or(of_project).unwrap_or(EffectId(0))
    }

    /// The newest notice whose delivery is not known; otherwise one that is settled.
    fn notice(&self) -> EffectId {
        let engine = serde_json::to_value(&self.engine).unwrap();
        let newest = engine["notices"].as_object().unwrap().keys().map(|id| id.parse().unwrap()).max();
        EffectId(newest.unwrap_or(0))
    }

    /// The look-up that the attempt waits for; otherwise one that is settled.
    fn asked(&self) -> EffectId {
        let attempt = serde_json::to_value(self.attempt()).unwrap();
        EffectId(attempt["lookUp"].as_u64().unwrap_or(0))
    }

    fn states(&self) -> Vec<&'static str> {
        let Some(mission) = self.watched() else { return Vec::new() };
        let tasks = mission.tasks.values().map(|of| task(&of.state));
        let turns = mission.attempts.values().map(turn);
        tasks.chain(turns).chain([stage(&mission.stage)]).collect()
    }

    /// The state in words: the mission, its attempt, its tasks.
    fn describe(&self) -> [String; 4] {
        let Some(mission) = self.watched() else {
            return ["no mission", "nobody", "no a", "no b"].map(str::to_owned);
        };
        let attempt = self.attempt().map_or("nobody".to_owned(), |attempt| {
            let subject = match &attempt.subject {
                Subject::Plan => "planner".to_owned(),
                Subject::Task { task } => format!("worker of {}", task.0),
                Subject::Review { task } => format!("reviewer of {}", task.0),
                Subject::Reading { task } => format!("reader for {}", task.0),
                Subject::Master => "master reviewer".to_owned(),
            };
            format!("{subject} {}", turn(attempt))
        });
        let of = |id: &str| {
            mission.tasks.get(id).map_or(format!("no {id}"), |found| format!("{id} {}", task(&found.state)))
        };
        [stage(&mission.stage).to_owned(), attempt, of("a"), of("b")]
    }
}

fn limits() -> Limits {
    Limits::default()
}

/// One mistake, and the user is asked.
fn strict() -> Limits {
    Limits {
        fixes: 0,
        recoveries: 0,
        iterations: 1,
        worker_slots: 1,
        sessions_per_agent: 1,
        ..Limits::default()
    }
}

/// A mission of a few tokens or milliseconds.
fn poor() -> Limits {
    Limits { mission_tokens: 50_000, ..Limits::default() }
}

/// A task `c` comes before `a` in a lane of one.
fn behind_another() -> Scene {
    let mut other = spec("c", &[]);
    other["priority"] = json!("high");
    let tasks = json!({"tasks": [spec("a", &[]), spec("b", &["a"]), other], "checks": [["true"]]});
    Scene::mission(strict())
        .working()
        .then(|scene| Event::PlanSubmitted {
            request: 1,
            session: scene.session(),
            plan: tasks,
            denied: vec![],
        })
        .ended()
}

type Build = fn() -> Scene;

/// How each state is reached.
const SCENES: &[(&str, Build)] = &[
    ("no mission", || Scene::start(limits())),
    ("planner opens", || Scene::mission(limits())),
    ("planner opens, asked", || Scene::mission(limits()).restarted()),
    ("planner prompted", || Scene::mission(limits()).opened()),
    ("planner prompted, asked", || Scene::mission(limits()).opened().restarted()),
    ("planner prompted and submitted, asked", || Scene::mission(limits()).opened().submitted().restarted()),
    ("planner works", || Scene::mission(limits()).working()),
    ("planner works, asked", || Scene::mission(limits()).working().restarted()),
    ("planner submitted", || Scene::mission(limits()).working().submitted()),
    ("planner submitted, asked", || Scene::mission(limits()).working().submitted().restarted()),
    ("planner failed", || Scene::mission(limits()).working().failed()),
    ("planner runs away", || Scene::mission(limits()).working().runaway()),
    ("planner submitted and runs away", || Scene::mission(limits()).working().submitted().runaway()),
    ("planner runs away, asked", || {
        let error = HostError::new("timeout", "");
        let scene = Scene::mission(limits()).working().runaway();
        scene.then(|scene| Event::EffectFailed { effect: scene.effect(), error })
    }),
    ("worker hashes", || Scene::executing(limits())),
    ("worker opens", || Scene::executing(limits()).hashed()),
    ("worker prompted", || Scene::executing(limits()).hashed().opened()),
    ("worker works", || Scene::executing(limits()).hashed().working()),
    ("worker submitted", || Scene::executing(limits()).hashed().working().submitted()),
    ("worker failed", || Scene::executing(limits()).hashed().working().failed()),
    ("worker waits for a slot", behind_another),
    ("checks of a task", || Scene::checking(limits())),
    ("last checks of a task", || Scene::checking(strict())),
    ("fix prompted", || Scene::checking(limits()).checked(Verdict::Fail)),
    ("reviewer opens", || Scene::reviewing(limits())),
    ("reviewer works", || Scene::reviewing(limits()).working()),
    ("reviewer submitted", || Scene::reviewing(limits()).working().submitted()),
    ("one task done", || Scene::reviewing(limits()).done()),
    ("one task given up", || Scene::executing(limits()).revised(json!({"cancel": ["b"]}))),
    ("project checks", || Scene::verifying(limits())),
    ("last project checks", || Scene::verifying(strict())),
    ("master reviewer opens", || Scene::master(limits())),
    ("master reviewer works", || Scene::master(limits()).working()),
    ("master reviewer works, last round", || Scene::master(strict()).working()),
    ("master reviewer submitted", || Scene::master(limits()).working().submitted()),
    ("interrupted opening", || Scene::mission(limits()).interrupted()),
    ("interrupted planner", || Scene::mission(limits()).working().interrupted()),
    ("interrupted planner rests", || Scene::mission(limits()).working().interrupted().aborted()),
    ("interrupted hashing", || Scene::executing(limits()).interrupted()),
    ("interrupted worker rests", || Scene::executing(limits()).hashed().working().interrupted().aborted()),
    ("interrupted after a submission", || {
        Scene::executing(limits()).hashed().working().submitted().interrupted().aborted()
    }),
    ("interrupted checks of a task", || Scene::checking(limits()).interrupted()),
    ("interrupted project checks", || Scene::verifying(limits()).interrupted()),
    ("interrupted master reviewer rests", || Scene::master(limits()).working().interrupted().aborted()),
    ("no plan", || Scene::mission(strict()).working().failed()),
    ("a task is blocked", || Scene::checking(strict()).checked(Verdict::Fail)),
    ("project checks give nothing", || Scene::verifying(strict()).expired()),
    ("no master review", || Scene::master(strict()).working().failed()),
    ("plan waits for approval", Scene::planned),
    ("planner edits", || {
        Scene::planned().then(|_| Event::MissionRequested {
            request: 1,
            session: ROOT.into(),
            objective: "edit smaller tasks".into(),
            kind: MissionKind::Plan,
        })
    }),
    ("worker is given up", || {
        Scene::executing(limits()).hashed().working().revised(json!({"cancel": ["a"]}))
    }),
    ("worker is given up and interrupted", || {
        Scene::executing(limits()).hashed().working().revised(json!({"cancel": ["a"]})).interrupted()
    }),
    ("worker is split", || {
        let into = json!([spec("a1", &[]), spec("a2", &["a1"])]);
        Scene::executing(limits()).hashed().working().revised(json!({"split": [{"task": "a", "into": into}]}))
    }),
    ("planner is out of budget", || Scene::mission(poor()).working().spent()),
    ("planner is out of budget and rests", || Scene::mission(poor()).working().spent().aborted()),
    ("worker is out of budget", || Scene::executing(poor()).hashed().working().spent().aborted()),
    ("task is out of budget", || {
        let limits = Limits { task_tokens: 50_000, ..Limits::default() };
        Scene::executing(limits).hashed().working().spent()
    }),
    ("task is out of budget and blocked", || {
        let limits = Limits { task_tokens: 50_000, ..Limits::default() };
        Scene::executing(limits).hashed().working().spent().aborted()
    }),
    ("project checks are out of time", || {
        Scene::verifying(Limits { mission_ms: 1_000, ..Limits::default() }).expired()
    }),
    ("master reviewer is out of budget", || Scene::master(poor()).working().spent().aborted()),
    ("stopping", || Scene::executing(limits()).hashed().working().stopping()),
    ("sealed", || Scene::master(limits()).done()),
    ("stopping from elsewhere", || Scene::executing(limits()).hashed().working().stopping_elsewhere()),
    ("stopping from elsewhere, restarted", || {
        Scene::executing(limits()).hashed().working().stopping_elsewhere().restarted()
    }),
    ("stopping checks", || Scene::checking(limits()).stopping()),
    ("stopping commands", || Scene::mission(limits()).stopping()),
    ("stopping commands, restarted", || Scene::mission(limits()).stopping().restarted()),
    ("stopped", || Scene::mission(limits()).stopping().killed()),
    ("failed", || {
        let scene = Scene::master(strict()).working();
        let review =
            json!({"verdict": "fail", "summary": "s", "findings": [{"message": "m", "files": ["a.ts"]}]});
        scene.then(|scene| Event::ReviewSubmitted { request: 1, session: scene.session(), review }).ended()
    }),
];
