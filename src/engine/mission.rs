//! Missions: from the user's objective to sealed, stopped or failed, and the tasks on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::attempt::{NewAttempt, Say};
use crate::blank::{Review, Verdict};
use crate::budget::Account;
use crate::event::{Agents, Approval};
use crate::schedule::{Counters, Scheduling, Slot};
use crate::stop::Ending;
use crate::task::{Checks, Task, TaskState};
use crate::{
    Answer, Attempt, AttemptId, Budget, CheckReport, Effect, Engine, Failure, Handled, Ignored, Level,
    Limits, Millis, MissionId, MissionKind, ModelId, Outcome, Priority, RequestId, SessionId, Spent, Subject,
    TaskId, TaskSpec, Turn, Wish, prompt, report,
};

/// One objective, from `/task` to its end.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mission {
    pub id: MissionId,
    pub objective: String,
    pub kind: MissionKind,
    /// Whether its plan needs the user's approval.
    pub asks: bool,
    /// What the user said against its last plan.
    pub wish: Option<Wish>,
    /// The session that knows the plan, with the prompts it has had.
    pub planner: Option<(SessionId, u64)>,
    /// The session in which it was started, and whose children its sessions are.
    pub root: SessionId,
    /// The session that is told how it goes; another than `root` after a resume from elsewhere.
    pub follower: SessionId,
    pub stage: Stage,
    pub tasks: BTreeMap<TaskId, Task>,
    /// Commands that check the whole project.
    pub checks: Vec<Vec<String>>,
    /// What the last run of those commands gave.
    pub project_report: Option<CheckReport>,
    /// The last master review.
    pub master_review: Option<Review>,
    /// Attempts that are queued or under way.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Every session it ever opened.
    pub sessions: BTreeSet<SessionId>,
    /// Sessions that an abort could not end.
    pub survivors: BTreeSet<SessionId>,
    /// Processes that its commands left behind and that could not be killed.
    pub leftovers: Vec<u32>,
    /// What was counted of its sessions.
    pub(crate) accounts: BTreeMap<SessionId, Account>,
    pub spent: Spent,
    /// Budgets that the user set for it; the others are the limits.
    pub budgets: BTreeMap<Budget, u64>,
    /// Rounds of execution and master review, the present one included.
    pub iterations: u64,
    /// Prompts that were sent, also those that had to be sent again.
    pub prompts: u64,
    pub steps: u64,
    pub failures: u64,
    pub counters: Counters,
    /// The model that the root session speaks with, as far as it is known.
    pub model: Option<ModelId>,
    pub started: Millis,
    pub ended: Option<Millis>,
    #[serde(skip)]
    shown: Option<Shown>,
}

/// What was last shown of a mission on its root session and in the list of tasks.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    stage: &'static str,
    /// The state of each task, and its fix attempts.
    tasks: Vec<(&'static str, u64)>,
    done: usize,
}

/// Where a mission stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Stage {
    Planning,
    /// The plan waits for the user's decision.
    Approval,
    Executing,
    /// Behind the barrier: the project's checks run.
    Verifying(Checks),
    MasterReview,
    Paused {
        reason: PauseReason,
        phase: Phase,
    },
    /// What it started is being ended; `requests` wait to hear that nothing is left.
    Stopping {
        requests: Vec<RequestId>,
        ending: Ending,
        /// When it goes on without what has not ended.
        until: Millis,
    },
    Sealed,
    Stopped,
    Failed {
        reason: String,
    },
}

/// The part of a mission that a pause interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Planning,
    Executing,
    Verifying,
    MasterReview,
}

/// Whom a paused mission waits for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum PauseReason {
    /// The user broke off the turn that followed it.
    Interrupted,
    /// It cannot go on without the user.
    NeedsUser { question: String },
    /// A budget is spent.
    Budget { question: String },
}

