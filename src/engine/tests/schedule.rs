//! The scheduler through the engine's door: a host that answers at once, and a test that ends each turn when it likes.
//!
//! Without these a slot could be given above a cap, stay idle beside work, or never come back.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a scripted host has no users")]

use std::collections::BTreeMap;

use orchestrator_engine::{
    Agents, Answer, Approval, CheckReport, Effect, EffectId, Engine, Event, Handled, HostError, Limits,
    Millis, MissionId, MissionKind, Question, Role, Scheduling, SessionId, TaskState, TurnFacts, Verdict,
};
use serde_json::{Value, json};

const ROOT: &str = "ses_root";
const MODEL: &str = "acme/large";

/// A mission whose host takes every prompt at once. Sessions are named after their titles.
struct Host {
    engine: Engine,
    now: Millis,
    /// Sessions that were prompted and whose turn has not ended, with the prompt.
    working: BTreeMap<String, EffectId>,
    /// Sessions that were created, by title.
    opened: BTreeMap<String, u64>,
    /// Every session in the order in which they were prompted.
    prompted: Vec<String>,
    texts: Vec<String>,
    toasts: Vec<String>,
    aborts: Vec<(String, EffectId)>,
    replies: Vec<Answer>,
    /// Whether checks pass at once.
    passes: bool,
}

fn task(id: &str, depends_on: &[&str], more: Value) -> Value {
    let mut task = json!({"id": id, "title": id, "objective": "o", "files": [format!("{id}.ts")],
        "depends_on": depends_on, "acceptance": [["true"]]});
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

fn tasks(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| task(id, &[], json!({}))).collect()
}

impl Host {
    /// A host with a mission that waits for its plan.
    fn new(limits: Limits, scheduling: Value) -> Self {
        let mut host = Self {
            engine: Engine::default(),
            now: 1_000_000,
            working: BTreeMap::new(),
            opened: BTreeMap::new(),
            prompted: Vec::new(),
            texts: Vec::new(),
            toasts: Vec::new(),
            aborts: Vec::new(),
            replies: Vec::new(),
            passes: true,
        };
        let scheduling = Scheduling::parse(scheduling.as_object().unwrap()).unwrap();
        host.feed(Event::EngineStarted {
            limits,
            agents: Agents::default(),
            approval: Approval::Auto,
            scheduling,
        });
        host.feed(Event::MissionRequested {
            request: 1,
            session: ROOT.into(),
            objective: "Build it".into(),
            kind: MissionKind::Task,
        });
        host.feed(Event::ModelNoted { session: ROOT.into(), model: MODEL.into() });
        host
    }

    /// A host with a mission that executes these tasks.
    fn executing(limits: Limits, scheduling: Value, tasks: Vec<Value>) -> Self {
        let mut host = Self::new(limits, scheduling);
        host.submit("m1 plan", "plan", json!({"tasks": tasks, "checks": [["true"]]}));
        host.end("m1 plan");
        host
    }

    fn feed(&mut self, event: Event) -> Handled {
        let handled = self.engine.handle(self.now, event);
        self.engine.check_invariants();
        while let Some(effect) = self.engine.poll_effect() {
            self.take(effect);
        }
        handled
    }

    fn take(&mut self, effect: Effect) {
        let event = match effect {
            Effect::OpenSession { effect, title, .. } => {
                let times = self.opened.entry(title.clone()).or_default();
                *times += 1;
                let name = if *times == 1 { title } else { format!("{title} #{times}") };
                Event::SessionOpened { effect, session: SessionId(name) }
            }
            Effect::Prompt { effect, session, text, .. } => {
                self.working.insert(session.0.clone(), effect);
                self.prompted.push(session.0);
                self.texts.push(text);
                Event::PromptSent { effect }
            }
            Effect::TakeSnapshot { effect, .. } => Event::SnapshotTaken { effect, snapshot: json!({}) },
            Effect::RunChecks { effect, .. } if self.passes => {
                let evidence = vec![json!({"kind": "command", "argv": ["true"], "exitCode": 0})];
                let (verdict, findings, changed) = (Verdict::Pass, vec![], vec![]);
                Event::ChecksFinished { effect, report: CheckReport { verdict, findings, evidence, changed } }
            }
            Effect::AbortSession { effect, session } => return self.aborts.push((session.0, effect)),
            Effect::ShowToast { text, .. } => return self.toasts.push(text),
            Effect::Reply { answer, .. } => return self.replies.push(answer),
            _ => return,
        };
        assert_eq!(self.feed(event), Handled::Changed);
    }

