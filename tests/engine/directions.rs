//! Every message where it does not belong: in the wrong direction, unasked for, or of the other kind
//! of session. It ends its stream and no other: then a good peer moves everything.

use crate::content;
use crate::fair::Faults;
use crate::folders::Pair;
use crate::network::{Network, NetworkDial, Way, session};
use crate::random::Random;
use crate::world::{World, acceptor, sink};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::wire::{ErrorCode, Header, Hello, MIN_ROOM, PageEnd, RefusalCode, Request};
use ropewalk::error::Result;
use ropewalk::sys::stream::Stream;
use ropewalk::transfer::link::acceptor::{Acceptor, Entrance};
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::Sink;
use ropewalk::transfer::sink::tree::TreeSink;
use ropewalk::transfer::source::Source;
use ropewalk::transfer::timing::Timing;
use std::thread;
use std::time::Duration;

const STREAMS: u8 = 3;

/// So long a test waits for the end of a stream.
const LIMIT: Duration = Duration::from_secs(20);

/// Every block, each with what has to follow.
fn blocks() -> Vec<Vec<u8>> {
    let crc = ropewalk::hash::crc32c::crc32c(b"");
    let folder = [7; 16];
    let headers = [
        Header::Hole { offset: 0, length: 1 << 16, run: u64::MAX },
        Header::Hole { offset: u64::MAX, length: u32::MAX, run: u64::MAX },
        Header::Error { code: ErrorCode::Session, length: 0, crc },
        Header::Entries { end: PageEnd::Whole, folder, length: 0, crc },
        Header::Same { offset: 0, length: 1 << 16 },
        Header::Wait,
        Header::Refused { code: RefusalCode::Gone, length: 0, crc },
        Header::Data { offset: 1 << 40, length: 1, crc },
    ];
    headers.iter().map(|header| [&header.encode()[..], b"x"].concat()).collect()
}

/// Every request.
fn requests() -> Vec<Vec<u8>> {
    let (name, identity) = (&b"f"[..], [9; 16]);
    let requests = [
        Request::of_single_file(0, 1, None),
        Request::of_single_file(0, 1 << 16, Some([7; 16])),
        Request::Range { name, identity, offset: 0, length: 1, hash: None },
        Request::List { name: b"", after: b"", room: MIN_ROOM },
        Request::Finished,
        Request::Leave,
        Request::Idle,
    ];
    requests.iter().map(Request::encode).collect()
}

/// Opens a stream with a hello that has this flag, and says `message`. Returns when the stream has
/// ended.
fn say(entrance: &Entrance, token: &Token, from_source: bool, message: &[u8]) {
    let (here, there) = Stream::pair().unwrap();
    here.set_read_timeout(Some(LIMIT)).unwrap();
    entrance.hand(there, Vec::new());
    let hello = Hello { token: token.bytes(), max_block: 16 << 10, unchecked: false, from_source };
    // The other side may have ended the stream already.
    // More follows than the longest head of a message has.
    let _ = here.write_all(&[&hello.encode()[..], message, &[0; 64]].concat());
    let mut buffer = [0; 4096];
    loop {
        match here.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{} stays open: {error}", message.escape_ascii()),
        }
    }
}

/// A way to an end, and a dialler for the good peer.
fn dialler(entrance: Entrance, token: &Token) -> (std::sync::Arc<Network>, Dialler) {
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(Way::Entrance(entrance));
    let dial = Box::new(NetworkDial(network.clone()));
    let session = session(token.bytes(), STREAMS);
    (network, Dialler::new(dial, session.token, STREAMS, Timing::default()))
}

/// A source answers requests only, of its own kind of session, to a sink only.
fn to_a_source(entrance: &Entrance, token: &Token, others: &[Vec<u8>]) {
    for message in blocks().iter().chain(others) {
        say(entrance, token, false, message);
    }
    for message in blocks().iter().chain(&requests()) {
        say(entrance, token, true, message);
    }
}

/// A sink takes blocks only, as answers, from a source only.
fn to_a_sink(entrance: &Entrance, token: &Token, unasked: &[usize]) {
    for message in blocks().iter().chain(&requests()) {
        say(entrance, token, false, message);
    }
    let blocks = blocks();
    for message in requests().iter().chain(unasked.iter().map(|number| &blocks[*number])) {
        say(entrance, token, true, message);
    }
}

/// An end takes hostile streams, none of which ends another one. Then a good peer moves everything.
fn outlives<A, D>(
    accept: impl FnOnce(Acceptor, &Token) -> Result<A> + Send,
    hostile: impl FnOnce(&Entrance, &Token),
    dial: impl FnOnce(&Dialler) -> Result<D>,
) {
    let token = Token::random().unwrap();
    let (acceptor, _) = acceptor(false, Timing::default());
    let entrance = acceptor.entrance();
    thread::scope(|scope| {
        let accepting = scope.spawn(|| accept(acceptor, &token).map(drop));
        hostile(&entrance, &token);
        let (network, dialler) = dialler(entrance, &token);
        dial(&dialler).unwrap();
        accepting.join().unwrap().unwrap();
        network.end();
    });
}

/// A file, and both ends of its transfer.
fn file() -> (World, Source, Sink) {
    let (world, timing) = (World::new(&[Ok(content(300_000))]), Timing::default());
    let source = world.source(Throttle::default(), timing);
    let sink = sink(&world, world.kept(false), STREAMS, Verify::Md5, timing);
    (world, source, sink)
}

/// A folder, and both ends of its transfer.
fn folder(test: &str) -> (Pair, Source, TreeSink) {
    let pair = Pair::new(test, &[("f".into(), 300_000)]);
    let (source, sink) = (pair.source(Timing::default()), pair.sink(Timing::default()));
    (pair, source, sink)
}

#[test]
fn a_source_of_a_file_takes_no_message_of_a_source_and_no_request_of_a_tree() {
    let (world, source, sink) = file();
    outlives(
        |acceptor, token| source.accept(acceptor, token, STREAMS, |_| {}),
        |entrance, token| to_a_source(entrance, token, &requests()[2..4]),
        |dialler| sink.dial(dialler, |_| {}),
    );
    assert!(world.is_whole());
}

#[test]
fn a_sink_of_a_file_takes_no_message_of_a_sink_and_no_answer_that_was_not_asked_for() {
    let (world, source, sink) = file();
    outlives(
        |acceptor, token| sink.accept(acceptor, token, |_| {}),
        |entrance, token| to_a_sink(entrance, token, &[1, 3, 4, 6, 7]),
        |dialler| source.dial(dialler, |_| {}),
    );
    assert!(world.is_whole());
}

#[test]
fn a_source_of_a_tree_takes_no_message_of_a_source_and_no_request_of_a_file() {
    let (pair, source, sink) = folder("tree-source");
    outlives(
        |acceptor, token| source.accept(acceptor, token, STREAMS, |_| {}),
        |entrance, token| to_a_source(entrance, token, &requests()[..2]),
        |dialler| sink.dial(dialler, |_| {}),
    );
    pair.assert_whole();
}

#[test]
fn a_sink_of_a_tree_takes_no_message_of_a_sink_and_no_answer_that_was_not_asked_for() {
    let (pair, source, sink) = folder("tree-sink");
    outlives(
        |acceptor, token| sink.accept(acceptor, token, |_| {}),
        |entrance, token| to_a_sink(entrance, token, &[0, 1, 4, 7]),
        |dialler| source.dial(dialler, |_| {}),
    );
    pair.assert_whole();
}
