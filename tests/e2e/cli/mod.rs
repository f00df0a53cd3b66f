//! What the programs print, and what they make of a command line.

mod errors;
mod log;
mod progress;
mod terminal;
mod trace;
mod url;
mod usage;
