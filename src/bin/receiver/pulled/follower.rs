//! The MD5 of the whole file, made while it arrives: follows the prefix that is done,
//! and reads it back, which finds it in the page cache.

#![forbid(unsafe_code)]

use super::Shared;
use ropewalk::error::Error;
use ropewalk::hash::Md5;
use ropewalk::transfer::queue::End;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes hashed at once: small, so that they stay in the processor's cache.
const BUFFER: u64 = 64 << 10;

/// Hashes until the end. `None` where the transfer did not come to one.
pub(super) fn run(shared: &Shared) -> Option<[u8; 16]> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; BUFFER as usize];
    let mut at = 0;
    shared.queue.followed(at);
    while at < shared.job.size {
        let prefix = shared.queue.wait_for_prefix(at);
        if shared.queue.end() == Some(End::Aborted) {
            return None;
        }
        if let Err(error) = hash(shared, &mut digest, &mut buffer, &mut at, prefix) {
            shared.fail(Error::system(&shared.job.shown, &error));
            return None;
        }
    }
    Some(digest.finish())
}

/// Hashes from `at` to `prefix`; holes are not read.
fn hash(
    shared: &Shared,
    digest: &mut Md5,
    buffer: &mut [u8],
    at: &mut u64,
    prefix: u64,
) -> io::Result<()> {
    while *at < prefix {
        match shared.queue.hole_at(*at) {
            Ok(hole_end) => {
                let end = hole_end.min(prefix);
                digest.update_zeros(end - *at);
                *at = end;
                shared.queue.followed(*at);
            }
            Err(data_end) => {
                let end = data_end.min(prefix);
                while *at < end {
                    let piece = &mut buffer[..(end - *at).min(BUFFER) as usize];
                    shared.job.part.read_exact_at(piece, *at)?;
                    digest.update(piece);
                    *at += piece.len() as u64;
                    shared.queue.followed(*at);
                }
            }
        }
    }
    Ok(())
}
