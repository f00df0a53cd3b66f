//! Follows the prefix that is done, in file order: makes the MD5 of the whole file while
//! it arrives, and gives the bytes out where they are to go out. Those of a file are read
//! back, which finds them in the page cache.

#![forbid(unsafe_code)]

use super::{Shared, Store};
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::Error;
use ropewalk::hash::Md5;
use ropewalk::transfer::queue::End;
use std::io;

/// Bytes hashed at once: small, so that they stay in the processor's cache.
const BUFFER: u64 = 64 << 10;

/// Follows until the end. `None` where the transfer did not come to one, or no MD5 is
/// wanted.
pub(super) fn run(shared: &Shared) -> Option<[u8; 16]> {
    let mut follower = Follower {
        shared,
        digest: (shared.job.verify == Verify::Md5).then(Md5::new),
        buffer: vec![0; BUFFER as usize],
        at: 0,
    };
    shared.queue.followed(0);
    while follower.at < shared.job.size {
        let prefix = shared.queue.wait_for_prefix(follower.at);
        if let Err(error) = follower.advance(prefix) {
            shared.fail(Error::system(&shared.job.shown, &error));
            return None;
        }
        if shared.queue.end() == Some(End::Aborted) {
            return None;
        }
    }
    follower.digest.map(Md5::finish)
}

struct Follower<'a> {
    shared: &'a Shared,
    digest: Option<Md5>,
    buffer: Vec<u8>,
    at: u64,
}

impl Follower<'_> {
    /// Goes on to `prefix`, unless all is over before. Bytes of holes are not read.
    fn advance(&mut self, prefix: u64) -> io::Result<()> {
        let Shared { queue, job, sessions, .. } = self.shared;
        while self.at < prefix && queue.end() != Some(End::Aborted) {
            let (is_hole, end) = match queue.hole_at(self.at) {
                Ok(end) => (true, end),
                Err(end) => (false, end),
            };
            let end = end.min(prefix).min(self.at + BUFFER);
            if is_hole {
                job.store.follow_hole(end - self.at)?;
                self.digest.iter_mut().for_each(|digest| digest.update_zeros(end - self.at));
            } else {
                let bytes = &mut self.buffer[..(end - self.at) as usize];
                job.store.follow(self.at, bytes)?;
                self.digest.iter_mut().for_each(|digest| digest.update(bytes));
            }
            if let Store::Piped(_) = job.store {
                // Streams that could not be asked for anything before did not fail.
                sessions.excuse();
            }
            self.at = end;
            queue.followed(self.at);
        }
        Ok(())
    }
}
