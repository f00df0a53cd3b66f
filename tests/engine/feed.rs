//! A source that reads a pipe: it has no size before its end, and what it has read cannot be read
//! again.

use crate::content;
use crate::fair::Faults;
use crate::network::{Fault, Network, NetworkDial};
use crate::random::Random;
use crate::world::{World, acceptor, fail_on_loss};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{ExitCode, Result};
use ropewalk::hash::{Md5, hex};
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::{Sink, Wanted};
use ropewalk::transfer::source::feed::Feed;
use ropewalk::transfer::source::{Content, Source};
use ropewalk::transfer::timing::Timing;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// Over how many streams.
const STREAMS: u8 = 3;

/// What came of a transfer.
struct Done {
    sent: Result<()>,
    received: Result<Report>,
    /// The MD5 that the source has made.
    md5: Option<[u8; 16]>,
    bytes: Vec<u8>,
}

/// Moves what `feed` writes, of which at most `most` bytes are taken.
fn move_all(
    most: u64,
    faults: Faults,
    timing: Timing,
    feed: impl FnOnce(UnixStream) + Send,
) -> Done {
    let world = World::new(&[]);
    let (token, network) = (Token::random().unwrap(), Network::new(faults, Random::from_seed(1)));
    let (acceptor, way) = acceptor(true, timing);
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, token.bytes(), STREAMS, timing);
    let (writer, reader) = UnixStream::pair().unwrap();
    let input = Feed::new(File::from(OwnedFd::from(reader)), true).unwrap();
    let source = Source::new(Content::Feed(input), Throttle::default(), timing).unwrap();
    let wanted = Wanted {
        size: most,
        streams: STREAMS,
        grows: false,
        verify: Verify::Md5,
        rate: None,
        trace: false,
        shown: "out".into(),
        store: world.kept(true),
    };
    let sink = Sink::open_ended(wanted, timing);
    let (sent, received) = thread::scope(|scope| {
        scope.spawn(|| feed(writer));
        let sending = scope.spawn(|| source.dial(&dialler, fail_on_loss(&source)));
        let received = sink.accept(acceptor, &token, |_| {});
        if received.is_err() {
            network.lose_session();
            ropewalk::transfer::link::End::fail(
                &source,
                ropewalk::error::Error::protocol("the sink has failed"),
            );
        }
        (sending.join().unwrap().map(drop), received)
    });
    network.end();
    let part = world.part();
    let mut bytes = vec![0; part.metadata().unwrap().len() as usize];
    part.read_exact_at(&mut bytes, 0).unwrap();
    Done { sent, received, md5: source.md5(), bytes }
}

fn arrives(bytes: &[u8], done: Done) {
    done.sent.unwrap();
    let mut digest = Md5::new();
    digest.update(bytes);
    let expected = digest.finish();
    let Report::Done { md5, tally, .. } = done.received.unwrap() else { panic!("no end") };
    assert_eq!((md5, done.md5), (Some(hex(&expected)), Some(expected)));
    assert_eq!(tally.bytes, bytes.len() as u64);
    assert!(done.bytes == bytes);
}

#[test]
fn a_pipe_of_any_size_arrives() {
    for size in [0, 1, 511, 128 << 10, (128 << 10) + 1, 3_000_000] {
        let bytes = content(size);
        let done = move_all(1 << 40, Faults::none(), Timing::default(), |mut writer| {
            writer.write_all(&bytes).unwrap();
        });
        arrives(&bytes, done);
    }
}

#[test]
fn streams_that_break_cost_nothing_that_was_read() {
    let bytes = content(60 << 20); // more than the window
    let faults = Faults::first(6, 600, Fault::Reset);
    let done = move_all(1 << 40, faults, Timing::default(), |mut writer| {
        writer.write_all(&bytes).unwrap();
    });
    arrives(&bytes, done);
}

#[test]
fn a_pipe_that_gives_nothing_for_long_is_no_stall() {
    let bytes = content(300_000);
    // A stall is after 100 ms, and a silent session after half a second.
    let timing = Timing::default().divided(100);
    let done = move_all(1 << 40, Faults::none(), timing, |mut writer| {
        writer.write_all(&bytes[..200_000]).unwrap();
        thread::sleep(Duration::from_millis(1500));
        writer.write_all(&bytes[200_000..]).unwrap();
    });
    arrives(&bytes, done);
}

#[test]
fn a_pipe_that_gives_more_than_is_allowed_is_refused_and_one_that_gives_as_much_is_not() {
    let bytes = content(1_000_000);
    let feed = |mut writer: UnixStream| drop(writer.write_all(&bytes));
    arrives(&bytes, move_all(1_000_000, Faults::none(), Timing::default(), feed));
    let done = move_all(999_999, Faults::none(), Timing::default(), feed);
    let error = done.received.unwrap_err();
    assert_eq!(error.code(), ExitCode::Refused);
    assert_eq!(error.to_string(), "the file is larger than this server takes");
}