impl Mission {
    /// Whether it may launch work.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Planning | Stage::Executing | Stage::Verifying(_) | Stage::MasterReview)
    }

    /// Whether it has not come to its end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Sealed | Stage::Stopped | Stage::Failed { .. })
    }

    /// Whether the attempt's deadlines count: a queued one waits for nothing while the mission rests.
    pub(crate) fn counts_time(&self, attempt: &Attempt) -> bool {
        self.is_open() && (self.is_under_way() || attempt.holds_slot())
    }

    /// The time at which something of its own is due; `None` when it waits for nothing but other missions or the user.
    #[must_use]
    pub fn next_deadline(&self, limits: &Limits) -> Option<Millis> {
        let attempts = self
            .attempts
            .values()
            .filter(|attempt| self.counts_time(attempt))
            .filter_map(|attempt| attempt.next_deadline(limits));
        let checks = self.tasks.values().filter_map(Task::checks).chain(self.checks());
        let stop = if let Stage::Stopping { until, .. } = self.stage { Some(until) } else { None };
        let budgets = self.budget_deadline(limits);
        attempts.chain(checks.map(|checks| checks.until)).chain(budgets).chain(stop).min()
    }

    /// Whether the last run of the project's checks did not pass.
    pub(crate) fn failed_project_checks(&self) -> bool {
        self.project_report.as_ref().is_some_and(|report| !report.passes())
    }

    /// The project's checks, while they run.
    pub(crate) fn checks(&self) -> Option<Checks> {
        if let Stage::Verifying(checks) = self.stage { Some(checks) } else { None }
    }

    /// Every file that differs from what it was before the task that owns it, each once.
    pub(crate) fn changed_files(&self) -> BTreeSet<&str> {
        let reports = self.tasks.values().filter_map(|task| task.report.as_ref());
        reports.flat_map(|report| report.changed.iter().map(|change| change.path.as_str())).collect()
    }

    pub(crate) fn done_count(&self) -> usize {
        self.tasks.values().filter(|task| task.state == TaskState::Done).count()
    }

    fn has_unfinished_tasks(&self) -> bool {
        self.tasks.values().any(|task| !task.is_finished())
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Planning | Stage::Approval => Phase::Planning,
            Stage::Verifying(_) => Phase::Verifying,
            Stage::MasterReview => Phase::MasterReview,
            Stage::Paused { phase, .. } => phase,
            Stage::Executing
            | Stage::Stopping { .. }
            | Stage::Sealed
            | Stage::Stopped
            | Stage::Failed { .. } => Phase::Executing,
        }
    }

    /// Notes on the task that an attempt waits for it.
    pub(crate) fn attempt_queued(&mut self, subject: &Subject, attempt: AttemptId) {
        let Some(task) = subject.task().and_then(|task| self.tasks.get_mut(task)) else { return };
        task.state = match (subject, &task.state) {
            (Subject::Review { .. }, _) => TaskState::Reviewing { attempt },
            // A task that has begun keeps its lease while it waits for a slot again.
            (_, TaskState::Running { .. } | TaskState::Checking(_) | TaskState::Reviewing { .. }) => {
                TaskState::Running { attempt }
            }
            (_, TaskState::Pending | TaskState::Ready { .. } | TaskState::Blocked { .. }) => {
                TaskState::Ready { attempt }
            }
            (_, TaskState::Done | TaskState::Cancelled) => {
                unreachable!("nothing is queued for a task that is finished")
            }
        };
    }

    /// What a session that knows nothing of the subject is told first.
    pub(crate) fn introduction(&self, subject: &Subject, after: Option<Failure>) -> Say {
        match subject.worker_task().and_then(|task| self.tasks.get(task)) {
            Some(task) if !task.findings.is_empty() => Say::Fix { findings: task.findings.clone(), after },
            _ => Say::Start { after },
        }
    }

    /// The slot in whose queue an attempt belongs: where its task was worked on last, otherwise the task that it
    /// follows from.
    pub(crate) fn home(&self, subject: &Subject) -> Option<Slot> {
        let task = self.tasks.get(subject.worker_task()?)?;
        let before = task.spec.depends_on.iter().filter_map(|id| self.tasks.get(id.as_str()));
        task.slot.or_else(|| before.max_by_key(|task| (task.ended, task.spec.id.as_str()))?.slot)
    }

    /// Whether all that the task depends on is done.
    pub(crate) fn is_free(&self, task: &Task) -> bool {
        task.spec.depends_on.iter().all(|id| {
            // A task from a finding or a revision may depend on one that was given up.
            self.tasks.get(id.as_str()).is_some_and(Task::is_finished)
        })
    }
}

