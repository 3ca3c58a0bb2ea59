//! What a session is told: built from the state alone, so that the same state gives the same words.
//!
//! The standing instructions of each role are the host's agents; a prompt carries what is particular to the attempt.

use crate::attempt::Say;
use crate::blank::Mistake;
use crate::event::{Agents, Finding};
use crate::question::Role;
use crate::{Attempt, CheckReport, Mission, Subject, Task, TaskState};

pub(crate) fn agent(agents: &Agents, role: Role) -> String {
    match role {
        Role::Planner => agents.planner.clone(),
        Role::Worker => agents.worker.clone(),
        Role::Reviewer => agents.reviewer.clone(),
    }
}

/// The title of an attempt's session.
pub(crate) fn title(mission: &Mission, attempt: &Attempt) -> String {
    let id = mission.id;
    match &attempt.subject {
        Subject::Plan => format!("{id} plan"),
        Subject::Task { task } => format!("{id} work {task}"),
        Subject::Review { task } => format!("{id} review {task}"),
        Subject::Master => format!("{id} master review {}", mission.iterations),
    }
}

/// The text of the attempt's next prompt.
pub(crate) fn text(mission: &Mission, attempt: &Attempt) -> String {
    let mut text = String::new();
    let tool = blank_tool(&attempt.subject);
    match &attempt.say {
        Say::Start { broken_off } => {
            text += &subject(mission, attempt);
            if let Some(why) = broken_off {
                section(&mut text, "An earlier attempt broke off", why);
                text += "It may have left changes behind. Look at the files before you go on.\n";
            }
        }
        Say::Fix { findings: found } => {
            if attempt.prompts == 0 {
                text += &subject(mission, attempt);
            } else {
                text.push_str(&format!("{}\n", heading(mission, attempt)));
            }
            section(&mut text, "Your submission did not pass. Mend every point", &findings(found));
            text += "Then submit again, with all the files you changed since the beginning.\n";
        }
        Say::Continue => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text += "You were interrupted. Look at what is done, finish the rest.\n";
        }
        Say::Nudge { mistakes: found } if found.is_empty() => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text.push_str(&format!(
                "Your turn ended, but {tool} was not called, so nothing of it counts yet.\n"
            ));
        }
        Say::Nudge { mistakes: found } => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text.push_str(&format!("What you wrote could not be taken:\n{}\n", mistakes(found)));
        }
    }
    text.push_str(&format!("\nWhen you have finished, call {tool}, then end your turn."));
    text
}

fn blank_tool(subject: &Subject) -> &'static str {
    match subject {
        Subject::Plan => "submit_plan",
        Subject::Task { .. } => "submit_work",
        Subject::Review { .. } | Subject::Master => "submit_review",
    }
}

fn heading(mission: &Mission, attempt: &Attempt) -> String {
    let id = mission.id;
    match &attempt.subject {
        Subject::Plan => format!("Mission {id}: plan"),
        Subject::Task { task } => format!("Mission {id}: task {task}"),
        Subject::Review { task } => format!("Mission {id}: review of task {task}"),
        Subject::Master => format!("Mission {id}: master review"),
    }
}

