//! Tasks: what one of them is, and its way from submitted work through checks, review and fixes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde_json::Value;

use crate::attempt::{NewAttempt, Say};
use crate::blank::{Review, ReviewFinding, Verdict, Work};
use crate::recovery::backoff_ms;
use crate::schedule::Slot;
use crate::{
    AttemptId, CheckReport, CheckSubject, Effect, EffectId, Engine, Failure, Finding, Handled, HostError,
    Ignored, Level, Limits, Millis, MissionId, PauseReason, SessionId, Spent, Stage, Subject, TaskId,
    TaskSpec,
};

/// A task of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub spec: TaskSpec,
    pub state: TaskState,
    /// The files of its lease before any work on it.
    pub before: Option<Value>,
    pub fixes: u64,
    /// Attempts of workers so far.
    pub tries: u64,
    /// The session that knows the task, with the prompts it has had.
    pub session: Option<(SessionId, u64)>,
    /// The slot in which it was worked on last, where it was one of the workers' own.
    pub slot: Option<Slot>,
    /// Whether someone was sent to read ahead for its review, and the session that has, with the prompts it has had.
    pub was_read: bool,
    pub reading: Option<(SessionId, u64)>,
    pub work: Option<Work>,
    /// What the last checks gave.
    pub report: Option<CheckReport>,
    pub review: Option<Review>,
    /// What has to be mended, from checks or review.
    pub findings: Vec<Finding>,
    /// The files of its lease as the attempts so far have left them, taken before a fresh session.
    pub checkpoint: Option<Value>,
    /// Attempts in a row that left all facts as they were: the files and what the checks say of them.
    pub stagnant: u64,
    /// How often each error has come, by its fingerprint.
    pub(crate) errors: BTreeMap<String, u64>,
    /// What became of the last attempts, oldest first.
    pub(crate) log: VecDeque<String>,
    /// Whether the last attempt broke off for no fault of the provider, so that what it has moved counts.
    pub(crate) broke_off: bool,
    pub started: Option<Millis>,
    pub ended: Option<Millis>,
    pub spent: Spent,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum TaskState {
    /// Dependencies are not done.
    Pending,
    /// Waits for a slot and for its files.
    Ready {
        attempt: AttemptId,
    },
    Running {
        attempt: AttemptId,
    },
    Checking(Checks),
    Reviewing {
        attempt: AttemptId,
    },
    Done,
    /// The user has to say how it goes on.
    Blocked {
        reason: String,
    },
    Cancelled,
}

/// Checks that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    pub effect: EffectId,
    /// When their outcome is taken for lost.
    pub until: Millis,
    /// Runs before this one whose outcome was lost.
    pub losses: u64,
}

impl TaskState {
    /// The attempt that a task waits for.
    #[must_use]
    pub fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Ready { attempt } | Self::Running { attempt } | Self::Reviewing { attempt } => {
                Some(*attempt)
            }
            Self::Pending | Self::Checking(_) | Self::Done | Self::Blocked { .. } | Self::Cancelled => None,
        }
    }
}

impl Task {
    pub(crate) fn new(spec: TaskSpec) -> Self {
        Self {
            spec,
            state: TaskState::Pending,
            before: None,
            fixes: 0,
            tries: 0,
            session: None,
            slot: None,
            was_read: false,
            reading: None,
            work: None,
            report: None,
            review: None,
            findings: Vec::new(),
            checkpoint: None,
            stagnant: 0,
            errors: BTreeMap::new(),
            log: VecDeque::new(),
            broke_off: false,
            started: None,
            ended: None,
            spent: Spent::default(),
        }
    }

    pub(crate) fn start(&mut self, now: Millis, attempt: AttemptId) {
        self.state = TaskState::Running { attempt };
        self.started.get_or_insert(now);
        self.tries += 1;
    }

    pub(crate) fn id(&self) -> TaskId {
        TaskId(self.spec.id.clone())
    }

    /// Notes what became of an attempt.
    pub(crate) fn note(&mut self, mut what: String) {
        what.truncate(what.floor_char_boundary(LOG_ENTRY_MAX_BYTES));
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(what);
    }