    fn submit(&mut self, session: &str, blank: &str, value: Value) {
        let (request, session) = (1, SessionId::from(session));
        self.feed(match blank {
            "plan" => Event::PlanSubmitted { request, session, plan: value, denied: vec![] },
            "work" => Event::WorkSubmitted { request, session, work: value },
            _ => Event::ReviewSubmitted { request, session, review: value },
        });
        assert!(matches!(self.replies.last(), Some(Answer::Accepted { .. })), "{:?}", self.replies.last());
    }

    fn end_with(&mut self, session: &str, error: Option<HostError>) {
        let prompt = self.working.remove(session);
        let prompt = Some(prompt.unwrap_or_else(|| panic!("{session} is not at work: {:?}", self.working)));
        let finish = error.is_none().then(|| "stop".to_owned());
        let facts = TurnFacts { finish, error, text: "done".into() };
        assert_eq!(self.feed(Event::TurnEnded { session: session.into(), prompt, facts }), Handled::Changed);
    }

    fn end(&mut self, session: &str) {
        self.end_with(session, None);
    }

    /// The worker of a task submits and ends its turn.
    fn work(&mut self, id: &str) {
        let session = format!("m1 work {id}");
        self.submit(&session, "work", json!({"summary": "did", "files": [format!("{id}.ts")]}));
        self.end(&session);
    }

    fn review(&mut self, session: &str, verdict: &str) {
        self.submit(session, "review", json!({"verdict": verdict, "summary": "s", "findings": []}));
        self.end(session);
    }

    /// The task is worked on and passes its review.
    fn done(&mut self, id: &str) {
        self.work(id);
        self.review(&format!("m1 review {id}"), "pass");
    }

    /// The provider fails the session as it does when it cannot be reached.
    fn broken(&mut self, session: &str) {
        let error = HostError { status: Some(503), ..HostError::new("APIError", "Service Unavailable") };
        self.end_with(session, Some(error));
    }

    /// Time passes; what is due becomes due.
    fn pass(&mut self, ms: Millis) {
        let until = self.now + ms;
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.feed(Event::DeadlinePassed {});
        }
        self.now = until;
    }

    fn aborted(&mut self, session: &str) {
        let at = self.aborts.iter().position(|(name, _)| name == session);
        let (_, effect) = self.aborts.remove(at.unwrap_or_else(|| panic!("{session} is not aborted")));
        self.working.remove(session);
        assert_eq!(self.feed(Event::SessionAborted { effect, busy: false }), Handled::Changed);
    }

    fn revise(&mut self, add: Vec<Value>) {
        let revision = json!({ "add": add });
        self.feed(Event::PlanRevised { request: 1, session: ROOT.into(), revision, denied: vec![] });
        assert!(matches!(self.replies.last(), Some(Answer::Accepted { .. })), "{:?}", self.replies.last());
    }

    fn set(&mut self, limits: Value) -> Handled {
        self.feed(Event::LimitsChanged { request: 1, limits })
    }

    /// The sessions at work whose names begin so, in order.
    fn at_work(&self, what: &str) -> Vec<&str> {
        self.working.keys().filter_map(|name| name.strip_prefix(what)).collect()
    }

    fn status(&self) -> Value {
        self.engine.answer(&Question::Status { session: ROOT.into() })
    }

    fn counter(&self, name: &str) -> u64 {
        self.status()["missions"][0]["counters"][name].as_u64().unwrap()
    }

    fn waits(&self) -> Vec<String> {
        let status = self.status();
        let waiting = status["schedule"]["waiting"].as_array().unwrap().iter();
        waiting.map(|wait| wait["why"].as_str().unwrap().to_owned()).collect()
    }

    fn state(&self, id: &str) -> &TaskState {
        &self.engine.missions()[&MissionId(1)].tasks[id].state
    }
}

