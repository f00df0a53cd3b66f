//! Locks and waits that a panicking thread does not poison for the others.

#![forbid(unsafe_code)]

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks `mutex`, even if a thread panicked while it held the lock: every critical section
/// in this project keeps its data consistent at each step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification on `condvar`.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification on `condvar`, at most for `limit`. The notification may be
/// spurious: the caller checks its own condition and clock.
pub fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits on `condvar` until `done` is true of the data or `deadline` has passed. The caller
/// checks the data to learn which of the two it was.
pub fn wait_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Instant,
    mut done: impl FnMut(&T) -> bool,
) -> MutexGuard<'a, T> {
    while !done(&guard) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        guard = wait_for(condvar, guard, left);
    }
    guard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_condition_holds() {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    *lock(&mutex) += 1;
                    condvar.notify_all();
                }
            });
            let deadline = Instant::now() + Duration::from_secs(600);
            assert_eq!(*wait_until(&condvar, lock(&mutex), deadline, |count| *count == 3), 3);
        });
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let deadline = Instant::now() + Duration::from_millis(5);
        drop(wait_until(&condvar, lock(&mutex), deadline, |()| false));
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_lock_is_usable_after_a_thread_panicked_with_it() {
        let mutex = Mutex::new(7);
        std::thread::scope(|scope| {
            let died = scope.spawn(|| {
                let _guard = lock(&mutex);
                panic!("on purpose");
            });
            assert!(died.join().is_err());
        });
        assert_eq!(*lock(&mutex), 7);
    }
}
