//! Whole missions against a scripted host with a virtual clock and disk, and seeded faults.
//!
//! Several missions share one project. Every outcome may be lost, doubled, late or out of order; sessions fail, hang,
//! run away or vanish; the process dies at any step of a batch, the disk fails, the user stops, breaks off, resumes and
//! edits. After every event the invariants must hold, and every mission must end or say whom it waits for.
//!
//! A failing run is minimised and printed with the command that repeats it. `SIM_SEED=<n>` runs one seed,
//! `SIM_SEEDS=<count>` as many as it says, `SIM_CHOICES=<list>` a minimised run, of which each event is
//! printed; each as in
//! `SIM_SEEDS=1000000 cargo test -p orchestrator-engine --test simulator -- --nocapture`.

#![expect(clippy::print_stdout, reason = "the counts of seeds, events and faults are the test's evidence")]
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a scripted host has no users")]
#![expect(clippy::disallowed_methods, reason = "the seeds to run are chosen from outside")]

mod choice;
mod disk;
mod fault;
mod host;
mod invariant;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use choice::Choices;
use disk::{Disk, Write};
use fault::{Counts, Fault};
use host::{Act, Session, outcome_of};
use invariant::{Before, History};
use orchestrator_engine::{
    Agents, Answer, Budget, CheckReport, Effect, EffectId, Engine, Event, Interruption, Limits, Millis,
    MissionId, PauseReason, Question, Scheduling, SessionId, Stage, Task, TaskState, Verdict,
};
use serde_json::json;

/// Seeds of a run that nobody chose otherwise, and what each must at least do.
const SEEDS: u64 = 10_000;
const EVENTS_MIN: u64 = 200;
/// How often each fault must have been done in a run of at least [`SEEDS`].
const FAULTS_MIN: u64 = 1_000;
/// Steps of the clock after which a seed is taken for endless.
const STEPS_MAX: u32 = 100_000;
/// Batches of which one has the digest of the state beside it, as each of the driver's has: it takes longer than all else.
const DIGEST_EVERY: u64 = 16;
/// Runs that may be spent on minimising a failing one.
const MINIMISING_RUNS: u32 = 3_000;

/// Seeds whose journals are kept as fixtures.
const FIXTURE_SEEDS: [u64; 3] = [1, 2, 3];

/// Something that happens at a time: an event that reaches the engine, or a step of the host itself.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "they are few")]
enum Happening {
    Deliver(Event),
    Execute(Effect),
    Model { session: SessionId, turn: u64, act: Act },
}

struct World<'a> {
    choices: &'a mut Choices,
    now: Millis,
    agenda: BTreeMap<(Millis, u64), Happening>,
    numbers: u64,
    // Our process and its disk.
    engine: Engine,
    disk: Disk,
    limits: Limits,
    scheduling: Scheduling,
    /// The engine is being rebuilt until then; what is posted is refused.
    down_until: Option<Millis>,
    retry_ms: Millis,
    // The host.
    sessions: Vec<Session>,
    silent_until: Millis,
    /// Reports, and what commanders were told, that are in their sessions.
    heard: BTreeSet<EffectId>,
    /// Missions of which it was reported that they were sealed, or failed.
    reported: BTreeSet<MissionId>,
    /// Deliveries of each report that failed, as far as the engine has taken note, with its mission.
    undelivered: BTreeMap<EffectId, (MissionId, u64)>,
    last_execution: Millis,
    // The user.
    roots: u32,
    resumes: u32,
    /// Whether missions are started with `/plan`.
    asks: bool,
    plan_tasks: u32,
    // The test.
    history: History,
    faults: Counts,
    fault_rate: u32,
    outcomes: BTreeMap<String, u64>,
    events: u64,
    batches: u64,
    /// Whether each event is printed, with its effects.
    is_told: bool,
}

/// What a seed did.
#[derive(Default)]
struct Tally {
    faults: Counts,
    outcomes: BTreeMap<String, u64>,
    events: u64,
    seeds: u64,
    journal: Vec<String>,
}

