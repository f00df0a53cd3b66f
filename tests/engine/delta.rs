//! What an older file has of the new one does not move.

use crate::content;
use crate::fair::Faults;
use crate::network::{Fault, Network, NetworkDial};
use crate::random::Random;
use crate::world::{World, acceptor, fail_on_loss, sink};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::hash::{Md5, hex};
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::store::Store;
use ropewalk::transfer::timing::Timing;
use std::thread;
use std::time::Duration;

/// Bytes of a unit with a hash.
const UNIT: u64 = 64 << 10;

/// Bytes of a claim: two units.
const RANGE: u64 = 2 * UNIT;

/// Fetches the file of `world` into `store`. How many bytes of it were sent.
fn sent(world: &World, store: Store, streams: u8, weather: Faults, verify: Verify) -> u64 {
    moved(world, store, streams, weather, verify).0
}

/// The same, and how many bytes the sink counts as the same.
fn moved(world: &World, store: Store, streams: u8, weather: Faults, verify: Verify) -> (u64, u64) {
    // However busy the machine is, no stream is late: a late range comes a second time.
    let timing = Timing { least_patience: Duration::from_secs(100), ..Timing::default() };
    let token = Token::random().unwrap();
    let network = Network::new(weather, Random::from_seed(1));
    let (acceptor, way) = acceptor(false, timing);
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, token.bytes(), streams, timing);
    let (source, sink) =
        (world.source(Throttle::default(), timing), sink(world, store, streams, verify, timing));
    let (reading, done) = thread::scope(|scope| {
        let sending = scope.spawn(|| source.accept(acceptor, &token, streams, |_| {}));
        let done = sink.dial(&dialler, fail_on_loss(&sink)).unwrap();
        (sending.join().unwrap().unwrap(), done)
    });
    network.end();
    assert!(world.is_whole());
    let Report::Done { md5, tally, .. } = done else { panic!("{done:?}") };
    let mut digest = Md5::new();
    digest.update(&world.bytes());
    assert_eq!(md5, (verify == Verify::Md5).then(|| hex(&digest.finish())));
    (reading.bytes, tally.same)
}

#[test]
fn only_the_units_that_differ_and_the_tail_are_sent() {
    let tail = 1000;
    for verify in [Verify::Md5, Verify::Crc32c, Verify::None] {
        for streams in [1, 4] {
            let world = World::new(&[Ok(content((40 * RANGE + tail) as usize))]);
            let changed = [(5, 6), (9 * RANGE, 11 * RANGE), (30 * RANGE - 1, 30 * RANGE)];
            let store = world.kept_beside(false, &changed, world.size);
            // One, four and one.
            assert_eq!(sent(&world, store, streams, Faults::none(), verify), 6 * UNIT + tail);
        }
    }
}

#[test]
fn each_byte_that_was_not_sent_is_counted_as_the_same() {
    let world = World::new(&[Ok(content((40 * RANGE + 1000) as usize))]);
    let store = world.kept_beside(false, &[(5 * RANGE, 9 * RANGE)], 30 * RANGE);
    let (sent, same) = moved(&world, store, 3, Faults::none(), Verify::Md5);
    assert_eq!((sent, same), (14 * RANGE + 1000, 26 * RANGE));
}

#[test]
fn a_shorter_and_a_longer_file_help_as_far_as_they_go() {
    for (size, moved) in [(3 * RANGE + 5, 5 * RANGE), (20 * RANGE, 0), (0, 8 * RANGE)] {
        let world = World::new(&[Ok(content(8 * RANGE as usize))]);
        let store = world.kept_beside(false, &[], size);
        assert_eq!(sent(&world, store, 2, Faults::none(), Verify::Md5), moved, "{size}");
    }
}

#[test]
fn a_file_that_is_new_all_over_comes_as_it_is() {
    let world = World::new(&[Ok(content(200 * RANGE as usize))]);
    let store = world.kept_beside(false, &[(0, world.size)], world.size);
    assert_eq!(sent(&world, store, 3, Faults::none(), Verify::Md5), world.size);
}

#[test]
fn a_hole_of_the_new_file_is_one_where_the_older_file_has_bytes() {
    let world = World::new(&[Ok(content(RANGE as usize)), Err(4 * RANGE), Ok(content(10))]);
    let store = world.kept_beside(false, &[(RANGE, 5 * RANGE)], world.size);
    let sparse = world.stored() < world.size;
    let moved = sent(&world, store, 1, Faults::none(), Verify::Md5);
    assert_eq!(moved, if sparse { 10 } else { 4 * RANGE + 10 });
    if sparse {
        let part = world.part();
        assert!(ropewalk::sys::file::is_hole(&part, 2 * RANGE, 4 * RANGE));
    }
}

#[test]
fn streams_that_break_do_not_bring_older_bytes_back() {
    let world = World::new(&[Ok(content(60 * RANGE as usize))]);
    let changed: Vec<_> = (0..30).map(|n| (2 * n * RANGE, 2 * n * RANGE + 1)).collect();
    let store = world.kept_beside(false, &changed, world.size);
    let weather = Faults::first(3, 300_000, Fault::Reset);
    assert!(sent(&world, store, 3, weather, Verify::Crc32c) >= 30 * UNIT);
}

/// The journal of the first run vouches for what was the same, too.
#[test]
fn what_was_the_same_is_resumed_from() {
    let world = World::new(&[Ok(content(8 * RANGE as usize))]);
    let store = world.kept_beside(false, &[], world.size);
    assert_eq!(sent(&world, store, 2, Faults::none(), Verify::Crc32c), 0);
    let again = world.kept(false);
    assert_eq!(again.held().total(), world.size);
    assert_eq!(sent(&world, again, 2, Faults::none(), Verify::Md5), 0);
}
