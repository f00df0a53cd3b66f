//! Files that are smaller than what a ropewalk client asks for at once: they cost one short
//! session, and come once.

use crate::support::harness::{Scratch, Server, assert_same, content, run};
use crate::support::path::Path;
use crate::support::relay::{DataPorts, Faults};
use std::fs;

#[test]
fn the_session_of_an_empty_file_ends_with_its_fetch() {
    for options in [&[][..], &["--single-port"]] {
        let scratch = Scratch::new("empty");
        let mut server = Server::start(&scratch, &[]);
        scratch.write("file", b"");
        let mut client = scratch.client(server.address, 4, "file", scratch.path("out"));
        run(client.args(options)).succeeded();
        assert_eq!(fs::read(scratch.path("out")).unwrap(), b"");
        let line = server.next_log_line();
        assert!(line.ends_with(": complete\n"), "{line}");
    }
}

#[test]
fn the_session_of_an_empty_file_ends_where_one_port_is_open_too() {
    let faults = Faults { data: DataPorts::Refused, ..Faults::default() };
    let mut path = Path::new("empty-port", 0, faults);
    path.fetch(2);
    let line = path.server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_small_file_comes_once_over_a_slow_path_and_many_streams() {
    let scratch = Scratch::new("slow-path");
    let server = Server::start(&scratch, &["--limit-rate", "64K"]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    let said =
        run(&mut scratch.client(server.address, 16, "file", scratch.path("out"))).succeeded();
    assert!(!said.contains("asked for again"), "{said}");
    assert_same(&fs::read(scratch.path("out")).unwrap(), &bytes, "the output");
}

#[test]
fn no_more_streams_are_opened_than_the_file_has_blocks() {
    for (size, most) in [(5, 1), (128 << 10, 1), ((256 << 10) + 1, 3)] {
        for threads in ["16", "auto"] {
            let path = Path::new("few-blocks", size, Faults::default());
            let said = run(&mut path.client(threads)).succeeded();
            assert!(path.relay.streams() <= most, "{size} {threads}: {}", path.relay.streams());
            assert!(most > 1 || said.contains(" over 1 stream"), "{said}");
            path.is_whole();
        }
    }
}
