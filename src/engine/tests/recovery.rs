//! The table of recovery row by row, and the bounds within a turn at their edges.
//!
//! Without this a failure could be met otherwise than the documentation says: repeated for ever, or given up where it
//! could be mended.

#![expect(clippy::unwrap_used, reason = "a mission that cannot be brought into a state is a failure")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a scripted host looks for what it waits for")]

use orchestrator_engine::{
    Agents, Approval, Attempt, CheckReport, Class, Effect, Engine, Event, FileChange, Finding, Handled,
    HostError, Limits, Millis, Mission, MissionKind, Question, REMEDIES, Scheduling, SessionId, Stage, Task,
    TaskId, TaskState, ToolFailure, Turn, TurnFacts, Verdict,
};
use serde_json::{Value, json};

const ROOT: &str = "ses_root";

/// A mission of one task whose worker is at work, with what the world was asked to do.
struct Run {
    engine: Engine,
    now: Millis,
    effects: Vec<Effect>,
    files: u64,
}

impl Run {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut run = Self::requested(change);
        run.serve();
        let plan = json!({"tasks": [{"id": "a", "title": "a", "objective": "o", "files": ["a.ts"],
            "acceptance": [["true"]]}], "checks": [["true"]]});
        run.feed(Event::PlanSubmitted { request: 2, session: run.session(), plan, denied: vec![] });
        run.end_turn(TurnFacts { finish: Some("stop".into()), ..TurnFacts::default() });
        run.serve();
        run
    }

    /// A mission whose planner's session is being opened.
    fn requested(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut run = Self { engine: Engine::default(), now: 1_000_000, effects: Vec::new(), files: 0 };
        run.feed(Event::EngineStarted {
            limits,
            agents: Agents::default(),
            approval: Approval::Auto,
            scheduling: Scheduling::default(),
        });
        run.feed(Event::MissionRequested {
            request: 1,
            session: ROOT.into(),
            objective: "Build it".into(),
            kind: MissionKind::Task,
        });
        run
    }

    fn feed(&mut self, event: Event) -> Handled {
        self.now += 1;
        let handled = self.engine.handle(self.now, event);
        self.engine.check_invariants();
        self.effects.extend(std::iter::from_fn(|| self.engine.poll_effect()));
        handled
    }

    /// Does what the host would do at once, up to a session at work, a check, or a wait. Waits are waited out.
    fn serve(&mut self) {
        loop {
            if !self.mission().is_under_way() {
                return;
            }
            let Some(attempt) = self.mission().attempts.values().next() else { return };
            let event = match attempt.turn.clone() {
                Turn::Queued { .. } => {
                    let Some(at) = self.engine.next_deadline() else { return };
                    self.now = self.now.max(at);
                    Event::DeadlinePassed {}
                }
                Turn::Snapshotting { effect } => {
                    let snapshot = json!({"files": {"a.ts": {"kind": "file", "hash": self.files}}});
                    Event::SnapshotTaken { effect, snapshot }
                }
                Turn::Opening { effect } => {
                    Event::SessionOpened { effect, session: SessionId(format!("ses_{}", effect.0)) }
                }
                Turn::Prompting { effect } => Event::PromptSent { effect },
                Turn::Aborting { effect, .. } => Event::SessionAborted { effect, busy: false },
                Turn::Working { .. } => return,
            };
            self.feed(event);
        }
    }

    fn mission(&self) -> &Mission {
        self.engine.missions().values().next().unwrap()
    }

    fn task(&self) -> &Task {
        &self.mission().tasks[&TaskId("a".into())]
    }

    fn attempt(&self) -> &Attempt {
        self.mission().attempts.values().next().unwrap()
    }

    fn session(&self) -> SessionId {
        self.attempt().session.clone().unwrap()
    }

    fn end_turn(&mut self, facts: TurnFacts) {
        let Turn::Working { prompt } = self.attempt().turn else { panic!("no turn is under way") };
        self.feed(Event::TurnEnded { session: self.session(), prompt: Some(prompt), facts });
    }

    fn submit(&mut self, work: Value) {
        self.feed(Event::WorkSubmitted { request: 3, session: self.session(), work });
        self.end_turn(TurnFacts { finish: Some("stop".into()), ..TurnFacts::default() });
    }

    /// Submits, and has the checks find this.
    fn check(&mut self, verdict: Verdict, code: &str, message: &str, hash: u64) {
        self.submit(json!({"summary": "s", "files": ["a.ts"]}));
        self.checked(verdict, code, message, hash);
    }

    fn checked(&mut self, verdict: Verdict, code: &str, message: &str, hash: u64) {
        let TaskState::Checking(checks) = self.task().state.clone() else { panic!("no checks run") };
        let finding = Finding { code: code.into(), path: None, message: message.into(), detail: None };
        let facts = [("after".to_owned(), json!(hash))].into();
        let report = CheckReport {
            verdict,
            findings: vec![finding],
            evidence: vec![],
            changed: vec![FileChange { path: "a.ts".into(), facts }],
        };
        self.feed(Event::ChecksFinished { effect: checks.effect, report });
        self.serve();
    }

    fn call(&mut self, tool: &str, message: &str) {
        let session = self.session();
        self.feed(Event::ToolCalled { session: session.clone(), tool: tool.into() });
        let failure = ToolFailure { command: None, exit_code: None, message: message.into() };
        self.feed(Event::ToolEnded { session, tool: tool.into(), failure: Some(failure) });
    }

    fn is_aborting(&self) -> bool {
        matches!(self.attempt().turn, Turn::Aborting { .. })
    }

    fn blocked(&self) -> &str {
        let TaskState::Blocked { reason } = &self.task().state else { panic!("{:?}", self.task().state) };
        reason
    }

    /// What the last prompt said.
    fn prompt(&self) -> &str {
        let text = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Prompt { text, .. } => Some(text.as_str()),
            _ => None,
        });
        text.unwrap()
    }
}

