//! The histories, and what must hold in every state that they can leave.

use crate::check::lay;
use crate::explore::Explorer;
use crate::history::{History, Step};
use crate::recorder::{Run, can_record};
use crate::support::harness::content;
use crate::testing::{Random, seed};
use crate::world::{BLOCK, BLOCKS, SIZE, World};

/// A run to the end.
const WHOLE: Run = Run { dies: None, no_sync: false };

fn dies(program: &'static str, calls: usize) -> Run {
    Run { dies: Some((program, calls as u32)), no_sync: false }
}

fn explore(test: &str, world: &World, history: &History, seed: u64) {
    Explorer { test, world, history, seed, all: 256, from: 0, resumed: 8 }.explore();
}

/// How many checkpoints a history has.
pub(crate) fn checkpoints(history: &History) -> usize {
    let is_durable = |step: &&Step| match step {
        Step::Change(_, crate::disk::Change::Write(_, written)) => {
            let bytes = &written.bytes;
            bytes.len() == ropewalk::codec::journal::RECORD_SIZE && bytes[0] == b'D'
        }
        _ => false,
    };
    history.steps.iter().filter(is_durable).count()
}

/// How many calls a receiver makes that writes so many blocks, each with its record.
fn calls(blocks: usize) -> usize {
    2 * blocks
}

#[test]
fn a_small_fetch_resumes_from_every_state_of_the_disk() {
    let test = "every_state_of_a_small_fetch_is_gone_on_from";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("tiny", content(300)));
    for old in [None, Some(b"what was there".as_slice())] {
        let folder = world.folder(if old.is_some() { "over" } else { "fresh" }, old);
        let mut history = History::of(&folder);
        world.run(&mut history, &folder, &WHOLE, false);
        Explorer {
            test,
            world: &world,
            history: &history,
            seed,
            all: u64::MAX,
            from: 0,
            resumed: 20,
        }
        .explore();
    }
}

#[test]
fn a_small_fetch_resumes_after_a_kill_at_any_call() {
    let test = "a_small_fetch_that_is_killed_after_any_call_is_gone_on_from";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("tiny-killed", content(300)));
    for program in ["client", "receiver"] {
        for calls in 1.. {
            let folder = world.folder(&format!("{program}-{calls}"), Some(b"old"));
            let mut history = History::of(&folder);
            let mut client = world.client(&folder);
            let outcome = history.run(&mut client, &folder, &dies(program, calls));
            if outcome.status.success() {
                assert!(calls > 2, "{program} was never killed");
                break;
            }
            world.run(&mut history, &folder, &WHOLE, false);
            let all = 256;
            Explorer { test, world: &world, history: &history, seed, all, from: 0, resumed: 1 }
                .explore();
        }
    }
}

#[test]
fn durable_bytes_survive_a_power_cut() {
    let test = "what_a_fetch_has_made_durable_stays";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("durable", content(SIZE)));
    let folder = world.folder("folder", None);
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &WHOLE, true);
    assert!(checkpoints(&history) >= 2, "{}", checkpoints(&history));
    explore(test, &world, &history, seed);
}

#[test]
fn a_fetch_over_an_old_file_resumes_after_two_kills() {
    let test = "a_fetch_over_an_old_file_that_is_killed_twice_is_gone_on_from";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("killed", content(SIZE)));
    let mut random = Random::from_seed(seed);
    let folder = world.folder("folder", Some(&content(3000)));
    let mut history = History::of(&folder);
    let first = 3 + random.below(calls(BLOCKS / 2));
    world.run(&mut history, &folder, &dies("receiver", first), false);
    world.run(&mut history, &folder, &dies("receiver", 3 + random.below(6)), true);
    world.run(&mut history, &folder, &WHOLE, true);
    explore(test, &world, &history, seed);
}

#[test]
fn holes_that_were_made_durable_stay_holes() {
    let test = "holes_that_were_made_durable_stay_holes";
    if !can_record(test) {
        return;
    }
    let mut bytes = content(2 * SIZE);
    for hole in [1, 5, 9, 10, 15] {
        bytes[hole * BLOCK + 8192..(hole + 1) * BLOCK].fill(0);
    }
    bytes[18 * BLOCK..23 * BLOCK].fill(0);
    let (seed, world) = (seed(), World::with_holes("holes", bytes));
    let mut random = Random::from_seed(seed);
    let folder = world.folder("folder", None);
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &dies("receiver", 8 + random.below(9)), false);
    world.run(&mut history, &folder, &WHOLE, true);
    assert!(checkpoints(&history) >= 1);
    explore(test, &world, &history, seed);
}