impl<'a> World<'a> {
    fn new(choices: &'a mut Choices, is_told: bool) -> Self {
        let fault_rate = choices.pick(&[0, 200, 800, 2_000]);
        let limits = Limits {
            worker_slots: 1 + u64::from(choices.below(8)),
            sessions: choices.pick(&[50, 2, 5]),
            iterations: 4,
            steps_per_minute: 30,
            session_ttl_ms: choices.pick(&[3_600_000, 120_000]),
            stop_ms: choices.pick(&[60_000, 2_000]),
            mission_tokens: choices.pick(&[0, 0, 0, 50_000]),
            mission_ms: choices.pick(&[0, 0, 0, 600_000]),
            task_tokens: choices.pick(&[0, 0, 0, 10_000]),
            planner_race: choices.pick(&[1, 3]),
            sessions_per_agent: choices.pick(&[10, 3]),
            sessions_per_model: choices.pick(&[50, 4]),
            ageing_ms: choices.pick(&[120_000, 2_000]),
            ..Limits::default()
        };
        let scheduling = Scheduling { proactive: choices.below(2) == 1, ..Scheduling::default() };
        let asks = choices.below(4) == 3;
        let plan_tasks = 1 + choices.below(6);
        let mut world = Self {
            choices,
            now: 1_000_000,
            agenda: BTreeMap::new(),
            numbers: 0,
            engine: Engine::default(),
            disk: Disk::default(),
            limits,
            scheduling,
            down_until: None,
            retry_ms: 500,
            sessions: Vec::new(),
            silent_until: 0,
            heard: BTreeSet::new(),
            reported: BTreeSet::new(),
            undelivered: BTreeMap::new(),
            last_execution: 0,
            roots: 0,
            resumes: 0,
            asks,
            plan_tasks,
            history: History::default(),
            faults: Counts::new(),
            fault_rate,
            outcomes: BTreeMap::new(),
            events: 0,
            batches: 0,
            is_told,
        };
        world.start();
        for _ in 0..=world.choices.below(2) {
            world.request_mission();
        }
        world
    }

    /// A number that nothing else has.
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn fault(&mut self, fault: Fault) -> bool {
        let hit = self.fault_rate > 0 && self.choices.chance(self.fault_rate);
        if hit {
            self.count(fault);
        }
        hit
    }

    fn at(&mut self, delay: Millis, happening: Happening) {
        let number = self.number();
        self.agenda.insert((self.now + delay, number), happening);
    }

    /// Sends an outcome on its way, where it may be lost, doubled, late or overtaken.
    fn deliver(&mut self, delay: Millis, event: Event) {
        let mut delay = delay + self.choices.delay(20);
        if self.fault_rate > 0 && self.choices.chance(self.fault_rate * 2) {
            let fault = self.choices.pick(&[Fault::Reordered, Fault::Late, Fault::Doubled, Fault::Lost]);
            self.count(fault);
            match fault {
                Fault::Lost => return,
                Fault::Late => delay += self.choices.delay(90_000),
                Fault::Doubled => {
                    let again = delay + self.choices.delay(5_000);
                    self.at(again, Happening::Deliver(event.clone()));
                }
                _ => delay += self.choices.delay(2_000),
            }
        }
        self.at(delay, Happening::Deliver(event));
    }

    // --- Our process ---

    fn start(&mut self) {
        let (limits, scheduling, agents) = (&self.limits, &self.scheduling, Agents::default());
        let started = json!({"type": "engineStarted", "limits": limits, "agents": agents,
            "scheduling": scheduling});
        self.batch(vec![event(started)]);
    }

    /// Does with a batch of events what the driver does: decide, append, then send the effects.
    fn batch(&mut self, events: Vec<Event>) {
        if self.down_until.is_some() {
            return;
        }
        let (mut decisions, mut effects) = (Vec::new(), Vec::new());
        for event in events {
            self.events += 1;
            // Through its written form, as it comes in.
            let event: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            decisions.extend(self.decide(event, &mut effects));
        }
        if self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.events += 1;
            decisions.extend(self.decide(Event::DeadlinePassed {}, &mut effects));
            let due = self.engine.next_deadline();
            assert!(due.is_none_or(|next| next > self.now), "a deadline that has passed is due again");
        }
        self.batches += 1;
        if self.batches.is_multiple_of(DIGEST_EVERY)
            && let Some(last) = decisions.last_mut()
        {
            last.state = Some(self.engine.digest());
        }
        effects.extend(std::iter::from_fn(|| self.engine.poll_effect()));

