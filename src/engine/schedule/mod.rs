//! Which waiting attempt is next: lanes of slots per role, work stealing, priorities, caps, circuits, memory.
//!
//! A slot is a right to run one session. It belongs to a role's lane, and has a queue: the attempts whose home it is,
//! because what they follow from was worked on in it. A free slot takes the newest of its own queue, whose context is
//! still warm; otherwise it steals the oldest of the longest queue, so that nobody waits beside an idle slot. A lane that
//! has nothing to do lends its slots to the others, all but one: what comes for its own role never waits for a stranger.
//!
//! Queues, slots and caps are not kept but read off the attempts: those that wait, and those that hold a [`Token`].

mod breaker;
mod caps;
mod lane;
mod race;
mod reading;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::question::Role;
use crate::recovery::{Class, Failure};
use crate::{
    Answer, Attempt, AttemptId, Engine, Handled, Ignored, Level, Limits, Millis, Mission, MissionId, ModelId,
    Priority, RequestId, SessionId, Task, TaskId, TaskState, Turn, prompt,
};

pub use breaker::Breaker;
pub use caps::{Caps, Scheduling};
pub use lane::Lane;
pub use token::{Slot, Token};

/// What the scheduler remembers. All else is read off the attempts.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scheduler {
    pub(crate) scheduling: Scheduling,
    lanes: BTreeMap<Role, Lane>,
    /// Circuits that are not as they were at first.
    breakers: BTreeMap<ModelId, Breaker>,
    /// Memory in use, in percent, while it is above the limit.
    memory: Option<u64>,
}

impl Default for Scheduler {
    fn default() -> Self {
        let limits = Limits::default();
        let lane = |role: Role| (role, Lane::new(role.slots(&limits), limits.sessions_per_agent));
        Self {
            scheduling: Scheduling::default(),
            lanes: Role::ALL.into_iter().map(lane).collect(),
            breakers: BTreeMap::new(),
            memory: None,
        }
    }
}

/// How a mission's attempts came to their slots. A mechanism that is not counted in use is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Tokens granted.
    pub admitted: u64,
    /// Attempts taken by the slot whose queue they were in.
    pub local: u64,
    /// Attempts taken from another slot's queue.
    pub steals: u64,
    /// Attempts that ran in a slot of another role's lane.
    pub lent: u64,
    /// Time that attempts waited for a slot, together.
    pub waited_ms: u64,
    /// Sessions that read ahead, and reviews that went on in one of them.
    pub readings: u64,
    pub readings_used: u64,
    /// Attempts that lost a race.
    pub races_lost: u64,
}

/// Why an attempt that waits is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    BackOff,
    Lease { holder: TaskId },
    Memory { percent: u64 },
    Circuit { model: ModelId },
    Cap { of: String, sessions: u64 },
    Slot { lane: Role },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackOff => write!(f, "waits a while after a failure"),
            Self::Lease { holder } => write!(f, "waits for files that task {holder} holds"),
            Self::Memory { percent } => {
                write!(f, "refused for now: {percent} % of the memory is in use, and its priority is low")
            }
            Self::Circuit { model } => {
                write!(f, "waits for {model}, which has failed several times in a row")
            }
            Self::Cap { of, sessions } => {
                write!(f, "waits: {sessions} sessions of {of} run, which is the cap")
            }
            Self::Slot { lane } => write!(f, "waits for a {} slot", lane.name()),
        }
    }
}

/// What is held at present.
#[derive(Debug, Default)]
struct Held {
    slots: BTreeSet<Slot>,
    lanes: BTreeMap<Role, u64>,
    /// Slots of a lane that other roles have.
    lent: BTreeMap<Role, u64>,
    agents: BTreeMap<Role, u64>,
    providers: BTreeMap<String, u64>,
    models: BTreeMap<ModelId, u64>,
    probes: BTreeMap<ModelId, u64>,
}

impl Held {
    fn all(&self) -> u64 {
        self.agents.values().sum()
    }

    fn of(map: &BTreeMap<Role, u64>, role: Role) -> u64 {
        map.get(&role).copied().unwrap_or(0)
    }