    /// Counts errors that came again, each once. Gives the question to the user when one has come too often.
    pub(crate) fn meets_again<'a>(
        &mut self,
        errors: impl IntoIterator<Item = (String, &'a str)>,
        most: u64,
    ) -> Option<String> {
        let errors: BTreeMap<_, _> = errors.into_iter().collect();
        let mut asked = None;
        for (fingerprint, text) in errors {
            let times = self.errors.entry(fingerprint).or_default();
            *times += 1;
            if *times >= most {
                asked = Some(format!("the same error came {times} times: {text}"));
            }
        }
        asked
    }

    /// Takes the files as they are before a fresh session, and counts whether an attempt that broke off has moved any.
    pub(crate) fn take_checkpoint(&mut self, snapshot: Value) {
        let last = self.checkpoint.as_ref().or(self.before.as_ref());
        if self.broke_off {
            self.stagnant = if last == Some(&snapshot) { self.stagnant + 1 } else { 0 };
        }
        self.broke_off = false;
        self.checkpoint = Some(snapshot);
    }

    /// Takes what checks found against a submission, and counts whether it is what they found before.
    fn take_failed_report(&mut self, report: CheckReport) {
        let facts = |report: &CheckReport| {
            let findings: BTreeSet<_> = report.findings.iter().map(Finding::fingerprint).collect();
            (report.changed.clone(), findings)
        };
        let is_same = self.report.as_ref().is_some_and(|last| facts(last) == facts(&report));
        self.stagnant = if is_same { self.stagnant.max(1) + 1 } else { 1 };
        let codes: BTreeSet<_> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
        let changed: Vec<_> = report.changed.iter().map(|change| change.path.as_str()).collect();
        let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
        let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        let first = report.findings.first().map_or("", |finding| finding.message.as_str());
        self.note(format!("Submitted; changed: {changed}. The checks did not pass ({codes}): {first}"));
        self.report = Some(report);
    }

    /// The paths that the attempts so far have changed, where a checkpoint tells.
    pub(crate) fn changed_on_disk(&self) -> Option<Vec<&str>> {
        let (before, now) = (&self.before.as_ref()?["files"], &self.checkpoint.as_ref()?["files"]);
        let paths: BTreeSet<_> =
            [before, now].into_iter().filter_map(Value::as_object).flat_map(|files| files.keys()).collect();
        // A path that is not listed is absent, as one that is listed so.
        let state =
            |files: &Value, path: &str| files.get(path).cloned().filter(|state| state["kind"] != "absent");
        Some(
            paths
                .into_iter()
                .map(String::as_str)
                .filter(|path| state(before, path) != state(now, path))
                .collect(),
        )
    }

    /// The question to the user when attempts move nothing any more.
    pub(crate) fn standstill(&self) -> String {
        let last = self.log.back().map_or("", String::as_str);
        format!(
            "{} attempts in a row changed nothing, one with another strategy included. {last}",
            self.stagnant
        )
    }

    /// Has the counts begin anew when the user has had a say.
    pub(crate) fn begin_anew(&mut self) {
        self.fixes = 0;
        self.stagnant = 0;
        self.errors.clear();
    }

    /// The checks of what was submitted, while they run.
    pub(crate) fn checks(&self) -> Option<Checks> {
        if let TaskState::Checking(checks) = self.state { Some(checks) } else { None }
    }

    /// Whether nothing more has to be done for it.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, TaskState::Done | TaskState::Cancelled)
    }

    /// Whether nobody else may write its files: from its first attempt until it is done or given up.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        matches!(self.state, TaskState::Running { .. } | TaskState::Checking(_) | TaskState::Reviewing { .. })
    }
}

impl CheckReport {
    /// Whether it passes, and on evidence: a verdict that rests on nothing is unknown.
    pub(crate) fn passes(&self) -> bool {
        self.verdict == Verdict::Pass && !self.evidence.is_empty()
    }
}

