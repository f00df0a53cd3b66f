//! Pushes over a path that damages, cuts and stalls the streams, through one open port, through none,
//! and from behind a router that changes the client's address.

use crate::support::exit::NETWORK;
use crate::support::harness::{content, program_path, run};
use crate::support::namespace::script_in;
use crate::support::path::{flip, scatter};
use crate::support::relay::{DataPorts, Faults, Relay, Step};
use crate::support::uploads::{Inbox, WRITABLE};
use ropewalk::codec::json::{self, Value};
use ropewalk::codec::wire::HEADER_SIZE;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const SIZE: usize = (12 << 20) + 5;

/// The words of the summary when streams used the control port.
const ONE_PORT: &str = " through the control port";

/// An inbox, a relay before it, a file and a folder to push.
fn behind(test: &str, faults: Faults) -> (Inbox, Relay) {
    let inbox = Inbox::open(test, &[]);
    inbox.scratch.write("file", &content(SIZE));
    inbox.scratch.make_dir("top");
    for number in 0..60 {
        inbox.scratch.write(format!("top/f{number}"), &content(number * 5000 + 1));
    }
    inbox.scratch.write("top/large", &content(3 << 20));
    let relay = Relay::start(&inbox.scratch, inbox.server.address, faults);
    (inbox, relay)
}

/// Pushes both through the relay, and demands that they arrive. What the client said of each.
#[track_caller]
fn pushes(inbox: &Inbox, relay: &Relay, options: &[&str]) -> [String; 2] {
    ["file", "top"].map(|what| {
        let name = format!("in/{what}");
        let said = run(inbox.push_at(relay.address, what, name).args(options)).succeeded();
        match what {
            "file" => assert!(inbox.read("file") == content(SIZE)),
            _ => {
                for number in 0..60 {
                    assert!(inbox.read(&format!("top/f{number}")) == content(number * 5000 + 1));
                }
                assert!(inbox.read("top/large") == content(3 << 20));
                assert_eq!(fs::read_dir(inbox.folder.join("top")).unwrap().count(), 61);
            }
        }
        said
    })
}

#[test]
fn damage_and_cuts_are_mended() {
    let (inbox, relay) = behind(
        "push-harm",
        Faults::of_blocks(|block| {
            let number = scatter(block.number);
            if block.number > 0 && number % 17 == 0 {
                return Step::Cut(number as usize / 8 % block.bytes.len());
            }
            if number % 9 == 0 && block.bytes.len() > HEADER_SIZE {
                flip(&mut block.bytes[HEADER_SIZE..], 77);
            }
            Step::Pass
        }),
    );
    pushes(&inbox, &relay, &[]);
    assert!(relay.streams() > 8, "{}", relay.streams());
}

#[test]
fn ranges_that_a_stalled_stream_owes_come_on_another_one() {
    let (inbox, relay) = behind(
        "push-stalled",
        Faults::of_blocks(|block| match block.stream {
            1 | 6 => Step::Stall,
            _ => Step::Pass,
        }),
    );
    pushes(&inbox, &relay, &[]);
    // The server did not wait until it gave up the stalled streams.
    assert_eq!(relay.streams(), 8);
}

#[test]
fn a_push_does_without_a_data_port_that_refuses_is_silent_or_belongs_to_another_program() {
    let hold: fn(TcpStream) = |mut client| drop(client.read_to_end(&mut Vec::new()));
    for (test, data) in [
        ("push-port-refused", DataPorts::Refused),
        ("push-port-silent", DataPorts::Silent),
        ("push-port-holds", DataPorts::Foreign(hold)),
        ("push-port-closes", DataPorts::Foreign(drop)),
    ] {
        let (inbox, relay) = behind(test, Faults { data, ..Faults::default() });
        let [file, _] = pushes(&inbox, &relay, &[]);
        assert!(file.contains(ONE_PORT), "{test}: {file}");
        assert_eq!(relay.beside(), relay.streams(), "{test}");
    }
}

#[test]
fn one_open_port_is_enough_and_single_port_tries_no_other() {
    let (inbox, relay) = behind("push-single-port", Faults::default());
    let [file, _] = pushes(&inbox, &relay, &["--single-port"]);
    assert!(file.contains(ONE_PORT), "{file}");
    assert_eq!((relay.beside(), relay.streams()), (8, 8));
}