        let trouble = self.fault_rate > 0 && self.choices.chance(60);
        let trouble = trouble.then(|| self.choices.pick(&PROCESS_FAULTS));
        if let Some(fault) = trouble {
            self.count(fault);
        }
        let write = match trouble {
            Some(Fault::CrashBeforeAppend) => return self.crash(),
            // What was being written is there or not.
            Some(Fault::TornTail) if self.choices.below(2) == 0 => return self.crash(),
            Some(Fault::AppendFails) => Write::Fails,
            Some(Fault::AppendInDoubt) => Write::InDoubt,
            Some(Fault::DiskFull) => {
                self.disk.full = 1 + self.choices.below(6);
                Write::Fails
            }
            _ => Write::Sound,
        };
        if !self.disk.append(&decisions, write) {
            return self.fail();
        }
        self.retry_ms = 500;
        self.check_history();
        match trouble {
            Some(Fault::TornTail | Fault::CrashAfterAppend) => return self.crash(),
            Some(Fault::CrashAmidEffects) => {
                let sent = self.choices.below(1 + effects.len() as u32) as usize;
                for effect in effects.into_iter().take(sent) {
                    if effect.id().is_some() {
                        self.execute(effect);
                    }
                }
                return self.crash();
            }
            _ => {}
        }
        for effect in effects {
            self.send(effect);
        }
        if trouble == Some(Fault::Reload) {
            self.reload();
        }
    }

    fn decide(&mut self, event: Event, effects: &mut Vec<Effect>) -> Option<orchestrator_engine::Decision> {
        let before = Before::of(&self.engine);
        let from = effects.len();
        let decision = self.engine.decide(self.now, event.clone(), effects);
        if self.is_told {
            let verdict = if decision.is_some() { "" } else { " (ignored)" };
            println!("{:>9} {}{verdict}", self.now, json!(event));
            for effect in &effects[from..] {
                println!("          → {}", json!(effect).to_string().chars().take(200).collect::<String>());
            }
        }
        self.check(&before, &event, &effects[from..]);
        for effect in &effects[from..] {
            if let Effect::ReportMission { effect, mission, .. } = effect {
                self.undelivered.entry(*effect).or_insert((*mission, 0));
            }
        }
        if let (Event::EffectFailed { effect, .. }, Some(_)) = (&event, &decision)
            && let Some((_, failures)) = self.undelivered.get_mut(effect)
        {
            *failures += 1;
        }
        decision
    }

    /// Answers at once what the driver answers at once, and sends the rest to the host.
    fn send(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { answer: Answer::Refused { text, .. }, .. } => assert!(!text.is_empty()),
            Effect::RenderTodo { text } if self.fault_rate > 0 && self.choices.chance(100) => {
                self.count(Fault::TodoEdited);
                self.deliver(10, Event::TodoEdited { text, cut: false });
            }
            Effect::CancelChecks { effect } => {
                // Their report comes all the same, sooner and without a verdict.
                let before = self.agenda.len();
                self.agenda.retain(|_, happening| outcome_of(happening) != Some(effect));
                if self.agenda.len() < before {
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
            effect if effect.id().is_some() => {
                // One after another, as the plugin does for each session.
                let at = (self.now + 1 + self.choices.delay(10)).max(self.last_execution);
                self.last_execution = at;
                self.at(at - self.now, Happening::Execute(effect));
            }
            _ => {}
        }
    }

    /// The engine in memory is given up, and rebuilt from the journal after a while. The host goes on, and so does
    /// what was asked of it; checks end with the engine.
    fn fail(&mut self) {
        self.down_until = Some(self.now + self.retry_ms);
        self.retry_ms = (self.retry_ms * 2).min(30_000);
    }

    fn rebuild(&mut self) {
        self.down_until = None;
        self.agenda
            .retain(|_, happening| !matches!(happening, Happening::Deliver(Event::ChecksFinished { .. })));
        self.engine = self.disk.replay();
        self.start();
    }

    /// The plugin ends and is loaded anew: what was on its way to it is lost.
    fn reload(&mut self) {
        self.agenda.retain(|_, happening| matches!(happening, Happening::Model { .. }));
        self.last_execution = self.now;
        self.rebuild();
    }

    /// The process dies, and the host with it; the user starts both again.
    fn crash(&mut self) {
        self.agenda.clear();
        self.kill_host();
        self.disk.full = 0;
        self.now += 1_000 + self.choices.delay(100_000);
        self.last_execution = self.now;
        // The user may have configured other lanes meanwhile.
        self.limits.worker_slots = 1 + u64::from(self.choices.below(8));
        self.rebuild();
    }

    // --- The user ---

    fn root(number: u32) -> SessionId {
        SessionId(format!("ses_root{number}"))
    }

    fn request_mission(&mut self) {
        self.roots += 1;
        let kind = if self.asks { "plan" } else { "task" };
        self.ask_for(&Self::root(self.roots), kind, "Build it");
    }

    fn ask_for(&mut self, session: &SessionId, kind: &str, words: &str) {
        let asked = json!({"type": "missionRequested", "request": self.number(), "session": session,
            "objective": words, "kind": kind});
        self.batch(vec![event(asked)]);
    }

    fn user(&mut self) {
        if self.fault_rate == 0 || !self.choices.chance(60) {
            return;
        }
        let mission = self.choices.below(self.roots);
        let open = self.engine.missions().values().filter(|mission| mission.is_open());
        let session = open.map(|mission| mission.follower.clone()).nth(mission as usize);
        let session = session.unwrap_or_else(|| Self::root(1 + mission));
        let fault = self.choices.pick(&USER_FAULTS);
        self.count(fault);
        let request = self.number();
        match fault {
            Fault::Stop => self.batch(vec![Event::StopRequested { request, session }]),
            Fault::Interrupt => self.batch(vec![Event::Interrupted { session, cause: Interruption::User }]),
            Fault::ResumedElsewhere => {
                let session = SessionId(format!("ses_other{request}"));
                self.ask_for(&session, "task", "");
            }
            Fault::PlanRevised => {
                let task = json!({"id": format!("extra{request}"), "title": "t", "objective": "o",
                    "files": ["src/0.ts"], "acceptance": [["true"]]});
                let revision = match self.choices.below(5) {
                    0 | 1 => json!({"add": [task]}),
                    2 => json!({"reprioritise": [{"task": "t1", "priority": "low"}]}),
                    3 => json!({"split": [{"task": "t2", "into": [task]}]}),
                    _ => json!({"cancel": ["t1"]}),
                };
                self.batch(vec![Event::PlanRevised { request, session, revision, denied: vec![] }]);
            }
            Fault::LimitsChanged => {
                let (slots, sessions) = (1 + self.choices.below(20), 1 + self.choices.below(20));
                let limits = json!({"workerSlots": slots, "sessions": sessions});
                self.batch(vec![Event::LimitsChanged { request, limits }]);
            }
            Fault::ModelChanged => {
                let model = self.choices.pick(&["a/x", "a/y", "b/x"]).into();
                self.batch(vec![Event::ModelNoted { session, model }]);
            }
            Fault::MemoryShort => {
                let percent = 81 + self.choices.delay(19);
                self.batch(vec![Event::MemoryMeasured { percent }]);
                let free = Event::MemoryMeasured { percent: 50 };
                let after = self.choices.delay(600_000);
                self.at(after, Happening::Deliver(free));
            }
            _ => {
                let stranger = SessionId::from("ses_stranger");
                let started = Event::StepStarted { session: stranger.clone() };
                let ended = Event::TurnEnded { session: stranger, prompt: None, facts: Default::default() };
                self.batch(vec![started, ended]);
            }
        }
    }

    /// The user goes on with a mission that waits for them, or has the commander give up or retry what is blocked.
    fn attend(&mut self) {
        let rests = |stage: &Stage| matches!(stage, Stage::Paused { .. } | Stage::Approval);
        let paused = self.engine.missions().values().find(|mission| rests(&mission.stage));
        let Some(mission) = paused else { return };
        let session = mission.follower.clone();
        let waits_for_approval = mission.stage == Stage::Approval;
        let is_spent = matches!(mission.stage, Stage::Paused { reason: PauseReason::Budget { .. }, .. })
            || mission.tasks.values().any(
                |task| matches!(&task.state, TaskState::Blocked { reason } if reason.contains("budget")),
            );
        let spent = mission.spent.of(Budget::MissionTokens, self.now);
        let is_blocked = |task: &&Task| matches!(task.state, TaskState::Blocked { .. });
        let blocked: Vec<_> =
            mission.tasks.values().filter(is_blocked).map(|task| task.spec.id.clone()).collect();
        self.resumes += 1;
        let request = self.number();
        if self.resumes > 30 {
            self.batch(vec![Event::StopRequested { request, session }]);
        } else if waits_for_approval {
            let words =
                self.choices.pick(&["approve", "approve", "edit smaller tasks", "refuse it is too much"]);
            if words != "approve" {
                self.count(Fault::PlanMadeAgain);
            }
            self.ask_for(&session, "plan", words);
        } else if is_spent && self.choices.below(4) != 3 {
            self.count(Fault::BudgetRaised);
            let words = format!("budget missionTokens={} taskTokens=0 missionMs=0", spent + 100_000);
            self.ask_for(&session, "task", &words);
        } else if !blocked.is_empty() && self.choices.below(2) == 1 {
            // Now and then the same twice.
            let mut list = || {
                let twice: Vec<_> =
                    blocked.iter().chain(&blocked).filter(|_| self.choices.below(2) == 1).cloned().collect();
                json!(twice)
            };
            let revision = json!({"cancel": list(), "retry": list()});
            self.count(Fault::PlanRevised);
            self.batch(vec![Event::PlanRevised { request, session, revision, denied: vec![] }]);
        } else {
            self.ask_for(&session, "task", "");
        }
    }

    // --- The clock ---

    /// Runs until every mission has ended.
    fn run(&mut self) {
        for step in 0..STEPS_MAX {
            if self.down_until.is_none() {
                if self.engine.missions().values().all(|mission| !mission.is_open()) {
                    if self.events >= EVENTS_MIN {
                        return self.settle();
                    }
                    self.request_mission();
                }
                if step % 8 == 0 && self.choices.below(3) == 0 || self.agenda.is_empty() {
                    self.attend();
                }
                self.user();
                if step % 50 == 0 {
                    self.check_writers();
                }
            }
            self.step();
        }
        let text = self.engine.answer(&Question::Status { session: Self::root(1) });
        panic!("the missions do not come to an end: {}", text["text"]);
    }

    fn step(&mut self) {
        let next = self.agenda.keys().next().map(|(at, _)| *at);
        let deadline = if self.down_until.is_some() { self.down_until } else { self.engine.next_deadline() };
        match (next, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                self.now = self.now.max(at);
                let (_, happening) = self.agenda.pop_first().unwrap();
                match happening {
                    Happening::Deliver(event) => self.take(event),
                    Happening::Execute(effect) => self.execute(effect),
                    Happening::Model { session, turn, act } => self.go_on(&session, turn, act),
                }
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                if self.down_until.is_some() { self.rebuild() } else { self.batch(Vec::new()) }
            }
            // Whoever is open waits for the user, as the invariants have seen.
            (_, None) => {}
        }
    }

    /// Events that come within some milliseconds are one batch.
    fn take(&mut self, first: Event) {
        let mut events = vec![first];
        while events.len() < 4
            && self.agenda.first_key_value().is_some_and(|((at, _), happening)| {
                *at <= self.now + 3 && matches!(happening, Happening::Deliver(_))
            })
        {
            let Some((_, Happening::Deliver(event))) = self.agenda.pop_first() else { break };
            events.push(event);
        }
        self.batch(events);
    }

    /// After the end nothing may happen any more, whatever still arrives, and after a restart neither.
    fn settle(&mut self) {
        self.fault_rate = 0;
        let stages = |engine: &Engine| -> Vec<_> {
            engine.missions().values().map(|mission| mission.stage.clone()).collect()
        };
        let before = stages(&self.engine);
        for mission in self.engine.missions().values() {
            assert!(mission.attempts.is_empty(), "{} has ended with live attempts", mission.id);
            for session in
                self.sessions.iter().filter(|session| session.mission == mission.id && session.busy)
            {
                assert!(
                    mission.survivors.contains(&session.id) || !mission.sessions.contains(&session.id),
                    "{} is busy after the end",
                    session.id
                );
            }
        }
        while let Some((_, happening)) = self.agenda.pop_first() {
            if let Happening::Deliver(event) = happening {
                self.take(event);
            }
        }
        assert_eq!(stages(&self.engine), before, "the end was not the end");
        self.crash();
        assert_eq!(stages(&self.engine), before, "the end was not the end after a restart");
        self.check_reports();
    }

    /// Whoever followed a mission to its end is told so, by a later process if need be. What a stopped one has to say is in
    /// the answer to the stop, and what failed again and again is given up.
    fn check_reports(&mut self) {
        while let Some((_, happening)) = self.agenda.pop_first() {
            match happening {
                Happening::Deliver(event) => self.take(event),
                Happening::Execute(effect) => self.execute(effect),
                Happening::Model { .. } => {}
            }
        }
        for mission in self.engine.missions().values() {
            let is_given_up = self
                .undelivered
                .values()
                .any(|(id, failures)| *id == mission.id && *failures > self.limits.recoveries);
            assert!(
                mission.stage == Stage::Stopped || is_given_up || self.reported.contains(&mission.id),
                "{} is {:?}, and nobody was told",
                mission.id,
                mission.stage
            );
            let untold = &self.engine.summary(mission.id).unwrap()["untold"];
            assert_eq!(*untold, json!(0), "{} has something left to say", mission.id);
        }
    }
}

