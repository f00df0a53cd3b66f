//! Fuzzing by corpus, without any tool: each fuzz target gets its seeds and mutations of them. Each
//! run makes other mutations. A failure prints `ROPEWALK_SEED`, which repeats them.

#![forbid(unsafe_code)]
#![allow(clippy::panic)] // this is how a test fails

mod targets;
#[path = "../../src/common/testing.rs"]
mod testing;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use targets::{TARGETS, Target};
use testing::Random;

/// How many inputs each target gets, besides the seeds themselves.
const INPUTS: usize = 200_000;

/// The longest input, in bytes.
const MAX_INPUT: usize = 2048;

/// The most changes to a seed in one input.
const MAX_CHANGES: u64 = 6;

/// Bytes that are special to some parser.
const TELLING: &[u8] =
    b"\0\t\n\r \"%'()*+,-./0123456789:;<=>?@AEWZ[\\]aebfx{|}~\x7f\x80\xff\xc3\xa9";

/// A random part of a text of this length: its start and its end.
fn span(random: &mut Random, length: usize) -> (usize, usize) {
    let start = random.below(length + 1);
    let most = if random.below(4) == 0 { length } else { 12 };
    (start, (start + random.below(most + 1)).min(length))
}

/// Changes `input` once.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let place = random.below(input.len());
    match random.below(9) {
        0 if !input.is_empty() => input[place] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[place] = TELLING[random.below(TELLING.len())],
        2 if !input.is_empty() => input[place] = random.next() as u8,
        3 => input.insert(place, TELLING[random.below(TELLING.len())]),
        4 => {
            let (start, end) = span(random, input.len());
            input.drain(start..end);
        }
        5 => {
            let (start, end) = span(random, input.len());
            let piece = input[start..end].to_vec();
            input.splice(place..place, piece);
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let (start, end) = span(random, other.len());
            let (from, to) = span(random, input.len());
            input.splice(from..to, other[start..end].iter().copied());
        }
        7 => {
            let count = 1 + random.below(40);
            let byte = TELLING[random.below(TELLING.len())];
            input.splice(place..place, std::iter::repeat_n(byte, count));
        }
        _ => {
            let number = random.next() >> random.below(64);
            input.splice(place..place, number.to_string().into_bytes());
        }
    }
    input.truncate(MAX_INPUT);
}

/// The files of a target's folder, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.sort();
    let seeds: Vec<_> = files.iter().filter_map(|path| fs::read(path).ok()).collect();
    assert!(seeds.len() >= 2, "{}: too few seeds", folder.display());
    seeds
}

fn try_input(name: &str, target: Target, number: usize, input: &[u8]) {
    let failed = catch_unwind(|| target(input)).is_err();
    assert!(!failed, "{name}, input {number}: \"{}\"", input.escape_ascii());
}

fn run(name: &str, target: Target) {
    let seeds = seeds(name);
    for (number, seed) in seeds.iter().enumerate() {
        try_input(name, target, number, seed);
    }
    let mut random = Random::new();
    for number in 0..INPUTS {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.next() % MAX_CHANGES {
            mutate(&mut input, &seeds, &mut random);
        }
        try_input(name, target, number, &input);
    }
}

fn run_named(name: &str) {
    let found = TARGETS.iter().find(|(own, _)| *own == name);
    found.map_or_else(|| panic!("no target {name}"), |(_, target)| run(name, *target));
}

/// A separate test for each target, so that the targets run in parallel.
macro_rules! each {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run_named(stringify!($name)); })*

        #[test]
        fn every_target_is_run_and_has_a_file_in_fuzz() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
            for (name, _) in TARGETS {
                let path = format!("fuzz/fuzz_targets/{name}.rs");
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists(), "{path}");
            }
        }
    };
}

each! { request_head response_head json range authorization challenge percent fields wire entries messages journal }
