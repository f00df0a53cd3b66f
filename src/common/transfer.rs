//! What moving a file needs besides bytes: plans, queues, part files.

pub mod blocks;
pub mod confine;
pub mod growth;
pub mod identity;
pub mod journal;
pub mod meter;
pub mod outlet;
pub mod output;
pub mod partial;
pub mod pieces;
pub mod queue;
pub mod ranges;
pub mod rate;
pub mod ring;
pub mod session;
pub mod space;
pub mod trace;
pub mod window;
