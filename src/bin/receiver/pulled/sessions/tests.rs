//! Sessions that are lost, renewed and ended.

#![forbid(unsafe_code)]

use super::*;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// A session with these ports at the address 127.63.0.2, of which blocks have come.
fn sessions_at(data: u16, control: u16) -> Sessions {
    let token = Token::from_hex(&"0".repeat(32)).unwrap();
    let [address, control] = [data, control].map(|port| SocketAddr::from(([127, 63, 0, 2], port)));
    Sessions::new(Session { address, control, token, threads: 4 }, false).unwrap()
}

fn sessions() -> Sessions {
    let sessions = sessions_at(1, 2);
    sessions.is_good(0);
    sessions
}

#[test]
fn refusals_lose_a_session_once() {
    let sessions = sessions();
    let refused = io::Error::from(ErrorKind::ConnectionRefused);
    sessions.failed(0, 0, &refused);
    assert_eq!(sessions.take_loss(), None);
    sessions.failed(1, 0, &refused);
    assert!(sessions.take_loss().is_some());
    assert_eq!(sessions.take_loss(), None);
}

#[test]
fn failures_of_an_old_session_do_not_lose_the_new_one() {
    let sessions = sessions();
    let (_, session) = sessions.current().unwrap();
    sessions.renew(session);
    sessions.is_good(1);
    for _ in 0..10 {
        sessions.failed(0, 0, &ErrorKind::ConnectionRefused.into());
    }
    assert_eq!(sessions.take_loss(), None);
    assert_eq!(sessions.current().map(|(generation, _)| generation), Some(1));
}

#[test]
fn a_break_alone_does_not_lose_a_session() {
    let sessions = sessions();
    for _ in 0..10 {
        sessions.failed(0, 0, &ErrorKind::ConnectionReset.into());
    }
    assert_eq!(sessions.take_loss(), None);
}

#[test]
fn time_in_which_nothing_could_come_does_not_lose_a_session() {
    let sessions = sessions();
    let long_ago = Instant::now().checked_sub(2 * DEAF_TIME);
    let Some(long_ago) = long_ago else { return }; // this machine has only just begun
    let reset = io::Error::from(ErrorKind::ConnectionReset);
    lock(&sessions.state).quiet_since = long_ago;
    sessions.excuse();
    sessions.failed(0, 0, &reset);
    assert_eq!(sessions.take_loss(), None);
    lock(&sessions.state).quiet_since = long_ago;
    sessions.failed(0, 0, &reset);
    assert!(sessions.take_loss().is_some());
}

#[test]
fn a_session_that_is_over_is_lost_at_once() {
    let sessions = sessions();
    sessions.failed(0, 0, &ErrorKind::NotFound.into());
    assert!(sessions.take_loss().is_some());
}

#[test]
fn both_ports_that_fail_are_named_when_the_session_is_lost() {
    let sessions = sessions_at(1, 2);
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    (0..3).for_each(|number| sessions.failed(number, 0, &refused));
    let text = sessions.take_loss().unwrap();
    assert!(text.contains("127.63.0.2:2: ") && text.contains("127.63.0.2:1: "), "{text}");
}

fn listen() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.63.0.2:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_stream_goes_to_the_control_port_at_once_when_the_data_port_refuses() {
    let (control, port) = listen();
    let sessions = sessions_at(1, port);
    let (generation, session) = sessions.current().unwrap();
    sessions.connect(generation, &session).unwrap();
    control.accept().unwrap();
    assert!(sessions.single_port());
}

#[test]
fn nobody_connects_when_all_is_over() {
    let (_listener, port) = listen();
    let sessions = sessions_at(port, port);
    let (generation, session) = sessions.current().unwrap();
    sessions.end(false);
    assert!(sessions.connect(generation, &session).is_err());
}

#[test]
fn the_end_reaches_those_who_wait() {
    let sessions = sessions();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| sessions.pause(Duration::from_secs(1000)));
        sessions.end(true);
        assert!(!waiter.join().unwrap());
    });
    assert!(sessions.current().is_none());
}
