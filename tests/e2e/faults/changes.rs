//! What goes wrong on either disk while a ropewalk transfer is under way: the file
//! changes on the server, or the client's disk fills up.

use crate::support::exit::CHANGED;
use crate::support::harness::{Running, Scratch, after, assert_same, content, run, wait_until};
use crate::support::namespace::on_a_small_disk;
use crate::support::path::{Gate, Path, scatter};
use crate::support::peers::classic::{ClassicServer, md5};
use crate::support::relay::Relay;
use std::fs;
use std::os::unix::fs::FileExt;

/// Does something to the file while a client waits for the rest of it.
#[track_caller]
fn changes(test: &str, options: &[&str], change: impl Fn(&Path)) {
    let (gate, faults) = Gate::after(10);
    let path = Path::new(test, 6 << 20, faults);
    fs::write(path.folder("out"), b"old").unwrap();
    let mut client = path.scratch.client(path.relay.address, 1, "file", path.folder("out"));
    client.args(options);
    let client = path.begin(&gate, 10, client);
    change(&path);
    gate.open();
    client.finish().failed(CHANGED, "client", "the file changed on the server");
    assert_eq!(path.names(), ["out"]);
    assert_eq!(fs::read(path.folder("out")).unwrap(), b"old");
}

const WAYS: [&[&str]; 3] = [&[], &["--verify", "crc32c"], &["--verify", "none"]];

#[test]
fn a_file_that_is_rewritten_in_place_ends_the_transfer() {
    for options in WAYS {
        changes("rewritten", options, |path| {
            let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
            file.write_all_at(b"other", 5 << 20).unwrap();
        });
    }
}

#[test]
fn a_file_that_is_truncated_ends_the_transfer() {
    for options in WAYS {
        changes("truncated", options, |path| {
            let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
            file.set_len(2 << 20).unwrap();
        });
    }
}

#[test]
fn a_file_that_grows_ends_the_transfer() {
    changes("grown", &[], |path| {
        let file = fs::File::options().append(true).open(path.scratch.path("file")).unwrap();
        file.write_all_at(b"more", 6 << 20).unwrap();
    });
}

#[test]
fn a_file_that_is_replaced_ends_the_transfer() {
    for options in WAYS {
        changes("replaced", options, |path| {
            path.scratch.write("new", &content((6 << 20) + 1)[1..]);
            fs::rename(path.scratch.path("new"), path.scratch.path("file")).unwrap();
        });
    }
}

#[test]
fn a_file_that_is_rewritten_with_its_old_time_is_noticed_all_the_same() {
    changes("touched", &["--verify", "crc32c"], |path| {
        let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"other", 5 << 20).unwrap();
        file.set_modified(before).unwrap();
    });
}

/// Runs the client, fills the disk when the test says so, lets the client fail, makes
/// room again and runs it once more. All that is not the client's is said on stdout.
const FILL_AND_GO_ON: &str = r#"
"$0" "$@" & client=$!
until [ -e "$SIGNAL.fill" ]; do sleep 0.01; done
cat /dev/zero >filler 2>/dev/null
: >"$SIGNAL.filled"
wait $client; echo "first: $?"
ls -A
"$0" "$@"; echo "still full: $?"
rm filler
"$0" "$@"; echo "second: $?"
ls -A
cat out >"$SIGNAL.out"
"#;