/// Has the live attempt fail in a way of the class.
fn fail(run: &mut Run, class: Class) {
    let session = run.session();
    let error = |status| HostError { status, ..HostError::new("APIError", "no") };
    let ends = |run: &mut Run, error| run.end_turn(TurnFacts { error: Some(error), ..TurnFacts::default() });
    match class {
        Class::Transport => ends(run, error(Some(503))),
        Class::RateLimit => ends(run, error(Some(429))),
        Class::Order => ends(run, error(Some(400))),
        Class::Refused => ends(run, error(Some(401))),
        Class::Content => ends(run, HostError::new("ContentFilterError", "")),
        Class::Aborted => ends(run, HostError::new("MessageAbortedError", "")),
        Class::Overflow => {
            run.feed(Event::SessionErred { session, error: HostError::new("ContextOverflowError", "") });
        }
        Class::Runaway => {
            for _ in 0..=run.engine.limits().tool_calls_per_attempt {
                run.feed(Event::ToolCalled { session: session.clone(), tool: "read".into() });
            }
        }
        Class::Time => {
            run.now += run.engine.limits().session_ttl_ms;
            run.feed(Event::DeadlinePassed {});
        }
        Class::Model => {
            for _ in 0..=run.engine.limits().nudges {
                run.end_turn(TurnFacts { finish: Some("stop".into()), ..TurnFacts::default() });
                run.serve();
            }
        }
        Class::Tool => {
            for _ in 0..run.engine.limits().same_errors {
                run.call("invalid", "no such tool");
            }
        }
        Class::Permission => {
            for n in 0..=run.engine.limits().nudges {
                let what = "run rm".into();
                run.feed(Event::PermissionAsked {
                    session: session.clone(),
                    permission: n.to_string(),
                    what,
                });
                run.now += run.engine.limits().permission_ms;
                run.feed(Event::DeadlinePassed {});
                run.end_turn(TurnFacts { finish: Some("tool-calls".into()), ..TurnFacts::default() });
                if run.mission().is_under_way() {
                    run.serve();
                }
            }
        }
        Class::Host => {
            run.feed(Event::TurnEnded { session, prompt: None, facts: TurnFacts::default() });
            let Some(Effect::LookUpSession { effect, .. }) = run.effects.last().cloned() else {
                panic!("{:?}", run.effects.last())
            };
            let (session, facts) = (None, None);
            run.feed(Event::SessionLookedUp { effect, session, prompted: false, busy: false, facts });
        }
    }
}

