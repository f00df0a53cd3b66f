//! OFILE `-`: the bytes go to standard output, in order, whatever happens to streams and server.
//! The client needs bounded memory and keeps to the speed of the reader.

use crate::support::exit::{INTEGRITY, NETWORK, SYSTEM, USAGE};
use crate::support::harness::{
    LIMIT, Scratch, Server, after, assert_same, content, run, sparse, wait_until,
};
use crate::support::path::{Gate, Path, flip, scatter};
use crate::support::peers::classic::{ClassicServer, block, md5};
use crate::support::piped::Piped;
use crate::support::proof;
use crate::support::relay::{Faults, Relay, Step};
use crate::support::system::signal;
use ropewalk::codec::repr_digest::format_md5;
use ropewalk::codec::wire::HEADER_SIZE;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const TERMINATED: i32 = 143;

/// The most memory that a receiver may take, its own code included.
const MOST_MEMORY: u64 = 64 << 20;

/// The most bytes that wait for a reader that takes nothing.
const WAITING: u64 = 16 << 20;

impl Path {
    /// A client that writes the file to its standard output.
    fn piping(&self, streams: usize) -> Command {
        let mut client = self.scratch.client(self.relay.address, streams, "file", "-");
        client.current_dir(self.scratch.path("folder"));
        client
    }

    /// Waits until the client holds as much as it can, and asks for no more.
    #[track_caller]
    fn wait_until_full(&self) {
        wait_until("a window that is full", || {
            (self.relay.sent() > WAITING && self.under_way() == 0).then_some(())
        });
    }

    /// Stops the server, and demands that nothing of the client is left.
    #[track_caller]
    fn no_receiver_stays(mut self) {
        self.server.kill();
        proof::no_process_stays(&self.scratch);
    }

    /// How many requested bytes have not come yet.
    fn under_way(&self) -> u64 {
        let total = |pieces: Vec<crate::support::relay::Piece>| -> u64 {
            pieces.iter().map(|piece| piece.length).sum()
        };
        // `passed` is read first: requests in between can only make the difference larger.
        let passed = total(self.relay.passed());
        total(self.relay.asked()) - passed
    }
}

/// The most memory that a process has ever had.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn standard_output_gets_the_bytes_and_no_messages() {
    let path = Path::new("pipe", (6 << 20) + 5, Faults::default());
    let said = Piped::start(&mut path.piping(5)).brings(&path.bytes);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(", md5 ok"), "{said}");
    let quiet = Piped::start(path.piping(5).args(["-q", "--restart", "--no-sync"]));
    assert_eq!(quiet.brings(&path.bytes), "");
    assert_eq!(path.names().len(), 0);
    path.no_receiver_stays();
}

#[test]
fn files_of_every_size_come_with_each_way_to_verify() {
    let scratch = Scratch::new("pipe-sizes");
    let server = Server::start(&scratch, &[]);
    for size in [0, 1, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 700_001] {
        let bytes = content(size);
        scratch.write("file", &bytes);
        for (streams, verify) in [(1, "md5"), (7, "md5"), (3, "crc32c"), (3, "none")] {
            let mut client = scratch.client(server.address, streams, "file", "-");
            Piped::start(client.args(["--verify", verify])).brings(&bytes);
        }
    }
}

