//! What is compiled from a pattern, kept for the next call that asks for the same.
//!
//! One cache for the process, whatever is compiled: regular expressions, globs, syntax patterns. It is bounded by the
//! number of its entries; what takes much memory is not put there.

use parking_lot::Mutex;
use std::any::{Any, TypeId};
use std::sync::Arc;

/// How many compiled patterns are kept; the one that was not used for the longest time goes first.
const ENTRIES_MAX: usize = 64;

/// The longest key. What has a longer one is compiled each time.
pub(crate) const KEY_BYTES_MAX: usize = 4 * 1024;

struct Entry {
    kind: TypeId,
    key: String,
    compiled: Arc<dyn Any + Send + Sync>,
}

/// The entries, the one used last at the end.
static CACHE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Returns what `compile` makes, or what it made earlier for the same type and `key`, which must hold all that the
/// outcome depends on. Mistakes are not kept.
pub(crate) fn cached<T: Send + Sync + 'static, E>(
    key: &str,
    compile: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    let kind = TypeId::of::<T>();
    let found = {
        let mut entries = CACHE.lock();
        let place = entries.iter().rposition(|entry| entry.kind == kind && entry.key == key);
        place.map(|place| {
            let entry = entries.remove(place);
            let compiled = Arc::clone(&entry.compiled);
            entries.push(entry);
            compiled
        })
    };
    if let Some(compiled) = found.and_then(|compiled| compiled.downcast().ok()) {
        return Ok(compiled);
    }
    // Compiled without the lock: two calls may do it at once, and the later one stays.
    let compiled = Arc::new(compile()?);
    if key.len() <= KEY_BYTES_MAX {
        let mut entries = CACHE.lock();
        entries.retain(|entry| entry.kind != kind || entry.key != key);
        if entries.len() == ENTRIES_MAX {
            entries.remove(0);
        }
        entries.push(Entry { kind, key: key.to_owned(), compiled: Arc::clone(&compiled) as Arc<_> });
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    struct Number(usize);

    fn number(key: usize, value: usize) -> usize {
        cached(&format!("number {key}"), || Ok::<_, Infallible>(Number(value))).unwrap().0
    }

    /// Breaks if a pattern is compiled anew each time, if patterns are mixed up, or if the cache grows without bound.
    #[test]
    fn keeps_what_was_used_last() {
        assert_eq!((number(0, 1), number(0, 2)), (1, 1));
        for key in 1..ENTRIES_MAX {
            number(key, key);
            assert_eq!(number(0, 3), 1, "what is used stays");
        }
        for key in ENTRIES_MAX..3 * ENTRIES_MAX {
            number(key, key);
        }
        assert_eq!(number(0, 4), 4, "what is not used goes");
        assert!(CACHE.lock().len() <= ENTRIES_MAX);
        let other = cached("number 0", || Ok::<_, Infallible>(7_u8)).unwrap();
        assert_eq!((*other, number(0, 5)), (7, 4));
    }

    /// Breaks if a mistake is remembered, or a long key kept.
    #[test]
    fn mistakes_and_long_keys_are_not_kept() {
        assert_eq!(cached::<Number, _>("bad", || Err("a mistake")).err(), Some("a mistake"));
        assert!(cached("bad", || Ok::<_, &str>(Number(1))).is_ok());
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for value in 1..3 {
            assert_eq!(cached(&long, || Ok::<_, Infallible>(Number(value))).unwrap().0, value);
        }
    }
}
