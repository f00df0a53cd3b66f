//! The queue's promises: each byte is written once, a broken stream loses nothing, and no
//! stream waits for the slowest.
#![allow(clippy::single_range_in_vec_init)] // a list that has one range in it

mod lag;
mod waits;

use super::*;
use crate::testing::Random;

const LEAST_PATIENCE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

const ANSWER_TIME: Duration = Duration::from_secs(1000);

fn queue(size: u64) -> Queue {
    Queue::new(size, 10, &RangeSet::new())
}

fn claim(queue: &Queue, stream: StreamId) -> Range<u64> {
    match queue.claim(stream, false, ANSWER_TIME) {
        Claim::Range(range) => range,
        other => panic!("{other:?}"),
    }
}

/// The answer to `stream` when everything that others owe is late.
fn claim_late(queue: &Queue, stream: StreamId, idle: bool) -> Claim {
    queue.claim_at(stream, idle, Duration::ZERO, Instant::now() + LEAST_PATIENCE * 2)
}

/// `stream` brings its oldest claim whole, and the bytes are written.
fn deliver(queue: &Queue, stream: StreamId) {
    let range = queue.oldest(stream).unwrap();
    for part in queue.take(stream, range) {
        queue.finish(part, false);
    }
}

#[test]
fn the_end_of_a_file_of_unknown_size_cuts_what_is_owed_and_asked_for() {
    let queue = Queue::new(1 << 60, 100, &RangeSet::new()).with_room(1000);
    let claim = |stream| queue.claim(stream, false, Duration::from_secs(1));
    assert_eq!((claim(0), claim(1)), (Claim::Range(0..100), Claim::Range(100..200)));
    assert_eq!(claim(1), Claim::Range(200..300));
    assert!(queue.ends_at(150) && queue.ends_at(150));
    assert_eq!((queue.size(), queue.oldest(1)), (150, Some(100..150)));
    assert!(!queue.ends_at(0) || queue.size() == 0);
    let queue = Queue::new(1 << 60, 100, &RangeSet::new()).with_room(1000);
    queue.claim(0, false, Duration::from_secs(1));
    for part in queue.take(0, 0..100) {
        queue.finish(part, false);
    }
    assert!(!queue.ends_at(99));
    assert_eq!(queue.end(), None);
    assert!(queue.ends_at(100));
    assert_eq!(queue.end(), Some(End::Complete));
}

#[test]
fn claims_come_in_file_order_and_in_pieces() {
    let queue = queue(25);
    assert_eq!([claim(&queue, 0), claim(&queue, 1), claim(&queue, 0)], [0..10, 10..20, 20..25]);
    assert_eq!(queue.claim(0, false, ANSWER_TIME), Claim::Later(None));
}

#[test]
fn aligned_claims_end_at_multiples_of_the_piece() {
    let mut held = RangeSet::new();
    held.insert(0..13);
    let queue = Queue::new(35, 10, &held).with_aligned_pieces();
    assert_eq!([claim(&queue, 0), claim(&queue, 0)], [13..20, 20..30]);
    queue.take(0, 13..17);
    queue.release(0);
    assert_eq!([claim(&queue, 1), claim(&queue, 1)], [17..20, 20..30]);
}

#[test]
fn nobody_else_writes_a_range_that_is_locked() {
    let queue = queue(10);
    assert_eq!(claim(&queue, 0), 0..10);
    assert!(queue.lock(&(0..10)));
    assert_eq!(queue.take(1, 0..10), []);
    queue.unlock(&(0..10));
    assert_eq!(queue.take(0, 0..10), [0..10]);
}

#[test]
fn a_range_of_which_others_have_brought_some_is_not_locked() {
    let queue = queue(10);
    assert_eq!(claim(&queue, 0), 0..10);
    assert_eq!(queue.take(1, 0..5), [0..5]);
    assert!(!queue.lock(&(0..10)));
    queue.finish(0..5, false);
    assert!(!queue.lock(&(0..10)));
}

#[test]
fn an_empty_file_is_complete_at_once() {
    assert_eq!(queue(0).end(), Some(End::Complete));
    assert_eq!(queue(0).claim(0, true, ANSWER_TIME), Claim::Over);
}

#[test]
fn the_end_comes_with_the_last_byte() {
    let queue = queue(15);
    claim(&queue, 0);
    claim(&queue, 0);
    deliver(&queue, 0);
    assert_eq!(queue.end(), None);
    deliver(&queue, 0);
    assert_eq!(queue.end(), Some(End::Complete));
}

#[test]
fn the_range_that_a_broken_stream_owed_is_claimed_first() {
    let queue = queue(100);
    claim(&queue, 0);
    claim(&queue, 1);
    let half = queue.take(0, 0..4);
    assert_eq!(half, [0..4]);
    queue.finish(0..4, false);
    queue.release(0);
    assert_eq!([claim(&queue, 1), claim(&queue, 1)], [4..10, 20..30]);
}

#[test]
fn a_damaged_part_is_claimed_again() {
    let queue = queue(100);
    claim(&queue, 0);
    queue.reject(0, 0..5);
    assert_eq!(queue.oldest(0), Some(5..10));
    assert_eq!(claim(&queue, 1), 0..5);
}

