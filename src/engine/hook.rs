//! The order in which handlers of one hook run: by phase, by what they depend on, by priority, by registration.
//!
//! The handlers themselves live on the host's side; here is only what decides who comes first, so that it is the same
//! everywhere and can be tested.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A handler as far as its place in the order goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// Unique in its hook, such as `orchestrator.lease`.
    pub name: String,
    #[serde(default)]
    pub phase: Phase,
    /// Higher runs earlier within a phase, where no dependency says otherwise.
    #[serde(default)]
    pub priority: i32,
    /// Handlers of the same hook that have run before this one.
    #[serde(default)]
    pub after: Vec<String>,
}

/// The part of a hook in which a handler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Early,
    #[default]
    Normal,
    Late,
}

/// Why handlers cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    #[error("two handlers are called {name:?}; rename one")]
    NameTaken { name: String },
    #[error(
        "{handler:?} is to run after {dependency:?}, which is not there; register it, or correct the name"
    )]
    UnknownDependency { handler: String, dependency: String },
    #[error(
        "{handler:?} is to run after {dependency:?}, whose phase comes later; put both into one phase, or drop the dependency"
    )]
    LaterPhase { handler: String, dependency: String },
    #[error("the handlers {} wait for each other; drop one of these dependencies", .members.join(" → "))]
    Cycle {
        /// In the order in which each waits for the next, the first one again at the end.
        members: Vec<String>,
    },
}

impl OrderError {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "HOOK_NAME_TAKEN",
            Self::UnknownDependency { .. } => "HOOK_DEPENDENCY_UNKNOWN",
            Self::LaterPhase { .. } => "HOOK_DEPENDENCY_LATER",
            Self::Cycle { .. } => "HOOK_CYCLE",
        }
    }
}

/// Gives the indices of the handlers in the order in which they run.
///
/// # Errors
/// The first of: a name that is taken, a dependency that is unknown or in a later phase, a cycle with its members.
pub fn order(handlers: &[Handler]) -> Result<Vec<usize>, OrderError> {
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, handler) in handlers.iter().enumerate() {
        if index_of.insert(&handler.name, index).is_some() {
            return Err(OrderError::NameTaken { name: handler.name.clone() });
        }
    }
    let mut waits_for = Vec::new();
    for handler in handlers {
        let mut before = BTreeSet::new();
        for dependency in &handler.after {
            let (handler_name, dependency_name) = (handler.name.clone(), dependency.clone());
            let Some(&index) = index_of.get(dependency.as_str()) else {
                return Err(OrderError::UnknownDependency {
                    handler: handler_name,
                    dependency: dependency_name,
                });
            };
            if handlers[index].phase > handler.phase {
                return Err(OrderError::LaterPhase { handler: handler_name, dependency: dependency_name });
            }
            before.insert(index);
        }
        waits_for.push(before);
    }
    let mut waiting: BTreeSet<usize> = (0..handlers.len()).collect();
    let mut order = Vec::with_capacity(handlers.len());
    while !waiting.is_empty() {
        let free = waiting.iter().copied().filter(|&index| waits_for[index].is_disjoint(&waiting));
        // A phase is over before the next begins, also for those whose dependencies have long run.
        let next =
            free.min_by_key(|&index| (handlers[index].phase, Reverse(handlers[index].priority), index));
        let Some(next) = next else {
            return Err(OrderError::Cycle { members: cycle(handlers, &waits_for, &waiting) });
        };
        waiting.remove(&next);
        order.push(next);
    }
    Ok(order)
}

