//! Transfers that are killed, cut off or run out of room, and go on: what was there
//! counts, what is damaged does not, and nothing is ever mixed.

use crate::support::exit::{NETWORK, SYSTEM};
use crate::support::harness::{Running, assert_same, content, run, wait_until};
use crate::support::path::BLOCK;
use crate::support::path::{Gate, Path, scatter, total, vouched};
use crate::support::peers::classic::accept;
use crate::support::proof;
use crate::support::relay::Faults;
use crate::support::system::{Sync, on_a_failing_disk, signal, stop_listening};
use ropewalk::codec::journal::{JournalHeader, RECORD_SIZE};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

#[test]
fn thirty_kills_cost_less_than_half_of_the_file_again() {
    let size = 96 << 20;
    let slow = Faults { rate: Box::new(|_| Some(8 << 20)), ..Faults::default() };
    let path = Path::new("kills", size as usize, slow);
    for round in 0..30 {
        let before = path.relay.sent();
        let mut client = Running::start(&mut path.client(4));
        let share = size / 64;
        let (goal, at_once) = (before + share + scatter(round) % share, round % 5 == 4);
        if at_once || round % 2 == 0 {
            wait_until("some bytes", || (at_once || path.relay.sent() >= goal).then_some(()));
            client.signal(libc::SIGKILL);
            assert_eq!(client.finish().killed_by(), Some(libc::SIGKILL));
        } else {
            wait_until("some bytes", || (path.relay.sent() >= goal).then_some(()));
            signal(proof::children(client.pid(), 1)[0], libc::SIGKILL);
            let outcome = client.finish_ref();
            outcome.failed(SYSTEM, "client", "receiver: stopped by signal 9");
        }
        assert!(!path.folder("out").exists());
    }
    let said = path.fetch(4);
    assert!(said.contains(", resumed at "), "{said}");
    let sent = path.relay.sent();
    assert!(sent <= size * 3 / 2, "{sent} bytes for a file of {size}");
}

/// A killed client's part file and journal, with the path that they came over.
struct Half {
    path: Path,
    part: Vec<u8>,
    journal: Vec<u8>,
}

const BLOCKS: u64 = 20;

