//! Blanks that were filled in: taken from a tool's call or from the text of an answer, kept until the turn has ended, and
//! handed on.

use serde::Serialize;
use serde_json::Value;

use crate::attempt::{Attempt, Say, Subject, Turn};
use crate::blank::{self, Mistake, Review, Work};
use crate::event::TurnFacts;
use crate::mission::Mission;
use crate::question::Role;
use crate::recovery::Failure;
use crate::{
    Answer, AttemptId, Engine, Handled, Ignored, Millis, MissionId, MissionKind, Plan, RequestId, SessionId,
    prompt,
};

/// A filled-in blank.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Submission {
    Plan { plan: Plan },
    Work { work: Work },
    Review { review: Review },
}

impl Engine {
    pub(crate) fn plan_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        plan: &Value,
        denied: &[Vec<String>],
    ) -> Handled {
        self.submit(request, session, Role::Planner, plan, denied)
    }

    pub(crate) fn work_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        work: &Value,
    ) -> Handled {
        self.submit(request, session, Role::Worker, work, &[])
    }

    pub(crate) fn review_submitted(
        &mut self,
        request: RequestId,
        session: &SessionId,
        review: &Value,
    ) -> Handled {
        self.submit(request, session, Role::Reviewer, review, &[])
    }

    /// Takes a blank from the session whose role it is, or answers with every mistake.
    fn submit(
        &mut self,
        request: RequestId,
        session: &SessionId,
        role: Role,
        value: &Value,
        denied: &[Vec<String>],
    ) -> Handled {
        let tasks_max = self.limits.plan_tasks;
        let refuse = |engine: &mut Self, code: &str, text: String| {
            engine.reply(request, Answer::Refused { code: code.to_owned(), text });
        };
        let found = self.find_session(session).filter(|(mission_id, id)| {
            let mission = &self.missions[mission_id];
            let attempt = &mission.attempts[id];
            mission.is_under_way()
                && attempt.role() == role
                && !attempt.subject.is_reading()
                && matches!(attempt.turn, Turn::Prompting { .. } | Turn::Working { .. })
        });
        let Some((mission_id, id)) = found else {
            refuse(self, "NO_OPEN_BLANK", format!("This session has no {} blank to fill in.", role.name()));
            return Handled::Ignored(Ignored::Refused);
        };
        if self.missions[&mission_id].attempts[&id].submission.is_some() {
            refuse(self, "ALREADY_SUBMITTED", "It has been taken already. End your turn now.".into());
            return Handled::Ignored(Ignored::Refused);
        }
        let read = read(&self.missions[&mission_id], id, value, tasks_max).and_then(|submission| {
            let mistakes = match &submission {
                Submission::Plan { plan } => plan.denied(denied),
                Submission::Work { .. } | Submission::Review { .. } => Vec::new(),
            };
            blank::finish(submission, mistakes)
        });
        let attempt = self.attempt_mut(mission_id, id);
        match read {
            Ok(submission) => {
                attempt.submission = Some(submission);
                let text = "Taken. End your turn now with one short sentence; do nothing else.";
                self.reply(request, Answer::Accepted { mission: Some(mission_id), text: text.into() });
            }
            Err(mistakes) => {
                attempt.refusals += 1;
                let text =
                    format!("Not taken. Mend every point and submit again:\n{}", prompt::mistakes(&mistakes));
                refuse(self, "BLANK_INVALID", text);
            }
        }
        Handled::Changed
    }
}

/// Reads the blank of an attempt, as a call of its tool or its text gave it.
fn read(mission: &Mission, id: AttemptId, value: &Value, tasks_max: u64) -> Result<Submission, Vec<Mistake>> {
    Ok(match mission.attempts[&id].subject {
        Subject::Plan => {
            let tasks_max = if mission.kind == MissionKind::Fix { 1 } else { tasks_max };
            Submission::Plan { plan: Plan::parse(value, tasks_max)? }
        }
        Subject::Task { .. } => Submission::Work { work: Work::parse(value)? },
        Subject::Review { .. } => Submission::Review { review: Review::parse(value, false)? },
        Subject::Master => {
            let review = Review::parse(value, true)?;
            if mission.failed_project_checks() && review.findings.is_empty() {
                let message = "the project's checks failed: give fail, with findings that mend them";
                return Err(vec![Mistake::new("verdict", message)]);
            }
            Submission::Review { review }
        }
        Subject::Reading { .. } => unreachable!("reading ahead has no blank"),
    })
}

