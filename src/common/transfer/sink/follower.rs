//! Follows the prefix that is done, in file order: makes the MD5 of the whole file while
//! it arrives, and gives the bytes out where they are to go out. Those of a file are read
//! back, which finds them in the page cache.

#![forbid(unsafe_code)]

use super::Sink;
use crate::codec::message::verify::Verify;
use crate::error::Error;
use crate::hash::Md5;
use crate::transfer::link::{End as _, Link};
use crate::transfer::queue::End;
use crate::transfer::store::Store;
use std::io;

/// Bytes hashed at once: small, so that they stay in the processor's cache.
const BUFFER: u64 = 64 << 10;

/// Follows until the end. `None` where the transfer did not come to one, or no MD5 is
/// wanted.
pub(super) fn run(sink: &Sink, link: &dyn Link) -> Option<[u8; 16]> {
    let mut follower = Follower {
        sink,
        link,
        digest: (sink.wanted.verify == Verify::Md5).then(Md5::new),
        buffer: vec![0; BUFFER as usize],
        at: 0,
    };
    sink.queue.followed(0);
    while follower.at < sink.queue.size() {
        let prefix = sink.queue.wait_for_prefix(follower.at);
        if let Err(error) = follower.advance(prefix) {
            sink.fail(Error::system(&sink.wanted.shown, &error));
            return None;
        }
        if sink.queue.end() == Some(End::Aborted) {
            return None;
        }
    }
    follower.digest.map(Md5::finish)
}

struct Follower<'a> {
    sink: &'a Sink,
    link: &'a dyn Link,
    digest: Option<Md5>,
    buffer: Vec<u8>,
    at: u64,
}

impl Follower<'_> {
    /// Goes on to `prefix`, unless all is over before. Bytes of holes are not read.
    fn advance(&mut self, prefix: u64) -> io::Result<()> {
        let Sink { queue, wanted, .. } = self.sink;
        while self.at < prefix && queue.end() != Some(End::Aborted) {
            let (is_hole, end) = match queue.hole_at(self.at) {
                Ok(end) => (true, end),
                Err(end) => (false, end),
            };
            let end = end.min(prefix).min(self.at + BUFFER);
            if is_hole {
                wanted.store.follow_hole(end - self.at)?;
                self.digest.iter_mut().for_each(|digest| digest.update_zeros(end - self.at));
            } else {
                let bytes = &mut self.buffer[..(end - self.at) as usize];
                wanted.store.follow(self.at, bytes)?;
                self.digest.iter_mut().for_each(|digest| digest.update(bytes));
            }
            if let Store::Piped(_) = wanted.store {
                // Until now there was no room for anything that a stream could have brought.
                self.link.is_alive();
            }
            self.at = end;
            queue.followed(self.at);
        }
        Ok(())
    }
}
