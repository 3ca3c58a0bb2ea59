//! Buffers that are used again, for what is read in one go.
//!
//! A fresh buffer has to be asked for and cleared each time; a file is often smaller than what that costs. What is larger
//! than the largest class is not read in one go.

use crossbeam_utils::atomic::AtomicCell;
use std::ops::{Deref, DerefMut};

/// The largest buffer.
pub const BUFFER_BYTES_MAX: usize = CLASSES[CLASSES.len() - 1];

/// The sizes of buffers, in bytes.
const CLASSES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// How many idle buffers of a class are kept; with all of them 1.3 MiB.
const IDLE_MAX: usize = 16;

/// What a buffer holds. Behind a thin pointer, so that it changes hands in one step, without a lock.
struct Bytes(Box<[u8]>);

/// Idle buffers by size.
#[derive(Default)]
pub struct Buffers {
    idle: [[AtomicCell<Option<Box<Bytes>>>; IDLE_MAX]; CLASSES.len()],
}

impl Buffers {
    /// Creates an empty pool of buffers.
    pub const fn new() -> Buffers {
        Buffers { idle: [const { [const { AtomicCell::new(None) }; IDLE_MAX] }; CLASSES.len()] }
    }

    /// Hands out a buffer of `size_bytes`, with any content; `None` above [`BUFFER_BYTES_MAX`].
    pub fn take(&self, size_bytes: usize) -> Option<Buffer<'_>> {
        let class = CLASSES.iter().position(|class| *class >= size_bytes)?;
        let idle = self.idle[class].iter().find_map(AtomicCell::take);
        let bytes = idle.unwrap_or_else(|| Box::new(Bytes(vec![0; CLASSES[class]].into())));
        Some(Buffer { buffers: self, class, size_bytes, bytes: Some(bytes) })
    }
}

/// A buffer on loan; dropping it gives it back.
pub struct Buffer<'a> {
    buffers: &'a Buffers,
    class: usize,
    size_bytes: usize,
    /// Until it is dropped.
    bytes: Option<Box<Bytes>>,
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
        self.bytes.as_ref().map_or(&[], |bytes| &bytes.0[..self.size_bytes])
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut().map_or(&mut [], |bytes| &mut bytes.0[..self.size_bytes])
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut bytes = self.bytes.take();
        for place in &self.buffers.idle[self.class] {
            // What was there moves on to the next place; what comes to the end is freed.
            bytes = place.swap(bytes);
            if bytes.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

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
        let mut lent = [first.as_ptr(), second.as_ptr()];
        drop((first, second));
        let again = [buffers.take(1).unwrap(), buffers.take(2).unwrap()];
        assert_eq!(again.each_ref().map(|buffer| buffer.len()), [1, 2]);
        let mut lent_again = again.each_ref().map(|buffer| buffer.as_ptr());
        lent.sort();
        lent_again.sort();
        assert_eq!(lent_again, lent);
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
        assert!(buffers.idle[0].iter().all(|place| place.take().is_some()));
    }

    /// Breaks if two threads are lent one buffer at a time.
    #[test]
    fn threads_have_buffers_of_their_own() {
        let buffers = Buffers::new();
        thread::scope(|scope| {
            for mark in 0..4 {
                let buffers = &buffers;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let mut buffer = buffers.take(8).unwrap();
                        buffer.fill(mark);
                        assert_eq!(*buffer, [mark; 8]);
                    }
                });
            }
        });
    }
}
