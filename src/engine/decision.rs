//! Decisions: an event as the journal holds it, with what followed from it, and the replay that compares.
//!
//! A record's body is one [`Decision`] as JSON. State is a fold over the events alone; what was decided stands beside
//! them so that a replay can show that the same events still give the same decisions, or where they first do not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Effect, Engine, Event, Handled, Ignored, Millis};

/// The version of the records' bodies. A body of another version is not read.
pub const DECISION_VERSION: u64 = 1;
/// A field of an effect whose JSON is longer stands in the record as its size and digest.
const FIELD_BYTES_MAX: usize = 256;
/// The effects of one event whose JSON is longer stand in the record as their count, size and digest.
const EFFECTS_BYTES_MAX: usize = 32 * 1024;

/// An event that changed the state, with what the engine decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// [`DECISION_VERSION`].
    pub v: u64,
    pub at: Millis,
    pub event: Event,
    /// The effects in their order, abridged; the list of tasks is not among them, since it follows from the state.
    pub effects: Vec<Value>,
    /// The digest of the state after the last event of a batch; see [`Engine::digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Why a replay cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error(
        "record {sequence} is not an event of this version: {message}; install the version that wrote it"
    )]
    Unknown { sequence: u64, message: String },
    #[error("record {sequence} makes no sense where it stands ({why:?}); install the version that wrote it")]
    Ignored { sequence: u64, why: Ignored },
}

/// The first record on which another decision is made now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    pub sequence: u64,
    pub event: Event,
    /// What the journal says was decided, and what is decided now: effects from the first that differs on, or the
    /// digest of the state.
    pub decided: Value,
    pub replayed: Value,
}

impl ReplayError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "JOURNAL_EVENT_UNKNOWN",
            Self::Ignored { .. } => "JOURNAL_REPLAY_DIVERGED",
        }
    }
}

impl Engine {
    /// Takes an event as [`Engine::handle`] does, puts what has to be done behind `effects`, and gives the decision
    /// for the journal, or nothing when the event changed nothing.
    pub fn decide(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) -> Option<Decision> {
        let handled = self.handle(now, event.clone());
        let from = effects.len();
        effects.extend(self.effects.drain(..));
        match handled {
            Handled::Changed => Some(Decision {
                v: DECISION_VERSION,
                at: now,
                event,
                effects: abridged(&effects[from..]),
                state: None,
            }),
            Handled::Ignored(_) => None,
        }
    }

    /// BLAKE3 of the whole state's JSON, in hexadecimal. Two engines that were fed the same events have the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let state = serde_json::to_vec(self).expect("the state has string keys and no failing parts");
        blake3::hash(&state).to_hex().to_string()
    }

    /// Takes the event of a record again, and gives its decision with the effects that follow from it now.
    ///
    /// # Errors
    /// The body is not a decision of this version, or its event changes nothing where it stands.
    pub fn repeat_record(
        &mut self,
        sequence: u64,
        body: &[u8],
    ) -> Result<(Decision, Vec<Effect>), ReplayError> {
        let decision: Decision = serde_json::from_slice(body)
            .map_err(|error| ReplayError::Unknown { sequence, message: error.to_string() })?;
        if decision.v != DECISION_VERSION {
            let message = format!("its version is {}, and {DECISION_VERSION} is read", decision.v);
            return Err(ReplayError::Unknown { sequence, message });
        }
        match self.handle(decision.at, decision.event.clone()) {
            Handled::Changed => Ok((decision, self.effects.drain(..).collect())),
            Handled::Ignored(why) => Err(ReplayError::Ignored { sequence, why }),
        }
    }

    /// Holds what follows from a record's event now against what was decided then.
    #[must_use]
    pub fn compare(&self, sequence: u64, decision: &Decision, effects: &[Effect]) -> Option<Divergence> {
        let replayed = abridged(effects);
        let diverges = |decided: Value, replayed: Value| {
            Some(Divergence { sequence, event: decision.event.clone(), decided, replayed })
        };
        if replayed != decision.effects {
            let same = replayed.iter().zip(&decision.effects).take_while(|(now, then)| now == then).count();
            return diverges(json!(decision.effects[same..]), json!(replayed[same..]));
        }
        let state = decision.state.as_ref()?;
        let digest = self.digest();
        if digest == *state { None } else { diverges(json!({ "state": state }), json!({ "state": digest })) }
    }
}

/// The effects as the journal holds them: whole where they are short, as digests where they are long.
fn abridged(effects: &[Effect]) -> Vec<Value> {
    let effects: Vec<_> = effects.iter().map(abridge).collect();
    let text = json!(effects).to_string();
    if text.len() <= EFFECTS_BYTES_MAX {
        return effects;
    }
    let mut whole = digest_of(&text);
    whole["effects"] = json!(effects.len());
    vec![whole]
}

fn abridge(effect: &Effect) -> Value {
    let value = serde_json::to_value(effect).expect("effects have string keys and no failing parts");
    let Value::Object(fields) = value else { return value };
    let short = fields.into_iter().map(|(name, field)| {
        let text = field.to_string();
        (name, if text.len() <= FIELD_BYTES_MAX { field } else { digest_of(&text) })
    });
    Value::Object(short.collect::<Map<_, _>>())
}

fn digest_of(text: &str) -> Value {
    json!({ "bytes": text.len(), "blake3": blake3::hash(text.as_bytes()).to_hex().as_str() })
}
