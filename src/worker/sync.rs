//! What the pool's protocols are made of: the system's primitives, or, with `--cfg loom`, loom's, with which tests try
//! every order in which threads may take their steps.

#[cfg(loom)]
pub(crate) use {
    loom::sync::atomic::{AtomicBool, AtomicUsize, fence},
    model::{Condvar, Mutex},
};
#[cfg(not(loom))]
pub(crate) use {
    parking_lot::{Condvar, Mutex},
    std::sync::atomic::{AtomicBool, AtomicUsize, fence},
};

/// Loom's locks with the methods of `parking_lot`.
#[cfg(loom)]
mod model {
    use std::ops::{Deref, DerefMut};

    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) struct Guard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    #[derive(Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(self.0.lock().expect("no thread of a model panics")))
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("held but while it waits")
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("held but while it waits")
        }
    }

    impl Condvar {
        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let held = guard.0.take().expect("held but while it waits");
            guard.0 = Some(self.0.wait(held).expect("no thread of a model panics"));
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