// Beginning, resuming, following.
impl Engine {
    pub(crate) fn engine_started(
        &mut self,
        now: Millis,
        limits: Limits,
        agents: Agents,
        approval: Approval,
        scheduling: Scheduling,
    ) -> Handled {
        self.limits = limits;
        self.agents = agents;
        self.approval = approval;
        self.configure_schedule(scheduling);
        self.skip_downtime(now);
        self.notify_again();
        let open: Vec<_> =
            self.missions.values().filter(|mission| mission.is_open()).map(|mission| mission.id).collect();
        for id in open {
            self.recover(now, id);
        }
        Handled::Changed
    }

    /// Carries a mission on in a new process: looks up what sessions do, runs again what ran in the old process.
    fn recover(&mut self, now: Millis, id: MissionId) {
        let live: Vec<_> =
            self.missions[&id].attempts.values().map(|attempt| (attempt.id, attempt.turn.clone())).collect();
        for (attempt, turn) in live {
            match turn {
                Turn::Queued { .. } => {}
                Turn::Snapshotting { .. } => self.put_back(id, attempt),
                Turn::Opening { .. } | Turn::Prompting { .. } | Turn::Working { .. } => {
                    self.look_up(now, id, attempt);
                }
                // The host may have been down for longer than an abort may take.
                Turn::Aborting { then, .. } => self.abort(now, id, attempt, then),
            }
        }
        let checking: Vec<_> = self.missions[&id]
            .tasks
            .iter()
            .filter(|(_, task)| task.checks().is_some())
            .map(|(task, _)| task.clone())
            .collect();
        for task in checking {
            self.run_task_checks(now, id, &task, 0);
        }
        if self.missions[&id].checks().is_some() {
            self.verify_project(now, id, 0);
        }
        self.recover_stop(now, id);
    }

    pub(crate) fn mission_requested(
        &mut self,
        now: Millis,
        request: RequestId,
        session: SessionId,
        objective: String,
        kind: MissionKind,
    ) -> Handled {
        let former = self.former_attempt(&session);
        if former.is_none() {
            if kind == MissionKind::Plan
                && let Some(handled) = self.plan_commanded(request, &session, objective.trim())
            {
                return handled;
            }
            if kind == MissionKind::Task
                && let Some(handled) = self.setting_commanded(now, request, &session, objective.trim())
            {
                return handled;
            }
            if objective.trim().is_empty() {
                return self.resume_requested(now, request, session);
            }
        }
        let refusal = if let Some(mission) = former {
            Some((
                "DEPTH_EXCEEDED",
                format!("This session works for mission {mission}; it cannot have one of its own."),
            ))
        } else if objective.len() > OBJECTIVE_MAX_BYTES {
            Some((
                "OBJECTIVE_TOO_LONG",
                format!(
                    "The objective is {} bytes; at most {OBJECTIVE_MAX_BYTES} are taken. Put details into a file and name it.",
                    objective.len()
                ),
            ))
        } else {
            self.missions.values().find(|mission| mission.follower == session && mission.is_open()).map(|mission| {
                ("MISSION_OPEN", format!(
                    "Mission {} is {} in this session. Wait for it, resume it with an empty objective, or stop it with /stop.",
                    mission.id,
                    report::stage_word(&mission.stage)
                ))
            })
        };
        if let Some((code, text)) = refusal {
            self.reply(request, Answer::Refused { code: code.into(), text });
            return Handled::Ignored(Ignored::Refused);
        }
        self.last_mission += 1;
        let id = MissionId(self.last_mission);
        let mission = Mission {
            id,
            objective,
            kind,
            asks: kind == MissionKind::Plan || self.approval == Approval::Ask,
            wish: None,
            planner: None,
            root: session.clone(),
            follower: session.clone(),
            stage: Stage::Planning,
            tasks: BTreeMap::new(),
            checks: Vec::new(),
            project_report: None,
            master_review: None,
            attempts: BTreeMap::new(),
            sessions: BTreeSet::new(),
            survivors: BTreeSet::new(),
            leftovers: Vec::new(),
            accounts: BTreeMap::new(),
            spent: Spent::default(),
            budgets: BTreeMap::new(),
            iterations: 1,
            prompts: 0,
            steps: 0,
            failures: 0,
            counters: Counters::default(),
            model: None,
            started: now,
            ended: None,
            shown: None,
        };
        self.missions.insert(id, mission);
        self.queue_race(id, NewAttempt::fresh(Subject::Plan), self.limits.planner_race);
        let text = format!("Mission {id} has started.");
        self.reply(request, Answer::Accepted { mission: Some(id), text });
        Handled::Changed
    }