#[test]
fn a_disk_that_fills_up_at_any_block_keeps_what_came_and_goes_on_with_room() {
    for round in 0..4 {
        // Small enough for the disk, and stored only in part, so that no space is taken in
        // advance: each block may be the one that does not fit.
        let blocks = 2 + scatter(round) % 10;
        let (gate, faults) = Gate::after(blocks);
        let mut path = Path::new("fills-up", 2 << 20, faults);
        let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
        file.set_len(4 << 20).unwrap();
        path.bytes.resize(4 << 20, 0);
        let signal = path.scratch.path("signal");
        let Some(mut command) =
            on_a_small_disk(&path.scratch.path("folder"), "3m", FILL_AND_GO_ON, &path.client(1))
        else {
            return;
        };
        let running = Running::start(command.env("SIGNAL", &signal));
        gate.wait_until_reached();
        fs::write(path.scratch.path("signal.fill"), b"").unwrap();
        wait_until("a full disk", || path.scratch.path("signal.filled").exists().then_some(()));
        gate.open();
        let outcome = running.finish();
        let lines: Vec<&str> = outcome.out.lines().collect();
        let failed = ["first: 1", "filler", "out.part", "out.part.journal", "still full: 1"];
        assert_eq!(lines[..5], failed, "{blocks}: {outcome:?}");
        let said: Vec<&str> = outcome.err.lines().collect();
        assert_eq!(said.len(), 2, "{outcome:?}");
        for error in said {
            let words = [
                "out: No space left on device; ",
                "iB more are needed; ",
                "out.part keeps ",
                "%; to go on: ",
            ];
            assert!(words.iter().all(|words| error.contains(words)), "{error}");
        }
        assert!(lines[5].contains(", resumed at "), "{outcome:?}");
        assert_eq!(lines[6..], ["second: 0", "out"], "{outcome:?}");
        let output = fs::read(path.scratch.path("signal.out")).unwrap();
        assert_same(&output, &path.bytes, "the output");
    }
}

#[test]
fn the_parts_of_a_classic_fetch_are_joined_in_the_room_of_the_file_and_a_part() {
    let scratch = Scratch::new("classic-room");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(2_300_000);
    let client = scratch.client(server.address(), 4, "file", "out");
    let script = "\"$0\" \"$@\" && cat out >\"$COPY\"";
    let folder = scratch.make_dir("folder");
    let Some(mut command) = on_a_small_disk(&folder, "3m", script, &client) else { return };
    let client = Running::start(command.env("COPY", scratch.path("copy")));
    server.offer(&md5(&bytes));
    server.send(&bytes, 4);
    client.finish().succeeded();
    assert_same(&fs::read(scratch.path("copy")).unwrap(), &bytes, "the output");
}

#[test]
fn a_limit_of_the_file_s_size_is_an_error_in_the_first_second() {
    let path = Path::new("file-limit", 2 << 20, Default::default());
    let outcome = run(&mut after("ulimit -f 1024", &path.client(2)));
    outcome.failed(1, "client", "out: File too large");
    assert_eq!((path.relay.sent(), path.names().len()), (0, 0));
    path.fetch(2);
}

#[test]
fn a_disk_without_enough_room_is_an_error_before_anything_is_sent() {
    let scratch = Scratch::new("no-room");
    let server = crate::support::harness::Server::start(&scratch, &[]);
    scratch.write("file", &content(6 << 20));
    // The same bytes, and so many that are not stored that it is no whole file.
    scratch.write("sparse", &content(5 << 20));
    let sparse = fs::File::options().write(true).open(scratch.path("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let folder = scratch.make_dir("folder");
    for file in ["file", "sparse"] {
        let relay = Relay::start(&scratch, server.address, Default::default());
        let client = scratch.client(relay.address, 2, file, "out");
        let script = "\"$0\" \"$@\"; echo $?; ls -A";
        let Some(mut command) = on_a_small_disk(&folder, "3m", script, &client) else { return };
        let outcome = run(&mut command);
        assert_eq!(outcome.out, "1\n", "{outcome:?}");
        assert!(outcome.err.contains("out: No space left on device; "), "{outcome:?}");
        assert!(outcome.err.contains(" MiB more are needed\n"), "{outcome:?}");
        assert_eq!((relay.sent(), relay.asked()), (0, Vec::new()), "{file}");
        wait_until("the goodbye", || (relay.streams() > 0).then_some(()));
        assert_eq!(relay.streams(), 1, "{file}");
    }
}