    fn add(&mut self, role: Role, slot: Slot, model: Option<&ModelId>, is_probe: bool) {
        self.slots.insert(slot);
        *self.lanes.entry(slot.lane).or_default() += 1;
        *self.agents.entry(role).or_default() += 1;
        *self.lent.entry(slot.lane).or_default() += u64::from(slot.lane != role);
        if let Some(model) = model {
            *self.providers.entry(model.provider().to_owned()).or_default() += 1;
            *self.models.entry(model.clone()).or_default() += 1;
            *self.probes.entry(model.clone()).or_default() += u64::from(is_probe);
        }
    }
}

/// An attempt that could run if there were a slot.
struct Candidate {
    mission: MissionId,
    attempt: AttemptId,
    role: Role,
    /// The slot in whose queue it is; `None` for the lane's common queue.
    home: Option<Slot>,
    /// Smaller goes first: priority, less one for each `ageingMs` of waiting; what has begun before what has not.
    rank: (i64, bool),
    model: Option<ModelId>,
}

/// An attempt and the slot it gets.
struct Choice {
    mission: MissionId,
    attempt: AttemptId,
    slot: Slot,
    model: Option<ModelId>,
    is_local: bool,
    is_stolen: bool,
}

// What is asked from outside.
impl Engine {
    /// The slots of the role's lane that are held, by whichever role.
    #[must_use]
    pub fn slots_held(&self, role: Role) -> u64 {
        self.tokens().filter(|(_, token)| token.slot.lane == role).count() as u64
    }

    /// The sessions of the role's agent that run, in whichever lane.
    #[must_use]
    pub fn sessions_held(&self, role: Role) -> u64 {
        self.tokens().filter(|(attempt, _)| attempt.role() == role).count() as u64
    }

    /// How many sessions of the role may run at the same time.
    #[must_use]
    pub fn sessions_max(&self, role: Role) -> u64 {
        self.scheduler.scheduling.caps.of_role(role, &self.limits)
    }

    /// The role's lane.
    #[must_use]
    pub fn lane(&self, role: Role) -> Option<&Lane> {
        self.scheduler.lanes.get(&role)
    }

    /// Whether [`Event::MemoryMeasured`](crate::Event::MemoryMeasured) with this would change anything: the driver
    /// measures often, and the journal holds what matters.
    #[must_use]
    pub fn minds_memory(&self, percent: u64) -> bool {
        match self.scheduler.memory {
            None => percent > self.limits.memory_percent,
            Some(_) => {
                percent + MEMORY_HYSTERESIS_PERCENT
                    <= self.limits.memory_percent.max(MEMORY_HYSTERESIS_PERCENT)
            }
        }
    }

    /// The lanes, circuits and waiting attempts, for programs.
    pub(crate) fn schedule_summary(&self) -> Value {
        let held = self.held();
        let lanes: Vec<_> = Role::ALL
            .into_iter()
            .filter_map(|role| {
                let lane = self.lane(role)?;
                Some(json!({
                    "role": role, "slots": lane.size(), "cap": self.sessions_max(role),
                    "held": Held::of(&held.lanes, role), "lent": Held::of(&held.lent, role),
                    "sessions": Held::of(&held.agents, role),
                }))
            })
            .collect();
        let waiting: Vec<_> = self
            .obstacles()
            .into_iter()
            .map(|(mission, attempt, why)| json!({ "mission": mission, "attempt": attempt, "why": why.to_string() }))
            .collect();
        json!({
            "lanes": lanes, "circuits": self.scheduler.breakers, "memoryPercent": self.scheduler.memory,
            "waiting": waiting,
        })
    }