fn capped(agent: u64) -> Limits {
    Limits { sessions_per_agent: agent, ..Limits::default() }
}

#[test]
fn a_slot_takes_the_newest_successor_of_its_task_and_an_idle_one_steals_the_oldest() {
    let mut plan = tasks(&["a", "b"]);
    plan.extend(["a1", "a2", "a3"].map(|id| task(id, &["a"], json!({}))));
    let mut host = Host::executing(capped(2), json!({}), plan);
    assert_eq!(host.at_work("m1 work "), ["a", "b"]);
    host.done("a");
    assert_eq!(host.at_work("m1 work "), ["a3", "b"], "the newest, in the slot that had a");
    assert_eq!((host.counter("local"), host.counter("steals")), (1, 0));
    host.work("b");
    assert_eq!(host.at_work("m1 work "), ["a1", "a3"], "the oldest of the longest queue");
    assert_eq!((host.counter("local"), host.counter("steals")), (1, 1));
}

#[test]
fn an_idle_slot_steals_from_the_longest_queue_though_another_has_waited_longer() {
    // Without it a slot with much to do stays behind, while the others help where it is of least use.
    let mut plan = tasks(&["a", "b", "c", "d", "e"]);
    plan.push(task("a1", &["a"], json!({})));
    plan.extend(["b1", "b2", "b3"].map(|id| task(id, &["b"], json!({}))));
    let mut host = Host::executing(capped(3), json!({}), plan);
    for id in ["a", "b"] {
        host.work(id);
    }
    assert_eq!(host.at_work("m1 work "), ["c", "d", "e"], "in the slots that had a and b");
    for id in ["a", "b"] {
        host.review(&format!("m1 review {id}"), "pass");
    }
    host.work("c");
    assert_eq!(host.at_work("m1 work "), ["b1", "d", "e"], "a1 waits longer, and alone");
    host.work("b1");
    assert_eq!(host.at_work("m1 work "), ["b2", "d", "e"], "of two and one");
    assert_eq!((host.counter("local"), host.counter("steals")), (0, 2));
}

#[test]
fn the_time_that_attempts_wait_for_a_slot_is_counted_and_told() {
    // Without it nobody sees that more slots would help.
    let mut host = Host::executing(capped(1), json!({}), tasks(&["a", "b", "c"]));
    assert_eq!(host.counter("waitedMs"), 0, "what is admitted at once has not waited");
    host.now += 5_000;
    host.work("a");
    assert_eq!(host.counter("waitedMs"), 5_000);
    host.now += 3_000;
    host.work("b");
    assert_eq!(host.counter("waitedMs"), 5_000 + 8_000);
    let text = host.status()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("; waited 13000 ms in all;"), "{text}");
}

#[test]
fn a_fix_goes_back_to_the_slot_that_did_the_work() {
    let mut host = Host::executing(capped(2), json!({}), tasks(&["a", "b", "c"]));
    host.work("a");
    assert_eq!(host.at_work("m1 work "), ["b", "c"]);
    let finding = json!({"verdict": "fail", "summary": "s", "findings": [{"message": "mend it"}]});
    host.submit("m1 review a", "review", finding);
    host.end("m1 review a");
    host.work("b");
    assert_eq!(host.at_work("m1 work "), ["a", "c"], "the session of the mistake goes on");
    assert_eq!(host.counter("steals"), 1, "its own slot was taken");
}

#[test]
fn a_lane_lends_all_its_slots_but_one_and_has_them_back_first() {
    let limits = Limits {
        planner_slots: 1,
        worker_slots: 1,
        reviewer_slots: 4,
        growth_successes: 100,
        ..Limits::default()
    };
    let mut host = Host::executing(limits, json!({}), tasks(&["a", "b", "c", "d", "e", "f", "g"]));
    assert_eq!(host.at_work("m1 work "), ["a", "b", "c", "d"], "one of its own, three of the reviewers'");
    assert_eq!(host.counter("lent"), 3);
    host.work("b");
    assert_eq!(host.at_work("m1 review "), ["b"], "at once, in the slot that is never lent");
    assert_eq!(host.at_work("m1 work "), ["a", "c", "d", "e"], "what came back is lent again");
    host.work("c");
    assert_eq!(host.at_work("m1 work "), ["a", "d", "e", "f"]);
    host.work("d");
    assert_eq!(host.at_work("m1 review "), ["b", "c"], "what comes back goes to its own role first");
    assert_eq!(host.at_work("m1 work "), ["a", "e", "f"], "though there is work");
    host.review("m1 review b", "pass");
    assert_eq!(host.at_work("m1 review "), ["c", "d"]);
    assert_eq!(host.engine.slots_held(Role::Reviewer), 4);
}

