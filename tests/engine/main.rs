//! The engine in one process: sources and sinks over streams that were dialled, accepted or
//! handed over, in any combination; and its waits, each a thousandth of the real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod answers;
mod delta;
mod directions;
mod fair;
mod feed;
mod folders;
mod network;
mod outages;
mod random;
mod sync;
mod sync_hostile;
mod sync_md5;
mod trees;
mod waits;
mod ways;
mod wishes;
mod world;

/// So many bytes that look like nothing in particular.
fn content(length: usize) -> Vec<u8> {
    let mut random = random::Random::from_seed(length as u64);
    let mut bytes = vec![0; length.next_multiple_of(8)];
    bytes.chunks_exact_mut(8).for_each(|place| place.copy_from_slice(&random.next().to_le_bytes()));
    bytes.truncate(length);
    bytes
}
