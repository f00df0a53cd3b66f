//! Failures of networks, disks, peers and processes in the middle of a transfer.

mod changes;
mod classic_receivers;
mod disks;
mod goodbye;
mod late_sync;
mod network;
mod receivers;
mod senders;
mod signals;
mod waits;
