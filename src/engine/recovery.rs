//! Recovery: why attempts fail, and what follows.

use serde::Serialize;

use crate::attempt::{NewAttempt, Say, Subject};
use crate::event::HostError;
use crate::{AttemptId, Engine, Millis, MissionId, PauseReason};

/// Why an attempt ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Failure {
    #[error("the session could not be created{}", because(.error))]
    NotOpened { error: Option<HostError> },
    #[error("the host did not take the prompt{}", because(.error))]
    NotPrompted { error: Option<HostError> },
    #[error("the session is gone from the host")]
    SessionGone,
    #[error("the model's turn ended in {}: {}", .error.name, .error.message)]
    Host { error: HostError },
    #[error("the model ended its turn without filling in its blank, {nudges} reminders included")]
    NoSubmission { nudges: u64 },
    #[error("the model ran away: {steps} requests{}", if *.per_minute { " within a minute" } else { "" })]
    Runaway { steps: u64, per_minute: bool },
    #[error("the model's answers ended {steps} times in a row without a finish reason")]
    Unfinished { steps: u64 },
    #[error("the session took longer than its time to live")]
    TimedOut,
    #[error("the reviewer could not tell")]
    Undecided,
    #[error("the files of the task could not be read before work began: {message}")]
    Snapshot { message: String },
    #[error("the session was interrupted {times} times")]
    Interrupted { times: u64 },
}

/// What kind of trouble it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// The provider failed or could not be reached: 5xx, refused, dropped, silent, or an answer that was no stream.
    Transport,
    /// The provider wants fewer requests: 429.
    RateLimit,
    /// The conversation is longer than the model takes.
    Overflow,
    /// The provider refuses the conversation for the order of its parts: a thinking block that is not where it was.
    Order,
    /// The provider refuses the request whatever is asked: credentials, model, other 4xx.
    Refused,
    /// The provider's filter held the answer back.
    Content,
    /// The session made more model requests than it may, or answers without an end.
    Runaway,
    /// The session took longer than its time to live.
    Time,
    /// The model did not fill in its blank, or could not tell.
    Model,
    /// The model's calls of tools came to nothing.
    Tool,
    /// The host: a session that could not be made, is gone or was interrupted; files that could not be read.
    Host,
}

impl Class {
    /// Whether it says something about the provider, and not about what was asked of it.
    #[must_use]
    pub fn is_providers(self) -> bool {
        matches!(self, Self::Transport | Self::RateLimit)
    }
}

impl Failure {
    /// What kind of trouble it was.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Host { error } => error.class(),
            Self::NotOpened { .. }
            | Self::NotPrompted { .. }
            | Self::SessionGone
            | Self::Snapshot { .. }
            | Self::Interrupted { .. } => Class::Host,
            Self::NoSubmission { .. } | Self::Undecided => Class::Model,
            Self::Runaway { .. } | Self::Unfinished { .. } => Class::Runaway,
            Self::TimedOut => Class::Time,
        }
    }
}

impl HostError {
    /// What kind of trouble an error at the end of a turn is, from its name, its status and, where the host tells no
    /// more, its words.
    #[must_use]
    pub fn class(&self) -> Class {
        let message = self.message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match self.name.as_str() {
            "ContextOverflowError" => return Class::Overflow,
            "ContentFilterError" => return Class::Content,
            "ProviderAuthError" | "ProviderModelNotFoundError" => return Class::Refused,
            "MessageAbortedError" | "NotFoundError" => return Class::Host,
            "MessageOutputLengthError" | "StructuredOutputError" => return Class::Model,
            _ => {}
        }
        let order = says(&["thinking block", "thinking_block", "redacted_thinking"])
            || (says(&["thinking"])
                && says(&["must start with", "expected `thinking`", "final assistant message"]));
        match self.status {
            Some(429) => Class::RateLimit,
            Some(413) => Class::Overflow,
            Some(400) if order => Class::Order,
            Some(408 | 409 | 425) => Class::Transport,
            Some(400..500) => Class::Refused,
            Some(_) => Class::Transport,
            None if says(&["rate limit", "rate_limit", "too many requests", "overloaded"]) => {
                Class::RateLimit
            }
            None if order => Class::Order,
            // Sockets that were reset or refused, streams that broke off, chunks that were no JSON.
            None => Class::Transport,
        }
    }
}

fn because(error: &Option<HostError>) -> String {
    error.as_ref().map(|error| format!(": {}: {}", error.name, error.message)).unwrap_or_default()
}

/// Time before the `n`th fresh start after a failure: 1, 2, 4 … 64 s.
fn backoff_ms(recoveries: u64) -> Millis {
    1_000 << recoveries.saturating_sub(1).min(6)
}

impl Engine {
    /// Ends an attempt without a result: a fresh one after a while, or the user is asked.
    pub(crate) fn fail(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, failure: Failure) {
        let mission = self.mission_mut(mission_id);
        if !mission.is_under_way() {
            return self.rest_attempt(now, mission_id, id);
        }
        let Some(attempt) = mission.attempts.remove(&id) else { return };
        mission.failures += 1;
        let say = mission.introduction(&attempt.subject, Some(failure.to_string()));
        self.try_again(now, mission_id, attempt.subject, say, attempt.recoveries, &failure);
    }

    /// Queues a fresh attempt after a failure, or gives the subject up when too many have failed.
    pub(crate) fn try_again(
        &mut self,
        now: Millis,
        mission_id: MissionId,
        subject: Subject,
        say: Say,
        recoveries: u64,
        failure: &Failure,
    ) {
        if recoveries >= self.limits.recoveries {
            return self.give_up(mission_id, &subject, failure);
        }
        let recoveries = recoveries + 1;
        let not_before = Some(now + backoff_ms(recoveries));
        let new = NewAttempt { subject: subject.clone(), say, session: None, recoveries, not_before };
        let id = self.queue(mission_id, new);
        self.mission_mut(mission_id).attempt_queued(&subject, id);
    }

    /// A subject failed too often: the user is asked.
    pub(crate) fn give_up(&mut self, id: MissionId, subject: &Subject, failure: &Failure) {
        match subject.task() {
            Some(task) => {
                let reason =
                    format!("{} sessions in a row failed; the last: {failure}", self.limits.recoveries + 1);
                self.block(id, task, reason);
            }
            None => {
                let what = if *subject == Subject::Plan { "plan" } else { "master review" };
                let question = format!(
                    "The {what} could not be made: {} sessions in a row failed; the last: {failure}. \
                     Mend the cause and resume with /task, or end it with /stop.",
                    self.limits.recoveries + 1
                );
                self.pause(id, PauseReason::NeedsUser { question });
            }
        }
    }
}
