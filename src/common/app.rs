//! The parts that at least two programs share, above the engine: options, HTTP over a socket,
//! jobs, signals, supervision, the terminal.

pub mod http;
pub mod job;
pub mod options;
pub mod program;
pub mod programs;
pub mod report;
pub mod resolve;
pub mod secrets;
pub mod signals;
pub mod streams;
pub mod supervise;
pub mod terminal;
pub mod workers;
