//! Transfers that stop and resume: which bytes count, which do not, and what survives.

mod changed;
mod part_file;
mod sessions;