#[test]
fn caps_hold_for_all_agents_providers_and_models() {
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let cases = [
        (json!({"sessions": 3}), json!({}), 3, "all roles"),
        (json!({"sessionsPerAgent": 4}), json!({}), 4, "the worker"),
        (json!({}), json!({"caps": {"agents": {"worker": 2}}}), 2, "the worker"),
        (json!({"sessionsPerProvider": 5}), json!({}), 5, "acme"),
        (json!({}), json!({"caps": {"providers": {"acme": 1, "other": 9}}}), 1, "acme"),
        (json!({"sessionsPerModel": 6}), json!({}), 6, MODEL),
        (json!({}), json!({"caps": {"models": {"acme/large": 2}}}), 2, MODEL),
        (
            json!({}),
            json!({"caps": {"models": {"acme/small": 3}}, "models": {"worker": "acme/small"}}),
            3,
            "acme/small",
        ),
    ];
    for (limits, scheduling, most, of) in cases {
        let mut host = Host::executing(Limits::parse(&limits).unwrap(), scheduling, tasks(&ids));
        let mut left = 8;
        while !host.at_work("m1 work ").is_empty() {
            let at_work = host.at_work("m1 work ");
            assert!(at_work.len() <= most, "{limits}: {at_work:?}");
            assert!(left <= most || at_work.len() == most, "{limits}: {at_work:?} of {left}");
            if left > most {
                let why = format!("waits: {most} sessions of {of} run, which is the cap");
                assert!(host.waits().contains(&why), "{limits}: {:?}", host.waits());
            }
            let id = at_work[0].to_owned();
            host.passes = false;
            host.work(&id);
            left -= 1;
        }
        assert_eq!(left, 0);
    }
}

#[test]
fn each_role_has_the_model_that_is_configured_for_it() {
    let models = json!({"models": {"worker": "acme/small"}});
    let host = Host::executing(Limits::default(), models, tasks(&["a"]));
    assert_eq!(host.status()["schedule"]["lanes"][1]["sessions"], 1);
    let attempt = host.engine.missions()[&MissionId(1)].attempts.values().next().unwrap();
    assert_eq!(serde_json::to_value(attempt).unwrap()["token"]["model"], "acme/small");
}

