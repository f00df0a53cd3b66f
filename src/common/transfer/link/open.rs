//! The connected streams of a transfer. One call ends all of them.

#![forbid(unsafe_code)]

use crate::codec::wire::Request;
use crate::sys::stream::Stream;
use crate::sys::sync::{lock, wait_until};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long the last request may take to send. It is smaller than any socket's buffer; where it
/// does not fit, it is not needed.
const LAST_REQUEST_TIME: Duration = Duration::from_millis(1);

/// The connected streams.
#[derive(Debug, Default)]
pub struct OpenStreams {
    state: Mutex<State>,
    /// Notified when a stream is removed.
    removed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<Open>,
    over: bool,
}

#[derive(Debug)]
struct Open {
    number: usize,
    stream: Arc<Stream>,
    /// Whether both ends know that the stream belongs to the transfer.
    greeted: bool,
}

impl OpenStreams {
    /// Adds stream `number`, which is connected and has sent no hello. `false` when the transfer is
    /// over.
    pub fn add(&self, number: usize, stream: &Arc<Stream>) -> bool {
        let mut state = lock(&self.state);
        if !state.over {
            state.streams.push(Open { number, stream: stream.clone(), greeted: false });
        }
        !state.over
    }

    /// Adds an accepted stream, which has shown the token. Returns its number, the lowest free
    /// number; `None` when the transfer is over.
    pub fn join(&self, stream: &Arc<Stream>) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.over {
            return None;
        }
        let taken = |number: &usize| state.streams.iter().any(|open| open.number == *number);
        let number = (0..).find(|number| !taken(number))?;
        state.streams.push(Open { number, stream: stream.clone(), greeted: true });
        Some(number)
    }

    /// Stream `number` has sent its hello.
    pub fn greeted(&self, number: usize) {
        let mut state = lock(&self.state);
        state.streams.iter_mut().filter(|open| open.number == number).for_each(|open| {
            open.greeted = true;
        });
    }

    /// Stream `number` is not connected any more.
    pub fn remove(&self, number: usize) {
        lock(&self.state).streams.retain(|open| open.number != number);
        self.removed.notify_all();
    }

    /// Waits until no stream is connected, for `limit` at most.
    pub fn wait_until_empty(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let is_empty = |state: &State| state.streams.is_empty();
        drop(wait_until(&self.removed, lock(&self.state), deadline, is_empty));
    }

    /// Whether no stream is connected.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).streams.is_empty()
    }

    /// Whether a stream is open that has greeted its peer.
    pub fn has_greeted(&self) -> bool {
        lock(&self.state).streams.iter().any(|open| open.greeted)
    }

    /// The shortest round trip of the streams; `None` where the kernel knows none.
    pub fn round_trip(&self) -> Option<Duration> {
        lock(&self.state).streams.iter().filter_map(|open| open.stream.round_trip()).min()
    }

    /// Sends `last` on each greeted stream, and ends every stream, now and later.
    pub fn end(&self, last: Option<Request<'static>>) {
        self.end_within(last, LAST_REQUEST_TIME);
    }

    fn end_within(&self, last: Option<Request<'static>>, limit: Duration) {
        let streams: Vec<(Arc<Stream>, bool)> = {
            let mut state = lock(&self.state);
            state.over = true;
            state.streams.iter().map(|open| (open.stream.clone(), open.greeted)).collect()
        };
        for (stream, greeted) in &streams {
            // What carries the stream may be used again behind `last`. What the peer sends there
            // must not go into a socket that nobody reads any more: it gets an error instead.
            if !stream.is_tcp() {
                stream.shut(Shutdown::Read);
            }
            if let Some(request) = last.filter(|_| *greeted) {
                let _ = stream.set_write_timeout(Some(limit));
                let _ = stream.write_all(&request.encode());
            }
            stream.shut(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::wire::REQUEST_SIZE;
    use std::io::ErrorKind;
    use std::thread;

    /// Long enough for everything that happens.
    const LIMIT: Duration = Duration::from_secs(30);

    fn pair() -> (Arc<Stream>, Stream) {
        let (here, there) = Stream::pair().unwrap();
        (Arc::new(here), there)
    }

    #[test]
    fn the_end_tells_greeted_streams_and_shuts_all_streams() {
        let (open, (one, its_peer), (other, strange)) = (OpenStreams::default(), pair(), pair());
        assert!(open.add(0, &one) && open.add(1, &other));
        open.greeted(0);
        assert!(open.has_greeted());
        open.end(Some(Request::Finished));
        let mut bytes = [0; REQUEST_SIZE];
        assert_eq!(its_peer.read(&mut bytes).unwrap(), REQUEST_SIZE);
        assert_eq!(bytes[..], Request::Finished.encode());
        assert_eq!(strange.read(&mut bytes).unwrap(), 0);
        assert!(!open.add(2, &one));
        assert_eq!(open.join(&one), None);
    }

    #[test]
    fn a_carried_stream_takes_nothing_any_more_before_it_says_that_it_ends() {
        let (open, (one, its_peer)) = (OpenStreams::default(), pair());
        open.add(0, &one);
        open.greeted(0);
        // Both directions are full, so both sides wait.
        for (from, to) in [(&*one, &its_peer), (&its_peer, &*one)] {
            from.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            while from.write_all(&[0; 4096]).is_ok() {}
            from.set_write_timeout(Some(LIMIT)).unwrap();
            to.set_read_timeout(Some(LIMIT)).unwrap();
        }
        let mut bytes = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| open.end_within(Some(Request::Finished), LIMIT));
            assert_eq!(its_peer.write_all(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = its_peer.read(&mut piece) {
                bytes.extend_from_slice(&piece[..count]);
            }
        });
        assert!(bytes.ends_with(&Request::Finished.encode()));
    }

    #[test]
    fn an_accepted_stream_gets_the_lowest_free_number() {
        let (open, (stream, _peer)) = (OpenStreams::default(), pair());
        assert_eq!([(); 3].map(|()| open.join(&stream)), [Some(0), Some(1), Some(2)]);
        open.remove(1);
        assert_eq!(open.join(&stream), Some(1));
    }
}
