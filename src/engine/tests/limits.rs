//! Every limit at its edge: what is still done at it, and what follows when it is reached.
//!
//! Without this a limit could be documented, accepted in the configuration, and never looked at. A limit of the table
//! that has no test here fails the first one.

#![expect(clippy::unwrap_used, reason = "a mission that cannot be brought to its limit is a failure")]

use std::collections::BTreeSet;

use orchestrator_engine::{
    Agents, Answer, Approval, Attempt, CheckReport, Effect, EffectId, Engine, Event, Finding, Handled,
    LIMITS, Limits, Millis, Mission, MissionId, MissionKind, PauseReason, Role, Scheduling, SessionId, Stage,
    Subject, TaskId, TaskState, ToolFailure, Turn, TurnFacts, Verdict,
};
use serde_json::{Value, json};

/// A test for each limit, by its name.
const EDGES: &[(&str, fn())] = &[
    ("plannerSlots", planner_slots),
    ("workerSlots", worker_slots),
    ("reviewerSlots", reviewer_slots),
    ("sessions", sessions),
    ("planTasks", plan_tasks),
    ("iterations", iterations),
    ("fixes", fixes),
    ("recoveries", recoveries),
    ("nudges", nudges),
    ("promptsPerSession", prompts_per_session),
    ("stepsPerAttempt", steps_per_attempt),
    ("stepsPerMinute", steps_per_minute),
    ("unfinishedSteps", unfinished_steps),
    ("toolCallsPerAttempt", tool_calls_per_attempt),
    ("sameErrors", same_errors),
    ("retryAfterMs", retry_after_ms),
    ("permissionMs", permission_ms),
    ("sessionTtlMs", session_ttl_ms),
    ("sweepMs", sweep_ms),
    ("stopMs", stop_ms),
    ("commandMs", command_ms),
    ("tasksInMemory", tasks_in_memory),
    ("missionTokens", mission_tokens),
    ("missionCostCents", mission_cost_cents),
    ("missionMs", mission_ms),
    ("taskTokens", task_tokens),
    ("taskCostCents", task_cost_cents),
    ("taskMs", task_ms),
];

/// Limits whose edge is elsewhere: those of the scheduler, and those that the host keeps for us; with the words there.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("sessionsPerAgent", SCHEDULE, "\"sessionsPerAgent\": 4"),
    ("sessionsPerProvider", SCHEDULE, "\"sessionsPerProvider\": 5"),
    ("sessionsPerModel", SCHEDULE, "\"sessionsPerModel\": 6"),
    ("growthSuccesses", SCHEDULE, "results_make_a_lane_grow"),
    ("ageingMs", SCHEDULE, "ageing_ms"),
    ("circuitFailures", SCHEDULE, "five_failures_open_the_circuit"),
    ("circuitOpenMs", SCHEDULE, "one_probe_at_a_time"),
    ("circuitSuccesses", SCHEDULE, "one_probe_at_a_time"),
    ("memoryPercent", SCHEDULE, "percent: 81"),
    ("plannerRace", SCHEDULE, "planner_race: "),
    ("silenceMs", include_str!("../../../__test__/recovery.test.mjs"), "silenceMs: "),
    ("shutdownMs", include_str!("../../../__test__/stop.test.mjs"), "shutdownMs: "),
];
const SCHEDULE: &str = include_str!("schedule.rs");

#[test]
fn every_limit_has_an_edge() {
    for (name, test, words) in ELSEWHERE {
        assert!(test.contains(words), "the edge of {name} is gone");
    }
    let elsewhere = ELSEWHERE.iter().map(|(name, ..)| *name);
    let tested: BTreeSet<_> = EDGES.iter().map(|(name, _)| *name).chain(elsewhere).collect();
    let all: BTreeSet<_> = LIMITS.iter().map(|limit| limit.name).collect();
    assert_eq!(tested, all);
}

#[test]
fn edges() {
    for (name, test) in EDGES {
        assert!(std::panic::catch_unwind(test).is_ok(), "the edge of {name}");
    }
}

