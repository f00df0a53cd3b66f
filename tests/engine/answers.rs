//! What a sink makes of a source that answers by hand.

use crate::content;
use crate::fair::Faults;
use crate::network::{Network, NetworkDial, Way};
use crate::random::Random;
use crate::world::{World, fail_on_loss, sink};
use ropewalk::codec::message::report::{Mended, Report};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::wire::{HELLO_SIZE, Header, LONGEST_REQUEST, PageEnd, RefusalCode, Request};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::store::Store;
use ropewalk::transfer::timing::Timing;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// A source: it gets each range that is asked for, and whether a hash goes along.
type Answer<'a> = dyn Fn(&mut TcpStream, u64, &[u8], bool) + Sync + 'a;

/// Answers the requests of one stream until it ends.
fn serve(mut stream: TcpStream, bytes: &[u8], answer: &Answer<'_>) {
    stream.read_exact(&mut [0; HELLO_SIZE]).unwrap();
    let (mut buffer, mut filled) = ([0; LONGEST_REQUEST], 0);
    loop {
        let Ok(Some((used, request))) = Request::parse(&buffer[..filled]) else {
            match stream.read(&mut buffer[filled..]) {
                Ok(count @ 1..) => filled += count,
                _ => return,
            }
            continue;
        };
        match request {
            Request::Range { offset, length, hash, .. } => {
                let (start, is_hashed) = (offset as usize, hash.is_some());
                answer(&mut stream, offset, &bytes[start..start + length as usize], is_hashed);
            }
            Request::Idle | Request::Streams { .. } => {}
            Request::Finished | Request::Leave | Request::List { .. } | Request::Md5 { .. } => {
                return;
            }
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// Fetches 1 MiB from such a source into `store` over one stream.
fn fetched(world: &World, store: Store, timing: Timing, answer: &Answer<'_>) -> Mended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(Way::Listener(listener.local_addr().unwrap()));
    let dialler = Dialler::new(Box::new(NetworkDial(network.clone())), [7; 16], 1, timing);
    let sink = sink(world, store, 1, Verify::Crc32c, timing);
    let address = listener.local_addr().unwrap();
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
                    let mut first = [0];
                    if !matches!(stream.peek(&mut first), Ok(1)) || first == [b'q'] {
                        return;
                    }
                }
                scope.spawn(|| serve(stream, &world.bytes(), answer));
            }
        });
        let done = sink.dial(&dialler, fail_on_loss(&sink));
        network.end();
        TcpStream::connect(address).unwrap().write_all(b"q").unwrap();
        done.unwrap()
    });
    assert!(world.is_whole());
    let Report::Done { mended, .. } = done else { panic!("{done:?}") };
    mended
}

fn data(stream: &mut TcpStream, offset: u64, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(128 << 10).enumerate() {
        let offset = offset + (index * (128 << 10)) as u64;
        let header = Header::Data { offset, length: piece.len() as u32, crc: crc32c(piece) };
        // The sink may have closed the stream.
        let _ = stream.write_all(&[&header.encode()[..], piece].concat());
    }
}

fn world() -> World {
    World::new(&[Ok(content(1 << 20))])
}

/// Each answer takes twice as long as a stream may be silent.
#[test]
fn a_source_that_asks_to_wait_does_not_stall() {
    let (world, timing) = (world(), Timing::default().divided(100));
    let mended = fetched(&world, world.kept(false), timing, &|stream, offset, bytes, _| {
        for _ in 0..6 {
            let _ = stream.write_all(&Header::Wait.encode());
            thread::sleep(timing.lonely_stall / 3);
        }
        data(stream, offset, bytes);
    });
    assert_eq!(mended.reconnects, 0, "{mended:?}");
}

#[test]
fn a_source_that_asks_to_wait_for_ever_is_left() {
    let (world, timing) = (world(), Timing::default());
    let timing = Timing { longest_wait: timing.tell / 2, ..timing };
    let first = std::sync::atomic::AtomicBool::new(true);
    let mended = fetched(&world, world.kept(false), timing, &|stream, offset, bytes, _| {
        let waits = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        while waits && stream.write_all(&Header::Wait.encode()).is_ok() {
            thread::sleep(timing.longest_wait / 10);
        }
        data(stream, offset, bytes);
    });
    assert_eq!(mended.reconnects, 1, "{mended:?}");
}

/// The stream is closed, and the range comes over the next one.
#[test]
fn an_answer_to_another_request_is_not_taken() {
    let same = Header::Same { offset: 0, length: 128 << 10 };
    let page = Header::Entries { end: PageEnd::Whole, folder: [0; 16], length: 0, crc: 0 };
    let gone = Header::Refused { code: RefusalCode::Gone, length: 0, crc: 0 };
    for wrong in [same, page, gone] {
        let (world, timing) = (world(), Timing::default());
        let first = std::sync::atomic::AtomicBool::new(true);
        let mended = fetched(&world, world.kept(false), timing, &|stream, offset, bytes, _| {
            if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                let _ = stream.write_all(&wrong.encode());
            }
            data(stream, offset, bytes);
        });
        assert_eq!(mended.reconnects, 1, "{wrong:?} {mended:?}");
    }
}

#[test]
fn the_word_that_another_range_is_the_same_is_not_taken() {
    let (world, timing) = (world(), Timing::default());
    let store = world.kept_beside(false, &[], world.size);
    let odd = std::sync::atomic::AtomicBool::new(false);
    let first = std::sync::atomic::AtomicBool::new(true);
    let mended = fetched(&world, store, timing, &|stream, offset, bytes, is_hashed| {
        // A panic here would leave the sink waiting.
        if !is_hashed || bytes.len() != 64 << 10 {
            odd.store(true, std::sync::atomic::Ordering::Relaxed);
            return data(stream, offset, bytes);
        }
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let _ = stream.write_all(&Header::Same { offset, length: 128 << 10 }.encode());
        }
        let length = bytes.len() as u32;
        let _ = stream.write_all(&Header::Same { offset, length }.encode());
    });
    assert!(!odd.into_inner(), "each unit of 64 KiB has a hash");
    assert_eq!(mended.reconnects, 1, "{mended:?}");
}

/// The rest of a range that has begun to come can only be data: its copy is overwritten.
#[test]
fn after_data_the_rest_of_a_range_is_not_the_same() {
    let (world, timing) = (world(), Timing::default());
    let store = world.kept_beside(false, &[], world.size);
    let first = std::sync::atomic::AtomicBool::new(true);
    let mended = fetched(&world, store, timing, &|stream, offset, bytes, _| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let half = bytes.len() / 2;
            data(stream, offset, &bytes[..half]);
            let offset = offset + half as u64;
            let _ = stream.write_all(&Header::Same { offset, length: 64 << 10 }.encode());
        }
        data(stream, offset, bytes);
    });
    assert_eq!(mended.reconnects, 1, "{mended:?}");
}
