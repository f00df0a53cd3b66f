//! Tests through the real programs, over loopback. They use no fixed port, wait for no guessed
//! time, and touch nothing outside the repository. Each test has its own folder and its own
//! loopback address, so it can prove that it leaves nothing behind.

// Clippy takes only functions marked #[test] for tests. In this crate every function is part of
// one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod faults;
mod http;
mod limits;
mod packages;
mod push;
mod resume;
mod security;
mod through;
mod transfer;
mod trees;
