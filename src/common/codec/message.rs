//! The messages between a program and its worker, one type each: to JSON and from JSON.
//! Pure: descriptors and sockets are in `app/job.rs`. A reader ignores keys that it does
//! not know. A key that is missing or wrong is an error that names the key.

#![forbid(unsafe_code)]

pub mod envelope;
mod fields;
pub mod handed;
pub mod rate;
pub mod receiver_job;
pub mod report;
pub mod sender_job;
pub mod session;
pub mod slice;
pub mod verify;
pub mod version;
