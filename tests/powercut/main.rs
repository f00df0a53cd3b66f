//! The power is cut. Every call of a fetch that changes the disk is recorded, and a model
//! tells in which states the disk may be then: writes that were not synced are lost, come in
//! another order or are torn. From each of them a client has to go on, and never may a wrong
//! byte count as there, or a wrong file have the output's name.
//!
//! `POWERCUT_STATES` is how many states are tried of each history that has more than can all be
//! tried, `POWERCUT_RESUMED` how many of those a real client goes on from. `ROPEWALK_SEED`
//! repeats the choices of a run; a failed one says which it was.

// Clippy takes only the functions marked #[test] for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[allow(dead_code)] // what tests/e2e alone needs
#[path = "../support/mod.rs"]
mod support;

mod check;
mod disk;
mod explore;
mod golden;
mod histories;
mod history;
mod promise;
mod recorder;
mod states;
#[allow(dead_code)]
#[path = "../../src/common/testing.rs"]
mod testing;
mod world;
