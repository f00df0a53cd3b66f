//! What moving a file needs besides bytes: plans, queues, part files.

pub mod blocks;
pub mod classic;
pub mod confine;
pub mod growth;
pub mod identity;
pub mod journal;
pub mod link;
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
pub mod sink;
pub mod source;
pub mod space;
pub mod store;
pub mod timing;
pub mod trace;
pub mod window;
