//! Budgets: what a mission and its tasks have spent, and what they may.
//!
//! Tokens and cost are what the host reports of each answer; an answer is counted once, however often it is reported.
//! Time counts while the mission is under way in a running process.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::attempt::AfterAbort;
use crate::question::Role;
use crate::{
    Answer, AttemptId, Engine, Handled, Ignored, LIMITS, Limits, Millis, Mission, MissionId, Mistake,
    PauseReason, RequestId, SessionId, Stage, Task, TaskId, TaskState, Turn, prompt, report,
};

/// A budget, named as its limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    MissionTokens,
    MissionCostCents,
    MissionMs,
    TaskTokens,
    TaskCostCents,
    TaskMs,
}

const OF_MISSION: [Budget; 3] = [Budget::MissionTokens, Budget::MissionCostCents, Budget::MissionMs];
const OF_TASK: [Budget; 3] = [Budget::TaskTokens, Budget::TaskCostCents, Budget::TaskMs];

impl Budget {
    /// The name of its limit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissionTokens => "missionTokens",
            Self::MissionCostCents => "missionCostCents",
            Self::MissionMs => "missionMs",
            Self::TaskTokens => "taskTokens",
            Self::TaskCostCents => "taskCostCents",
            Self::TaskMs => "taskMs",
        }
    }

    fn configured(self, limits: &Limits) -> u64 {
        match self {
            Self::MissionTokens => limits.mission_tokens,
            Self::MissionCostCents => limits.mission_cost_cents,
            Self::MissionMs => limits.mission_ms,
            Self::TaskTokens => limits.task_tokens,
            Self::TaskCostCents => limits.task_cost_cents,
            Self::TaskMs => limits.task_ms,
        }
    }

    /// An amount of it in words.
    pub(crate) fn amount(self, value: u64) -> String {
        match self {
            Self::MissionTokens | Self::TaskTokens => format!("{value} tokens"),
            Self::MissionCostCents | Self::TaskCostCents => format!("{}.{:02}", value / 100, value % 100),
            Self::MissionMs | Self::TaskMs => format!("{value} ms"),
        }
    }
}

/// What was spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Of all kinds that the host reports: input, output, reasoning, and what the provider's cache read and wrote.
    pub tokens: u64,
    /// Millionths of the currency in which the host reports.
    pub cost_micros: u64,
    clock: Clock,
}

impl Spent {
    /// How much of a budget is spent, rounded down.
    #[must_use]
    pub fn of(&self, budget: Budget, now: Millis) -> u64 {
        match budget {
            Budget::MissionTokens | Budget::TaskTokens => self.tokens,
            Budget::MissionCostCents | Budget::TaskCostCents => self.cost_micros / MICROS_PER_CENT,
            Budget::MissionMs | Budget::TaskMs => self.clock.elapsed(now),
        }
    }

    fn add(&mut self, tokens: u64, cost_micros: u64) {
        self.tokens += tokens;
        self.cost_micros += cost_micros;
    }

    pub(crate) fn run(&mut self, now: Millis, is_running: bool) {
        self.clock.run(now, is_running);
    }

    /// Leaves out the time between two processes.
    pub(crate) fn skip(&mut self, from: Millis, to: Millis) {
        if self.clock.since.is_some() {
            self.clock.run(from, false);
            self.clock.run(to, true);
        }
    }

    /// When so much time will have been spent, if the clock runs.
    fn reaches(&self, limit_ms: Millis) -> Option<Millis> {
        Some(self.clock.since? + limit_ms.saturating_sub(self.clock.spent_ms))
    }
}

/// Time that is counted only while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Clock {
    spent_ms: Millis,
    since: Option<Millis>,
}

impl Clock {
    fn elapsed(&self, now: Millis) -> Millis {
        self.spent_ms + self.since.map_or(0, |since| now.saturating_sub(since))
    }

