//! What the user says about agents and models: caps by name, models by role, whether to work ahead.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::blank::Mistake;
use crate::limits::SESSIONS_MAX;
use crate::question::Role;
use crate::{Limits, ModelId};

/// How sessions are scheduled, beside the limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    pub caps: Caps,
    /// The model of each role, such as `anthropic/claude-sonnet-4-5`; absent: that of the mission's root session.
    pub models: BTreeMap<Role, ModelId>,
    /// Whether reviewers read ahead while nothing else wants their slots.
    pub proactive: bool,
}

/// Sessions at the same time, by name. Absent names have `sessionsPerAgent`, `sessionsPerProvider`, `sessionsPerModel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// By role: planner, worker, reviewer.
    pub agents: BTreeMap<Role, u64>,
    /// By provider, as in `anthropic`.
    pub providers: BTreeMap<String, u64>,
    /// By provider and model, as in `anthropic/claude-sonnet-4-5`.
    pub models: BTreeMap<ModelId, u64>,
}

impl Caps {
    pub(super) fn of_role(&self, role: Role, limits: &Limits) -> u64 {
        self.agents.get(&role).copied().unwrap_or(limits.sessions_per_agent).min(limits.sessions)
    }

    pub(super) fn of_provider(&self, provider: &str, limits: &Limits) -> u64 {
        self.providers.get(provider).copied().unwrap_or(limits.sessions_per_provider)
    }

    pub(super) fn of_model(&self, model: &ModelId, limits: &Limits) -> u64 {
        self.models.get(model).copied().unwrap_or(limits.sessions_per_model)
    }
}

impl Scheduling {
    /// The options `caps`, `models` and `proactive` of a configuration, all of them optional.
    pub const OPTIONS: [&str; 3] = ["caps", "models", "proactive"];

    /// Reads the options from a configuration; others than [`Self::OPTIONS`] are passed over.
    ///
    /// # Errors
    /// Every mistake at once, with its path.
    pub fn parse(options: &Map<String, Value>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let caps = options.get("caps").map(|caps| read_caps(caps, &mut mistakes)).unwrap_or_default();
        let models = options.get("models").map(|models| read_models(models, &mut mistakes));
        let proactive = match options.get("proactive") {
            None => false,
            Some(Value::Bool(proactive)) => *proactive,
            Some(other) => {
                mistakes.push(Mistake::new("proactive", format!("expected true or false, found {other}")));
                false
            }
        };
        let scheduling = Self { caps, models: models.unwrap_or_default(), proactive };
        if mistakes.is_empty() { Ok(scheduling) } else { Err(mistakes) }
    }
}

fn read_caps(value: &Value, mistakes: &mut Vec<Mistake>) -> Caps {
    let example = "an object such as {\"providers\": {\"anthropic\": 4}}";
    let Some(fields) = value.as_object() else {
        mistakes.push(Mistake::new("caps", format!("expected {example}")));
        return Caps::default();
    };
    for name in fields.keys().filter(|name| !["agents", "providers", "models"].contains(&name.as_str())) {
        let message = "no such kind of cap; known are agents, providers, models";
        mistakes.push(Mistake::new(format!("caps.{name}"), message));
    }
    let mut read = |kind: &str| -> Vec<(String, u64)> {
        let path = format!("caps.{kind}");
        let entries = match fields.get(kind) {
            None => return Vec::new(),
            Some(Value::Object(entries)) => entries,
            Some(_) => {
                mistakes.push(Mistake::new(path, format!("expected {example}")));
                return Vec::new();
            }
        };
        let mut caps = Vec::new();
        for (name, cap) in entries {
            match cap.as_u64() {
                Some(cap) if (1..=SESSIONS_MAX).contains(&cap) => caps.push((name.clone(), cap)),
                _ => mistakes.push(Mistake::new(
                    format!("{path}.{name}"),
                    format!("expected a whole number from 1 to {SESSIONS_MAX}, found {cap}"),
                )),
            }
        }
        caps
    };
    let (agents, providers, models) = (read("agents"), read("providers"), read("models"));
    let mut caps = Caps { providers: providers.into_iter().collect(), ..Caps::default() };
    for (name, cap) in agents {
        if let Some(role) = role(&name, &format!("caps.agents.{name}"), mistakes) {
            caps.agents.insert(role, cap);
        }
    }
    for (name, cap) in models {
        if let Some(model) = model(&name, &format!("caps.models.{name}"), mistakes) {
            caps.models.insert(model, cap);
        }
    }
    caps
}

