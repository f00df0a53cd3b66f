//! Every wait of the engine has its end. The waits are a hundredth or a thousandth of the
//! real ones.

use crate::content;
use crate::fair::Faults;
use crate::network::{Fault, Network, NetworkDial, session};
use crate::random::Random;
use crate::world::{World, acceptor, fail_on_loss, sink};
use ropewalk::codec::message::report::{Mended, Report};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::wire::{HELLO_SIZE, REQUEST_SIZE, Request};
use ropewalk::sys::socket;
use ropewalk::sys::stream::Stream;
use ropewalk::transfer::classic;
use ropewalk::transfer::link::dial::Dial;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::handed::HandedDial;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::link::{End, Link};
use ropewalk::transfer::queue::rate::{Rate, Throttle};
use ropewalk::transfer::store::{Kept, Store};
use ropewalk::transfer::timing::Timing;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A sink that dials, over a network with this weather. What the sink reports at the end, and
/// how long it took.
fn fetched(
    streams: u8,
    weather: Faults,
    throttle: Throttle,
    timing: Timing,
) -> (Mended, Duration, u64) {
    let world = World::new(&[Ok(content(3_000_000))]);
    // On a busy machine no stream may be open for a while, or the last word of the sink may be
    // lost: the source and its acceptor wait so long.
    let timing = Timing { idle: LONG / 10, ..timing };
    let (token, opened) = (Token::random().unwrap(), weather.opened());
    let network = Network::new(weather, Random::from_seed(1));
    let (acceptor, way) = acceptor(false, timing);
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, session(token.bytes(), streams).token, streams, timing);
    let source = world.source(throttle, timing);
    let sink = sink(&world, world.kept(false), streams, Verify::Crc32c, timing);
    let begun = Instant::now();
    let done = thread::scope(|scope| {
        scope.spawn(|| source.accept(acceptor, &token, streams, |_| {}));
        sink.dial(&dialler, fail_on_loss(&sink)).unwrap()
    });
    let took = begun.elapsed();
    network.end();
    assert!(world.is_whole());
    let Report::Done { mended, .. } = done else { panic!("{done:?}") };
    (mended, took, opened.load(Ordering::Relaxed))
}

const LONG: Duration = Duration::from_secs(100);

/// A thousandth of the real waits for streams. The session is not lost meanwhile, and the sink can
/// say that it is done.
fn thousandth() -> Timing {
    let leave = Duration::from_secs(1);
    Timing { loss: LONG, deaf: LONG, leave, ..Timing::default().divided(1000) }
}

#[test]
fn a_lone_stream_that_brings_nothing_for_thirty_seconds_is_opened_again() {
    let weather = Faults::first(1, 1_000_000, Fault::Stall(LONG / 50));
    let (mended, took, opened) = fetched(1, weather, Throttle::default(), thousandth());
    assert!(mended.reconnects >= 1 && opened >= 2, "{mended:?}");
    assert!(took >= Duration::from_millis(30), "{took:?}");
}

#[test]
fn a_stream_that_brings_nothing_for_ten_seconds_while_others_do_is_opened_again() {
    let weather = Faults::first(1, 200_000, Fault::Stall(LONG / 50));
    // Slow enough that the other stream has not brought everything before.
    let throttle = Throttle { rate: Some(Arc::new(Rate::new(10_000_000))), streams: 2 };
    let timing = Timing { lonely_stall: LONG, ..thousandth() };
    let (mended, took, opened) = fetched(2, weather, throttle, timing);
    assert!(mended.reconnects >= 1 && opened >= 3, "{mended:?}");
    assert!(took >= Duration::from_millis(10), "{took:?}");
}

#[test]
fn a_stream_that_was_reset_comes_back() {
    let weather = Faults::first(2, 500_000, Fault::Reset);
    let (mended, _, opened) = fetched(2, weather, Throttle::default(), thousandth());
    assert!(mended.reconnects >= 1 && opened >= 3, "{mended:?}");
}

#[test]
fn a_block_that_came_damaged_is_asked_for_again() {
    let weather = Faults::first(1, 700_000, Fault::Flip);
    let (mended, ..) = fetched(1, weather, Throttle::default(), Timing::default());
    assert!(mended.bad_blocks + mended.reconnects >= 1, "{mended:?}");
}

