//! Recovery: why attempts fail, and what follows. One table says it for each kind of trouble, [`REMEDIES`].

use serde::Serialize;

use crate::attempt::{Attempt, NewAttempt, Say, Subject};
use crate::event::{HostError, ToolFailure};
use crate::{AttemptId, Engine, Finding, Millis, MissionId, PauseReason, Turn};

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
    #[error("the model's provider asks to wait for {} s: {message}", .wait_ms.div_ceil(1_000))]
    Parked { message: String, wait_ms: Millis },
    #[error("the model ended its turn without filling in its blank, {nudges} reminders included")]
    NoSubmission { nudges: u64 },
    #[error("the model ran away: {steps} requests{}", if *.per_minute { " within a minute" } else { "" })]
    Runaway { steps: u64, per_minute: bool },
    #[error("the model's answers ended {steps} times in a row without a finish reason")]
    Unfinished { steps: u64 },
    #[error("the model ran away: {calls} calls of tools")]
    ToolCalls { calls: u64 },
    #[error("{error}, {times} times in a row")]
    SameCalls { error: String, times: u64, fingerprint: String },
    #[error("it wanted to {what}, which was not allowed")]
    NotAllowed { what: String },
    #[error("the session took longer than its time to live")]
    TimedOut,
    #[error("the reviewer could not tell")]
    Undecided,
    #[error("the files of the task could not be read before work began: {message}")]
    Snapshot { message: String },
    #[error("the session was interrupted {times} times")]
    Interrupted { times: u64 },
}

/// What kind of trouble it was: a row of [`REMEDIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// The provider failed or could not be reached.
    Transport,
    /// The provider wants fewer requests.
    RateLimit,
    /// The conversation is longer than the model takes.
    Overflow,
    /// The provider refuses the conversation as it stands.
    Order,
    /// The provider refuses whatever is asked.
    Refused,
    /// The provider's filter held the answer back.
    Content,
    /// The session made more requests or calls than it may, or answers without an end.
    Runaway,
    /// The session took longer than its time to live.
    Time,
    /// The model did not fill in its blank, or could not tell.
    Model,
    /// The model's calls of tools came to nothing.
    Tool,
    /// The user did not allow what the session wanted to do, or did not answer.
    Permission,
    /// Someone else broke the turn off.
    Aborted,
    /// The host: a session that could not be made or is gone; files that could not be read.
    Host,
}

/// What follows a kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remedy {
    pub class: Class,
    /// What it looks like from outside.
    pub seen: &'static str,
    /// Failures in a row after which the same session is prompted again; then follow fresh ones.
    pub same_session: u64,
    /// Whether the user is asked at once, since nothing else would help.
    pub asks: bool,
    /// What the next prompt says beside the failure itself.
    pub says: &'static str,
}