fn read_models(value: &Value, mistakes: &mut Vec<Mistake>) -> BTreeMap<Role, ModelId> {
    let Some(fields) = value.as_object() else {
        let message = "expected an object such as {\"worker\": \"anthropic/claude-sonnet-4-5\"}";
        mistakes.push(Mistake::new("models", message));
        return BTreeMap::new();
    };
    let mut models = BTreeMap::new();
    for (name, value) in fields {
        let path = format!("models.{name}");
        let role = role(name, &path, mistakes);
        let found = match value.as_str() {
            Some(text) => model(text, &path, mistakes),
            None => {
                mistakes
                    .push(Mistake::new(path, format!("expected provider/model as a text, found {value}")));
                None
            }
        };
        if let (Some(role), Some(found)) = (role, found) {
            models.insert(role, found);
        }
    }
    models
}

fn role(name: &str, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Role> {
    let found = Role::ALL.into_iter().find(|role| role.name() == name);
    if found.is_none() {
        mistakes.push(Mistake::new(path, "no such role; known are planner, worker, reviewer"));
    }
    found
}

fn model(text: &str, path: &str, mistakes: &mut Vec<Mistake>) -> Option<ModelId> {
    let found = ModelId::parse(text);
    if found.is_none() {
        mistakes.push(Mistake::new(path, format!("expected provider/model, found {text:?}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(options: Value) -> Result<Scheduling, Vec<(String, String)>> {
        let fields = options.as_object().unwrap();
        Scheduling::parse(fields)
            .map_err(|mistakes| mistakes.into_iter().map(|m| (m.path, m.message)).collect())
    }

    #[test]
    fn caps_and_models_are_read_by_name() {
        let options = json!({
            "caps": {"agents": {"worker": 50}, "providers": {"a": 1}, "models": {"a/b/c": 200}},
            "models": {"reviewer": "a/b"}, "proactive": true, "limits": {},
        });
        let scheduling = parse(options).unwrap();
        let limits = Limits::default();
        assert_eq!(scheduling.caps.of_role(Role::Worker, &limits), 50);
        assert_eq!(scheduling.caps.of_role(Role::Planner, &limits), 10);
        assert_eq!(scheduling.caps.of_provider("a", &limits), 1);
        assert_eq!(scheduling.caps.of_model(&ModelId::parse("a/b/c").unwrap(), &limits), 200);
        assert_eq!(scheduling.models[&Role::Reviewer].provider(), "a");
        assert!(scheduling.proactive);
    }

    #[test]
    fn every_mistake_comes_at_once_with_its_path_and_range() {
        let mistakes = parse(json!({
            "caps": {"agents": {"boss": 2, "worker": 0}, "models": {"nameless": 1}, "sessions": {}, "providers": 3},
            "models": {"worker": "nameless", "planner": 1}, "proactive": "yes",
        }))
        .unwrap_err();
        let paths: Vec<_> = mistakes.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "caps.sessions",
                "caps.agents.worker",
                "caps.providers",
                "caps.agents.boss",
                "caps.models.nameless",
                "models.planner",
                "models.worker",
                "proactive",
            ]
        );
        assert_eq!(mistakes[1].1, "expected a whole number from 1 to 200, found 0");
    }
}