    /// Resumes a paused mission, or follows a running one: that of the session, or the only one there is.
    fn resume_requested(&mut self, now: Millis, request: RequestId, session: SessionId) -> Handled {
        let id = match self.mission_for(&session) {
            Ok(id) => id,
            Err(text) => {
                let text = format!("{text} To start one, give an objective: /task \"Add a health endpoint\"");
                self.reply(request, Answer::Refused { code: "NO_MISSION".into(), text });
                return Handled::Ignored(Ignored::Refused);
            }
        };
        if self.missions[&id].stage == Stage::Approval {
            let text = report::proposal(&self.missions[&id], &self.experience);
            return self.refuse(request, "APPROVAL_NEEDED", text);
        }
        if let Some(text) = self.budget_refusal(now, id) {
            return self.refuse(request, "BUDGET_REACHED", text);
        }
        let mission = self.mission_mut(id);
        if matches!(mission.stage, Stage::Stopping { .. }) {
            let text = format!("Mission {id} is being stopped; start a new one when it has ended.");
            self.reply(request, Answer::Refused { code: "MISSION_STOPPING".into(), text });
            return Handled::Ignored(Ignored::Refused);
        }
        mission.follower = session;
        let text = if let Stage::Paused { phase, .. } = mission.stage {
            self.resume(now, id, phase);
            format!("Mission {id} goes on.")
        } else {
            format!("Mission {id} is running; this session follows it.")
        };
        self.reply(request, Answer::Accepted { mission: Some(id), text });
        Handled::Changed
    }

    pub(crate) fn resume(&mut self, now: Millis, id: MissionId, phase: Phase) {
        // That it rests is no news any more.
        self.forget_reports(id);
        let mission = self.mission_mut(id);
        mission.stage = match phase {
            Phase::Planning => Stage::Planning,
            Phase::Executing | Phase::Verifying => Stage::Executing,
            Phase::MasterReview => Stage::MasterReview,
        };
        let none_live = mission.attempts.is_empty();
        let tasks: Vec<_> = mission.tasks.keys().cloned().collect();
        for task in tasks {
            self.unblock(id, &task);
        }
        match phase {
            Phase::Planning if none_live => {
                self.queue_race(id, NewAttempt::fresh(Subject::Plan), self.limits.planner_race);
            }
            Phase::MasterReview if none_live => {
                self.queue(id, NewAttempt::fresh(Subject::Master));
            }
            // The barrier has the project's checks run again, unless the plan was revised meanwhile.
            Phase::Planning | Phase::MasterReview | Phase::Verifying | Phase::Executing => {}
        }
        self.finish_rested(now, id);
    }

    /// Gives a task a fresh start if it is blocked: a revision may name one twice, or give it up as well.
    pub(crate) fn unblock(&mut self, id: MissionId, task_id: &TaskId) {
        let mission = self.mission_mut(id);
        let task = mission.tasks.get_mut(task_id).expect("the caller found it in the plan");
        if !matches!(task.state, TaskState::Blocked { .. }) {
            return;
        }
        task.begin_anew();
        let subject = Subject::Task { task: task_id.clone() };
        let say = mission.introduction(&subject, None);
        let attempt = self.queue(id, NewAttempt { say, ..NewAttempt::fresh(subject.clone()) });
        self.mission_mut(id).attempt_queued(&subject, attempt);
    }

