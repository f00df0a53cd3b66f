//! The file changes on the server between two runs, or during one: what has arrived is the basis of
//! the next run.

use crate::support::exit::CHANGED;
use crate::support::harness::{Running, assert_same, content, run, wait_until};
use crate::support::namespace::on_a_small_disk;
use crate::support::path::{Gate, Path, leave};
use crate::support::relay::Faults;
use std::fs;

const SIZE: u64 = 16 << 20;

/// Far less than the file, and more than late requests and headers.
const FEW: u64 = SIZE / 4;

const STARTING_OVER: &str = "out.part: starting over: the file on the server has changed\n";

/// Changes a byte of the file on the server, in its first half.
fn change(path: &mut Path) {
    path.bytes[1000] ^= 1;
    path.scratch.write("file", &path.bytes);
}

/// Kills a client after half of the file, which then changes on the server.
fn half(test: &str) -> Path {
    let blocks = SIZE / (128 << 10) / 2;
    let (gate, faults) = Gate::after(blocks);
    let mut path = Path::new(test, SIZE as usize, faults);
    let client = path.begin(&gate, blocks, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    change(&mut path);
    path
}

#[test]
fn what_came_of_a_file_that_has_changed_does_not_move_again() {
    let path = half("changed-basis");
    let before = path.relay.sent();
    let outcome = run(&mut path.client(2));
    assert!(outcome.err.ends_with(STARTING_OVER), "{outcome:?}");
    let said = outcome.succeeded();
    assert!(said.contains(" MiB the same") && !said.contains("resumed"), "{said}");
    path.is_whole();
    let sent = path.relay.sent() - before;
    assert!((SIZE / 2..SIZE / 2 + FEW).contains(&sent), "{sent} bytes");
}

#[test]
fn with_whole_what_came_of_a_file_that_has_changed_is_thrown_away() {
    let path = half("changed-whole");
    let before = path.relay.sent();
    let outcome = run(path.client(2).arg("--whole"));
    assert!(outcome.err.ends_with(STARTING_OVER), "{outcome:?}");
    outcome.succeeded();
    path.is_whole();
    assert!(path.relay.sent() - before >= SIZE);
}

#[test]
fn the_older_file_with_more_bytes_is_the_basis() {
    for (output, part) in [(SIZE - FEW, FEW), (FEW, SIZE - FEW)] {
        let path = Path::new("changed-choice", SIZE as usize, Faults::default());
        fs::write(path.folder("out"), &path.bytes[..output as usize]).unwrap();
        leave(&path.folder("out"), &path.bytes[..part as usize]);
        path.fetch(2);
        let sent = path.relay.sent();
        assert!((FEW..2 * FEW).contains(&sent), "{output} and {part}: {sent} bytes");
    }
}

/// The basis has no name any more when the client is killed.
#[test]
fn a_kill_while_the_basis_is_a_part_file_leaves_what_can_be_resumed() {
    let (gate, faults) = Gate::after(50);
    let path = Path::new("changed-killed", SIZE as usize, faults);
    let mut older = path.bytes.clone();
    older[100_000] ^= 1;
    leave(&path.folder("out"), &older);
    let client = path.begin(&gate, 50, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    let said = path.fetch(2);
    assert!(said.contains(", resumed at "), "{said}");
}

/// Changes the file while a client waits for the rest of it.
#[track_caller]
fn changes_meanwhile(test: &str, options: &[&str]) -> Path {
    let blocks = 40;
    let (gate, faults) = Gate::after(blocks);
    let mut path = Path::new(test, SIZE as usize, faults);
    let mut client = path.client(1);
    client.args(options);
    let client = path.begin(&gate, blocks, client);
    change(&mut path);
    gate.open();
    let outcome = client.finish();
    outcome.failed(CHANGED, "client", "; the same command fetches it as it is now");
    path
}

#[test]
fn a_file_that_changes_during_a_fetch_is_fetched_by_the_same_command() {
    let path = changes_meanwhile("changed-meanwhile", &[]);
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    let before = path.relay.sent();
    let said = path.fetch(2);
    assert!(said.contains(" MiB the same"), "{said}");
    let (sent, came) = (path.relay.sent() - before, 40 << 17);
    assert!(sent < SIZE - came + FEW, "{sent} bytes");
}

#[test]
fn with_whole_a_file_that_changes_during_a_fetch_leaves_nothing() {
    let path = changes_meanwhile("changed-nothing", &["--whole"]);
    assert_eq!(path.names().len(), 0);
}

#[test]
fn too_few_bytes_for_a_basis_are_not_left() {
    let (gate, faults) = Gate::before_a_cut(0);
    let mut path = Path::new("changed-early", SIZE as usize, faults);
    let client = Running::start(&mut path.client(1));
    gate.wait_until_reached();
    path.bytes = content(SIZE as usize + 1)[1..].to_vec();
    path.scratch.write("file", &path.bytes);
    gate.open();
    let outcome = client.finish();
    outcome.failed(CHANGED, "client", "the same command fetches it as it is now");
    assert!(!outcome.err.contains("less what is the same"), "{outcome:?}");
    assert_eq!(path.names().len(), 0);
}

/// Kills the client when the test says so and 8 blocks have come. Runs it again when the file has
/// changed. Only the script writes to stdout.
const KILL_AND_GO_ON: &str = r#"
"$0" "$@" & client=$!
until [ -e "$SIGNAL.kill" ] && [ "$(wc -c <out.part.journal)" -ge 350 ]; do sleep 0.01; done
kill -9 $client
wait $client
: >"$SIGNAL.killed"
until [ -e "$SIGNAL.changed" ]; do sleep 0.01; done
"$0" "$@"; echo "second: $?"
ls -A
cat out >"$SIGNAL.out"
"#;

#[test]
fn a_basis_goes_where_the_disk_has_no_room_for_two() {
    let (gate, faults) = Gate::after(10);
    let mut path = Path::new("changed-room", 2_300_000, faults);
    let signal = path.scratch.path("signal");
    let folder = path.scratch.path("folder");
    let Some(mut command) = on_a_small_disk(&folder, "3m", KILL_AND_GO_ON, &path.client(1)) else {
        return;
    };
    let running = Running::start(command.env("SIGNAL", &signal));
    gate.wait_until_reached();
    fs::write(path.scratch.path("signal.kill"), b"").unwrap();
    wait_until("the kill", || path.scratch.path("signal.killed").exists().then_some(()));
    gate.open();
    change(&mut path);
    fs::write(path.scratch.path("signal.changed"), b"").unwrap();
    let outcome = running.finish();
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[1..], ["second: 0", "out"], "{outcome:?}");
    assert!(!lines[0].contains("the same"), "{outcome:?}");
    let output = fs::read(path.scratch.path("signal.out")).unwrap();
    assert_same(&output, &path.bytes, "the output");
}