    /// The lanes, circuits and memory, what waits and what the counters say, for people: a line each.
    pub(crate) fn schedule_lines(&self) -> Vec<String> {
        let held = self.held();
        let lanes: Vec<_> = Role::ALL
            .into_iter()
            .filter_map(|role| {
                let lane = self.lane(role)?;
                let lent = match Held::of(&held.lent, role) {
                    0 => String::new(),
                    lent => format!(", {lent} of them lent"),
                };
                let used = Held::of(&held.lanes, role);
                Some(format!("{} {used} of {}{lent}", role.name(), lane.size()))
            })
            .collect();
        let mut lines = vec![format!("Slots: {}.", lanes.join("; "))];
        for (model, breaker) in &self.scheduler.breakers {
            match breaker {
                Breaker::Open { .. } => lines.push(format!(
                    "{model} has failed several times in a row: sessions wait before one tries it again."
                )),
                Breaker::HalfOpen { .. } => {
                    lines.push(format!("{model} has failed; one session at a time tries it again."));
                }
                Breaker::Closed { .. } => {}
            }
        }
        if let Some(percent) = self.scheduler.memory {
            lines.push(format!(
                "{percent} % of the memory is in use: low-priority work is refused until it falls."
            ));
        }
        let obstacles = self.obstacles();
        for (mission, attempt, why) in obstacles.iter().take(WAITING_SHOWN_MAX) {
            let mission = &self.missions[mission];
            lines.push(format!("{}: {why}.", prompt::title(mission, &mission.attempts[attempt])));
        }
        if let Some(more @ 1..) = obstacles.len().checked_sub(WAITING_SHOWN_MAX) {
            lines.push(format!("{more} more wait."));
        }
        let total = |counter: fn(&Counters) -> u64| -> u64 {
            self.missions.values().map(|mission| counter(&mission.counters)).sum()
        };
        lines.push(format!(
            "Sessions admitted: {}; local {}, steals {}, lent {}; waited {} ms in all; read ahead {}, of use {}; lost races {}.",
            total(|of| of.admitted),
            total(|of| of.local),
            total(|of| of.steals),
            total(|of| of.lent),
            total(|of| of.waited_ms),
            total(|of| of.readings),
            total(|of| of.readings_used),
            total(|of| of.races_lost),
        ));
        lines
    }

    /// Every attempt that waits, with the reason.
    fn obstacles(&self) -> Vec<(MissionId, AttemptId, Obstacle)> {
        let held = self.held();
        let queued =
            self.live().filter(|(mission, attempt)| mission.is_under_way() && attempt.token.is_none());
        queued
            .map(|(mission, attempt)| {
                let why = self
                    .obstacle(self.now, &held, mission, attempt)
                    .unwrap_or(Obstacle::Slot { lane: attempt.role() });
                (mission.id, attempt.id, why)
            })
            .collect()
    }
}

// What changes it.
impl Engine {
    /// Takes over what a process was started with.
    pub(crate) fn configure_schedule(&mut self, scheduling: Scheduling) {
        self.scheduler.scheduling = scheduling;
        self.scheduler.memory = None;
        self.configure_lanes();
    }

    fn configure_lanes(&mut self) {
        for role in Role::ALL {
            let (start, ceiling) = (role.slots(&self.limits), self.sessions_max(role));
            if let Some(lane) = self.scheduler.lanes.get_mut(&role) {
                lane.configure(start, ceiling);
            }
        }
    }

    /// Puts other limits in force as `/task limit name=value …` says.
    pub(crate) fn limits_commanded(&mut self, request: RequestId, pairs: &[(&str, &str)]) -> Handled {
        let limit = |(name, value): &(&str, &str)| {
            let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
            ((*name).to_owned(), value)
        };
        let limits: serde_json::Map<String, Value> = pairs.iter().map(limit).collect();
        self.limits_changed(request, &json!(limits))
    }

    /// Puts other limits in force, those that are not named as they were. Sessions that run above a lower one go on;
    /// none is admitted before enough have ended. A higher one admits who waits.
    pub(crate) fn limits_changed(&mut self, request: RequestId, limits: &Value) -> Handled {
        match self.limits.with(limits) {
            Ok(limits) => {
                self.limits = limits;
                self.configure_lanes();
                let text = "The limits are in force until OpenCode is started again.";
                self.reply(request, Answer::Accepted { mission: None, text: text.into() });
                Handled::Changed
            }
            Err(mistakes) => {
                let text = format!("The limits were not taken:\n{}", prompt::mistakes(&mistakes));
                self.reply(request, Answer::Refused { code: "LIMITS_INVALID".into(), text });
                Handled::Ignored(Ignored::Refused)
            }
        }
    }

    /// Notes the model that a root session speaks with: its sessions use the same where none is configured.
    pub(crate) fn model_noted(&mut self, session: &SessionId, model: &ModelId) -> Handled {
        let configured = self.scheduler.scheduling.models.clone();
        let concerned = |mission: &&mut Mission| {
            mission.root == *session && mission.is_open() && mission.model.as_ref() != Some(model)
        };
        let mut changed = Vec::new();
        for mission in self.missions.values_mut().filter(concerned) {
            mission.model = Some(model.clone());
            for attempt in mission.attempts.values_mut() {
                let role = attempt.role();
                if let Some(token) = &mut attempt.token
                    && token.model.is_none()
                    && !configured.contains_key(&role)
                {
                    token.model = Some(model.clone());
                }
            }
            changed.push(mission.id);
        }
        if changed.is_empty() {
            return Handled::Ignored(Ignored::ForeignSession);
        }
        self.dirty.extend(changed);
        Handled::Changed
    }

