//! How the dialler finds a session lost, renews it and ends it.

#![forbid(unsafe_code)]

use super::*;
use crate::error::Error;
use crate::transfer::link::dial::TcpDial;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// A session with ports at the address 127.63.0.2.
fn session() -> Session {
    let [address, control] = [1, 2].map(|port| SocketAddr::from(([127, 63, 0, 2], port)));
    Session { address, control, token: [0; 16], streams: 4 }
}

/// A dialler of that session, with a data port that has brought nothing.
fn untried() -> Dialler {
    let timing = Timing::default();
    let dial = TcpDial::new(session(), false, timing).unwrap();
    Dialler::new(Box::new(dial), session().token, session().streams, timing)
}

/// A dialler of that session, with a data port that has brought a block.
fn dialler() -> Dialler {
    let dialler = untried();
    dialler.is_good(0);
    dialler
}

#[test]
fn a_session_is_lost_once_after_several_refusals() {
    let dialler = dialler();
    let refused = io::Error::from(ErrorKind::ConnectionRefused);
    dialler.failed(0, 0, &refused);
    assert_eq!(dialler.take_loss(), None);
    dialler.failed(1, 0, &refused);
    assert!(dialler.take_loss().is_some());
    assert_eq!(dialler.take_loss(), None);
}

#[test]
fn failures_of_an_old_session_do_not_lose_the_new_one() {
    let dialler = dialler();
    dialler.renew(&session());
    dialler.is_good(1);
    for _ in 0..10 {
        dialler.failed(0, 0, &ErrorKind::ConnectionRefused.into());
    }
    assert_eq!(dialler.take_loss(), None);
    assert_eq!(dialler.current().map(|current| current.generation), Some(1));
}

#[test]
fn a_break_alone_does_not_lose_a_session() {
    let dialler = dialler();
    for _ in 0..10 {
        dialler.failed(0, 0, &ErrorKind::ConnectionReset.into());
    }
    assert_eq!(dialler.take_loss(), None);
}

#[test]
fn a_time_in_which_nothing_could_come_does_not_lose_a_session() {
    let dialler = dialler();
    let long_ago = Instant::now().checked_sub(2 * dialler.timing.deaf);
    let Some(long_ago) = long_ago else { return }; // this machine has only just begun
    let reset = io::Error::from(ErrorKind::ConnectionReset);
    lock(&dialler.state).quiet_since = long_ago;
    dialler.is_alive();
    dialler.failed(0, 0, &reset);
    assert_eq!(dialler.take_loss(), None);
    lock(&dialler.state).quiet_since = long_ago;
    dialler.failed(0, 0, &reset);
    assert!(dialler.take_loss().is_some());
}

#[test]
fn a_session_that_is_over_is_lost_at_once() {
    let dialler = dialler();
    dialler.failed(0, 0, &ErrorKind::NotFound.into());
    assert!(dialler.take_loss().is_some());
}

#[test]
fn both_ports_that_fail_are_named_when_the_session_is_lost() {
    let dialler = untried();
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    (0..3).for_each(|number| dialler.failed(number, 0, &refused));
    let text = dialler.take_loss().unwrap();
    assert!(text.contains("127.63.0.2:2: ") && text.contains("127.63.0.2:1: "), "{text}");
}

/// Hands out one stream, once.
struct OneStream(Mutex<Option<Stream>>);

impl Dial for OneStream {
    fn dial(&self, _until: Instant) -> io::Result<Stream> {
        lock(&self.0).take().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// An end whose conversation ends with this error.
struct Breaks(fn() -> io::Error);

impl End for Breaks {
    fn terms(&self, _number: usize) -> Terms {
        Terms { max_block: 1 << 20, unchecked: false, from_source: true }
    }

    fn converse(&self, _joined: &Joined<'_>) -> Stop {
        Stop::Broken((self.0)())
    }

    fn wants(&self, _number: usize) -> bool {
        true
    }

    fn notice(&self, _number: usize, _event: Event) {}

    fn fail(&self, _error: Error) {}

    fn violated(&self, _what: &str) {}

    fn close(&self) {}
}

#[test]
fn what_carries_a_stream_hears_of_its_stall_even_if_the_parent_holds_the_stream() {
    let stalls: [(fn() -> io::Error, bool); 3] = [
        (|| ErrorKind::WouldBlock.into(), true),
        (|| io::Error::from_raw_os_error(libc::ETIMEDOUT), true),
        // The peer has ended the stream, and may go on with what carried it.
        (|| ErrorKind::UnexpectedEof.into(), false),
    ];
    for (error, is_told) in stalls {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let _held = here.try_clone().unwrap();
        let dial = Box::new(OneStream(Mutex::new(Some(Stream::from(here)))));
        let timing = Timing::default().divided(1000);
        let dialler = Dialler::new(dial, [0; 16], 1, timing);
        std::thread::scope(|scope| {
            let keeps = scope.spawn(|| dialler.keep(0, &Breaks(error)));
            while !matches!(lock(&dialler.state).lost, Loss::Found(_)) {
                std::thread::yield_now();
            }
            dialler.end(None);
            keeps.join().unwrap();
        });
        there.set_nonblocking(true).unwrap();
        let end = Stream::from(there).read(&mut [0]);
        assert_eq!(end.is_ok(), is_told, "{end:?}");
    }
}

#[test]
fn the_end_wakes_threads_that_wait() {
    let dialler = dialler();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| dialler.pause(Duration::from_secs(1000)));
        dialler.end(None);
        assert!(!waiter.join().unwrap());
    });
    assert!(dialler.current().is_none());
}