#[test]
fn every_row_of_the_table_is_what_happens() {
    for remedy in REMEDIES {
        let mut run = Run::new(|limits| limits.tool_calls_per_attempt = 5);
        let (recoveries, same_errors) = (run.engine.limits().recoveries, run.engine.limits().same_errors);
        // The same error of a tool asks sooner than `recoveries` sessions.
        let most = match remedy.class {
            _ if remedy.asks => 0,
            Class::Tool => recoveries.min(same_errors - 1),
            _ => recoveries,
        };
        for failure in 0..=most {
            assert!(run.mission().is_under_way(), "{:?} gives up after {failure} failures", remedy.class);
            run.files += 1;
            let (before, failed_at) = (run.session(), run.now);
            fail(&mut run, remedy.class);
            // An abort is confirmed, and then follows the wait.
            run.serve();
            if failure == most {
                break;
            }
            let same = run.session() == before;
            assert_eq!(same, failure < remedy.same_session, "{:?} after {failure} failures", remedy.class);
            assert!(run.now - failed_at >= 1_000 << failure, "{:?} comes back too soon", remedy.class);
            assert!(run.prompt().contains(remedy.says), "{:?} says {}", remedy.class, run.prompt());
        }
        let Stage::Paused { .. } = run.mission().stage else {
            panic!("{:?} goes on after {most} failures: {:?}", remedy.class, run.mission().stage)
        };
        assert!(!run.blocked().is_empty());
        assert_eq!(run.mission().failures, most + 1, "{:?}", remedy.class);
    }
}

#[test]
fn calls_of_tools_are_bounded_except_the_blank() {
    let mut run = Run::new(|limits| limits.tool_calls_per_attempt = 3);
    let call = |run: &mut Run, tool: &str| {
        run.feed(Event::ToolCalled { session: run.session(), tool: tool.into() });
    };
    for _ in 0..3 {
        call(&mut run, "read");
    }
    call(&mut run, "submit_work");
    assert!(!run.is_aborting());
    call(&mut run, "read");
    assert!(run.is_aborting());
}

#[test]
fn the_same_failing_call_ends_the_turn_and_another_outcome_begins_the_count_anew() {
    let mut run = Run::new(|limits| limits.same_errors = 3);
    run.call("read", "no file at line 1");
    run.call("read", "no file at line 22");
    run.call("read", "something else");
    run.call("read", "no file at line 1");
    run.call("read", "no file at line 3");
    let session = run.session();
    run.feed(Event::ToolEnded { session, tool: "read".into(), failure: None });
    run.call("read", "no file at line 4");
    run.call("read", "no file at line 5");
    assert!(!run.is_aborting());
    run.call("read", "no file at line 6");
    assert!(run.is_aborting());
    run.serve();
    assert!(run.prompt().contains("read failed: no file at line 6, 3 times in a row"), "{}", run.prompt());
}

#[test]
fn what_surely_did_not_start_is_repeated_some_times_and_then_waits_like_any_failure() {
    // Without it a host that takes nothing is asked the same again at once, for ever.
    for (is_opened, says) in [(false, "could not be created"), (true, "did not take the prompt")] {
        let mut run = Run::requested(|limits| limits.recoveries = 2);
        if is_opened {
            let Turn::Opening { effect } = run.attempt().turn else { panic!("{:?}", run.attempt().turn) };
            run.feed(Event::SessionOpened { effect, session: "ses_planner".into() });
        }
        let launches = |run: &Run| {
            let is_launch = |e: &&Effect| matches!(e, Effect::OpenSession { .. } | Effect::Prompt { .. });
            run.effects.iter().filter(is_launch).count()
        };
        for left in [2, 1, 0] {
            let effect = match run.attempt().turn {
                Turn::Opening { effect } if !is_opened => effect,
                Turn::Prompting { effect } if is_opened => effect,
                ref turn => panic!("{turn:?} with {left} repetitions left"),
            };
            run.effects.clear();
            run.feed(Event::EffectFailed { effect, error: HostError::new("timeout", "no answer") });
            let [Effect::LookUpSession { effect, ref session, .. }] = run.effects[..] else {
                panic!("{:?}", run.effects)
            };
            let session = session.clone();
            run.feed(Event::SessionLookedUp { effect, session, prompted: false, busy: false, facts: None });
            assert_eq!((launches(&run), run.mission().failures), (left.min(1), u64::from(left == 0)));
        }
        let Turn::Queued { not_before: Some(at) } = run.attempt().turn else {
            panic!("{:?}", run.attempt().turn)
        };
        assert!(at - run.now >= 1_000, "{} ms", at - run.now);
        run.serve();
        assert_eq!(run.mission().failures, 1);
        let prompt = run.prompt();
        assert!(prompt.contains(says) && prompt.contains("timeout: no answer"), "{prompt}");
    }
}