/// What happens to our process around a batch.
const PROCESS_FAULTS: [Fault; 8] = [
    Fault::Reload,
    Fault::CrashBeforeAppend,
    Fault::CrashAfterAppend,
    Fault::CrashAmidEffects,
    Fault::TornTail,
    Fault::AppendFails,
    Fault::AppendInDoubt,
    Fault::DiskFull,
];

/// What the user does unasked. Breaking off is done more often than ending, so that missions last.
const USER_FAULTS: [Fault; 11] = [
    Fault::StrangerSpeaks,
    Fault::Interrupt,
    Fault::PlanRevised,
    Fault::ResumedElsewhere,
    Fault::StrangerSpeaks,
    Fault::Interrupt,
    Fault::PlanRevised,
    Fault::LimitsChanged,
    Fault::ModelChanged,
    Fault::MemoryShort,
    Fault::Stop,
];

/// An event as it comes from outside, where what is not said has its default.
fn event(value: serde_json::Value) -> Event {
    serde_json::from_value(value).unwrap()
}

fn run(choices: &mut Choices, is_told: bool) -> Tally {
    let mut world = World::new(choices, is_told);
    world.run();
    let World { faults, outcomes, events, disk, .. } = world;
    Tally { faults, outcomes, events, seeds: 1, journal: disk.records }
}

