//! Failures of networks, disks, peers and processes in the middle of a transfer.

mod addresses;
mod changes;
mod classic_receivers;
mod disks;
mod network;
mod receivers;
mod senders;
mod signals;
mod waits;