    /// Notes how much of the memory is in use. Low-priority work is refused above the limit, and taken again when the
    /// use has fallen a little below it.
    pub(crate) fn memory_measured(&mut self, percent: u64) -> Handled {
        if !self.minds_memory(percent) {
            return Handled::Ignored(Ignored::NothingDue);
        }
        self.scheduler.memory = match self.scheduler.memory {
            None => Some(percent),
            Some(_) => None,
        };
        Handled::Changed
    }

    /// Notes that a session gave its result: its lane may grow, its model's circuit may close.
    pub(crate) fn attempt_succeeded(&mut self, attempt: &Attempt) {
        let (role, successes) = (attempt.role(), self.limits.growth_successes);
        let ceiling = self.sessions_max(role);
        if let Some(lane) = self.scheduler.lanes.get_mut(&role) {
            lane.succeeded(successes, ceiling);
        }
        self.model_answered(attempt);
    }

    /// Notes that a session failed: what the provider did cuts the lane and counts against the model.
    pub(crate) fn attempt_failed(&mut self, now: Millis, attempt: &Attempt, failure: &Failure) {
        let Some(token) = &attempt.token else { return };
        let class = failure.class();
        if class.is_providers()
            && let Some(lane) = self.scheduler.lanes.get_mut(&attempt.role())
        {
            lane.failed(now, token.granted);
        }
        match class {
            Class::Transport => {
                let Some(model) = token.model.clone() else { return };
                let breaker = self.scheduler.breakers.entry(model.clone()).or_default();
                if breaker.failed(now, token.is_probe, &self.limits) {
                    let seconds = self.limits.circuit_open_ms.div_ceil(1_000);
                    let text = format!(
                        "{model} has failed several times in a row. Sessions wait; one tries it again in {seconds} s."
                    );
                    self.tell_users_of(&model, Level::Warning, &text);
                }
            }
            // The model answered, whatever came of it.
            Class::RateLimit
            | Class::Overflow
            | Class::Order
            | Class::Refused
            | Class::Content
            | Class::Runaway
            | Class::Model
            | Class::Tool => self.model_answered(attempt),
            // These say nothing about the model.
            Class::Permission | Class::Aborted | Class::Time | Class::Host => {}
        }
    }

    fn model_answered(&mut self, attempt: &Attempt) {
        let Some(token) = &attempt.token else { return };
        let Some(model) = &token.model else { return };
        let Some(breaker) = self.scheduler.breakers.get_mut(model) else { return };
        let closes = breaker.answered(token.is_probe, &self.limits);
        if *breaker == Breaker::default() {
            self.scheduler.breakers.remove(model);
        }
        if closes {
            self.tell_users_of(model, Level::Success, &format!("{model} answers again. Sessions go on."));
        }
    }

    /// Shows a text to those who follow a mission under way that speaks with the model.
    fn tell_users_of(&mut self, model: &ModelId, level: Level, text: &str) {
        let speaks = |mission: &&Mission| {
            mission.is_under_way()
                && Role::ALL.into_iter().any(|role| self.model_of(mission, role).as_ref() == Some(model))
        };
        // Once for each who follows, however many missions.
        let followed: BTreeMap<_, _> = self
            .missions
            .values()
            .filter(speaks)
            .map(|mission| (mission.follower.clone(), mission.id))
            .collect();
        for id in followed.into_values() {
            self.toast(id, level, text.to_owned());
        }
    }

    /// Lets probes pass whose time has come. Gives whether there were any.
    pub(crate) fn circuits_due(&mut self, now: Millis) -> bool {
        let woken: Vec<_> = self.scheduler.breakers.values_mut().map(|breaker| breaker.wake(now)).collect();
        woken.contains(&true)
    }

    /// When the next circuit lets a probe pass that someone may wait for.
    pub(crate) fn circuit_deadline(&self) -> Option<Millis> {
        let is_wanted = self.missions.values().any(Mission::is_under_way);
        let deadlines = self.scheduler.breakers.values().filter_map(|breaker| breaker.deadline());
        deadlines.min().filter(|_| is_wanted)
    }
}

