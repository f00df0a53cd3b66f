//! Tests through the real programs, over loopback. No fixed port, no sleeping for
//! luck, nothing outside the repository: each test has a folder and a loopback
//! address of its own, so that it can prove that nothing of it stays behind.

// Clippy takes only the functions marked #[test] for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod classic_peers;
mod harness;
mod path;
mod proof;
mod pty;
mod pulled_peers;
mod relay;
mod system;

mod activation;
mod auth;
mod auto;
mod changes;
mod connections;
mod data_ports;
mod digest;
mod errors;
mod faults;
mod goodbye;
mod holes;
mod http;
mod large;
mod late_sync;
mod limits;
mod log;
mod namespaces;
mod old_kernel;
mod one_port;
mod outputs;
mod peers;
mod piped;
mod piped_classic;
mod progress;
mod renewal;
mod resume;
mod root;
mod sandbox;
mod signals;
mod slow_stream;
mod small_files;
mod strangers;
mod streams;
mod terminal;
mod trace;
mod transfers;
mod usage;
mod user;
mod waits;
