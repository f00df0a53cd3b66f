//! Files past 4 GiB, where a number of 32 bits wraps. Each test reads a whole file, and a classic
//! one also writes it, so only `scripts/check/cross.sh` runs these tests.

use crate::support::harness::sparse;
use crate::support::harness::{Scratch, assert_same, content};
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::{ClassicServer, seed_reply};
use ropewalk::hash::{hex, md5::Md5};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

const EDGE: u64 = 1 << 32;

/// The tests make, send and compare this many bytes at once.
const PIECE: usize = 1 << 20;

/// Runs a client that may be silent for many minutes, demands success, and returns its messages.
#[track_caller]
fn to_the_end(client: &mut Command) -> String {
    let output = client.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "reads more than 4 GiB on both sides"]
fn a_file_past_four_gibibytes_arrives_with_its_md5_and_goes_on_after_a_kill() {
    let size = EDGE + (300 << 20);
    let stored = [(EDGE - 100_000, 200_000), (size - 70_000, 70_000)];
    let (gate, faults) = Gate::at(size - (1 << 20));
    let path = Path::new("large-pulled", 1, faults);
    sparse(&path.scratch.path("file"), size, &stored);
    // Without the MD5, since the client asks for nothing more while the MD5 is far behind.
    let client = path.begin_up_to(&gate, EDGE + (200 << 20), path.client(4));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let output = path.folder("out");
    let said = to_the_end(&mut path.scratch.client(path.server.address, 4, "file", &output));
    assert!(said.starts_with("4.29 GiB in ") && said.contains(", md5 "), "{said}");
    assert!(said.contains(", resumed at "), "{said}");
    let output = File::open(output).unwrap();
    assert_eq!(output.metadata().unwrap().len(), size);
    for (offset, length) in stored {
        let mut got = vec![0; length];
        output.read_exact_at(&mut got, offset).unwrap();
        assert_same(&got, &content(length), "the bytes past 4 GiB");
    }
    assert!(output.metadata().unwrap().blocks() * 512 < 16 << 20, "the holes were filled");
}

#[test]
#[ignore = "writes 4 GiB"]
fn a_classic_file_past_four_gibibytes_is_joined_to_the_last_byte() {
    let scratch = Scratch::new("large-classic");
    let server = ClassicServer::bind(&scratch);
    let pattern = content(PIECE + 13);
    let size = EDGE + 77_777_777;
    // The classic rule gives two blocks, and the second one is shorter.
    let block = size / 2 + 1;
    let piece = |from: u64, end: u64| {
        let start = (from % 13) as usize;
        &pattern[start..start + (end - from).min(PIECE as u64) as usize]
    };
    let mut digest = Md5::new();
    for (mut at, end) in [(0, block), (block, size)] {
        while at < end {
            let bytes = piece(at, end);
            digest.update(bytes);
            at += bytes.len() as u64;
        }
    }
    let output = scratch.path("out");
    let mut client = scratch.client(server.address(), 2, "file", &output);
    let client = std::thread::spawn(move || to_the_end(&mut client));
    let (hash, port) = (hex(&digest.finish()), server.data_port());
    server.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")));
    std::thread::scope(|scope| {
        for (number, mut stream) in server.accept_streams(2) {
            let (mut at, end) = if number == 0 { (0, block) } else { (block, size) };
            scope.spawn(move || {
                while at < end {
                    let bytes = piece(at, end);
                    stream.write_all(bytes).unwrap();
                    at += bytes.len() as u64;
                }
            });
        }
    });
    // The client checks the MD5.
    client.join().unwrap();
    let output = File::open(output).unwrap();
    assert_eq!(output.metadata().unwrap().len(), size);
    let mut got = vec![0; 1000];
    output.read_exact_at(&mut got, block - 1000).unwrap();
    let last = (block - 1) / PIECE as u64 * PIECE as u64;
    let (_, tail) = piece(last, block).split_at((block - last) as usize - 1000);
    assert_same(&got, tail, "the end of the first block");
}
