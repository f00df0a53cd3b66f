//! What the four programs share above the data plane: options, HTTP over a
//! socket, jobs, signals, supervision, the terminal.

pub mod http;
pub mod job;
pub mod options;
pub mod program;
pub mod programs;
pub mod report;
pub mod resolve;
pub mod secrets;
pub mod signals;
pub mod supervise;
pub mod terminal;
pub mod threads;
pub mod workers;

/// Stack of a thread that only moves bytes and waits.
pub const SMALL_STACK: usize = 256 << 10;
