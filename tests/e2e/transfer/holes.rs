//! Files with holes: the holes arrive as holes, the output takes as little room as the file, and
//! the source sends only stored data.

use crate::support::harness::sparse;
use crate::support::harness::{Scratch, Server, content, run};
use crate::support::path::{Gate, Path};
use ropewalk::sys::file::{next_data, next_hole};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Demands that two files are equal, without reading ranges that neither stores.
#[track_caller]
fn assert_same_files(left: &File, right: &File) {
    let size = left.metadata().unwrap().len();
    assert_eq!(right.metadata().unwrap().len(), size);
    for (one, other) in [(left, right), (right, left)] {
        let mut at = 0;
        while let Some(start) = next_data(one, at).unwrap().filter(|start| *start < size) {
            at = next_hole(one, start).unwrap().unwrap_or(size).min(size);
            let (mut here, mut there) = (vec![0; (at - start) as usize], Vec::new());
            there.resize(here.len(), 1);
            one.read_exact_at(&mut here, start).unwrap();
            other.read_exact_at(&mut there, start).unwrap();
            crate::support::harness::assert_same(
                &there,
                &here,
                &format!("the bytes from {start} on"),
            );
        }
    }
}

fn stored(file: &File) -> u64 {
    file.metadata().unwrap().blocks() * 512
}

/// Demands that `output` takes about as much of its disk as `file` takes of its own. A file system
/// may take one block more when data is written in another order.
#[track_caller]
fn takes_as_little(output: &File, file: &File) {
    let (here, there) = (stored(output), stored(file));
    assert!(here <= there + (256 << 10), "{here} bytes are stored, {there} on the server");
}

/// The bytes of data that a line of the server's log counts.
#[track_caller]
fn sent(server: &mut Server) -> u64 {
    let line = server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
    let words: Vec<&str> = line.split(' ').collect();
    let bytes = words.iter().position(|word| *word == "bytes").expect(&line);
    words[bytes - 1].parse().expect(&line)
}

/// Fetches a file with holes. Demands that holes stay holes on the way and in the output.
#[track_caller]
fn moves(test: &str, size: u64, data: &[(u64, usize)], options: &[&str]) {
    let scratch = Scratch::new(test);
    let mut server = Server::start(&scratch, &[]);
    let file = sparse(&scratch.path("file"), size, data);
    let mut client = scratch.client(server.address, 4, "file", scratch.path("out"));
    run(client.args(options)).succeeded();
    let output = File::open(scratch.path("out")).unwrap();
    assert_same_files(&file, &output);
    takes_as_little(&output, &file);
    let (there, sent) = (stored(&file), sent(&mut server));
    // Late bytes may be sent twice.
    let most = there + there / 4 + (1 << 20);
    assert!(sent <= most, "{sent} bytes were sent, {there} are stored");
}

/// Pieces of data at odd offsets, of odd lengths, none at the start or the end.
const ODD: [(u64, usize); 5] = [
    ((1 << 20) + 4097, 1 << 20),
    ((9 << 20) - 3, 5),
    (77_777_777, (1 << 20) + 1),
    (100_000_000, 4096),
    (200_000_001, 1 << 20),
];

#[test]
fn a_gibibyte_with_three_mebibytes_of_data_moves_and_takes_three() {
    moves("holes-large", 1 << 30, &ODD, &["--verify", "crc32c"]);
}

#[test]
fn holes_are_part_of_the_md5() {
    moves("holes-md5", 220 << 20, &ODD, &[]);
}

#[test]
fn holes_arrive_as_holes_without_any_check_too() {
    moves("holes-none", 1 << 30, &ODD, &["--verify", "none"]);
}

#[test]
fn a_file_of_one_hole_moves_no_bytes() {
    moves("holes-only", 1 << 40, &[], &["--verify", "crc32c"]);
    moves("holes-only-md5", (50 << 20) + 1, &[], &[]);
}

#[test]
fn data_at_the_very_start_and_the_very_end_arrives() {
    let data = [(0, 1), ((64 << 20) - 1, 1)];
    moves("holes-edges", 64 << 20, &data, &[]);
}

#[test]
fn data_past_four_gibibytes_arrives() {
    let data = [((1 << 32) - 100_000, 200_000), ((5 << 30) - 70_000, 70_000)];
    moves("holes-past-4-gib", 5 << 30, &data, &["--verify", "crc32c"]);
}

#[test]
fn many_small_holes_arrive_in_their_places() {
    let data: Vec<(u64, usize)> = (0..300).map(|number| (number * 12_288 + 4096, 4096)).collect();
    moves("holes-small", 300 * 12_288 + 4097, &data, &[]);
    let data: Vec<(u64, usize)> = (0..40).map(|number| (number * 300_000, 140_000)).collect();
    moves("holes-medium", 40 * 300_000, &data, &["--verify", "none"]);
}

/// How many bytes of [`half`]'s file have come: data, a hole, and half of the next piece of data.
const HALF: u64 = (33 << 20) + (512 << 10);

/// Kills the client after the first [`HALF`] bytes of a file of three pieces of data, each with a
/// hole behind it.
fn half(test: &str) -> (Path, File) {
    let (gate, faults) = Gate::at(HALF);
    let path = Path::new(test, 1 << 20, faults);
    let data = [(0, 1 << 20), (33 << 20, 1 << 20), (60 << 20, 1 << 20)];
    let file = sparse(&path.scratch.path("file"), 64 << 20, &data);
    let client = path.begin_up_to(&gate, HALF, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    (path, file)
}

#[test]
fn a_resumed_transfer_keeps_its_holes() {
    let (path, file) = half("holes-resume");
    let said = run(&mut path.client(2)).succeeded();
    assert!(said.contains(", resumed at 5"), "{said}");
    let output = File::open(path.folder("out")).unwrap();
    assert_same_files(&file, &output);
    takes_as_little(&output, &file);
    path.was_gone_on_from(HALF);
}

#[test]
fn a_resumed_run_punches_holes_again_that_were_written_to() {
    let (path, file) = half("holes-damaged");
    let part = File::options().write(true).open(path.folder("out.part")).unwrap();
    part.write_all_at(&content(300_000), 20 << 20).unwrap();
    run(&mut path.client(2)).succeeded();
    let output = File::open(path.folder("out")).unwrap();
    assert_same_files(&file, &output);
    takes_as_little(&output, &file);
    assert!(fs::metadata(path.folder("out.part")).is_err());
}