#[test]
fn a_second_power_cut_costs_no_durable_byte() {
    let test = "one_power_cut_after_the_other_costs_nothing_that_was_durable";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("again", content(SIZE)));
    let mut random = Random::from_seed(seed);
    let folder = world.folder("folder", Some(b"old"));
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &dies("receiver", calls(BLOCKS - 2) + 3), true);
    for round in 0..2 {
        // The power is cut shortly before the end of the recording.
        let length = history.steps.len() - random.below(6);
        let state = history.cut(length).by_chance(&mut random);
        let folder = world.folder(&format!("round-{round}"), None);
        lay(&history, &state, &folder, true);
        let mut next = History::of(&folder);
        let how = if round == 0 { dies("receiver", 2 + random.below(8)) } else { WHOLE };
        world.run(&mut next, &folder, &how, round > 0);
        history = next;
        explore(test, &world, &history, seed);
    }
}

#[test]
fn without_sync_no_wrong_byte_counts_and_durable_bytes_stay() {
    let test = "without_sync_no_wrong_byte_counts_and_what_was_durable_stays";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("no-sync", content(SIZE)));
    let mut random = Random::from_seed(seed);
    let folder = world.folder("folder", Some(b"old"));
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &dies("receiver", calls(BLOCKS - 3) + 3), true);
    let killed = Run { no_sync: true, ..dies("receiver", 1 + random.below(3)) };
    world.run(&mut history, &folder, &killed, false);
    world.run(&mut history, &folder, &Run { no_sync: true, ..WHOLE }, false);
    explore(test, &world, &history, seed);
}

#[test]
fn a_changed_file_is_never_mixed_with_durable_bytes_of_the_old_file() {
    let test = "a_file_that_has_changed_is_never_mixed_with_what_was_durable_of_the_old_one";
    if !can_record(test) {
        return;
    }
    let (seed, mut world) = (seed(), World::new("changed", content(SIZE)));
    let folder = world.folder("folder", None);
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &dies("receiver", calls(BLOCKS - 3) + 3), true);
    world.bytes = content(SIZE + 1)[1..].to_vec();
    world.scratch.write("file", &world.bytes);
    world.run(&mut history, &folder, &WHOLE, false);
    explore(test, &world, &history, seed);
}

/// The file with a byte changed in every third block.
fn older(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.iter_mut().step_by(3 * BLOCK).for_each(|byte| *byte ^= 1);
    bytes
}

#[test]
fn a_delta_that_is_killed_resumes_from_every_state() {
    let test = "a_delta_that_is_killed_resumes_from_every_state";
    if !can_record(test) {
        return;
    }
    let (seed, world) = (seed(), World::new("delta", content(SIZE)));
    let mut random = Random::from_seed(seed);
    // Of another size, so that it is not up to date.
    let older = [&older(&world.bytes)[..], b"more"].concat();
    let folder = world.folder("folder", Some(&older));
    let mut history = History::of(&folder);
    let first = 3 + random.below(calls(BLOCKS));
    world.run(&mut history, &folder, &dies("receiver", first), true);
    world.run(&mut history, &folder, &WHOLE, true);
    explore(test, &world, &history, seed);
}

#[test]
fn a_part_file_that_is_the_basis_is_never_mixed_with_the_new_one() {
    let test = "a_part_file_that_is_the_basis_is_never_mixed_with_the_new_one";
    if !can_record(test) {
        return;
    }
    let (seed, mut world) = (seed(), World::new("basis", content(SIZE)));
    let mut random = Random::from_seed(seed);
    let folder = world.folder("folder", Some(b"old"));
    let mut history = History::of(&folder);
    world.run(&mut history, &folder, &dies("receiver", calls(BLOCKS - 3) + 3), true);
    world.bytes = older(&world.bytes);
    world.scratch.write("file", &world.bytes);
    let killed = dies("receiver", 1 + random.below(calls(BLOCKS)));
    world.run(&mut history, &folder, &killed, false);
    world.run(&mut history, &folder, &WHOLE, true);
    explore(test, &world, &history, seed);
}

#[test]
fn a_client_that_is_killed_while_it_takes_a_part_file_as_basis_leaves_no_wrong_byte() {
    let test = "a_client_that_is_killed_while_it_takes_a_part_file_as_basis_leaves_no_wrong_byte";
    if !can_record(test) {
        return;
    }
    let seed = seed();
    for calls_of_client in 1.. {
        let mut world = World::new(&format!("basis-{calls_of_client}"), content(SIZE));
        let folder = world.folder("folder", None);
        let mut history = History::of(&folder);
        world.run(&mut history, &folder, &dies("receiver", calls(BLOCKS - 3) + 3), false);
        // Every history begins with such a run.
        let from = if calls_of_client == 1 { 0 } else { history.steps.len() };
        world.bytes = older(&world.bytes);
        world.scratch.write("file", &world.bytes);
        let mut client = world.client(&folder);
        let outcome = history.run(&mut client, &folder, &dies("client", calls_of_client));
        if outcome.status.success() {
            assert!(calls_of_client > 4, "the client was never killed");
            break;
        }
        world.run(&mut history, &folder, &WHOLE, false);
        Explorer { test, world: &world, history: &history, seed, all: 64, from, resumed: 1 }
            .explore();
    }
}
