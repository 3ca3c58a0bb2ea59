//! Tasks: what one of them is, and its way from submitted work through checks, review and fixes.

use serde::Serialize;
use serde_json::Value;

use crate::attempt::{NewAttempt, Say};
use crate::blank::{Review, ReviewFinding, Verdict, Work};
use crate::{
    AttemptId, CheckReport, CheckSubject, Effect, EffectId, Engine, Failure, Finding, Handled, HostError,
    Ignored, Level, Millis, MissionId, SessionId, Stage, Subject, TaskId, TaskSpec,
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
    pub work: Option<Work>,
    /// What the last checks gave.
    pub report: Option<CheckReport>,
    pub review: Option<Review>,
    /// What has to be mended, from checks or review.
    pub findings: Vec<Finding>,
    pub started: Option<Millis>,
    pub ended: Option<Millis>,
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
    pub(crate) fn attempt(&self) -> Option<AttemptId> {
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
            work: None,
            report: None,
            review: None,
            findings: Vec::new(),
            started: None,
            ended: None,
        }
    }

    pub(crate) fn start(&mut self, now: Millis, attempt: AttemptId) {
        self.state = TaskState::Running { attempt };
        self.started.get_or_insert(now);
        self.tries += 1;
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

    pub(crate) fn checks_finished(&mut self, effect: EffectId, report: CheckReport) -> Handled {
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
        task.report = Some(report);
        if passes {
            let subject = Subject::Review { task: task_id };
            let attempt = self.queue(id, NewAttempt::fresh(subject.clone()));
            self.mission_mut(id).attempt_queued(&subject, attempt);
        } else {
            self.fix(id, &task_id, findings);
        }
        Handled::Changed
    }

    pub(crate) fn check_failed(&mut self, effect: EffectId, error: &HostError) -> Handled {
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
        self.checks_finished(effect, report)
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
            }
            Verdict::Fail => {
                let findings = review.findings.into_iter().map(review_finding).collect();
                self.fix(id, task_id, findings);
            }
            Verdict::Unknown => {
                let subject = Subject::Review { task: task_id.clone() };
                let say = Say::Start { broken_off: None };
                self.try_again(now, id, subject, say, recoveries, &Failure::Undecided);
            }
        }
    }

    /// Hands findings back to the session that made the mistake, or to a fresh one when it has been prompted enough.
    pub(crate) fn fix(&mut self, id: MissionId, task_id: &TaskId, findings: Vec<Finding>) {
        let (fixes_max, prompts_max) = (self.limits.fixes, self.limits.prompts_per_session);
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
        task.fixes += 1;
        let session = task.session.clone().filter(|(_, prompts)| *prompts < prompts_max);
        let subject = Subject::Task { task: task_id.clone() };
        let new = NewAttempt { say: Say::Fix { findings }, session, ..NewAttempt::fresh(subject.clone()) };
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
        let session = mission.follower.clone();
        self.emit(Effect::ShowToast { session, level: Level::Warning, text });
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

/// What a blocked task says at most; all of them together stand in the mission's headline.
const REASON_MAX_BYTES: usize = 1024;
/// Other requests that may stand before one in the runner's queue.
const QUEUED_CHECKS: u64 = 10;
const CHECK_MARGIN_MS: Millis = 60_000;
