//! Signals in the middle of a transfer. A peer that the test plays, with the classic protocol,
//! holds the transfer open, so it is certainly in the middle. Then /proc proves that no process,
//! port or socket stays, and the folder that no file does.

use crate::support::harness::{Outcome, Running, Scratch, Server, after, content, run, wait_until};
use crate::support::path::leave;
use crate::support::peers::classic::{ClassicServer, ask, md5, open_stream};
use crate::support::proof;
use crate::support::socket::read_some;
use crate::support::system::signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

/// More bytes than the buffers of a stream's two sockets hold.
const LARGE: u64 = 96 << 20;

/// A server whose sender has begun to send to a peer that reads no further.
struct Sending {
    scratch: Scratch,
    server: Server,
    sender: u32,
    streams: Vec<TcpStream>,
}

fn sending(test: &str) -> Sending {
    let scratch = Scratch::new(test);
    let server = Server::start(&scratch, &[]);
    scratch.sparse("file", LARGE);
    let offer = ask(server.address, "file", 2);
    let mut streams: Vec<TcpStream> =
        (0..2).map(|number| open_stream(offer.sender, number)).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0]).unwrap();
    }
    let sender = proof::children(server.running.pid(), 1)[0];
    Sending { scratch, server, sender, streams }
}

/// Sends a signal to a server that is sending, and says how the server ends.
#[track_caller]
fn stop_server(test: &str, number: i32) -> Outcome {
    let sending = sending(test);
    sending.server.running.signal(number);
    let outcome = sending.server.running.finish();
    // The peer is silent, but still there.
    proof::nothing_stays(&sending.scratch);
    drop(sending.streams);
    outcome
}

#[test]
fn sigint_at_a_server_ends_its_senders_and_their_sockets() {
    let outcome = stop_server("server-int", libc::SIGINT);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    assert!(outcome.err.contains(": stopped by signal 15\n"), "{outcome:?}");
}

#[test]
fn sigterm_at_a_server_ends_its_senders_and_their_sockets() {
    let outcome = stop_server("server-term", libc::SIGTERM);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
}

#[test]
fn sigkill_at_a_server_ends_its_senders_and_their_sockets() {
    let outcome = stop_server("server-kill", libc::SIGKILL);
    assert_eq!(outcome.killed_by(), Some(libc::SIGKILL));
}

#[test]
fn sigterm_ends_a_server_that_hashes_at_once() {
    let scratch = Scratch::new("server-hashing");
    let server = Server::start(&scratch, &[]);
    scratch.sparse("file", 1 << 40);
    let mut http = crate::support::http::Http::connect(server.address);
    http.send(crate::support::peers::classic::request(b"file", 1));
    proof::hashes(server.running.pid());
    assert_eq!(server.stop().status.code(), Some(0));
    drop(http);
    proof::nothing_stays(&scratch);
}

#[test]
fn a_stopped_sender_takes_its_parent_s_sigterm_too() {
    let sending = sending("stopped-sender");
    signal(sending.sender, libc::SIGSTOP);
    wait_until("the stop", || (proof::state(sending.sender) == Some('T')).then_some(()));
    assert_eq!(sending.server.stop().status.code(), Some(0));
    proof::nothing_stays(&sending.scratch);
}

#[test]
fn a_sender_that_is_killed_is_logged_and_the_server_goes_on() {
    let mut sending = sending("killed-sender");
    signal(sending.sender, libc::SIGKILL);
    let line = sending.server.next_log_line();
    assert!(line.ends_with(": stopped by signal 9\n"), "{line}");
    // The streams of a killed sender do not end like complete ones.
    assert!(sending.streams[0].read_to_end(&mut Vec::new()).is_err());
    ask(sending.server.address, "file", 1);
}

#[test]
fn ctrl_z_stops_the_senders_too_and_sigcont_wakes_them() {
    let sending = sending("server-pause");
    let server = sending.server.running.pid();
    for _ in 0..10 {
        signal(server, libc::SIGTSTP);
        for pid in [server, sending.sender] {
            wait_until("the stop", || (proof::state(pid) == Some('T')).then_some(()));
        }
        signal(server, libc::SIGCONT);
        for pid in [server, sending.sender] {
            wait_until("the wake", || (proof::state(pid) != Some('T')).then_some(()));
        }
    }
    for (number, stream) in sending.streams.into_iter().enumerate() {
        let mut stream = stream;
        let size = std::io::copy(&mut stream, &mut std::io::sink()).unwrap() + 1;
        assert_eq!(size, [LARGE / 2 + 1, LARGE / 2 - 1][number]);
    }
}

