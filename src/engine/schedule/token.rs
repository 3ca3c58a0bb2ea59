//! Tokens: the right of one attempt to run.

use serde::Serialize;

use crate::question::Role;
use crate::{Millis, ModelId};

/// One of a lane's slots, by its number within the lane, from 0. Attempts whose home it is form its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Slot {
    pub lane: Role,
    pub index: u64,
}

/// The right of one attempt to run: its slot, its share of every cap, its probe of a circuit and its time to live.
///
/// It is made by the scheduler alone, cannot be copied, and lives in the attempt that it was granted to. Nothing counts
/// tokens: what is held is read off the attempts that hold one. So whatever ends or requeues the attempt releases all of
/// it, and nothing can release it twice.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub(super) slot: Slot,
    pub(super) granted: Millis,
    pub(super) model: Option<ModelId>,
    pub(super) is_probe: bool,
}

impl Token {
    /// The slot, which may belong to another role's lane.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// When it was granted; the attempt's time to live counts from then.
    #[must_use]
    pub fn granted(&self) -> Millis {
        self.granted
    }

    /// Whether the session tries a model that has failed.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The model that the session speaks with, as far as it is known.
    #[must_use]
    pub fn model(&self) -> Option<&ModelId> {
        self.model.as_ref()
    }
}
