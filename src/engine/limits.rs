//! The engine's limits: one table that gives the type, the defaults, the validation and the documentation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Mistake;

/// A limit as documented: its name in the configuration, default, range, unit and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    pub name: &'static str,
    pub default: u64,
    pub min: u64,
    pub max: u64,
    pub unit: &'static str,
    pub doc: &'static str,
}

macro_rules! limits {
    ($($field:ident, $name:literal = $default:literal, $min:literal..=$max:literal, $unit:literal, $doc:literal;)*) => {
        /// The limits in force. Absent ones have their default.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $(#[doc = $doc] #[serde(rename = $name)] #[schemars(range(min = $min, max = $max))] pub $field: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// Every limit, in the order of the documentation.
        pub const LIMITS: &[Limit] = &[
            $(Limit { name: $name, default: $default, min: $min, max: $max, unit: $unit, doc: $doc },)*
        ];

        impl Limits {
            fn set(&mut self, name: &str, value: u64) {
                match name {
                    $($name => self.$field = value,)*
                    _ => unreachable!("the caller looked the name up in LIMITS"),
                }
            }
        }
    };
}

limits! {
    planner_slots, "plannerSlots" = 2, 1..=200, "sessions", "Slots of the planner lane at first; it grows with success, and is cut when the provider fails.";
    worker_slots, "workerSlots" = 8, 1..=200, "sessions", "Slots of the worker lane at first.";
    reviewer_slots, "reviewerSlots" = 4, 1..=200, "sessions", "Slots of the reviewer lane at first.";
    sessions, "sessions" = 50, 1..=200, "sessions", "Sessions of all roles and missions at the same time.";
    sessions_per_agent, "sessionsPerAgent" = 10, 1..=200, "sessions", "Sessions of one role at the same time, however large its lane and whoever lends it slots.";
    sessions_per_provider, "sessionsPerProvider" = 50, 1..=200, "sessions", "Sessions with one provider at the same time.";
    sessions_per_model, "sessionsPerModel" = 50, 1..=200, "sessions", "Sessions with one model at the same time.";
    growth_successes, "growthSuccesses" = 3, 1..=100, "results", "Results in a row for which a lane gets one slot more, up to its cap.";
    ageing_ms, "ageingMs" = 120_000, 1_000..=3_600_000, "ms", "Waiting for which an attempt counts as one priority higher, again and again.";
    circuit_failures, "circuitFailures" = 5, 1..=100, "failures", "Transport failures of a model in a row after which no session is sent to it.";
    circuit_open_ms, "circuitOpenMs" = 30_000, 100..=3_600_000, "ms", "Time after which one session is sent to such a model as a probe.";
    circuit_successes, "circuitSuccesses" = 2, 1..=100, "answers", "Probes that must be answered, one after another, before sessions pass again.";
    memory_percent, "memoryPercent" = 80, 1..=100, "%", "Use of the system's or the container's memory above which low-priority work is refused.";
    planner_race, "plannerRace" = 1, 1..=5, "sessions", "Planners that plan a mission at the same time; the first plan that is taken counts.";
    plan_tasks, "planTasks" = 200, 1..=1000, "tasks", "Tasks of one mission, those from review findings included.";
    iterations, "iterations" = 20, 1..=1000, "rounds", "Rounds of execution and master review before a mission fails.";
    fixes, "fixes" = 3, 0..=20, "attempts", "Fix attempts of a task before the user is asked.";
    recoveries, "recoveries" = 3, 0..=20, "attempts", "Fresh attempts after a session failed before the user is asked.";
    nudges, "nudges" = 2, 0..=10, "prompts", "Reminders to a session that ended its turn without filling in its blank.";
    prompts_per_session, "promptsPerSession" = 10, 1..=100, "prompts", "Prompts to one session before a fix gets a fresh one.";
    steps_per_attempt, "stepsPerAttempt" = 200, 1..=10000, "model requests", "Model requests of one attempt before it is aborted as a runaway.";
    steps_per_minute, "stepsPerMinute" = 120, 1..=10000, "model requests", "Model requests of one session within 60 s before it is aborted as a runaway.";
    unfinished_steps, "unfinishedSteps" = 3, 1..=100, "model requests", "Model answers in a row without a finish reason before the session is aborted as a runaway.";
    tool_calls_per_attempt, "toolCallsPerAttempt" = 500, 1..=100000, "calls", "Calls of tools of one attempt before it is aborted as a runaway.";
    same_errors, "sameErrors" = 3, 2..=20, "times", "The same error of calls in a row before a turn is broken off, and of a task before the user is asked.";
    retry_after_ms, "retryAfterMs" = 60_000, 0..=3_600_000, "ms", "Longest wait before a model request is repeated because its provider asks for it. If the host would wait longer, its turn is broken off.";
    permission_ms, "permissionMs" = 300_000, 1_000..=86_400_000, "ms", "Time the user has to answer when the host asks whether a session may do something; then it is refused.";
    silence_ms, "silenceMs" = 120_000, 1_000..=3_600_000, "ms", "Silence of a provider, before its answer and within it, after which the host gives a model request up. Set where the user's configuration sets none.";
    session_ttl_ms, "sessionTtlMs" = 3_600_000, 1_000..=86_400_000, "ms", "Time one attempt may take before its session is aborted.";
    sweep_ms, "sweepMs" = 5_000, 100..=60_000, "ms", "Silence of a session after which the host is asked how it stands; doubles up to 8 times this.";
    stop_ms, "stopMs" = 60_000, 1_000..=600_000, "ms", "Time a stop waits for sessions to end before it lists those that would not.";
    shutdown_ms, "shutdownMs" = 5_000, 100..=60_000, "ms", "Time each handler of the hook `shutdown` gets when the plugin ends.";
    tasks_in_memory, "tasksInMemory" = 1_000, 1..=100_000, "tasks", "Tasks of all missions that are kept in memory; above it the oldest missions that have ended are in the journal only.";
    mission_tokens, "missionTokens" = 0, 0..=2_000_000_000, "tokens", "Tokens that a mission may take before the user is asked; 0 for no such budget.";
    mission_cost_cents, "missionCostCents" = 0, 0..=100_000_000, "cents", "Cost of a mission, as the host reports it, before the user is asked; 0 for no such budget.";
    mission_ms, "missionMs" = 0, 0..=1_209_600_000, "ms", "Time a mission may be under way before the user is asked; 0 for no such budget.";
    task_tokens, "taskTokens" = 0, 0..=2_000_000_000, "tokens", "Tokens that a task may take before the user is asked; 0 for no such budget.";
    task_cost_cents, "taskCostCents" = 0, 0..=100_000_000, "cents", "Cost of a task, as the host reports it, before the user is asked; 0 for no such budget.";
    task_ms, "taskMs" = 0, 0..=1_209_600_000, "ms", "Time a task may be in hand before the user is asked; 0 for no such budget.";
    command_ms, "commandMs" = 120_000, 1_000..=1_800_000, "ms", "Time one acceptance command or project check may take.";
}