    fn run(&mut self, now: Millis, is_running: bool) {
        match (self.since, is_running) {
            (None, true) => self.since = Some(now),
            (Some(_), false) => {
                self.spent_ms = self.elapsed(now);
                self.since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

/// What was counted of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    task: Option<TaskId>,
    role: Option<Role>,
    /// The newest answer, and what was counted of it; the host's ids of messages ascend.
    message: String,
    tokens: u64,
    cost_micros: u64,
}

/// What the tasks of a project have taken so far, for estimates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Experience {
    pub tasks: u64,
    pub sessions: u64,
    pub tokens: u64,
}

impl Experience {
    /// Whether a task has been done in this project, with a model that reports what it takes.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.tasks > 0 && self.tokens > 0
    }

    /// Sessions and tokens that so many tasks will take, with the master review.
    #[must_use]
    pub fn estimate(&self, tasks: u64) -> (u64, u64) {
        let (known, sessions, tokens) = if self.is_known() {
            (self.tasks, self.sessions, self.tokens)
        } else {
            (1, SESSIONS_PER_TASK, TOKENS_PER_TASK)
        };
        ((tasks * sessions).div_ceil(known) + 1, (tasks * tokens).div_ceil(known))
    }
}

/// What a task is taken to need before this project has seen one: a worker and a reviewer.
const SESSIONS_PER_TASK: u64 = 2;
const TOKENS_PER_TASK: u64 = 150_000;
const MICROS_PER_CENT: u64 = 10_000;

impl Mission {
    /// What is in force of a budget; `None` when there is none.
    #[must_use]
    pub fn budget(&self, budget: Budget, limits: &Limits) -> Option<u64> {
        let value = self.budgets.get(&budget).copied().unwrap_or_else(|| budget.configured(limits));
        (value > 0).then_some(value)
    }

    /// The budget of the mission that is reached, with what was spent and what was allowed.
    fn reached(&self, now: Millis, limits: &Limits) -> Option<Reached> {
        OF_MISSION.into_iter().find_map(|budget| self.is_reached(budget, &self.spent, now, limits))
    }

    fn task_reached(&self, task: &Task, now: Millis, limits: &Limits) -> Option<Reached> {
        OF_TASK.into_iter().find_map(|budget| self.is_reached(budget, &task.spent, now, limits))
    }

    fn is_reached(&self, budget: Budget, spent: &Spent, now: Millis, limits: &Limits) -> Option<Reached> {
        let limit = self.budget(budget, limits)?;
        let spent = spent.of(budget, now);
        (spent >= limit).then_some(Reached { budget, spent, limit })
    }

    /// When the time of the mission or of one of its tasks is spent.
    pub(crate) fn budget_deadline(&self, limits: &Limits) -> Option<Millis> {
        if !self.is_under_way() {
            return None;
        }
        let of_mission = self.budget(Budget::MissionMs, limits).and_then(|limit| self.spent.reaches(limit));
        let of_tasks = self.budget(Budget::TaskMs, limits).and_then(|limit| {
            let tasks = self.tasks.values().filter(|task| self.may_end(task).is_some());
            tasks.filter_map(|task| task.spent.reaches(limit)).min()
        });
        of_mission.into_iter().chain(of_tasks).min()
    }

    /// The worker's attempt that a budget of its task would end: one that has handed nothing in and is not being ended.
    /// A review is the last step, and is let come to its end.
    fn may_end(&self, task: &Task) -> Option<AttemptId> {
        let (TaskState::Ready { attempt } | TaskState::Running { attempt }) = task.state else { return None };
        let found = self.attempts.get(&attempt)?;
        let is_ending = found.submission.is_some() || matches!(found.turn, Turn::Aborting { .. });
        (!is_ending).then_some(attempt)
    }
}

/// A budget that is spent.
struct Reached {
    budget: Budget,
    spent: u64,
    limit: u64,
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { budget, spent, limit } = self;
        let (spent, limit, name) = (budget.amount(*spent), budget.amount(*limit), budget.name());
        write!(
            f,
            "its budget {name} of {limit} is reached, {spent} are spent. Raise it with /task budget {name}=<more> \
             and it goes on at once, or end the mission with /stop"
        )
    }
}

