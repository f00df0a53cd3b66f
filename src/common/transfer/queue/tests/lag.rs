//! Streams pause for a follower with a large lag, and not otherwise.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn no_range_is_claimed_while_the_lag_is_large() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    while queue.progress().prefix <= MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    assert!(pauses(&queue));
    queue.followed(1 << 20);
    assert_eq!(claim(&queue, 0).start, queue.progress().prefix);
}

/// Whether a stream that owes nothing is told to wait for the follower.
fn pauses(queue: &Queue) -> bool {
    matches!(queue.claim(0, true, ANSWER_TIME), Claim::Later(Some(left)) if left <= LONGEST_PAUSE)
}

#[test]
fn after_the_longest_pause_one_more_range_is_claimed() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    while queue.progress().prefix <= MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    assert!(pauses(&queue));
    let later = Instant::now() + LONGEST_PAUSE;
    let start = queue.progress().prefix;
    let granted = queue.claim_at(0, true, ANSWER_TIME, later);
    assert_eq!(granted, Claim::Range(start..start + (1 << 20)));
    assert_eq!(queue.claim_at(1, true, ANSWER_TIME, later), Claim::Later(Some(LONGEST_PAUSE)));
}

#[test]
fn bytes_of_an_earlier_run_stop_no_stream_while_the_follower_reads_them() {
    let mut held = RangeSet::new();
    held.insert(0..2 * MAX_LAG);
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &held);
    queue.followed(0);
    queue.checked(0..2 * MAX_LAG, true, false);
    for _ in 0..MAX_LAG >> 19 {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    // When the follower has caught up, streams pause for it again.
    queue.followed(queue.progress().prefix);
    while queue.progress().prefix <= 5 * MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    assert!(pauses(&queue));
}

#[test]
fn a_hole_stops_no_stream_while_the_follower_reads_it() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    let first = claim(&queue, 0);
    let version = queue.version();
    for part in queue.take_hole(0, first, 4 * MAX_LAG) {
        queue.finish(part, true);
    }
    assert_ne!(queue.version(), version, "streams that wait hear of it");
    assert_eq!(claim(&queue, 0).start, 4 * MAX_LAG);
}

#[test]
fn a_lag_that_no_cache_holds_stops_no_stream() {
    let queue = Queue::new(2 * FAR_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    // One stream is late with the first range, while another brings everything behind it.
    claim(&queue, 0);
    while queue.progress().done <= FAR_LAG {
        claim(&queue, 1);
        deliver(&queue, 1);
    }
    deliver(&queue, 0);
    claim(&queue, 1);
}

#[test]
fn streams_wait_for_a_reader_that_pauses_as_long_as_it_pauses() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new()).with_room(4 * MAX_LAG);
    while queue.progress().prefix <= MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    let later = Instant::now() + LONGEST_PAUSE;
    assert_eq!(queue.claim_at(0, true, ANSWER_TIME, later), Claim::Later(None));
}
