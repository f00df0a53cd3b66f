//! Checksums: bytes in, digests out. Nothing here does I/O or knows what a
//! file is. `unsafe` only in the files that use a processor's own instructions.
//!
//! (No `forbid(unsafe_code)` in a module that has such a file below it: a lint
//! once forbidden cannot be allowed again further down. The crate denies it.)

mod block;
pub mod crc32c;
pub mod hex;
pub mod hmac;
pub mod md5;
pub mod sha256;

pub use crc32c::crc32c;
pub use hex::{from_hex, hex};
pub use hmac::{hmac_sha256, same_secretly};
pub use md5::Md5;
pub use sha256::Sha256;
