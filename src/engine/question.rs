//! Questions: what a caller must know at once, answered from the present state without changing it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::attempt::Turn;
use crate::mission::Stage;
use crate::{Engine, Mission, SessionId, lease, plan, prompt, report};

/// A question to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Question {
    /// May this session call a tool? A session of a mission may while its turn runs; what it has no part in any more it
    /// may not touch.
    MayCall { session: SessionId },
    /// May this session write these paths, given relative to the project's folder? `null` stands for a path outside.
    MayWrite { session: SessionId, paths: Vec<Option<String>> },
    /// May this session have others work for it? Sessions of a mission may not: there is one level of them.
    MayDelegate { session: SessionId },
    /// What has to survive when the host shortens the conversation of this session?
    Reminder { session: SessionId },
    /// Does this session follow a mission that is under way?
    Follows { session: SessionId },
    /// Which commands would this plan or revision run, so that the host's permissions can be asked?
    CommandsOf { value: Value },
    /// How do the missions stand? As text for people.
    Status { session: SessionId },
}

/// A role that is played in child sessions. The commander is the user's own session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    Planner,
    Worker,
    Reviewer,
}

impl Engine {
    /// Answers a question. The shape of the answer follows from the question's variant:
    /// `MayCall`, `MayWrite` and `MayDelegate` give `{allowed, reason?}`, `Reminder` gives `{text}` or `null`, `Follows` gives
    /// `{mission}` or `null`, `CommandsOf` a list of commands, `Status` gives `{text, missions, schedule}`.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Value {
        let verdict = |result: Result<(), String>| match result {
            Ok(()) => json!({ "allowed": true }),
            Err(reason) => json!({ "allowed": false, "reason": reason }),
        };
        match question {
            Question::MayCall { session } => verdict(self.may_call(session)),
            Question::MayWrite { session, paths } => verdict(self.may_write(session, paths)),
            Question::MayDelegate { session } => match self.former_attempt(session) {
                Some(mission) => json!({
                    "allowed": false,
                    "reason": format!(
                        "This session works for mission {} and cannot have others work for it. Do the work yourself.",
                        mission
                    ),
                }),
                None => json!({ "allowed": true }),
            },
            Question::Reminder { session } => self.attempt_of(session).map_or(
                Value::Null,
                |(mission, attempt)| json!({ "text": prompt::reminder(mission, attempt) }),
            ),
            Question::Follows { session } => self
                .missions
                .values()
                .find(|mission| mission.follower == *session && mission.is_under_way())
                .map_or(Value::Null, |mission| json!({ "mission": mission.id })),
            Question::CommandsOf { value } => json!(plan::commands_in(value)),
            Question::Status { session } => {
                let missions: Vec<_> = self.missions.keys().filter_map(|id| self.summary(*id)).collect();
                let schedule = self.schedule_summary();
                json!({ "text": report::status(self, session), "missions": missions, "schedule": schedule })
            }
        }
    }

    /// The fence: whoever has no part in a mission any more, or has handed in its part, does nothing more.
    fn may_call(&self, session: &SessionId) -> Result<(), String> {
        let Some((mission, attempt)) = self.attempt_of(session) else {
            return match self.former_attempt(session) {
                Some(mission) => Err(format!(
                    "This session's part in mission {mission} is over: it may call no tool any more. End your turn."
                )),
                None => Ok(()),
            };
        };
        if !mission.is_under_way() || !matches!(attempt.turn, Turn::Prompting { .. } | Turn::Working { .. }) {
            return Err("The mission is not running: no tool may be called now. End your turn.".into());
        }
        if attempt.submission.is_some() {
            return Err("You have submitted your blank, and it is taken as it is. End your turn.".into());
        }
        Ok(())
    }

    fn may_write(&self, session: &SessionId, paths: &[Option<String>]) -> Result<(), String> {
        self.may_call(session)?;
        let Some((mission, attempt)) = self.attempt_of(session) else { return Ok(()) };
        let Some(task) = attempt.subject.worker_task().and_then(|id| mission.tasks.get(id)) else {
            return Err(format!(
                "The {} may not write files. Only a worker writes, within the files of its task.",
                attempt.role().name()
            ));
        };
        if mission.stage != Stage::Executing {
            return Err("The mission is not executing: nothing may be written now. End your turn.".into());
        }
        let files = &task.spec.files;
        let hint = format!("Your task {} may write: {}.", task.spec.id, files.join(", "));
        if paths.is_empty() {
            return Err(format!("The call names no file, so it cannot be placed in your lease. {hint}"));
        }
        for path in paths {
            let Some(path) = path else {
                return Err(format!("The path is outside the project's folder. {hint}"));
            };
            if files.iter().any(|entry| lease::covers(entry, path)) {
                continue;
            }
            return Err(match self.holder_of(path) {
                Some((holder, name)) => format!(
                    "{path} is leased to task {name} of mission {}, which is working on it. {hint} \
                     Do your task without changing {path}; if that cannot be done, say so when you submit.",
                    holder.id
                ),
                None => format!("{path} is not among the files of your task. {hint}"),
            });
        }
        Ok(())
    }

    /// The mission and task that hold a lease on the path.
    pub(crate) fn holder_of(&self, path: &str) -> Option<(&Mission, &str)> {
        self.missions.values().find_map(|mission| {
            let task = mission.tasks.values().find(|task| {
                task.holds_lease() && task.spec.files.iter().any(|entry| lease::overlap(entry, path))
            })?;
            Some((mission, task.spec.id.as_str()))
        })
    }
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Planner, Self::Worker, Self::Reviewer];

    /// The word for it, as used in prompts and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Worker => "worker",
            Self::Reviewer => "reviewer",
        }
    }
}
