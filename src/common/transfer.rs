//! What moving a file needs besides bytes: plans, queues, part files.

pub mod blocks;
pub mod confine;
pub mod meter;
pub mod output;
pub mod pieces;
pub mod rate;
