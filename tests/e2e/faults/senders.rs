//! Senders that break the rules of the ropewalk protocol, played by the tests. The client closes
//! such a stream, the file gets nothing of it, and the transfer goes on.

use crate::support::exit::{CHANGED, INTEGRITY, NETWORK, PROTOCOL, REFUSED};
use crate::support::harness::{LIMIT, Outcome, Scratch, assert_same, content, run, wait_until};
use crate::support::path::{self, Gate, RECONNECTS, count};
use crate::support::peers::sink::begins_as_stream;
use crate::support::socket::accept;
use ropewalk::codec::wire::{HELLO_SIZE, Header, Hello, REQUEST_SIZE, Request};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::poll;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes of a block, as a single stream asks for them.
const BLOCK: usize = path::BLOCK as usize;

/// How many streams misbehave before the others are honest.
const BAD: usize = 3;

/// The byte that hostile blocks carry. The file does not hold it.
const JUNK: u8 = 0xee;

const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// A stream, as its sender sees it.
struct Stream {
    socket: TcpStream,
    bytes: Arc<Vec<u8>>,
}

impl Stream {
    /// The next requested range; `None` at the end.
    fn request(&mut self) -> Option<(u64, u32)> {
        let mut bytes = [0; REQUEST_SIZE];
        self.socket.read_exact(&mut bytes).ok()?;
        match Request::parse(&bytes).unwrap().unwrap().1 {
            Request::Range { offset, length, .. } => Some((offset, length)),
            Request::Finished
            | Request::Leave
            | Request::Idle
            | Request::List { .. }
            | Request::Md5 { .. } => None,
        }
    }

    /// Sends the right answer.
    fn answer(&mut self, (offset, length): (u64, u32)) {
        let payload = self.bytes[offset as usize..][..length as usize].to_vec();
        let header = Header::Data { offset, length, crc: crc32c(&payload) };
        let _ = self.socket.write_all(&[&header.encode()[..], &payload].concat());
    }

    fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes); // the client need not read all of it
    }

    fn serve(&mut self) {
        while let Some(request) = self.request() {
            self.answer(request);
        }
    }
}

/// A header of any kind, with a correct checksum.
fn header(kind: u8, code: u8, length: u32, offset: u64, run: u64, crc: u32) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&run.to_be_bytes());
    bytes.extend_from_slice(&crc.to_be_bytes());
    let seal = crc32c(&bytes);
    bytes.extend_from_slice(&seal.to_be_bytes());
    bytes
}

/// A block of junk.
fn junk(offset: u64, length: usize) -> Vec<u8> {
    let payload = vec![JUNK; length];
    [header(1, 0, length as u32, offset, 0, crc32c(&payload)), payload].concat()
}

fn error(code: u8, text: &[u8]) -> Vec<u8> {
    [header(3, code, text.len() as u32, 0, 0, crc32c(text)), text.to_vec()].concat()
}

type Behave = dyn Fn(usize, &mut Stream) + Send + Sync;

/// A server of one file, with streams that the test plays.
struct Peer {
    scratch: Scratch,
    address: SocketAddr,
    bytes: Arc<Vec<u8>>,
    shared: Arc<Shared>,
}

struct Shared {
    streams: AtomicUsize,
    /// How many streams the client has closed after they misbehaved.
    closed: AtomicUsize,
    over: AtomicBool,
}

impl Peer {
    /// `behave` gets each stream after its hello, and the number of the stream.
    fn start(test: &str, behave: impl Fn(usize, &mut Stream) + Send + Sync + 'static) -> Peer {
        let scratch = Scratch::new(test);
        scratch.make_dir("folder");
        let bytes = Arc::new(content(20 * BLOCK + 99));
        let bind = || TcpListener::bind((scratch.address(), 0)).unwrap();
        let (control, data) = (bind(), bind());
        let address = control.local_addr().unwrap();
        let port = data.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            streams: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let (own, file, behave) = (shared.clone(), bytes.clone(), Arc::new(behave));
        std::thread::spawn(move || {
            while !own.over.load(Ordering::SeqCst) {
                let ready = poll::readable(
                    &[control.as_fd(), data.as_fd()],
                    Some(Duration::from_millis(20)),
                );
                let ready = ready.unwrap();
                // The client gives up a data port without a good block for the control port.
                let control = ready[0].then(|| accept(&control));
                let (asks, comes) = match control {
                    Some(socket) if begins_as_stream(&socket) => (None, Some(socket)),
                    other => (other, ready[1].then(|| accept(&data))),
                };
                if let Some(socket) = asks {
                    offer(socket, file.len(), port);
                }
                if let Some(socket) = comes {
                    let stream = Stream { socket, bytes: file.clone() };
                    let number = own.streams.fetch_add(1, Ordering::SeqCst);
                    let (own, behave) = (own.clone(), behave.clone());
                    std::thread::spawn(move || own.carry(number, stream, &*behave));
                }
            }
        });
        Peer { scratch, address, bytes, shared }
    }

