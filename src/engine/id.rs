//! Identifiers. Each is its own type, so that two numbers or two names cannot be swapped.

use std::borrow::Borrow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number under which a caller waits for an [`Answer`](crate::Answer); chosen by the caller, unique while it waits.
pub type RequestId = u64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

number!(
    /// A mission's number, from 1 in each project; shown as `m1`.
    MissionId, "m"
);
number!(
    /// An attempt's number, from 1 in each project; shown as `a1`.
    AttemptId, "a"
);
number!(
    /// An effect's number, from 1 in each project; its outcome names it. Shown as `e1`.
    EffectId, "e"
);
name!(
    /// A task's name within its mission, chosen by the planner.
    TaskId
);
name!(
    /// The host's id of a session.
    SessionId
);
name!(
    /// A model of a provider, written `provider/model`.
    ModelId
);

impl ModelId {
    /// Reads `provider/model`; the model's own name may have further slashes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        let is_named = |name: &str| !name.is_empty() && name.trim() == name;
        (is_named(provider) && is_named(model) && text.len() <= 256).then(|| Self(text.to_owned()))
    }

    /// The provider's part.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(provider, _)| provider)
    }
}
