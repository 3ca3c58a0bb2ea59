//! The scripted host: sessions, the turns of models in them, and what either may do wrong. It outlives our process.
//!
//! Its behaviour is that of OpenCode, failures included. It knows nothing of the engine but the effects it gets.

use orchestrator_engine::{
    AttemptId, CheckReport, CheckSubject, Effect, EffectId, Event, Finding, HostError, MissionId, Outcome,
    SessionId, ToolFailure, TurnFacts, Verdict,
};
use serde_json::{Value, json};

use crate::choice::Choices;
use crate::fault::Fault;
use crate::{Happening, World};

/// A session. What it was doing ends with the process of the host.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) mission: MissionId,
    attempt: AttemptId,
    role: Role,
    /// Prompts taken, with how the answer to each stands.
    pub(crate) prompts: Vec<(EffectId, Option<TurnFacts>)>,
    pub(crate) busy: bool,
    /// Counts turns: what was planned for an earlier one does not happen.
    turn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Planner,
    Worker,
    Reviewer,
    Master,
}

/// Something a model or the host does in a turn.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Step,
    Answer(&'static str),
    /// Requests that go on until someone ends them.
    Loop(&'static str),
    Write(String),
    /// A call of a tool, and how it ended.
    Call(&'static str, Option<ToolFailure>),
    /// The host waits before it repeats a request.
    Wait(u64),
    Err(HostError),
    Ask,
    Submit(Value),
    End {
        facts: TurnFacts,
        idles: u32,
        told: bool,
    },
    /// The session is deleted in the middle of its turn.
    Delete,
}

/// What goes wrong in a turn, one at a time.
const TURN_FAULTS: [Fault; 32] = [
    Fault::ModelError,
    Fault::RateLimited,
    Fault::ThrottledTurn,
    Fault::AuthRefused,
    Fault::ContextOverflow,
    Fault::OverflowLoop,
    Fault::ThinkingOrder,
    Fault::BadChunk,
    Fault::EmptyAnswer,
    Fault::AnswerCut,
    Fault::ContentFiltered,
    Fault::NoFinishReason,
    Fault::CallsWithoutCalls,
    Fault::Hang,
    Fault::Runaway,
    Fault::MalformedCall,
    Fault::SameCall,
    Fault::BlockedOutside,
    Fault::ToolThrew,
    Fault::NoBlank,
    Fault::BadBlank,
    Fault::BlankAsText,
    Fault::BlankTwice,
    Fault::StrayWrite,
    Fault::PermissionAsked,
    Fault::PermissionAsked,
    Fault::PermissionAsked,
    Fault::UserMessage,
    Fault::IdleTwice,
    Fault::IdleNever,
    Fault::SessionGone,
    Fault::SessionGoneAfter,
];

impl World<'_> {
    /// Does what an effect asks for, unless the call fails, and sends the outcome on its way.
    pub(crate) fn execute(&mut self, effect: Effect) {
        let Some(id) = effect.id() else { return };
        let timeout = HostError::new("timeout", "no answer within 30 s");
        let local = matches!(
            effect,
            Effect::TakeSnapshot { .. } | Effect::RunChecks { .. } | Effect::KillCommands { .. }
        );
        if !local && self.now < self.silent_until {
            return self.deliver(30_000, Event::EffectFailed { effect: id, error: timeout });
        }
        if !local && self.fault(Fault::HostSilent) {
            self.silent_until = self.now + 30_000 + self.choices.delay(270_000);
            return self.deliver(30_000, Event::EffectFailed { effect: id, error: timeout });
        }
        if self.fault(Fault::FailedUndone) {
            return self.deliver(5, Event::EffectFailed { effect: id, error: timeout });
        }
        if self.fault(Fault::FailedDone) {
            self.perform(effect);
            self.agenda.retain(|_, happening| outcome_of(happening) != Some(id));
            return self.deliver(5, Event::EffectFailed { effect: id, error: timeout });
        }
        self.perform(effect);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::OpenSession { effect, mission, attempt, agent, title, .. } => {
                let id = SessionId(format!("ses_{}", self.number()));
                let role = match agent.as_str() {
                    "planner" => Role::Planner,
                    "worker" => Role::Worker,
                    "reviewer" if title.contains("master") => Role::Master,
                    "reviewer" => Role::Reviewer,
                    other => panic!("a session of the agent {other:?}"),
                };
                let prompts = Vec::new();
                self.sessions.push(Session {
                    id: id.clone(),
                    mission,
                    attempt,
                    role,
                    prompts,
                    busy: false,
                    turn: 0,
                });
                self.deliver(5, Event::SessionOpened { effect, session: id });
            }
            Effect::Prompt { effect, session, text, .. } => self.take_prompt(effect, &session, &text),
            // The user's own session, whose turn the stop ends.
            Effect::AbortSession { effect, session }
                if session.0.starts_with("ses_root") || session.0.starts_with("ses_other") =>
            {
                self.deliver(30, Event::SessionAborted { effect, busy: false });
            }
            Effect::AbortSession { effect, session }
                if !self.sessions.iter().any(|own| own.id == session) =>
            {
                self.deliver(5, Event::EffectFailed { effect, error: not_found() });
            }
            Effect::AbortSession { effect, session } => self.abort(effect, &session),
            Effect::KillCommands { effect, .. } => {
                // A mission gives but one chance of it.
                let is_ignored = self.fault_rate > 0 && self.choices.below(5) == 4;
                if is_ignored {
                    self.count(Fault::KillIgnored);
                }
                let alive = if is_ignored { vec![4711] } else { vec![] };
                self.deliver(50, Event::CommandsKilled { effect, alive });
            }
            Effect::ReportMission { effect, outcome, mission, report, again, .. } => {
                self.check_rest(outcome, mission, &report);
                if self.hear(effect, again) && outcome != Outcome::Paused {
                    *self.outcomes.entry(format!("{outcome:?}")).or_default() += 1;
                }
                if matches!(outcome, Outcome::Sealed | Outcome::Failed) {
                    self.reported.insert(mission);
                }
                self.deliver(5, Event::Notified { effect });
            }
            Effect::TellCommander { effect, again, .. } => {
                self.hear(effect, again);
                self.deliver(5, Event::Notified { effect });
            }
            // The host cannot say whether a toast was seen: it may come twice.
            Effect::ShowToast { effect, .. } => self.deliver(5, Event::Notified { effect }),
            Effect::LookUpSession { effect, attempt, session, prompt, .. } => {
                if self.fault(Fault::LookUpFailed) {
                    let error = HostError::new("UnknownError", "database is locked");
                    return self.deliver(5, Event::EffectFailed { effect, error });
                }
                let found = self.sessions.iter().find(|found| match &session {
                    Some(id) => found.id == *id,
                    None => found.attempt == attempt,
                });
                let entry = found.zip(prompt).and_then(|(found, prompt)| {
                    found.prompts.iter().find(|(id, _)| *id == prompt).map(|(_, facts)| facts.clone())
                });
                let event = Event::SessionLookedUp {
                    effect,
                    session: found.map(|found| found.id.clone()),
                    prompted: entry.is_some(),
                    busy: found.is_some_and(|found| found.busy),
                    facts: entry.flatten(),
                };
                self.deliver(5, event);
            }
            Effect::TakeSnapshot { effect, .. } => {
                // Files differ from try to try, as they do where work goes on.
                let hash = if self.fault(Fault::NothingChanged) { 0 } else { self.number() };
                let snapshot = json!({"files": {"src/x.ts": {"kind": "file", "hash": hash}}});
                self.deliver(2, Event::SnapshotTaken { effect, snapshot });
            }
            Effect::RunChecks { effect, subject, commands, .. } => {
                assert!(!commands.is_empty(), "checks without a command");
                let report = self.check_report(&subject);
                let delay = self.choices.delay(3_000);
                self.deliver(delay, Event::ChecksFinished { effect, report });
            }
            other => {
                // A call that this host does not have.
                let effect = other.id().expect("only what has an outcome is executed");
                let error = HostError::new("NotSupportedError", "the host has no such call");
                self.deliver(5, Event::EffectFailed { effect, error });
            }
        }
    }

    /// A report, or what the commander is told, reaches its session, unless it is there: one that is sent again is looked
    /// for. Gives whether it was new.
    fn hear(&mut self, effect: EffectId, again: bool) -> bool {
        let is_new = self.heard.insert(effect);
        assert!(is_new || again, "{effect} is told twice");
        is_new
    }

    fn session(&mut self, id: &SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == *id)
    }

    fn act(&mut self, delay: u64, session: &SessionId, turn: u64, act: Act) {
        self.at(delay, Happening::Model { session: session.clone(), turn, act });
    }

    fn abort(&mut self, effect: EffectId, session: &SessionId) {
        let ignored = self.fault(Fault::AbortIgnored);
        let untold = self.fault(Fault::AbortUntold);
        let Some(found) = self.session(session) else { return };
        let was_busy = found.busy;
        let ignored = ignored && was_busy;
        if !ignored {
            found.busy = false;
            found.turn += 1;
        }
        if was_busy && !ignored {
            let error = (!untold).then(|| HostError::new("MessageAbortedError", "aborted"));
            let facts = TurnFacts { finish: None, error, text: String::new() };
            let prompt = found.prompts.last_mut().map(|(id, answer)| {
                *answer = Some(facts.clone());
                *id
            });
            // From the failure and from the runner; one of an abort during a retry.
            for _ in 0..if untold { 1 } else { 2 } {
                let facts = facts.clone();
                self.deliver(5, Event::TurnEnded { session: session.clone(), prompt, facts });
            }
        }
        self.deliver(30, Event::SessionAborted { effect, busy: ignored });
    }

    /// The model's turn: steps, writes, a blank more or less well filled in, an end or none.
    fn take_prompt(&mut self, effect: EffectId, session: &SessionId, text: &str) {
        let Some(found) = self.session(session) else {
            return self.deliver(5, Event::EffectFailed { effect, error: not_found() });
        };
        let is_told = !found.prompts.is_empty() || text.contains("## Objective");
        assert!(is_told, "a session that knows nothing is told only: {text}");
        found.prompts.push((effect, None));
        let (queued, role) = (found.busy, found.role);
        if !queued {
            found.busy = true;
            found.turn += 1;
        }
        let turn = found.turn;
        self.deliver(5, Event::PromptSent { effect });
        if queued {
            // The turn that runs answers it as well.
            return;
        }
        let wrong = self.choices.chance((self.fault_rate * 4).min(6_000));
        let wrong = wrong.then(|| self.choices.pick(&TURN_FAULTS));
        if let Some(fault) = wrong {
            self.count(fault);
        }
        let mut delay = 20 + self.choices.delay(100);
        let steps = 1 + self.choices.below(3);
        for _ in 0..steps {
            self.act(delay, session, turn, Act::Step);
            delay += 100 + self.choices.delay(4_000);
            if role == Role::Worker {
                let file = self.choices.below(8);
                self.act(delay, session, turn, Act::Write(format!("src/{file}.ts")));
            }
            self.act(delay + 1, session, turn, Act::Answer("tool-calls"));
            delay += 20;
        }
        let stop = |text: &str| TurnFacts { finish: Some("stop".into()), error: None, text: text.into() };
        let failed = |name: &str, status: Option<u16>, message: &str| TurnFacts {
            finish: None,
            error: Some(HostError { status, ..HostError::new(name, message) }),
            text: String::new(),
        };
        let mut end = (stop("done"), 1, true);
        let mut blank = Some(self.blank(role, text));
        let (message, tokens) = (format!("msg_{:09}", self.number()), self.choices.delay(4_000));
        let used = Event::UsageReported { session: session.clone(), message, tokens, cost_micros: tokens };
        self.deliver(delay + 30, used);
        if text.contains("reading ahead") {
            end.0 = stop("Look at the callers.");
            blank = None;
        }
        match wrong {
            Some(Fault::ModelError) => {
                for second in [0, 2, 6, 14, 30] {
                    self.act(delay + second * 1_000, session, turn, Act::Wait(2_000 * (second + 2)));
                }
                delay += 62_000;
                end = (failed("APIError", Some(503), "overloaded"), 2, true);
            }
            Some(Fault::ThrottledTurn) => {
                end = (failed("APIError", Some(429), "slow down"), 2, true);
                if let Some(error) = &mut end.0.error {
                    error.retry_after_ms = Some(self.choices.delay(200_000));
                }
            }
            Some(Fault::RateLimited) => return self.act(delay, session, turn, Act::Wait(3_600_000)),
            Some(Fault::PermissionAsked) => return self.act(delay, session, turn, Act::Ask),
            Some(Fault::Hang) => return,
            Some(Fault::AuthRefused) => end = (failed("APIError", Some(401), "invalid api key"), 2, true),
            Some(Fault::ContextOverflow) => {
                let error = HostError::new("ContextOverflowError", "too large");
                self.act(delay, session, turn, Act::Err(error));
                end = (failed("ContextOverflowError", None, "too large to compact"), 2, true);
            }
            Some(Fault::ThinkingOrder) => {
                let message = "expected a thinking block before a tool_use block";
                end = (failed("APIError", Some(400), message), 2, true);
            }
            Some(Fault::BadChunk) => end = (failed("UnknownError", None, "JSON parsing failed"), 2, true),
            Some(Fault::ContentFiltered) => end = (failed("ContentFilterError", None, "filtered"), 1, true),
            Some(Fault::SameCall) => {
                let tool = self.choices.pick(&["read", "invalid"]);
                for call in 0..4 {
                    let message = format!("line {call}");
                    let failure = ToolFailure { command: None, exit_code: None, message };
                    self.act(delay, session, turn, Act::Call(tool, Some(failure)));
                    delay += 100;
                }
            }
            Some(Fault::BlockedOutside) if role == Role::Worker => {
                blank = Some(json!({"summary": "did a part", "files": [], "blocked": "Which key?"}));
            }
            Some(Fault::BlockedOutside) => {}
            Some(Fault::EmptyAnswer) => (end.0, blank) = (stop(""), None),
            Some(Fault::AnswerCut) => {
                end.0 = TurnFacts { finish: Some("length".into()), error: None, text: "I will now".into() };
                blank = None;
            }
            Some(Fault::OverflowLoop) => {
                let error = HostError::new("ContextOverflowError", "too large");
                self.act(delay, session, turn, Act::Err(error));
                return self.act(delay + 10, session, turn, Act::Loop("compaction"));
            }
            Some(Fault::NoFinishReason) => return self.act(delay, session, turn, Act::Loop("unknown")),
            Some(Fault::CallsWithoutCalls | Fault::Runaway) => {
                return self.act(delay, session, turn, Act::Loop("tool-calls"));
            }
            Some(fault @ (Fault::MalformedCall | Fault::ToolThrew)) => {
                let tool = if fault == Fault::MalformedCall { "invalid" } else { "bash" };
                let message = format!("it failed at {delay}");
                let failure = ToolFailure { command: Some("make".into()), exit_code: Some(2), message };
                self.act(delay, session, turn, Act::Step);
                self.act(delay + 20, session, turn, Act::Call(tool, Some(failure)));
                self.act(delay + 50, session, turn, Act::Answer("tool-calls"));
                delay += 100;
            }
            Some(Fault::NoBlank) => (end.0, blank) = (stop("I am done!"), None),
            Some(Fault::BadBlank) => {
                let bad = json!({"tasks": 1, "verdict": "maybe"});
                self.act(delay, session, turn, Act::Submit(bad));
            }
            Some(Fault::BlankAsText) => {
                end.0 = stop(&format!("Here it is:\n```json\n{}\n```", blank.take().unwrap_or_default()));
            }
            Some(Fault::BlankTwice) => {
                let same = blank.clone().unwrap_or_default();
                self.act(delay + 5, session, turn, Act::Submit(same));
            }
            Some(Fault::StrayWrite) => {
                self.act(delay, session, turn, Act::Write("elsewhere/x.ts".into()));
            }
            Some(Fault::IdleTwice) => end.1 = 2,
            Some(Fault::IdleNever) => end.1 = 0,
            // Another message is in the session: its answer is the turn's last one.
            Some(Fault::UserMessage) => end.2 = false,
            Some(Fault::SessionGone) => {
                return self.act(delay, session, turn, Act::Delete);
            }
            Some(Fault::SessionGoneAfter) => self.act(delay + 60, session, turn, Act::Delete),
            Some(other) => panic!("{other:?} is no fault of a turn"),
            None => {}
        }
        if end.0.error.is_none()
            && let Some(blank) = blank
        {
            self.act(delay + 10, session, turn, Act::Submit(blank));
        }
        let finish = end
            .0
            .finish
            .as_deref()
            .map_or("unknown", |finish| if finish == "length" { "length" } else { "stop" });
        self.act(delay + 40, session, turn, Act::Answer(finish));
        let (facts, idles, told) = end;
        self.act(delay + 50, session, turn, Act::End { facts, idles, told });
    }

    /// A turn goes on by one act, if it is still that turn.
    pub(crate) fn go_on(&mut self, id: &SessionId, turn: u64, act: Act) {
        let Some(found) = self.session(id) else { return };
        if found.turn != turn {
            return;
        }
        let role = found.role;
        let session = id.clone();
        match act {
            Act::Step => self.tell(Event::StepStarted { session }),
            Act::Answer(finish) => self.tell(Event::StepFinished { session, finish: finish.into() }),
            Act::Loop(finish) => {
                self.tell(Event::StepStarted { session: session.clone() });
                self.at(100, Happening::Deliver(Event::StepFinished { session, finish: finish.into() }));
                self.act(130, id, turn, Act::Loop(finish));
            }
            Act::Write(path) => {
                self.check_write(&session, &path);
                self.go_on(id, turn, Act::Call("write", None));
            }
            Act::Call(tool, failure) => {
                let tool = tool.to_owned();
                self.tell(Event::ToolCalled { session: session.clone(), tool: tool.clone() });
                self.at(10, Happening::Deliver(Event::ToolEnded { session, tool, failure }));
            }
            Act::Wait(wait_ms) => {
                let message = "the provider is overloaded".into();
                self.tell(Event::RetryScheduled { session, message, wait_ms });
            }
            Act::Err(error) => self.tell(Event::SessionErred { session, error }),
            Act::Ask => {
                let permission = format!("per_{}", self.number());
                self.tell(Event::PermissionAsked { session, permission, what: "run rm".into() });
            }
            Act::Submit(blank) => {
                let request = self.number();
                self.at(
                    0,
                    Happening::Deliver(match role {
                        Role::Planner => {
                            Event::PlanSubmitted { request, session, plan: blank, denied: vec![] }
                        }
                        Role::Worker => Event::WorkSubmitted { request, session, work: blank },
                        Role::Reviewer | Role::Master => {
                            Event::ReviewSubmitted { request, session, review: blank }
                        }
                    }),
                );
            }
            Act::End { facts, idles, told } => {
                found.busy = false;
                let prompt = found.prompts.last_mut().map(|(id, answer)| {
                    // The answer to a message of the user's is none to ours.
                    *answer = told.then(|| facts.clone());
                    *id
                });
                let untold = !told || self.fault(Fault::PromptUntold);
                for _ in 0..idles {
                    let (session, facts) = (session.clone(), facts.clone());
                    self.tell(Event::TurnEnded { session, prompt: prompt.filter(|_| !untold), facts });
                }
            }
            Act::Delete => self.sessions.retain(|session| session.id != *id),
        }
    }

    /// An event of the host's own, which it does not repeat. A silent host says nothing.
    fn tell(&mut self, event: Event) {
        if self.now >= self.silent_until {
            self.deliver(5, event);
        }
    }

    fn blank(&mut self, role: Role, text: &str) -> Value {
        let choices = &mut *self.choices;
        match role {
            Role::Planner => plan(choices, self.plan_tasks),
            Role::Worker => json!({"summary": "did it", "files": ["src/x.ts"]}),
            Role::Reviewer => match choices.below(20) {
                17..20 => json!({"verdict": "fail", "summary": "no", "findings": [{"message": "mend this"}]}),
                16 => json!({"verdict": "unknown", "summary": "cannot tell"}),
                _ => json!({"verdict": "pass", "summary": "good"}),
            },
            Role::Master if text.contains("They did not pass") || choices.below(4) == 3 => {
                let files: Vec<_> = (0..=choices.below(2)).map(|n| format!("src/{n}.ts")).collect();
                json!({"verdict": "fail", "summary": "no", "findings": [
                    {"message": "mend this", "files": files}, {"message": "and that", "files": ["src/0.ts"]}]})
            }
            Role::Master => json!({"verdict": "pass", "summary": "good"}),
        }
    }

    fn check_report(&mut self, subject: &CheckSubject) -> CheckReport {
        let not_run = self.fault(Fault::CheckNotRun);
        let verdict = match self.choices.below(20) {
            _ if not_run => Verdict::Unknown,
            18..20 => Verdict::Fail,
            17 => Verdict::Unknown,
            _ => Verdict::Pass,
        };
        if matches!(subject, CheckSubject::Task { claimed, .. } if claimed.is_empty()) {
            panic!("checks of a task without a submission");
        }
        // What is found differs from try to try, as it does where work goes on; now and then nothing moves.
        let (code, message) = match verdict {
            _ if not_run => ("CHECK_NOT_RUN", "no".to_owned()),
            _ if self.fault(Fault::SameFinding) => ("COMMAND_FAILED", "the same".to_owned()),
            _ => ("COMMAND_FAILED", format!("finding {}", self.number())),
        };
        let finding = Finding { code: code.into(), path: None, message, detail: None };
        CheckReport {
            verdict,
            findings: if verdict == Verdict::Pass { vec![] } else { vec![finding] },
            evidence: vec![json!({"kind": "command", "argv": ["true"], "exitCode": 0})],
            changed: vec![],
        }
    }

    /// The host refuses what the session had asked for, by which its turn ends, unless it does not heed that.
    pub(crate) fn refuse(&mut self, session: &SessionId, permission: String) {
        if self.fault_rate > 0 && self.choices.below(2) == 1 {
            return self.count(Fault::RefusalIgnored);
        }
        let Some(found) = self.session(session).filter(|found| found.busy) else { return };
        let turn = found.turn;
        self.deliver(5, Event::PermissionAnswered { session: session.clone(), permission, allowed: false });
        let facts = TurnFacts { finish: Some("tool-calls".into()), ..TurnFacts::default() };
        self.act(20, session, turn, Act::End { facts, idles: 1, told: true });
    }

    /// The host's process ends: sessions rest where they were, a tool that ran stays unfinished.
    pub(crate) fn kill_host(&mut self) {
        for session in &mut self.sessions {
            session.busy = false;
            session.turn += 1;
        }
        self.silent_until = 0;
    }
}