/// Of a file of 32 blocks and a bit, 20 have come when the client is killed.
fn half(test: &str) -> Half {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new(test, (32 * BLOCK + 7) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let part = fs::read(path.folder("out.part")).unwrap();
    let journal = fs::read(path.folder("out.part.journal")).unwrap();
    assert_same(&part[..20 << 17], &path.bytes[..20 << 17], "what has come");
    Half { path, part, journal }
}

impl Half {
    /// Puts back what the killed client left, with this journal: the part file is the
    /// same one, as the journal demands.
    fn restore(&self, journal: &[u8]) {
        let _ = fs::rename(self.path.folder("out"), self.path.folder("out.part"));
        fs::write(self.path.folder("out.part"), &self.part).unwrap();
        fs::write(self.path.folder("out.part.journal"), journal).unwrap();
    }

    /// Goes on, and demands that so many hundredths count as there; or that it is refused and
    /// touches nothing, until it is told to start over.
    #[track_caller]
    fn goes_on(&self, percent: Option<u64>, what: &str) {
        let mut outcome = run(&mut self.path.direct(2));
        let resumed = percent.filter(|percent| *percent > 0);
        let expected = resumed.map(|percent| format!(", resumed at {percent}%"));
        if percent.is_none() {
            let (part, journal) = ("out.part", "out.part.journal");
            if outcome.err.contains("is not this program's journal") {
                outcome.failed(SYSTEM, "client", &format!("{journal}: is not"));
                fs::remove_file(self.path.folder(journal)).unwrap();
                outcome = run(&mut self.path.direct(2));
            }
            outcome.failed(SYSTEM, "client", "no journal belongs to it; move it away, or ");
            assert_same(&fs::read(self.path.folder(part)).unwrap(), &self.part, what);
            outcome = run(self.path.direct(2).arg("--restart"));
        }
        let said = outcome.succeeded();
        match expected {
            Some(words) => assert!(said.contains(&words), "{what}: {said}"),
            None => assert!(!said.contains("resumed"), "{what}: {said}"),
        }
        self.path.is_whole();
    }

    /// How many hundredths the first `length` bytes of the journal vouch for; `None`
    /// where they are no journal.
    fn vouched(&self, length: usize) -> Option<u64> {
        let vouched = vouched(&self.journal[..length])?;
        Some(total(&vouched) * 100 / self.path.bytes.len() as u64)
    }
}

#[test]
fn a_journal_that_is_cut_anywhere_counts_as_far_as_it_goes() {
    let half = half("journal-cut");
    let (length, start) = (half.journal.len(), JournalHeader::parse(&half.journal).unwrap().0);
    let last = length - RECORD_SIZE;
    for cut in [0, 1, 63, 64, start - 1, start, start + 1, start + 28, 400, last - 1, last, length]
    {
        half.restore(&half.journal[..cut]);
        half.goes_on(half.vouched(cut), &format!("cut at {cut}"));
    }
}

#[test]
fn a_journal_that_is_damaged_anywhere_counts_up_to_there() {
    let half = half("journal-damage");
    let start = JournalHeader::parse(&half.journal).unwrap().0;
    for place in (0..half.journal.len()).step_by(27) {
        let mut journal = half.journal.clone();
        journal[place] ^= 1 << (place % 8);
        half.restore(&journal);
        let good = match place.checked_sub(start) {
            Some(behind) => half.vouched(start + behind / RECORD_SIZE * RECORD_SIZE),
            None => None,
        };
        half.goes_on(good, &format!("damaged at {place}"));
    }
}

#[test]
fn a_journal_of_another_file_or_without_its_part_is_stale() {
    let half = half("journal-stale");
    // Another inode, with the same bytes.
    half.restore(&half.journal);
    fs::copy(half.path.folder("out.part"), half.path.folder("copy")).unwrap();
    fs::rename(half.path.folder("copy"), half.path.folder("out.part")).unwrap();
    half.goes_on(None, "another part file");
    fs::write(half.path.folder("out.part.journal"), &half.journal).unwrap();
    let said = run(&mut half.path.direct(2)).succeeded();
    assert!(!said.contains("resumed"), "{said}");
    half.path.is_whole();
    // A part file alone is nothing.
    fs::write(half.path.folder("out.part"), &half.part).unwrap();
    half.goes_on(None, "no journal");
}

#[test]
fn bytes_that_were_damaged_on_the_disk_are_fetched_again() {
    let half = half("part-damage");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    // Three blocks of those that had come, at their edges and in the middle.
    for place in [0, 5 * BLOCK + 77, 10 * BLOCK - 1] {
        part.write_all_at(&[!half.part[place as usize]], place).unwrap();
    }
    let before = half.path.relay.passed().len() as u64;
    let said = half.path.fetch(2);
    assert!(said.contains("resumed"), "{said}");
    let passed = half.path.relay.passed();
    for block in [0, 5, 9] {
        let again = passed.iter().filter(|piece| piece.offset == block * BLOCK);
        assert_eq!(again.count(), 2, "block {block}");
    }
    assert!(passed.len() as u64 - before >= 33 - BLOCKS + 3);
    let good = passed.iter().filter(|piece| piece.offset == 2 * BLOCK).count();
    assert_eq!(good, 1, "what is good is not fetched again");
}

#[test]
fn what_was_cut_off_the_part_file_is_fetched_again() {
    let half = half("part-cut");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    part.set_len(7 * BLOCK + 1).unwrap();
    half.path.fetch(2);
}

#[test]
fn a_journal_counts_for_nothing_beside_an_empty_part_file() {
    // Also one that was made anew and got the number of the inode that was removed.
    let half = half("part-empty");
    fs::write(half.path.folder("out.part"), b"").unwrap();
    let outcome = run(&mut half.path.direct(2));
    assert_eq!(outcome.err, "");
    assert!(!outcome.succeeded().contains("resumed"));
    half.path.is_whole();
}

#[test]
fn what_the_disk_could_not_keep_counts_for_nothing() {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new("failing-disk", (32 * BLOCK + 7) as usize, faults);
    let mut client = path.client(1);
    on_a_failing_disk(&mut client, Sync::Data);
    // The first checkpoint ends it, while nothing more comes.
    let outcome = path.begin(&gate, BLOCKS, client).finish();
    outcome.failed(SYSTEM, "client", "out: Input/output error");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    gate.open();
    let said = path.fetch(2);
    assert!(!said.contains("resumed"), "{said}");
}

#[test]
fn a_sync_that_fails_at_the_start_makes_what_is_there_doubtful() {
    let half = half("failing-start");
    let boot = || {
        let journal = fs::read(half.path.folder("out.part.journal")).unwrap();
        JournalHeader::parse(&journal).unwrap().1.boot
    };
    let before = boot();
    let mut client = half.path.direct(1);
    on_a_failing_disk(&mut client, Sync::All);
    run(&mut client).failed(SYSTEM, "client", "out: Input/output error");
    assert_eq!(half.path.names(), ["out.part", "out.part.journal"]);
    // As after a power cut: only what was durable counts.
    assert_ne!(boot(), before);
    run(&mut half.path.direct(2)).succeeded();
    half.path.is_whole();
}

#[test]
fn bytes_that_another_program_puts_behind_the_end_do_not_get_into_the_file() {
    let half = half("too-long");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    part.write_all_at(b"not the file's", 33 * BLOCK).unwrap();
    let said = run(half.path.direct(2).args(["--verify", "md5"])).succeeded();
    assert!(said.contains(", resumed at ") && said.contains(" ok"), "{said}");
    half.path.is_whole();
}

#[test]
fn restart_ignores_what_is_there() {
    let half = half("restart");
    let before = half.path.relay.sent();
    let said = run(half.path.client(2).arg("--restart")).succeeded();
    assert!(!said.contains("resumed"), "{said}");
    assert!(half.path.relay.sent() - before >= half.path.bytes.len() as u64);
    half.path.is_whole();
}

#[test]
fn another_file_under_the_name_starts_over_and_says_so() {
    let mut half = half("replaced-between");
    half.path.bytes = content(half.path.bytes.len() + 1)[1..].to_vec();
    half.path.scratch.write("new", &half.path.bytes);
    fs::rename(half.path.scratch.path("new"), half.path.scratch.path("file")).unwrap();
    let outcome = run(&mut half.path.client(2));
    let words = "out.part: starting over: the file on the server has changed\n";
    assert!(outcome.err.ends_with(words), "{outcome:?}");
    assert!(!outcome.succeeded().contains("resumed"));
    half.path.is_whole();
}

#[test]
fn a_client_that_is_interrupted_says_how_to_go_on_and_does() {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new("interrupted", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    client.signal(libc::SIGINT);
    let words = format!("stopped by SIGINT; {}.part keeps 50%; ", path.folder("out").display());
    client.finish().failed(130, "client", &words);
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    gate.open();
    let said = path.fetch(1);
    assert!(said.contains(", resumed at 50%"), "{said}");
}

#[test]
fn a_client_that_is_interrupted_before_it_knows_the_file_says_what_is_there_too() {
    let half = half("interrupted-early");
    let silent = TcpListener::bind((half.path.scratch.address(), 0)).unwrap();
    let server = silent.local_addr().unwrap();
    let client =
        Running::start(&mut half.path.scratch.client(server, 2, "file", half.path.folder("out")));
    let _request = silent.accept().unwrap();
    client.signal(libc::SIGTERM);
    let words = format!("stopped by SIGTERM; {}.part keeps ", half.path.folder("out").display());
    let outcome = client.finish();
    outcome.failed(143, "client", &words);
    assert!(outcome.err.contains("%; to go on: "), "{outcome:?}");
}

#[test]
fn a_second_client_on_one_output_is_refused_and_told_by_whom() {
    let (gate, faults) = Gate::after(3);
    let path = Path::new("locked", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, 3, path.client(1));
    for restart in [&[][..], &["--restart"]] {
        let outcome = run(path.direct(1).args(restart));
        let words = format!("out.part: process {} is writing it", client.pid());
        outcome.failed(SYSTEM, "client", &words);
    }
    gate.open();
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn a_server_that_was_killed_and_comes_back_is_gone_on_with() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-killed", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    path.restart(&[]);
    gate.open();
    client.finish().succeeded();
    path.is_whole();
    path.was_gone_on_from(BLOCKS * BLOCK);
}

#[test]
fn a_server_that_comes_back_full_is_asked_again_when_it_says_so() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-full", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    let full = TcpListener::bind(path.server.address).unwrap();
    gate.open();
    let mut refused = accept(&full);
    let refusal = "HTTP/1.1 503 Full\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let begun = Instant::now();
    refused.write_all(refusal.as_bytes()).unwrap();
    let again = accept(&full);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    stop_listening(full);
    drop((refused, again));
    path.restart(&[]);
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn a_server_that_stays_away_ends_the_transfer_and_keeps_what_came() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-gone", (40 * BLOCK) as usize, faults);
    let mut command = path.client(1);
    command.args(["--retry-for", "2"]);
    let client = path.begin(&gate, BLOCKS, command);
    path.server.kill();
    gate.open();
    let outcome = client.finish();
    outcome.failed(NETWORK, "client", "lost the server, and could not reach it again in 2 s");
    assert!(outcome.err.contains(".part keeps 5"), "{outcome:?}");
    assert!(outcome.err.contains("%; to go on: "), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    path.restart(&[]);
    let said = path.fetch(1);
    assert!(said.contains(", resumed at 5"), "{said}");
}

#[test]
fn a_server_that_comes_back_with_another_file_is_not_gone_on_with() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-other", (40 * BLOCK) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    path.scratch.write("file", &content((40 * BLOCK) as usize + 1)[1..]);
    path.restart(&[]);
    gate.open();
    let words = "the file on the server has changed; the same command fetches it as it is";
    client.finish().failed(7, "client", words);
    assert_eq!(path.names().len(), 0);
}
