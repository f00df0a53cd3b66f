//! The rights that the workers of a transfer have given up, as the kernel reports them, and that
//! the workers still do their work.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, run, wait_until};
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::ask;
use crate::support::peers::tree;
use crate::support::proof;
use crate::support::proof::leaves_no_core;
use crate::support::relay::Relay;
use std::fs;

/// The value of a line of /proc/PID/status.
fn status(pid: u32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_string())
}

/// Waits until every thread of this worker is confined: no new privileges, and a filter of system
/// calls.
#[track_caller]
fn confined(pid: u32) {
    wait_until("a confined worker", || {
        (status(pid, "NoNewPrivs")? == "1" && status(pid, "Seccomp")? == "2").then_some(())
    });
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        assert!(text.is_empty() || text.contains("Seccomp:\t2"), "{text}");
    }
    leaves_no_core(pid);
}

#[test]
fn a_running_sender_and_receiver_have_given_up_their_rights() {
    let scratch = Scratch::new("confined");
    let mut server = Server::start(&scratch, &["-v"]);
    let bytes = content(8 << 20);
    scratch.write("file", &bytes);
    let output = scratch.path("out");
    let (gate, faults) = Gate::after(2);
    let relay = Relay::start(&scratch, server.address, faults);
    let client = Running::start(&mut scratch.client(relay.address, 4, "file", &output));
    gate.wait_until_reached();
    confined(proof::children(server.running.pid(), 1)[0]);
    confined(proof::children(client.pid(), 1)[0]);
    gate.open();
    client.finish().succeeded();
    assert_same(&fs::read(&output).unwrap(), &bytes, "the file");
    let line = server.next_log_line();
    assert!(line.contains(" sender: no core dumps: applied, "), "{line}");
    assert!(line.contains("system calls (seccomp): "), "{line}");
    // Landlock would cover only a part of the sender if a thread had existed before.
    let landlock = line.split_once("no file system (Landlock): ").unwrap().1;
    let outcome = landlock.split(',').next().unwrap();
    assert!(["applied", "not supported"].contains(&outcome), "{line}");
}

#[test]
fn a_confined_receiver_resumes_a_part_file() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("confined-resume", 40 << 17, faults);
    let client = path.begin(&gate, 20, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    // The gate holds back the rest of the file, so that the test can look at the receiver.
    let client = Running::start(&mut path.client(4));
    confined(proof::children(client.pid(), 1)[0]);
    gate.open();
    let said = client.finish().succeeded();
    assert!(said.contains(", resumed at 50%"), "{said}");
    path.is_whole();
}

#[test]
fn the_sender_of_a_folder_is_confined_to_it() {
    let scratch = Scratch::new("confined-tree");
    let mut server = Server::start(&scratch, &["-v"]);
    scratch.make_dir("top");
    scratch.write("top/file", b"bytes");
    let session = tree::ask(&server, "top", 1);
    let mut stream = session.open();
    let names = stream.list("", session.folder.identity);
    confined(proof::children(server.running.pid(), 1)[0]);
    assert_eq!(stream.fetch("file", &names["file"]).unwrap(), b"bytes");
    let line = server.next_log_line();
    let landlock = line.split_once("no other folder (Landlock): ").unwrap().1;
    let outcome = landlock.split(',').next().unwrap();
    assert!(["applied", "not supported"].contains(&outcome), "{line}");
}

#[test]
fn the_receiver_of_a_folder_is_confined() {
    let scratch = Scratch::new("confined-sink");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("top");
    let bytes = content(8 << 20);
    scratch.write("top/file", &bytes);
    let output = scratch.path("out");
    let (gate, faults) = Gate::after(2);
    let relay = Relay::start(&scratch, server.address, faults);
    let client = Running::start(&mut scratch.client(relay.address, 4, "top", &output));
    gate.wait_until_reached();
    confined(proof::children(client.pid(), 1)[0]);
    gate.open();
    client.finish().succeeded();
    assert_same(&fs::read(output.join("file")).unwrap(), &bytes, "the file");
}

#[test]
fn a_classic_sender_is_confined_too() {
    let scratch = Scratch::new("confined-classic");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    ask(server.address, "file", 2);
    confined(proof::children(server.running.pid(), 1)[0]);
}

#[test]
fn confined_workers_move_files_in_every_way() {
    let scratch = Scratch::new("confined-ways");
    let server = Server::start(&scratch, &[]);
    let bytes = content(3 << 20);
    let file = scratch.write("file", &bytes);
    // Data, then a hole, then data.
    let sparse = scratch.path("sparse");
    fs::copy(&file, &sparse).unwrap();
    let holed = fs::File::options().write(true).open(&sparse).unwrap();
    holed.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&holed, &bytes, 37 << 20).unwrap();
    let expected = fs::read(&sparse).unwrap();
    for (name, whole) in [("file", &bytes), ("sparse", &expected)] {
        for (streams, options) in [
            (1, &["--verify", "none"][..]),
            (4, &["--verify", "none", "--no-sync"]),
            (4, &["--verify", "crc32c"]),
            (255, &[]),
        ] {
            let output = scratch.path("out");
            let mut client = scratch.client(server.address, streams, name, &output);
            run(client.args(options)).succeeded();
            assert_same(&fs::read(&output).unwrap(), whole, name);
        }
    }
}

#[test]
fn the_workers_of_a_folder_have_given_up_their_rights() {
    let trees = crate::support::trees::Trees::with_server("tree-confined", &["-v"]);
    trees.write("d/large", &content(4 << 20));
    trees.write("d/small", b"x");
    let client = Running::start(&mut trees.client(&["--limit-rate", "1M"]));
    confined(proof::children(client.pid(), 1)[0]);
    confined(proof::children(trees.server.running.pid(), 1)[0]);
    client.finish().succeeded();
    trees.assert_equal();
}
