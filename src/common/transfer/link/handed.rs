//! A dialler whose streams somebody else opens: the worker asks its parent for each, and the
//! parent hands the stream over.

#![forbid(unsafe_code)]

use super::dial::Dial;
use crate::codec::message::session::Session;
use crate::codec::wire::Hello;
use crate::sys::stream::Stream;
use crate::sys::sync::{lock, wait};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// Waits for streams that are handed over.
#[derive(Clone)]
pub struct HandedDial(Arc<Shared>);

struct Shared {
    /// Asks for one more stream.
    ask: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Answers that nobody has taken yet.
    answers: VecDeque<io::Result<Stream>>,
    /// The number of the session. Who waits for a stream of an old one waits no more.
    generation: u64,
    over: bool,
}

impl HandedDial {
    /// A dialler that calls `ask` for each stream. [`HandedDial::answer`] must follow each time, or
    /// the end.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> HandedDial {
        let (state, changed) = (Mutex::default(), Condvar::new());
        HandedDial(Arc::new(Shared { ask: Box::new(ask), state, changed }))
    }

    /// Hands over a stream, or says why there is none.
    pub fn answer(&self, answer: io::Result<Stream>) {
        let mut state = lock(&self.0.state);
        if !state.over {
            state.answers.push_back(answer);
        }
        self.0.changed.notify_one();
    }
}

impl Dial for HandedDial {
    /// The parent decides how long an attempt takes, and answers each request: a person may have
    /// to type a password first.
    fn dial(&self, _until: Instant) -> io::Result<Stream> {
        let generation = lock(&self.0.state).generation;
        (self.0.ask)();
        let mut state = lock(&self.0.state);
        loop {
            if state.over || state.generation != generation {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match state.answers.pop_front() {
                Some(answer) => return answer,
                None => state = wait(&self.0.changed, state),
            }
        }
    }

    fn lends(&self) -> bool {
        true
    }

    fn renew(&self, _session: &Session) {
        let mut state = lock(&self.0.state);
        state.generation += 1;
        state.answers.clear();
        self.0.changed.notify_all();
    }

    /// The end of the connections tells the peer.
    fn take_leave(&self, _hello: &Hello) {}

    fn end(&self) {
        let mut state = lock(&self.0.state);
        state.over = true;
        state.answers.clear();
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::mpsc;
    use std::thread;

    /// A dialler, and word of each request.
    fn dial() -> (HandedDial, mpsc::Receiver<()>) {
        let (asked, requests) = mpsc::channel();
        let asked = Mutex::new(asked);
        (HandedDial::new(move || lock(&asked).send(()).unwrap()), requests)
    }

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_stream_is_asked_for_and_handed_over() {
        let (dial, requests) = dial();
        let parent = dial.clone();
        thread::scope(|scope| {
            scope.spawn(move || {
                requests.recv().unwrap();
                let (here, there) = Stream::pair().unwrap();
                there.write_all(b"x").unwrap();
                parent.answer(Ok(here));
                requests.recv().unwrap();
                parent.answer(Err(io::ErrorKind::ConnectionRefused.into()));
            });
            assert_eq!(dial.dial(now()).unwrap().read(&mut [0; 2]).unwrap(), 1);
            assert_eq!(dial.dial(now()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn another_session_and_the_end_end_every_wait() {
        let address: SocketAddr = ([0; 4], 0).into();
        let session = Session { address, control: address, token: [0; 16], streams: 1 };
        let ends: [&dyn Fn(&HandedDial); 2] = [&|dial| dial.renew(&session), &|dial| dial.end()];
        for end in ends {
            let (dial, requests) = dial();
            let waiting = dial.clone();
            let waits = thread::spawn(move || waiting.dial(now()).map(drop));
            requests.recv().unwrap();
            end(&dial);
            assert_eq!(waits.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
        }
    }

    #[test]
    fn a_stream_of_an_old_session_is_closed() {
        let (dial, _requests) = dial();
        let (here, there) = Stream::pair().unwrap();
        dial.answer(Ok(here));
        let address: SocketAddr = ([0; 4], 0).into();
        dial.renew(&Session { address, control: address, token: [0; 16], streams: 1 });
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
    }
}
