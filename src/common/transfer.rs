//! The engine: moves a file from a source to a sink over many streams. It knows no process, no
//! command line and no HTTP.

pub mod classic;
pub mod link;
pub mod meter;
pub mod queue;
pub mod sink;
pub mod source;
pub mod store;
pub mod timing;
pub mod trace;
