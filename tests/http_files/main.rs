//! The server seen by HTTP clients that are not ropewalk's: files, parts of them,
//! conditions, digests, and the offer of a transfer. Real program, loopback.

// Clippy takes only the functions marked #[test] for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod harness;

mod changes;
mod digests;
mod files;
mod index;
mod metrics;
mod offers;
mod pace;
mod pages;
mod tools;
