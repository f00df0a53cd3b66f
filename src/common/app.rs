//! What the four programs share above the data plane: options, HTTP over a
//! socket, jobs, signals, supervision, the terminal.

pub mod activation;
pub mod authenticate;
pub mod connections;
pub mod http;
pub mod job;
pub mod login;
pub mod manual;
pub mod nonces;
pub mod options;
pub mod origin;
pub mod passwords;
pub mod program;
pub mod programs;
pub mod report;
pub mod resolve;
pub mod signals;
pub mod supervise;
pub mod terminal;
pub mod workers;

/// Stack of a thread that only moves bytes and waits.
pub const SMALL_STACK: usize = 256 << 10;
