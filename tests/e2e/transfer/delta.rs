//! A fetch over an older file: what both files have in common does not move.

use crate::support::harness::{Running, assert_same, content, run};
use crate::support::path::{Gate, Path, flip};
use crate::support::relay::{Faults, Message, Step};
use crate::support::system::without_privileges;
use ropewalk::codec::json::{Value, parse};
use ropewalk::codec::wire::Request;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::{Arc, Mutex};

/// Bytes of a unit with a hash.
const UNIT: u64 = 64 << 10;

const SIZE: u64 = 16 << 20;

/// More than what late requests and headers move of a file of [`SIZE`] bytes, and far less than the
/// file.
const FEW: u64 = SIZE / 4;

/// The file with a byte changed in each of these units.
fn changed(bytes: &[u8], units: &[u64]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    units.iter().for_each(|unit| bytes[(unit * UNIT) as usize + 7] ^= 1);
    bytes
}

/// A path with a file of [`SIZE`] bytes, and an older file that differs in two units.
fn with_older_file(test: &str, faults: Faults) -> Path {
    let path = Path::new(test, SIZE as usize, faults);
    fs::write(path.folder("out"), changed(&path.bytes, &[3, 200])).unwrap();
    path
}

/// The hashed ranges that clients have asked for.
type Hashed = Arc<Mutex<Vec<(u64, u64)>>>;

/// Faults that note down each range with a hash.
fn noting() -> (Hashed, Faults) {
    let hashed = Hashed::default();
    let own = hashed.clone();
    let message = move |message: Message<'_>| {
        if message.number == 0 {
            return;
        }
        let (_, request) = Request::parse(message.bytes).unwrap().unwrap();
        if let Request::Range { offset, length, hash: Some(_), .. } = request {
            own.lock().unwrap().push((offset, length.into()));
        }
    };
    (hashed, Faults { message: Box::new(message), ..Faults::default() })
}

#[test]
fn a_file_with_few_changed_blocks_moves_few_bytes() {
    for options in [&["--verify=md5"], &["--verify=crc32c"], &["--verify=none"], &["--no-sync"]] {
        let path = with_older_file("delta-few", Faults::default());
        let said = run(path.client(3).args(options)).succeeded();
        let sent = path.relay.sent();
        assert!((2 * UNIT..FEW).contains(&sent), "{options:?}: {sent} bytes");
        assert!(said.contains(" now) over ") && said.contains(" MiB the same"), "{said}");
        path.is_whole();
    }
}

#[test]
fn a_longer_and_a_shorter_older_file_help() {
    for size in [SIZE / 2 + 1000, SIZE + 1000] {
        let path = Path::new("delta-size", SIZE as usize, Faults::default());
        let mut older = path.bytes.clone();
        older.resize(size as usize, 7);
        fs::write(path.folder("out"), older).unwrap();
        path.fetch(2);
        let most = SIZE.saturating_sub(size) + FEW;
        assert!(path.relay.sent() < most, "{size}: {} bytes", path.relay.sent());
    }
}

#[test]
fn with_whole_every_byte_moves() {
    for option in ["--whole", "--restart"] {
        let (hashed, faults) = noting();
        let path = with_older_file("delta-whole", faults);
        let said = run(path.client(3).arg(option)).succeeded();
        assert!(path.relay.sent() >= SIZE, "{option}");
        assert!(!said.contains("the same") && !said.contains(" now)"), "{option}: {said}");
        assert_eq!(*hashed.lock().unwrap(), [], "{option}");
        path.is_whole();
    }
}

/// A peer that chooses sizes could read the tail of the older file byte by byte.
#[test]
fn only_whole_blocks_within_both_files_have_a_hash() {
    let end = 5 * UNIT;
    for (size, older) in [(end + 1000, end + UNIT), (end + UNIT, end + 1000)] {
        let (hashed, faults) = noting();
        let path = Path::new("delta-tail", size as usize, faults);
        fs::write(path.folder("out"), vec![7; older as usize]).unwrap();
        path.fetch(1);
        let hashed = hashed.lock().unwrap();
        assert_eq!(hashed.len(), 5, "{hashed:?}");
        for &(offset, length) in &*hashed {
            let whole = offset % UNIT == 0 && length % UNIT == 0 && offset + length <= end;
            assert!(whole, "{hashed:?}");
        }
    }
}

#[test]
fn an_older_file_that_is_smaller_than_a_block_is_not_hashed() {
    let (hashed, faults) = noting();
    let path = Path::new("delta-small", 300_000, faults);
    fs::write(path.folder("out"), &path.bytes[..UNIT as usize - 1]).unwrap();
    path.fetch(2);
    assert_eq!(*hashed.lock().unwrap(), []);
}