impl Engine {
    pub(crate) fn check_task(
        &mut self,
        now: Millis,
        id: MissionId,
        task_id: &TaskId,
        work: Work,
        session: Option<(SessionId, u64)>,
    ) {
        let task = self.mission_mut(id).tasks.get_mut(task_id).expect("an attempt's task is in the plan");
        task.work = Some(work);
        task.session = session;
        self.run_task_checks(now, id, task_id, 0);
    }

    pub(crate) fn run_task_checks(&mut self, now: Millis, id: MissionId, task_id: &TaskId, losses: u64) {
        let effect = self.effect_id();
        let timeout_ms = self.limits.command_ms;
        let task = self.mission_mut(id).tasks.get_mut(task_id).expect("the caller found it in the plan");
        let commands = task.spec.acceptance.clone();
        let until = checks_until(now, timeout_ms, &commands);
        task.state = TaskState::Checking(Checks { effect, until, losses });
        let subject = CheckSubject::Task {
            task: task_id.clone(),
            lease: task.spec.files.clone(),
            before: task.before.clone().unwrap_or_default(),
            claimed: task.work.as_ref().map(|work| work.files.clone()).unwrap_or_default(),
        };
        self.emit(Effect::RunChecks { effect, mission: id, subject, commands, timeout_ms });
    }

    pub(crate) fn verify_project(&mut self, now: Millis, id: MissionId, losses: u64) {
        let effect = self.effect_id();
        let timeout_ms = self.limits.command_ms;
        let mission = self.mission_mut(id);
        let commands = mission.checks.clone();
        let until = checks_until(now, timeout_ms, &commands);
        mission.stage = Stage::Verifying(Checks { effect, until, losses });
        let subject = CheckSubject::Project {};
        self.emit(Effect::RunChecks { effect, mission: id, subject, commands, timeout_ms });
    }

    /// A worker submitted that it cannot go on without the user.
    pub(crate) fn task_waits(
        &mut self,
        id: MissionId,
        task_id: &TaskId,
        work: Work,
        session: Option<(SessionId, u64)>,
        question: &str,
    ) {
        let task = self.mission_mut(id).tasks.get_mut(task_id).expect("an attempt's task is in the plan");
        task.work = Some(work);
        task.session = session;
        task.note(format!("The worker asked the user: {question}"));
        self.block(id, task_id, format!("it needs something from outside: {question}"));
    }

    pub(crate) fn checks_finished(&mut self, now: Millis, effect: EffectId, report: CheckReport) -> Handled {
        if self.stopped_checks_ended(effect) {
            return Handled::Changed;
        }
        if report.could_not_run() {
            return self.checks_lost(now, effect, report);
        }
        let project = self
            .missions
            .values()
            .find(|mission| mission.checks().is_some_and(|checks| checks.effect == effect))
            .map(|mission| mission.id);
        if let Some(id) = project {
            let mission = self.mission_mut(id);
            mission.project_report = Some(report);
            mission.stage = Stage::MasterReview;
            self.queue(id, NewAttempt::fresh(Subject::Master));
            return Handled::Changed;
        }
        let task = self.missions.values().find_map(|mission| {
            let is = |task: &Task| task.checks().is_some_and(|checks| checks.effect == effect);
            let (id, _) = mission.tasks.iter().find(|(_, task)| is(task))?;
            Some((mission.id, id.clone()))
        });
        let Some((id, task_id)) = task else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        let passes = report.passes();
        let findings = report.findings.clone();
        let task = self.mission_mut(id).tasks.get_mut(&task_id).expect("found just now");
        if passes {
            task.report = Some(report);
            self.queue_review(id, task_id);
        } else {
            task.take_failed_report(report);
            self.fix(id, &task_id, findings);
        }
        Handled::Changed
    }

    /// Queues the review of a task, in the session that has read ahead for it if there is one.
    fn queue_review(&mut self, id: MissionId, task_id: TaskId) {
        let prompts_max = self.limits.prompts_per_session;
        let mission = self.mission_mut(id);
        let task = mission.tasks.get_mut(&task_id).expect("the caller found it in the plan");
        let (racers, reading) = (task.spec.race, task.reading.take());
        let session = reading.filter(|(_, prompts)| *prompts < prompts_max);
        mission.counters.readings_used += u64::from(session.is_some());
        let subject = Subject::Review { task: task_id };
        let first = NewAttempt { session, ..NewAttempt::fresh(subject.clone()) };
        let attempt = self.queue_race(id, first, racers);
        self.mission_mut(id).attempt_queued(&subject, attempt);
    }

