//! Files of others that have the name of a part file or of a journal: none of them is lost,
//! and what a run leaves is known again.

use crate::support::exit::{PROTOCOL, SYSTEM};
use crate::support::harness::{Running, Scratch, Server, after, assert_same, content, run};
use crate::support::path::BLOCK;
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::{ClassicServer, md5, seed_reply};
use crate::support::system::without_privileges;
use ropewalk::codec::etag::MAX_OPAQUE;
use std::fs;
use std::io::Write;

#[test]
fn a_part_file_of_another_program_is_refused_and_stays() {
    let scratch = Scratch::new("foreign-part");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    scratch.make_dir("folder");
    let (out, part) = (scratch.path("folder/out"), scratch.write("folder/out.part", b"browser's"));
    let mut client = scratch.client(server.address, 2, "file", &out);
    for _ in 0..2 {
        let words = "out.part: was not left by this program: no journal belongs to it; move it";
        run(&mut client).failed(SYSTEM, "client", words);
        assert_eq!(fs::read(&part).unwrap(), b"browser's");
        assert_eq!(Scratch::names(&scratch.path("folder")), ["out.part"]);
    }
    run(client.arg("--restart")).succeeded();
    assert_eq!(fs::read(&out).unwrap(), b"bytes");
    assert_eq!(Scratch::names(&scratch.path("folder")), ["out"]);
}

#[test]
fn a_classic_fetch_refuses_it_too() {
    let scratch = Scratch::new("foreign-classic");
    let server = ClassicServer::bind(&scratch);
    let part = scratch.write("out.part", b"browser's");
    let mut client = scratch.client(server.address(), 2, "file", scratch.path("out"));
    let client = Running::start(&mut client);
    let (hash, port) = (md5(b"bytes"), server.data_port());
    server.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")));
    client.finish().failed(SYSTEM, "client", "out.part: was not left by this program");
    assert_eq!(fs::read(&part).unwrap(), b"browser's");
    assert!(!scratch.path("out.part.journal").exists());
}

/// A run for `out` that was killed, of a file of 40 blocks.
fn killed(test: &str, setting: &str) -> Path {
    let (gate, faults) = Gate::after(20);
    let path = Path::new(test, (40 * BLOCK) as usize, faults);
    let mut command = after(setting, &path.client(1));
    without_privileges(&mut command);
    let client = path.begin(&gate, 20, command);
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    path.scratch.write("other", b"another file");
    path
}

fn fetch_other(path: &Path, name: &str) {
    let server = path.server.address;
    run(&mut path.scratch.client(server, 1, "other", path.folder(name))).succeeded();
}

#[test]
fn a_file_that_was_fetched_as_out_part_survives_every_run_for_out() {
    let path = killed("fetched-part", ":");
    fetch_other(&path, "out.part");
    for _ in 0..2 {
        run(&mut path.direct(2)).failed(SYSTEM, "client", "out.part: was not left by this program");
    }
    assert_eq!(fs::read(path.folder("out.part")).unwrap(), b"another file");
}

#[test]
fn a_file_that_was_fetched_as_the_journal_survives_every_run_for_out() {
    let path = killed("fetched-journal", ":");
    fetch_other(&path, "out.part.journal");
    for option in [None, Some("--restart")] {
        let outcome = run(path.direct(2).args(option));
        outcome.failed(SYSTEM, "client", "out.part.journal: is not this program's journal");
    }
    fs::remove_file(path.folder("out.part")).unwrap();
    run(&mut path.direct(2)).failed(SYSTEM, "client", "is not this program's journal");
    assert_eq!(fs::read(path.folder("out.part.journal")).unwrap(), b"another file");
    assert_eq!(path.names(), ["out.part.journal"]);
}

#[test]
fn a_file_that_is_fetched_as_the_journal_meanwhile_survives() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("journal-meanwhile", (40 * BLOCK) as usize, faults);
    path.scratch.write("other", b"another file");
    let client = path.begin(&gate, 20, path.client(1));
    fetch_other(&path, "out.part.journal");
    gate.open();
    client.finish().succeeded();
    assert_eq!(fs::read(path.folder("out.part.journal")).unwrap(), b"another file");
    assert_same(&fs::read(path.folder("out")).unwrap(), &path.bytes, "the output");
}

#[test]
fn a_part_file_that_was_removed_and_made_anew_by_others_is_not_taken_for_ours() {
    // It often gets the inode of the one that was removed.
    let path = killed("removed-part", ":");
    fs::remove_file(path.folder("out.part")).unwrap();
    fs::write(path.folder("out.part"), content(1 << 20)).unwrap();
    run(&mut path.direct(2)).failed(SYSTEM, "client", "out.part: was not left by this program");
    assert_same(&fs::read(path.folder("out.part")).unwrap(), &content(1 << 20), "the part file");
}

#[test]
fn what_a_run_leaves_under_any_umask_can_be_gone_on_with() {
    let path = killed("umask", "umask 0477");
    let mut again = after("umask 0477", &path.direct(2));
    without_privileges(&mut again);
    let said = run(&mut again).succeeded();
    assert!(said.contains(", resumed at 50%"), "{said}");
}

#[test]
fn a_client_without_descriptors_leaves_nothing() {
    let scratch = Scratch::new("few-descriptors");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    scratch.make_dir("folder");
    let mut failed = 0;
    for limit in 8..40 {
        let client = scratch.client(server.address, 1, "file", scratch.path("folder/out"));
        let outcome = run(&mut after(&format!("ulimit -n {limit}"), &client));
        let names = Scratch::names(&scratch.path("folder"));
        match outcome.status.success() {
            true => assert_eq!(names, ["out"], "{limit}"),
            false => assert!(names.is_empty(), "{limit}: {names:?}, {outcome:?}"),
        }
        failed += u32::from(!outcome.status.success());
        let _ = fs::remove_file(scratch.path("folder/out"));
    }
    assert!((1..32).contains(&failed), "{failed}");
}

#[test]
fn a_tag_that_is_too_long_is_named() {
    let scratch = Scratch::new("long-tag");
    let server = ClassicServer::bind(&scratch);
    let client =
        Running::start(&mut scratch.client(server.address(), 1, "file", scratch.path("out")));
    let (_, mut stream) = server.accept_request();
    let tag = "t".repeat(MAX_OPAQUE + 3);
    let body = "{\"protocol\":2,\"port\":80,\"session\":\"00112233445566778899aabbccddeeff\",\
                \"size\":1,\"stored\":1}";
    let fields = format!("ETag: \"{tag}\"\r\nContent-Length: {}", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").as_bytes()).unwrap();
    client.finish().failed(PROTOCOL, "client", "the reply's ETag is longer than 1024 bytes");
}

#[test]
fn a_name_of_the_greatest_length_is_fetched_and_gone_on_with() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("long-name", (40 * BLOCK) as usize, faults);
    let name = "n".repeat(255);
    let mut command = path.scratch.client(path.relay.address, 1, "file", path.folder(&name));
    let client = Running::start(&mut command);
    gate.wait_until_reached();
    client.signal(libc::SIGINT);
    let outcome = client.finish();
    let names = path.names();
    let part = names[0].to_str().unwrap();
    assert!(part.starts_with(".ropewalk-") && part.len() == 42, "{names:?}");
    assert_eq!(names[1].to_str().unwrap(), format!("{part}.journal"));
    assert!(outcome.err.contains(&format!("/{part} keeps ")), "{outcome:?}");
    gate.open();
    let said = run(&mut command).succeeded();
    assert!(said.contains(", resumed at "), "{said}");
    assert_eq!(path.names(), [name.as_str()]);
}