    /// The mission that a command in this session means.
    pub(crate) fn mission_for(&self, session: &SessionId) -> Result<MissionId, String> {
        let open = || self.missions.values().filter(|mission| mission.is_open());
        let followed = open().find(|mission| mission.follower == *session);
        if let Some(mission) = followed.or_else(|| open().find(|mission| mission.root == *session)) {
            return Ok(mission.id);
        }
        let mut all = open();
        match (all.next(), all.next()) {
            (Some(mission), None) => Ok(mission.id),
            (None, _) => Err("There is no mission under way in this project.".into()),
            (Some(_), Some(_)) => {
                let names: Vec<_> =
                    open().map(|mission| format!("{} in session {}", mission.id, mission.follower)).collect();
                Err(format!(
                    "Several missions are open ({}). Give the command in the session of the one you mean.",
                    names.join(", ")
                ))
            }
        }
    }
}

// Barrier, master review, seal.
impl Engine {
    /// Moves every mission on as far as its state allows, and admits what waits.
    pub(crate) fn advance(&mut self, now: Millis) {
        let ids: Vec<_> = self.missions.keys().copied().collect();
        for &id in &ids {
            self.enforce_budgets(now, id);
            // Also while the mission rests: a plan is taken or a task given up then as well.
            if self.missions[&id].is_open() && !matches!(self.missions[&id].stage, Stage::Stopping { .. }) {
                self.end_strays(now, id);
            }
            if self.missions[&id].stage == Stage::Executing {
                self.release_tasks(id);
                self.pass_barrier(now, id);
            }
        }
        self.admit_all(now);
        for id in ids {
            self.advance_stop(now, id);
            self.show(id);
        }
        self.run_clocks(now);
        self.leave_memory();
    }

    /// Queues the tasks whose dependencies are done.
    fn release_tasks(&mut self, id: MissionId) {
        let mission = &self.missions[&id];
        let free: Vec<_> = mission
            .tasks
            .iter()
            .filter(|(_, task)| task.state == TaskState::Pending && mission.is_free(task))
            .map(|(id, _)| id.clone())
            .collect();
        for task in free {
            let subject = Subject::Task { task };
            let attempt = self.queue(id, NewAttempt::fresh(subject.clone()));
            self.mission_mut(id).attempt_queued(&subject, attempt);
        }
    }

    fn pass_barrier(&mut self, now: Millis, id: MissionId) {
        let mission = &self.missions[&id];
        let mut blocked = Vec::new();
        for task in mission.tasks.values() {
            match &task.state {
                TaskState::Blocked { reason } => blocked.push(format!("{}: {reason}", task.spec.id)),
                TaskState::Pending | TaskState::Done | TaskState::Cancelled => {}
                TaskState::Ready { .. }
                | TaskState::Running { .. }
                | TaskState::Checking(_)
                | TaskState::Reviewing { .. } => return,
            }
        }
        if !mission.attempts.is_empty() {
            // Sessions that lost a race, or read ahead for nothing, are being ended.
            return;
        }
        if !blocked.is_empty() {
            let question = format!(
                "Nothing can go on without you. Blocked: {}. Say what to change and let the plan be revised, mend it \
                 yourself and resume with /task, or end it with /stop.",
                blocked.join("; ")
            );
            self.pause(id, PauseReason::NeedsUser { question });
        } else if mission.done_count() == 0 {
            self.fail_mission(now, id, "every task was given up".into());
        } else {
            self.verify_project(now, id, 0);
        }
    }

    pub(crate) fn mission_reviewed(&mut self, now: Millis, id: MissionId, review: Review, recoveries: u64) {
        let iterations_max = self.limits.iterations;
        let tasks_max = self.limits.plan_tasks;
        let mission = self.mission_mut(id);
        mission.master_review = Some(review.clone());
        let failed_checks = mission.failed_project_checks();
        match review.verdict {
            // The plan was revised while the review was on its way: execute, and come back.
            Verdict::Pass if mission.has_unfinished_tasks() => mission.stage = Stage::Executing,
            Verdict::Pass if !failed_checks => {
                self.end(now, id, Stage::Sealed, Outcome::Sealed, Level::Success)
            }
            Verdict::Unknown | Verdict::Pass => {
                let new = NewAttempt { recoveries, ..NewAttempt::fresh(Subject::Master) };
                self.try_again(now, id, new, &Failure::Undecided);
            }
            Verdict::Fail if mission.iterations >= iterations_max => {
                let reason = format!("the master review still had findings after {iterations_max} rounds");
                self.fail_mission(now, id, reason);
            }
            Verdict::Fail
                if mission.tasks.len() + review.findings.len()
                    > usize::try_from(tasks_max).unwrap_or(usize::MAX) =>
            {
                let reason =
                    format!("the findings of the master review would make more than {tasks_max} tasks");
                self.fail_mission(now, id, reason);
            }
            Verdict::Fail => {
                mission.iterations += 1;
                mission.stage = Stage::Executing;
                let specs = finding_tasks(mission, &review);
                self.add_tasks(id, specs);
            }
        }
    }