#[test]
fn a_wait_of_the_host_is_broken_off_beyond_the_bound_and_kept_up_to_it() {
    let mut run = Run::new(|limits| limits.retry_after_ms = 10_000);
    let retry = |run: &mut Run, wait_ms| {
        run.feed(Event::RetryScheduled { session: run.session(), message: "slow down".into(), wait_ms });
    };
    retry(&mut run, 10_000);
    assert!(!run.is_aborting());
    retry(&mut run, 10_001);
    assert!(run.is_aborting());
    let failed_at = run.now;
    run.serve();
    assert!((10_000..12_000).contains(&(run.now - failed_at)), "{} ms", run.now - failed_at);

    // What an error tells is waited for as well, and no longer than the bound.
    for (retry_after_ms, least) in [(7_000, 7_000), (3_600_000, 10_000)] {
        let mut run = Run::new(|limits| limits.retry_after_ms = 10_000);
        let error = HostError {
            status: Some(429),
            retry_after_ms: Some(retry_after_ms),
            ..HostError::new("APIError", "slow down")
        };
        let failed_at = run.now;
        run.end_turn(TurnFacts { error: Some(error), ..TurnFacts::default() });
        run.serve();
        assert!((least..least + 1_000).contains(&(run.now - failed_at)), "{} ms", run.now - failed_at);
    }
}

#[test]
fn a_permission_that_nobody_gives_is_refused_in_time_and_a_session_that_does_not_heed_it_is_ended() {
    let mut run = Run::new(|limits| limits.permission_ms = 5_000);
    let asked_at = run.now + 1;
    let (session, permission) = (run.session(), "per_1".to_owned());
    run.feed(Event::PermissionAsked {
        session: session.clone(),
        permission: permission.clone(),
        what: "run rm".into(),
    });
    let refused =
        |run: &Run| run.effects.iter().filter(|e| matches!(e, Effect::RefusePermission { .. })).count();
    let status = run.engine.answer(&Question::Status { session: ROOT.into() });
    assert!(status["text"].as_str().unwrap().contains("m1 work a waits for you: may it run rm?"));

    run.now = asked_at + 4_998;
    run.feed(Event::DeadlinePassed {});
    assert_eq!(refused(&run), 0);
    run.feed(Event::DeadlinePassed {});
    assert_eq!(refused(&run), 1);
    for _ in 0..20 {
        if run.is_aborting() {
            break;
        }
        run.now = run.engine.next_deadline().unwrap();
        run.feed(Event::DeadlinePassed {});
    }
    assert!(run.is_aborting());
    assert_eq!(refused(&run), 3);

    // What is answered in time is not refused.
    let mut run = Run::new(|limits| limits.permission_ms = 5_000);
    run.feed(Event::PermissionAsked {
        session: run.session(),
        permission: permission.clone(),
        what: "run rm".into(),
    });
    assert_eq!(
        run.feed(Event::PermissionAnswered { session: run.session(), permission, allowed: true }),
        Handled::Changed
    );
    run.now += 5_000;
    run.feed(Event::DeadlinePassed {});
    assert_eq!(refused(&run), 0);
}

#[test]
fn submissions_that_change_nothing_get_another_strategy_then_the_user() {
    let mut run = Run::new(|limits| limits.same_errors = 20);
    let session = run.session();
    run.check(Verdict::Fail, "COMMAND_FAILED", "npm test exited with code 1", 7);
    assert_eq!(run.session(), session);
    run.check(Verdict::Fail, "COMMAND_FAILED", "npm test exited with code 1", 7);
    assert_ne!(run.session(), session, "the diagnosis is for a fresh session");
    let prompt = run.prompt();
    assert!(prompt.contains("Another strategy is required"), "{prompt}");
    assert_eq!(prompt.matches("Submitted; changed: a.ts.").count(), 2, "{prompt}");
    run.check(Verdict::Fail, "COMMAND_FAILED", "npm test exited with code 1", 7);
    assert!(run.blocked().starts_with("3 attempts in a row changed nothing"), "{}", run.blocked());

    // Facts count, not words: where a file moves, it goes on.
    let mut run = Run::new(|limits| limits.same_errors = 20);
    for hash in 0..3 {
        run.check(Verdict::Fail, "COMMAND_FAILED", "npm test exited with code 1", hash);
        assert!(!run.prompt().contains("Another strategy"));
    }
}

