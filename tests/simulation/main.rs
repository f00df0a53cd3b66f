//! A seeded simulation of whole transfers in one process: a source and a sink over a network
//! with faults, sessions that are lost, kills and resumes. The file is the judge.
//!
//! ```text
//! cargo test --test simulation                        200 seeds, from a new one on
//! cargo test --test simulation -- --seed N            one seed again
//! cargo test --test simulation -- --seeds N --from M  many
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../engine/network.rs"]
mod network;
mod plan;
#[path = "../engine/random.rs"]
mod random;
mod run;
mod tree;
#[path = "../engine/world.rs"]
mod world;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, abort};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No run takes so long: it hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs at once. Most of a run is waiting.
const AT_ONCE: usize = 6;

struct Options {
    from: u64,
    seeds: u64,
    shows: bool,
}

/// The options; `None` where another test's filter was given, for which there is nothing here.
fn options() -> Option<Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let mut options = Options { from: now % 1_000_000_000, seeds: 200, shows: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--seed" => {
                options.from = number().expect("--seed N");
                (options.seeds, options.shows) = (1, true);
            }
            "--seeds" => options.seeds = number().expect("--seeds N"),
            "--from" => options.from = number().expect("--from N"),
            "--list" => return None,
            option if option.starts_with('-') => {}
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(Options { from, seeds, shows }) = options() else { return ExitCode::SUCCESS };
    println!("simulation: {seeds} seeds from {from}");
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(seeds as usize) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= seeds {
                        return;
                    }
                    if !holds(from + index, shows) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        0 => {
            println!("simulation: every file and every tree is right");
            ExitCode::SUCCESS
        }
        failed => {
            println!("simulation: {failed} of {seeds} seeds failed");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed. A run that hangs ends the process, since nothing else can end it.
fn holds(seed: u64, shows: bool) -> bool {
    let (over, ends) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ends.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            println!("simulation: seed {seed} hangs: {:?}", plan::Plan::new(seed));
            abort();
        }
    });
    let plan = plan::Plan::new(seed);
    if shows {
        println!("{plan:#?}");
    }
    let tree = tree::TreePlan::new(seed);
    if shows {
        println!("{tree:#?}");
    }
    let file = catch_unwind(AssertUnwindSafe(|| run::run(&plan)));
    let folder = catch_unwind(AssertUnwindSafe(|| tree::run(&tree)));
    drop(over);
    let _ = watchdog.join();
    judged(seed, file, &plan) & judged(seed, folder, &tree)
}

/// Says what is wrong, where something is.
fn judged(seed: u64, outcome: thread::Result<Result<(), String>>, plan: &dyn Debug) -> bool {
    match outcome {
        Ok(Ok(())) => return true,
        Ok(Err(what)) => println!("simulation: seed {seed}: {what}: {plan:?}"),
        Err(_) => println!("simulation: seed {seed} panicked: {plan:?}"),
    }
    false
}
