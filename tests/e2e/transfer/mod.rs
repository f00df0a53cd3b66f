//! Transfers that succeed: files of every kind, over any number of streams, in every way.

mod auto;
mod data_ports;
mod delta;
mod files;
mod holes;
mod large;
mod one_port;
mod outputs;
mod piped;
mod slow_stream;
mod tree_sessions;
mod up_to_date;
mod verify;
