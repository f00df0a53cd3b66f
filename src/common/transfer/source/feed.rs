//! What a source reads in order and cannot read again, such as a pipe. A window of it stays in
//! memory, since a stream that breaks has its ranges asked for on another one.

#![forbid(unsafe_code)]

use super::wait_blocks::WaitBlocks;
use crate::codec::wire::OPEN_WINDOW;
use crate::hash::Md5;
use crate::sys::poll;
use crate::sys::sync::{lock, wait, wait_for};
use crate::transfer::store::ring::Ring;
use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Bytes that are read at once.
const PIECE: u64 = 128 << 10;

/// A descriptor that is read in order, and its window.
pub struct Feed {
    input: File,
    window: Ring,
    /// Whether an MD5 is made of it.
    is_hashed: bool,
    state: Mutex<State>,
    changed: Condvar,
    /// Comes to its end with the transfer, for a read that waits.
    bell: UnixStream,
    ringer: UnixStream,
}

#[derive(Default)]
struct State {
    /// Bytes that were read.
    read: u64,
    /// The first byte that the window keeps. The sink has those before it.
    kept: u64,
    end: Option<End>,
    over: bool,
}

/// Why no more is read.
#[derive(Clone, Copy)]
enum End {
    /// There is no more. With the MD5 of all, where one is made.
    Complete(Option<[u8; 16]>),
    /// It cannot be read.
    Failed,
}

/// What the window has of a range.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it.
    All,
    /// The input has so many bytes: fewer than the range needs.
    EndsAt(u64),
    /// The sink has it already, or asks for more than the window can keep.
    Outside,
    /// The input cannot be read.
    Unreadable,
    /// Nobody wants it any more: the stream or the transfer has ended.
    Over,
}

impl Feed {
    /// Of this descriptor, from its current offset on.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(input: File, is_hashed: bool) -> io::Result<Feed> {
        let (bell, ringer) = UnixStream::pair()?;
        Ok(Feed {
            input,
            window: Ring::new(OPEN_WINDOW as usize),
            is_hashed,
            state: Mutex::default(),
            changed: Condvar::new(),
            bell,
            ringer,
        })
    }

    /// Reads to the end, as far as the window has room.
    pub(super) fn run(&self) {
        let (mut digest, mut buffer) = (self.is_hashed.then(Md5::new), vec![0; PIECE as usize]);
        while let Some(room) = self.wait_for_room() {
            match poll::readable(&[self.input.as_fd(), self.bell.as_fd()], None).as_deref() {
                Ok([_, false]) => {}
                Ok(_) => return,
                Err(_) => return self.end(End::Failed),
            }
            match (&self.input).read(&mut buffer[..room.min(PIECE) as usize]) {
                Ok(0) => return self.end(End::Complete(digest.map(Md5::finish))),
                Ok(count) => {
                    let bytes = &buffer[..count];
                    digest.iter_mut().for_each(|digest| digest.update(bytes));
                    let at = lock(&self.state).read;
                    self.window.write(at, bytes);
                    lock(&self.state).read += count as u64;
                    self.changed.notify_all();
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => return self.end(End::Failed),
            }
        }
    }

    /// How many bytes the window has room for; waits until it has. `None` at the end.
    fn wait_for_room(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        loop {
            match self.window.size() - (state.read - state.kept) {
                _ if state.over => return None,
                0 => state = wait(&self.changed, state),
                room => return Some(room),
            }
        }
    }

    fn end(&self, end: End) {
        lock(&self.state).end = Some(end);
        self.changed.notify_all();
    }

    /// The transfer is over: nothing is read, and nothing waits for it.
    pub(super) fn close(&self) {
        lock(&self.state).over = true;
        self.changed.notify_all();
        let _ = self.ringer.shutdown(Shutdown::Both);
    }

    /// The MD5 of all, if one was made.
    pub(super) fn md5(&self) -> Option<[u8; 16]> {
        match lock(&self.state).end {
            Some(End::Complete(md5)) => md5,
            Some(End::Failed) | None => None,
        }
    }

    /// Waits until `range` was read. That the sink asks for it says that it has everything a
    /// window before its end. `waits` keeps the stream alive meanwhile, and `alive` the session.
    pub(super) fn find(
        &self,
        range: &Range<u64>,
        waits: &mut WaitBlocks<'_>,
        alive: impl Fn(),
    ) -> Found {
        let mut state = lock(&self.state);
        if range.start < state.kept || range.end - state.read.min(range.end) > OPEN_WINDOW {
            return Found::Outside;
        }
        state.kept = state.kept.max(range.end.saturating_sub(OPEN_WINDOW));
        self.changed.notify_all();
        loop {
            if let Some(found) = state.look(range) {
                return found;
            }
            state = self.wait_a_while(state, waits);
            if state.look(range).is_none() {
                drop(state);
                alive();
                waits.send_if_due();
                if waits.has_failed() {
                    return Found::Over;
                }
                state = lock(&self.state);
            }
        }
    }

    fn wait_a_while<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        waits: &WaitBlocks<'_>,
    ) -> MutexGuard<'a, State> {
        wait_for(&self.changed, state, waits.until_due())
    }

    /// Fills `bytes` with those from `offset`, which were found.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.window.read(offset, bytes);
    }
}

