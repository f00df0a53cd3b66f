//! When waits end.

#![forbid(unsafe_code)]

use super::*;
use std::thread;

/// A wait that ends before this was ended by an event.
const LONG: Duration = Duration::from_secs(60);

/// A wait that nothing ends.
const SHORT: Duration = Duration::from_millis(20);

fn time(wait: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    wait();
    begun.elapsed()
}

#[test]
fn a_change_that_has_come_is_not_waited_for() {
    let board = board();
    let version = board.version();
    board.wake();
    assert!(time(|| board.wait_for_change(version, Some(LONG))) < LONG);
}

#[test]
fn without_a_change_the_limit_ends_the_wait() {
    let board = board();
    assert!(time(|| board.wait_for_change(board.version(), Some(SHORT))) >= SHORT);
}

#[test]
fn a_written_file_wakes_no_stream() {
    let board = listed(&["a", "b"]);
    claim(&board, 0);
    let version = board.version();
    write(&board, 0);
    assert_eq!(board.version(), version);
}

#[test]
fn little_waits_to_land_while_there_is_more_to_do() {
    let board = listed(&["a", "b"]);
    claim(&board, 0);
    write(&board, 0);
    let wait = |bytes, limit| time(|| assert!(board.wait_to_land(bytes, Instant::now() + limit)));
    assert!(wait(11, SHORT) >= SHORT);
    assert!(wait(10, LONG) < LONG);
    write(&board, 0);
    assert!(wait(u64::MAX, LONG) < LONG);
}

#[test]
fn a_full_landing_is_not_waited_with() {
    let board = Board::with_limits(0, SMALL, Limits { landing: 4, ..Limits::default() });
    claim(&board, 0);
    bring_page(&board, 0, &["a", "b", "c", "d", "e"], PageEnd::Whole);
    claim(&board, 0);
    (0..2).for_each(|_| write(&board, 0));
    assert!(time(|| assert!(board.wait_to_land(u64::MAX, Instant::now() + LONG))) < LONG);
}

#[test]
fn finished_folders_that_take_all_room_are_not_waited_with() {
    let limits = Limits { held: 4, share: 1, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    bring_page(&board, 0, &["a/", "b/", "c/", "d/"], PageEnd::Whole);
    while let [_, ..] = &claim(&board, 0)[..] {
        bring_page(&board, 0, &[], PageEnd::Whole);
    }
    assert!(time(|| assert!(board.wait_to_land(u64::MAX, Instant::now() + LONG))) < LONG);
    assert!(!land(&board).is_empty());
}

#[test]
fn the_end_is_waited_for_up_to_the_limit() {
    let board = listed(&[]);
    assert!(time(|| assert!(!board.wait_for_end(SHORT))) >= SHORT);
    thread::scope(|scope| {
        scope.spawn(|| assert!(board.wait_for_end(LONG)));
        land(&board);
    });
    assert!(!board.wait_to_land(0, Instant::now() + LONG));
}

/// The number of entries of each folder: files and folders down to depth 3.
const WIDTH: usize = 9;

/// What a stream's thread does with a claim.
fn answer(board: &Board<u32>, stream: StreamId, claim: Claim<u32>) {
    match claim {
        Claim::List { folder, after, .. } => {
            let is_folder = |n: &usize| n % 3 == 0 && folder.depth < 3;
            let texts: Vec<String> = (0..WIDTH)
                .map(|n| if is_folder(&n) { format!("{n}/") } else { format!("{n}={}", n * 20) })
                .filter(|text| after.as_ref().is_none_or(|after| text.as_bytes()[0] > after[0]))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            bring_page(board, stream, &texts, PageEnd::Whole);
        }
        Claim::Small { .. } => {
            if board.take_file(stream) {
                board.written(stream);
            }
        }
        Claim::Open { file } => {
            let held = crate::transfer::queue::ranges::RangeSet::new();
            board.opened(file.id, Arc::new(Queue::new(file.size, 7, &held)));
        }
        Claim::Part { file, queue, range, .. } => {
            for part in queue.take(stream, range) {
                queue.finish(part, false);
            }
            if queue.end() == Some(End::Complete) {
                board.complete(file.id);
            }
        }
    }
}

#[test]
fn threads_bring_a_tree_to_its_end_without_a_timeout() {
    let limits = Limits { held: 20, share: 2, landing: 8, lists: 3, large: 2, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    let stream = |number| loop {
        let version = board.version();
        match board.claim(number, &idle()) {
            Claimed::Work(claims) => claims.into_iter().for_each(|c| answer(&board, number, c)),
            Claimed::Later(_) => board.wait_for_change(version, None),
            Claimed::Over => return,
        }
    };
    let begun = Instant::now();
    let mut landed = 0;
    thread::scope(|scope| {
        (0..4).for_each(|number| _ = scope.spawn(move || stream(number)));
        while board.wait_to_land(u64::MAX, Instant::now() + LONG) {
            landed += land(&board).len();
        }
    });
    let folders = 1 + 3 + 9 + 27;
    assert_eq!(landed, folders + (1 + 3 + 9) * 6 + 27 * 9);
    assert!(begun.elapsed() < LONG);
    assert_eq!(board.progress().files_done, (landed - folders) as u64);
}