#[test]
fn ctrl_z_while_a_peer_takes_its_last_bytes_breaks_nothing() {
    let scratch = Scratch::new("server-pause-late");
    let mut server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let offer = ask(server.address, "file", 1);
    let mut stream = open_stream(offer.sender, 0);
    // The end of the block. The sender waits until this side closes.
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    let pids = [server.running.pid(), proof::children(server.running.pid(), 1)[0]];
    for _ in 0..3 {
        server.running.signal(libc::SIGTSTP);
        for pid in pids {
            wait_until("the stop", || (proof::state(pid) == Some('T')).then_some(()));
        }
        server.running.signal(libc::SIGCONT);
        for pid in pids {
            wait_until("the wake", || (proof::state(pid) != Some('T')).then_some(()));
        }
    }
    drop(stream);
    let line = server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
}

/// A client whose receiver has begun to write, and whose peer sends nothing more. The output exists
/// already.
struct Receiving {
    scratch: Scratch,
    client: Running,
    receiver: u32,
    streams: Vec<(u8, TcpStream)>,
    bytes: Vec<u8>,
}

fn receiving(test: &str, setting: &str) -> Receiving {
    let scratch = Scratch::new(test);
    let server = ClassicServer::bind(&scratch);
    let folder = scratch.make_dir("folder");
    let output = scratch.write("folder/out", b"old");
    let mut client = after(setting, &scratch.client(server.address(), 3, "file", output));
    let client = Running::start(&mut client);
    let bytes = content(900_000);
    server.offer(&md5(&bytes));
    let mut streams = server.accept_streams(3);
    for (number, stream) in &mut streams {
        stream.write_all(&bytes[usize::from(*number) * 300_001..][..1000]).unwrap();
    }
    wait_until("the first bytes on the disk", || {
        (fs::metadata(folder.join("out.part")).unwrap().len() == 1000).then_some(())
    });
    let receiver = proof::children(client.pid(), 1)[0];
    Receiving { scratch, client, receiver, streams, bytes }
}

impl Receiving {
    /// Sends the rest.
    fn send_rest(&mut self) {
        for (number, mut stream) in self.streams.drain(..) {
            let start = usize::from(number) * 300_001;
            let end = (start + 300_001).min(self.bytes.len());
            stream.write_all(&self.bytes[start + 1000..end]).unwrap();
        }
    }

    /// Demands that the output is alone in its folder, and returns its bytes.
    #[track_caller]
    fn output(&self) -> Vec<u8> {
        assert_eq!(Scratch::names(&self.scratch.path("folder")), ["out"]);
        fs::read(self.scratch.path("folder/out")).unwrap()
    }

    /// Waits until the receiver's sockets are closed, so that the streams end. Then demands that
    /// nothing of the client is left.
    #[track_caller]
    fn nothing_stays(&mut self) {
        for (_, mut stream) in self.streams.drain(..) {
            // This side is still open: the receiver must not end because of a close.
            match read_some(&mut stream, &mut [0]) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                Ok(count) => assert_eq!(count, 0),
            }
        }
        proof::nothing_stays(&self.scratch);
    }
}

/// Sends a signal to a client that is receiving, and says how the client ends.
#[track_caller]
fn stop_client(test: &str, number: i32, code: i32, words: &str) {
    let mut receiving = receiving(test, ":");
    receiving.client.signal(number);
    receiving.nothing_stays();
    assert_eq!(receiving.output(), b"old");
    receiving.client.finish().failed(code, "client", &format!("{words}; nothing is kept"));
}

#[test]
fn sigint_at_a_client_ends_its_receiver_and_leaves_the_old_output_alone() {
    stop_client("client-int", libc::SIGINT, 130, "stopped by SIGINT");
}

#[test]
fn sigterm_at_a_client_ends_its_receiver_and_leaves_the_old_output_alone() {
    stop_client("client-term", libc::SIGTERM, 143, "stopped by SIGTERM");
}

#[test]
fn sighup_at_a_client_ends_its_receiver_and_leaves_the_old_output_alone() {
    stop_client("client-hup", libc::SIGHUP, 129, "stopped by SIGHUP");
}

#[test]
fn sigkill_at_a_client_ends_its_receiver_and_leaves_the_old_output() {
    let mut receiving = receiving("client-kill", ":");
    receiving.client.signal(libc::SIGKILL);
    receiving.nothing_stays();
    assert_eq!(fs::read(receiving.scratch.path("folder/out")).unwrap(), b"old");
    // No process is left that could remove the part file. The next client takes it over.
    assert_eq!(
        Scratch::names(&receiving.scratch.path("folder")),
        ["out", "out.part", "out.part.journal"]
    );
    receiving.scratch.write("file", b"new");
    let server = Server::start(&receiving.scratch, &[]);
    let output = receiving.scratch.path("folder/out");
    let mut next = receiving.scratch.client(server.address, 3, "file", output);
    crate::support::harness::run(&mut next).succeeded();
    assert_eq!(receiving.output(), b"new");
}

