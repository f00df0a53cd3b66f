//! The digest of the whole file in the ropewalk protocol, and what the client asks for with each
//! way to verify.

use crate::support::exit::{CHANGED, INTEGRITY, PROTOCOL, REFUSED};
use crate::support::harness::{run, wait_until};
use crate::support::path::{Gate, Path, flip};
use crate::support::peers::classic;
use crate::support::relay::{Faults, Step};
use ropewalk::codec::repr_digest::format_md5;
use ropewalk::codec::wire::HEADER_SIZE;
use ropewalk::hash::crc32c::crc32c;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs a client behind a relay that passes the reply to the HEAD request through `reply`.
fn with_reply(
    test: &str,
    reply: impl Fn(String) -> Option<String> + Send + Sync + 'static,
) -> (Path, crate::support::harness::Outcome) {
    let reply = move |request: &str, head: String| match request.starts_with("HEAD ") {
        true => reply(head),
        false => Some(head),
    };
    let path = Path::new(test, 700_000, Faults { reply: Box::new(reply), ..Faults::default() });
    let output = path.folder("out");
    let outcome = run(&mut path.scratch.client(path.relay.address, 3, "file", output));
    (path, outcome)
}

/// The value of the Repr-Digest field.
fn digest(head: &str) -> &str {
    let (_, rest) = head.split_once("\r\nRepr-Digest: ").unwrap();
    rest.split("\r\n").next().unwrap()
}

/// The head with another digest, if it has a digest.
fn with_another_digest(head: String) -> String {
    match head.contains("\r\nRepr-Digest: ") {
        true => head.replace(digest(&head), &format_md5(&[7; 16])),
        false => head,
    }
}

#[test]
fn a_digest_that_differs_leaves_no_output() {
    let (path, outcome) = with_reply("digest-differs", |head| Some(with_another_digest(head)));
    let said = "07".repeat(16);
    let came = classic::md5(&path.bytes);
    let words = format!("out: MD5 differs: {came} here, {said} on the server; ");
    outcome.failed(INTEGRITY, "client", &words);
    outcome.failed(INTEGRITY, "client", "the fault is on the server's side: these are");
    assert_eq!(path.names().len(), 0);
}

#[test]
fn a_digest_that_differs_since_the_file_changed_says_so() {
    let (path, outcome) = with_reply("digest-changed", |head| match head.contains("Repr-Digest") {
        true => Some(with_another_digest(head)),
        // The client asks once more for the state of the file.
        false => Some(head.replace("200 OK", "412 Precondition Failed")),
    });
    let words = "the file changed on the server while it was sent; the same command fetches it";
    outcome.failed(CHANGED, "client", words);
    // The basis of the next fetch.
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
}

#[test]
fn a_part_file_that_another_program_changed_is_a_local_error() {
    // The first block comes last, so nothing behind it is hashed before another program changes it.
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    let first = move |block: &mut crate::support::relay::Block| {
        if block.bytes[8..16] == [0; 8] {
            own.pass();
        }
        Step::Pass
    };
    let path = Path::new("this-side", 20 << 17, Faults::of_blocks(first));
    let output = path.folder("out");
    let client = path.scratch.client(path.relay.address, 2, "file", output);
    let client = path.begin(&gate, 1, client);
    let came = path.relay.passed()[0];
    let at = came.offset as usize;
    let part = fs::File::options().read(true).write(true).open(path.folder("out.part")).unwrap();
    wait_until("the block", || {
        let mut block = vec![0; came.length as usize];
        part.read_exact_at(&mut block, came.offset).unwrap();
        (block == path.bytes[at..at + block.len()]).then_some(())
    });
    part.write_all_at(&[!path.bytes[at + 1]], came.offset + 1).unwrap();
    gate.open();
    let words = format!(
        "{}.part differs from what arrived, from byte {at} on",
        path.folder("out").display()
    );
    client.finish().failed(INTEGRITY, "client", &format!("the fault is on this side: {words}"));
    assert_eq!(path.names().len(), 0);
}

