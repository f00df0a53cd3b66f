//! Locks and waits that ignore poison: a thread that panics does not stop the others.

#![forbid(unsafe_code)]

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks `mutex`, even if a thread panicked while it held the lock: every critical section in
/// this project keeps its data consistent at each step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification on `condvar`.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification on `condvar`, at most for `limit`. The caller checks its own
/// condition and clock to learn which of the two it was.
pub fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits until `done` is true of the guarded value, or until `deadline`. Every change of the
/// value must notify `condvar`. The caller checks the value to learn which of the two it was.
pub fn wait_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Instant,
    done: impl Fn(&T) -> bool,
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

    const LONG: Duration = Duration::from_secs(1000);

    #[test]
    fn a_wait_ends_when_its_condition_holds() {
        let (number, changed) = (Mutex::new(0), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    *lock(&number) += 1;
                    changed.notify_all();
                }
            });
            let guard = wait_until(&changed, lock(&number), Instant::now() + LONG, |n| *n == 3);
            assert_eq!(*guard, 3);
        });
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (number, changed) = (Mutex::new(0), Condvar::new());
        let guard = wait_until(&changed, lock(&number), Instant::now(), |n| *n == 3);
        assert_eq!(*guard, 0);
    }
}