/// A random acyclic plan in which tasks that may run together share no file.
fn plan(choices: &mut Choices, most: u32) -> Value {
    let count = 1 + choices.below(most);
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let earlier: Vec<_> =
                (0..index).filter(|_| choices.below(4) == 3).map(|earlier| format!("t{earlier}")).collect();
            let priority = choices.pick(&["normal", "high", "low"]);
            let race = choices.pick(&[1, 1, 2, 3]);
            json!({"id": format!("t{index}"), "title": "t", "objective": "o",
                "files": [format!("src/{index}.ts")], "depends_on": earlier, "acceptance": [["true"]],
                "priority": priority, "race": race})
        })
        .collect();
    json!({"tasks": tasks, "checks": [["true"]]})
}

/// The effect whose outcome an event on its way is.
pub(crate) fn outcome_of(happening: &Happening) -> Option<EffectId> {
    let Happening::Deliver(event) = happening else { return None };
    match event {
        Event::SessionOpened { effect, .. }
        | Event::PromptSent { effect }
        | Event::SessionAborted { effect, .. }
        | Event::SessionLookedUp { effect, .. }
        | Event::EffectFailed { effect, .. }
        | Event::SnapshotTaken { effect, .. }
        | Event::ChecksFinished { effect, .. }
        | Event::CommandsKilled { effect, .. }
        | Event::Notified { effect } => Some(*effect),
        _ => None,
    }
}

fn not_found() -> HostError {
    HostError::new("NotFoundError", "no such session")
}
