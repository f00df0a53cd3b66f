//! `--data-ports`: where senders listen, and what the server replies when all these ports are
//! taken.

use crate::support::harness::{Scratch, Server, assert_same, content, run, wait_until};
use crate::support::http::reply;
use crate::support::peers::classic::{ask, open_stream, request};
use crate::support::peers::sink;
use crate::support::proof;
use crate::support::socket::read_all;
use crate::support::system::{Reserved, reserve};

/// Two neighbouring ports at the test's address, reserved for senders.
fn two_ports(scratch: &Scratch) -> [Reserved; 2] {
    let own = |port| reserve(scratch.address(), port);
    (20_000..30_000).find_map(|port| Some([own(port)?, own(port + 1)?])).unwrap()
}

#[test]
fn senders_listen_in_the_range_and_nowhere_else() {
    let scratch = Scratch::new("range");
    let reserved = two_ports(&scratch);
    let [first, last] = [0, 1].map(|at: usize| reserved[at].address.port());
    let server = Server::start(&scratch, &["--data-ports", &format!("{first}-{last}")]);
    let bytes = content(100_000);
    scratch.write("file", &bytes);
    let offers = [(); 2].map(|()| ask(server.address, "file", 1));
    let mut ports = [offers[0].sender.port(), offers[1].sender.port()];
    ports.sort();
    assert_eq!(ports, [first, last]);
    // All ports are taken. In both protocols the reply says when to ask again.
    let (refused, _) = reply(&server, request(b"file", 1));
    assert_eq!((refused.status, refused.error()), (503, "every data port is taken"));
    assert_eq!(refused.find("Retry-After"), Some("1"));
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    let outcome = run(client.args(["--retry-for", "0"]));
    outcome.failed(4, "client", "503 Service Unavailable: every data port is taken");
    for offer in &offers {
        assert_same(&read_all(open_stream(offer.sender, 0)), &bytes, "the file");
    }
    proof::children(server.running.pid(), 0);
    for number in 0..3 {
        let output = scratch.path(format!("out-{number}"));
        run(&mut scratch.client(server.address, 2, "file", &output)).succeeded();
        assert_same(&std::fs::read(output).unwrap(), &bytes, "the file");
    }
}

#[test]
fn a_silent_session_gives_up_its_data_port_to_the_next_client() {
    let scratch = Scratch::new("range-silent");
    let reserved = two_ports(&scratch);
    let port = reserved[0].address.port();
    let range = format!("{port}-{port}");
    let server = Server::start(&scratch, &["--data-ports", &range, "--idle-timeout", "2"]);
    scratch.write("file", b"bytes");
    let silent = sink::ask(&server, "file", 1).open();
    wait_until("a free data port", || {
        (reply(&server, request(b"file", 1)).0.status == 200).then_some(())
    });
    assert!(sink::closed_unserved(silent));
}
