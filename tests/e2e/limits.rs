//! Limits of a server: what the server refuses at each limit, how a client waits for its turn, and
//! how a client that ends early frees its place at once.

use crate::support::exit::{CHANGED, SYSTEM};
use crate::support::harness::{
    Outcome, Running, Scratch, Server, assert_same, content, run, wait_until,
};
use crate::support::http::{Http, reply};
use crate::support::path::{BLOCK, Gate, Path};
use crate::support::peers::classic::{ClassicServer, ask, request};
use crate::support::peers::sink::{self, closed_unserved};
use crate::support::proof;
use crate::support::relay::Faults;
use crate::support::system::signal;
use ropewalk::codec::wire::{HELLO_SIZE, Request};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn at_its_limit_of_transfers_the_server_replies_503_with_retry_after() {
    for (options, words) in [
        (["--max-transfers", "2"], "too many transfers"),
        (["--max-per-address", "2"], "too many transfers for your address"),
    ] {
        let scratch = Scratch::new(&format!("limit{}", options[0]));
        let server = Server::start(&scratch, &options);
        scratch.write("file", b"bytes");
        let _offers = [(); 2].map(|()| ask(server.address, "file", 1));
        let (refused, _) = reply(&server, request(b"file", 1));
        assert_eq!((refused.status, refused.error()), (503, words));
        assert_eq!(refused.find("Retry-After"), Some("1"));
        assert_eq!(refused.find("Connection"), None, "the connection stays open");
        // The limit does not apply to files that need no sender.
        let (got, _) = reply(&server, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(got.status, 404);
    }
}

/// Opens a session with one stream that asks for nothing.
fn silent(server: &Server) -> TcpStream {
    sink::ask(server, "file", 1).open()
}

#[test]
fn at_its_limit_of_transfers_the_server_ends_the_longest_silent_session() {
    for option in ["--max-transfers", "--max-per-address"] {
        let scratch = Scratch::new(&format!("limit-silent{option}"));
        let mut server = Server::start(&scratch, &[option, "2", "--idle-timeout", "2"]);
        scratch.write("file", b"bytes");
        let (longest, mut other) = (silent(&server), silent(&server));
        wait_until("a free place", || {
            (reply(&server, request(b"file", 1)).0.status == 200).then_some(())
        });
        let line = server.next_log_line();
        assert!(line.ends_with(": moved nothing, and made room for another transfer\n"), "{line}");
        assert!(sink::closed_unserved(longest));
        other.write_all(&sink::request(1, 4)).unwrap();
        assert_eq!(sink::payload(&mut other, 1, 4), b"ytes");
    }
}

#[test]
fn a_session_that_moves_bytes_keeps_its_place() {
    let scratch = Scratch::new("limit-moves");
    let server = Server::start(&scratch, &["--max-transfers", "2", "--idle-timeout", "3"]);
    scratch.write("file", b"bytes");
    // The moving session is the older one, but it is never silent for long.
    let (mut moves, silent) = (silent(&server), silent(&server));
    wait_until("a free place", || {
        moves.write_all(&sink::request(0, 5)).unwrap();
        assert_eq!(sink::payload(&mut moves, 0, 5), b"bytes");
        (reply(&server, request(b"file", 1)).0.status == 200).then_some(())
    });
    assert!(sink::closed_unserved(silent));
    moves.write_all(&sink::request(0, 5)).unwrap();
    assert_eq!(sink::payload(&mut moves, 0, 5), b"bytes");
}

#[test]
fn a_client_waits_for_its_turn_until_its_retry_time_ends() {
    let scratch = Scratch::new("limit-wait");
    let options = ["--max-transfers", "1", "--idle-timeout", "2"];
    let server = Server::start(&scratch, &options);
    scratch.write("file", b"bytes");
    let _offer = ask(server.address, "file", 1); // ends after 2 s, since no stream comes
    let mut hasty = scratch.client(server.address, 1, "file", scratch.path("hasty"));
    let refused: Outcome = run(hasty.args(["--retry-for", "0"]));
    refused.failed(4, "client", "503 Service Unavailable: too many transfers; try again");
    let clients: Vec<Running> = (0..4)
        .map(|number| {
            let output = scratch.path(format!("out-{number}"));
            Running::start(&mut scratch.client(server.address, 2, "file", output))
        })
        .collect();
    for client in clients {
        client.finish().succeeded();
    }
}

#[test]
fn a_client_waits_as_long_as_a_full_server_says() {
    let scratch = Scratch::new("limit-when");
    let server = ClassicServer::bind(&scratch);
    let mut client =
        Running::start(&mut scratch.client(server.address(), 1, "file", scratch.path("out")));
    let (_, mut full) = server.accept_request();
    let begun = Instant::now();
    full.write_all(b"HTTP/1.0 503 Full\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n").unwrap();
    drop(full);
    let (_, mut asked_again) = server.accept_request();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    asked_again.write_all(b"HTTP/1.0 404 None\r\n\r\n").unwrap();
    drop(asked_again);
    client.finish_ref().failed(4, "client", "404 None");
}

#[test]
fn more_streams_than_are_allowed_are_refused() {
    let scratch = Scratch::new("limit-streams");
    let server = Server::start(&scratch, &["--max-streams", "4"]);
    scratch.write("file", b"bytes");
    let mut client = scratch.client(server.address, 5, "file", scratch.path("out"));
    run(&mut client).failed(4, "client", "this server allows 4 streams per transfer");
    run(&mut scratch.client(server.address, 4, "file", scratch.path("out"))).succeeded();
}

#[test]
fn the_option_bounds_how_long_a_request_may_take() {
    let scratch = Scratch::new("limit-request");
    let server = Server::start(&scratch, &["--request-timeout", "1"]);
    let begun = Instant::now();
    let (late, mut http) = reply(&server, b"GET /fi");
    assert_eq!(late.status, 408);
    // The default would be 10 s.
    assert!((900..10_000).contains(&begun.elapsed().as_millis()));
    assert!(http.is_closed());
}

#[test]
fn the_option_bounds_how_long_a_connection_stays_idle() {
    let scratch = Scratch::new("limit-idle");
    let server = Server::start(&scratch, &["--idle-timeout", "1"]);
    let begun = Instant::now();
    let (answer, mut http) = reply(&server, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((answer.status, answer.find("Connection")), (404, None));
    assert!(http.is_closed());
    // The default would be 30 s.
    assert!((1000..30_000).contains(&begun.elapsed().as_millis()));
}

/// How long a fetch of 3 MB takes.
fn time(scratch: &Scratch, server: SocketAddr, streams: usize, options: &[&str]) -> Duration {
    let output = scratch.path(format!("out-{streams}"));
    let begun = Instant::now();
    run(scratch.client(server, streams, "file", &output).args(options)).succeeded();
    let took = begun.elapsed();
    assert_same(&fs::read(output).unwrap(), &content(3 << 20), "the file");
    took
}

#[test]
fn a_rate_is_kept_by_the_server_and_by_the_client() {
    let scratch = Scratch::new("rate");
    scratch.write("file", &content(3 << 20));
    let (limited, free) =
        (Server::start(&scratch, &["--limit-rate", "1M"]), Server::start(&scratch, &[]));
    let least = Duration::from_millis(2700);
    std::thread::scope(|scope| {
        let limit = &["--limit-rate", "1M"][..];
        for (server, streams, options) in [
            (limited.address, 255, &[][..]),
            (free.address, 4, limit),
            (free.address, 100, &[limit, &["--verify", "none"]].concat()),
        ] {
            let scratch = &scratch;
            let options = options.to_vec();
            scope.spawn(move || {
                let took = time(scratch, server, streams, &options);
                assert!(took >= least, "{streams} streams: {took:?}");
            });
        }
    });
}

#[test]
fn a_rate_is_shared_by_transfers_and_downloads() {
    let scratch = Scratch::new("rate-shared");
    scratch.write("file", &content(3 << 20));
    let server = Server::start(&scratch, &["--limit-rate", "3M"]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let (scratch, server) = (&scratch, server.address);
        scope.spawn(move || time(scratch, server, 3, &["--verify", "none"]));
        scope.spawn(move || time(scratch, server, 4, &["--verify", "crc32c"]));
        scope.spawn(move || {
            let bytes = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n".replace("/none", "file");
            let mut http = crate::support::socket::connect(server);
            std::io::Write::write_all(&mut http, bytes.as_bytes()).unwrap();
            let mut got = vec![0; 3 << 20];
            std::io::Read::read_exact(&mut http, &mut got).unwrap();
        });
    });
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2600), "{took:?}");
}

