//! The mtime of what was fetched, and files that are not fetched since they are up to date.

use crate::support::exit::PROTOCOL;
use crate::support::harness::{Running, Scratch, Server, assert_same, content, run};
use crate::support::peers::classic::{ClassicServer, md5};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives the file at `path` this time.
fn set_time(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn time(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// Seconds and nanoseconds after 1970.
fn after_1970(seconds: u64, nanoseconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

#[test]
fn the_file_gets_the_time_that_it_has_on_the_server() {
    let scratch = Scratch::new("time");
    let (server, bytes) = Server::with_file(&scratch, 300_000);
    let (file, out) = (scratch.path("file"), scratch.path("out"));
    for (time_there, option) in [
        (after_1970(1_700_000_001, 987_654_321), "--verify=md5"),
        (after_1970(5_000_000_000, 1), "--no-sync"),
        (UNIX_EPOCH - Duration::new(86_400, 5), "--verify=none"),
        (UNIX_EPOCH, "--restart"),
    ] {
        set_time(&file, time_there);
        let mut client = scratch.client(server.address, 3, "file", &out);
        let outcome = run(client.arg(option));
        assert_eq!(outcome.err, "", "{option}");
        outcome.succeeded();
        assert_eq!(time(&out), time_there, "{option}");
        assert_same(&fs::read(&out).unwrap(), &bytes, "the output");
    }
}

#[test]
fn an_output_that_is_to_stay_stays_and_one_is_compared_by_its_content() {
    let scratch = Scratch::new("stays");
    let (server, bytes) = Server::with_file(&scratch, 300_000);
    let (file, out) = (scratch.path("file"), scratch.path("out"));
    set_time(&file, after_1970(1000, 0));
    let fetch =
        |option: &str| run(scratch.client(server.address, 3, "file", &out).arg(option)).succeeded();
    let stays = format!("{} stays as it is\n", out.display());
    for (option, time_here, is_kept) in [
        ("--ignore-existing", after_1970(500, 0), true),
        ("--update", after_1970(1500, 0), true),
        ("--update", after_1970(500, 0), false),
        ("--checksum", after_1970(1000, 0), false),
    ] {
        // As long as the server's file, and not the same.
        fs::write(&out, vec![7; 300_000]).unwrap();
        set_time(&out, time_here);
        assert_eq!(fetch(option) == stays, is_kept, "{option}");
        assert_eq!(fs::read(&out).unwrap() == bytes, !is_kept, "{option}");
    }
    fs::remove_file(&out).unwrap();
    assert!(fetch("--ignore-existing").contains("md5 ok"));
    assert_same(&fs::read(&out).unwrap(), &bytes, "the output");
}

#[test]
fn an_update_needs_a_server_that_tells_when_its_file_was_written() {
    let scratch = Scratch::new("stays-classic");
    let server = ClassicServer::bind(&scratch);
    let out = scratch.write("out", b"mine");
    let mut client = scratch.client(server.address(), 2, "file", &out);
    let client = Running::start(client.arg("--update"));
    server.offer(&md5(&content(1000)));
    client.finish().failed(PROTOCOL, "client", "tells no mtime");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
}

#[test]
fn a_file_that_is_up_to_date_is_not_fetched_and_said_to_be() {
    let scratch = Scratch::new("up-to-date");
    let (server, _) = Server::with_file(&scratch, 100_000);
    let out = scratch.make_dir("folder").join("out");
    let client = || {
        let mut client = scratch.client(server.address, 2, "file", "folder/out");
        client.current_dir(scratch.folder());
        client
    };
    assert!(run(&mut client()).succeeded().contains("md5 ok"));
    let inode = || fs::metadata(&out).unwrap().ino();
    let before = inode();
    let outcome = run(&mut client());
    assert_eq!(outcome.err, "");
    assert_eq!(outcome.succeeded(), "folder/out is up to date\n");
    assert_eq!(run(client().arg("-q")).succeeded(), "");
    let outcome = run(client().arg("--progress=json"));
    let last = outcome.err.lines().last().unwrap();
    for words in [
        "\"event\":\"end\"",
        "\"code\":0,\"text\":\"folder/out is up to date\"",
        "\"bytes\":100000,\"size\":100000,\"percent\":100",
        "\"md5\":null,\"resumed\":100000,\"up_to_date\":true",
    ] {
        assert!(last.contains(words), "{last}");
    }
    assert_eq!(inode(), before);
    assert!(run(client().arg("--restart")).succeeded().contains("md5 ok"));
    assert_ne!(inode(), before);
    assert_eq!(Scratch::names(out.parent().unwrap()), ["out"]);
}

#[test]
fn a_file_that_has_another_size_or_time_on_the_server_is_fetched() {
    let scratch = Scratch::new("not-up-to-date");
    let server = Server::start(&scratch, &[]);
    let (file, out) = (scratch.path("file"), scratch.path("out"));
    let is_fetched = || {
        let said = run(&mut scratch.client(server.address, 2, "file", &out)).succeeded();
        assert_eq!(fs::read(&out).unwrap(), fs::read(&file).unwrap());
        said.contains("md5 ok")
    };
    let there = after_1970(1_700_000_001, 987_654_321);
    scratch.write("file", b"bytes");
    set_time(&file, there);
    assert!(is_fetched() && !is_fetched());
    scratch.write("file", b"more bytes");
    set_time(&file, there);
    assert!(is_fetched() && !is_fetched(), "another size");
    scratch.write("file", b"MORE BYTES");
    set_time(&file, there + Duration::from_nanos(100));
    assert!(is_fetched() && !is_fetched(), "another time");
    // As after a copy to FAT, and on a disk that keeps microseconds.
    for time in [after_1970(1_700_000_000, 0), after_1970(1_700_000_001, 987_654_000)] {
        set_time(&out, time);
        assert!(!is_fetched(), "{time:?}");
    }
    set_time(&out, after_1970(1_700_000_002, 0));
    assert!(is_fetched(), "a later time");
}

#[test]
fn standard_output_gets_a_file_that_is_up_to_date_here() {
    let scratch = Scratch::new("up-to-date-piped");
    let (server, bytes) = Server::with_file(&scratch, 1000);
    run(&mut scratch.client(server.address, 1, "file", scratch.path("out"))).succeeded();
    let mut client = scratch.client(server.address, 1, "file", "-");
    let output = client.current_dir(scratch.folder()).output().unwrap();
    assert_same(&output.stdout, &bytes, "standard output");
}

#[test]
fn a_journal_that_was_left_beside_a_whole_file_goes() {
    let scratch = Scratch::new("up-to-date-journal");
    let (server, _) = Server::with_file(&scratch, 1000);
    let folder = scratch.make_dir("folder");
    let client = || scratch.client(server.address, 1, "file", folder.join("out"));
    run(&mut client()).succeeded();
    // As a kill between the rename and the removal leaves it: a whole header.
    let header = ropewalk::codec::journal::JournalHeader {
        pid: 1,
        boot: [1; 16],
        device: 1,
        inode: 1,
        salt: 1,
        size: 1000,
        name: b"file".to_vec(),
        etag: b"tag".to_vec(),
    };
    fs::write(folder.join("out.part.journal"), header.encode()).unwrap();
    assert!(run(&mut client()).succeeded().ends_with("out is up to date\n"));
    assert_eq!(Scratch::names(&folder), ["out"]);
}

#[test]
fn a_file_from_a_classic_server_has_the_time_of_its_arrival_and_is_fetched_again() {
    let scratch = Scratch::new("classic-time");
    let server = ClassicServer::bind(&scratch);
    let (bytes, out) = (content(1000), scratch.path("out"));
    let old = after_1970(1_000_000_000, 0);
    for _ in 0..2 {
        let client = Running::start(&mut scratch.client(server.address(), 2, "file", &out));
        server.offer(&md5(&bytes));
        server.send(&bytes, 2);
        client.finish().succeeded();
        assert_same(&fs::read(&out).unwrap(), &bytes, "the output");
        assert!(time(&out) > old + Duration::from_secs(1));
    }
}
