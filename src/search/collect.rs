//! Keeps the first results of a search whose files come in any order.
//!
//! Files are searched in parallel, yet an answer must be the same each time. So the first `count_max` results are those
//! that come first by key, not those found first: what sorts behind a full set of results is dropped, and files that
//! could only add such results need not be searched at all.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// The results of one file, and their size in the answer.
struct Entry<T> {
    items: Vec<T>,
    size_bytes: usize,
}

struct Kept<K, T> {
    entries: BTreeMap<K, Entry<T>>,
    count: usize,
    size_bytes: usize,
}

/// The results so far, by key, which is unique to a file.
///
/// Invariant: if more was offered than the limits allow, then what is kept exceeds them too, by at most one entry.
pub(crate) struct Collector<K, T> {
    count_max: usize,
    size_bytes_max: usize,
    /// Whether the limits were exceeded. Stays so, as what is dropped is only what is not needed for that.
    is_full: AtomicBool,
    kept: Mutex<Kept<K, T>>,
}

/// What a collector kept, in order.
pub(crate) struct Collected<T> {
    /// At most `count_max` items of at most `size_bytes_max`, but one at least if there is one.
    pub(crate) items: Vec<T>,
    /// Whether more than `count_max` items were found.
    pub(crate) over_count: bool,
    /// Whether the items were larger than `size_bytes_max`.
    pub(crate) over_size: bool,
}

impl<K: Ord, T> Collector<K, T> {
    pub(crate) fn new(count_max: usize, size_bytes_max: usize) -> Collector<K, T> {
        let kept = Mutex::new(Kept { entries: BTreeMap::new(), count: 0, size_bytes: 0 });
        Collector { count_max, size_bytes_max, is_full: AtomicBool::new(false), kept }
    }

    /// Takes the results of one file, in their order; drops what can no longer be among the first.
    pub(crate) fn offer(&self, key: K, items: Vec<T>, size_bytes: usize) {
        if items.is_empty() {
            return;
        }
        let mut kept = self.kept.lock();
        kept.count += items.len();
        kept.size_bytes += size_bytes;
        kept.entries.insert(key, Entry { items, size_bytes });
        if self.is_over(kept.count, kept.size_bytes) {
            // Who reads it takes the lock afterwards; who misses it searches a file in vain.
            self.is_full.store(true, Ordering::Relaxed);
        }
        while let Some((_, last)) = kept.entries.last_key_value() {
            let (count, size_bytes) = (kept.count - last.items.len(), kept.size_bytes - last.size_bytes);
            if !self.is_over(count, size_bytes) {
                break;
            }
            kept.entries.pop_last();
            (kept.count, kept.size_bytes) = (count, size_bytes);
        }
    }

    /// Returns whether results under a key for which `comes_after` the last one kept says no could still count.
    pub(crate) fn is_open_to(&self, comes_after: impl Fn(&K) -> bool) -> bool {
        if !self.is_full.load(Ordering::Relaxed) {
            return true;
        }
        let kept = self.kept.lock();
        match kept.entries.last_key_value() {
            Some((last, _)) => !(self.is_over(kept.count, kept.size_bytes) && comes_after(last)),
            None => true,
        }
    }

    /// Hands out what was kept, as `items_of` makes it of each file's key and results. `same_place` says of two neighbours
    /// that no cursor can stand between them; such items stay together, so that an answer may have a few more than
    /// `count_max`.
    pub(crate) fn finish<U, I: IntoIterator<Item = U>>(
        &self,
        items_of: impl Fn(K, Vec<T>) -> I,
        size_of: impl Fn(&U) -> usize,
        same_place: impl Fn(&U, &U) -> bool,
    ) -> Collected<U> {
        let kept = std::mem::replace(
            &mut *self.kept.lock(),
            Kept { entries: BTreeMap::new(), count: 0, size_bytes: 0 },
        );
        let mut collected = Collected { items: Vec::new(), over_count: false, over_size: false };
        let mut size_bytes = 0;
        for item in kept.entries.into_iter().flat_map(|(key, entry)| items_of(key, entry.items)) {
            size_bytes += size_of(&item);
            if let Some(last) = collected.items.last()
                && !same_place(last, &item)
            {
                collected.over_count = collected.items.len() >= self.count_max;
                collected.over_size = size_bytes > self.size_bytes_max;
                if collected.over_count || collected.over_size {
                    break;
                }
            }
            collected.items.push(item);
        }
        collected
    }

    fn is_over(&self, count: usize, size_bytes: usize) -> bool {
        // One item is given however large, so it alone does not make the rest superfluous.
        count > self.count_max || (count > 1 && size_bytes > self.size_bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(collector: &Collector<u32, u32>) -> (Vec<u32>, bool, bool) {
        let Collected { items, over_count, over_size } =
            collector.finish(|_, items| items, |_| 10, |_, _| false);
        (items, over_count, over_size)
    }

    /// Breaks if the order in which files are searched shows in the answer.
    #[test]
    fn keeps_the_first_by_key_whatever_comes_first() {
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
            let collector = Collector::new(3, 1_000);
            for key in order {
                collector.offer(key, vec![key * 10, key * 10 + 1], 20);
            }
            assert_eq!(finish(&collector), (vec![10, 11, 20], true, false), "{order:?}");
        }
    }

    /// Breaks if an answer that is exactly full counts as cut, or one that is larger does not.
    #[test]
    fn says_which_limit_was_met() {
        for (count_max, size_bytes_max, expected) in [
            (3, 30, (vec![1, 2, 3], false, false)),
            (2, 30, (vec![1, 2], true, false)),
            (3, 29, (vec![1, 2], false, true)),
            (3, 5, (vec![1], false, true)),
        ] {
            let collector = Collector::new(count_max, size_bytes_max);
            for key in [2, 1, 3] {
                collector.offer(key, vec![key], 10);
            }
            assert_eq!(finish(&collector), expected);
        }
    }

    /// Breaks if a file that could still count is passed over, or one that cannot is searched.
    #[test]
    fn is_closed_only_to_what_sorts_behind_a_full_answer() {
        let collector = Collector::new(1, 1_000);
        collector.offer(5, vec![50], 10);
        assert!(collector.is_open_to(|last| 9 > *last), "one more tells that there is more");
        collector.offer(4, vec![40], 10);
        assert!(!collector.is_open_to(|last| 9 > *last));
        assert!(collector.is_open_to(|last| 3 > *last));
    }

    /// Breaks if a cut falls where no cursor can stand.
    #[test]
    fn keeps_items_of_one_place_together() {
        let collector = Collector::new(1, 1_000);
        collector.offer(1, vec![7, 7, 8], 30);
        let collected = collector.finish(|_, items| items, |_| 10, |a, b| a == b);
        assert_eq!((collected.items, collected.over_count), (vec![7, 7], true));
    }
}
