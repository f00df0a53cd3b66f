//! The schedule without threads and files: what each hash is told to do.

use super::*;

fn hashed(settled: bool) -> Hashed {
    Hashed { md5: [1; 16], length: 5, unchanged: true, settled }
}

fn join_with(schedule: &mut Schedule, key: &str, hurry: Hurry) -> (Joined, UnixStream) {
    let (bell, ringer) = UnixStream::pair().unwrap();
    (schedule.join(key, hurry, ringer, Instant::now()).unwrap(), bell)
}

fn join(schedule: &mut Schedule, key: &str) -> (Joined, UnixStream) {
    join_with(schedule, key, Hurry::WithTransfer)
}

/// A schedule in which a client waits for each of these hashes.
fn waiting(cores: usize, keys: &[&str]) -> (Schedule, Vec<(Joined, UnixStream)>) {
    let mut schedule = Schedule::new(cores);
    let clients = keys.iter().map(|key| join(&mut schedule, key)).collect();
    (schedule, clients)
}

/// Whether the hash has a turn. When it got that it was woken.
fn runs(schedule: &Schedule, key: &str) -> bool {
    !matches!(schedule.hashes[key].turn, Turn::Queued(_))
}

#[test]
fn the_second_client_of_a_hash_joins_the_first() {
    let mut schedule = Schedule::new(1);
    let (first, _bell) = join(&mut schedule, "a");
    let (second, _bell) = join(&mut schedule, "a");
    assert_eq!([first.first, second.first], [true, false]);
    schedule.finish("a", Ok(hashed(true)));
    assert_eq!(first.outcome.get(), Some(&Ok(hashed(true))));
    assert_eq!(second.outcome.get(), first.outcome.get());
}

#[test]
fn only_the_digest_of_a_settled_and_unchanged_file_is_remembered() {
    let mut schedule = Schedule::new(1);
    let changed = Hashed { unchanged: false, ..hashed(true) };
    for (outcome, kept) in [(hashed(true), true), (hashed(false), false), (changed, false)] {
        let key = format!("{outcome:?}");
        let (_joined, _bell) = join(&mut schedule, &key);
        schedule.finish(&key, Ok(outcome));
        assert_eq!(schedule.recall(&key).is_some(), kept, "{outcome:?}");
    }
}

#[test]
fn an_abandoned_hash_goes_on_for_a_minute() {
    let (mut schedule, clients) = waiting(1, &["a"]);
    let left = Instant::now();
    schedule.leave("a", clients[0].0.number, left);
    schedule.leave("a", clients[0].0.number, left + GRACE);
    assert_eq!(schedule.step("a", 0, left + GRACE / 2), Step::Go(TURN));
    assert_eq!(schedule.step("a", 0, left + GRACE), Step::Stop(NoDigest::Abandoned));
}

#[test]
fn a_client_that_comes_back_in_that_minute_joins() {
    let (mut schedule, clients) = waiting(1, &["a"]);
    let left = Instant::now();
    schedule.leave("a", clients[0].0.number, left);
    assert!(!join(&mut schedule, "a").0.first);
    assert_eq!(schedule.step("a", 0, left + 2 * GRACE), Step::Go(TURN));
}

#[test]
fn a_hash_stays_close_to_the_furthest_transfer() {
    let (mut schedule, _clients) = waiting(1, &["a", "a"]);
    let now = Instant::now();
    schedule.begin_transfer("a");
    schedule.begin_transfer("a");
    assert_eq!(schedule.step("a", MAX_AHEAD - 1, now), Step::Go(MAX_AHEAD));
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Wait(None));
    schedule.reached("a", 10);
    schedule.reached("a", 5);
    assert!(runs(&schedule, "a"), "it was not woken");
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + 10));
}

#[test]
fn the_end_of_the_transfers_lets_a_hash_run() {
    let (mut schedule, _clients) = waiting(1, &["a"]);
    let now = Instant::now();
    schedule.begin_transfer("a");
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Wait(None));
    schedule.end_transfer("a");
    assert!(runs(&schedule, "a"), "it was not woken");
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + TURN));
}