thread_local! {
    /// The panic of a run on this thread: where, and what it said.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs, and gives what was done, or where and why it failed.
fn attempt(choices: &mut Choices, is_told: bool) -> Result<Tally, (String, String)> {
    // The hook has taken down more than the panic brings along.
    let ended = catch_unwind(AssertUnwindSafe(|| run(choices, is_told))).ok();
    ended.ok_or_else(|| PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_default())
}

/// Minimises a failing run, and gives the text that tells of it.
fn explain(name: &str, choices: Choices, (place, message): (String, String)) -> String {
    let script = choice::minimise(choices.taken, MINIMISING_RUNS, |script| {
        attempt(&mut Choices::of_script(script.to_vec()), false).is_err_and(|(found, _)| found == place)
    });
    let mut least = Choices::of_script(script.clone());
    let message = attempt(&mut least, false).err().map_or(message, |(_, message)| message);
    format!(
        "{name} fails at {place}: {message}\nminimised to {} choices; repeat it with\n\
         SIM_CHOICES={} cargo test -p orchestrator-engine --test simulator",
        script.iter().filter(|choice| **choice != 0).count(),
        choice::print(&script)
    )
}

#[test]
fn every_mission_ends_whatever_the_host_does() {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or_default().to_owned();
        PANIC.with(|panic| *panic.borrow_mut() = Some((place, message)));
    }));
    if let Some(text) = variable("SIM_CHOICES") {
        let mut choices = Choices::of_script(choice::parse(&text).expect("SIM_CHOICES is index:choice,…"));
        let outcome = attempt(&mut choices, true).map(|tally| tally.faults);
        drop(std::panic::take_hook());
        return assert!(outcome.is_ok(), "{:?}", outcome.err());
    }
    if variable("SIM_FIXTURES").is_some() {
        drop(std::panic::take_hook());
        return write_fixtures();
    }
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, seeds) = (&next, &seeds);
    let tallies: Vec<Result<Tally, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(move || work(next, seeds.end))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    drop(std::panic::take_hook());
    let mut total = Tally::default();
    for tally in tallies {
        let tally = tally.unwrap_or_else(|failure| panic!("{failure}"));
        total.add(tally);
    }
    let count = |fault: &Fault| total.faults.get(fault).copied().unwrap_or(0);
    println!("{} seeds, {} events in {:?}", total.seeds, total.events, started.elapsed());
    println!("missions ended {:?}", total.outcomes);
    for fault in Fault::ALL {
        println!("{:>9}  {}", count(fault), fault.text());
    }
    if total.seeds >= SEEDS {
        for fault in Fault::ALL {
            assert!(count(fault) >= FAULTS_MIN, "{fault:?} was done only {} times", count(fault));
        }
        let of = |outcome: &str| total.outcomes.get(outcome).copied().unwrap_or(0);
        let others = of("Failed") + of("Stopped");
        assert!(of("Sealed") > others, "too few missions were sealed: {:?}", total.outcomes);
    }
}

