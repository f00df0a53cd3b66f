//! A source and a sink move a file whichever of them dials, and however the other gets its
//! streams.

use crate::content;
use crate::fair::Faults;
use crate::network::{Network, NetworkDial, session};
use crate::random::Random;
use crate::world::{World, acceptor, fail_on_loss, sink};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::hash::{Md5, hex};
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::timing::Timing;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

const STREAMS: u8 = 3;

fn world() -> World {
    World::new(&[Ok(content(700_000)), Err(1 << 20), Ok(content(333_333))])
}

/// The way into a network, and the dialler of a session on it.
fn dialler(network: &Arc<Network>, token: &Token, timing: Timing) -> Dialler {
    let session = session(token.bytes(), STREAMS);
    Dialler::new(Box::new(NetworkDial(network.clone())), session.token, STREAMS, timing)
}

/// Moves a file, with the sink or the source as the dialler. The acceptor listens, or gets
/// streams handed over.
fn moves_a_file(sink_dials: bool, listens: bool) {
    let (world, timing) = (world(), Timing::default());
    let (token, weather) = (Token::random().unwrap(), Faults::none());
    let (opened, network) = (weather.opened(), Network::new(weather, Random::from_seed(1)));
    let (acceptor, way) = acceptor(listens, timing);
    network.open(way);
    let dialler = dialler(&network, &token, timing);
    let source = world.source(Throttle::default(), timing);
    let sink = sink(&world, world.kept(true), STREAMS, Verify::Md5, timing);
    let done = thread::scope(|scope| match sink_dials {
        true => {
            let sending = scope.spawn(|| source.accept(acceptor, &token, STREAMS, |_| {}));
            let done = sink.dial(&dialler, fail_on_loss(&sink)).unwrap();
            sending.join().unwrap().unwrap();
            done
        }
        false => {
            let sending = scope.spawn(|| source.dial(&dialler, fail_on_loss(&source)));
            let done = sink.accept(acceptor, &token, |_| {}).unwrap();
            let sent = sending.join().unwrap().unwrap();
            // The hole too, although none of its bytes was moved.
            assert_eq!(sent.covered, world.size);
            done
        }
    });
    network.end();
    assert!(world.is_whole());
    let mut digest = Md5::new();
    digest.update(&world.bytes());
    let Report::Done { md5, tally, .. } = done else { panic!("{done:?}") };
    assert_eq!(md5, Some(hex(&digest.finish())));
    assert_eq!(tally.bytes, world.size);
    // The first streams may have brought everything before the last ones were opened.
    assert!((1..=STREAMS.into()).contains(&opened.load(Ordering::Relaxed)), "{opened:?}");
}

#[test]
fn a_sink_dials_a_source_that_listens() {
    moves_a_file(true, true);
}

#[test]
fn a_sink_dials_a_source_that_gets_its_streams_handed_over() {
    moves_a_file(true, false);
}

#[test]
fn a_source_dials_a_sink_that_listens() {
    moves_a_file(false, true);
}

#[test]
fn a_source_dials_a_sink_that_gets_its_streams_handed_over() {
    moves_a_file(false, false);
}

/// Two ends of the same kind have nothing to say to each other.
#[test]
fn a_stream_in_the_wrong_direction_is_refused() {
    let (world, timing) = (world(), Timing::default().divided(100));
    let (token, network) =
        (Token::random().unwrap(), Network::new(Faults::none(), Random::from_seed(1)));
    let (acceptor, way) = acceptor(false, timing);
    network.open(way);
    let dialler = dialler(&network, &token, timing);
    let (here, there) = [(); 2].map(|()| world.source(Throttle::default(), timing)).into();
    thread::scope(|scope| {
        let dialling = scope.spawn(|| here.dial(&dialler, fail_on_loss(&here)));
        let error = there.accept(acceptor, &token, STREAMS, |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("no stream was open"), "{error}");
        assert!(dialling.join().unwrap().is_err());
    });
    network.end();
}
