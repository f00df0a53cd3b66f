//! Checksums: bytes in, digests out. No I/O. Only the files that use a processor's own
//! instructions contain `unsafe`.
//!
//! (A module above such a file has no `forbid(unsafe_code)`: a forbidden lint cannot be allowed
//! below. The crate denies it.)

mod block;
pub mod crc32c;
pub mod hex;
pub mod hmac;
pub mod md5;
pub mod sha256;

pub use crc32c::crc32c;
pub use hex::{from_hex, hex, push_hex};
pub use hmac::{hmac_sha256, same_secretly};
pub use md5::{MD5_UNIT, Md5};
pub use sha256::{Sha256, Sha256Pair};
