//! What people read: the list of tasks, the status, and the report of a mission that came to rest.

use serde_json::{Value, json};

use crate::blank::{Review, Verdict};
use crate::mission::PauseReason;
use crate::{Answer, Engine, Experience, Mission, SessionId, Stage, Task, TaskState, plan, prompt};

/// The stage in one word.
pub(crate) fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Planning => "planning",
        Stage::Approval => "waiting for approval",
        Stage::Executing => "executing",
        Stage::Verifying(_) => "verifying",
        Stage::MasterReview => "in master review",
        Stage::Paused { .. } => "paused",
        Stage::Stopping { .. } => "stopping",
        Stage::Sealed => "sealed",
        Stage::Stopped => "stopped",
        Stage::Failed { .. } => "failed",
    }
}

/// The state of a task in one word.
pub(crate) fn state_word(state: &TaskState) -> &'static str {
    match state {
        TaskState::Pending => "pending",
        TaskState::Ready { .. } => "ready",
        TaskState::Running { .. } => "running",
        TaskState::Checking(_) => "checking",
        TaskState::Reviewing { .. } => "reviewing",
        TaskState::Done => "done",
        TaskState::Blocked { .. } => "blocked",
        TaskState::Cancelled => "cancelled",
    }
}

pub(crate) fn plan_line(mission: &Mission) -> String {
    let specs = mission.tasks.values().map(|task| &task.spec);
    let waves = plan::waves(specs).values().copied().max().unwrap_or(0);
    format!("Mission {}: {} in {}.", mission.id, count(mission.tasks.len(), "task"), count(waves, "wave"))
}

pub(crate) fn headline(mission: &Mission) -> String {
    let done = format!("{} of {} done", mission.done_count(), count(mission.tasks.len(), "task"));
    match &mission.stage {
        Stage::Paused { reason: PauseReason::Interrupted, .. } => {
            format!(
                "Mission {} is paused: you broke it off. {done}. /task resumes it, /stop ends it.",
                mission.id
            )
        }
        Stage::Paused { reason: PauseReason::NeedsUser { question }, .. } => {
            format!("Mission {} is paused and needs you. {question}", mission.id)
        }
        Stage::Paused { reason: PauseReason::Budget { question }, .. } => {
            format!("Mission {} is paused: {question}.", mission.id)
        }
        Stage::Approval => {
            format!("{} It waits for your approval.", plan_line(mission))
        }
        Stage::Failed { reason } => format!("Mission {} failed: {reason}. {done}.", mission.id),
        Stage::Planning
        | Stage::Executing
        | Stage::Verifying(_)
        | Stage::MasterReview
        | Stage::Stopping { .. }
        | Stage::Sealed
        | Stage::Stopped => format!("Mission {} is {}. {done}.", mission.id, stage_word(&mission.stage)),
    }
}

/// A plan that waits for the user's decision, as Markdown.
pub(crate) fn proposal(mission: &Mission, experience: &Experience) -> String {
    let mut text = headline(mission) + "\n\n";
    text.push_str(&format!("Objective: {}\n", mission.objective.trim()));
    let waves = plan::waves(mission.tasks.values().map(|task| &task.spec));
    let tasks: Vec<_> = mission
        .tasks
        .values()
        .filter(|task| task.state != TaskState::Cancelled)
        .map(|task| &task.spec)
        .collect();
    for wave in 1..=waves.values().copied().max().unwrap_or(0) {
        text.push_str(&format!("\nWave {wave}:\n"));
        for task in tasks.iter().filter(|task| waves.get(task.id.as_str()) == Some(&wave)) {
            text.push_str(&format!("- {}: {}\n  writes {}\n", task.id, task.title, task.files.join(", ")));
            if !task.depends_on.is_empty() {
                text.push_str(&format!("  after {}\n", task.depends_on.join(", ")));
            }
            let commands: Vec<_> = task.acceptance.iter().map(|command| command.join(" ")).collect();
            text.push_str(&format!("  done when {} pass\n", commands.join("; ")));
        }
    }
    let checks: Vec<_> = mission.checks.iter().map(|command| command.join(" ")).collect();
    text.push_str(&format!("\nChecks of the whole: {}\n", checks.join("; ")));
    let (sessions, tokens) = experience.estimate(tasks.len() as u64);
    let basis = if experience.is_known() { "as tasks went here so far" } else { "as a rule" };
    text.push_str(&format!(
        "\nEstimate, {basis}: {sessions} sessions, {tokens} tokens.\n\n\
         /plan approve carries it out. /plan edit <what> has it changed, /plan refuse <why> has it planned anew, /stop \
         ends it. Nothing is done before you decide.\n"
    ));
    text
}