    fn fail_mission(&mut self, now: Millis, id: MissionId, reason: String) {
        self.end(now, id, Stage::Failed { reason }, Outcome::Failed, Level::Error);
    }

    /// Brings a mission to its end and tells those who follow it.
    pub(crate) fn end(&mut self, now: Millis, id: MissionId, stage: Stage, outcome: Outcome, level: Level) {
        let mission = self.mission_mut(id);
        if outcome == Outcome::Sealed {
            assert!(mission.has_evidence(), "a mission is sealed only on passing evidence");
        }
        let stopped = matches!(mission.stage, Stage::Stopping { .. });
        mission.stage = stage;
        mission.ended = Some(now);
        if !stopped {
            // A stop has waited for it. Otherwise nobody waits for what, say, a server left in the background becomes.
            self.kill_commands(id);
        }
        self.report_mission(id, outcome, level);
    }

    /// Takes the oldest missions that have ended out of memory while there are more tasks than may be kept.
    fn leave_memory(&mut self) {
        let tasks_max = usize::try_from(self.limits.tasks_in_memory).unwrap_or(usize::MAX);
        let mut tasks: usize = self.missions.values().map(|mission| mission.tasks.len()).sum();
        while tasks > tasks_max {
            let Some(id) =
                self.missions.values().find(|mission| !mission.is_open()).map(|mission| mission.id)
            else {
                return;
            };
            let Some(mission) = self.missions.remove(&id) else { return };
            tasks -= mission.tasks.len();
            self.forget_notices(id);
            self.dirty.insert(id);
            self.leaving.insert(id, report::summary(&mission, 0));
            self.todo_stale = true;
            self.former.extend(mission.sessions.into_iter().map(|session| (session, id)));
            while self.former.len() > FORMER_MAX {
                self.former.pop_first();
            }
        }
    }

    /// Has the mission shown to people again where that would read differently.
    pub(crate) fn show(&mut self, id: MissionId) {
        let mission = self.missions.get_mut(&id).expect("the caller iterates the map");
        let tasks = mission.tasks.values().map(|task| (report::state_word(&task.state), task.fixes));
        let stage = report::stage_word(&mission.stage);
        let shown = Shown { stage, tasks: tasks.collect(), done: mission.done_count() };
        if mission.shown.as_ref() == Some(&shown) {
            return;
        }
        self.todo_stale = true;
        let (done, total) = (shown.done, shown.tasks.len());
        let last = mission.shown.replace(shown);
        if last.is_none_or(|last| (last.stage, last.done, last.tasks.len()) != (stage, done, total)) {
            let session = mission.root.clone();
            self.emit(Effect::Annotate { session, mission: id, stage: stage.to_owned(), done, total });
        }
    }
}

impl Mission {
    /// Whether every task is done on passing checks and review, and so is the whole.
    pub(crate) fn has_evidence(&self) -> bool {
        let passes = |report: &Option<CheckReport>| report.as_ref().is_some_and(CheckReport::passes);
        let agrees =
            |review: &Option<Review>| review.as_ref().is_some_and(|review| review.verdict == Verdict::Pass);
        let tasks = self.tasks.values().filter(|task| task.state != TaskState::Cancelled);
        passes(&self.project_report)
            && agrees(&self.master_review)
            && tasks.clone().count() > 0
            && tasks
                .into_iter()
                .all(|task| task.state == TaskState::Done && passes(&task.report) && agrees(&task.review))
    }
}

