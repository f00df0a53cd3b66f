//! The board without threads and files: what each hash is told to do.

use super::*;

fn hashed(settled: bool) -> Hashed {
    Hashed { md5: [1; 16], length: 5, unchanged: true, settled }
}

fn join(board: &mut Board, tag: &str, hurry: Hurry) -> (Joined, UnixStream) {
    let (bell, ringer) = UnixStream::pair().unwrap();
    (board.join(tag, hurry, ringer).unwrap(), bell)
}

fn joined(board: &mut Board, tag: &str) -> (Joined, UnixStream) {
    join(board, tag, Hurry::WithTransfer)
}

#[test]
fn the_second_who_comes_joins_the_first() {
    let mut board = Board::new(1);
    let (first, _bell) = joined(&mut board, "a");
    let (second, _bell) = joined(&mut board, "a");
    assert_eq!([first.first, second.first], [true, false]);
    board.finish("a", Ok(hashed(true)));
    assert_eq!(first.slot.get(), Some(&Ok(hashed(true))));
    assert_eq!(second.slot.get(), first.slot.get());
}

#[test]
fn only_what_would_show_a_change_is_remembered() {
    let mut board = Board::new(1);
    let changed = Hashed { unchanged: false, ..hashed(true) };
    for (outcome, kept) in [(hashed(true), true), (hashed(false), false), (changed, false)] {
        let tag = format!("{outcome:?}");
        let (_joined, _bell) = joined(&mut board, &tag);
        board.finish(&tag, Ok(outcome));
        assert_eq!(board.recall(&tag).is_some(), kept, "{outcome:?}");
    }
}

#[test]
fn a_hash_goes_on_for_a_minute_without_anyone() {
    let mut board = Board::new(1);
    let (one, _bell) = joined(&mut board, "a");
    let left = Instant::now();
    board.leave("a", one.number, left);
    board.leave("a", one.number, left + GRACE);
    assert_eq!(board.step("a", 0, left + GRACE / 2), Step::Go(STRETCH));
    assert_eq!(board.step("a", 0, left + GRACE), Step::Stop(NoDigest::Abandoned));
}

#[test]
fn one_who_comes_back_in_that_minute_joins() {
    let mut board = Board::new(1);
    let (one, _bell) = joined(&mut board, "a");
    let left = Instant::now();
    board.leave("a", one.number, left);
    assert!(!joined(&mut board, "a").0.first);
    assert_eq!(board.step("a", 0, left + 2 * GRACE), Step::Go(STRETCH));
}

#[test]
fn a_hash_stays_close_to_the_furthest_transfer() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let (_one, _bell) = joined(&mut board, "a");
    let (_two, _bell) = joined(&mut board, "a");
    board.begin_transfer("a");
    board.begin_transfer("a");
    assert_eq!(board.step("a", MAX_AHEAD - 1, now), Step::Go(MAX_AHEAD));
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
    board.reached("a", 10);
    board.reached("a", 5);
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + 10));
}

#[test]
fn the_end_of_the_transfers_lets_a_hash_run() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let (_one, _bell) = joined(&mut board, "a");
    board.begin_transfer("a");
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
    board.end_transfer("a");
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
}

#[test]
fn one_who_has_no_transfer_is_not_held_back_by_another_s() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let (_one, _bell) = joined(&mut board, "a");
    board.begin_transfer("a");
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
    let (two, _bell) = joined(&mut board, "a");
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
    board.leave("a", two.number, now);
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
}

#[test]
fn one_who_waits_for_the_hash_alone_is_not_held_back() {
    let (mut board, now) = (Board::new(1), Instant::now());
    board.begin_transfer("a");
    let (_one, _bell) = join(&mut board, "a", Hurry::BeforeTransfer);
    assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
}

#[test]
fn the_end_of_a_hash_lets_the_next_one_on() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let _bells = ["a", "b"].map(|tag| joined(&mut board, tag));
    assert_eq!(board.step("a", 0, now), Step::Go(STRETCH));
    assert_eq!(board.step("b", 0, now), Step::Wait(None));
    board.finish("a", Ok(hashed(true)));
    assert!(board.take_stir());
    assert_eq!(board.step("b", 0, now), Step::Go(STRETCH));
}

#[test]
fn a_hash_that_waits_for_a_transfer_takes_nobody_s_turn() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let _bells = ["paced", "free"].map(|tag| joined(&mut board, tag));
    board.begin_transfer("paced");
    assert_eq!(board.step("paced", 0, now), Step::Go(STRETCH));
    assert_eq!(board.step("paced", MAX_AHEAD, now), Step::Wait(None));
    assert_eq!(board.step("free", 0, now), Step::Go(STRETCH));
}

#[test]
fn one_hash_too_many_is_refused() {
    let mut board = Board::new(1);
    let bells: Vec<_> = (0..MAX_HASHES).map(|n| joined(&mut board, &n.to_string())).collect();
    let (_bell, ringer) = UnixStream::pair().unwrap();
    let refused = board.join("more", Hurry::WithTransfer, ringer).unwrap_err();
    assert_eq!(refused, NoDigest::Busy);
    assert!(!joined(&mut board, "0").0.first);
    drop(bells);
}

#[test]
fn of_too_many_the_one_goes_that_nobody_has_waited_for_longest() {
    let mut board = Board::new(1);
    let mut all: Vec<_> = (0..MAX_HASHES).map(|n| joined(&mut board, &n.to_string())).collect();
    let now = Instant::now();
    board.leave("7", all[7].0.number, now);
    board.leave("3", all[3].0.number, now + GRACE / 4);
    all.push(joined(&mut board, "more"));
    assert_eq!(board.step("7", 0, now), Step::Stop(NoDigest::Abandoned));
    assert_ne!(board.step("3", 0, now), Step::Stop(NoDigest::Abandoned));
    all.push(joined(&mut board, "still more"));
    assert_eq!(board.step("3", 0, now), Step::Stop(NoDigest::Abandoned));
    let (_bell, ringer) = UnixStream::pair().unwrap();
    assert!(board.join("one too many", Hurry::WithTransfer, ringer).is_err());
}

#[test]
fn one_that_has_to_go_stays_if_somebody_comes_before_it_has_gone() {
    let mut board = Board::new(1);
    let all: Vec<_> = (0..MAX_HASHES).map(|n| joined(&mut board, &n.to_string())).collect();
    board.leave("7", all[7].0.number, Instant::now());
    let _more = joined(&mut board, "more");
    let (again, _bell) = joined(&mut board, "7");
    assert!(!again.first);
    assert_ne!(board.step("7", 0, Instant::now()), Step::Stop(NoDigest::Abandoned));
}

#[test]
fn one_that_nobody_waits_for_lets_others_on() {
    let (mut board, now) = (Board::new(1), Instant::now());
    let (left, _bell) = joined(&mut board, "left");
    assert_eq!(board.step("left", 0, now), Step::Go(STRETCH));
    let _awaited = joined(&mut board, "awaited");
    assert_eq!(board.step("awaited", 0, now), Step::Wait(None));
    board.leave("left", left.number, now);
    assert_eq!(board.step("left", STRETCH, now), Step::Wait(Some(now + GRACE)));
    assert!(board.take_stir());
    assert_eq!(board.step("awaited", 0, now), Step::Go(STRETCH));
}