#[test]
fn standard_output_gets_every_byte_over_the_network() {
    let (hashed, faults) = noting();
    let path = with_older_file("delta-piped", faults);
    let mut client = path.scratch.client(path.relay.address, 2, "file", "-");
    let output = client.current_dir(path.scratch.path("folder")).output().unwrap();
    assert_same(&output.stdout, &path.bytes, "standard output");
    assert_eq!(*hashed.lock().unwrap(), []);
}

#[test]
fn an_older_file_that_cannot_be_read_is_replaced_all_the_same() {
    let (hashed, faults) = noting();
    let path = with_older_file("delta-unreadable", faults);
    fs::set_permissions(path.folder("out"), Permissions::from_mode(0o200)).unwrap();
    let mut client = path.client(2);
    without_privileges(&mut client);
    let outcome = run(&mut client);
    assert_eq!(outcome.err, "");
    outcome.succeeded();
    assert_eq!(*hashed.lock().unwrap(), []);
    fs::set_permissions(path.folder("out"), Permissions::from_mode(0o600)).unwrap();
    path.is_whole();
}

/// Does something to the older file after the client has asked for ten ranges of the new one.
#[track_caller]
fn while_it_is_used(test: &str, change: impl Fn(&File)) {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    let message = move |message: Message<'_>| {
        if message.number >= 10 {
            own.pass();
        }
    };
    let faults = Faults { message: Box::new(message), ..Faults::default() };
    let path = with_older_file(test, faults);
    let older = File::options().write(true).open(path.folder("out")).unwrap();
    let mut client = path.client(2);
    let client = Running::start(client.arg("--verify=md5"));
    gate.wait_until_reached();
    change(&older);
    gate.open();
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn an_older_file_that_is_truncated_meanwhile_does_no_harm() {
    while_it_is_used("delta-truncated", |older| older.set_len(UNIT).unwrap());
}

#[test]
fn an_older_file_that_is_overwritten_meanwhile_does_no_harm() {
    while_it_is_used("delta-overwritten", |older| {
        older.write_all_at(&content(SIZE as usize + 1)[1..], 0).unwrap();
    });
}

#[test]
fn progress_counts_the_bytes_that_were_the_same() {
    let path = with_older_file("delta-json", Faults::default());
    let mut client = path.client(1);
    let outcome = run(client.arg("--progress=json"));
    let end = parse(outcome.err.lines().last().unwrap().as_bytes()).unwrap();
    let number = |key: &str| end.get(key).and_then(Value::as_u64).unwrap();
    assert_eq!((number("bytes"), number("size"), number("percent")), (SIZE, SIZE, 100));
    // A late range comes over the network after all.
    let same = number("same");
    assert!(same > SIZE - FEW && same <= SIZE - 2 * UNIT, "{same}");
    assert_eq!(number("kept"), 0);
    path.is_whole();
}

/// Blocks that break on the way do not let an older byte slip in.
#[test]
fn damaged_blocks_and_broken_streams_do_not_bring_older_bytes_back() {
    let faults = Faults::of_blocks(|block| match block.number % 37 {
        5 => Step::Cut(11),
        11 => {
            let last = block.bytes.len() * 8 - 1;
            flip(&mut block.bytes, last);
            Step::Pass
        }
        _ => Step::Pass,
    });
    let path = Path::new("delta-faults", SIZE as usize, faults);
    let units: Vec<u64> = (0..128).map(|unit| 2 * unit).collect();
    fs::write(path.folder("out"), changed(&path.bytes, &units)).unwrap();
    run(path.client(4).arg("--verify=md5")).succeeded();
    path.is_whole();
}

/// The journal vouches for bytes that were the same as for those that came.
#[test]
fn a_client_that_is_killed_in_the_middle_goes_on_with_the_older_file() {
    let (gate, faults) = Gate::after(100);
    let path = Path::new("delta-killed", SIZE as usize, faults);
    let units: Vec<u64> = (0..16).map(|unit| 16 * unit).collect();
    fs::write(path.folder("out"), changed(&path.bytes, &units)).unwrap();
    let client = path.begin(&gate, 100, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let said = path.fetch(3);
    assert!(said.contains(", resumed at ") && said.contains(" MiB the same"), "{said}");
    // 100 units of the first run, and what the second one had to fetch.
    assert!(path.relay.sent() < SIZE / 2, "{} bytes", path.relay.sent());
}
