//! The virtual disk: what survives the process, and how writing it fails.

use orchestrator_engine::{Decision, Divergence, Engine};

/// What a journal promises, with the failures it may show: a batch is there whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The bodies of the records that are durable.
    pub(crate) records: Vec<String>,
    /// Appends that still find the disk full.
    pub(crate) full: u32,
}

/// How an append goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Sound,
    /// It fails, and nothing is written.
    Fails,
    /// It fails, and the batch is there when the journal is opened again.
    InDoubt,
}

impl Disk {
    /// Appends a batch. Gives whether it was acknowledged.
    pub(crate) fn append(&mut self, batch: &[Decision], write: Write) -> bool {
        let write = if self.full > 0 { Write::Fails } else { write };
        self.full = self.full.saturating_sub(1);
        if write != Write::Fails {
            self.records.extend(batch.iter().map(|decision| serde_json::to_string(decision).unwrap()));
        }
        write == Write::Sound
    }

    /// Builds an engine from what is durable, and holds each decision against what is decided now.
    pub(crate) fn replay(&self) -> Engine {
        let mut engine = Engine::default();
        for (sequence, body) in (1..).zip(&self.records) {
            let (decision, effects) =
                engine.repeat_record(sequence, body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
            let divergence: Option<Divergence> = engine.compare(sequence, &decision, &effects);
            assert!(divergence.is_none(), "the replay decides otherwise: {divergence:#?}");
        }
        engine.discard_effects();
        engine.take_dirty();
        engine
    }
}
