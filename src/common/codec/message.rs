//! The messages between the programs, one type each: to JSON and from JSON. The offer, the
//! transfer request and the reason go over HTTP, the others between a parent and its worker.
//! Pure: descriptors and sockets are in `app/job.rs`. A reader ignores keys that it does
//! not know. A key that is missing or wrong is an error that names the key.

#![forbid(unsafe_code)]

pub mod envelope;
mod fields;
pub mod handed;
pub mod new_stream;
pub mod offer;
pub mod outcome;
pub mod push;
pub mod rate;
pub mod reason;
pub mod receiver_job;
pub mod report;
pub mod sender_job;
pub mod session;
pub mod slice;
pub mod streams;
pub mod transfer_request;
pub mod tree_options;
pub mod verify;
pub mod version;
