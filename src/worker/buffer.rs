//! Buffers that are used again, for what is read in one go.
//!
//! A fresh buffer has to be asked for and cleared each time; a file is often smaller than what that costs. What is larger
//! than the largest class is not read in one go.

use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest buffer.
pub const BUFFER_BYTES_MAX: usize = CLASSES[CLASSES.len() - 1];

/// The sizes of buffers, in bytes.
const CLASSES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// How many idle buffers of a class are kept; with all of them 1.3 MiB.
const IDLE_MAX: usize = 16;

/// How often buffers were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferCounters {
    /// Buffers that had been used before.
    pub reused: u64,
    /// Buffers that had to be made.
    pub fresh: u64,
}

/// Idle buffers by size.
pub struct Buffers {
    idle: [Mutex<Vec<Box<[u8]>>>; CLASSES.len()],
    reused: AtomicU64,
    fresh: AtomicU64,
}

impl Buffers {
    /// Creates an empty pool of buffers.
    pub const fn new() -> Buffers {
        Buffers {
            idle: [const { Mutex::new(Vec::new()) }; CLASSES.len()],
            reused: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
        }
    }

    /// Hands out a buffer of `size_bytes`, with any content; `None` above [`BUFFER_BYTES_MAX`].
    pub fn take(&self, size_bytes: usize) -> Option<Buffer<'_>> {
        let class = CLASSES.iter().position(|class| *class >= size_bytes)?;
        let idle = self.idle[class].lock().pop();
        let counter = if idle.is_some() { &self.reused } else { &self.fresh };
        counter.fetch_add(1, Ordering::Relaxed);
        let bytes = idle.unwrap_or_else(|| vec![0; CLASSES[class]].into_boxed_slice());
        Some(Buffer { buffers: self, class, size_bytes, bytes })
    }

    /// Returns how often buffers were asked for so far.
    pub fn counters(&self) -> BufferCounters {
        BufferCounters {
            reused: self.reused.load(Ordering::Relaxed),
            fresh: self.fresh.load(Ordering::Relaxed),
        }
    }
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers::new()
    }
}

/// A buffer on loan; dropping it gives it back.
pub struct Buffer<'a> {
    buffers: &'a Buffers,
    class: usize,
    size_bytes: usize,
    bytes: Box<[u8]>,
}

impl Buffer<'_> {
    /// Keeps its first `size_bytes` only.
    pub fn truncate(&mut self, size_bytes: usize) {
        self.size_bytes = self.size_bytes.min(size_bytes);
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.size_bytes]
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.size_bytes]
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut idle = self.buffers.idle[self.class].lock();
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if buffers are not used again, or one is lent twice at a time.
    #[test]
    fn a_buffer_given_back_is_lent_again() {
        let buffers = Buffers::new();
        let mut first = buffers.take(700).unwrap();
        first.fill(1);
        let mut second = buffers.take(1_024).unwrap();
        second.fill(2);
        assert!(first.len() == 700 && first.iter().all(|byte| *byte == 1));
        first.truncate(70);
        first.truncate(7_000);
        assert_eq!(first.len(), 70);
        drop((first, second));
        assert_eq!(buffers.take(1).unwrap().len(), 1);
        assert_eq!(buffers.counters(), BufferCounters { reused: 1, fresh: 2 });
    }

    /// Breaks if sizes and classes are mixed up, or memory is kept without bound.
    #[test]
    fn classes_have_bounds() {
        let buffers = Buffers::new();
        for (size_bytes, class) in [(0, 0), (1_024, 0), (1_025, 1), (4_097, 2), (65_536, 3)] {
            let buffer = buffers.take(size_bytes).unwrap();
            assert_eq!((buffer.len(), buffer.class), (size_bytes, class));
        }
        assert!(buffers.take(BUFFER_BYTES_MAX + 1).is_none());
        drop((0..100).map(|_| buffers.take(1).unwrap()).collect::<Vec<_>>());
        assert_eq!(buffers.idle[0].lock().len(), IDLE_MAX);
    }
}