/// The members of one cycle among handlers each of which waits for another of them.
fn cycle(handlers: &[Handler], waits_for: &[BTreeSet<usize>], waiting: &BTreeSet<usize>) -> Vec<String> {
    let mut trail: Vec<usize> = waiting.first().copied().into_iter().collect();
    while let Some(&last) = trail.last() {
        let Some(&next) = waits_for[last].intersection(waiting).next() else { break };
        if let Some(start) = trail.iter().position(|&index| index == next) {
            trail.drain(..start);
            trail.push(next);
            break;
        }
        trail.push(next);
    }
    trail.into_iter().map(|index| handlers[index].name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handler(name: &str, phase: Phase, priority: i32, after: &[&str]) -> Handler {
        Handler { name: name.into(), phase, priority, after: after.iter().map(|&name| name.into()).collect() }
    }

    fn names(handlers: &[Handler]) -> Result<Vec<&str>, OrderError> {
        Ok(order(handlers)?.into_iter().map(|index| handlers[index].name.as_str()).collect())
    }

    use Phase::{Early, Late, Normal};

    /// Breaks if a handler runs in another place than its registration says.
    #[test]
    fn phase_then_dependency_then_priority_then_registration() {
        let handlers = [
            handler("late", Late, 100, &[]),
            handler("b", Normal, 0, &[]),
            handler("urgent but dependent", Normal, 9, &["b"]),
            handler("urgent", Normal, 5, &[]),
            handler("c", Normal, 0, &["early"]),
            handler("early", Early, -5, &[]),
        ];
        assert_eq!(names(&handlers), Ok(vec!["early", "urgent", "b", "urgent but dependent", "c", "late"]));
    }

    /// Breaks if a registration that cannot be honoured is taken.
    #[test]
    fn what_cannot_be_ordered_is_named() {
        let cycle = [
            handler("a", Normal, 0, &["c"]),
            handler("b", Normal, 0, &["a"]),
            handler("c", Normal, 0, &["b"]),
            handler("d", Normal, 0, &["a"]),
        ];
        let error = names(&cycle).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            ("HOOK_CYCLE", "the handlers a → c → b → a wait for each other; drop one of these dependencies",)
        );
        let itself = [handler("a", Normal, 0, &["a"])];
        assert_eq!(names(&itself), Err(OrderError::Cycle { members: vec!["a".into(), "a".into()] }));
        let code = |handlers: &[Handler]| names(handlers).unwrap_err().code();
        assert_eq!(code(&[handler("a", Normal, 0, &[]), handler("a", Late, 0, &[])]), "HOOK_NAME_TAKEN");
        assert_eq!(code(&[handler("a", Normal, 0, &["x"])]), "HOOK_DEPENDENCY_UNKNOWN");
        assert_eq!(
            code(&[handler("a", Early, 0, &["b"]), handler("b", Late, 0, &[])]),
            "HOOK_DEPENDENCY_LATER"
        );
    }

    proptest! {
        /// Breaks if for some graph a handler is lost, runs twice, or runs before what it depends on.
        #[test]
        fn an_order_holds_every_handler_once_and_every_dependency(
            specs in prop::collection::vec((0..3u8, -3..3i32, prop::collection::vec(0..12usize, 0..3)), 0..12)
        ) {
            let handlers: Vec<_> = specs.iter().enumerate().map(|(index, (phase, priority, after))| {
                let phase = [Early, Normal, Late][usize::from(*phase)];
                let after: Vec<_> = after.iter().filter(|&&other| other < specs.len()).map(usize::to_string).collect();
                Handler { name: index.to_string(), phase, priority: *priority, after }
            }).collect();
            match order(&handlers) {
                Ok(order) => {
                    let mut place = vec![usize::MAX; handlers.len()];
                    for (at, &index) in order.iter().enumerate() {
                        prop_assert_eq!(place[index], usize::MAX);
                        place[index] = at;
                    }
                    for (index, handler) in handlers.iter().enumerate() {
                        prop_assert_ne!(place[index], usize::MAX);
                        for other in &handler.after {
                            prop_assert!(place[other.parse::<usize>().unwrap()] < place[index]);
                        }
                    }
                    for pair in order.windows(2) {
                        prop_assert!(handlers[pair[0]].phase <= handlers[pair[1]].phase);
                    }
                }
                Err(OrderError::Cycle { members }) => {
                    prop_assert!(members.len() > 1 && members.first() == members.last());
                    for pair in members.windows(2) {
                        let waiting = handlers.iter().find(|handler| handler.name == pair[0]).unwrap();
                        prop_assert!(waiting.after.contains(&pair[1]));
                    }
                }
                Err(OrderError::LaterPhase { .. }) => {}
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