/// The one table of recovery. Wherever it does not ask at once, attempts follow after 1, 2, 4 … 64 s with jitter, not
/// before the provider's `retry-after` up to `retryAfterMs`, and at most `recoveries` in a row; then the user is asked.
pub const REMEDIES: &[Remedy] = &[
    Remedy {
        class: Class::Transport,
        seen: "5xx, refused or dropped connections, silence beyond the time-outs, an answer that is no stream, after the host's own retries",
        same_session: 2,
        asks: false,
        says: "The model's provider failed. Look at what is done, finish the rest.",
    },
    Remedy {
        class: Class::RateLimit,
        seen: "429, overload, a `retry-after` for which the host would wait longer than `retryAfterMs`",
        same_session: u64::MAX,
        asks: false,
        says: "The model's provider asked for a pause. Look at what is done, finish the rest.",
    },
    Remedy {
        class: Class::Overflow,
        seen: "`ContextOverflowError`, 413; the host's own compaction is broken off",
        same_session: 0,
        asks: false,
        says: "The earlier session grew longer than the model takes. Search instead of reading whole files, and keep what commands print short.",
    },
    Remedy {
        class: Class::Order,
        seen: "400 or 422 for the conversation as it stands, such as a thinking block out of its place",
        same_session: 0,
        asks: false,
        says: "The earlier conversation could not be continued. Go on from the files as they are.",
    },
    Remedy {
        class: Class::Refused,
        seen: "401, 402, 403, 404 and other 4xx: credentials, credit, a model that is not there",
        same_session: 0,
        asks: true,
        says: "",
    },
    Remedy {
        class: Class::Content,
        seen: "`ContentFilterError`",
        same_session: 0,
        asks: false,
        says: "The provider's filter held an answer back. Put it in other words, and quote no more than is needed.",
    },
    Remedy {
        class: Class::Runaway,
        seen: "`stepsPerAttempt`, `stepsPerMinute`, `unfinishedSteps`, `toolCallsPerAttempt`",
        same_session: 0,
        asks: false,
        says: "The earlier session went round in circles. Take few steps, each with a purpose, and submit.",
    },
    Remedy {
        class: Class::Time,
        seen: "`sessionTtlMs`",
        same_session: 0,
        asks: false,
        says: "The earlier session ran out of time. Do what is left the shortest way.",
    },
    Remedy {
        class: Class::Model,
        seen: "no blank, an empty answer or one that was cut, after `nudges` reminders; a reviewer that cannot tell",
        same_session: 0,
        asks: false,
        says: "Nothing counts before the blank is filled in with its tool.",
    },
    Remedy {
        class: Class::Tool,
        seen: "the same error of a tool, or calls that no tool can be found for or that cannot be read, `sameErrors` times in a row",
        same_session: 1,
        asks: false,
        says: "Do not make that call again. Find out why it fails, or do without it.",
    },
    Remedy {
        class: Class::Permission,
        seen: "the host asked the user, who refused or did not answer within `permissionMs`, more than `nudges` times",
        same_session: 0,
        asks: true,
        says: "",
    },
    Remedy {
        class: Class::Aborted,
        seen: "`MessageAbortedError` that is not ours",
        same_session: 1,
        asks: false,
        says: "You were interrupted. Look at what is done, finish the rest.",
    },
    Remedy {
        class: Class::Host,
        seen: "a session that cannot be made, takes no prompt, is gone or is interrupted again and again; files that cannot be read",
        same_session: 0,
        asks: false,
        says: "It may have left changes behind. Look at the files before you go on.",
    },
];

impl Class {
    /// The row of the table.
    #[must_use]
    pub fn remedy(self) -> &'static Remedy {
        &REMEDIES[self as usize]
    }

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
            Self::Parked { .. } => Class::RateLimit,
            Self::NotOpened { .. }
            | Self::NotPrompted { .. }
            | Self::SessionGone
            | Self::Snapshot { .. }
            | Self::Interrupted { .. } => Class::Host,
            Self::NoSubmission { .. } | Self::Undecided => Class::Model,
            Self::Runaway { .. } | Self::Unfinished { .. } | Self::ToolCalls { .. } => Class::Runaway,
            Self::SameCalls { .. } => Class::Tool,
            Self::NotAllowed { .. } => Class::Permission,
            Self::TimedOut => Class::Time,
        }
    }

    /// How long the provider asks to be left alone.
    fn retry_after_ms(&self) -> Millis {
        match self {
            Self::Host { error } => error.retry_after_ms.unwrap_or(0),
            Self::Parked { wait_ms, .. } => *wait_ms,
            Self::NotOpened { .. }
            | Self::NotPrompted { .. }
            | Self::SessionGone
            | Self::NoSubmission { .. }
            | Self::Runaway { .. }
            | Self::Unfinished { .. }
            | Self::ToolCalls { .. }
            | Self::SameCalls { .. }
            | Self::NotAllowed { .. }
            | Self::TimedOut
            | Self::Undecided
            | Self::Snapshot { .. }
            | Self::Interrupted { .. } => 0,
        }
    }
}

impl HostError {
    /// What kind of trouble an error at the end of a turn is, from its name, its status and, where the host tells no
    /// more, its words.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.name.as_str() {
            "ContextOverflowError" => return Class::Overflow,
            "ContentFilterError" => return Class::Content,
            "ProviderAuthError" | "ProviderModelNotFoundError" => return Class::Refused,
            "MessageAbortedError" => return Class::Aborted,
            "NotFoundError" => return Class::Host,
            "MessageOutputLengthError" | "StructuredOutputError" => return Class::Model,
            _ => {}
        }
        let message = self.message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match self.status {
            Some(429 | 529) => Class::RateLimit,
            Some(413) => Class::Overflow,
            Some(400 | 422) => Class::Order,
            Some(408 | 409 | 425) => Class::Transport,
            Some(400..500) => Class::Refused,
            Some(_) => Class::Transport,
            None if says(&["rate limit", "rate_limit", "too many requests", "overloaded"]) => {
                Class::RateLimit
            }
            None if says(&["agent not found", "model not found"]) => Class::Refused,
            // Sockets that were reset or refused, streams that broke off, chunks that were no JSON.
            None => Class::Transport,
        }
    }
}