// What follows from a blank, or from its absence.
impl Engine {
    /// The turn is over: goes on with what was submitted, or asks again, or gives up.
    pub(crate) fn conclude(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, facts: &TurnFacts) {
        let (nudges_most, tasks_max) = (self.limits.nudges, self.limits.plan_tasks);
        self.prompt_taken(mission_id, id);
        let attempt = self.attempt_mut(mission_id, id);
        if attempt.submission.is_some() {
            return self.finish(now, mission_id, id);
        }
        if let Some(error) = &facts.error {
            return self.fail(now, mission_id, id, Failure::Host { error: error.clone() });
        }
        if attempt.subject.is_reading() {
            return self.finish(now, mission_id, id);
        }
        if let Some(what) = attempt.not_allowed.take() {
            if attempt.nudges >= nudges_most {
                return self.fail(now, mission_id, id, Failure::NotAllowed { what });
            }
            attempt.nudges += 1;
            return self.send_again(now, mission_id, id, Say::NotAllowed { what });
        }
        let mistakes = match blank::fenced(&facts.text) {
            None => Vec::new(),
            // Its commands have not been shown to the host's permissions.
            Some(_) if attempt.subject == Subject::Plan => {
                vec![Mistake::new("", "a plan is taken from a call of the tool only")]
            }
            Some(value) => match read(&self.missions[&mission_id], id, &value, tasks_max) {
                Ok(submission) => {
                    self.attempt_mut(mission_id, id).submission = Some(submission);
                    return self.finish(now, mission_id, id);
                }
                Err(mistakes) => mistakes,
            },
        };
        let attempt = self.attempt_mut(mission_id, id);
        if attempt.nudges < nudges_most {
            attempt.nudges += 1;
            let cut = facts.finish.as_deref() == Some("length");
            self.send_again(now, mission_id, id, Say::Nudge { mistakes, cut });
        } else {
            let nudges = attempt.nudges;
            self.fail(now, mission_id, id, Failure::NoSubmission { nudges });
        }
    }

    /// Goes on with what was submitted before the mission rested, without another turn.
    pub(crate) fn finish_rested(&mut self, now: Millis, mission_id: MissionId) {
        let is_rested =
            |attempt: &&Attempt| attempt.submission.is_some() && matches!(attempt.turn, Turn::Queued { .. });
        let rested: Vec<_> = self.missions[&mission_id]
            .attempts
            .values()
            .filter(is_rested)
            .map(|attempt| attempt.id)
            .collect();
        for id in rested {
            self.finish(now, mission_id, id);
        }
    }

    /// Ends an attempt that has its result.
    pub(crate) fn finish(&mut self, now: Millis, mission_id: MissionId, id: AttemptId) {
        let mission = self.mission_mut(mission_id);
        let under_way = mission.is_under_way();
        if !under_way {
            return self.rest_attempt(now, mission_id, id);
        }
        let Some(attempt) = mission.attempts.remove(&id) else { return };
        self.attempt_succeeded(&attempt);
        if attempt.subject.is_reading() {
            return self.reading_ended(mission_id, attempt);
        }
        if self.is_beaten(mission_id, &attempt) {
            return;
        }
        let session = attempt.session.clone().map(|session| (session, attempt.prompts));
        match (attempt.subject.clone(), attempt.submission.clone()) {
            (Subject::Plan, Some(Submission::Plan { plan })) => {
                self.plan_accepted(mission_id, plan, session);
            }
            (Subject::Task { task }, Some(Submission::Work { work })) => match work.blocked.clone() {
                Some(question) => self.task_waits(mission_id, &task, work, session, &question),
                None => self.check_task(now, mission_id, &task, work, session),
            },
            (Subject::Review { task }, Some(Submission::Review { review })) => {
                self.task_reviewed(now, mission_id, &task, review, attempt.recoveries);
            }
            (Subject::Master, Some(Submission::Review { review })) => {
                self.mission_reviewed(now, mission_id, review, attempt.recoveries);
            }
            (subject, submission) => unreachable!("{subject:?} was answered with {submission:?}"),
        }
    }
}
