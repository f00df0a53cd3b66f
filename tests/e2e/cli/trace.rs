//! `--trace`: the picture has a row for each stream, with its events. It also comes after a failed
//! fetch, and never makes a fetch fail. `src/bin/client/picture` and its tests cover how it is
//! drawn.

use crate::support::harness::{Outcome, Running, Scratch, Server, content, run, wait_until};
use crate::support::path::{DAMAGED, Gate, Path, RECONNECTS, count, flip};
use crate::support::peers::classic::{ClassicServer, md5};
use crate::support::relay::{Faults, Step};
use ropewalk::codec::wire::HEADER_SIZE;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

/// A client that draws a picture, and the path of the picture.
fn drawing(path: &Path, mut client: Command) -> (Command, PathBuf) {
    let picture = path.scratch.path("trace.svg");
    client.arg("--trace").arg(&picture);
    (client, picture)
}

fn rows(svg: &str) -> usize {
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    svg.matches("<g class=\"row\" ").count()
}

/// The number behind these words of the legend.
#[track_caller]
fn legend(svg: &str, words: &str) -> u64 {
    let (_, rest) = svg.split_once(&format!("{words} (")).unwrap_or_else(|| panic!("{svg}"));
    rest.split_once(')').unwrap().0.parse().unwrap()
}

#[test]
fn every_stream_has_a_row() {
    for wanted in [1, 5] {
        let (gate, faults) = Gate::after(0);
        let path = Path::new("trace-rows", 6 << 20, faults);
        let (mut client, picture) = drawing(&path, path.client(wanted));
        let client = Running::start(&mut client);
        wait_until("a request on every stream", || {
            let streams: HashSet<usize> = path.relay.asked().iter().map(|it| it.stream).collect();
            (streams.len() == wanted).then_some(())
        });
        gate.open();
        client.finish().succeeded();
        assert_eq!(rows(&fs::read_to_string(picture).unwrap()), wanted);
        path.is_whole();
    }
}

#[test]
fn the_picture_shows_each_event_of_a_stream_as_often_as_the_summary() {
    let faults = Faults::of_blocks(|block| match block.number {
        3 | 9 => {
            flip(&mut block.bytes[HEADER_SIZE..], 77);
            Step::Pass
        }
        20 | 30 | 31 => Step::Cut(1000),
        _ => Step::Pass,
    });
    let path = Path::new("trace-marks", 6 << 20, faults);
    let (mut client, picture) = drawing(&path, path.client(1));
    let said = run(&mut client).succeeded();
    path.is_whole();
    let svg = fs::read_to_string(picture).unwrap();
    assert_eq!((count(&said, DAMAGED), count(&said, RECONNECTS)), (2, 3), "{said}");
    assert_eq!(legend(&svg, "damaged block"), 2);
    assert_eq!((legend(&svg, "broke"), legend(&svg, "connected again")), (3, 3));
    assert_eq!(rows(&svg), 1);
}

#[test]
fn the_md5_has_a_chart_of_its_own() {
    let path = Path::new("trace-md5", 1 << 20, Faults::default());
    for (how, drawn) in [("md5", true), ("crc32c", false)] {
        let (mut client, picture) = drawing(&path, path.direct(2));
        run(client.args(["--verify", how])).succeeded();
        let svg = fs::read_to_string(picture).unwrap();
        assert_eq!(svg.contains("<path class=\"md5\""), drawn, "{how}");
    }
}

#[test]
fn a_fetch_that_was_interrupted_has_its_picture() {
    let (gate, faults) = Gate::after(7);
    let path = Path::new("trace-interrupted", 6 << 20, faults);
    let (client, picture) = drawing(&path, path.client(1));
    let client = path.begin(&gate, 7, client);
    client.signal(libc::SIGINT);
    client.finish().failed(130, "client", "stopped by SIGINT");
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.contains("failed: stopped by SIGINT"), "{svg}");
    // The picture lacks what the receiver had not reported when it was killed: a tenth of a second.
    assert!(rows(&svg) <= 1, "{svg}");
}

#[test]
fn a_fetch_that_never_began_has_a_picture_that_says_why() {
    let path = Path::new("trace-refused", 1, Faults::default());
    let mut client =
        path.scratch.client(path.server.address, 1, "no such file", path.folder("out"));
    let picture = path.scratch.path("trace.svg");
    run(client.arg("--trace").arg(&picture)).failed(4, "client", "404");
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.contains("failed: ") && svg.contains("404"), "{svg}");
    assert_eq!(rows(&svg), 0);
}

#[test]
fn a_picture_that_cannot_be_written_is_a_warning() {
    let path = Path::new("trace-nowhere", 1 << 20, Faults::default());
    let picture = path.folder("none").join("trace.svg");
    let outcome = run(path.client(2).arg("--trace").arg(picture));
    assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
    assert!(outcome.err.contains("client: warning: no picture: "), "{outcome:?}");
    outcome.succeeded();
    path.is_whole();
}

#[test]
fn a_picture_over_the_output_is_refused() {
    let path = Path::new("trace-output", 1, Faults::default());
    for name in ["out", "../folder/out", "out.part", "out.part.journal"] {
        let outcome = run(path.client(1).arg("--trace").arg(path.folder(name)));
        outcome.failed(2, "client", "--trace: must not be the output file");
    }
    assert_eq!(path.names().len(), 0);
}

#[test]
fn a_classic_transfer_has_its_rows_too() {
    let scratch = Scratch::new("trace-classic");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(300_003);
    let picture = scratch.path("trace.svg");
    let mut client = scratch.client(server.address(), 3, "some", scratch.path("out"));
    let client = Running::start(client.arg("--trace").arg(&picture));
    server.offer(&md5(&bytes));
    server.send(&bytes, 3);
    client.finish().succeeded();
    assert_eq!(rows(&fs::read_to_string(picture).unwrap()), 3);
}

/// A client that draws into this pipe. The client opens the pipe before a reader does.
fn drawing_into_pipe(scratch: &Scratch, server: &Server) -> Command {
    let pipe = scratch.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut client = scratch.client(server.address, 2, "file", scratch.path("out"));
    client.arg("--trace").arg(pipe);
    client
}

#[test]
fn the_client_does_not_wait_for_a_reader_of_its_picture() {
    let scratch = Scratch::new("wait-pipe");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let outcome: Outcome = run(&mut drawing_into_pipe(&scratch, &server));
    assert!(outcome.err.contains("pipe: no program reads this pipe"), "{outcome:?}");
    outcome.succeeded();
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
}

#[test]
fn a_picture_arrives_through_a_pipe() {
    let scratch = Scratch::new("wait-slow-pipe");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", &content(3 << 20));
    let mut client = drawing_into_pipe(&scratch, &server);
    let pipe = scratch.path("pipe");
    let reading = std::thread::spawn(move || {
        let mut svg = String::new();
        File::open(pipe).unwrap().read_to_string(&mut svg).unwrap();
        svg
    });
    // The reader's open waits for the client's open, which does not wait for a reader.
    wait_until("the reader", || {
        run(&mut client).succeeded();
        reading.is_finished().then_some(())
    });
    let svg = reading.join().unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
}
