//! Lets idle workers sleep without missing work.
//!
//! A producer publishes work, then calls [`Sleep::wake_one`]. A consumer that found nothing calls
//! [`Sleep::park_unless`], which looks once more before it sleeps. No wake-up is lost:
//!
//! - The producer runs *publish; fence; read `sleepers`*. The consumer runs *raise `sleepers`; fence; look for work*.
//!   Both fences are sequentially consistent, so one comes first. If the consumer's does, the producer reads a raised
//!   count and notifies. If the producer's does, the consumer's look finds the work.
//! - The notification cannot fall between the consumer's look and its sleep: the consumer holds `lock` from before it
//!   raises `sleepers` until the condition variable releases it, and the producer notifies under `lock`.

use crate::sync::{AtomicUsize, Condvar, Mutex, fence};
use std::sync::atomic::Ordering;

/// Where idle workers of one pool sleep.
#[derive(Default)]
pub(crate) struct Sleep {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Sleep {
    /// Sleeps until woken, or returns at once when `has_work` says so. May also return without a cause.
    pub(crate) fn park_unless(&self, has_work: impl Fn() -> bool) {
        let mut guard = self.lock.lock();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_work() {
            self.wake.wait(&mut guard);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes one sleeping worker, if there is one; call it after publishing work.
    pub(crate) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock();
            self.wake.notify_one();
        }
    }

    /// Wakes every sleeping worker; call it after publishing that the pool closes.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        let _guard = self.lock.lock();
        self.wake.notify_all();
    }
}

#[cfg(test)]
#[cfg(loom)]
mod tests {
    use super::*;
    use crate::sync::AtomicBool;
    use loom::thread;
    use std::sync::Arc;

    /// Breaks if a wake-up is lost: then the consumer sleeps for ever, which loom reports as a deadlock.
    #[test]
    fn what_is_published_before_a_wake_up_is_found() {
        loom::model(|| {
            let sleep = Arc::new(Sleep::default());
            let work = Arc::new(AtomicUsize::new(0));
            let (inner, published) = (Arc::clone(&sleep), Arc::clone(&work));
            let consumer = thread::spawn(move || {
                let mut taken = 0;
                while taken < 2 {
                    match published.swap(0, Ordering::SeqCst) {
                        0 => inner.park_unless(|| published.load(Ordering::SeqCst) > 0),
                        found => taken += found,
                    }
                }
            });
            for _ in 0..2 {
                work.fetch_add(1, Ordering::SeqCst);
                sleep.wake_one();
            }
            consumer.join().expect("the consumer ends");
        });
    }

    /// Breaks if a worker sleeps through the end of its pool.
    #[test]
    fn every_sleeper_sees_the_end() {
        loom::model(|| {
            let sleep = Arc::new(Sleep::default());
            let closed = Arc::new(AtomicBool::new(false));
            let sleepers: Vec<_> = (0..2)
                .map(|_| {
                    let (sleep, closed) = (Arc::clone(&sleep), Arc::clone(&closed));
                    thread::spawn(move || {
                        while !closed.load(Ordering::SeqCst) {
                            sleep.park_unless(|| closed.load(Ordering::SeqCst));
                        }
                    })
                })
                .collect();
            closed.store(true, Ordering::SeqCst);
            sleep.wake_all();
            for sleeper in sleepers {
                sleeper.join().expect("a sleeper ends");
            }
        });
    }
}