#[test]
fn a_source_that_is_closed_waits_for_no_stream_s_share_of_the_rate() {
    let world = World::new(&[Ok(content(1_000_000))]);
    let timing = Timing::default();
    let (acceptor, way) = acceptor(false, timing);
    let entrance = acceptor.entrance();
    let token = Token::random().unwrap();
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, token.bytes(), 3, timing);
    let throttle = Throttle { rate: Some(Arc::new(Rate::new(1))), streams: 3 };
    let source = world.source(throttle, timing);
    let sink = sink(&world, world.kept(false), 3, Verify::Crc32c, timing);
    let begun = Instant::now();
    thread::scope(|scope| {
        let (moves, moved) = mpsc::channel();
        let source = &source;
        let sending = scope.spawn(move || {
            let tell = |_| {
                let _ = moves.send(());
            };
            source.accept(acceptor, &token, 3, tell)
        });
        let receiving = scope.spawn(|| sink.dial(&dialler, fail_on_loss(&sink)));
        // The burst of the rate has gone when the first report comes. All streams wait then.
        moved.recv().unwrap();
        entrance.close();
        sending.join().unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        network.lose_session();
        assert!(receiving.join().unwrap().is_err());
    });
    network.end();
}

#[test]
fn a_source_to_which_no_stream_comes_gives_up_after_thirty_seconds() {
    let world = World::new(&[Ok(content(10))]);
    let timing = Timing::default().divided(1000);
    let (acceptor, _way) = acceptor(true, timing);
    let source = world.source(Throttle::default(), timing);
    let token = Token::random().unwrap();
    let begun = Instant::now();
    let error = source.accept(acceptor, &token, 1, |_| {}).unwrap_err();
    assert!(error.to_string().contains("no stream was open for"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(30), "{:?}", begun.elapsed());
}

#[test]
fn a_sink_that_cannot_store_ends_its_idle_streams_too() {
    let world = World::new(&[Ok(content(10))]);
    let timing = Timing::default();
    let (acceptor, way) = acceptor(false, timing);
    let token = Token::random().unwrap();
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, token.bytes(), 3, timing);
    let source = world.source(Throttle::default(), timing);
    let Store::Kept(kept) = world.kept(false) else { panic!("kept is kept") };
    let unwritable = world.file.try_clone().unwrap();
    let store = Store::Kept(Kept { part: unwritable, ..kept });
    let sink = sink(&world, store, 3, Verify::Crc32c, timing);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = source.dial(&dialler, fail_on_loss(&source));
        });
        let error = sink.accept(acceptor, &token, |_| {}).unwrap_err();
        assert!(error.to_string().contains("Bad file descriptor"), "{error}");
        network.lose_session();
    });
    network.end();
}

#[test]
fn a_sink_to_which_no_stream_comes_gives_up_after_thirty_seconds() {
    let world = World::new(&[Ok(content(10))]);
    let timing = Timing::default().divided(1000);
    let (acceptor, _way) = acceptor(true, timing);
    let sink = sink(&world, world.kept(false), 1, Verify::Md5, timing);
    let error = sink.accept(acceptor, &Token::random().unwrap(), |_| {}).unwrap_err();
    assert!(error.to_string().contains("no stream was open for"), "{error}");
}

#[test]
fn a_session_that_brings_nothing_for_five_seconds_is_lost() {
    let world = World::new(&[Ok(content(10))]);
    let timing = Timing::default().divided(1000);
    let network = Network::new(Faults::none(), Random::from_seed(1));
    let dial = Box::new(NetworkDial(network));
    let dialler = Dialler::new(dial, [7; 16], 1, timing);
    let sink = sink(&world, world.kept(false), 1, Verify::Md5, timing);
    let mut lost = false;
    let error = sink.dial(&dialler, |report| {
        if let Report::Lost { text } = report {
            assert_eq!(text, "Connection refused");
            lost = true;
            sink.fail(ropewalk::error::Error::protocol("no other session"));
        }
    });
    assert_eq!(error.unwrap_err().to_string(), "no other session");
    assert!(lost && dialler.open().is_empty());
}