#[test]
fn a_client_without_a_transfer_does_not_wait_for_another_client_s() {
    let (mut schedule, _clients) = waiting(1, &["a"]);
    let now = Instant::now();
    schedule.begin_transfer("a");
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Wait(None));
    let (second, _bell) = join(&mut schedule, "a");
    assert!(runs(&schedule, "a"), "it was not woken");
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + TURN));
    schedule.leave("a", second.number, now);
    assert_eq!(schedule.step("a", MAX_AHEAD, now), Step::Wait(None));
}

#[test]
fn a_client_that_needs_the_hash_before_its_transfer_does_not_wait_for_another() {
    let mut schedule = Schedule::new(1);
    schedule.begin_transfer("a");
    let (_one, _bell) = join_with(&mut schedule, "a", Hurry::BeforeTransfer);
    let step = schedule.step("a", MAX_AHEAD, Instant::now());
    assert_eq!(step, Step::Go(MAX_AHEAD + TURN));
}

#[test]
fn as_many_hashes_run_as_there_are_cores() {
    let (mut schedule, _clients) = waiting(2, &["a", "b", "c"]);
    let now = Instant::now();
    assert_eq!(["a", "b", "c"].map(|key| runs(&schedule, key)), [true, true, false]);
    assert_eq!(schedule.step("a", 0, now), Step::Go(TURN));
    assert_eq!(schedule.step("c", 0, now), Step::Wait(None));
    schedule.finish("a", Ok(hashed(true)));
    assert!(runs(&schedule, "c"), "it was not woken");
    assert_eq!(schedule.step("c", 0, now), Step::Go(TURN));
}

#[test]
fn a_hash_goes_on_while_no_other_is_queued() {
    let (mut schedule, _clients) = waiting(1, &["long"]);
    let now = Instant::now();
    assert_eq!(schedule.step("long", 0, now), Step::Go(TURN));
    assert_eq!(schedule.step("long", TURN, now), Step::Go(2 * TURN));
    let _short = join(&mut schedule, "short");
    assert_eq!(schedule.step("long", 2 * TURN, now), Step::Wait(None));
    assert!(runs(&schedule, "short"), "it was not woken");
}

#[test]
fn hashes_take_turns() {
    let (mut schedule, _clients) = waiting(1, &["a", "b", "c"]);
    let now = Instant::now();
    for at in [0, TURN, 2 * TURN] {
        for key in ["a", "b", "c"] {
            assert_eq!(schedule.step(key, at, now), Step::Go(at + TURN), "{key}");
            assert_eq!(schedule.step(key, at + TURN, now), Step::Wait(None), "{key}");
        }
    }
}

#[test]
fn hashes_get_their_turns_in_the_order_in_which_they_came() {
    let (mut schedule, _clients) = waiting(1, &["first", "second", "third"]);
    schedule.finish("first", Ok(hashed(true)));
    assert_eq!(["second", "third"].map(|key| runs(&schedule, key)), [true, false]);
}

#[test]
fn a_queued_hash_that_ends_holds_no_other_up() {
    let (mut schedule, _clients) = waiting(1, &["first", "second", "third"]);
    schedule.finish("second", Err(NoDigest::NoRoom(None)));
    schedule.finish("first", Ok(hashed(true)));
    assert!(runs(&schedule, "third"));
}

#[test]
fn a_hash_that_waits_for_a_transfer_takes_no_turn() {
    let (mut schedule, _clients) = waiting(1, &["follows", "free"]);
    let now = Instant::now();
    schedule.begin_transfer("follows");
    assert_eq!(schedule.step("follows", 0, now), Step::Go(TURN));
    assert_eq!(schedule.step("follows", MAX_AHEAD, now), Step::Wait(None));
    for at in [0, TURN, 2 * TURN] {
        assert_eq!(schedule.step("free", at, now), Step::Go(at + TURN));
    }
}

#[test]
fn a_hash_whose_limit_fell_before_its_turn_began_waits() {
    let (mut schedule, _clients) = waiting(1, &["a"]);
    assert!(runs(&schedule, "a"));
    schedule.begin_transfer("a");
    assert_eq!(schedule.step("a", MAX_AHEAD, Instant::now()), Step::Wait(None));
    let _other = join(&mut schedule, "b");
    assert!(runs(&schedule, "b"));
}