/// The report of a mission, as Markdown.
pub(crate) fn report(mission: &Mission) -> String {
    let mut text = headline(mission) + "\n\n";
    text.push_str(&format!("Objective: {}\n\n", mission.objective.trim()));
    for task in mission.tasks.values() {
        text.push_str(&format!("- {}\n", task_line(task)));
    }
    let files = mission.changed_files();
    if !files.is_empty() {
        text.push_str(&format!("\nChanged files: {}\n", files.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if let Some(report) = &mission.project_report {
        text.push_str("\nProject checks:\n");
        for evidence in report.evidence.iter().filter(|evidence| evidence["kind"] == "command") {
            let argv: Vec<_> =
                evidence["argv"].as_array().into_iter().flatten().filter_map(|arg| arg.as_str()).collect();
            text.push_str(&format!(
                "- {}: exit code {}, {} ms, output {}\n",
                argv.join(" "),
                evidence["exitCode"],
                evidence["durationMs"],
                evidence["outputDigest"].as_str().map_or("none", |digest| digest.get(..16).unwrap_or(digest))
            ));
        }
    }
    if let Some(review) = &mission.master_review {
        text.push_str(&format!("\nMaster review: {}\n", review.summary.trim()));
    }
    let waves =
        plan::waves(mission.tasks.values().map(|task| &task.spec)).values().copied().max().unwrap_or(0);
    text.push_str(&format!(
        "\n{} in {}, {}, {}, {}, {} failed attempts.\n",
        count(mission.tasks.len(), "task"),
        count(waves, "wave"),
        count(usize::try_from(mission.iterations).unwrap_or(0), "round"),
        count(mission.sessions.len(), "session"),
        count(usize::try_from(mission.steps).unwrap_or(0), "model request"),
        mission.failures
    ));
    if !mission.survivors.is_empty() {
        let names: Vec<_> = mission.survivors.iter().map(|session| session.0.as_str()).collect();
        text.push_str(&format!("Sessions that could not be ended: {}\n", names.join(", ")));
    }
    if !mission.leftovers.is_empty() {
        let ids: Vec<_> = mission.leftovers.iter().map(u32::to_string).collect();
        text.push_str(&format!("Processes that could not be ended: {}\n", ids.join(", ")));
    }
    text
}

/// How the missions stand, the one of the asking session first.
pub(crate) fn status(engine: &Engine, session: &SessionId) -> String {
    let mut missions: Vec<_> = engine.missions().values().collect();
    missions.sort_by_key(|mission| {
        (mission.follower != *session, !mission.is_open(), std::cmp::Reverse(mission.id))
    });
    if engine.last_mission == 0 {
        return "There has been no mission in this project. /task \"…\" starts one.".into();
    }
    let mut text = String::new();
    for (index, mission) in missions.into_iter().enumerate() {
        if index > 0 && !mission.is_open() {
            text.push_str(&format!("{}\n", headline(mission)));
            continue;
        }
        text.push_str(&format!("{}\n\n", headline(mission)));
        for task in mission.tasks.values() {
            let wait =
                engine.wait_of(mission, task).map(|wait| format!(", waits for {wait}")).unwrap_or_default();
            text.push_str(&format!("- {}{wait}\n", task_line(task)));
        }
        for (attempt, permission) in
            mission.attempts.values().flat_map(|a| a.permissions.values().map(move |p| (a, p)))
        {
            text.push_str(&format!(
                "- {} waits for you: may it {}?\n",
                prompt::title(mission, attempt),
                permission.what
            ));
        }
        let live = mission.attempts.values().filter(|attempt| attempt.holds_slot()).count();
        text.push_str(&format!(
            "\nRound {}, {} under way, {} opened, {}.\n\n",
            mission.iterations,
            count(live, "session"),
            mission.sessions.len(),
            count(usize::try_from(mission.steps).unwrap_or(0), "model request")
        ));
        let last = text.trim_end().len();
        text.truncate(last);
        text.push_str(&format!("\n{}\n\n", engine.spent_line(mission)));
    }
    for line in engine.schedule_lines() {
        text.push_str(&format!("{line}\n"));
    }
    text
}

fn task_line(task: &Task) -> String {
    let mut line = format!("{} {}: {}", task.spec.id, state_word(&task.state), task.spec.title);
    if task.fixes > 0 {
        line.push_str(&format!(" ({})", count(usize::try_from(task.fixes).unwrap_or(0), "fix attempt")));
    }
    if let TaskState::Blocked { reason } = &task.state {
        line.push_str(&format!(" — {reason}"));
    }
    line
}

/// The list of tasks of all missions, as Markdown.
pub(crate) fn todo<'a>(missions: impl Iterator<Item = &'a Mission>) -> String {
    let mut text = String::from(
        "# Missions\n\nRendered from the orchestrator's journal. Edits are kept as proposals.\n",
    );
    for mission in missions {
        let objective = mission.objective.trim().replace('\n', " ");
        text.push_str(&format!("\n## {} ({}): {objective}\n\n", mission.id, stage_word(&mission.stage)));
        let waves = plan::waves(mission.tasks.values().map(|task| &task.spec));
        let mut tasks: Vec<_> = mission.tasks.values().collect();
        tasks.sort_by_key(|task| (waves.get(task.spec.id.as_str()), task.spec.id.clone()));
        for task in tasks {
            let mark = match task.state {
                TaskState::Done => 'x',
                TaskState::Cancelled => '-',
                TaskState::Pending
                | TaskState::Ready { .. }
                | TaskState::Running { .. }
                | TaskState::Checking(_)
                | TaskState::Reviewing { .. }
                | TaskState::Blocked { .. } => ' ',
            };
            text.push_str(&format!("- [{mark}] {}\n", task_line(task)));
        }
    }
    text
}

/// A mission for programs: what `/status`, panels and other processes show; `untold` notices of it are on their way.
pub(crate) fn summary(mission: &Mission, untold: usize) -> Value {
    let waves = plan::waves(mission.tasks.values().map(|task| &task.spec));
    let tasks: Vec<_> = mission
        .tasks
        .values()
        .map(|task| {
            json!({
                "id": task.spec.id,
                "title": task.spec.title,
                "state": state_word(&task.state),
                "wave": waves.get(task.spec.id.as_str()),
                "fixes": task.fixes,
                "tries": task.tries,
                "tokens": task.spent.tokens,
                "started": task.started,
                "ended": task.ended,
            })
        })
        .collect();
    json!({
        "id": mission.id,
        "objective": mission.objective,
        "root": mission.root,
        "follower": mission.follower,
        "stage": stage_word(&mission.stage),
        "headline": headline(mission),
        "iterations": mission.iterations,
        "sessions": mission.sessions.len(),
        "live": mission.attempts.values().filter(|attempt| attempt.holds_slot()).count(),
        "prompts": mission.prompts,
        "steps": mission.steps,
        "failures": mission.failures,
        "tokens": mission.spent.tokens,
        "costMicros": mission.spent.cost_micros,
        "counters": mission.counters,
        "started": mission.started,
        "ended": mission.ended,
        "untold": untold,
        "tasks": tasks,
    })
}

/// Reads a review that belongs to no mission. Accepted, its text is for people; refused, it names every mistake.
#[must_use]
pub fn read_review(value: &Value) -> Answer {
    match Review::parse(value, false) {
        Ok(review) => {
            let verdict = match review.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "fail",
                Verdict::Unknown => "unknown",
            };
            let mut text = format!("Review: {verdict}. {}\n", review.summary.trim());
            for (index, finding) in review.findings.iter().enumerate() {
                let files = match finding.files.as_slice() {
                    [] => String::new(),
                    files => format!(" ({})", files.join(", ")),
                };
                text.push_str(&format!("\n{}. {}{files}", index + 1, finding.message.trim()));
            }
            Answer::Accepted { mission: None, text: text.trim_end().to_owned() }
        }
        Err(mistakes) => Answer::Refused {
            code: "BLANK_INVALID".into(),
            text: format!("Not taken. Mend every point and submit again:\n{}", prompt::mistakes(&mistakes)),
        },
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