#[test]
fn a_sink_that_hears_nothing_says_each_ten_seconds_that_it_is_there() {
    let world = World::new(&[Ok(content(1_000_000))]);
    let timing = Timing { idle_word: Duration::from_millis(30), ..Timing::default() };
    let sink = sink(&world, world.kept(false), 1, Verify::Crc32c, timing);
    let (here, there) = Stream::pair().unwrap();
    let dial = HandedDial::new(|| {});
    dial.answer(Ok(here));
    let dialler = Dialler::new(Box::new(dial), [7; 16], 1, timing);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut bytes, mut words) = (Vec::new(), 0);
            let begun = Instant::now();
            while words < 2 {
                let mut piece = [0; HELLO_SIZE];
                let count = there.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..count]);
                let requests = bytes.get(HELLO_SIZE..).unwrap_or_default();
                let whole = requests.chunks_exact(REQUEST_SIZE);
                words = whole.filter(|chunk| **chunk == Request::Idle.encode()).count();
            }
            assert!(begun.elapsed() >= Duration::from_millis(60));
            sink.fail(ropewalk::error::Error::protocol("heard"));
            there.shut(Shutdown::Both);
        });
        let error = sink.dial(&dialler, fail_on_loss(&sink)).unwrap_err();
        assert_eq!(error.to_string(), "heard");
    });
}

/// Panics in place of a stream.
struct PanickingDial;

impl Dial for PanickingDial {
    fn dial(&self, _until: Instant) -> std::io::Result<Stream> {
        panic!("as the test wants");
    }
}

#[test]
fn a_thread_of_a_dialled_stream_that_panics_is_an_error_of_the_transfer() {
    let world = World::new(&[Ok(content(10))]);
    let timing = Timing::default();
    let dialler = || Dialler::new(Box::new(PanickingDial), [7; 16], 1, timing);
    let sink = sink(&world, world.kept(false), 1, Verify::Md5, timing);
    let error = sink.dial(&dialler(), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "internal error: a thread died");
    let source = world.source(Throttle::default(), timing);
    let error = source.dial(&dialler(), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "internal error: a thread died");
}

#[test]
fn a_source_whose_file_changes_waits_for_no_stream_that_was_told() {
    let world = World::new(&[Ok(content(1_000_000))]);
    let timing = Timing { linger: LONG, ..Timing::default() };
    let (acceptor, way) = acceptor(false, timing);
    let token = Token::random().unwrap();
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(way);
    let dial = Box::new(NetworkDial(network.clone()));
    let dialler = Dialler::new(dial, token.bytes(), 2, timing);
    let source = world.source(Throttle::default(), timing);
    world.grow();
    let sink = sink(&world, world.kept(false), 2, Verify::Crc32c, timing);
    let begun = Instant::now();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| sink.accept(acceptor, &token, |_| {}));
        let error = source.dial(&dialler, fail_on_loss(&source)).unwrap_err();
        assert!(error.to_string().starts_with("the file changed"), "{error}");
        let error = receiving.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("changed on the client"), "{error}");
    });
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    network.end();
}

#[test]
fn a_classic_stream_that_fails_ends_streams_that_wait_for_the_rate() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let world = World::new(&[]);
    let files = [world.part(), world.part()];
    let rate = Rate::new(1);
    thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let accept = || {
                let mut stream = listener.accept().unwrap().0;
                stream.read_exact(&mut [0]).unwrap();
                stream
            };
            let (mut waits, fails) = (accept(), accept());
            // More than the burst. The stream that waits for the rest has taken that.
            waits.write_all(&[1; 1 << 20]).unwrap();
            socket::reset_on_close(fails.as_fd(), true).unwrap();
            drop(fails);
            waits
        });
        let begun = Instant::now();
        let timing = Timing::default();
        let rate = Some(&rate);
        let failed = classic::sink::receive(&[address], &files, "out", rate, None, &timing, |_| {});
        assert!(failed.is_err());
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
        drop(peer.join().unwrap());
    });
}
