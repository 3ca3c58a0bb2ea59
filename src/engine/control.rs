//! Control of the plan: the user's approval, and the commander's revisions of what runs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::attempt::{AfterAbort, NewAttempt};
use crate::task::{Checks, Task, TaskState};
use crate::{
    Answer, Effect, Engine, Handled, Ignored, Level, Millis, Mission, MissionId, Mistake, Outcome,
    PauseReason, Phase, Plan, RequestId, Revision, SessionId, Stage, Subject, TaskId, TaskSpec, Turn, prompt,
    report,
};

/// What the user said against a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Wish {
    /// Keep the plan, with these changes.
    Edit { changes: String },
    /// Plan anew.
    Refuse { reason: String },
}

/// What a text command makes of a plan that waits.
enum Decision {
    Approve,
    Send(Wish),
}

// Approval.
impl Engine {
    /// Takes a plan: it is carried out, or waits for the user.
    pub(crate) fn plan_accepted(&mut self, id: MissionId, plan: Plan, session: Option<(SessionId, u64)>) {
        let mission = self.mission_mut(id);
        mission.checks = plan.checks;
        mission.tasks =
            plan.tasks.into_iter().map(|spec| (TaskId(spec.id.clone()), Task::new(spec))).collect();
        mission.planner = session;
        mission.wish = None;
        if mission.asks {
            mission.stage = Stage::Approval;
            return self.report_mission(id, Outcome::Planned, Level::Info);
        }
        mission.stage = Stage::Executing;
        let text = report::plan_line(mission);
        self.toast(id, Level::Info, text);
    }

    /// What `/task budget name=value …` and `/task limit name=value …` ask for; `None` when the words are an objective.
    pub(crate) fn setting_commanded(
        &mut self,
        now: Millis,
        request: RequestId,
        session: &SessionId,
        words: &str,
    ) -> Option<Handled> {
        let (setting, rest) = words.split_once(' ')?;
        let pairs: Vec<_> =
            rest.split_whitespace().map(|word| word.split_once('=')).collect::<Option<_>>()?;
        match setting {
            "budget" => Some(self.budget_commanded(now, request, session, &pairs)),
            "limit" => Some(self.limits_commanded(request, &pairs)),
            _ => None,
        }
    }

    /// What `/plan` with these words means for a plan that waits; `None` when they are an objective.
    pub(crate) fn plan_commanded(
        &mut self,
        request: RequestId,
        session: &SessionId,
        words: &str,
    ) -> Option<Handled> {
        let waiting = self.mission_for(session).ok().filter(|id| self.missions[id].stage == Stage::Approval);
        let Some(id) = waiting else {
            let is_bare = words.is_empty() || ["approve", "edit", "refuse"].contains(&words);
            return is_bare.then(|| {
                let text =
                    "No plan waits for your approval. /plan \"…\" makes one: give what it is for.".into();
                self.refuse(request, "NO_APPROVAL", text)
            });
        };
        match decision(words) {
            None if words.is_empty() => {
                let text = report::proposal(&self.missions[&id], &self.experience);
                Some(self.refuse(request, "APPROVAL_NEEDED", text))
            }
            None => None,
            Some(Err(text)) => Some(self.refuse(request, "DECISION_INCOMPLETE", text.into())),
            Some(Ok(decision)) => {
                let mission = self.mission_mut(id);
                mission.follower = session.clone();
                let text = match decision {
                    Decision::Approve => {
                        mission.stage = Stage::Executing;
                        format!("The plan of mission {id} is approved.")
                    }
                    Decision::Send(wish) => {
                        self.plan_again(id, wish);
                        format!("Mission {id} is planned again.")
                    }
                };
                self.reply(request, Answer::Accepted { mission: Some(id), text });
                Some(Handled::Changed)
            }
        }
    }