// Admission.
impl Engine {
    /// Gives free slots to waiting attempts until none fits. Where fewer slots are left than are held, none is given
    /// before enough have come free.
    pub(crate) fn admit_all(&mut self, now: Millis) {
        self.circuits_due(now);
        loop {
            while let Some(choice) = self.choose(now) {
                self.grant(now, choice);
            }
            if !self.read_ahead(now) {
                return;
            }
        }
    }

    fn grant(&mut self, now: Millis, choice: Choice) {
        let Choice { mission, attempt: id, slot, model, is_local, is_stolen } = choice;
        let is_probe = model
            .as_ref()
            .and_then(|model| self.scheduler.breakers.get(model))
            .is_some_and(|b| b.wants_probe());
        let of = self.mission_mut(mission);
        let attempt = of.attempts.get_mut(&id).expect("the scheduler chose a queued attempt");
        let Turn::Queued { .. } = attempt.turn else { unreachable!("{id} has its token already") };
        of.counters.admitted += 1;
        of.counters.local += u64::from(is_local);
        of.counters.steals += u64::from(is_stolen);
        of.counters.lent += u64::from(slot.lane != attempt.role());
        of.counters.waited_ms += now.saturating_sub(attempt.queued);
        attempt.token = Some(Token { slot, granted: now, model, is_probe });
        if slot.lane == Role::Worker
            && let Some(task) = attempt.subject.worker_task()
            && let Some(task) = of.tasks.get_mut(task)
        {
            task.slot = Some(slot);
        }
        self.check_caps(&slot);
        self.admit(now, mission, id);
    }

    /// # Panics
    /// When a token has just been granted that no cap allows.
    fn check_caps(&self, granted: &Slot) {
        let held = self.held();
        let caps = &self.scheduler.scheduling.caps;
        let within = held.all() <= self.limits.sessions
            && Held::of(&held.lanes, granted.lane) <= self.scheduler.lanes[&granted.lane].size();
        assert!(within, "{granted:?} was given above the cap: {held:?}");
        let of_slot = self.tokens().find(|(_, token)| token.slot == *granted);
        let Some((attempt, token)) = of_slot else { unreachable!("{granted:?} was given to nobody") };
        let role = attempt.role();
        assert!(
            Held::of(&held.agents, role) <= caps.of_role(role, &self.limits),
            "too many {role:?} sessions"
        );
        if let Some(model) = &token.model {
            let (of_provider, of_model) = (held.providers[model.provider()], held.models[model]);
            assert!(of_provider <= caps.of_provider(model.provider(), &self.limits), "too many of {model}");
            assert!(of_model <= caps.of_model(model, &self.limits), "too many of {model}");
        }
    }

    fn tokens(&self) -> impl Iterator<Item = (&Attempt, &Token)> {
        self.live().filter_map(|(_, attempt)| Some((attempt, attempt.token.as_ref()?)))
    }

    fn live(&self) -> impl Iterator<Item = (&Mission, &Attempt)> {
        self.missions
            .values()
            .flat_map(|mission| mission.attempts.values().map(move |attempt| (mission, attempt)))
    }

    fn held(&self) -> Held {
        let mut held = Held::default();
        for (attempt, token) in self.tokens() {
            held.add(attempt.role(), token.slot, token.model.as_ref(), token.is_probe);
        }
        held
    }

    /// The model that a session of the role would speak with now, as far as it is known.
    fn model_of(&self, mission: &Mission, role: Role) -> Option<ModelId> {
        self.scheduler.scheduling.models.get(&role).or(mission.model.as_ref()).cloned()
    }

    fn choose(&self, now: Millis) -> Option<Choice> {
        if !self.live().any(|(mission, attempt)| is_waiting(mission, attempt)) {
            return None;
        }
        let held = self.held();
        let mut candidates: Vec<_> = self
            .live()
            .filter(|(mission, attempt)| is_waiting(mission, attempt))
            .filter(|(mission, attempt)| self.obstacle(now, &held, mission, attempt).is_none())
            .map(|(mission, attempt)| self.candidate(now, mission, attempt))
            .collect();
        candidates.sort_by_key(|candidate| (candidate.rank, candidate.attempt));
        let mut rest = candidates.as_slice();
        while let Some(first) = rest.first() {
            let (equals, lower) = rest.split_at(rest.partition_point(|each| each.rank == first.rank));
            let found = self.local(&held, equals).or_else(|| self.stolen(&held, equals, &candidates));
            if found.is_some() {
                return found;
            }
            rest = lower;
        }
        None
    }

