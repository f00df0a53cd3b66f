//! The power is cut. The tests record every call of a fetch, a push or a PUT that changes the disk.
//! A model lists the states in which the disk may then be: writes that were not synced are lost,
//! reordered or torn. The programs must go on from each state. No wrong byte may ever count as
//! there, and no wrong file may have its real name.
//!
//! `POWERCUT_STATES` is how many states are tried of a history that has too many for all.
//! `POWERCUT_RESUMED` is how many of these a real client goes on from. A failed run prints its
//! `ROPEWALK_SEED`, which repeats the choices.

// Clippy takes only functions marked #[test] for tests. In this crate every function is part of
// one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[allow(dead_code)] // only tests/e2e needs the rest
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
mod sectors;
mod states;
#[allow(dead_code)]
#[path = "../../src/common/testing.rs"]
mod testing;
mod trees;
mod world;