    /// Has the plan changed in the session that made it, or made anew in a fresh one.
    fn plan_again(&mut self, id: MissionId, wish: Wish) {
        let prompts_max = self.limits.prompts_per_session;
        let mission = self.mission_mut(id);
        let session = match wish {
            Wish::Edit { .. } => mission.planner.take().filter(|(_, prompts)| *prompts < prompts_max),
            Wish::Refuse { .. } => None,
        };
        mission.stage = Stage::Planning;
        mission.wish = Some(wish);
        self.queue(id, NewAttempt { session, ..NewAttempt::fresh(Subject::Plan) });
    }

    pub(crate) fn refuse(&mut self, request: RequestId, code: &str, text: String) -> Handled {
        self.reply(request, Answer::Refused { code: code.into(), text });
        Handled::Ignored(Ignored::Refused)
    }
}

/// Reads what becomes of a plan: `approve`, `edit …`, `refuse …`. What is none of these is no decision.
fn decision(words: &str) -> Option<Result<Decision, &'static str>> {
    let (verb, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let rest = rest.trim().trim_matches('"').trim();
    match (verb, rest) {
        ("approve", "") => Some(Ok(Decision::Approve)),
        ("edit", "") => Some(Err("Say what to change in the plan: /plan edit and what.")),
        ("refuse", "") => Some(Err("Say why, for the next plan: /plan refuse and why.")),
        ("edit", changes) => Some(Ok(Decision::Send(Wish::Edit { changes: changes.to_owned() }))),
        ("refuse", reason) => Some(Ok(Decision::Send(Wish::Refuse { reason: reason.to_owned() }))),
        _ => None,
    }
}

// Revision.
impl Engine {
    pub(crate) fn plan_revised(
        &mut self,
        now: Millis,
        request: RequestId,
        session: &SessionId,
        revision: &Value,
        denied: &[Vec<String>],
    ) -> Handled {
        let follows = |mission: &&Mission| mission.follower == *session && mission.is_open();
        let Some(mission) = self.missions.values().find(follows) else {
            let text = "This session follows no mission that is under way.".into();
            return self.refuse(request, "NO_MISSION", text);
        };
        let id = mission.id;
        let is_unplanned = mission.tasks.is_empty() || mission.phase() == Phase::Planning;
        let has_no_plan = is_unplanned && mission.stage != Stage::Approval;
        if has_no_plan || matches!(mission.stage, Stage::Stopping { .. }) {
            let text = format!(
                "Mission {id} is {}: there is no plan to revise.",
                report::stage_word(&mission.stage)
            );
            return self.refuse(request, "NO_PLAN", text);
        }
        let present = specs(mission);
        let read = Revision::parse(revision, &present, self.limits.plan_tasks).and_then(|revision| {
            let mut mistakes = revision.denied(denied);
            mistakes.extend(against_state(&revision, mission));
            crate::blank::finish(revision, mistakes)
        });
        match read {
            Ok(revision) => self.apply_revision(now, id, revision, &present),
            Err(mistakes) => {
                let text = format!("The revision was not taken:\n{}", prompt::mistakes(&mistakes));
                return self.refuse(request, "BLANK_INVALID", text);
            }
        }
        let text = format!("The plan was revised. {}", report::plan_line(&self.missions[&id]));
        self.reply(request, Answer::Accepted { mission: Some(id), text });
        Handled::Changed
    }

    fn apply_revision(
        &mut self,
        now: Millis,
        id: MissionId,
        revision: Revision,
        present: &BTreeMap<TaskId, TaskSpec>,
    ) {
        let revised = revision.applied_to(present);
        let (known, new): (Vec<_>, Vec<_>) =
            revised.into_iter().partition(|(task, _)| present.contains_key(task));
        // Those that waited for a task that is split wait for its parts by then, and are not given up with it.
        let mission = self.mission_mut(id);
        for (task, spec) in known {
            mission.tasks.entry(task).and_modify(|task| task.spec = spec);
        }
        for task in revision.split.into_iter().map(|split| split.task).chain(revision.cancel) {
            self.cancel_task(now, id, &TaskId(task));
        }
        for task in revision.retry {
            self.unblock(id, &TaskId(task));
        }
        if !new.is_empty() {
            self.add_tasks(id, new.into_iter().map(|(_, spec)| spec).collect());
        }
        let mission = self.mission_mut(id);
        if let Stage::Paused { reason: PauseReason::NeedsUser { .. }, phase: Phase::Executing } =
            mission.stage
        {
            // What blocked the mission has been dealt with, as far as the plan goes.
            mission.stage = Stage::Executing;
        }
    }