fn because(error: &Option<HostError>) -> String {
    error.as_ref().map(|error| format!(": {}: {}", error.name, error.message)).unwrap_or_default()
}

/// Time before the `n`th attempt after a failure: 1, 2, 4 … 64 s and up to a quarter more, so that those who failed
/// together do not come back together. The same attempt always waits as long.
pub(crate) fn backoff_ms(n: u64, attempt: AttemptId) -> Millis {
    let base: Millis = 1_000 << n.saturating_sub(1).min(6);
    base + scatter(attempt.0.wrapping_mul(31).wrapping_add(n)) % (base / 4)
}

/// One step of SplitMix64: neighbouring numbers become numbers far apart.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Engine {
    /// Ends an attempt without a result: another one after a while, or the user is asked.
    pub(crate) fn fail(&mut self, now: Millis, mission_id: MissionId, id: AttemptId, failure: Failure) {
        let (prompts_max, same_errors) = (self.limits.prompts_per_session, self.limits.same_errors);
        let mission = self.mission_mut(mission_id);
        if !mission.is_under_way() {
            return self.rest_attempt(now, mission_id, id);
        }
        let Some(attempt) = mission.attempts.remove(&id) else { return };
        self.attempt_failed(now, &attempt, &failure);
        if attempt.subject.is_reading() || self.is_beaten(mission_id, &attempt) {
            return;
        }
        let mission = self.mission_mut(mission_id);
        mission.failures += 1;
        if let Some(task) = attempt.subject.worker_task().and_then(|task| mission.tasks.get_mut(task)) {
            task.note(format!("The session broke off: {failure}."));
            task.broke_off = !failure.class().is_providers();
            if let Failure::SameCalls { fingerprint, error, .. } = &failure
                && let Some(reason) = task.meets_again([(fingerprint.clone(), error.as_str())], same_errors)
            {
                let task = task.id();
                return self.block(mission_id, &task, reason);
            }
        }
        let remedy = failure.class().remedy();
        let goes_on = attempt.recoveries < remedy.same_session && attempt.prompts < prompts_max;
        let session = attempt.session.clone().filter(|_| goes_on && attempt.prompts > 0);
        let say = match session {
            Some(_) => Say::Again { failure: failure.clone() },
            None => mission.introduction(&attempt.subject, Some(failure.clone())),
        };
        let session = session.map(|session| (session, attempt.prompts));
        let Attempt { subject, recoveries, .. } = attempt;
        self.try_again(
            now,
            mission_id,
            NewAttempt { session, recoveries, say, ..NewAttempt::fresh(subject) },
            &failure,
        );
    }

    /// Queues another attempt after a failure, or gives the subject up when too many have failed.
    pub(crate) fn try_again(
        &mut self,
        now: Millis,
        mission_id: MissionId,
        new: NewAttempt,
        failure: &Failure,
    ) {
        if self.hand_over(mission_id, &new.subject) {
            return;
        }
        if new.recoveries >= self.limits.recoveries || failure.class().remedy().asks {
            return self.give_up(mission_id, &new.subject, new.recoveries + 1, failure);
        }
        let recoveries = new.recoveries + 1;
        let wait_ms = failure.retry_after_ms().min(self.limits.retry_after_ms);
        let subject = new.subject.clone();
        let id = self.queue(mission_id, NewAttempt { recoveries, ..new });
        let not_before = now + backoff_ms(recoveries, id).max(wait_ms);
        let mission = self.mission_mut(mission_id);
        mission.attempt_queued(&subject, id);
        let attempt = self.attempt_mut(mission_id, id);
        attempt.turn = Turn::Queued { not_before: Some(not_before) };
        attempt.queued = not_before;
    }

    /// A subject failed too often, or nothing else would help: the user is asked.
    fn give_up(&mut self, id: MissionId, subject: &Subject, times: u64, failure: &Failure) {
        let what = match times {
            1 => format!("{failure}"),
            _ => format!("{times} sessions in a row failed; the last: {failure}"),
        };
        match subject.task() {
            Some(task) => self.block(id, task, what),
            None => {
                let subject = if *subject == Subject::Plan { "plan" } else { "master review" };
                let question = format!(
                    "The {subject} could not be made: {what}. Mend the cause and resume with /task, or end it with /stop."
                );
                self.pause(id, PauseReason::NeedsUser { question });
            }
        }
    }
}

