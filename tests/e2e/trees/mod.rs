//! Folders that are fetched: every kind of entry, kills, changes, disks, deletes and options.

mod changes;
mod deletes;
mod disks;
mod entries;
mod failing;
mod folding;
mod kills;
mod old_kernel;
mod options;
mod signals;