    /// Gives up a task, and those that wait for it. One that a session works on keeps its lease until that has ended.
    fn cancel_task(&mut self, now: Millis, id: MissionId, task_id: &TaskId) {
        let mission = self.mission_mut(id);
        let Some(task) = mission.tasks.get_mut(task_id) else { return };
        match task.state {
            TaskState::Done | TaskState::Cancelled => return,
            TaskState::Pending | TaskState::Blocked { .. } => task.state = TaskState::Cancelled,
            TaskState::Checking(Checks { effect, .. }) => {
                task.state = TaskState::Cancelled;
                self.emit(Effect::CancelChecks { effect });
            }
            TaskState::Ready { attempt }
            | TaskState::Running { attempt }
            | TaskState::Reviewing { attempt } => {
                self.leave(now, id, attempt, AfterAbort::Cancel);
            }
        }
        let dependents: Vec<_> = self.missions[&id]
            .tasks
            .iter()
            .filter(|(_, task)| task.spec.depends_on.contains(&task_id.0))
            .map(|(id, _)| id.clone())
            .collect();
        for dependent in dependents {
            self.cancel_task(now, id, &dependent);
        }
    }

    /// Adds tasks to a mission. While the project's checks run, it goes back to executing; a master review comes to
    /// its end first.
    pub(crate) fn add_tasks(&mut self, id: MissionId, specs: Vec<TaskSpec>) {
        let mission = self.mission_mut(id);
        for spec in specs {
            mission.tasks.insert(TaskId(spec.id.clone()), Task::new(spec));
        }
        if let Some(Checks { effect, .. }) = mission.checks() {
            mission.stage = Stage::Executing;
            self.emit(Effect::CancelChecks { effect });
        }
    }
}

impl Mission {
    /// Whether the task has been given up and only its session has not ended yet.
    fn is_leaving(&self, task: &Task) -> bool {
        let attempt = task.state.attempt().and_then(|attempt| self.attempts.get(&attempt));
        attempt.is_some_and(|attempt| matches!(attempt.turn, Turn::Aborting { then: AfterAbort::Cancel, .. }))
    }
}

fn specs(mission: &Mission) -> BTreeMap<TaskId, TaskSpec> {
    mission.tasks.iter().map(|(id, task)| (id.clone(), task.spec.clone())).collect()
}

/// What the tasks' states have against a revision.
fn against_state(revision: &Revision, mission: &Mission) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let is_blocked = |task: &Task| matches!(task.state, TaskState::Blocked { .. });
    let is_unfinished = |task: &Task| !task.is_finished() && !mission.is_leaving(task);
    let mut check = |path: String, id: &str, may: &dyn Fn(&Task) -> bool, rule: &str| {
        let Some(task) = mission.tasks.get(id).filter(|task| !may(task)) else { return };
        let message = format!("{id:?} is {}; {rule}", report::state_word(&task.state));
        mistakes.push(Mistake::new(path, message));
    };
    for (index, id) in revision.cancel.iter().enumerate() {
        check(format!("cancel[{index}]"), id, &is_unfinished, "only an unfinished task is given up");
    }
    for (index, id) in revision.retry.iter().enumerate() {
        check(format!("retry[{index}]"), id, &is_blocked, "only a blocked task is retried");
    }
    for (index, split) in revision.split.iter().enumerate() {
        let path = format!("split[{index}].task");
        check(path, &split.task, &is_unfinished, "only an unfinished task is split");
    }
    for (index, change) in revision.reprioritise.iter().enumerate() {
        let path = format!("reprioritise[{index}].task");
        check(path, &change.task, &is_unfinished, "only an unfinished task has a priority");
    }
    mistakes
}