#[test]
fn an_idle_stream_claims_a_late_range_again() {
    let queue = queue(10);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 1, true), Claim::Copy(0..10));
    assert_eq!(queue.progress().asked_again, 10);
}

#[test]
fn a_range_that_is_not_late_is_not_claimed_again() {
    let queue = queue(10);
    claim(&queue, 0);
    match queue.claim(1, true, ANSWER_TIME) {
        Claim::Later(Some(delay)) => assert!(delay <= ANSWER_TIME * 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_does_not_claim_its_own_range_again() {
    let queue = queue(10);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 0, true), Claim::Later(None));
}

#[test]
fn no_more_streams_than_the_most_owe_a_range() {
    let queue = queue(10);
    claim(&queue, 0);
    for stream in 1..MAX_COPIES {
        assert_eq!(claim_late(&queue, stream, true), Claim::Copy(0..10));
    }
    assert_eq!(claim_late(&queue, MAX_COPIES, true), Claim::Later(None));
}

#[test]
fn a_busy_stream_takes_fresh_work_before_late_work() {
    let queue = queue(100);
    claim(&queue, 0);
    assert_eq!(claim_late(&queue, 1, false), Claim::Range(10..20));
}

#[test]
fn a_range_that_holds_the_prefix_back_is_claimed_again_before_fresh_work() {
    let piece = 1 << 20;
    let queue = Queue::new(10 * HOLD_BACK, piece, &RangeSet::new());
    claim(&queue, 0);
    while queue.progress().done <= HOLD_BACK {
        assert_ne!(claim(&queue, 1).start, 0);
        deliver(&queue, 1);
    }
    assert_eq!(claim_late(&queue, 1, false), Claim::Copy(0..u64::from(piece)));
}

#[test]
fn a_late_range_that_does_not_hold_the_prefix_back_is_not_claimed_before_fresh_work() {
    let piece = 1 << 20;
    let mut held = RangeSet::new();
    held.insert(0..u64::from(piece));
    let queue = Queue::new(10 * HOLD_BACK, piece, &held);
    claim(&queue, 0);
    while queue.progress().done <= HOLD_BACK {
        claim(&queue, 1);
        deliver(&queue, 1);
    }
    match claim_late(&queue, 1, false) {
        Claim::Range(range) => assert!(range.start > HOLD_BACK, "{range:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_second_copy_of_a_range_is_not_written() {
    let queue = queue(10);
    claim(&queue, 0);
    claim_late(&queue, 1, true);
    assert_eq!(queue.take(1, 0..10), [0..10]);
    assert!(queue.take(0, 0..10).is_empty(), "while the first is being written");
    queue.finish(0..10, false);
    assert_eq!(queue.end(), Some(End::Complete));
}

#[test]
fn only_the_missing_part_of_a_copy_is_written() {
    let queue = queue(10);
    claim(&queue, 0);
    claim_late(&queue, 1, true);
    assert_eq!(queue.take(1, 0..4), [0..4]);
    assert_eq!(queue.take(0, 0..10), [4..10]);
}

#[test]
fn a_range_that_another_stream_owes_is_not_given_back() {
    let queue = queue(20);
    claim(&queue, 0);
    claim(&queue, 1);
    claim_late(&queue, 2, true);
    queue.release(0);
    assert_eq!(queue.claim(3, false, ANSWER_TIME), Claim::Later(None), "stream 2 owes it");
    queue.release(2);
    assert_eq!(claim(&queue, 3), 0..10);
}

#[test]
fn a_range_that_comes_after_its_stream_was_released_is_not_claimed_again() {
    let queue = queue(10);
    claim(&queue, 0);
    queue.release(0);
    assert_eq!(queue.take(0, 0..10), [0..10]);
    assert_eq!(queue.claim(1, false, ANSWER_TIME), Claim::Later(None));
}

#[test]
fn a_hole_takes_the_bytes_behind_it_that_no_stream_owes() {
    let queue = queue(100);
    claim(&queue, 0);
    claim(&queue, 1);
    assert_eq!(queue.take_hole(0, 0..10, 1000), [0..10, 20..100]);
    queue.finish(0..10, true);
    queue.finish(20..100, true);
    assert_eq!(queue.claim(2, false, ANSWER_TIME), Claim::Later(None));
    deliver(&queue, 1);
    assert_eq!(queue.end(), Some(End::Complete));
    assert_eq!(
        [queue.hole_at(0), queue.hole_at(10), queue.hole_at(50)],
        [Ok(10), Err(20), Ok(100)]
    );
}

#[test]
fn held_ranges_are_not_claimed_while_they_are_checked() {
    let mut held = RangeSet::new();
    held.insert(0..10);
    held.insert(20..30);
    let queue = Queue::new(30, 10, &held);
    assert_eq!(claim(&queue, 0), 10..20);
    assert_eq!(queue.claim(0, false, ANSWER_TIME), Claim::Later(None));
    queue.checked(0..10, true, false);
    queue.checked(20..30, false, false);
    assert_eq!(queue.progress().prefix, 10);
    assert_eq!(claim(&queue, 0), 20..30);
}

#[test]
fn an_abort_wakes_the_follower() {
    let queue = queue(10);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| queue.wait_for_prefix(0));
        queue.abort();
        assert_eq!(waiter.join().unwrap(), 0);
    });
    assert_eq!(queue.end(), Some(End::Aborted));
}