// Counting.
impl Engine {
    pub(crate) fn usage_reported(
        &mut self,
        session: &SessionId,
        message: &str,
        tokens: u64,
        cost_micros: u64,
    ) -> Handled {
        let Some(id) = self
            .missions
            .values()
            .find(|mission| mission.sessions.contains(session))
            .map(|mission| mission.id)
        else {
            return Handled::Ignored(Ignored::ForeignSession);
        };
        let subject = self.attempt_of(session).map(|(_, attempt)| attempt.subject.clone());
        let known = self.missions[&id].accounts.get(session);
        let mut account = known.cloned().unwrap_or_default();
        if message < account.message.as_str() {
            return Handled::Ignored(Ignored::OutOfTurn);
        }
        if message != account.message {
            account = Account { message: message.to_owned(), tokens: 0, cost_micros: 0, ..account };
        }
        let (more, dearer) =
            (tokens.saturating_sub(account.tokens), cost_micros.saturating_sub(account.cost_micros));
        let is_new = known.is_none();
        if more == 0 && dearer == 0 && !is_new {
            return Handled::Ignored(Ignored::OutOfTurn);
        }
        account.tokens += more;
        account.cost_micros += dearer;
        if let Some(subject) = subject {
            account.task = subject.task().cloned();
            account.role = Some(subject.role());
        }
        let (task, role) = (account.task.clone(), account.role);
        let mission = self.mission_mut(id);
        mission.accounts.insert(session.clone(), account);
        mission.spent.add(more, dearer);
        if let Some(task) = task.and_then(|task| mission.tasks.get_mut(&task)) {
            task.spent.add(more, dearer);
        }
        if role != Some(Role::Planner) {
            self.experience.tokens += more;
            self.experience.sessions += u64::from(is_new);
        }
        Handled::Changed
    }

    /// Starts and stops the clocks as the states have it.
    pub(crate) fn run_clocks(&mut self, now: Millis) {
        for mission in self.missions.values_mut() {
            let under_way = mission.is_under_way();
            mission.spent.run(now, under_way);
            for task in mission.tasks.values_mut() {
                let is_running = under_way && task.holds_lease();
                task.spent.run(now, is_running);
            }
        }
        self.last = now;
    }

    /// Leaves the time out in which no process ran.
    pub(crate) fn skip_downtime(&mut self, now: Millis) {
        let last = self.last;
        for mission in self.missions.values_mut() {
            mission.spent.skip(last, now);
            for task in mission.tasks.values_mut() {
                task.spent.skip(last, now);
            }
        }
    }

    /// Whether time that was allowed is spent.
    pub(crate) fn budgets_due(&self, now: Millis, id: MissionId) -> bool {
        self.missions[&id].budget_deadline(&self.limits).is_some_and(|at| at <= now)
    }

    /// Whether an attempt may be set to work: its mission is under way, and neither of them has spent its budget.
    pub(crate) fn may_launch(&self, now: Millis, id: MissionId, attempt: AttemptId) -> bool {
        let mission = &self.missions[&id];
        let task = mission.attempts[&attempt].subject.worker_task().and_then(|task| mission.tasks.get(task));
        mission.is_under_way()
            && mission.reached(now, &self.limits).is_none()
            && task.is_none_or(|task| mission.task_reached(task, now, &self.limits).is_none())
    }

    /// Pauses a mission whose budget is reached, and ends attempts at tasks whose budget is.
    pub(crate) fn enforce_budgets(&mut self, now: Millis, id: MissionId) {
        let mission = &self.missions[&id];
        if !mission.is_under_way() {
            return;
        }
        if let Some(reached) = mission.reached(now, &self.limits) {
            let question = reached.to_string();
            self.pause(id, PauseReason::Budget { question });
            return self.rest_attempts(now, id);
        }
        let over: Vec<_> = mission
            .tasks
            .values()
            .filter_map(|task| {
                let attempt = mission.may_end(task)?;
                Some((attempt, mission.task_reached(task, now, &self.limits)?.to_string()))
            })
            .collect();
        for (attempt, reason) in over {
            self.leave(now, id, attempt, AfterAbort::Block { reason });
        }
    }
}

// Showing.
impl Engine {
    /// What a mission has spent, and its budgets.
    pub(crate) fn spent_line(&self, mission: &Mission) -> String {
        let amounts = OF_MISSION.map(|budget| {
            let spent = budget.amount(mission.spent.of(budget, self.last));
            match mission.budget(budget, &self.limits) {
                Some(limit) => format!("{spent} of {}", budget.amount(limit)),
                None => spent,
            }
        });
        let [tokens, cost, time] = amounts;
        let of_task: Vec<_> = OF_TASK
            .into_iter()
            .filter_map(|budget| {
                Some(format!("{} {}", budget.name(), budget.amount(mission.budget(budget, &self.limits)?)))
            })
            .collect();
        let each =
            if of_task.is_empty() { String::new() } else { format!("; each task: {}", of_task.join(", ")) };
        format!("Spent: {tokens}, cost {cost}, {time} under way{each}.")
    }
}

