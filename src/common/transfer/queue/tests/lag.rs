//! When streams pause for a follower that is far behind the prefix, and when they do not.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn nothing_is_asked_for_while_the_follower_is_far_behind() {
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

/// Whether a stream that has nothing under way is told to wait for the follower.
fn pauses(queue: &Queue) -> bool {
    matches!(queue.claim(0, true, PACE), Claim::Later(Some(left)) if left <= LONGEST_PAUSE)
}

#[test]
fn after_the_longest_pause_one_more_piece_is_asked_for() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    while queue.progress().prefix <= MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    assert!(pauses(&queue));
    let later = Instant::now() + LONGEST_PAUSE;
    let start = queue.progress().prefix;
    let granted = queue.claim_at(0, true, PACE, later);
    assert_eq!(granted, Claim::Range(start..start + (1 << 20)));
    assert_eq!(queue.claim_at(1, true, PACE, later), Claim::Later(Some(LONGEST_PAUSE)));
}

#[test]
fn what_was_there_already_stops_no_stream_while_the_follower_catches_up() {
    let mut held = RangeSet::new();
    held.insert(0..2 * MAX_LAG);
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &held);
    queue.followed(0);
    queue.checked(0..2 * MAX_LAG, true, false);
    for _ in 0..MAX_LAG >> 19 {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    // When it has caught up, streams pause for it as at any time.
    queue.followed(queue.progress().prefix);
    while queue.progress().prefix <= 5 * MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    assert!(pauses(&queue));
}

#[test]
fn a_hole_stops_no_stream_while_the_follower_catches_up() {
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
fn a_follower_that_is_farther_behind_than_any_cache_stops_no_stream() {
    let queue = Queue::new(2 * FAR_LAG, 1 << 20, &RangeSet::new());
    queue.followed(0);
    // One stream is late with the first piece, while others bring all behind it.
    claim(&queue, 0);
    while queue.progress().done <= FAR_LAG {
        claim(&queue, 1);
        deliver(&queue, 1);
    }
    deliver(&queue, 0);
    claim(&queue, 1);
}

#[test]
fn a_reader_who_pauses_is_waited_for_without_end() {
    let queue = Queue::new(10 * MAX_LAG, 1 << 20, &RangeSet::new()).with_room(4 * MAX_LAG);
    while queue.progress().prefix <= MAX_LAG {
        claim(&queue, 0);
        deliver(&queue, 0);
    }
    let later = Instant::now() + LONGEST_PAUSE;
    assert_eq!(queue.claim_at(0, true, PACE, later), Claim::Later(None));
}
