//! Tests through the real programs, over loopback. No fixed port, no sleeping for
//! luck, nothing outside the repository: each test has a folder and a loopback
//! address of its own, so that it can prove that nothing of it stays behind.

// Clippy takes only the functions marked #[test] for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod faults;
mod http;
mod limits;
mod packages;
mod resume;
mod security;
mod transfer;