    fn run(&self, streams: usize, options: &[&str]) -> Outcome {
        let output = self.scratch.path("folder/out");
        let mut client = self.scratch.client(self.address, streams, "file", output);
        run(client.args(["--verify", "crc32c"]).args(options))
    }

    fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }

    /// Demands that the file is right.
    #[track_caller]
    fn is_whole(&self) {
        let output = fs::read(self.scratch.path("folder/out")).unwrap();
        assert_same(&output, &self.bytes, "the output");
        assert_eq!(Scratch::names(&self.scratch.path("folder")), ["out"]);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

/// Answers a request with an offer.
fn offer(mut control: TcpStream, size: usize, port: u16) {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut byte = [0];
        control.read_exact(&mut byte).unwrap();
        request.extend_from_slice(&byte);
    }
    let body = format!(
        "{{\"protocol\":2,\"port\":{port},\"session\":\"{TOKEN}\",\"size\":{size},\"stored\":{size}}}"
    );
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nContent-Length: {length}\r\n\r\n");
    control.write_all(&[head, body].concat().into_bytes()).unwrap();
}

impl Shared {
    fn carry(&self, number: usize, mut stream: Stream, behave: &Behave) {
        let mut bytes = [0; HELLO_SIZE];
        if stream.socket.read_exact(&mut bytes).is_err() {
            return; // the transfer was over before this stream began
        }
        let (_, hello) = Hello::parse(&bytes).unwrap().unwrap();
        assert_eq!(ropewalk::hash::hex(&hello.token), TOKEN);
        behave(number, &mut stream);
        // The client may still send, and then it has to close.
        let _ = stream.socket.set_read_timeout(Some(LIMIT));
        let mut rest = [0; 4096];
        let closed = loop {
            match stream.socket.read(&mut rest) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        self.closed.fetch_add(usize::from(closed), Ordering::SeqCst);
    }
}

/// Each of the first streams serves two requests, then answers one with `evil`, which gets the
/// requested range. All later streams are honest. Demands that the client closes each bad stream,
/// that nothing of it is in the file, and that the rest comes.
#[track_caller]
fn misbehaves(test: &str, evil: impl Fn(u64, u32) -> Vec<u8> + Send + Sync + 'static) {
    let peer = Peer::start(test, move |number, stream| {
        if number < BAD {
            for _ in 0..2 {
                let request = stream.request().unwrap();
                stream.answer(request);
            }
            let (offset, length) = stream.request().unwrap();
            stream.send(&evil(offset, length));
        } else {
            stream.serve();
        }
    });
    let said = peer.run(1, &[]).succeeded();
    assert_eq!(count(&said, RECONNECTS), BAD as u64, "{said}");
    peer.is_whole();
    assert!(peer.shared.closed.load(Ordering::SeqCst) >= BAD);
}

#[test]
fn a_block_that_nobody_asked_for_closes_its_stream() {
    // Bytes that have already come; bytes that no stream has asked for; the requested range without
    // its first byte.
    misbehaves("unasked-before", |_, length| junk(0, length as usize));
    misbehaves("unasked-after", |_, _| junk(19 * BLOCK as u64, BLOCK));
    misbehaves("unasked-inside", |offset, length| junk(offset + 1, length as usize - 1));
}

#[test]
fn a_block_outside_of_the_file_closes_its_stream() {
    misbehaves("outside", |_, _| junk(20 * BLOCK as u64 + 99, 4096));
    misbehaves("far-outside", |_, _| junk(u64::MAX - 4096, 4096));
    misbehaves("wrapping", |_, _| junk(u64::MAX - 5, 4096));
}

#[test]
fn a_block_that_is_too_long_closes_its_stream() {
    misbehaves("longer-by-one", |offset, length| junk(offset, length as usize + 1));
    misbehaves("twice-as-long", |offset, length| junk(offset, 2 * length as usize));
    misbehaves("mebibytes", |offset, _| junk(offset, 1 << 20));
    misbehaves("endless", |offset, _| header(1, 0, u32::MAX, offset, 0, 0));
}

#[test]
fn a_block_of_no_length_closes_its_stream() {
    misbehaves("empty-data", |offset, _| junk(offset, 0));
    misbehaves("empty-hole", |offset, _| header(2, 0, 0, offset, 0, 0));
}

#[test]
fn a_block_of_an_unknown_kind_closes_its_stream() {
    for kind in [0, 4, 255] {
        misbehaves("kind", move |offset, length| header(kind, 0, length, offset, 0, 0));
    }
}

#[test]
fn a_hole_that_is_longer_than_what_was_asked_for_closes_its_stream() {
    misbehaves("hole-long", |offset, length| {
        header(2, 0, length + 1, offset, u64::from(length) + 1, 0)
    });
    misbehaves("hole-short-run", |offset, length| {
        header(2, 0, length, offset, u64::from(length) - 1, 0)
    });
}

#[test]
fn a_hole_that_goes_on_past_the_end_of_the_file_closes_its_stream() {
    misbehaves("hole-past", |offset, length| {
        header(2, 0, length, offset, 20 * BLOCK as u64 + 100 - offset, 0)
    });
    misbehaves("hole-endless", |offset, length| {
        header(2, 0, length, offset, i64::MAX as u64 - offset, 0)
    });
    misbehaves("hole-wrapping", |offset, length| header(2, 0, length, offset, u64::MAX, 0));
}

#[test]
fn garbage_closes_its_stream() {
    misbehaves("garbage", |_, _| content(5000));
    misbehaves("zeros", |_, _| vec![0; 5000]);
    misbehaves("html", |_, _| b"<html><body>502 Bad Gateway, from some proxy</body>".to_vec());
}

#[test]
fn an_unknown_error_code_closes_its_stream() {
    misbehaves("error-other", |_, _| error(77, b"\x1b[2J\x9b0m"));
    misbehaves("error-request", |_, _| error(4, b"no such range"));
    misbehaves("error-empty", |_, _| error(99, b""));
    misbehaves("error-damaged", |_, _| {
        [header(3, 1, 7, 0, 0, crc32c(b"changed")), b"chanjed".to_vec()].concat()
    });
    misbehaves("error-long", |_, _| error(1, &[b'x'; 257]));
}

/// How the client ends when a sender ends the transfer with this error.
#[track_caller]
fn ends_with(code: u8, exit: i32, words: &'static str) {
    let peer = Peer::start("error-fatal", move |_, stream| {
        stream.send(&error(code, b"\x1b[2Jred\r\n\xc2\x9b"));
        stream.serve();
    });
    let outcome = peer.run(2, &[]);
    outcome.failed(exit, "client", words);
    assert!(outcome.err.contains("\\x1b[2Jred\\x0d\\x0a\\xc2\\x9b"), "{outcome:?}");
    assert!(!peer.scratch.path("folder/out").exists());
}

#[test]
fn hostile_bytes_of_a_sender_do_not_reach_the_terminal() {
    ends_with(1, CHANGED, "the file changed on the server while it was sent: ");
    ends_with(2, REFUSED, "the server cannot read the file: ");
    ends_with(3, PROTOCOL, "the sender refuses the stream: ");
}

#[test]
fn a_hundred_streams_in_a_row_without_a_good_block_end_the_transfer() {
    let peer = Peer::start("evil-always", |_, stream| stream.send(&junk(7, 7)));
    let outcome = peer.run(1, &[]);
    let words = "100 bad blocks in a row, the last one: the server sent a block without";
    outcome.failed(INTEGRITY, "client", words);
    // The last stream says goodbye. The peer may read that after the client has ended.
    wait_until("the goodbye", || (peer.streams() > 100).then_some(()));
    assert_eq!(peer.streams(), 100 + 1);
    assert_eq!(Scratch::names(&peer.scratch.path("folder")), ["out.part", "out.part.journal"]);
}

#[test]
fn a_good_block_between_bad_blocks_restarts_the_count() {
    let peer = Peer::start("evil-often", |number, stream| {
        if number == 60 {
            let request = stream.request().unwrap();
            stream.answer(request);
        }
        match number {
            0..120 => stream.send(&junk(7, 7)),
            _ => stream.serve(),
        }
    });
    let said = peer.run(1, &[]).succeeded();
    assert_eq!(count(&said, RECONNECTS), 120, "{said}");
    peer.is_whole();
}

#[test]
fn streams_that_are_closed_at_once_come_again_until_the_retry_time_ends() {
    let close = |stream: &mut Stream| drop(stream.socket.shutdown(std::net::Shutdown::Both));
    let peer = Peer::start("closes", move |number, stream| match number {
        0..3 => close(stream),
        _ => stream.serve(),
    });
    let said = peer.run(1, &[]).succeeded();
    assert_eq!(count(&said, RECONNECTS), 3, "{said}");
    peer.is_whole();
    let peer = Peer::start("closes-always", move |_, stream| close(stream));
    let outcome = peer.run(4, &["--retry-for", "1"]);
    outcome.failed(NETWORK, "client", "lost the server, and could not reach it again in 1 s");
    assert!(peer.streams() < 100, "{} connections", peer.streams());
}

#[test]
fn a_silent_stream_does_not_delay_the_transfer() {
    let gate = Arc::new(Gate::default());
    let peer = Peer::start("silent", move |number, stream| match number {
        1 => gate.open(),
        _ => {
            gate.pass(); // otherwise the file may be complete before the silent stream comes
            stream.serve();
        }
    });
    peer.run(2, &[]).succeeded();
    peer.is_whole();
    assert_eq!(peer.streams(), 2);
}

#[test]
fn one_good_stream_among_bad_streams_brings_the_file() {
    let peer = Peer::start("one-good", |number, stream| match number {
        2 => stream.serve(),
        _ => stream.send(&junk(7, 7)),
    });
    peer.run(4, &[]).succeeded();
    peer.is_whole();
}
