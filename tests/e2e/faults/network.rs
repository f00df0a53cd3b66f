//! Ropewalk transfers over a path that damages, cuts, stalls and slows the streams. The file is
//! right, and the summary counts each repair.

use crate::support::exit::INTEGRITY;
use crate::support::harness::run;
use crate::support::path::{self, DAMAGED, Path, RECONNECTS, count, flip, scatter};
use crate::support::relay::{Faults, Step};
use ropewalk::codec::wire::HEADER_SIZE;
use ropewalk::transfer::queue::HOLD_BACK;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Flips one bit of the payload of each block that `which` chooses.
fn flipping(which: impl Fn(u64) -> bool + Send + Sync + 'static) -> (Arc<AtomicU64>, Faults) {
    let flips = Arc::new(AtomicU64::new(0));
    let count = flips.clone();
    let faults = Faults::of_blocks(move |block| {
        if which(block.number) {
            count.fetch_add(1, Ordering::SeqCst);
            let payload = &mut block.bytes[HEADER_SIZE..];
            let bit = scatter(block.number) as usize % (payload.len() * 8);
            flip(payload, bit);
        }
        Step::Pass
    });
    (flips, faults)
}

#[test]
fn flipped_bits_are_asked_for_again_and_counted() {
    let (flips, faults) = flipping(|number| number % 3 == 0);
    // No block overtakes another on one stream, so the numbers are exact.
    let path = Path::new("flips", (6 << 20) + 5, faults);
    let said = path.fetch(1);
    let flips = flips.load(Ordering::SeqCst);
    assert!(flips >= 16, "{flips}");
    assert_eq!(count(&said, DAMAGED), flips, "{said}");
    assert_eq!((count(&said, RECONNECTS), path.relay.streams()), (0, 1), "{said}");
}

#[test]
fn flipped_bits_on_many_streams_never_reach_the_disk() {
    let (flips, faults) = flipping(|number| scatter(number) % 4 == 0);
    let path = Path::new("flips-many", 12 << 20, faults);
    let damaged = count(&path.fetch(7), DAMAGED);
    // Some damaged blocks may no longer have been needed.
    assert!((10..=flips.load(Ordering::SeqCst)).contains(&damaged), "{damaged}");
}