impl State {
    fn look(&self, range: &Range<u64>) -> Option<Found> {
        match self.end {
            _ if self.over => Some(Found::Over),
            _ if self.read >= range.end => Some(Found::All),
            Some(End::Complete(_)) => Some(Found::EndsAt(self.read)),
            Some(End::Failed) => Some(Found::Unreadable),
            None => None,
        }
    }
}

/// Whether the next attempt to read may succeed.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::thread;

    /// A feed that another thread reads, and the end of the pipe that feeds it.
    fn with_feed(test: impl FnOnce(&Feed, &mut File)) {
        let ends = UnixStream::pair().unwrap();
        let (reader, writer) = (OwnedFd::from(ends.0), OwnedFd::from(ends.1));
        let feed = Feed::new(File::from(reader), true).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| feed.run());
            let mut writer = File::from(writer);
            test(&feed, &mut writer);
            drop(writer);
            feed.close();
        });
    }

    fn find(feed: &Feed, range: Range<u64>) -> Found {
        feed.find(&range, &mut WaitBlocks::none(), || {})
    }

    #[test]
    fn a_range_is_waited_for_and_the_end_is_told() {
        with_feed(|feed, writer| {
            writer.write_all(b"0123456789").unwrap();
            assert_eq!(find(feed, 2..10), Found::All);
            let mut bytes = [0; 3];
            feed.read(2, &mut bytes);
            assert_eq!(&bytes, b"234");
            *writer = File::open("/dev/null").unwrap();
            assert_eq!(find(feed, 5..11), Found::EndsAt(10));
            assert_eq!(find(feed, 20..30), Found::EndsAt(10));
            let mut digest = Md5::new();
            digest.update(b"0123456789");
            assert_eq!(feed.md5(), Some(digest.finish()));
        });
    }

    #[test]
    fn what_the_sink_has_makes_room_for_more_and_nothing_else_does() {
        with_feed(|feed, writer| {
            let mut writer = writer.try_clone().unwrap();
            let more = thread::spawn(move || {
                let piece = vec![7; 1 << 20];
                for _ in 0..(OPEN_WINDOW >> 20) + 8 {
                    let _ = writer.write_all(&piece);
                }
            });
            assert_eq!(find(feed, OPEN_WINDOW - 1..OPEN_WINDOW), Found::All);
            assert_eq!(lock(&feed.state).read, OPEN_WINDOW);
            // The sink cannot know that more has come.
            assert_eq!(find(feed, 0..2 * OPEN_WINDOW + 1), Found::Outside);
            assert_eq!(find(feed, OPEN_WINDOW..OPEN_WINDOW + (8 << 20)), Found::All);
            assert_eq!(find(feed, (8 << 20) - 1..9 << 20), Found::Outside);
            more.join().unwrap();
        });
    }

    #[test]
    fn a_folder_cannot_be_read_in_order() {
        let feed = Feed::new(File::open("/").unwrap(), false).unwrap();
        feed.run();
        assert_eq!(find(&feed, 0..1), Found::Unreadable);
    }

    #[test]
    fn the_end_of_the_transfer_ends_every_wait() {
        with_feed(|feed, _| {
            thread::scope(|scope| {
                let waits = scope.spawn(|| find(feed, 0..1));
                feed.close();
                assert_eq!(waits.join().unwrap(), Found::Over);
            });
        });
    }
}
