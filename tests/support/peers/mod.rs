//! Peers that a test plays by hand, message by message.

pub(crate) mod classic;
pub(crate) mod sink;
pub(crate) mod tree;
