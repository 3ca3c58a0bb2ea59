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

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicUsize, Ordering, fence};

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