// Raising.
impl Engine {
    /// Sets budgets of a mission as `/task budget name=value …` says.
    pub(crate) fn budget_commanded(
        &mut self,
        now: Millis,
        request: RequestId,
        session: &SessionId,
        pairs: &[(&str, &str)],
    ) -> Handled {
        let id = match self.mission_for(session) {
            Ok(id) => id,
            Err(text) => return self.refuse(request, "NO_MISSION", text),
        };
        let mut mistakes = Vec::new();
        let mut budgets = BTreeMap::new();
        for &(name, value) in pairs {
            match self.read_budget(now, id, name, value) {
                Ok((budget, value)) => {
                    budgets.insert(budget, value);
                }
                Err(message) => mistakes.push(Mistake::new(name, message)),
            }
        }
        if !mistakes.is_empty() {
            let text = format!("The budget was not changed:\n{}", prompt::mistakes(&mistakes));
            return self.refuse(request, "BUDGET_INVALID", text);
        }
        let limits = self.limits.clone();
        let mission = self.mission_mut(id);
        let is_blocked = |task: &&Task| matches!(task.state, TaskState::Blocked { .. });
        let blocked: Vec<_> = mission
            .tasks
            .values()
            .filter(is_blocked)
            .filter(|task| mission.task_reached(task, now, &limits).is_some())
            .map(|task| TaskId(task.spec.id.clone()))
            .collect();
        mission.budgets.extend(budgets);
        mission.follower = session.clone();
        let is_free = mission.reached(now, &limits).is_none();
        match mission.stage.clone() {
            Stage::Paused { reason: PauseReason::Budget { .. }, phase } if is_free => {
                self.resume(now, id, phase);
            }
            Stage::Paused { reason: PauseReason::NeedsUser { .. }, phase } if !blocked.is_empty() => {
                self.resume(now, id, phase);
            }
            Stage::Planning
            | Stage::Approval
            | Stage::Executing
            | Stage::Verifying(_)
            | Stage::MasterReview
            | Stage::Paused { .. } => {
                for task in blocked {
                    self.unblock(id, &task);
                }
            }
            Stage::Stopping { .. } | Stage::Sealed | Stage::Stopped | Stage::Failed { .. } => {}
        }
        let text = format!("Mission {id} is {}.", report::stage_word(&self.missions[&id].stage));
        self.reply(request, Answer::Accepted { mission: Some(id), text });
        Handled::Changed
    }

    fn read_budget(
        &self,
        now: Millis,
        id: MissionId,
        name: &str,
        value: &str,
    ) -> Result<(Budget, u64), String> {
        let all = || OF_MISSION.into_iter().chain(OF_TASK);
        let Some(budget) = all().find(|budget| budget.name() == name) else {
            let names: Vec<_> = all().map(Budget::name).collect();
            return Err(format!("no such budget; known are {}", names.join(", ")));
        };
        let limit = LIMITS.iter().find(|limit| limit.name == name).expect("every budget has its limit");
        let number = value.parse().ok().filter(|number| (limit.min..=limit.max).contains(number));
        let Some(number) = number else {
            return Err(format!(
                "expected a whole number from {} to {}, found {value}",
                limit.min, limit.max
            ));
        };
        let spent = self.missions[&id].spent.of(budget, now);
        if number > 0 && number <= spent && OF_MISSION.contains(&budget) {
            return Err(format!("{} are spent already; give more, or 0 for none", budget.amount(spent)));
        }
        Ok((budget, number))
    }

    /// Why a paused mission cannot just be resumed.
    pub(crate) fn budget_refusal(&self, now: Millis, id: MissionId) -> Option<String> {
        let mission = &self.missions[&id];
        let reached = mission.reached(now, &self.limits)?;
        matches!(mission.stage, Stage::Paused { .. }).then(|| format!("Mission {id} is paused: {reached}."))
    }
}
