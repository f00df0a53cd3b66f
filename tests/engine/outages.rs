//! The network is lost for 2, 20 and 70 s at each state of a push, with waits that are a thousandth of
//! the real ones: everything arrives, over the same session or over the next one.

use crate::content;
use crate::fair::Faults;
use crate::folders::Pair;
use crate::network::{Network, NetworkDial, session};
use crate::random::Random;
use crate::world::{World, acceptor, sink};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::Error;
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::acceptor::Acceptor;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::source::Source;
use ropewalk::transfer::timing::Timing;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const STREAMS: u8 = 3;

/// The lost times, in thousandths.
const OUTAGES: [u64; 3] = [2, 20, 70];

/// No push takes so long.
const LIMIT: Duration = Duration::from_secs(30);

fn timing() -> Timing {
    Timing::default().divided(1000)
}

/// What a receiver came to.
type Received = JoinHandle<Option<Report>>;

/// Starts a receiver on the server.
type Receive<'a> = dyn Fn(Acceptor, Token) -> Received + 'a;

/// What a client does: pushes over one session after the other until a receiver has everything. How
/// many bytes the network carried.
fn push(source: &dyn Fn() -> Source, receive: &Receive<'_>, outage: Option<(u64, u64)>) -> u64 {
    let network = Network::new(Faults::none(), Random::from_seed(1));
    if let Some((after, time)) = outage {
        network.go_down_after(after, Duration::from_millis(time));
    }
    let (begun, mut sessions) = (Instant::now(), 0);
    let mut begin = |network: &Arc<Network>| {
        sessions += 1;
        assert!(begun.elapsed() < LIMIT, "{sessions} sessions bring nothing");
        network.wait_until_up(None); // the client's request has an answer then
        let token = Token::random().unwrap();
        let (acceptor, way) = acceptor(false, timing());
        network.open(way);
        (token, receive(acceptor, token))
    };
    loop {
        let source = source();
        let (token, serving) = begin(&network);
        let mut serving = Some(serving);
        let dial = Box::new(NetworkDial(network.clone()));
        let dialler = Dialler::new(dial, token.bytes(), STREAMS, timing());
        let mut done = None;
        let sent = source.dial(&dialler, |report| {
            if let Report::Lost { .. } = report {
                network.lose_session();
                done = serving.take().and_then(|serving| serving.join().unwrap());
                if done.is_some() {
                    // The server says that the push has ended.
                    return source.fail(Error::protocol("it has ended"));
                }
                let (token, next) = begin(&network);
                serving = Some(next);
                dialler.renew(&session(token.bytes(), STREAMS));
            }
        });
        if sent.is_err() {
            network.lose_session();
        }
        done = done.or_else(|| serving.and_then(|serving| serving.join().unwrap()));
        assert!(done.is_some() || sent.is_err(), "the client was told that everything is there");
        if done.is_some() {
            let carried = network.carried();
            network.end();
            return carried;
        }
    }
}

/// Loses the network at each state of a push: at the first bytes, between, and at the last ones.
fn survives(make: &dyn Fn(Option<(u64, u64)>) -> u64) {
    let all = make(None);
    for time in OUTAGES {
        // The hello; the listing; small files; the large file; the last word.
        for after in [1, 100, all / 5, all * 4 / 5, all - 1] {
            make(Some((after, time)));
        }
    }
}

#[test]
fn a_push_of_a_file_survives_the_loss_of_the_network_at_each_state() {
    survives(&|outage| {
        let world = Arc::new(World::new(&[Ok(content(2_000_000)), Err(1 << 20), Ok(content(9))]));
        let own = world.clone();
        let receive = move |acceptor: Acceptor, token: Token| {
            let sink = sink(&own, own.kept(true), STREAMS, Verify::Md5, timing());
            thread::spawn(move || sink.accept(acceptor, &token, |_| {}).ok())
        };
        let carried = push(&|| world.source(Throttle::default(), timing()), &receive, outage);
        assert!(world.is_whole());
        carried
    });
}

#[test]
fn a_push_of_a_folder_survives_the_loss_of_the_network_at_each_state() {
    let mut files: Vec<(String, usize)> =
        (0..200).map(|number| (format!("d{}/f{number}", number % 9), number * 41 + 1)).collect();
    files.push(("large".into(), 2_000_000));
    survives(&|outage| {
        let pair = Pair::new("outages", &files);
        let receive = |acceptor: Acceptor, token: Token| {
            let sink = pair.sink(timing());
            thread::spawn(move || sink.accept(acceptor, &token, |_| {}).ok())
        };
        let carried = push(&|| pair.source(timing()), &receive, outage);
        pair.assert_whole();
        carried
    });
}
