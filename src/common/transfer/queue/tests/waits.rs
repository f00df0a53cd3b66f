//! What ends a wait, which claims are late, and which claims are counted.

#![forbid(unsafe_code)]

use super::*;
use std::sync::mpsc;
use std::thread;

/// The limit of a wait that an event ends much earlier.
const LONG: Duration = Duration::from_secs(60);

/// The limit of a wait that no event ends.
const SHORT: Duration = Duration::from_millis(20);

/// How long `wait` takes, and what it returns.
fn timed<T>(wait: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let answer = wait();
    (begun.elapsed(), answer)
}

#[test]
fn a_change_that_has_happened_ends_the_wait_at_once() {
    let queue = queue(10);
    let version = queue.version();
    queue.release(0);
    assert!(timed(|| queue.wait_for_change(version, Some(LONG))).0 < LONG);
}

#[test]
fn without_a_change_the_limit_ends_the_wait() {
    let queue = queue(10);
    assert!(timed(|| queue.wait_for_change(queue.version(), Some(SHORT))).0 >= SHORT);
}

#[test]
fn a_wait_for_the_end_ends_at_the_limit_or_the_end() {
    let queue = queue(10);
    let (time, over) = timed(|| queue.wait_for_end(SHORT));
    assert!(time >= SHORT && !over);
    queue.abort();
    let (time, over) = timed(|| queue.wait_for_end(LONG));
    assert!(time < LONG && over);
}

#[test]
fn a_wait_for_done_bytes_ends_with_them_at_the_limit_or_the_end() {
    let queue = queue(30);
    claim(&queue, 0);
    deliver(&queue, 0);
    let (time, found) = timed(|| queue.wait_for_done(10, LONG));
    assert!(time < LONG && found == (10, false), "{found:?}");
    let (time, found) = timed(|| queue.wait_for_done(11, SHORT));
    assert!(time >= SHORT && found == (10, false), "{found:?}");
    queue.abort();
    let (time, found) = timed(|| queue.wait_for_done(11, LONG));
    assert!(time < LONG && found == (10, true), "{found:?}");
}

#[test]
fn the_wanted_number_of_done_bytes_wakes_the_waiter() {
    let queue = queue(30);
    claim(&queue, 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| timed(|| queue.wait_for_done(10, LONG)));
        while lock(&queue.state).wanted != 10 {
            thread::yield_now();
        }
        deliver(&queue, 0);
        let (time, found) = waiter.join().unwrap();
        assert!(time < LONG && found == (10, false), "{found:?}");
    });
}

#[test]
fn a_follower_hears_of_every_step_of_the_prefix() {
    let queue = &queue(1000);
    let (heard, hears) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut known = 0;
            // The queue may be complete before the follower has heard of the last step.
            while known < 1000 && queue.end() != Some(End::Aborted) {
                known = queue.wait_for_prefix(known);
                let _ = heard.send(known);
            }
        });
        for step in 1..=100 {
            claim(queue, 0);
            deliver(queue, 0);
            let prefix = hears.recv_timeout(LONG);
            if prefix.is_err() {
                queue.abort(); // else the scope waits for the follower
            }
            assert_eq!(prefix, Ok(step * 10));
        }
    });
}

#[test]
fn a_follower_that_moves_less_than_a_step_wakes_no_stream() {
    let queue = Queue::new(8 << 20, 1 << 20, &RangeSet::new());
    queue.followed(LAG_STEP);
    let version = queue.version();
    queue.followed(2 * LAG_STEP - 1);
    assert_eq!(queue.version(), version);
}

#[test]
fn a_small_range_of_an_earlier_run_wakes_no_stream() {
    let mut held = RangeSet::new();
    held.insert(0..10);
    let queue = Queue::new(30, 10, &held);
    let version = queue.version();
    queue.checked(0..10, true, false);
    assert_eq!(queue.version(), version);
}

#[test]
fn an_idle_stream_takes_fresh_work_before_late_work() {
    let queue = queue(100);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 1, true), Claim::Range(10..20));
}

#[test]
fn each_copy_is_counted_with_its_bytes() {
    let queue = queue(20);
    claim(&queue, 0);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 1, true), Claim::Copy(0..10));
    assert_eq!(claim_late(&queue, 1, true), Claim::Copy(10..20));
    let progress = queue.progress();
    assert_eq!((progress.asked_again, progress.repeats), (20, 2));
}

#[test]
fn a_claim_of_a_released_stream_is_counted_unless_its_bytes_have_come() {
    let queue = queue(20);
    claim(&queue, 0);
    claim(&queue, 1);
    queue.release(0);
    assert_eq!(queue.progress().repeats, 1);
    assert_eq!(queue.take(1, 10..20), [10..20]);
    queue.reject(1, 10..20); // these bytes are being written: nothing has to be asked for
    assert_eq!(queue.progress().repeats, 1);
}

#[test]
fn the_first_claim_that_will_be_late_ends_the_wait() {
    let queue = queue(80);
    let begun = Instant::now();
    let ms = Duration::from_millis(1);
    for stream in 0..8 {
        queue.claim_at(stream, false, Duration::ZERO, begun + ms * stream as u32);
    }
    let found = queue.claim_at(8, true, Duration::ZERO, begun + ms * 10);
    assert_eq!(found, Claim::Later(Some(LEAST_PATIENCE - ms * 10)));
}

#[test]
fn a_stream_may_owe_a_copy_of_the_range_behind_its_own() {
    let queue = queue(20);
    claim(&queue, 1);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 1, true), Claim::Copy(10..20));
}