/// The most sessions that any cap may allow.
pub(crate) const SESSIONS_MAX: u64 = 200;

impl Limits {
    /// Reads limits from configuration, for instance `{"workerSlots": 4}`.
    ///
    /// # Errors
    /// Every mistake at once: an unknown name, something that is not a whole number, a value out of range.
    pub fn parse(value: &Value) -> Result<Self, Vec<Mistake>> {
        Self::default().with(value)
    }

    /// The limits with those in `value` in their place.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with(&self, value: &Value) -> Result<Self, Vec<Mistake>> {
        let Some(fields) = value.as_object() else {
            return Err(vec![Mistake::new("limits", "expected an object such as {\"workerSlots\": 4}")]);
        };
        let mut limits = self.clone();
        let mut mistakes = Vec::new();
        for (name, value) in fields {
            let path = format!("limits.{name}");
            let Some(limit) = LIMITS.iter().find(|limit| limit.name == name) else {
                let known: Vec<_> = LIMITS.iter().map(|limit| limit.name).collect();
                mistakes.push(Mistake::new(path, format!("no such limit; known are {}", known.join(", "))));
                continue;
            };
            match value.as_u64() {
                Some(number) if (limit.min..=limit.max).contains(&number) => limits.set(limit.name, number),
                _ => mistakes.push(Mistake::new(
                    path,
                    format!("expected a whole number from {} to {}, found {value}", limit.min, limit.max),
                )),
            }
        }
        if mistakes.is_empty() { Ok(limits) } else { Err(mistakes) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn edges_are_accepted_and_beyond_them_named() {
        for limit in LIMITS {
            for good in [limit.min, limit.max, limit.default] {
                assert!(Limits::parse(&json!({ limit.name: good })).is_ok(), "{} = {good}", limit.name);
            }
            for bad in [json!(limit.max + 1), json!(-1), json!(1.5), json!("4"), json!(null)] {
                let mistakes = Limits::parse(&json!({ limit.name: bad })).unwrap_err();
                assert_eq!(mistakes[0].path, format!("limits.{}", limit.name));
            }
        }
    }

    #[test]
    fn no_cap_is_above_the_most_sessions() {
        let caps =
            LIMITS.iter().filter(|limit| limit.name.starts_with("sessions") && limit.unit == "sessions");
        assert_eq!(caps.map(|limit| limit.max).collect::<Vec<_>>(), [SESSIONS_MAX; 4]);
    }

    #[test]
    fn what_is_not_named_stays() {
        let limits = Limits { fixes: 7, ..Limits::default() };
        let changed = limits.with(&json!({"workerSlots": 50})).unwrap();
        assert_eq!(changed, Limits { fixes: 7, worker_slots: 50, ..Limits::default() });
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let mistakes = Limits::parse(&json!({"fixes": 99, "worker": 1})).unwrap_err();
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].message, "expected a whole number from 0 to 20, found 99");
    }
}