/// Makes tasks of the findings of a master review. Those that share files are put in order.
fn finding_tasks(mission: &Mission, review: &Review) -> Vec<TaskSpec> {
    let mut specs: Vec<TaskSpec> = Vec::new();
    for (index, finding) in review.findings.iter().enumerate() {
        let depends_on = specs
            .iter()
            .filter(|earlier| {
                earlier.files.iter().any(|a| finding.files.iter().any(|b| crate::lease::overlap(a, b)))
            })
            .map(|earlier| earlier.id.clone())
            .collect();
        let id = (1..)
            .map(|n| match n {
                1 => format!("finding-{}-{}", mission.iterations, index + 1),
                n => format!("finding-{}-{}-{n}", mission.iterations, index + 1),
            })
            .find(|id| !mission.tasks.contains_key(id.as_str()))
            .expect("numbers do not end");
        specs.push(TaskSpec {
            id,
            title: first_line(&finding.message),
            objective: finding.message.clone(),
            files: finding.files.clone(),
            depends_on,
            acceptance: mission.checks.clone(),
            priority: Priority::High,
            race: 1,
        });
    }
    specs
}

fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

// Time.
impl Engine {
    pub(crate) fn deadline_passed(&mut self, now: Millis) -> Handled {
        let mut any = false;
        let ids: Vec<_> = self.missions.keys().copied().collect();
        for id in ids {
            any |= self.attempts_due(now, id);
            any |= self.stop_due(now, id);
            any |= self.checks_due(now, id);
            any |= self.budgets_due(now, id);
        }
        any |= self.circuits_due(now);
        if any { Handled::Changed } else { Handled::Ignored(Ignored::NothingDue) }
    }

    /// Runs checks again whose outcome never came.
    fn checks_due(&mut self, now: Millis, id: MissionId) -> bool {
        let losses_max = self.limits.recoveries;
        let mission = &self.missions[&id];
        let is_due = |checks: &Checks| checks.until <= now;
        let due: Vec<_> = mission
            .tasks
            .iter()
            .filter_map(|(task, state)| Some((task.clone(), state.checks().filter(is_due)?)))
            .collect();
        let of_project = mission.checks().filter(is_due);
        for (task, Checks { effect, losses, .. }) in &due {
            self.emit(Effect::CancelChecks { effect: *effect });
            if *losses >= losses_max {
                self.block(id, task, "its checks gave no result".into());
            } else {
                self.run_task_checks(now, id, task, losses + 1);
            }
        }
        if let Some(Checks { effect, losses, .. }) = of_project {
            if losses >= losses_max {
                let question = "The project's checks gave no result. Mend the cause and resume with /task, or end \
                                it with /stop.";
                self.pause(id, PauseReason::NeedsUser { question: question.into() });
            } else {
                self.emit(Effect::CancelChecks { effect });
                self.verify_project(now, id, losses + 1);
            }
        }
        !due.is_empty() || of_project.is_some()
    }
}

// What people see.
impl Engine {
    pub(crate) fn todo_edited(&mut self, text: String, cut: bool) -> Handled {
        let mut followers = BTreeSet::new();
        let open: Vec<_> = self
            .missions
            .values()
            .filter(|mission| mission.is_open() && followers.insert(mission.follower.clone()))
            .map(|mission| mission.id)
            .collect();
        let text = prompt::todo_proposal(&text, cut);
        for id in open {
            let note = "Your edit of .opencode/todo.md was kept as a proposal to the commander.".to_owned();
            self.toast(id, Level::Info, note);
            self.tell(id, text.clone());
        }
        // The list is rendered again even though it has not changed: the file has.
        self.todo.clear();
        self.todo_stale = true;
        Handled::Changed
    }

    /// Has the list of tasks written when it reads differently from the last time.
    pub(crate) fn render_todo(&mut self) -> Option<Effect> {
        if !std::mem::take(&mut self.todo_stale) || self.missions.is_empty() {
            return None;
        }
        let text = report::todo(self.missions.values());
        if text == self.todo {
            return None;
        }
        self.todo.clone_from(&text);
        Some(Effect::RenderTodo { text })
    }
}

/// Sessions of missions that have left memory which are still known.
const FORMER_MAX: usize = 10_000;
const OBJECTIVE_MAX_BYTES: usize = 32 * 1024;