/// What the same error looks like again: without what differs from one time to the next, such as numbers, times,
/// addresses, hashes, and the folders in which things happened. At most 512 bytes.
pub(crate) fn fingerprint(message: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "_-./\\:~@+".contains(c);
    let mut text = String::new();
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        let end = rest
            .find(|c| is_part(c) != is_part(rest.chars().next().unwrap_or_default()))
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end.max(c.len_utf8()));
        rest = tail;
        if !is_part(c) {
            text.push_str(if word.trim().is_empty() { " " } else { word.trim() });
        } else if word.contains(['/', '\\']) {
            // Of a path the name tells what it is; the folders may be made anew for each run.
            text.push_str(&plain(word.rsplit(['/', '\\']).next().unwrap_or_default()));
        } else {
            text.push_str(&plain(word));
        }
    }
    let mut text = text.trim().to_owned();
    text.truncate(text.floor_char_boundary(FINGERPRINT_MAX_BYTES));
    text
}

/// A word with its numbers as `0`, and a hash or an id as `#`.
fn plain(word: &str) -> String {
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_hash = word.len() >= 7 && is_hex(word) && word.contains(|c: char| c.is_ascii_digit());
    let is_number = word.chars().all(|c| c.is_ascii_digit());
    if is_hash && !is_number || word.strip_prefix("0x").is_some_and(is_hex) {
        return "#".into();
    }
    let mut text = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if text.ends_with('0') => {}
            '0'..='9' => text.push('0'),
            c => text.push(c),
        }
    }
    text
}

impl ToolFailure {
    /// The same call that fails the same way has the same fingerprint. A call that cannot be read, or of a tool that
    /// is not there, is like any other of that kind.
    pub(crate) fn fingerprint(&self, tool: &str) -> String {
        if tool == INVALID_TOOL {
            return tool.to_owned();
        }
        let code = self.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        format!(
            "{tool} {} {code} {}",
            self.command.as_deref().unwrap_or_default(),
            fingerprint(&self.message)
        )
    }

    /// The error for people and prompts.
    pub(crate) fn text(&self, tool: &str) -> String {
        let mut message = self.message.trim().to_owned();
        message.truncate(message.floor_char_boundary(ERROR_MAX_BYTES));
        match (self.command.as_deref(), self.exit_code) {
            _ if tool == INVALID_TOOL => format!("a call could not be carried out: {message}"),
            (Some(command), Some(code)) => {
                format!("{tool} `{command}` ended with exit code {code}: {message}")
            }
            (Some(command), None) => format!("{tool} `{command}` failed: {message}"),
            (None, _) => format!("{tool} failed: {message}"),
        }
    }
}

impl Finding {
    /// The same finding on another try has the same fingerprint.
    pub(crate) fn fingerprint(&self) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        let detail = fingerprint(self.detail.as_deref().unwrap_or_default());
        // The message of a command names it with its exit code.
        let message = if self.code == "REVIEW" { fingerprint(&self.message) } else { self.message.clone() };
        format!("{} {path} {message} {detail}", self.code)
    }
}