#[test]
fn two_signals_at_once_leave_nothing_behind() {
    for round in 0..10 {
        let mut receiving = receiving(&format!("client-twice-{round}"), ":");
        // The client is stopped meanwhile, so it finds both signals at once.
        receiving.client.signal(libc::SIGSTOP);
        receiving.client.signal(libc::SIGINT);
        receiving.client.signal(libc::SIGTERM);
        receiving.client.signal(libc::SIGCONT);
        receiving.nothing_stays();
        let outcome = receiving.client.finish_ref();
        assert!(matches!(outcome.status.code(), Some(130 | 143)), "{outcome:?}");
        assert_eq!(receiving.output(), b"old");
    }
}

#[test]
fn a_worker_that_takes_no_sigterm_is_killed() {
    // The client ignores SIGTERM, and its receiver inherits that.
    let mut receiving = receiving("client-escalates", "trap '' TERM");
    receiving.client.signal(libc::SIGINT);
    receiving.nothing_stays();
    assert_eq!(receiving.output(), b"old");
    receiving.client.finish_ref().failed(130, "client", "stopped by SIGINT");
}

#[test]
fn sigint_ends_a_client_that_waits_for_its_reply() {
    let scratch = Scratch::new("client-waits");
    let server = ClassicServer::bind(&scratch);
    let output = scratch.path("out");
    let client = Running::start(&mut scratch.client(server.address(), 1, "file", output));
    let (_, _open) = server.accept_request();
    client.signal(libc::SIGINT);
    client.finish().failed(130, "client", "stopped by SIGINT");
    assert_eq!(Scratch::names(scratch.folder()).len(), 0);
}

#[test]
fn ctrl_z_at_a_client_stops_its_receiver_too_and_sigcont_wakes_it() {
    let mut receiving = receiving("client-pause", ":");
    let client = receiving.client.pid();
    for _ in 0..10 {
        signal(client, libc::SIGTSTP);
        for pid in [client, receiving.receiver] {
            wait_until("the stop", || (proof::state(pid) == Some('T')).then_some(()));
        }
        signal(client, libc::SIGCONT);
        for pid in [client, receiving.receiver] {
            wait_until("the wake", || (proof::state(pid) != Some('T')).then_some(()));
        }
    }
    receiving.send_rest();
    receiving.client.finish_ref().succeeded();
    assert_eq!(receiving.output(), receiving.bytes);
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let mut receiving = receiving("client-nohup", "trap '' INT HUP");
    for number in [libc::SIGINT, libc::SIGHUP] {
        receiving.client.signal(number);
    }
    receiving.send_rest();
    receiving.client.finish_ref().succeeded();
    assert_eq!(receiving.output(), receiving.bytes);
}

#[test]
fn a_signal_that_was_ignored_at_a_server_s_start_stays_ignored() {
    let scratch = Scratch::new("server-nohup");
    let command = after("trap '' INT HUP", &scratch.program("server"));
    let server = Server::start_command(&scratch, command);
    for number in [libc::SIGINT, libc::SIGHUP] {
        server.running.signal(number);
    }
    let file = scratch.write("file", b"abc");
    ask(server.address, file.as_os_str().as_encoded_bytes(), 1);
    assert_eq!(server.stop().status.code(), Some(0));
    proof::nothing_stays(&scratch);
}

#[test]
fn a_receiver_that_is_killed_is_an_error_of_the_client() {
    let mut receiving = receiving("killed-receiver", ":");
    signal(receiving.receiver, libc::SIGKILL);
    receiving.nothing_stays();
    assert_eq!(receiving.output(), b"old");
    receiving.client.finish().failed(1, "client", "receiver: stopped by signal 9");
}

#[test]
fn a_signal_ends_a_client_whose_output_is_not_read() {
    let scratch = Scratch::new("client-unheard");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", &content(1000));
    // The client has to say that it starts over, and there is no room for the message.
    leave(&scratch.path("out"), b"from somewhere");
    let (mut full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    let mut client = client.stderr(OwnedFd::from(full)).spawn().unwrap();
    // The client is about to write the message, and handles signals.
    wait_until("the part file is emptied", || {
        (fs::metadata(scratch.path("out.part")).unwrap().len() != 14).then_some(())
    });
    wait_until("the end", || {
        signal(client.id(), libc::SIGINT);
        client.try_wait().unwrap()
    });
}

#[test]
fn these_tests_pass_where_signals_are_ignored_too() {
    let scratch = Scratch::new("ignored");
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args([
        "--exact",
        "faults::signals::a_signal_ends_a_client_whose_output_is_not_read",
        "cli::terminal::an_error_replaces_the_bar",
    ]);
    tests.current_dir(scratch.folder());
    let said = run(&mut after("trap '' HUP INT QUIT", &tests)).succeeded();
    assert!(said.contains("2 passed"), "{said}");
}
