//! Tests of which connection is dropped for another one, and which is served.

#![forbid(unsafe_code)]

use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

fn connect(address: &str) -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (here, peer) = listener.accept().unwrap();
    // The test chooses the address that the connection seems to come from.
    (here, there, SocketAddr::new(address.parse().unwrap(), peer.port()))
}

fn admit(owner: &Arc<Connections>, address: &str) -> (Connection, TcpStream) {
    let (here, there, peer) = connect(address);
    (owner.admit(here, peer).ok().unwrap(), there)
}

fn ended(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0]), Ok(0))
}

/// Whether the connection has ended behind the bytes that there are to read.
fn has_ended(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 65536];
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn the_longest_waiting_of_the_address_that_holds_most_is_dropped() {
    let owner = Connections::new(3);
    let (_other, other) = admit(&owner, "127.0.0.2");
    let (_first, first) = admit(&owner, "127.0.0.1");
    let (_second, second) = admit(&owner, "127.0.0.1");
    let (_third, third) = admit(&owner, "127.0.0.3");
    assert_eq!(
        [ended(&other), ended(&first), ended(&second), ended(&third)],
        [false, true, false, false]
    );
}

#[test]
fn an_ipv6_network_counts_as_one_address() {
    let owner = Connections::new(4);
    let (of_other, other) = admit(&owner, "2001:db8:0:1::1");
    let own = [1, 2, 3, 4].map(|host| admit(&owner, &format!("2001:db8:0:2::{host}")));
    let [(_, first), (second, _), (third, _), (fourth, _)] = &own;
    assert_eq!([ended(&other), ended(first)], [false, true]);
    let (fifth, _fifth) = admit(&owner, "2001:db8:0:2::5");
    assert_eq!(second.while_served(|| ()), None, "it was dropped for the fifth");
    drop(of_other);
    let (sixth, _sixth) = admit(&owner, "2001:db8:0:2::6");
    let served = third
        .while_served(|| fourth.while_served(|| fifth.while_served(|| sixth.while_served(|| ()))));
    assert_eq!(
        served,
        Some(Some(Some(None))),
        "one address is served on three of four connections"
    );
}

#[test]
fn a_served_connection_is_never_dropped() {
    let owner = Connections::new(2);
    let (served, served_peer) = admit(&owner, "127.0.0.1");
    let (_idle, idle_peer) = admit(&owner, "127.0.0.1");
    let done = served.while_served(|| {
        let (_new, _new_peer) = admit(&owner, "127.0.0.1");
        assert_eq!([ended(&served_peer), ended(&idle_peer)], [false, true]);
    });
    assert!(done.is_some());
}

#[test]
fn when_all_are_served_none_is_admitted() {
    let owner = Connections::new(1);
    let (served, peer) = admit(&owner, "127.0.0.1");
    let done = served.while_served(|| {
        let (here, _there, from) = connect("127.0.0.1");
        assert!(owner.admit(here, from).is_err());
    });
    assert!(done.is_some() && !ended(&peer));
}

#[test]
fn one_address_is_served_on_three_of_four_connections() {
    let owner = Connections::new(4);
    let own = [(); 4].map(|()| admit(&owner, "127.0.0.1"));
    let [(first, _), (second, _), (third, _), (fourth, _)] = &own;
    let served = first
        .while_served(|| second.while_served(|| third.while_served(|| fourth.while_served(|| ()))));
    assert_eq!(served, Some(Some(Some(None))));
    // Those that are served no more do not count.
    assert_eq!(fourth.while_served(|| ()), Some(()));
    let served = first.while_served(|| {
        second.while_served(|| {
            third.while_served(|| {
                let (other, _peer) = admit(&owner, "127.0.0.2");
                other.while_served(|| ())
            })
        })
    });
    assert_eq!(served, Some(Some(Some(Some(())))));
}

#[test]
fn requests_of_a_proxy_count_as_those_of_its_clients() {
    let owner = Connections::new(4);
    let own = [1, 2, 3, 4].map(|client| {
        let (connection, peer) = admit(&owner, "127.0.0.1");
        connection.serves(Some(SocketAddr::from(([192, 0, 2, client], 0))));
        (connection, peer)
    });
    let [(first, _), (second, _), (third, _), (fourth, _)] = &own;
    let served = first.while_served(|| {
        second.while_served(|| third.while_served(|| fourth.while_served(|| fourth.peer())))
    });
    let client = SocketAddr::from(([192, 0, 2, 4], 0));
    assert_eq!(served, Some(Some(Some(Some(client)))));
    fourth.serves(None);
    assert_eq!(fourth.peer(), fourth.end());
}

#[test]
fn a_dropped_connection_is_not_served() {
    let owner = Connections::new(1);
    let (connection, _peer) = admit(&owner, "127.0.0.1");
    let (_next, _next_peer) = admit(&owner, "127.0.0.1");
    assert_eq!(connection.while_served(|| ()), None);
}

