//! What the programs print, and how they read a command line.

mod errors;
mod log;
mod progress;
mod terminal;
mod trace;
mod url;
mod usage;