    /// Checks that could not be run say nothing about the work: they are run again after a while, in the end the user
    /// is asked.
    fn checks_lost(&mut self, now: Millis, effect: EffectId, report: CheckReport) -> Handled {
        let most = self.limits.recoveries;
        let reason =
            report.findings.first().map_or("no reason was given", |finding| finding.message.as_str());
        let reason = format!("its checks could not be run: {reason}");
        let found = self.missions.values().find_map(|mission| {
            let is = |checks: &Checks| checks.effect == effect;
            let task = mission.tasks.values().find(|task| task.checks().as_ref().is_some_and(is));
            let checks = task.and_then(Task::checks).or_else(|| mission.checks().filter(is))?;
            Some((mission.id, task.map(Task::id), checks))
        });
        let Some((id, task_id, checks)) = found else {
            return Handled::Ignored(Ignored::StaleEffect);
        };
        if checks.losses < most {
            let until = now + backoff_ms(checks.losses + 1, AttemptId(effect.0));
            let waiting = Checks { until, ..checks };
            let mission = self.mission_mut(id);
            match task_id.and_then(|task| mission.tasks.get_mut(&task)) {
                Some(task) => task.state = TaskState::Checking(waiting),
                None => mission.stage = Stage::Verifying(waiting),
            }
            return Handled::Changed;
        }
        match task_id {
            Some(task_id) => {
                let task = self.mission_mut(id).tasks.get_mut(&task_id).expect("found just now");
                task.report = Some(report);
                self.block(id, &task_id, reason);
            }
            None => {
                self.mission_mut(id).project_report = Some(report);
                let question = format!(
                    "The project: {reason}. Mend the cause and resume with /task, or end it with /stop."
                );
                self.pause(id, PauseReason::NeedsUser { question });
            }
        }
        Handled::Changed
    }

    pub(crate) fn check_failed(&mut self, now: Millis, effect: EffectId, error: &HostError) -> Handled {
        let finding = Finding {
            code: "CHECK_NOT_RUN".into(),
            path: None,
            message: format!("the checks could not be run: {}", error.message),
            detail: None,
        };
        let report = CheckReport {
            verdict: Verdict::Unknown,
            findings: vec![finding],
            evidence: Vec::new(),
            changed: Vec::new(),
        };
        self.checks_finished(now, effect, report)
    }

    pub(crate) fn task_reviewed(
        &mut self,
        now: Millis,
        id: MissionId,
        task_id: &TaskId,
        review: Review,
        recoveries: u64,
    ) {
        let task = self.mission_mut(id).tasks.get_mut(task_id).expect("an attempt's task is in the plan");
        task.review = Some(review.clone());
        match review.verdict {
            Verdict::Pass => {
                task.state = TaskState::Done;
                task.ended = Some(now);
                task.findings.clear();
                self.experience.tasks += 1;
            }
            Verdict::Fail => {
                let findings: Vec<_> = review.findings.into_iter().map(review_finding).collect();
                task.note(format!("The reviewer did not agree: {}", review.summary));
                self.fix(id, task_id, findings);
            }
            Verdict::Unknown => {
                let subject = Subject::Review { task: task_id.clone() };
                let new = NewAttempt { recoveries, ..NewAttempt::fresh(subject) };
                self.try_again(now, id, new, &Failure::Undecided);
            }
        }
    }