// --- Slots and sizes ---

/// Planner, worker and reviewer slots; a lane of one lends none.
fn lanes(limits: &mut Limits, slots: [u64; 3]) {
    [limits.planner_slots, limits.worker_slots, limits.reviewer_slots] = slots;
}

fn planner_slots() {
    let mut run = Run::new(|limits| lanes(limits, [2, 1, 1]));
    for root in ["a", "b", "c"] {
        run.request(root, "Build it", MissionKind::Task);
    }
    assert_eq!(run.engine.slots_held(Role::Planner), 2);
    run.fill(1, &Subject::Plan, plan(&["a"]));
    assert_eq!(run.engine.slots_held(Role::Planner), 2, "the third is admitted");
}

fn worker_slots() {
    let mut run = Run::planned(|limits| lanes(limits, [1, 2, 1]), &["a", "b", "c"]);
    assert_eq!(run.engine.slots_held(Role::Worker), 2);
    run.fill(1, &work("a"), done("a"));
    assert_eq!(run.engine.slots_held(Role::Worker), 2);
}

fn reviewer_slots() {
    let mut run = Run::planned(|limits| lanes(limits, [1, 1, 2]), &["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        run.fill(1, &work(id), done(id));
        run.check(Verdict::Pass);
    }
    assert_eq!(run.engine.slots_held(Role::Reviewer), 2);
}

fn sessions() {
    let run = Run::planned(|limits| limits.sessions = 3, &["a", "b", "c", "d", "e"]);
    assert_eq!(run.engine.slots_held(Role::Worker), 3);
}

fn plan_tasks() {
    let mut run = Run::new(|limits| limits.plan_tasks = 2);
    run.request("root", "Build it", MissionKind::Task);
    assert_eq!(run.submit(1, &Subject::Plan, plan(&["a", "b", "c"])), "BLANK_INVALID");
    run.fill(1, &Subject::Plan, plan(&["a", "b"]));
    assert_eq!(run.mission(1).tasks.len(), 2);
    let add = json!({"add": [spec("c")]});
    let event = Event::PlanRevised { request: 1, session: "root".into(), revision: add, denied: vec![] };
    assert_eq!(run.asked(event), "BLANK_INVALID");
    // What the master review finds counts as well; none of it is left out so that the rest fits.
    let finding = json!({"message": "mend", "files": ["a.ts"]});
    for (findings, more) in [(vec![finding.clone()], true), (vec![finding.clone(), finding], false)] {
        let mut run = Run::planned(|limits| limits.plan_tasks = 2, &["a"]);
        run.carry_out("a", "a");
        let review = json!({"verdict": "fail", "summary": "s", "findings": findings});
        run.fill(1, &Subject::Master, review);
        if more {
            assert_eq!((&run.mission(1).stage, run.mission(1).tasks.len()), (&Stage::Executing, 2));
            continue;
        }
        let reason = "the findings of the master review would make more than 2 tasks";
        assert_eq!(run.mission(1).stage, Stage::Failed { reason: reason.into() });
        assert!(run.report.contains(reason), "{}", run.report);
    }
}

fn tasks_in_memory() {
    for (tasks_in_memory, kept) in [(2, vec![1, 2]), (1, vec![2])] {
        let mut run = Run::planned(|limits| limits.tasks_in_memory = tasks_in_memory, &["a"]);
        run.asked(Event::StopRequested { request: 1, session: "root".into() });
        run.abort();
        assert_eq!(run.mission(1).stage, Stage::Stopped);
        run.engine.take_dirty();
        run.request("root", "Another", MissionKind::Task);
        run.fill(2, &Subject::Plan, plan(&["a"]));
        let ids: Vec<_> = run.engine.missions().keys().map(|id| id.0).collect();
        assert_eq!(ids, kept);
        let shown = run.engine.take_dirty();
        let left = shown.iter().find(|(id, _)| *id == MissionId(1));
        assert_eq!(
            left.map(|(_, summary)| summary["stage"].as_str().unwrap()),
            (kept.len() == 1).then_some("stopped")
        );
        // Its sessions stay fenced, and its number is not given again.
        run.request("ses_1", "From a session of ours", MissionKind::Task);
        run.request("elsewhere", "A third", MissionKind::Task);
        assert_eq!(run.engine.missions().keys().last(), Some(&MissionId(3)));
        assert_eq!(run.mission(3).root, "elsewhere".into());
    }
}

// --- Rounds and attempts ---

fn iterations() {
    let mut run = Run::planned(|limits| limits.iterations = 2, &["a"]);
    let finding = json!({"message": "mend", "files": ["a.ts"]});
    for round in 1..=2 {
        let id = if round == 1 { "a".to_owned() } else { "finding-2-1".to_owned() };
        run.carry_out(&id, "a");
        assert_eq!(run.mission(1).iterations, round);
        let review = json!({"verdict": "fail", "summary": "s", "findings": [finding]});
        run.fill(1, &Subject::Master, review);
    }
    assert!(matches!(run.mission(1).stage, Stage::Failed { .. }));
}

fn fixes() {
    let mut run = Run::planned(|limits| limits.fixes = 1, &["a"]);
    run.fill(1, &work("a"), done("a"));
    run.check(Verdict::Fail);
    assert!(matches!(run.task("a"), TaskState::Running { .. }));
    run.fill(1, &work("a"), done("a"));
    run.check(Verdict::Fail);
    assert!(matches!(run.task("a"), TaskState::Blocked { .. }));
}

fn recoveries() {
    let mut run = Run::planned(
        |limits| {
            limits.recoveries = 1;
            limits.nudges = 0;
        },
        &["a"],
    );
    run.end(1, &work("a"));
    run.wake();
    assert!(matches!(run.task("a"), TaskState::Running { .. }), "a fresh attempt");
    run.end(1, &work("a"));
    assert!(matches!(run.task("a"), TaskState::Blocked { .. }));
}

fn nudges() {
    let mut run = Run::planned(|limits| limits.nudges = 2, &["a"]);
    let before = run.mission(1).prompts;
    for prompts in [1, 2, 2] {
        run.end(1, &work("a"));
        assert_eq!(run.mission(1).prompts, before + prompts);
    }
    assert_eq!(run.mission(1).failures, 1);
}

fn prompts_per_session() {
    let mut run = Run::planned(|limits| limits.prompts_per_session = 2, &["a"]);
    let first = run.of(1, &work("a")).session.clone();
    let mut same = Vec::new();
    for _ in 0..2 {
        run.fill(1, &work("a"), done("a"));
        run.check(Verdict::Fail);
        same.push(run.of(1, &work("a")).session == first);
    }
    assert_eq!(same, [true, false]);
}

fn steps_per_attempt() {
    let mut run = Run::planned(|limits| limits.steps_per_attempt = 3, &["a"]);
    for aborts in [0, 0, 0, 1] {
        run.step(61_000);
        assert_eq!(run.aborts.len(), aborts);
    }
}

fn steps_per_minute() {
    let mut run = Run::planned(|limits| limits.steps_per_minute = 3, &["a"]);
    for aborts in [0, 0, 0, 1] {
        run.step(19_999);
        assert_eq!(run.aborts.len(), aborts);
    }
    let mut run = Run::planned(|limits| limits.steps_per_minute = 3, &["a"]);
    for _ in 0..10 {
        run.step(20_000);
    }
    assert_eq!(run.aborts.len(), 0, "three within any minute");
}

fn unfinished_steps() {
    let mut run = Run::planned(|limits| limits.unfinished_steps = 2, &["a"]);
    for aborts in [0, 1] {
        let session = run.of(1, &work("a")).session.clone().unwrap();
        run.feed(Event::StepFinished { session, finish: "unknown".into() });
        assert_eq!(run.aborts.len(), aborts);
    }
}

fn tool_calls_per_attempt() {
    let mut run = Run::planned(|limits| limits.tool_calls_per_attempt = 2, &["a"]);
    for aborts in [0, 0, 1] {
        let session = run.of(1, &work("a")).session.clone().unwrap();
        run.feed(Event::ToolCalled { session, tool: "read".into() });
        assert_eq!(run.aborts.len(), aborts);
    }
}

fn same_errors() {
    let mut run = Run::planned(|limits| limits.same_errors = 2, &["a"]);
    for (message, aborts) in [("no such file", 0), ("out of memory", 0), ("out of memory", 1)] {
        let session = run.of(1, &work("a")).session.clone().unwrap();
        let failure = ToolFailure { command: None, exit_code: Some(1), message: message.into() };
        run.feed(Event::ToolEnded { session, tool: "bash".into(), failure: Some(failure) });
        assert_eq!(run.aborts.len(), aborts, "{message}");
    }
}

// --- Times ---

fn retry_after_ms() {
    let mut run = Run::planned(|limits| limits.retry_after_ms = 5_000, &["a"]);
    for (wait_ms, aborts) in [(5_000, 0), (5_001, 1)] {
        let session = run.of(1, &work("a")).session.clone().unwrap();
        run.feed(Event::RetryScheduled { session, message: "429".into(), wait_ms });
        assert_eq!(run.aborts.len(), aborts);
    }
}

fn permission_ms() {
    let mut run = Run::planned(|limits| limits.permission_ms = 2_000, &["a"]);
    let session = run.of(1, &work("a")).session.clone().unwrap();
    run.feed(Event::PermissionAsked { session, permission: "per_1".into(), what: "run rm".into() });
    run.pass(1_999);
    assert_eq!(run.refused, 0);
    run.pass(1);
    assert_eq!(run.refused, 1);
}

fn session_ttl_ms() {
    let mut run = Run::planned(|limits| limits.session_ttl_ms = 60_000, &["a"]);
    run.pass(59_999);
    assert_eq!(run.aborts.len(), 0);
    run.pass(1);
    assert_eq!(run.aborts.len(), 1);
}

fn sweep_ms() {
    let mut run = Run::planned(|limits| limits.sweep_ms = 1_000, &["a"]);
    run.pass(999);
    assert_eq!(run.look_ups, 0);
    run.pass(1);
    assert_eq!(run.look_ups, 1);
}

fn stop_ms() {
    let mut run = Run::planned(|limits| limits.stop_ms = 2_000, &["a"]);
    run.asked(Event::StopRequested { request: 1, session: "root".into() });
    run.pass(1_999);
    assert!(matches!(run.mission(1).stage, Stage::Stopping { .. }));
    run.pass(1);
    assert_eq!(run.mission(1).stage, Stage::Stopped);
    assert_eq!(run.mission(1).survivors.len(), 1);
    assert!(run.report.ends_with("\nSessions that could not be ended: ses_2\n"), "{}", run.report);

    // What would not die is named, processes too; a stop of which nothing is left names nothing.
    for (alive, last) in [(vec![], "failed attempts."), (vec![4711, 4712], "could not be ended: 4711, 4712")]
    {
        let mut run = Run::planned(|_| {}, &["a"]);
        run.alive = alive;
        run.asked(Event::StopRequested { request: 1, session: "root".into() });
        run.abort();
        assert_eq!(run.mission(1).stage, Stage::Stopped);
        assert!(run.report.trim_end().ends_with(last), "{}", run.report);
        assert!(!run.report.contains("Sessions that"), "{}", run.report);
    }
}

fn command_ms() {
    let mut run = Run::planned(|limits| limits.command_ms = 5_000, &["a"]);
    run.fill(1, &work("a"), done("a"));
    assert_eq!(run.checks.last().map(|(_, timeout)| *timeout), Some(5_000));
}

// --- Budgets ---

fn mission_tokens() {
    let mut run = Run::planned(|limits| limits.mission_tokens = 100, &["a"]);
    run.used("msg_1", 99, 0);
    run.used("msg_1", 99, 0);
    assert_eq!(run.mission(1).stage, Stage::Executing, "an answer is counted once");
    run.used("msg_2", 1, 0);
    run.paused_for_budget("missionTokens of 100 tokens is reached, 100 tokens are spent");
    assert_eq!(run.request("root", "budget missionTokens=100", MissionKind::Task), "BUDGET_INVALID");
    run.goes_on("budget missionTokens=101");
    run.used("msg_3", 1, 0);
    run.paused_for_budget("missionTokens of 101 tokens");
    run.goes_on("budget missionTokens=0");
}

fn mission_cost_cents() {
    let mut run = Run::planned(|limits| limits.mission_cost_cents = 2, &["a"]);
    run.used("msg_1", 0, 19_999);
    assert_eq!(run.mission(1).stage, Stage::Executing);
    run.used("msg_1", 0, 20_000);
    run.paused_for_budget("missionCostCents of 0.02 is reached, 0.02 are spent");
    run.goes_on("budget missionCostCents=3");
}

fn mission_ms() {
    let mut run = Run::planned(|limits| limits.mission_ms = 10_000, &["a"]);
    let started = run.mission(1).started;
    run.until(started + 9_999);
    assert_eq!(run.mission(1).stage, Stage::Executing);
    run.until(started + 10_000);
    run.paused_for_budget("missionMs of 10000 ms is reached, 10000 ms are spent");
    run.pass(60_000);
    run.goes_on("budget missionMs=12000");
    run.pass(1_999);
    assert_eq!(run.mission(1).stage, Stage::Executing, "a pause takes no time");
    run.pass(1);
    run.paused_for_budget("missionMs of 12000 ms");
}

fn task_tokens() {
    let mut run = Run::planned(|limits| limits.task_tokens = 100, &["a", "b"]);
    run.used("msg_1", 99, 0);
    assert!(matches!(run.task("a"), TaskState::Running { .. }));
    run.used("msg_1", 100, 0);
    run.blocked_for_budget("taskTokens of 100 tokens");
    assert!(matches!(run.task("b"), TaskState::Running { .. }), "the others go on");
    assert_eq!(run.request("root", "budget taskTokens=200", MissionKind::Task), "accepted");
    assert!(matches!(run.task("a"), TaskState::Running { .. }));
}

fn task_cost_cents() {
    let mut run = Run::planned(|limits| limits.task_cost_cents = 2, &["a"]);
    run.used("msg_1", 0, 19_999);
    assert!(matches!(run.task("a"), TaskState::Running { .. }));
    run.used("msg_1", 0, 20_000);
    run.blocked_for_budget("taskCostCents of 0.02");
    run.goes_on("budget taskCostCents=3");
}

fn task_ms() {
    let mut run = Run::planned(|limits| limits.task_ms = 10_000, &["a"]);
    let started = run.mission(1).tasks["a"].started.unwrap();
    run.until(started + 9_999);
    assert_eq!(run.aborts.len(), 0);
    run.until(started + 10_000);
    run.blocked_for_budget("taskMs of 10000 ms");
    run.goes_on("budget taskMs=20000");
}

// --- The host ---

/// An engine with a host that does at once whatever is asked, and whose models do nothing by themselves.
struct Run {
    engine: Engine,
    now: Millis,
    opened: u64,
    aborts: Vec<EffectId>,
    checks: Vec<(EffectId, u64)>,
    look_ups: usize,
    refused: usize,
    answer: String,
    /// The last report of a mission.
    report: String,
    /// Processes that outlive being killed.
    alive: Vec<u32>,
}

impl Run {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut run = Self {
            engine: Engine::default(),
            now: 1_000_000,
            opened: 0,
            aborts: Vec::new(),
            checks: Vec::new(),
            look_ups: 0,
            refused: 0,
            answer: String::new(),
            report: String::new(),
            alive: Vec::new(),
        };
        run.feed(Event::EngineStarted {
            limits,
            agents: Agents::default(),
            approval: Approval::Auto,
            scheduling: Scheduling::default(),
        });
        run
    }

    /// A mission with these tasks, none of which waits for another.
    fn planned(change: impl FnOnce(&mut Limits), tasks: &[&str]) -> Self {
        let mut run = Self::new(change);
        run.request("root", "Build it", MissionKind::Task);
        run.fill(1, &Subject::Plan, plan(tasks));
        run
    }

    fn feed(&mut self, event: Event) -> Handled {
        let handled = self.engine.handle(self.now, event);
        self.engine.check_invariants();
        while let Some(effect) = self.engine.poll_effect() {
            let event = match effect {
                Effect::OpenSession { effect, .. } => {
                    self.opened += 1;
                    Event::SessionOpened { effect, session: SessionId(format!("ses_{}", self.opened)) }
                }
                Effect::Prompt { effect, .. } => Event::PromptSent { effect },
                Effect::TakeSnapshot { effect, .. } => Event::SnapshotTaken { effect, snapshot: json!({}) },
                Effect::AbortSession { effect, .. } => {
                    self.aborts.push(effect);
                    continue;
                }
                Effect::RunChecks { effect, timeout_ms, .. } => {
                    self.checks.push((effect, timeout_ms));
                    continue;
                }
                Effect::KillCommands { effect, .. } => {
                    Event::CommandsKilled { effect, alive: self.alive.clone() }
                }
                Effect::ReportMission { report, .. } => {
                    self.report = report;
                    continue;
                }
                Effect::RefusePermission { .. } => {
                    self.refused += 1;
                    continue;
                }
                Effect::LookUpSession { .. } => {
                    self.look_ups += 1;
                    continue;
                }
                Effect::Reply { answer, .. } => {
                    self.answer = match answer {
                        Answer::Accepted { .. } => "accepted".into(),
                        Answer::Refused { code, .. } => code,
                    };
                    continue;
                }
                Effect::ShowToast { .. }
                | Effect::TellCommander { .. }
                | Effect::Annotate { .. }
                | Effect::CancelChecks { .. }
                | Effect::RenderTodo { .. } => continue,
            };
            self.feed(event);
        }
        handled
    }

    /// Feeds a request and gives its answer: `accepted`, or the code of the refusal.
    fn asked(&mut self, event: Event) -> String {
        self.answer.clear();
        self.feed(event);
        self.answer.clone()
    }

    fn request(&mut self, root: &str, words: &str, kind: MissionKind) -> String {
        let (session, objective) = (root.into(), words.into());
        self.asked(Event::MissionRequested { request: 1, session, objective, kind })
    }

    fn mission(&self, id: u64) -> &Mission {
        &self.engine.missions()[&MissionId(id)]
    }

    fn task(&self, id: &str) -> &TaskState {
        &self.mission(1).tasks[id].state
    }

    fn of(&self, mission: u64, subject: &Subject) -> &Attempt {
        self.mission(mission).attempts.values().find(|attempt| attempt.subject == *subject).unwrap()
    }

    fn submit(&mut self, mission: u64, subject: &Subject, value: Value) -> String {
        let session = self.of(mission, subject).session.clone().unwrap();
        self.asked(match subject {
            Subject::Plan => Event::PlanSubmitted { request: 1, session, plan: value, denied: vec![] },
            Subject::Task { .. } => Event::WorkSubmitted { request: 1, session, work: value },
            Subject::Review { .. } | Subject::Reading { .. } | Subject::Master => {
                Event::ReviewSubmitted { request: 1, session, review: value }
            }
        })
    }

    /// Ends the turn of an attempt.
    fn end(&mut self, mission: u64, subject: &Subject) {
        let Attempt { session, turn, .. } = self.of(mission, subject);
        let &Turn::Working { prompt } = turn else { panic!("{subject:?} does not work: {turn:?}") };
        let facts = TurnFacts { finish: Some("stop".into()), error: None, text: "done".into() };
        self.feed(Event::TurnEnded { session: session.clone().unwrap(), prompt: Some(prompt), facts });
    }

    fn fill(&mut self, mission: u64, subject: &Subject, value: Value) {
        assert_eq!(self.submit(mission, subject, value), "accepted");
        self.end(mission, subject);
    }

    /// Ends the last checks.
    fn check(&mut self, verdict: Verdict) {
        let finding = Finding {
            code: "COMMAND_FAILED".into(),
            path: None,
            message: format!("expected {}", self.checks.len()),
            detail: None,
        };
        let report = CheckReport {
            verdict,
            findings: if verdict == Verdict::Pass { vec![] } else { vec![finding] },
            evidence: vec![json!({"kind": "command"})],
            changed: vec![],
        };
        let (effect, _) = *self.checks.last().unwrap();
        self.feed(Event::ChecksFinished { effect, report });
    }

    /// Confirms the last abort.
    fn abort(&mut self) {
        let effect = *self.aborts.last().unwrap();
        self.feed(Event::SessionAborted { effect, busy: false });
    }

    /// Has the last task that is open be done: by its worker, who writes this, its reviewer and the project's checks.
    fn carry_out(&mut self, id: &str, file: &str) {
        self.fill(1, &work(id), done(file));
        self.check(Verdict::Pass);
        self.fill(1, &Subject::Review { task: TaskId(id.into()) }, pass());
        self.check(Verdict::Pass);
    }

    fn step(&mut self, after: Millis) {
        self.now += after;
        let session = self.of(1, &work("a")).session.clone().unwrap();
        self.feed(Event::StepStarted { session });
    }

    fn used(&mut self, message: &str, tokens: u64, cost_micros: u64) {
        let session = self.of(1, &work("a")).session.clone().unwrap();
        self.feed(Event::UsageReported { session, message: message.into(), tokens, cost_micros });
    }

    /// Lets time pass in one go.
    fn pass(&mut self, ms: Millis) {
        self.until(self.now + ms);
    }

    fn until(&mut self, at: Millis) {
        self.now = at;
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= at) {
            self.feed(Event::DeadlinePassed {});
        }
    }

    /// Passes the time to the next deadline.
    fn wake(&mut self) {
        self.until(self.engine.next_deadline().unwrap());
    }

    fn paused_for_budget(&mut self, says: &str) {
        let Stage::Paused { reason: PauseReason::Budget { question }, .. } = &self.mission(1).stage else {
            panic!("it is {:?}", self.mission(1).stage)
        };
        assert!(question.contains(says) && question.contains("/task budget"), "{question}");
        self.abort();
        assert_eq!(self.request("root", "", MissionKind::Task), "BUDGET_REACHED");
    }

    fn blocked_for_budget(&mut self, says: &str) {
        self.abort();
        let TaskState::Blocked { reason } = self.task("a") else { panic!("it is {:?}", self.task("a")) };
        assert!(reason.contains(says) && reason.contains("/task budget"), "{reason}");
    }

    fn goes_on(&mut self, words: &str) {
        assert_eq!(self.request("root", words, MissionKind::Task), "accepted");
        assert_eq!(self.mission(1).stage, Stage::Executing);
        assert!(matches!(self.task("a"), TaskState::Running { .. }));
    }
}

fn spec(id: &str) -> Value {
    json!({"id": id, "title": id, "objective": "o", "files": [format!("{id}.ts")], "acceptance": [["true"]]})
}

fn plan(tasks: &[&str]) -> Value {
    let tasks: Vec<_> = tasks.iter().map(|id| spec(id)).collect();
    json!({"tasks": tasks, "checks": [["true"]]})
}

fn work(id: &str) -> Subject {
    Subject::Task { task: TaskId(id.into()) }
}

fn done(id: &str) -> Value {
    json!({"summary": "s", "files": [format!("{id}.ts")]})
}

fn pass() -> Value {
    json!({"verdict": "pass", "summary": "s"})
}