/// Keeps the journals of some seeds for `tests/replay.rs`.
fn write_fixtures() {
    for seed in FIXTURE_SEEDS {
        let mut journal = run(&mut Choices::of_seed(seed), false).journal;
        // The whole state stands beside each record.
        let mut engine = Engine::default();
        for (sequence, body) in (1..).zip(&mut journal) {
            let (mut decision, _) = engine.repeat_record(sequence, body.as_bytes()).unwrap();
            decision.state = Some(engine.digest());
            *body = json!(decision).to_string();
        }
        let path = format!("{}/tests/fixtures/simulated-{seed}.ndjson", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, journal.join("\n") + "\n").unwrap();
    }
}

/// Takes seeds until none is left or one fails.
fn work(next: &AtomicU64, end: u64) -> Result<Tally, String> {
    let mut total = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return Ok(total);
        }
        let mut choices = Choices::of_seed(seed);
        let tally = match attempt(&mut choices, false) {
            Ok(tally) => tally,
            Err(panic) => {
                // The others need not go on.
                next.store(end, Ordering::Relaxed);
                return Err(explain(&format!("seed {seed}"), choices, panic));
            }
        };
        assert!(tally.events >= EVENTS_MIN, "seed {seed} has only {} events", tally.events);
        if seed.is_multiple_of(100) {
            let again = run(&mut Choices::of_script(choices.taken), false);
            assert!(again.journal == tally.journal, "seed {seed} gives another journal from its choices");
        }
        total.add(tally);
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.events += other.events;
        self.seeds += other.seeds;
    }
}
