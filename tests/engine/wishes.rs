//! How many streams a source keeps open that dials them: as many as the sink says, and no more than
//! the session has.

use crate::content;
use crate::world::{World, acceptor, fail_on_loss};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::wire::{ErrorCode, Header, Hello, LONGEST_REQUEST, MAX_BLOCK, Request};
use ropewalk::error::Error;
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::stream::Stream;
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::dial::Dial;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::growth::FIRST_STREAMS;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::{Sink, Wanted};
use ropewalk::transfer::timing::Timing;
use std::io;
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// How long an event may take.
const LONG: Duration = Duration::from_secs(20);

/// Gives the far end of each stream to the test.
struct Pairs(Mutex<Sender<Stream>>);

impl Dial for Pairs {
    fn dial(&self, _until: Instant) -> io::Result<Stream> {
        let (here, there) = Stream::pair()?;
        let _ = self.0.lock().unwrap().send(there);
        Ok(here)
    }
}

/// The sinks' ends of a source's streams, each with a thread that says when its stream is closed.
struct Peers {
    all: Vec<Arc<Stream>>,
    dialled: Receiver<Stream>,
    closed: (Sender<usize>, Receiver<usize>),
}

impl Peers {
    /// Waits until there are so many.
    fn wait_for<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, count: usize) {
        while self.all.len() < count {
            let stream = Arc::new(self.dialled.recv_timeout(LONG).unwrap());
            let (number, closed) = (self.all.len(), self.closed.0.clone());
            self.all.push(stream.clone());
            scope.spawn(move || {
                while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
                stream.shut(Shutdown::Both);
                let _ = closed.send(number);
            });
        }
    }

    fn say(&self, number: usize, request: &Request<'_>) {
        self.all[number].write_all(&request.encode()).unwrap();
    }

    /// Waits until so many are closed, and says which.
    fn wait_for_closed(&self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.closed.1.recv_timeout(LONG).unwrap()).collect()
    }
}

/// A dialler of at most `streams` streams, and their far ends.
fn pairs(streams: u8, timing: Timing) -> (Dialler, Peers) {
    let (sender, dialled) = mpsc::channel();
    let dialler = Dialler::new(Box::new(Pairs(Mutex::new(sender))), [7; 16], streams, timing);
    (dialler, Peers { all: Vec::new(), dialled, closed: mpsc::channel() })
}

#[test]
fn a_source_opens_as_many_streams_as_the_sink_wants_and_closes_the_others() {
    let (world, timing) = (World::new(&[Ok(content(1000))]), Timing::default().divided(10));
    let source = world.source(Throttle::default(), timing).that_grows(FIRST_STREAMS);
    let (dialler, mut peers) = pairs(9, timing);
    thread::scope(|scope| {
        let sending = scope.spawn(|| source.dial(&dialler, fail_on_loss(&source)));
        peers.wait_for(scope, 4);
        peers.say(0, &Request::Streams { wanted: 6, turn: 1 });
        peers.wait_for(scope, 6);
        // No more than the session has, whatever the sink says.
        peers.say(3, &Request::Streams { wanted: 255, turn: 2 });
        peers.wait_for(scope, 9);
        for number in 0..9 {
            peers.say(number, &Request::Streams { wanted: 2, turn: 3 });
        }
        let closed = peers.wait_for_closed(7);
        let open: Vec<usize> = (0..9).filter(|number| !closed.contains(number)).collect();
        // A wish that comes late is none.
        peers.say(open[0], &Request::Streams { wanted: 8, turn: 2 });
        peers.say(open[1], &Request::Streams { wanted: 3, turn: 4 });
        peers.wait_for(scope, 10);
        peers.say(9, &Request::Finished);
        sending.join().unwrap().unwrap();
        assert!(peers.dialled.try_recv().is_err(), "more streams than were wanted");
    });
}

#[test]
fn a_number_that_the_user_has_given_is_not_changed_by_the_sink() {
    let (world, timing) = (World::new(&[Ok(content(1000))]), Timing::default().divided(10));
    let source = world.source(Throttle::default(), timing);
    let (dialler, mut peers) = pairs(3, timing);
    thread::scope(|scope| {
        let sending = scope.spawn(|| source.dial(&dialler, fail_on_loss(&source)));
        peers.wait_for(scope, 3);
        for number in 0..3 {
            peers.say(number, &Request::Streams { wanted: 1, turn: 1 });
        }
        // A stream that were not wanted would end before it answers.
        let request = Request::of_single_file(0, 1000, None);
        peers.say(2, &request);
        peers.say(2, &Request::Finished);
        sending.join().unwrap().unwrap();
        assert!(peers.dialled.try_recv().is_err());
    });
}