#[test]
fn what_waits_long_enough_goes_before_what_is_more_urgent() {
    let order = |ageing_ms| {
        let low = task("low", &[], json!({"priority": "low"}));
        let mut host = Host::executing(Limits { ageing_ms, ..capped(1) }, json!({}), tasks(&["first"]));
        host.revise(vec![low]);
        // There is always an urgent one that has just come when the slot comes free.
        for n in 0..5 {
            host.now += 50_000;
            host.revise(vec![task(&format!("h{n}"), &[], json!({"priority": "high"}))]);
            let id = host.at_work("m1 work ")[0].to_owned();
            host.work(&id);
        }
        let works = host.prompted.iter().filter_map(|name| name.strip_prefix("m1 work "));
        works.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(order(3_600_000), ["first", "h0", "h1", "h2", "h3", "h4"]);
    assert_eq!(order(40_000), ["first", "h0", "low", "h1", "h2", "h3"]);
}

#[test]
fn results_make_a_lane_grow_and_an_outage_cuts_it_once() {
    let ids: Vec<String> = (0..20).map(|n| format!("t{n:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let limits = Limits { worker_slots: 4, planner_slots: 1, reviewer_slots: 1, ..Limits::default() };
    let mut host = Host::executing(limits, json!({}), tasks(&ids));
    let size = |host: &Host| host.engine.lane(Role::Worker).unwrap().size();
    assert_eq!((size(&host), host.at_work("m1 work ").len()), (4, 4));
    for id in &ids[..3] {
        host.work(id);
    }
    assert_eq!((size(&host), host.at_work("m1 work ").len()), (5, 5), "three results in a row");
    let broken: Vec<String> = host.at_work("m1 work ").iter().map(|id| format!("m1 work {id}")).collect();
    for session in &broken[..3] {
        host.broken(session);
    }
    assert_eq!(size(&host), 2, "halved once, though three failed");
    assert_eq!(host.at_work("m1 work ").len(), 2, "and nothing was added above it");
    let finding = json!({"verdict": "fail", "summary": "s", "findings": [{"message": "mend it"}]});
    host.submit("m1 review t00", "review", finding);
    host.end("m1 review t00");
    assert_eq!(size(&host), 2, "a verdict is no failure of the provider");
}

#[test]
fn a_higher_limit_admits_who_waits_and_a_lower_one_takes_nothing_away() {
    let mut host = Host::executing(capped(2), json!({}), tasks(&["a", "b", "c", "d", "e", "f"]));
    assert_eq!(host.at_work("m1 work ").len(), 2);
    assert_eq!(host.set(json!({"sessionsPerAgent": 5})), Handled::Changed);
    assert_eq!(host.at_work("m1 work ").len(), 5, "waiters were woken");
    host.passes = false;
    host.set(json!({"sessionsPerAgent": 2}));
    assert_eq!(host.at_work("m1 work ").len(), 5, "nothing is taken away");
    for id in ["a", "b", "c"] {
        host.work(id);
    }
    assert_eq!(host.at_work("m1 work "), ["d", "e"], "and nothing is added above");
    host.work("d");
    assert_eq!(host.at_work("m1 work "), ["e", "f"]);
    let wrong = json!({"sessions": 0, "workerSlot": 3});
    assert!(matches!(host.set(wrong), Handled::Ignored(_)));
    let Some(Answer::Refused { code, text }) = host.replies.last() else { panic!("{:?}", host.replies) };
    assert_eq!(code, "LIMITS_INVALID");
    assert!(text.contains("limits.sessions: expected a whole number from 1 to 200, found 0"), "{text}");
    assert!(text.contains("limits.workerSlot: no such limit"), "{text}");
}

#[test]
fn the_user_changes_limits_while_a_mission_runs() {
    // Without it the number of sessions can be changed only by ending OpenCode.
    let mut host =
        Host::executing(Limits { sessions: 1, ..Limits::default() }, json!({}), tasks(&["a", "b", "c"]));
    assert_eq!(host.at_work("m1 work ").len(), 1);
    let command = |words: &str| Event::MissionRequested {
        request: 7,
        session: ROOT.into(),
        objective: words.into(),
        kind: MissionKind::Task,
    };
    host.feed(command("limit sessions=2 workerSlots=0 slots=x"));
    let Some(Answer::Refused { code, text }) = host.replies.last() else { panic!("{:?}", host.replies) };
    assert_eq!(code, "LIMITS_INVALID");
    assert!(text.contains("limits.slots: no such limit") && text.contains("limits.workerSlots"), "{text}");
    assert_eq!(host.at_work("m1 work ").len(), 1, "all or nothing");
    host.feed(command("limit sessions=2"));
    assert_eq!(host.at_work("m1 work ").len(), 2);
    assert_eq!(host.engine.missions().len(), 1, "it is no objective");
}

#[test]
fn fifty_workers_run_at_once_where_the_limits_allow_it() {
    let ids: Vec<String> = (0..60).map(|n| format!("t{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let limits = Limits { worker_slots: 50, sessions_per_agent: 50, ..Limits::default() };
    let host = Host::executing(limits, json!({}), tasks(&ids));
    assert_eq!(host.at_work("m1 work ").len(), 50);
}

#[test]
fn five_failures_open_the_circuit_and_one_probe_at_a_time_tries_it() {
    let limits = Limits { recoveries: 20, worker_slots: 5, ..capped(5) };
    let mut host = Host::executing(limits, json!({}), tasks(&["a", "b", "c", "d", "e"]));
    for id in ["a", "b", "c", "d", "e"] {
        host.broken(&format!("m1 work {id}"));
    }
    assert!(host.toasts.iter().any(|toast| toast.contains("acme/large has failed")), "{:?}", host.toasts);
    let opened = host.now;
    host.pass(29_999);
    assert_eq!(host.at_work("m1 work "), [] as [&str; 0], "nobody is sent while it is open");
    assert!(
        host.waits().iter().all(|why| why.contains("acme/large, which has failed")),
        "{:?}",
        host.waits()
    );
    host.pass(1);
    assert_eq!((host.now - opened, host.working.len()), (30_000, 1), "exactly one probe");
    let probe = host.working.keys().next().unwrap().clone();
    host.broken(&probe);
    host.pass(29_999);
    assert_eq!(host.working.len(), 0, "a failed probe opens it again");
    host.pass(60_000);
    for left in [1, 1] {
        assert_eq!(host.working.len(), left);
        let probe = host.working.keys().next().unwrap().clone();
        host.passes = false;
        host.submit(&probe, "work", json!({"summary": "s", "files": ["a.ts"]}));
        host.end(&probe);
    }
    assert!(host.toasts.iter().any(|toast| toast.contains("answers again")), "{:?}", host.toasts);
    assert_eq!(host.status()["schedule"]["circuits"], json!({}));
}

#[test]
fn low_priority_work_is_refused_while_memory_is_short() {
    let plan = vec![
        task("a", &[], json!({})),
        task("b", &["a"], json!({"priority": "low"})),
        task("c", &["a"], json!({})),
    ];
    let mut host = Host::executing(Limits::default(), json!({}), plan);
    assert!(matches!(host.feed(Event::MemoryMeasured { percent: 80 }), Handled::Ignored(_)), "not above it");
    assert_eq!(host.feed(Event::MemoryMeasured { percent: 81 }), Handled::Changed);
    host.done("a");
    assert_eq!(host.at_work("m1 work "), ["c"]);
    let why = "refused for now: 81 % of the memory is in use, and its priority is low";
    assert_eq!(host.waits(), [why]);
    assert!(host.status()["text"].as_str().unwrap().contains(&format!("m1 work b: {why}")));
    assert!(
        matches!(host.feed(Event::MemoryMeasured { percent: 79 }), Handled::Ignored(_)),
        "not low enough"
    );
    assert_eq!(host.feed(Event::MemoryMeasured { percent: 75 }), Handled::Changed);
    assert_eq!(host.at_work("m1 work "), ["b", "c"]);
}

#[test]
fn a_mission_of_low_priority_alone_goes_on_one_by_one_while_memory_is_short() {
    let plan = ["a", "b"].map(|id| task(id, &[], json!({"priority": "low"})));
    let mut host = Host::new(Limits::default(), json!({}));
    host.feed(Event::MemoryMeasured { percent: 91 });
    host.submit("m1 plan", "plan", json!({"tasks": plan, "checks": [["true"]]}));
    host.end("m1 plan");
    assert_eq!(host.at_work("m1 "), ["work a"]);
    host.work("a");
    assert_eq!(host.at_work("m1 "), ["work b"]);
    host.work("b");
    assert_eq!(host.working.len(), 1);
    for _ in 0..3 {
        let session = host.working.keys().next().unwrap().clone();
        host.review(&session, "pass");
    }
    assert_eq!(host.status()["missions"][0]["stage"], "sealed");
}

#[test]
fn the_first_reviewer_who_can_tell_wins_the_race() {
    let mut host = Host::executing(Limits::default(), json!({}), vec![task("a", &[], json!({"race": 3}))]);
    host.work("a");
    assert_eq!(host.at_work("m1 review a"), ["", " #2", " #3"]);
    host.review("m1 review a", "unknown");
    assert_eq!(host.at_work("m1 review a"), [" #2", " #3"], "who cannot tell has decided nothing");
    host.review("m1 review a #3", "pass");
    assert_eq!(host.state("a"), &TaskState::Done);
    assert_eq!(host.counter("racesLost"), 1);
    assert_eq!(host.engine.sessions_held(Role::Reviewer), 1, "until its end is known");
    host.aborted("m1 review a #2");
    host.review("m1 master review 1", "pass");
    assert_eq!(host.status()["missions"][0]["stage"], "sealed");
}

#[test]
fn the_first_plan_wins_and_a_planner_that_fails_ends_nothing() {
    let mut host = Host::new(Limits { planner_race: 3, planner_slots: 3, ..Limits::default() }, json!({}));
    assert_eq!(host.at_work("m1 plan"), ["", " #2", " #3"]);
    host.broken("m1 plan");
    assert_eq!(host.at_work("m1 plan"), [" #2", " #3"]);
    host.submit("m1 plan #2", "plan", json!({"tasks": tasks(&["a"]), "checks": [["true"]]}));
    host.end("m1 plan #2");
    assert_eq!(host.at_work("m1 work "), ["a"]);
    let late = json!({"tasks": tasks(&["z"]), "checks": [["true"]]});
    let (request, session) = (1, "m1 plan #3".into());
    host.feed(Event::PlanSubmitted { request, session, plan: late, denied: vec![] });
    assert!(matches!(host.replies.last(), Some(Answer::Refused { .. })), "the loser is fenced");
    host.aborted("m1 plan #3");
    assert_eq!(host.engine.sessions_held(Role::Planner), 0);
}

#[test]
fn a_reviewer_reads_ahead_and_reviews_in_the_same_session() {
    let plan = vec![task("a", &[], json!({})), task("b", &["a"], json!({}))];
    let mut host = Host::executing(Limits::default(), json!({"proactive": true}), plan);
    assert_eq!(host.at_work("m1 "), ["reading for a", "work a"]);
    assert!(!host.texts.last().unwrap().contains("submit_review"));
    let early = json!({"verdict": "pass", "summary": "s"});
    let (request, session) = (1, "m1 reading for a".into());
    host.feed(Event::ReviewSubmitted { request, session, review: early });
    assert!(matches!(host.replies.last(), Some(Answer::Refused { .. })), "it has nothing to judge yet");
    host.end("m1 reading for a");
    host.work("a");
    assert_eq!(host.at_work("m1 "), ["reading for a"], "the review goes on in it");
    assert!(host.texts.last().unwrap().contains("look at the files again"));
    host.review("m1 reading for a", "pass");
    assert_eq!(host.state("a"), &TaskState::Done);
    assert_eq!((host.counter("readings"), host.counter("readingsUsed")), (2, 1));
}

#[test]
fn reading_ahead_is_off_by_default_and_gives_way() {
    let host = Host::executing(Limits::default(), json!({}), tasks(&["a"]));
    assert_eq!(host.counter("readings"), 0);
    let limits = Limits { sessions: 4, ..Limits::default() };
    let mut host = Host::executing(limits, json!({"proactive": true}), tasks(&["a", "b"]));
    assert_eq!(host.at_work("m1 "), ["reading for a", "work a", "work b"], "one session stays free");
    host.revise(tasks(&["c", "d"]));
    assert_eq!(host.at_work("m1 work "), ["a", "b", "c"]);
    host.aborted("m1 reading for a");
    assert_eq!(host.at_work("m1 "), ["work a", "work b", "work c", "work d"]);
}

#[test]
fn an_abort_that_is_not_confirmed_frees_the_slot_at_its_deadline_and_fences_the_session() {
    let limits = Limits { session_ttl_ms: 10_000, sweep_ms: 60_000, ..capped(1) };
    let mut host = Host::executing(limits, json!({}), tasks(&["a", "b"]));
    assert_eq!(host.at_work("m1 work "), ["a"]);
    host.pass(10_000);
    assert_eq!(host.aborts.len(), 1, "it has taken longer than it may");
    host.pass(59_999);
    assert_eq!(
        host.at_work("m1 work "),
        ["a"],
        "its slot is not given away before it is known to have ended"
    );
    host.pass(1);
    assert_eq!(host.at_work("m1 work "), ["a", "b"], "60 s after the abort");
    let paths = vec![Some("a.ts".into())];
    let may = host.engine.answer(&Question::MayWrite { session: "m1 work a".into(), paths });
    assert_eq!(may["allowed"], false);
    assert_eq!(host.engine.sessions_held(Role::Worker), 1);
}