    /// Hands findings back to the session that made the mistake, or to a fresh one when it has been prompted enough.
    pub(crate) fn fix(&mut self, id: MissionId, task_id: &TaskId, findings: Vec<Finding>) {
        let Limits { fixes: fixes_max, prompts_per_session: prompts_max, same_errors, .. } = self.limits;
        let task = self.mission_mut(id).tasks.get_mut(task_id).expect("the caller found it in the plan");
        task.findings.clone_from(&findings);
        if task.fixes >= fixes_max {
            let reason = format!(
                "{} fix attempts did not satisfy the checks and the review; the last finding: {}",
                task.fixes,
                findings.first().map_or("none", |finding| finding.message.as_str())
            );
            return self.block(id, task_id, reason);
        }
        let errors = findings.iter().map(|finding| (finding.fingerprint(), finding.message.as_str()));
        if let Some(reason) = task.meets_again(errors, same_errors) {
            return self.block(id, task_id, reason);
        }
        if task.stagnant > STAGNANT_MOST {
            let reason = task.standstill();
            return self.block(id, task_id, reason);
        }
        task.fixes += 1;
        // What went round in circles goes to somebody who has not.
        let goes_on = task.stagnant < STAGNANT_MOST;
        let session = task.session.clone().filter(|(_, prompts)| goes_on && *prompts < prompts_max);
        let subject = Subject::Task { task: task_id.clone() };
        let new = NewAttempt {
            say: Say::Fix { findings, after: None },
            session,
            ..NewAttempt::fresh(subject.clone())
        };
        let attempt = self.queue(id, new);
        self.mission_mut(id).attempt_queued(&subject, attempt);
    }

    pub(crate) fn block(&mut self, id: MissionId, task_id: &TaskId, mut reason: String) {
        // All reasons together stand in the mission's headline.
        reason.truncate(reason.floor_char_boundary(REASON_MAX_BYTES));
        let mission = self.mission_mut(id);
        let task = mission.tasks.get_mut(task_id).expect("the caller found it in the plan");
        let text = format!("Task {task_id} is blocked: {reason}");
        task.state = TaskState::Blocked { reason };
        self.toast(id, Level::Warning, text);
    }
}

impl CheckReport {
    /// Whether it comes from checks that did not come about, so that it says nothing about what was checked.
    fn could_not_run(&self) -> bool {
        // A program of the project itself is the worker's to mend.
        let is_workers = |evidence: &Value| {
            evidence["kind"] == "command"
                && evidence["exitCode"].is_null()
                && evidence["argv"][0].as_str().is_some_and(|program| program.contains('/'))
        };
        self.verdict == Verdict::Unknown
            && !self.findings.is_empty()
            && !self.evidence.iter().any(is_workers)
            && self.findings.iter().all(|finding| NOT_RUN.contains(&finding.code.as_str()))
    }
}

/// When the outcome of checks is taken for lost, should others stand before them in the runner's queue.
fn checks_until(now: Millis, timeout_ms: Millis, commands: &[Vec<String>]) -> Millis {
    now + timeout_ms * (commands.len() as u64 + QUEUED_CHECKS) + CHECK_MARGIN_MS
}

fn review_finding(finding: ReviewFinding) -> Finding {
    Finding {
        code: "REVIEW".into(),
        path: (!finding.files.is_empty()).then(|| finding.files.join(", ")),
        message: finding.message,
        detail: None,
    }
}

/// Codes of findings that say that a check did not come about.
const NOT_RUN: [&str; 11] = [
    "CANCELLED",
    "CHECK_NOT_RUN",
    "CHECK_PANICKED",
    "COMMAND_LOST",
    "COMMAND_NOT_STARTED",
    "FILE_MOVED",
    "LEASE_MISMATCH",
    "NOTHING_TO_CHECK",
    "QUEUE_FULL",
    "REQUEST_TOO_LARGE",
    "SNAPSHOT_FAILED",
];
/// Attempts in a row that change nothing before another strategy is demanded. After one more the user is asked.
pub(crate) const STAGNANT_MOST: u64 = 2;
/// Entries of a task's log, and the length of one.
const LOG_MAX: usize = 12;
const LOG_ENTRY_MAX_BYTES: usize = 400;
/// What a blocked task says at most; all of them together stand in the mission's headline.
const REASON_MAX_BYTES: usize = 1024;
/// Other requests that may stand before one in the runner's queue.
const QUEUED_CHECKS: u64 = 10;
const CHECK_MARGIN_MS: Millis = 60_000;