    fn candidate(&self, now: Millis, mission: &Mission, attempt: &Attempt) -> Candidate {
        let role = attempt.role();
        let task = attempt.subject.task().and_then(|task| mission.tasks.get(task));
        let priority = task.map_or(Priority::Normal, |task| task.spec.priority);
        let steps = now.saturating_sub(attempt.queued) / self.limits.ageing_ms;
        let aged = priority as i64 - i64::try_from(steps).unwrap_or(i64::MAX);
        let is_fresh = task.is_some_and(|task| matches!(task.state, TaskState::Ready { .. }));
        Candidate {
            mission: mission.id,
            attempt: attempt.id,
            role,
            home: attempt.home.filter(|home| home.index < self.scheduler.lanes[&home.lane].size()),
            rank: (aged, is_fresh),
            model: self.model_of(mission, role),
        }
    }

    /// What stands against the attempt, slots apart.
    fn obstacle(&self, now: Millis, held: &Held, mission: &Mission, attempt: &Attempt) -> Option<Obstacle> {
        if matches!(attempt.turn, Turn::Queued { not_before: Some(at) } if at > now) {
            return Some(Obstacle::BackOff);
        }
        let task = attempt.subject.task().and_then(|task| mission.tasks.get(task));
        // A task that has begun holds its lease already.
        if let Some(task) = task
            && attempt.role() == Role::Worker
            && !task.holds_lease()
            && let Some((_, holder)) = task.spec.files.iter().find_map(|file| self.holder_of(file))
        {
            return Some(Obstacle::Lease { holder: TaskId(holder.to_owned()) });
        }
        let is_low = task.is_some_and(|task| task.spec.priority == Priority::Low);
        // Memory may stay high for reasons of its own: what else would ever run?
        if let Some(percent) = self.scheduler.memory.filter(|_| is_low && held.all() > 0) {
            return Some(Obstacle::Memory { percent });
        }
        self.cap(held, attempt.role(), self.model_of(mission, attempt.role()).as_ref())
    }

    /// The cap or circuit that one more session of the role with the model would run into.
    fn cap(&self, held: &Held, role: Role, model: Option<&ModelId>) -> Option<Obstacle> {
        let caps = &self.scheduler.scheduling.caps;
        let reached = |of: &str, count: u64, cap: u64| {
            (count >= cap).then(|| Obstacle::Cap { of: of.to_owned(), sessions: count })
        };
        let own = reached("all roles", held.all(), self.limits.sessions).or_else(|| {
            let count = Held::of(&held.agents, role);
            reached(&format!("the {}", role.name()), count, caps.of_role(role, &self.limits))
        });
        let Some(model) = model.filter(|_| own.is_none()) else { return own };
        let probes = held.probes.get(model).copied().unwrap_or(0);
        let breaker = self.scheduler.breakers.get(model).copied().unwrap_or_default();
        if !breaker.passes(probes) {
            return Some(Obstacle::Circuit { model: model.clone() });
        }
        let provider = model.provider();
        let of_provider = held.providers.get(provider).copied().unwrap_or(0);
        let of_model = held.models.get(model).copied().unwrap_or(0);
        reached(provider, of_provider, caps.of_provider(provider, &self.limits))
            .or_else(|| reached(&model.0, of_model, caps.of_model(model, &self.limits)))
    }