#[test]
fn idle_sessions_leave_their_share_of_the_rate_to_others() {
    let scratch = Scratch::new("rate-silent");
    scratch.write("file", &content(3 << 20));
    let server = Server::start(&scratch, &["--limit-rate", "2M"]);
    let silent = [(); 31].map(|()| silent(&server));
    let took = time(&scratch, server.address, 3, &[]);
    // If each idle session kept its equal share of one in 32, the fetch would take 48 s.
    assert!(took < Duration::from_secs(40), "{took:?}");
    drop(silent);
}

#[test]
fn bytes_are_counted_at_the_rate_at_which_they_leave() {
    let scratch = Scratch::new("rate-counted");
    let metrics = format!("{}:0", scratch.address());
    let options = ["--limit-rate", "16K", "--metrics", &metrics];
    let server = Server::start(&scratch, &options);
    let metrics = server.metrics.unwrap();
    let block = 128 << 10;
    scratch.write("file", &content(block));
    let mut stream = sink::ask(&server, "file", 1).open();
    stream.write_all(&sink::request(0, block as u32)).unwrap();
    let counted = wait_until("the first bytes", || {
        let mut http = Http::connect(metrics);
        http.send("GET /-/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let reply = http.receive();
        let mut lines = reply.text().lines();
        let all = lines.find_map(|line| line.strip_prefix("ropewalk_transfer_bytes_total "));
        Some(all.unwrap().parse::<usize>().unwrap()).filter(|bytes| *bytes > 0)
    });
    // Otherwise the whole block would count as moved at once, and then nothing for 8 s.
    assert!(counted < block, "{counted}");
}

/// Demands that the next session ends because its client ended it. A server that misses the end of
/// the streams logs something else, half a minute later.
#[track_caller]
fn was_left(server: &mut Server) {
    let mut line = server.next_log_line();
    while line.contains(" warning: ") {
        line = server.next_log_line(); // the first line may come from a restarted server
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
fn a_client_without_a_stream_yet_frees_its_place() {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    // The relay holds back the hello of the first and only stream.
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
fn a_client_ends_a_new_session_that_it_cannot_use() {
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
fn a_leave_request_ends_the_session_at_either_port() {
    let scratch = Scratch::new("goodbye-word");
    let mut server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for control in [false, true] {
        let offer = sink::ask(&server, "file", 2);
        let idle = offer.open();
        let address = if control { server.address } else { offer.sender };
        // The leave request comes on a stream that closes at once.
        offer.open_at(address).write_all(&Request::Leave.encode()).unwrap();
        was_left(&mut server);
        assert!(closed_unserved(idle));
    }
}
