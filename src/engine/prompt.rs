//! What a session is told: built from the state alone, so that the same state gives the same words.
//!
//! The standing instructions of each role are the host's agents; a prompt carries what is particular to the attempt.

use crate::attempt::Say;
use crate::blank::Mistake;
use crate::event::{Agents, Finding};
use crate::question::Role;
use crate::task::STAGNANT_MOST;
use crate::{Attempt, CheckReport, Failure, Mission, MissionKind, Subject, Task, TaskState, Wish};

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
        Subject::Reading { task } => format!("{id} reading for {task}"),
        Subject::Master => format!("{id} master review {}", mission.iterations),
    }
}

/// The text of the attempt's next prompt.
pub(crate) fn text(mission: &Mission, attempt: &Attempt) -> String {
    let mut text = String::new();
    let Some(tool) = blank_tool(&attempt.subject) else {
        text += &subject(mission, attempt);
        return text;
    };
    match &attempt.say {
        Say::Start { after } => {
            text += &subject(mission, attempt);
            text += &history(mission, attempt, after.as_ref());
        }
        Say::Fix { findings: found, after } => {
            if attempt.prompts == 0 {
                text += &subject(mission, attempt);
                text += &history(mission, attempt, after.as_ref());
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
        Say::Again { failure } => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text.push_str(&format!("Your turn broke off: {failure}.\n{}\n", failure.class().remedy().says));
        }
        Say::NotAllowed { what } => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text.push_str(&format!("You wanted to {what}. That was not allowed.\n"));
            text += "Do without it. If the task cannot be done without it, ";
            text += match attempt.subject {
                Subject::Task { .. } => "submit with `blocked` and say what you need.\n",
                Subject::Plan | Subject::Review { .. } | Subject::Reading { .. } | Subject::Master => {
                    "say so in what you submit.\n"
                }
            };
        }
        Say::Nudge { mistakes: found, cut } if found.is_empty() => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            if *cut {
                text += "Your answer was cut off: it was longer than the model's limit for one answer. Go on in smaller steps.\n";
            }
            text.push_str(&format!(
                "Your turn ended, but {tool} was not called, so nothing of it counts yet.\n"
            ));
        }
        Say::Nudge { mistakes: found, .. } => {
            text.push_str(&format!("{}\n", heading(mission, attempt)));
            text.push_str(&format!("What you wrote could not be taken:\n{}\n", mistakes(found)));
        }
    }
    text.push_str(&format!("\nWhen you have finished, call {tool}, then end your turn."));
    text
}

pub(crate) fn blank_tool(subject: &Subject) -> Option<&'static str> {
    match subject {
        Subject::Plan => Some("submit_plan"),
        Subject::Task { .. } => Some("submit_work"),
        Subject::Review { .. } | Subject::Master => Some("submit_review"),
        Subject::Reading { .. } => None,
    }
}

fn heading(mission: &Mission, attempt: &Attempt) -> String {
    let id = mission.id;
    match &attempt.subject {
        Subject::Plan => format!("Mission {id}: plan"),
        Subject::Task { task } => format!("Mission {id}: task {task}"),
        Subject::Review { task } => format!("Mission {id}: review of task {task}"),
        Subject::Reading { task } => format!("Mission {id}: reading ahead for the review of task {task}"),
        Subject::Master => format!("Mission {id}: master review"),
    }
}

fn subject(mission: &Mission, attempt: &Attempt) -> String {
    let mut text = heading(mission, attempt) + "\n";
    match &attempt.subject {
        Subject::Plan => {
            section(&mut text, "Objective", &mission.objective);
            if mission.kind == MissionKind::Fix {
                text += "\nThis is a fix: plan one task, with acceptance commands that fail now and show that it is mended.\n";
            }
            if let Some(wish) = &mission.wish {
                let tasks = mission.tasks.values().map(|task| &task.spec);
                let tasks =
                    tasks.map(|task| format!("{}: {} ({})", task.id, task.title, task.files.join(", ")));
                section(&mut text, "Your last plan", &list(tasks));
                let (title, words) = match wish {
                    Wish::Edit { changes } => ("The user wants it changed; keep the rest", changes),
                    Wish::Refuse { reason } => ("The user refused it; plan anew", reason),
                };
                section(&mut text, title, words);
            }
        }
        Subject::Task { task } => {
            let task = &mission.tasks[task];
            task_sections(&mut text, mission, task);
            let dependencies = dependencies(mission, task);
            if !dependencies.is_empty() {
                section(&mut text, "Done before, for you to build on", &dependencies);
            }
        }
        Subject::Reading { task } => {
            task_sections(&mut text, mission, &mission.tasks[task]);
            section(
                &mut text,
                "What to do now",
                "The task is being worked on; you will be asked for your verdict when it is finished. Read what you \
                 need for that: the files named above as they are, their callers and their tests. Submit nothing yet. \
                 Then end your turn with a short list of what the review has to look at.",
            );
        }
        Subject::Review { task } => {
            let task = &mission.tasks[task];
            if attempt.prompts > 0 {
                text += "The work is finished. What you have read may have changed since: look at the files again.\n";
            }
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

/// What a session that knows nothing has to know of those before it.
fn history(mission: &Mission, attempt: &Attempt, after: Option<&Failure>) -> String {
    let mut text = String::new();
    if let Some(failure) = after {
        let says = failure.class().remedy().says;
        section(&mut text, "An earlier attempt broke off", &format!("{failure}.\n{says}"));
    }
    let Some(task) = attempt.subject.worker_task().and_then(|task| mission.tasks.get(task)) else {
        return text;
    };
    match task.changed_on_disk() {
        Some(changed) if changed.is_empty() => {
            section(&mut text, "Already changed by earlier attempts", "Nothing: the files are as they were.");
        }
        Some(changed) => section(&mut text, "Already changed by earlier attempts", &list(changed)),
        None => {}
    }
    if let Some(work) = task.work.as_ref().filter(|_| !task.findings.is_empty()) {
        section(&mut text, "The account of the last submission", &work.summary);
    }
    if task.stagnant >= STAGNANT_MOST {
        section(&mut text, "What has been tried", &list(&task.log));
        text += "The last attempts changed nothing: the files and what the checks say of them are as they were. Another \
                 strategy is required. First find out why it fails: read what the checks say, look at the causes, and \
                 question what the attempts above took for granted. Then do something else than they did. If the reason \
                 lies outside the project, submit with `blocked`.\n";
    }
    text
}

/// What a session is reminded of when the host has shortened its conversation: its subject, and how it ends.
pub(crate) fn reminder(mission: &Mission, attempt: &Attempt) -> String {
    let mut text = subject(mission, attempt);
    let task = attempt.subject.worker_task().and_then(|task| mission.tasks.get(task));
    if let Some(task) = task.filter(|task| !task.findings.is_empty()) {
        section(&mut text, "To be mended", &findings(&task.findings));
    }
    if let Some(tool) = blank_tool(&attempt.subject) {
        text.push_str(&format!("\nThis has to survive whole. The session ends with a call of {tool}."));
    }
    text
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