#[test]
fn the_summary_of_a_folder_covers_the_session_that_was_lost_too() {
    // From the 40th block on nothing passes, until the client asks for another session.
    let phase = Arc::new(AtomicUsize::new(GOOD));
    let (blocks, messages, replies) = (phase.clone(), phase.clone(), phase.clone());
    let faults = Faults {
        block: Box::new(move |block| {
            if block.number == 40 {
                blocks.store(LOST, SeqCst);
            }
            if blocks.load(SeqCst) < AGAIN && block.number >= 40 {
                return Step::Cut(0);
            }
            Step::Pass
        }),
        message: Box::new(move |message| {
            if (LOST..AGAIN).contains(&messages.load(SeqCst)) {
                message.bytes[0] = 0;
            }
        }),
        reply: Box::new(move |_, head| {
            // The first reply says that the push is moving, and the second one has a session.
            if (LOST..AGAIN).contains(&replies.load(SeqCst)) {
                replies.fetch_add(1, SeqCst);
            }
            Some(head)
        }),
        ..Faults::default()
    };
    let (mut inbox, relay) = behind("push-lost-sum", faults);
    let mut command = inbox.push_at(relay.address, "top", "in/top");
    let outcome = run(command.args(["--progress=json", "--limit-rate", "8M"]));
    assert_eq!(phase.load(SeqCst), AGAIN);
    let objects = outcome.err.lines().map(|line| json::parse(line.as_bytes()).unwrap());
    let number = |object: &Value, key: &str| object.get(key).and_then(Value::as_u64);
    let objects: Vec<Value> = objects.collect();
    let files: Vec<u64> = objects.iter().filter_map(|object| number(object, "files")).collect();
    assert!(files.iter().all(|files| *files <= 61) && files.last() == Some(&61), "{files:?}");
    let end = objects.last().unwrap();
    assert_eq!((number(end, "files_same"), number(end, "bytes")), (Some(0), Some(11_995_788)));
    let said = end.get("text").and_then(Value::as_str).unwrap();
    assert!(said.starts_with("61 files, 11.4 MiB in "), "{said}");
    assert!(said.contains("; 0 same, 0 skipped, 0 deleted"), "{said}");
    // Each line of the log is about one session.
    let files = [inbox.upload_line(), inbox.upload_line()].map(|line| {
        let (_, rest) = line.split_once(" PUSH in/top ").unwrap_or_else(|| panic!("{line}"));
        rest.split_once(" files, ").and_then(|(files, _)| files.parse::<u64>().ok()).unwrap()
    });
    assert!(files[0] > 0 && files[0] + files[1] == 61, "{files:?}");
}

/// What the path does: everything, nothing until two replies have passed, and everything again.
const GOOD: usize = 0;
const LOST: usize = 1;
const AGAIN: usize = 3;

#[test]
fn where_both_ports_are_blocked_the_error_says_so_and_the_push_can_go_on() {
    let faults = Faults { message: Box::new(|message| message.bytes[0] = 0), ..Faults::default() };
    let (inbox, relay) = behind("push-no-port", Faults { data: DataPorts::Refused, ..faults });
    for what in ["file", "top"] {
        let mut command = inbox.push_at(relay.address, what, format!("in/{what}"));
        let outcome = run(command.args(["--retry-for", "0"]));
        outcome.failed(NETWORK, "client", "; to continue: ");
        run(&mut inbox.push(what, format!("in/{what}"))).succeeded();
    }
    assert_eq!(inbox.names(), ["file", "top"]);
}

/// Three machines: the client, a router, and the server's. The router gives connections of the
/// client its own address, and each another port.
const ROUTER: &str = "ip link set lo up && ip link add c type veth peer name c0 && \
     ip link add s type veth peer name s0 && \
     mount -t tmpfs tmpfs /run && mkdir -p /run/netns && \
     ip netns add client && ip netns add server && \
     ip link set c0 netns client && ip link set s0 netns server && \
     ip addr add 10.1.0.1/24 dev c && ip addr add 10.2.0.1/24 dev s && \
     ip link set c up && ip link set s up && \
     ip netns exec client sh -c 'ip link set lo up; ip addr add 10.1.0.2/24 dev c0; \
         ip link set c0 up; ip route add default via 10.1.0.1' && \
     ip netns exec server sh -c 'ip link set lo up; ip addr add 10.2.0.2/24 dev s0; \
         ip link set s0 up' && \
     echo 1 >/proc/sys/net/ipv4/ip_forward && nft add table ip nat && \
     nft 'add chain ip nat post { type nat hook postrouting priority 100; }' && \
     nft add rule ip nat post oifname s masquerade random";

#[test]
fn a_client_behind_a_router_that_changes_its_address_pushes() {
    let inbox = Inbox::open("push-snat", &[]);
    inbox.scratch.write("file", &content(SIZE));
    let mut server = inbox.scratch.program("server");
    server.args(WRITABLE).args(["--writable-by-anyone", "--bind", "10.2.0.2", "7777"]);
    let script = format!(
        "cd '{}' && mkfifo ready && {{ ip netns exec server \"$0\" \"$@\" >ready & }} && \
         read -r line <ready && ip netns exec client '{}' --push 10.2.0.2:7777 4 file in/file",
        inbox.scratch.folder().display(),
        program_path("client").display(),
    );
    let Some(mut command) = script_in("-nmpf", ROUTER, &script, &server) else { return };
    let outcome = run(&mut command);
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(inbox.read("file") == content(SIZE));
    // The router's address is the client's for the server.
    assert!(outcome.err.contains(" 10.2.0.1:") && !outcome.err.contains("10.1.0.2"), "{outcome:?}");
}