#[test]
fn a_hundred_damaged_blocks_in_a_row_end_the_transfer() {
    let (flips, faults) = flipping(|_| true);
    let blocks = 32;
    let path = Path::new("flips-all", blocks << 17, faults);
    let outcome = run(&mut path.client(1));
    outcome.failed(INTEGRITY, "client", "100 bad blocks in a row, the last one: its checksum");
    assert!(outcome.err.contains("out.part keeps 0%; to continue: "), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    // Each block of the file can be under way once when the hundredth damaged block comes.
    let flips = flips.load(Ordering::SeqCst);
    assert!((100..100 + blocks as u64).contains(&flips), "{flips}");
}

#[test]
fn a_hundred_damaged_blocks_in_a_row_cost_nothing_that_came_before() {
    let (_, faults) = flipping(|number| (16..1000).contains(&number));
    let path = Path::new("flips-later", 4 << 20, faults);
    let outcome = run(&mut path.client(1));
    assert!(outcome.err.contains("out.part keeps 50%; to continue: "), "{outcome:?}");
    let said = run(&mut path.direct(2)).succeeded();
    assert!(said.contains(", resumed at 50%"), "{said}");
    path.is_whole();
}

#[test]
fn ninety_nine_damaged_blocks_in_a_row_do_not_end_the_transfer() {
    let (_, faults) = flipping(|number| (1..100).contains(&number));
    let said = Path::new("flips-99", 4 << 20, faults).fetch(1);
    assert_eq!(count(&said, DAMAGED), 99, "{said}");
}

#[test]
fn a_flipped_bit_anywhere_in_a_header_closes_that_stream() {
    // The second block of each stream is damaged, so 100 in a row never come. The sink reads
    // nothing behind it on that stream. Steps of 5 bits hit every field.
    let flips = HEADER_SIZE * 8 / 5;
    let blocks: Vec<AtomicU64> = (0..flips).map(|_| AtomicU64::new(0)).collect();
    let path = Path::new(
        "flips-header",
        16 << 20,
        Faults::of_blocks(move |block| {
            let seen = blocks.get(block.stream).map(|blocks| blocks.fetch_add(1, Ordering::SeqCst));
            if seen == Some(1) {
                flip(&mut block.bytes[..HEADER_SIZE], block.stream * 5);
            }
            Step::Pass
        }),
    );
    let said = path.fetch(1);
    assert_eq!(path.relay.streams(), flips + 1);
    assert_eq!(count(&said, RECONNECTS), flips as u64, "{said}");
    assert_eq!(count(&said, DAMAGED), 0, "{said}");
}

#[test]
fn a_flipped_bit_in_a_request_gets_an_error_and_another_stream() {
    let path = Path::new(
        "flips-request",
        8 << 20,
        Faults {
            message: Box::new(|message| {
                // Damages one request of each of the first streams, at another place each time.
                if message.number == 3 && message.stream < 24 {
                    let bit = message.stream * 8 + message.stream % 8;
                    flip(message.bytes, bit);
                }
            }),
            ..Faults::default()
        },
    );
    let said = path.fetch(1);
    assert_eq!(count(&said, RECONNECTS), 24, "{said}");
    assert_eq!(path.relay.streams(), 25);
}

#[test]
fn a_stream_whose_hello_has_a_flipped_bit_is_refused_and_comes_again() {
    let path = Path::new(
        "flips-hello",
        4 << 20,
        Faults {
            message: Box::new(|message| {
                // Each stream's hello is damaged in another field: mark, token, checksum.
                let place = [0, 40, 200].get(message.stream);
                if let (0, Some(bit)) = (message.number, place) {
                    flip(message.bytes, *bit);
                }
            }),
            ..Faults::default()
        },
    );
    let said = path.fetch(1);
    assert_eq!(count(&said, RECONNECTS), 3, "{said}");
}

#[test]
fn streams_that_are_reset_at_random_moments_come_again() {
    let cuts = Arc::new(AtomicU64::new(0));
    let counted = cuts.clone();
    let path = Path::new(
        "resets",
        16 << 20,
        Faults::of_blocks(move |block| {
            let number = scatter(block.number);
            if block.number > 0 && number % 6 == 0 && counted.load(Ordering::SeqCst) < 12 {
                counted.fetch_add(1, Ordering::SeqCst);
                return Step::Cut(number as usize / 8 % block.bytes.len());
            }
            Step::Pass
        }),
    );
    let said = path.fetch(4);
    let cuts = cuts.load(Ordering::SeqCst);
    assert!(cuts >= 6, "{cuts}");
    // A stream that is cut near the end may not come again.
    assert!((cuts - 4..=cuts).contains(&count(&said, RECONNECTS)), "{cuts}: {said}");
    assert_eq!(count(&said, DAMAGED), 0, "{said}");
}

#[test]
fn another_stream_asks_for_the_ranges_that_a_stalled_stream_owes() {
    let path = Path::new(
        "stalled",
        16 << 20,
        Faults::of_blocks(|block| match block.stream {
            1 => Step::Stall,
            _ => Step::Pass,
        }),
    );
    path.fetch(4);
    let asked = path.relay.asked();
    let owed: Vec<_> = asked.iter().filter(|piece| piece.stream == 1).collect();
    assert!(!owed.is_empty());
    for piece in owed {
        let same = asked.iter().filter(|other| other.offset == piece.offset);
        assert!(same.count() > 1, "{piece:?}");
    }
    // The other streams did not wait until the client gave up the stalled stream.
    assert_eq!(path.relay.streams(), 4);
}

#[test]
fn the_sink_asks_again_for_the_range_that_holds_the_prefix_back_first() {
    let path = Path::new(
        "held-back",
        (3 * HOLD_BACK) as usize,
        Faults::of_blocks(|block| match block.stream {
            0 => Step::Stall,
            _ => Step::Pass,
        }),
    );
    path.fetch(2);
    let asked = path.relay.asked();
    let owed = asked.iter().find(|piece| piece.stream == 0).unwrap().offset;
    let again = asked.iter().position(|piece| piece.stream != 0 && piece.offset == owed).unwrap();
    // Bytes that are under way on the other stream are added.
    let limit = owed + HOLD_BACK + HOLD_BACK / 2;
    for piece in &asked[..again] {
        assert!(piece.offset <= limit, "{piece:?} before {owed} was asked for again");
    }
    assert!(asked.iter().any(|piece| piece.offset > limit));
}

#[test]
fn a_slow_stream_among_fast_streams_does_not_delay_the_end() {
    let size = 32 << 20;
    let path = Path::new(
        "slow",
        size,
        Faults { rate: Box::new(|stream| (stream == 2).then_some(100_000)), ..Faults::default() },
    );
    let said = path.fetch(4);
    let (asked, passed) = (path.relay.asked(), path.relay.passed());
    let slow: u64 = passed.iter().filter(|p| p.stream == 2).map(|p| p.length).sum();
    assert!(slow < size as u64 / 4, "{slow}");
    // The other streams brought what the slow stream still owed at the end.
    let owed = asked.iter().filter(|piece| piece.stream == 2 && !passed.contains(piece));
    let mut late = 0;
    for piece in owed {
        let again = passed.iter().find(|other| other.stream != 2 && other.offset == piece.offset);
        late += again.unwrap_or_else(|| panic!("{piece:?}")).length;
    }
    assert!(late > 0, "{said}");
    // The summary names late bytes from 1% of the file on, with three digits.
    let told = path::late(&said);
    assert!(told == 0.0 || told * 1.01 >= late as f64, "{said}");
}

#[test]
fn writes_that_are_split_at_every_size_change_nothing() {
    let path = Path::new("split", 3 << 20, Faults { split: Some(700), ..Faults::default() });
    let said = path.fetch(3);
    assert_eq!((count(&said, DAMAGED), count(&said, RECONNECTS)), (0, 0), "{said}");
}

#[test]
fn bytes_that_come_one_by_one_change_nothing() {
    let path = Path::new("single", 200_001, Faults { split: Some(1), ..Faults::default() });
    let said = path.fetch(2);
    assert_eq!((count(&said, DAMAGED), count(&said, RECONNECTS)), (0, 0), "{said}");
}

#[test]
fn writes_that_are_merged_change_nothing() {
    let path = Path::new("merge", 8 << 20, Faults { merge: true, ..Faults::default() });
    let said = path.fetch(3);
    assert_eq!((count(&said, DAMAGED), count(&said, RECONNECTS)), (0, 0), "{said}");
}