/// The tool by which the host answers a call of a tool that does not exist, or whose arguments cannot be read.
pub(crate) const INVALID_TOOL: &str = "invalid";
const FINGERPRINT_MAX_BYTES: usize = 512;
const ERROR_MAX_BYTES: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_no_part_of_a_fingerprint() {
        let same = [
            ("error at /tmp/run-123/src/a.ts:10:4", "error at /tmp/run-9/src/a.ts:22:17"),
            ("took 12.5 ms at 2026-01-02T10:11:12Z", "took 9.25 ms at 2027-11-30T01:02:03Z"),
            ("object deadbeef1 is missing", "object 0123abcde is missing"),
            ("id 550e8400-e29b-41d4-a716-446655440000", "id 650e8400-e29b-41d4-a716-446655440001"),
            ("panicked  at\n 0x7f3a10", "panicked at 0x7f3b22"),
        ];
        for (a, b) in same {
            assert_eq!(fingerprint(a), fingerprint(b));
        }
        for (a, b) in
            [("a.ts is missing", "b.ts is missing"), ("expected true", "expected false"), ("x = -", "x = +")]
        {
            assert_ne!(fingerprint(a), fingerprint(b));
        }
        assert!(fingerprint(&"ü".repeat(5_000)).len() <= FINGERPRINT_MAX_BYTES);
    }

    #[test]
    fn calls_differ_by_tool_command_and_exit_code() {
        let failure = |command: &str, exit_code| ToolFailure {
            command: Some(command.into()),
            exit_code: Some(exit_code),
            message: "1 of 7 failed".into(),
        };
        let one = failure("npm test", 1).fingerprint("bash");
        assert_eq!(
            one,
            ToolFailure { message: "2 of 9 failed".into(), ..failure("npm test", 1) }.fingerprint("bash")
        );
        assert_ne!(one, failure("npm test", 2).fingerprint("bash"));
        assert_ne!(one, failure("npm run test", 1).fingerprint("bash"));
        let unread = |message: &str| ToolFailure { command: None, exit_code: None, message: message.into() };
        assert_eq!(
            unread("no tool a").fingerprint(INVALID_TOOL),
            unread("no tool b").fingerprint(INVALID_TOOL)
        );
    }

    #[test]
    fn the_wait_doubles_up_to_a_bound_and_is_scattered() {
        for n in 1..20 {
            let base = 1_000 << (n - 1).min(6);
            for attempt in 0..1_000 {
                let wait = backoff_ms(n, AttemptId(attempt));
                assert!((base..base + base / 4).contains(&wait), "{wait} ms before attempt {n}");
                assert_eq!(wait, backoff_ms(n, AttemptId(attempt)));
            }
        }
        let mut waits: Vec<_> = (0..100).map(|attempt| backoff_ms(3, AttemptId(attempt)) / 100).collect();
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() >= 9, "they come back together: {waits:?}");
    }

    #[test]
    fn errors_of_the_host_have_the_class_of_what_is_behind_them() {
        let of =
            |name: &str, status, message: &str| HostError { status, ..HostError::new(name, message) }.class();
        for (class, name, status, message) in [
            (Class::Transport, "APIError", Some(503), "unavailable"),
            (Class::Transport, "APIError", None, "socket connection was closed"),
            (Class::Transport, "UnknownError", None, "JSON parsing failed"),
            (Class::RateLimit, "APIError", Some(429), "slow down"),
            (Class::RateLimit, "UnknownError", None, "the engine is Overloaded"),
            (Class::Overflow, "ContextOverflowError", None, ""),
            (Class::Overflow, "APIError", Some(413), "too large"),
            (Class::Order, "APIError", Some(400), "Expected `thinking` but found `text`"),
            (Class::Refused, "APIError", Some(401), "no key"),
            (Class::Refused, "APIError", Some(404), "no such model"),
            (Class::Refused, "UnknownError", None, "Agent not found: \"worker\""),
            (Class::Content, "ContentFilterError", None, ""),
            (Class::Aborted, "MessageAbortedError", None, "Aborted"),
            (Class::Model, "MessageOutputLengthError", None, ""),
        ] {
            assert_eq!(of(name, status, message), class, "{name} {status:?} {message}");
        }
    }

    /// The table in the documentation is this one.
    #[test]
    fn every_class_has_one_row_here_and_in_the_documentation() {
        const DOCUMENT: &str = include_str!("../../docs/ARCHITECTURE.md");
        let rows: Vec<_> = REMEDIES
            .iter()
            .map(|remedy| {
                let Remedy { class, seen, same_session, asks, says } = remedy;
                let class = serde_json::to_value(class).unwrap();
                let then = match (*asks, *same_session) {
                    (true, _) => "the user is asked".to_owned(),
                    (false, 0) => "a fresh session".to_owned(),
                    (false, u64::MAX) => "the same session".to_owned(),
                    (false, 1) => "the same session once, then fresh ones".to_owned(),
                    (false, n) => format!("the same session {n} times, then fresh ones"),
                };
                let says = if says.is_empty() { "–" } else { says };
                format!("| {} | {seen} | {then} | {says} |", class.as_str().unwrap())
            })
            .collect();
        let table = rows.join("\n");
        assert!(
            DOCUMENT.contains(&format!("\n{table}\n\n")),
            "docs/ARCHITECTURE.md needs these rows:\n{table}"
        );
        assert_eq!(REMEDIES.len(), Class::Host as usize + 1);
        for (index, remedy) in REMEDIES.iter().enumerate() {
            assert_eq!(remedy.class as usize, index, "the rows stand in the order of the classes");
        }
    }
}
