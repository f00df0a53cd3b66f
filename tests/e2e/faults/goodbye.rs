//! A client that ends early ends its session too, whatever ends it and however far it is:
//! the place on the server is free at once.

use crate::support::exit::{CHANGED, SYSTEM};
use crate::support::harness::{Running, Scratch, Server, content, run};
use crate::support::path::BLOCK;
use crate::support::path::{Gate, Path};
use crate::support::peers::sink::{ask, closed_unserved};
use crate::support::proof;
use crate::support::relay::Faults;
use crate::support::system::signal;
use ropewalk::codec::wire::{HELLO_SIZE, Request};
use std::io::Write;
use std::sync::Arc;

/// Demands that the next session that ends does so because its client said it. A server
/// that misses the streams says something else, half a minute later.
#[track_caller]
fn was_left(server: &mut Server) {
    let mut line = server.next_log_line();
    while line.contains(" warning: ") {
        line = server.next_log_line(); // of a server that was started anew
    }
    assert!(line.ends_with(": the client has given up the rest\n"), "{line}");
}

#[test]
fn a_client_that_a_signal_ends_frees_its_place() {
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let (gate, faults) = Gate::after(3);
        let mut path = Path::new(&format!("goodbye-{number}"), (40 * BLOCK) as usize, faults);
        let client = path.begin(&gate, 3, path.client(2));
        client.signal(number);
        client.finish().failed(code, "client", "stopped by ");
        was_left(&mut path.server);
        gate.open();
    }
}

#[test]
fn a_client_whose_receiver_is_killed_frees_its_place() {
    let (gate, faults) = Gate::after(3);
    let mut path = Path::new("goodbye-receiver", (40 * BLOCK) as usize, faults);
    let mut client = path.begin(&gate, 3, path.client(1));
    signal(proof::children(client.pid(), 1)[0], libc::SIGKILL);
    client.finish_ref().failed(SYSTEM, "client", "receiver: stopped by signal 9");
    was_left(&mut path.server);
    gate.open();
}

#[test]
fn a_client_of_which_no_stream_has_come_yet_frees_its_place() {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    // The hello of the first stream, which is the only one, does not get through.
    let hold = move |message: crate::support::relay::Message<'_>| {
        if message.stream == 0 && message.bytes.len() == HELLO_SIZE {
            own.pass();
        }
    };
    let faults = Faults { message: Box::new(hold), ..Faults::default() };
    let mut path = Path::new("goodbye-early", (40 * BLOCK) as usize, faults);
    let client = Running::start(&mut path.client(1));
    gate.wait_until_reached();
    client.signal(libc::SIGINT);
    client.finish().failed(130, "client", "stopped by SIGINT");
    was_left(&mut path.server);
    gate.open();
}

#[test]
fn a_client_that_cannot_write_its_output_frees_its_place() {
    let mut path = Path::new("goodbye-output", 1000, Faults::default());
    path.scratch.make_dir("folder/out.part");
    run(&mut path.client(1)).failed(SYSTEM, "client", "out.part");
    was_left(&mut path.server);
    run(path.client(1).arg("--single-port")).failed(SYSTEM, "client", "out.part");
    was_left(&mut path.server);
}

#[test]
fn another_session_that_is_of_no_use_is_given_back() {
    let (gate, faults) = Gate::before_a_cut(3);
    let mut path = Path::new("goodbye-other", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, 3, path.client(1));
    path.server.kill();
    path.scratch.write("file", &content((40 * BLOCK) as usize + 1)[1..]);
    path.restart(&[]);
    gate.open();
    client.finish().failed(CHANGED, "client", "the file on the server has changed");
    was_left(&mut path.server);
}

#[test]
fn the_one_word_ends_the_session_at_either_port() {
    let scratch = Scratch::new("goodbye-word");
    let mut server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for control in [false, true] {
        let offer = ask(&server, "file", 2);
        let idle = offer.open();
        let address = if control { server.address } else { offer.sender };
        // It is said on a stream that closes at once.
        offer.open_at(address).write_all(&Request::Leave.encode()).unwrap();
        was_left(&mut server);
        assert!(closed_unserved(idle));
    }
}