#[test]
fn sessions_that_break_off_and_leave_the_files_alone_get_another_strategy() {
    let mut run = Run::new(|limits| limits.recoveries = 10);
    for _ in 0..2 {
        fail(&mut run, Class::Time);
        run.serve();
    }
    assert!(run.prompt().contains("Another strategy is required"), "{}", run.prompt());
    assert!(run.prompt().contains("Nothing: the files are as they were"), "{}", run.prompt());
    fail(&mut run, Class::Time);
    run.serve();
    assert!(run.blocked().starts_with("3 attempts in a row changed nothing"), "{}", run.blocked());

    // The provider's failures say nothing about the task.
    let mut run = Run::new(|limits| (limits.recoveries, limits.prompts_per_session) = (10, 1));
    for _ in 0..5 {
        fail(&mut run, Class::Transport);
        run.serve();
        assert!(!run.prompt().contains("Another strategy"));
    }
}

#[test]
fn the_same_error_of_checks_asks_the_user_and_a_resume_begins_anew() {
    let mut run = Run::new(|limits| (limits.fixes, limits.same_errors) = (20, 3));
    let red = |run: &mut Run, code: u64, hash| {
        run.check(Verdict::Fail, "COMMAND_FAILED", &format!("npm test exited with code {code}"), hash);
    };
    red(&mut run, 1, 1);
    red(&mut run, 2, 2);
    red(&mut run, 1, 3);
    assert!(run.mission().is_under_way());
    red(&mut run, 1, 4);
    assert_eq!(run.blocked(), "the same error came 3 times: npm test exited with code 1");
    run.feed(Event::MissionRequested {
        request: 9,
        session: ROOT.into(),
        objective: String::new(),
        kind: MissionKind::Task,
    });
    run.serve();
    red(&mut run, 1, 5);
    assert!(run.mission().is_under_way());
}

#[test]
fn checks_that_could_not_be_run_cost_no_fix() {
    let mut run = Run::new(|limits| limits.recoveries = 2);
    run.submit(json!({"summary": "s", "files": ["a.ts"]}));
    for again in 0..2 {
        run.checked(Verdict::Unknown, "COMMAND_NOT_STARTED", "npm could not be started", 1);
        let at = run.engine.next_deadline().unwrap();
        assert!(at - run.now >= 1_000 << again && at - run.now < 2_000 << again, "{} ms", at - run.now);
        run.now = at;
        run.feed(Event::DeadlinePassed {});
    }
    run.checked(Verdict::Unknown, "COMMAND_NOT_STARTED", "npm could not be started", 1);
    assert_eq!(run.blocked(), "its checks could not be run: npm could not be started");
    assert_eq!(run.task().fixes, 0);

    // What could not be judged is no check that did not come about.
    let mut run = Run::new(|_| {});
    run.check(Verdict::Unknown, "SYNTAX_UNKNOWN", "too large", 1);
    assert_eq!(run.task().fixes, 1);
}

#[test]
fn a_worker_may_end_its_task_with_a_question() {
    let mut run = Run::new(|_| {});
    run.submit(json!({"summary": "s", "files": [], "blocked": "Which key?"}));
    assert_eq!(run.blocked(), "it needs something from outside: Which key?");
    let headline = run.engine.summary(run.mission().id).unwrap()["headline"].to_string();
    assert!(headline.contains("Which key?"), "{headline}");

    let mut run = Run::new(|_| {});
    let bare = Event::WorkSubmitted {
        request: 3,
        session: run.session(),
        work: json!({"summary": "s", "files": []}),
    };
    run.feed(bare);
    assert!(run.attempt().submission.is_none(), "work without files and without a question was taken");
}

#[test]
fn sessions_of_a_mission_have_nobody_work_for_them() {
    let run = Run::new(|_| {});
    let may = |session: SessionId| run.engine.answer(&Question::MayDelegate { session })["allowed"].clone();
    assert_eq!(may(run.session()), json!(false));
    assert_eq!(may(ROOT.into()), json!(true));
    let reminder = run.engine.answer(&Question::Reminder { session: run.session() });
    let text = reminder["text"].as_str().unwrap();
    assert!(text.contains("## Objective of the task") && text.contains("submit_work"), "{text}");
    assert_eq!(run.engine.answer(&Question::Reminder { session: ROOT.into() }), Value::Null);
}
