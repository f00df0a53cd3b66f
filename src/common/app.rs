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
pub mod workers;

pub use crate::sys::thread as threads;
pub use crate::sys::thread::STACK as SMALL_STACK;