#[test]
fn the_prefix_grows_when_its_gap_is_filled() {
    let queue = queue(30);
    for stream in 0..3 {
        claim(&queue, stream);
    }
    deliver(&queue, 1);
    assert_eq!(queue.progress().prefix, 0);
    deliver(&queue, 0);
    assert_eq!(queue.wait_for_prefix(0), 20);
}

#[test]
fn no_range_is_claimed_that_there_is_no_room_for() {
    let queue = queue(100).with_room(30);
    assert_eq!([claim(&queue, 0), claim(&queue, 1), claim(&queue, 2)], [0..10, 10..20, 20..30]);
    assert_eq!(queue.claim(3, false, ANSWER_TIME), Claim::Later(None));
    (0..3).for_each(|stream| deliver(&queue, stream));
    assert_eq!(queue.claim(3, false, ANSWER_TIME), Claim::Later(None));
    queue.followed(19);
    assert_eq!(claim(&queue, 3), 30..40);
    assert_eq!(queue.claim(3, false, ANSWER_TIME), Claim::Later(None));
    queue.followed(20);
    assert_eq!(claim(&queue, 3), 40..50);
}

#[test]
fn while_the_follower_stands_still_no_stream_owes_anything() {
    let queue = queue(100).with_room(30);
    for stream in 0..3 {
        claim(&queue, stream);
        deliver(&queue, stream);
    }
    for stream in 0..3 {
        assert_eq!(claim_late(&queue, stream, true), Claim::Later(None));
        assert_eq!(queue.oldest(stream), None);
    }
}

#[test]
fn a_range_that_holds_back_all_room_is_claimed_again() {
    let queue = queue(100).with_room(30);
    for stream in 0..3 {
        claim(&queue, stream);
    }
    deliver(&queue, 1);
    deliver(&queue, 2);
    assert_eq!(claim_late(&queue, 1, true), Claim::Copy(0..10));
}

#[test]
fn without_room_only_the_range_that_holds_the_prefix_back_is_claimed_again() {
    let queue = queue(100).with_room(30);
    for stream in 0..3 {
        claim(&queue, stream);
    }
    deliver(&queue, 0);
    assert_eq!(claim_late(&queue, 0, true), Claim::Copy(10..20));
    assert_eq!(claim_late(&queue, 3, true), Claim::Copy(10..20));
    // 20..30 is late too, but 10..20 holds the prefix back, and enough streams owe that.
    assert_eq!(claim_late(&queue, 4, true), Claim::Later(None));
}

#[test]
fn free_room_wakes_the_streams_that_wait() {
    let queue = Queue::new(8 << 20, 1 << 20, &RangeSet::new()).with_room(3 << 20);
    let version = queue.version();
    queue.followed(LAG_STEP - 1);
    assert_eq!(queue.version(), version);
    queue.followed(LAG_STEP);
    assert_ne!(queue.version(), version);
}

#[test]
fn a_hole_needs_no_room() {
    let queue = queue(100).with_room(30);
    claim(&queue, 0);
    assert_eq!(queue.take_hole(0, 0..10, 100), [0..10, 10..100]);
}

#[test]
fn whatever_streams_do_each_byte_is_written_once() {
    act_at_random(queue, 200);
}

#[test]
fn whatever_streams_do_no_byte_comes_that_there_is_no_room_for() {
    act_at_random(|size| queue(size).with_room(25), 25);
}

/// Streams and a follower act at random until each byte of 200 is done.
fn act_at_random(queue: impl Fn(u64) -> Queue, room: u64) {
    let mut random = Random::new();
    // Miri takes a thousand times as long for a step.
    for _ in 0..if cfg!(miri) { 2 } else { 300 } {
        let queue = queue(200);
        let (mut written, mut followed) = ([0; 200], 0);
        while queue.end().is_none() {
            let stream = random.below(4);
            match random.below(10) {
                0 => queue.release(stream),
                _ if random.below(20) == 0 => {
                    followed = queue.progress().prefix;
                    queue.followed(followed);
                }
                1 => {
                    if let Some(range) = queue.oldest(stream) {
                        queue.reject(stream, range.start..range.start + 1);
                    }
                }
                2..5 => {
                    claim_late(&queue, stream, queue.oldest(stream).is_none());
                }
                _ => {
                    let Some(range) = queue.oldest(stream) else { continue };
                    let length = 1 + random.below((range.end - range.start) as usize) as u64;
                    let end = range.start + length;
                    for part in queue.take(stream, range.start..end) {
                        assert!(part.end <= followed + room);
                        part.clone().for_each(|at| written[at as usize] += 1);
                        queue.finish(part, false);
                    }
                }
            }
        }
        assert_eq!(written, [1; 200]);
    }
}
