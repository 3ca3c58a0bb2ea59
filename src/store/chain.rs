//! The hash chain: how a record is bound to its place, its content and everything before it.

use std::fmt;
use std::str::FromStr;

use crate::StoreError;

/// A BLAKE3 hash of 32 bytes, shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `bytes` as they are, without a domain tag.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    pub(crate) fn of_hasher(hasher: &blake3::Hasher) -> Digest {
        Digest(*hasher.finalize().as_bytes())
    }

    /// Returns `None` unless there are exactly 32 bytes.
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = MalformedDigest;

    fn from_str(text: &str) -> Result<Digest, MalformedDigest> {
        let hash = blake3::Hash::from_hex(text).map_err(|source| MalformedDigest { source })?;
        Ok(Digest(*hash.as_bytes()))
    }
}

/// The text is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("not a digest: 64 hexadecimal digits are expected")]
pub struct MalformedDigest {
    source: blake3::HexError,
}

/// The end of a chain: the last record's sequence number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Counts records: 0 before the first one, then the last one's number.
    pub sequence: u64,
    pub hash: Digest,
}

impl Head {
    /// What the first record follows: number 0 and 32 zero bytes, the same for every journal, so that the same
    /// events give the same chain.
    pub const GENESIS: Head = Head { sequence: 0, hash: Digest([0; 32]) };
}

/// One event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 1 for the first record, and one more for each that follows.
    pub sequence: u64,
    /// The hash of the record before, or [`Head::GENESIS`]'s.
    pub previous: Digest,
    /// Covers the three other fields.
    pub hash: Digest,
    /// JSON text, byte for byte as the caller appended it.
    pub body: Vec<u8>,
}

impl Record {
    /// The end of the chain when this is its last record.
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }

    /// Checks that this record stands directly behind `head` and that its hash is that of its content.
    ///
    /// # Errors
    ///
    /// `SequenceGap`, `PreviousMismatch` or `HashMismatch`, in this order.
    pub(crate) fn verify_after(&self, head: Head) -> Result<(), StoreError> {
        let sequence = self.sequence;
        if sequence != head.sequence + 1 {
            return Err(StoreError::SequenceGap { expected: head.sequence + 1, found: sequence });
        }
        if self.previous != head.hash {
            return Err(StoreError::PreviousMismatch { sequence, expected: head.hash, found: self.previous });
        }
        let expected = record_hash(head, &self.body);
        if self.hash != expected {
            return Err(StoreError::HashMismatch { sequence, expected, found: self.hash });
        }
        Ok(())
    }
}

/// Hashes the canonical bytes of the record with this `body` behind `previous`; `docs/journal.md` shows them.
///
/// Every field before the body has a fixed width and the body's length is stated, so two different records never
/// have the same canonical bytes.
pub(crate) fn record_hash(previous: Head, body: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    hasher.update(&(previous.sequence + 1).to_le_bytes());
    hasher.update(previous.hash.as_bytes());
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(body);
    Digest::of_hasher(&hasher)
}

/// Names what is hashed and in which version of the format, so that no other hash can pass for a record's.
const DOMAIN: &[u8; 32] = b"opencode-orchestrator/journal/v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(head: Head, body: &[u8]) -> Record {
        Record {
            sequence: head.sequence + 1,
            previous: head.hash,
            hash: record_hash(head, body),
            body: body.to_vec(),
        }
    }

    #[test]
    fn example_of_the_format_document() {
        // Breaks when the canonical bytes change without a new format version: old journals would not verify.
        // The expected values come from another implementation of BLAKE3 (the document's script in Python).
        let document = include_str!("../../docs/journal.md");
        let first = record(Head::GENESIS, br#"{"type":"mission_started"}"#);
        let second = record(first.head(), br#"{"type":"mission_sealed"}"#);
        let expected = [
            (first.hash, "3e210e22ca71e709bcdc2cb7202aaf96ac150ed0a5f1075a908478c2fb5ddd94"),
            (second.hash, "781bba9053523bb020f79eae44027b283a8b9391514de7c09db2d65982d3a438"),
        ];
        for (hash, text) in expected {
            assert_eq!(hash.to_string(), text);
            assert!(document.contains(text), "docs/journal.md does not show {text}");
        }
    }

    #[test]
    fn digest_reads_what_it_shows() {
        // Breaks when a caller cannot keep a digest as text.
        let digest = Digest::of(b"text");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66)] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was taken for a digest");
        }
    }

    #[test]
    fn a_record_is_bound_to_its_place() {
        // Breaks when a record could be moved, relinked or altered without its check failing.
        let first = record(Head::GENESIS, b"1");
        let second = record(first.head(), b"2");
        assert!(second.verify_after(first.head()).is_ok());

        let check = |record: Record, code| {
            assert_eq!(record.verify_after(first.head()).unwrap_err().code(), code);
        };
        check(first.clone(), "JOURNAL_SEQUENCE_GAP");
        check(Record { sequence: 3, ..second.clone() }, "JOURNAL_SEQUENCE_GAP");
        check(Record { previous: Digest::of(b"x"), ..second.clone() }, "JOURNAL_PREVIOUS_MISMATCH");
        check(Record { hash: Digest::of(b"x"), ..second.clone() }, "JOURNAL_HASH_MISMATCH");
        check(Record { body: b"3".to_vec(), ..second.clone() }, "JOURNAL_HASH_MISMATCH");
        check(Record { body: b"2 ".to_vec(), ..second }, "JOURNAL_HASH_MISMATCH");
    }
}