/// What a source does with a stream that is answered by this error block.
fn refused(code: ErrorCode) -> (Option<Report>, Option<Error>) {
    let (world, timing) = (World::new(&[Ok(content(1000))]), Timing::default());
    let source = world.source(Throttle::default(), timing);
    let (dialler, mut peers) = pairs(1, timing);
    thread::scope(|scope| {
        let (reports, heard) = mpsc::channel();
        let sending =
            scope.spawn(|| source.dial(&dialler, move |report| drop(reports.send(report))));
        peers.wait_for(scope, 1);
        peers.all[0].write_all(&Header::error(code, "no such session")).unwrap();
        let lost = heard.iter().find(|report| matches!(report, Report::Lost { .. }));
        if lost.is_some() {
            source.fail(Error::internal("the test is over"));
        }
        (lost, sending.join().unwrap().err())
    })
}

#[test]
fn a_source_whose_stream_is_of_no_session_has_lost_its_session() {
    let (lost, _) = refused(ErrorCode::Session);
    let text = "no such session".to_string();
    assert_eq!(lost, Some(Report::Lost { text }));
}

#[test]
fn a_source_whose_stream_is_of_another_version_ends() {
    let (_, error) = refused(ErrorCode::Version);
    assert_eq!(error.unwrap().to_string(), "the receiver speaks another version");
}

/// Reads requests of the sink until one says how many streams are wanted. Answers ranges.
fn wish(stream: &Stream, bytes: &[u8]) -> (u8, u64) {
    let (mut buffer, mut filled) = ([0; LONGEST_REQUEST], 0);
    loop {
        let Ok(Some((used, request))) = Request::parse(&buffer[..filled]) else {
            match stream.read(&mut buffer[filled..]).unwrap() {
                0 => panic!("the stream ended without a wish"),
                count => filled += count,
            }
            continue;
        };
        match request {
            Request::Range { offset, length, .. } => {
                let payload = &bytes[offset as usize..offset as usize + length as usize];
                let header = Header::Data { offset, length, crc: crc32c(payload) };
                stream.write_all(&[&header.encode()[..], payload].concat()).unwrap();
            }
            Request::Streams { wanted, turn } => return (wanted, turn),
            _ => panic!("{request:?}"),
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

#[test]
fn a_sink_that_accepts_says_on_each_stream_how_many_it_wants() {
    let bytes = content(8 << 20);
    let (world, timing) = (World::new(&[Ok(bytes.clone())]), Timing::default());
    let wanted = Wanted {
        size: world.size,
        streams: 255,
        grows: true,
        verify: ropewalk::codec::message::verify::Verify::Crc32c,
        rate: None,
        trace: false,
        shown: "out".into(),
        store: world.kept(false),
    };
    let sink = Sink::new(wanted, timing);
    let (acceptor, _) = acceptor(false, timing);
    let (entrance, token) = (acceptor.entrance(), Token::random().unwrap());
    let hello =
        Hello { token: token.bytes(), max_block: MAX_BLOCK, unchecked: false, from_source: true };
    thread::scope(|scope| {
        let receiving = scope.spawn(|| sink.accept(acceptor, &token, |_| {}));
        let streams = [(); 2].map(|()| {
            let (here, there) = Stream::pair().unwrap();
            entrance.hand(there, Vec::new());
            here.write_all(&hello.encode()).unwrap();
            here
        });
        for stream in &streams {
            assert_eq!(wish(stream, &bytes), (4, 1));
        }
        sink.fail(Error::protocol("heard"));
        streams.iter().for_each(|stream| stream.shut(Shutdown::Both));
        assert_eq!(receiving.join().unwrap().unwrap_err().to_string(), "heard");
    });
}

#[test]
fn a_stream_that_hangs_is_closed_soon_while_the_sink_says_something_on_another_one() {
    let world = World::new(&[Ok(content(1000))]);
    // Long enough for a busy machine to say something meanwhile.
    let timing = Timing { mute: Duration::from_millis(400), ..Timing::default() };
    for talks in [true, false] {
        let source = world.source(Throttle::default(), timing);
        let (dialler, mut peers) = pairs(2, timing);
        thread::scope(|scope| {
            let dialling = scope.spawn(|| source.dial(&dialler, fail_on_loss(&source)));
            peers.wait_for(scope, 2);
            let begun = Instant::now();
            let closed = loop {
                if talks {
                    peers.say(0, &Request::Idle);
                }
                match peers.closed.1.recv_timeout(Duration::from_millis(5)) {
                    Ok(number) => break Some(number),
                    // Where nothing comes on any stream, the path may be at fault.
                    Err(_) if !talks && begun.elapsed() > 2 * timing.mute => break None,
                    Err(_) => assert!(begun.elapsed() < LONG),
                }
            };
            if closed != talks.then_some(1) {
                source.fail(Error::internal("the wrong stream was closed"));
            }
            assert_eq!(closed, talks.then_some(1));
            peers.say(0, &Request::Finished);
            assert!(dialling.join().unwrap().is_ok());
            assert!(begun.elapsed() < LONG);
        });
    }
}
