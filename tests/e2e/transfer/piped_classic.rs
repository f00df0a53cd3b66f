//! OFILE `-` from a classic server: its streams come one after the other.

use crate::support::exit::INTEGRITY;
use crate::support::harness::{Scratch, assert_same, content};
use crate::support::peers::classic::{ClassicServer, block, md5};
use crate::support::piped::Piped;
use std::fs;
use std::io::Write;

const THREADS: usize = 5;

/// A classic server of `bytes` with this `hash`, one stream after the other, and a
/// client that pipes them.
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
    assert_eq!(svg.matches("<g class=\"lane\" ").count(), THREADS);
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