#[test]
fn an_abandoned_hash_lets_awaited_ones_run() {
    let (mut schedule, clients) = waiting(1, &["left", "awaited"]);
    let now = Instant::now();
    assert_eq!(schedule.step("left", 0, now), Step::Go(TURN));
    schedule.leave("left", clients[0].0.number, now);
    assert_eq!(schedule.step("left", TURN, now), Step::Wait(Some(now + GRACE)));
    for at in [0, TURN, 2 * TURN] {
        assert_eq!(schedule.step("awaited", at, now), Step::Go(at + TURN));
    }
    schedule.finish("awaited", Ok(hashed(true)));
    assert!(runs(&schedule, "left"), "it was not woken");
}

#[test]
fn awaited_hashes_run_before_abandoned_ones() {
    let (mut schedule, clients) = waiting(1, &["first", "left", "gone", "last"]);
    for (at, key) in [(1, "left"), (2, "gone")] {
        schedule.leave(key, clients[at].0.number, Instant::now());
    }
    for key in ["first", "last", "left", "gone"] {
        assert!(runs(&schedule, key), "{key}");
        schedule.finish(key, Ok(hashed(true)));
    }
}

#[test]
fn a_hash_whose_client_leaves_and_comes_back_keeps_its_place() {
    let (mut schedule, clients) = waiting(1, &["first", "a", "b", "c"]);
    schedule.leave("a", clients[1].0.number, Instant::now());
    schedule.finish("first", Ok(hashed(true)));
    assert!(runs(&schedule, "b"));
    let _again = join(&mut schedule, "a");
    schedule.finish("b", Ok(hashed(true)));
    assert!(runs(&schedule, "a"));
}

#[test]
fn one_hash_too_many_is_refused() {
    let mut schedule = Schedule::new(1);
    let clients: Vec<_> = (0..MAX_HASHES).map(|n| join(&mut schedule, &n.to_string())).collect();
    let (_bell, ringer) = UnixStream::pair().unwrap();
    let refused = schedule.join("more", Hurry::WithTransfer, ringer, Instant::now());
    assert_eq!(refused.unwrap_err(), NoDigest::Busy);
    assert!(!join(&mut schedule, "0").0.first);
    drop(clients);
}

#[test]
fn when_full_the_hash_that_was_abandoned_first_ends() {
    let mut schedule = Schedule::new(1);
    let mut all: Vec<_> = (0..MAX_HASHES).map(|n| join(&mut schedule, &n.to_string())).collect();
    let now = Instant::now();
    let step = |schedule: &mut Schedule, key| schedule.step(key, 0, Instant::now());
    schedule.leave("7", all[7].0.number, now);
    schedule.leave("3", all[3].0.number, now + GRACE / 4);
    all.push(join(&mut schedule, "more"));
    assert_eq!(step(&mut schedule, "7"), Step::Stop(NoDigest::Abandoned));
    assert_ne!(step(&mut schedule, "3"), Step::Stop(NoDigest::Abandoned));
    all.push(join(&mut schedule, "still more"));
    assert_eq!(step(&mut schedule, "3"), Step::Stop(NoDigest::Abandoned));
    let (_bell, ringer) = UnixStream::pair().unwrap();
    assert!(schedule.join("too many", Hurry::WithTransfer, ringer, Instant::now()).is_err());
}

#[test]
fn a_hash_that_has_to_end_lives_on_if_a_client_joins_before_it_has_ended() {
    let mut schedule = Schedule::new(1);
    let all: Vec<_> = (0..MAX_HASHES).map(|n| join(&mut schedule, &n.to_string())).collect();
    schedule.leave("7", all[7].0.number, Instant::now());
    let _more = join(&mut schedule, "more");
    let (again, _bell) = join(&mut schedule, "7");
    assert!(!again.first);
    assert_ne!(schedule.step("7", 0, Instant::now()), Step::Stop(NoDigest::Abandoned));
}

#[test]
fn a_stop_ends_running_and_queued_hashes() {
    let (mut schedule, _clients) = waiting(1, &["a", "b"]);
    schedule.stop();
    for key in ["a", "b"] {
        assert_eq!(schedule.step(key, 0, Instant::now()), Step::Stop(NoDigest::Stopping));
    }
}