    /// What a task that is not in hand waits for.
    pub(crate) fn wait_of(&self, mission: &Mission, task: &Task) -> Option<String> {
        match &task.state {
            TaskState::Pending => {
                let unfinished =
                    task.spec.depends_on.iter().filter(|id| {
                        mission.tasks.get(id.as_str()).is_some_and(|before| !before.is_finished())
                    });
                Some(unfinished.cloned().collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
            }
            TaskState::Ready { .. } => {
                let holder = task.spec.files.iter().find_map(|file| {
                    let (holder, name) = self.holder_of(file)?;
                    Some(format!("{file}, which {name} of {} holds", holder.id))
                });
                Some(holder.unwrap_or_else(|| "a slot".into()))
            }
            TaskState::Checking(_) => Some("its checks".into()),
            TaskState::Running { .. }
            | TaskState::Reviewing { .. }
            | TaskState::Done
            | TaskState::Blocked { .. }
            | TaskState::Cancelled => None,
        }
    }

    /// The smallest free number of a lane that has a slot to give.
    fn free_slot(&self, held: &Held, lane: Role) -> Option<Slot> {
        let size = self.scheduler.lanes[&lane].size();
        if Held::of(&held.lanes, lane) >= size {
            return None;
        }
        (0..size).map(|index| Slot { lane, index }).find(|slot| !held.slots.contains(slot))
    }

    /// The newest attempt in the queue of a free slot.
    fn local(&self, held: &Held, equals: &[Candidate]) -> Option<Choice> {
        let is_free = |slot: Slot| {
            !held.slots.contains(&slot)
                && Held::of(&held.lanes, slot.lane) < self.scheduler.lanes[&slot.lane].size()
        };
        let at_home = equals.iter().filter_map(|each| Some((each.home.filter(|&home| is_free(home))?, each)));
        let (slot, candidate) =
            at_home.min_by_key(|(slot, candidate)| (*slot, std::cmp::Reverse(candidate.attempt)))?;
        Some(candidate.taken_by(slot))
    }

    /// The oldest attempt of the longest queue that an idle slot may steal: of its own lane, otherwise of one that
    /// borrows.
    fn stolen(&self, held: &Held, equals: &[Candidate], all: &[Candidate]) -> Option<Choice> {
        let oldest_of_longest = |role: Role| {
            let mut queues: BTreeMap<Option<Slot>, Vec<&Candidate>> = BTreeMap::new();
            for candidate in equals.iter().filter(|each| each.role == role) {
                queues.entry(candidate.home).or_default().push(candidate);
            }
            // Among queues of the same length the first: the common one, then by slot.
            let mut longest: Option<Vec<&Candidate>> = None;
            for queue in queues.into_values() {
                if longest.as_ref().is_none_or(|longest| queue.len() > longest.len()) {
                    longest = Some(queue);
                }
            }
            longest?.into_iter().min_by_key(|candidate| candidate.attempt)
        };
        let own = BY_STAGE.into_iter().find_map(|role| {
            let slot = self.free_slot(held, role)?;
            Some(oldest_of_longest(role)?.taken_by(slot))
        });
        own.or_else(|| {
            BY_STAGE.into_iter().find_map(|role| {
                let candidate = oldest_of_longest(role)?;
                // The provider could not take more of them just now.
                if self.scheduler.lanes[&role].is_cut() {
                    return None;
                }
                let lender = BY_STAGE.into_iter().find_map(|lane| {
                    let is_idle = lane != role && all.iter().all(|each| each.role != lane);
                    let lent_max = self.scheduler.lanes[&lane].size() - 1;
                    (is_idle && Held::of(&held.lent, lane) < lent_max)
                        .then(|| self.free_slot(held, lane))
                        .flatten()
                })?;
                Some(candidate.taken_by(lender))
            })
        })
    }
}

impl Candidate {
    fn taken_by(&self, slot: Slot) -> Choice {
        Choice {
            mission: self.mission,
            attempt: self.attempt,
            slot,
            model: self.model.clone(),
            is_local: self.home == Some(slot),
            is_stolen: self.home.is_some_and(|home| home != slot),
        }
    }
}

fn is_waiting(mission: &Mission, attempt: &Attempt) -> bool {
    mission.is_under_way() && attempt.turn == Turn::Queued { not_before: None }
}

/// The roles in the order in which they bring a mission forward: what is nearest to its end goes first.
const BY_STAGE: [Role; 3] = [Role::Reviewer, Role::Worker, Role::Planner];
/// How far below the limit memory must fall before low-priority work is taken again: around the limit it goes up and
/// down all the time.
const MEMORY_HYSTERESIS_PERCENT: u64 = 5;
/// Waiting attempts that a status names.
const WAITING_SHOWN_MAX: usize = 10;

impl Role {
    /// The slots of the role's lane at first.
    fn slots(self, limits: &Limits) -> u64 {
        match self {
            Self::Planner => limits.planner_slots,
            Self::Worker => limits.worker_slots,
            Self::Reviewer => limits.reviewer_slots,
        }
    }
}