#[test]
fn a_file_that_the_shell_has_opened_is_written_at_its_position() {
    let scratch = Scratch::new("pipe-append");
    let server = Server::start(&scratch, &[]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    scratch.write("out", b"before");
    let mut client = scratch.client(server.address, 3, "file", "-");
    client.current_dir(scratch.folder());
    for setting in ["exec >>out", "exec 1<>out"] {
        run(&mut after(setting, &client)).succeeded();
    }
    let expected = [&bytes[..], &bytes[bytes.len() - 6..]].concat();
    assert_same(&fs::read(scratch.path("out")).unwrap(), &expected, "both");
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_fetch() {
    let path = Path::new("pipe-head", 16 << 20, Faults::default());
    let mut client = Piped::start(&mut path.piping(4));
    assert_eq!(client.read(1), path.bytes[..1]);
    client.child.stdout = None;
    let (_, code, said) = client.finish();
    assert_eq!(code, Some(SYSTEM), "{said}");
    assert_eq!(said, "client: standard output: Broken pipe\n");
    path.no_receiver_stays();
}

#[test]
fn a_full_device_is_an_error() {
    let path = Path::new("pipe-full", 300_000, Faults::default());
    let outcome = run(&mut after("exec >/dev/full", &path.piping(2)));
    outcome.failed(SYSTEM, "client", "standard output: No space left on device");
}

#[test]
fn a_terminal_is_refused() {
    let scratch = Scratch::new("pipe-terminal");
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else {
        return eprintln!("not tried: there is no /dev/ptmx");
    };
    let mut client = scratch.client("127.0.0.1:1", 2, "file", "-");
    let output = client.stdout(terminal).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{said}");
    assert!(said.starts_with("client: ofile: standard output is a terminal"), "{said}");
}

#[test]
fn the_client_waits_for_a_nonblocking_output() {
    let path = Path::new("pipe-nonblocking", 6 << 20, Faults::default());
    let (write, mut read) = UnixStream::pair().unwrap();
    write.set_nonblocking(true).unwrap();
    let mut client = path.piping(3);
    let client = client.stdout(OwnedFd::from(write)).stderr(Stdio::piped()).spawn().unwrap();
    read.set_read_timeout(Some(LIMIT)).unwrap();
    let mut bytes = vec![0; path.bytes.len()];
    read.read_exact(&mut bytes).unwrap();
    assert_same(&bytes, &path.bytes, "the socket");
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let path = Path::new("pipe-closed", 1000, Faults::default());
    let outcome = run(&mut after("exec >&-", &path.piping(2)));
    outcome.failed(1, "client", "standard output: Bad file descriptor");
}

#[test]
fn a_reader_that_pauses_stops_the_requests_and_stalls_no_stream() {
    let scratch = Scratch::new("pipe-pause");
    let server = Server::start(&scratch, &["--stall-timeout", "3"]);
    let bytes = content(80 << 20);
    scratch.write("file", &bytes);
    scratch.make_dir("folder");
    let relay = Relay::start(&scratch, server.address, Faults::default());
    let path = Path { scratch, server, relay, bytes };
    let client = Piped::start(&mut path.piping(4));
    path.wait_until_full();
    // Longer than a server allows a stream to take nothing. These streams have no open request.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(path.under_way(), 0);
    assert!(path.relay.sent() < MOST_MEMORY, "{}", path.relay.sent());
    let receiver = proof::children(client.child.id(), 1)[0];
    assert!(peak(receiver) < MOST_MEMORY, "{}", peak(receiver));
    let said = client.brings(&path.bytes);
    assert!(!said.contains("reconnect") && !said.contains("slowest"), "{said}");
    assert_eq!(path.relay.streams(), 4);
}

#[test]
fn a_piped_fetch_asks_for_a_new_session_if_its_own_ended_while_the_reader_paused() {
    let scratch = Scratch::new("pipe-room");
    let server = Server::start(&scratch, &["--max-transfers", "1", "--idle-timeout", "1"]);
    let bytes = content(80 << 20);
    scratch.write("file", &bytes);
    scratch.write("other", b"other");
    let mut paused = Piped::start(&mut scratch.client(server.address, 4, "file", "-"));
    assert_eq!(paused.read(1), bytes[..1]);
    // The server has one place. The second client gets it only if the paused session has ended.
    run(&mut scratch.client(server.address, 2, "other", scratch.path("out"))).succeeded();
    let said = paused.brings(&bytes[1..]);
    assert!(said.contains("reconnects"), "{said}");
}

#[test]
fn blocks_that_come_too_early_are_held_in_bounded_memory() {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    let faults = Faults::of_blocks(move |block| {
        // Holds back every copy of the first block. All other blocks have to wait for it.
        if block.bytes[8..16] == [0; 8] {
            own.pass();
        }
        Step::Pass
    });
    let path = Path::new("pipe-window", 80 << 20, faults);
    let client = Piped::start(&mut path.piping(8));
    // The client has asked for its whole window, and at least half of it has come. It asks for
    // nothing behind the window.
    let window = 40 << 20;
    wait_until("a window that is full", || {
        let asked: u64 =
            path.relay.asked().iter().map(|piece| piece.offset + piece.length).max()?;
        let come: u64 = path.relay.passed().iter().map(|piece| piece.length).sum();
        (asked == window && come >= window / 2).then_some(())
    });
    let receiver = proof::children(client.child.id(), 1)[0];
    let held = peak(receiver);
    gate.open();
    client.brings(&path.bytes);
    assert!((window / 2..MOST_MEMORY).contains(&held), "{held}");
}

#[test]
fn damage_and_resets_on_the_way_do_not_change_the_output() {
    let path = Path::new(
        "pipe-faults",
        16 << 20,
        Faults::of_blocks(|block| {
            let number = scatter(block.number);
            match number % 8 {
                0 => flip(&mut block.bytes[HEADER_SIZE..], number as usize % 1000),
                1 if block.number < 60 => return Step::Cut(number as usize % block.bytes.len()),
                _ => {}
            }
            Step::Pass
        }),
    );
    let mut client = path.piping(4);
    let said = Piped::start(client.args(["--verify", "crc32c"])).brings(&path.bytes);
    assert!(said.contains("damaged") && said.contains("reconnects"), "{said}");
}

#[test]
fn a_piped_fetch_goes_on_after_a_restart_of_the_server() {
    let (gate, faults) = Gate::after(20);
    let mut path = Path::new("pipe-killed", 5 << 20, faults);
    let client = Piped::start(&mut path.piping(2));
    gate.wait_until_reached();
    path.server.kill();
    path.restart(&[]);
    gate.open();
    client.brings(&path.bytes);
}

#[test]
fn a_lost_server_ends_a_piped_fetch_without_a_part_file() {
    let (gate, faults) = Gate::after(20);
    let mut path = Path::new("pipe-gone", 5 << 20, faults);
    let client = Piped::start(path.piping(1).args(["--retry-for", "1", "--verify", "crc32c"]));
    gate.wait_until_reached();
    path.server.kill();
    gate.open();
    let (bytes, code, said) = client.finish();
    assert_eq!(code, Some(NETWORK), "{said}");
    assert!(said.starts_with("client: lost the server"), "{said}");
    assert!(!said.contains("same command"), "{said}");
    assert!(bytes.len() < path.bytes.len() && path.bytes.starts_with(&bytes));
    assert_eq!(path.names().len(), 0);
}

#[test]
fn a_digest_that_differs_shows_in_the_exit_code() {
    let reply = |request: &str, head: String| {
        let value = head.split("\r\nRepr-Digest: ").nth(1).filter(|_| request.starts_with("HEAD "));
        let Some(value) = value.and_then(|rest| rest.split("\r\n").next()) else {
            return Some(head);
        };
        Some(head.replace(value, &format_md5(&[7; 16])))
    };
    let faults = Faults { reply: Box::new(reply), ..Faults::default() };
    let path = Path::new("pipe-digest", 700_000, faults);
    let (bytes, code, said) = Piped::start(&mut path.piping(3)).finish();
    assert_eq!(code, Some(INTEGRITY), "{said}");
    assert!(said.starts_with("client: standard output: MD5 differs: "), "{said}");
    assert!(said.contains("; the fault is on the server's side: "), "{said}");
    assert!(said.contains("the bytes that were written are not the file"), "{said}");
    assert_same(&bytes, &path.bytes, "what was written");
}

#[test]
fn a_signal_ends_a_fetch_whose_pipe_is_not_read() {
    let path = Path::new("pipe-signal", 40 << 20, Faults::default());
    let client = Piped::start(&mut path.piping(3));
    path.wait_until_full();
    signal(client.child.id(), libc::SIGTERM);
    let (bytes, code, said) = client.finish();
    assert_eq!(code, Some(TERMINATED), "{said}");
    assert!(path.bytes.starts_with(&bytes) && bytes.len() < path.bytes.len());
    path.no_receiver_stays();
}

#[test]
fn holes_are_written_as_zeros() {
    let scratch = Scratch::new("pipe-holes");
    let server = Server::start(&scratch, &[]);
    let size = 24 << 20;
    drop(sparse(&scratch.path("file"), size, &[(5 << 20, 300_000), (20 << 20, 1 << 20)]));
    let expected = fs::read(scratch.path("file")).unwrap();
    for streams in [1, 5] {
        Piped::start(&mut scratch.client(server.address, streams, "file", "-")).brings(&expected);
    }
}

#[test]
fn an_archive_is_unpacked_while_it_comes() {
    let scratch = Scratch::new("pipe-tar");
    if !Command::new("tar").arg("--version").output().is_ok_and(|tar| tar.status.success()) {
        return eprintln!("not tried: there is no tar");
    }
    let server = Server::start(&scratch, &[]);
    let bytes = content(3 << 20);
    scratch.make_dir("data");
    scratch.make_dir("home");
    scratch.write("data/one", &bytes);
    scratch.write("data/two", b"2");
    let pack = "tar cf backup.tar data";
    let mut pack = after(pack, &Command::new("true"));
    assert!(pack.current_dir(scratch.folder()).status().unwrap().success());
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "\"$0\" \"$@\" | tar xf -"]);
    let client = scratch.client(server.address, 4, "backup.tar", "-");
    unpack.arg(client.get_program()).args(client.get_args()).stdin(Stdio::null());
    let outcome = run(unpack.current_dir(scratch.path("home")));
    assert!(outcome.status.success(), "{outcome:?}");
    assert_same(&fs::read(scratch.path("home/data/one")).unwrap(), &bytes, "one");
    assert_eq!(fs::read(scratch.path("home/data/two")).unwrap(), b"2");
}

