//! Transfers that stop and go on: what counts, what does not, and what survives.

mod part_file;
mod sessions;