#[test]
fn a_panic_ends_one_connection_and_makes_room() {
    let owner = Connections::new(2);
    let (first, first_peer) = admit(&owner, "127.0.0.1");
    let (_second, second_peer) = admit(&owner, "127.0.0.1");
    first.spawn(|_| panic!("as intended by this test")).unwrap();
    first_peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!((&first_peer).read(&mut [0]).unwrap(), 0);
    assert!(!ended(&second_peer));
    while lock(&owner.registry).open.len() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_has_left_counts_no_more_and_is_not_ended() {
    let owner = Connections::new(1);
    let (connection, peer) = admit(&owner, "127.0.0.1");
    let kept = connection.stream().clone();
    assert!(connection.leave());
    let (_next, next_peer) = admit(&owner, "127.0.0.1");
    assert_eq!([ended(&peer), ended(&next_peer)], [false, false]);
    drop(connection);
    assert!(!ended(&peer));
    drop(kept);
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!((&peer).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_dropped_connection_cannot_leave() {
    let owner = Connections::new(1);
    let (connection, _peer) = admit(&owner, "127.0.0.1");
    let (_next, _next_peer) = admit(&owner, "127.0.0.1");
    assert!(!connection.leave());
}

#[test]
fn closing_ends_all_and_waits_for_their_threads() {
    let owner = Connections::new(2);
    let (connection, _peer) = admit(&owner, "127.0.0.1");
    connection
        .spawn(|connection| {
            assert_eq!(connection.stream().as_ref().read(&mut [0]).unwrap(), 0);
        })
        .unwrap();
    assert!(owner.close(Duration::from_secs(60)));
    let (here, _there, from) = connect("127.0.0.1");
    assert!(owner.admit(here, from).is_err());
}

#[test]
fn closing_does_not_wait_for_ever() {
    let owner = Connections::new(1);
    let (_connection, _peer) = admit(&owner, "127.0.0.1");
    assert!(!owner.close(Duration::from_millis(1)));
}

/// Runs `then` while the connection is sent more than its client takes, which is nothing.
fn while_stuck<T>(connection: &Connection, then: impl FnOnce() -> T) -> T {
    let served = connection.while_served(|| {
        connection.while_sending(|| {
            let mut stream = connection.stream().as_ref();
            stream.set_nonblocking(true).unwrap();
            while stream.write(&[0; 65536]).is_ok() {}
            then()
        })
    });
    served.unwrap()
}

#[test]
fn a_client_that_takes_nothing_makes_room_when_all_are_served() {
    let owner = Connections::new(2);
    let [(slow, slow_peer), (served, _peer)] = ["127.0.0.1", "127.0.0.2"].map(|a| admit(&owner, a));
    let (here, _there, from) = connect("127.0.0.3");
    let begun = Instant::now();
    while_stuck(&slow, || {
        served.while_served(|| {
            owner.measure_at(begun);
            let here = owner.admit(here, from).err().unwrap();
            // Its own buffers may have taken much in so short a time.
            owner.measure_at(begun + MEASURE_TIME * 100);
            owner.measure_at(begun + MEASURE_TIME * 101);
            let new = owner.admit(here, from).ok().unwrap();
            assert!(has_ended(&slow_peer));
            assert_eq!(new.while_served(|| ()), Some(()));
        })
    });
}

#[test]
fn a_client_that_takes_nothing_makes_room_for_its_own_address() {
    let owner = Connections::new(4);
    let own = [(); 4].map(|()| admit(&owner, "127.0.0.1"));
    let [(first, first_peer), (second, _), (third, _), (fourth, _)] = &own;
    let begun = Instant::now();
    while_stuck(first, || {
        second.while_served(|| {
            third.while_served(|| {
                assert_eq!(fourth.while_served(|| ()), None);
                owner.measure_at(begun + MEASURE_TIME * 100);
                owner.measure_at(begun + MEASURE_TIME * 101);
                assert_eq!(fourth.while_served(|| ()), Some(()));
            })
        })
    });
    assert!(has_ended(first_peer));
}

#[test]
fn a_client_that_takes_all_there_is_stays_however_little_that_is() {
    let owner = Connections::new(1);
    let (slow, mut peer) = admit(&owner, "127.0.0.1");
    let begun = Instant::now();
    slow.while_served(|| {
        slow.while_sending(|| {
            slow.stream().as_ref().write_all(&[0; 100]).unwrap();
            peer.read_exact(&mut [0; 100]).unwrap();
            owner.measure_at(begun + MEASURE_TIME * 100);
            owner.measure_at(begun + MEASURE_TIME * 101);
            let (here, _there, from) = connect("127.0.0.1");
            assert!(owner.admit(here, from).is_err());
        })
    });
}

#[test]
fn a_client_that_brings_nothing_makes_room_for_another() {
    let owner = Connections::new(1);
    let (slow, slow_peer) = admit(&owner, "127.0.0.1");
    let begun = Instant::now();
    slow.while_served(|| {
        slow.while_receiving(|| {
            let (here, _there, from) = connect("127.0.0.2");
            owner.measure_at(begun + MEASURE_TIME);
            assert!(owner.admit(here, from).is_ok());
            assert!(has_ended(&slow_peer));
        })
    });
}

#[test]
fn a_client_that_has_brought_bytes_which_nobody_reads_stays() {
    let owner = Connections::new(1);
    let (slow, mut peer) = admit(&owner, "127.0.0.1");
    let begun = Instant::now();
    slow.while_served(|| {
        slow.while_receiving(|| {
            peer.write_all(&[0; 100]).unwrap();
            while slow.stream().peek(&mut [0; 100]).unwrap() < 100 {}
            owner.measure_at(begun + MEASURE_TIME * 100);
            owner.measure_at(begun + MEASURE_TIME * 101);
            let (here, _there, from) = connect("127.0.0.1");
            assert!(owner.admit(here, from).is_err());
        })
    });
}

#[test]
fn while_there_is_room_no_client_is_measured() {
    let owner = Connections::new(4);
    let _two = [(); 2].map(|()| admit(&owner, "127.0.0.1"));
    assert_eq!(owner.measure(), None);
    let _third = admit(&owner, "127.0.0.1");
    assert_eq!(owner.measure(), Some(MEASURE_TIME));
    assert!(owner.measure().is_some_and(|left| left <= MEASURE_TIME));
}