const THREADS: usize = 5;

/// A classic server that sends `bytes` with this `hash`, one stream after the other, and a client
/// that pipes them.
fn classic(scratch: &Scratch, bytes: &[u8], hash: &str) -> (Vec<u8>, Option<i32>, String) {
    let server = ClassicServer::bind(scratch);
    let mut client = scratch.client(server.address(), THREADS, "file", "-");
    let client = Piped::start(client.arg("--trace").arg(scratch.path("trace.svg")));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server.offer(hash);
            for expected in 0..THREADS as u8 {
                let (number, mut stream) = server.accept_streams(1).remove(0);
                assert_eq!(number, expected);
                stream.write_all(block(bytes, number, THREADS)).unwrap();
            }
        });
        client.finish()
    })
}

#[test]
fn a_classic_server_s_streams_are_read_one_after_the_other() {
    let scratch = Scratch::new("pipe-classic");
    let bytes = content(20_000_003);
    let (got, code, said) = classic(&scratch, &bytes, &md5(&bytes));
    assert_eq!(code, Some(0), "{said}");
    assert_same(&got, &bytes, "standard output");
    assert!(said.contains(", md5 ok"), "{said}");
    let svg = fs::read_to_string(scratch.path("trace.svg")).unwrap();
    assert_eq!(svg.matches("<g class=\"row\" ").count(), THREADS);
}

#[test]
fn a_classic_server_s_digest_that_differs_shows_in_the_exit_code() {
    let scratch = Scratch::new("pipe-classic-digest");
    let bytes = content(100_000);
    let (got, code, said) = classic(&scratch, &bytes, &"07".repeat(16));
    assert_eq!(code, Some(INTEGRITY), "{said}");
    assert!(said.starts_with("client: standard output: MD5 differs: "), "{said}");
    assert_same(&got, &bytes, "what was written");
}