#[test]
fn the_md5_catches_a_wrong_block_with_a_right_checksum() {
    let path = Path::new(
        "lies",
        3 << 20,
        Faults::of_blocks(|block| {
            if block.number == 5 {
                flip(&mut block.bytes[HEADER_SIZE..], 77);
                let crc = crc32c(&block.bytes[HEADER_SIZE..]);
                block.bytes[24..28].copy_from_slice(&crc.to_be_bytes());
                let seal = crc32c(&block.bytes[..28]);
                block.bytes[28..32].copy_from_slice(&seal.to_be_bytes());
            }
            Step::Pass
        }),
    );
    let output = path.folder("out");
    let outcome = run(&mut path.scratch.client(path.relay.address, 1, "file", output));
    outcome.failed(INTEGRITY, "client", "out: MD5 differs: ");
    assert_eq!(path.names().len(), 0);
}

#[test]
fn a_fetch_succeeds_where_the_server_has_no_digest() {
    let (path, outcome) = with_reply("digest-none", |head| {
        let line = format!("Repr-Digest: {}\r\n", digest(&head));
        Some(head.replace(&line, ""))
    });
    outcome.succeeded();
    path.is_whole();
}

#[test]
fn an_invalid_digest_is_an_error() {
    for digits in ["md5=:AAAA:", "md5=:!:", "md5"] {
        let (path, outcome) =
            with_reply("digest-odd", |head| Some(head.replace(digest(&head), digits)));
        outcome.failed(PROTOCOL, "client", "its Repr-Digest field has no valid MD5");
        assert!(!path.folder("out").exists(), "{digits}");
    }
}

#[test]
fn a_digest_that_is_refused_is_an_error() {
    for (status, code) in [("412 Precondition Failed", CHANGED), ("404 Not Found", REFUSED)] {
        let (path, outcome) =
            with_reply("digest-refused", move |head| Some(head.replace("200 OK", status)));
        assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
        assert!(!path.folder("out").exists());
    }
}

#[test]
fn the_client_asks_for_the_digest_again_after_a_lost_connection() {
    let losses = AtomicUsize::new(0);
    let (path, outcome) = with_reply("digest-lost", move |head| {
        (losses.fetch_add(1, Ordering::SeqCst) >= 2).then_some(head)
    });
    let said = outcome.succeeded();
    assert!(said.contains(", md5 ok"), "{said}");
    let asked = path.relay.controls().iter().filter(|head| head.starts_with("HEAD ")).count();
    assert_eq!(asked, 3);
    path.is_whole();
}

#[test]
fn only_the_md5_asks_for_a_digest() {
    let path = Path::new("asks", 700_000, Faults::default());
    for (how, expected) in [("md5", 1), ("crc32c", 0), ("none", 0)] {
        let before = path.relay.controls().len();
        let mut client = path.scratch.client(path.relay.address, 3, "file", path.folder("out"));
        let said = run(client.args(["--verify", how])).succeeded();
        path.is_whole();
        assert_eq!(said.contains("md5"), how == "md5", "{said}");
        let controls = &path.relay.controls()[before..];
        assert!(controls[0].starts_with("POST file HTTP/1.1\r\n"), "{controls:?}");
        assert_eq!(controls.len(), 1 + expected, "{how}: {controls:?}");
        for head in &controls[1..] {
            assert!(head.starts_with("HEAD file HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nIf-Match: \""), "{head}");
            assert!(head.contains("\r\nWant-Repr-Digest: md5=1\r\n"), "{head}");
        }
    }
}

#[test]
fn blocks_carry_a_checksum_unless_none_is_wanted() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let own = seen.clone();
    let path = Path::new(
        "checksums",
        300_000,
        Faults::of_blocks(move |block| {
            own.lock().unwrap().push(block.bytes[24..28] != [0; 4]);
            Step::Pass
        }),
    );
    for (how, expected) in [("crc32c", true), ("none", false)] {
        seen.lock().unwrap().clear();
        let mut client = path.scratch.client(path.relay.address, 1, "file", path.folder("out"));
        run(client.args(["--restart", "--verify", how])).succeeded();
        assert_eq!(*seen.lock().unwrap(), [expected; 3], "{how}");
    }
}