fn subject(mission: &Mission, attempt: &Attempt) -> String {
    let mut text = heading(mission, attempt) + "\n";
    match &attempt.subject {
        Subject::Plan => section(&mut text, "Objective", &mission.objective),
        Subject::Task { task } => {
            let task = &mission.tasks[task];
            task_sections(&mut text, mission, task);
            let dependencies = dependencies(mission, task);
            if !dependencies.is_empty() {
                section(&mut text, "Done before, for you to build on", &dependencies);
            }
        }
        Subject::Review { task } => {
            let task = &mission.tasks[task];
            task_sections(&mut text, mission, task);
            if let Some(work) = &task.work {
                section(&mut text, "The worker's account", &work.summary);
            }
            if let Some(report) = &task.report {
                section(&mut text, "Changed files", &changed(report));
                section(&mut text, "Checks that the engine ran", &evidence(report));
            }
            if let Some(review) = &task.review {
                section(&mut text, "The last review", &review.summary);
                section(
                    &mut text,
                    "What it asked for",
                    &list(review.findings.iter().map(|f| f.message.as_str())),
                );
            }
        }
        Subject::Master => {
            section(&mut text, "Objective", &mission.objective);
            let tasks = mission.tasks.values().map(|task| {
                let state = if task.state == TaskState::Done { "done" } else { "given up" };
                let summary = task.work.as_ref().map_or("", |work| work.summary.as_str());
                format!("{} ({state}): {}. {summary}", task.spec.id, task.spec.title)
            });
            section(&mut text, "Tasks", &list(tasks));
            section(&mut text, "Changed files", &list(mission.changed_files()));
            if let Some(report) = &mission.project_report {
                section(&mut text, "The project's checks", &evidence(report));
                if !report.findings.is_empty() {
                    section(&mut text, "They did not pass", &findings(&report.findings));
                }
            }
        }
    }
    text
}

fn task_sections(text: &mut String, mission: &Mission, task: &Task) {
    section(text, "Objective of the task", &task.spec.objective);
    section(text, "Part of the mission", &mission.objective);
    section(text, "Files of the task", &list(&task.spec.files));
    section(text, "Acceptance: these commands must exit with 0", &commands(&task.spec.acceptance));
}

/// What the tasks before this one did and changed.
fn dependencies(mission: &Mission, task: &Task) -> String {
    list(task.spec.depends_on.iter().filter_map(|id| {
        let before = mission.tasks.get(id.as_str())?;
        let files: Vec<_> =
            before.report.iter().flat_map(|r| r.changed.iter().map(|c| c.path.as_str())).collect();
        let summary = before.work.as_ref().map_or("", |work| work.summary.as_str());
        Some(format!("{id} ({}): {summary} Files: {}", before.spec.title, files.join(", ")))
    }))
}

/// The mistakes of a blank, one a line.
pub(crate) fn mistakes(mistakes: &[Mistake]) -> String {
    list(mistakes.iter().map(|mistake| match mistake.path.as_str() {
        "" => mistake.message.clone(),
        path => format!("{path}: {}", mistake.message),
    }))
}

/// What the commander is told of a list of tasks that someone else has edited.
pub(crate) fn todo_proposal(text: &str, cut: bool) -> String {
    let cut = if cut { "\n(It was longer; the rest was not kept.)" } else { "" };
    format!(
        "The user edited .opencode/todo.md. It is rendered from the mission's state, so the file shows that state \
         again; take their text as a proposal, and revise the plan with revise_plan where it asks for that:\n\n\
         {text}{cut}"
    )
}

fn findings(findings: &[Finding]) -> String {
    list(findings.iter().map(|finding| {
        let mut line = match &finding.path {
            Some(path) => format!("{} {path}: {}", finding.code, finding.message),
            None => format!("{}: {}", finding.code, finding.message),
        };
        if let Some(detail) = finding.detail.as_deref().filter(|detail| !detail.trim().is_empty()) {
            line.push_str(&format!("\n```\n{}\n```", detail.trim_end()));
        }
        line
    }))
}

fn changed(report: &CheckReport) -> String {
    list(report.changed.iter().map(|change| change.path.as_str()))
}

/// One line for each command that was run.
fn evidence(report: &CheckReport) -> String {
    list(report.evidence.iter().filter(|evidence| evidence["kind"] == "command").map(|evidence| {
        let argv: Vec<_> =
            evidence["argv"].as_array().into_iter().flatten().filter_map(|a| a.as_str()).collect();
        format!("{}: exit code {}, {} ms", argv.join(" "), evidence["exitCode"], evidence["durationMs"])
    }))
}

fn commands(commands: &[Vec<String>]) -> String {
    list(commands.iter().map(|command| command.join(" ")))
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push_str(&format!("\n## {title}\n{}\n", body.trim_end()));
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("- {}\n", item.as_ref())).collect()
}
