//! Part files and journals: which bytes count when a run resumes, which do not, and that files of
//! other programs survive.

use crate::support::exit::SYSTEM;
use crate::support::harness::{
    LIMIT, Running, Scratch, Server, after, assert_same, content, run, wait_until,
};
use crate::support::path::{BLOCK, Gate, Path, scatter, total, vouched};
use crate::support::peers::classic::{ClassicServer, md5, seed_reply};
use crate::support::preload::preload;
use crate::support::proof;
use crate::support::relay::{Faults, PACED};
use crate::support::system::{Sync, on_a_failing_disk, signal, without_privileges};
use ropewalk::codec::journal::{JournalHeader, RECORD_SIZE};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex};

/// How many bytes may pass a relay. However late a busy machine kills a client, no more come.
#[derive(Default)]
struct Allowance {
    /// Bytes that have passed, and how many may.
    state: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Allowance {
    /// So many bytes more may pass.
    fn allow(&self, more: u64) {
        let mut state = self.state.lock().unwrap();
        state.1 = state.0 + more;
        self.changed.notify_all();
    }

    /// So many bytes have passed. Waits until others may.
    fn pass(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap();
        state.0 += bytes;
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, LIMIT, |(passed, most)| passed >= most));
    }

    /// Waits until nothing more may pass.
    #[track_caller]
    fn wait_until_used(&self) {
        let state = self.state.lock().unwrap();
        let used = self.changed.wait_timeout_while(state, LIMIT, |(passed, most)| passed < most);
        assert!(!used.unwrap().1.timed_out(), "the bytes never came");
    }
}

#[test]
fn thirty_kills_cost_less_than_half_of_the_file() {
    let size = 96 << 20;
    let allowance = Arc::new(Allowance::default());
    let own = allowance.clone();
    let rate = Box::new(move |_| {
        own.pass(PACED as u64);
        Some(8 << 20)
    });
    let path = Path::new("kills", size as usize, Faults { rate, ..Faults::default() });
    for round in 0..30 {
        let share = size / 64;
        let at_once = round % 5 == 4;
        allowance.allow(if at_once { 0 } else { share + scatter(round) % share });
        let mut client = Running::start(&mut path.client(4));
        allowance.wait_until_used();
        if at_once || round % 2 == 0 {
            client.signal(libc::SIGKILL);
            assert_eq!(client.finish().killed_by(), Some(libc::SIGKILL));
        } else {
            signal(proof::children(client.pid(), 1)[0], libc::SIGKILL);
            let outcome = client.finish_ref();
            outcome.failed(SYSTEM, "client", "receiver: stopped by signal 9");
        }
        assert!(!path.folder("out").exists());
    }
    allowance.allow(u64::MAX / 2);
    let said = path.fetch(4);
    assert!(said.contains(", resumed at "), "{said}");
    let sent = path.relay.sent();
    assert!(sent <= size * 3 / 2, "{sent} bytes for a file of {size}");
}

/// The part file and the journal of a killed client, and the path that they came over.
struct Half {
    path: Path,
    part: Vec<u8>,
    journal: Vec<u8>,
}

const BLOCKS: u64 = 20;

/// Kills the client after 20 blocks of a file of a little more than 32.
fn half(test: &str) -> Half {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new(test, (32 * BLOCK + 7) as usize, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let part = fs::read(path.folder("out.part")).unwrap();
    let journal = fs::read(path.folder("out.part.journal")).unwrap();
    assert_same(&part[..20 << 17], &path.bytes[..20 << 17], "the bytes that have come");
    Half { path, part, journal }
}

impl Half {
    /// Restores what the killed client left, with this journal. The part file is the same inode, as
    /// the journal demands.
    fn restore(&self, journal: &[u8]) {
        let _ = fs::rename(self.path.folder("out"), self.path.folder("out.part"));
        fs::write(self.path.folder("out.part"), &self.part).unwrap();
        fs::write(self.path.folder("out.part.journal"), journal).unwrap();
    }

    /// Resumes, and demands that so many hundredths of the file count as there. With `None`,
    /// demands that the client refuses and touches nothing until it gets `--restart`.
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

    /// How many hundredths of the file the first `length` bytes of the journal vouch for. `None` if
    /// these bytes are no journal.
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
fn a_journal_needs_the_part_file_that_it_was_made_for() {
    let half = half("journal-stale");
    // Another inode, with the same bytes.
    half.restore(&half.journal);
    fs::copy(half.path.folder("out.part"), half.path.folder("copy")).unwrap();
    fs::rename(half.path.folder("copy"), half.path.folder("out.part")).unwrap();
    half.goes_on(None, "another part file");
    // The output would be up to date.
    fs::remove_file(half.path.folder("out")).unwrap();
    fs::write(half.path.folder("out.part.journal"), &half.journal).unwrap();
    let said = run(&mut half.path.direct(2)).succeeded();
    assert!(!said.contains("resumed"), "{said}");
    half.path.is_whole();
    // A part file alone counts for nothing.
    fs::remove_file(half.path.folder("out")).unwrap();
    fs::write(half.path.folder("out.part"), &half.part).unwrap();
    half.goes_on(None, "no journal");
}

#[test]
fn bytes_that_were_damaged_on_the_disk_are_fetched_again() {
    let half = half("part-damage");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    // Damages three of the blocks that had come, at their edges and in the middle.
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
    assert_eq!(good, 1, "only damaged blocks are fetched again");
}

#[test]
fn bytes_that_were_cut_off_the_part_file_are_fetched_again() {
    let half = half("part-cut");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    part.set_len(7 * BLOCK + 1).unwrap();
    half.path.fetch(2);
}

#[test]
fn a_journal_counts_for_nothing_beside_an_empty_part_file() {
    // This holds also for a new part file that got the inode number of the removed one.
    let half = half("part-empty");
    fs::write(half.path.folder("out.part"), b"").unwrap();
    let outcome = run(&mut half.path.direct(2));
    assert_eq!(outcome.err, "");
    assert!(!outcome.succeeded().contains("resumed"));
    half.path.is_whole();
}

#[test]
fn bytes_that_a_failed_sync_lost_do_not_count() {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new("failing-disk", (32 * BLOCK + 7) as usize, faults);
    let mut client = path.client(1);
    on_a_failing_disk(&mut client, Sync::Data);
    // The first checkpoint ends the client, while nothing more comes.
    let outcome = path.begin(&gate, BLOCKS, client).finish();
    outcome.failed(SYSTEM, "client", "out: Input/output error");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    gate.open();
    let said = path.fetch(2);
    assert!(!said.contains("resumed"), "{said}");
}

#[test]
fn after_a_failed_sync_at_the_start_only_durable_blocks_count() {
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
    // As after a power cut, only durable blocks count.
    assert_ne!(boot(), before);
    run(&mut half.path.direct(2)).succeeded();
    half.path.is_whole();
}

#[test]
fn bytes_that_another_program_appends_to_the_part_file_are_cut_off() {
    let half = half("too-long");
    let part = fs::File::options().write(true).open(half.path.folder("out.part")).unwrap();
    part.write_all_at(b"not the file's", 33 * BLOCK).unwrap();
    let said = run(half.path.direct(2).args(["--verify", "md5"])).succeeded();
    assert!(said.contains(", resumed at ") && said.contains(" ok"), "{said}");
    half.path.is_whole();
}

#[test]
fn restart_ignores_the_part_file() {
    let half = half("restart");
    let before = half.path.relay.sent();
    let said = run(half.path.client(2).arg("--restart")).succeeded();
    assert!(!said.contains("resumed"), "{said}");
    assert!(half.path.relay.sent() - before >= half.path.bytes.len() as u64);
    half.path.is_whole();
}

#[test]
fn the_client_starts_over_for_another_file_of_the_name_and_says_so() {
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
fn an_interrupted_client_says_how_to_resume_and_resumes() {
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
fn a_client_that_is_interrupted_before_the_reply_says_what_the_part_file_keeps() {
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
    assert!(outcome.err.contains("%; to continue: "), "{outcome:?}");
}

#[test]
fn a_second_client_for_the_same_output_is_refused_with_the_first_client_s_number() {
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

/// A library that prints a line when the program syncs a large file.
const SPEAKING: &str = r#"
#include <sys/stat.h>
#include <unistd.h>
int fsync(int fd) {
    struct stat found;
    int large = fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 1 << 20;
    return large && write(2, "syncing\n", 8) != 8;
}
"#;

#[test]
fn a_resumed_run_asks_for_the_rest_before_it_syncs_the_part_file() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("resume-sync", 40 << 17, faults);
    let client = path.begin(&gate, 20, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    let mut client = path.client(1);
    preload(&path.scratch, SPEAKING, &mut client);
    let client = Running::start(&mut client);
    let goes_on = || path.relay.asked().iter().any(|piece| piece.stream > 0).then_some(());
    wait_until("a request of the second run", goes_on);
    client.signal(libc::SIGKILL);
    let outcome = client.finish();
    assert!(!outcome.err.contains("syncing"), "{outcome:?}");
    gate.open();
}

#[test]
fn a_part_file_of_another_program_is_refused_and_stays() {
    let scratch = Scratch::new("foreign-part");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    scratch.make_dir("folder");
    let (out, part) = (scratch.path("folder/out"), scratch.write("folder/out.part", b"browser's"));
    let mut client = scratch.client(server.address, 2, "file", &out);
    for _ in 0..2 {
        let words = "out.part: was not left by this program: no journal belongs to it; move it";
        run(&mut client).failed(SYSTEM, "client", words);
        assert_eq!(fs::read(&part).unwrap(), b"browser's");
        assert_eq!(Scratch::names(&scratch.path("folder")), ["out.part"]);
    }
    run(client.arg("--restart")).succeeded();
    assert_eq!(fs::read(&out).unwrap(), b"bytes");
    assert_eq!(Scratch::names(&scratch.path("folder")), ["out"]);
}

#[test]
fn a_classic_fetch_refuses_a_foreign_part_file_too() {
    let scratch = Scratch::new("foreign-classic");
    let server = ClassicServer::bind(&scratch);
    let part = scratch.write("out.part", b"browser's");
    let mut client = scratch.client(server.address(), 2, "file", scratch.path("out"));
    let client = Running::start(&mut client);
    let (hash, port) = (md5(b"bytes"), server.data_port());
    server.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")));
    client.finish().failed(SYSTEM, "client", "out.part: was not left by this program");
    assert_eq!(fs::read(&part).unwrap(), b"browser's");
    assert!(!scratch.path("out.part.journal").exists());
}

/// Kills a run for `out`, of a file of 40 blocks.
fn killed(test: &str, setting: &str) -> Path {
    let (gate, faults) = Gate::after(20);
    let path = Path::new(test, (40 * BLOCK) as usize, faults);
    let mut command = after(setting, &path.client(1));
    without_privileges(&mut command);
    let client = path.begin(&gate, 20, command);
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    path.scratch.write("other", b"another file");
    path
}

fn fetch_other(path: &Path, name: &str) {
    let server = path.server.address;
    run(&mut path.scratch.client(server, 1, "other", path.folder(name))).succeeded();
}

#[test]
fn a_file_that_was_fetched_as_out_part_survives_every_run_for_out() {
    let path = killed("fetched-part", ":");
    fetch_other(&path, "out.part");
    for _ in 0..2 {
        run(&mut path.direct(2)).failed(SYSTEM, "client", "out.part: was not left by this program");
    }
    assert_eq!(fs::read(path.folder("out.part")).unwrap(), b"another file");
}

#[test]
fn a_file_that_was_fetched_as_the_journal_survives_every_run_for_out() {
    let path = killed("fetched-journal", ":");
    fetch_other(&path, "out.part.journal");
    for option in [None, Some("--restart")] {
        let outcome = run(path.direct(2).args(option));
        outcome.failed(SYSTEM, "client", "out.part.journal: is not this program's journal");
    }
    fs::remove_file(path.folder("out.part")).unwrap();
    run(&mut path.direct(2)).failed(SYSTEM, "client", "is not this program's journal");
    assert_eq!(fs::read(path.folder("out.part.journal")).unwrap(), b"another file");
    assert_eq!(path.names(), ["out.part.journal"]);
}

#[test]
fn a_file_that_is_fetched_as_the_journal_meanwhile_survives() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("journal-meanwhile", (40 * BLOCK) as usize, faults);
    path.scratch.write("other", b"another file");
    let client = path.begin(&gate, 20, path.client(1));
    fetch_other(&path, "out.part.journal");
    gate.open();
    client.finish().succeeded();
    assert_eq!(fs::read(path.folder("out.part.journal")).unwrap(), b"another file");
    assert_same(&fs::read(path.folder("out")).unwrap(), &path.bytes, "the output");
}

#[test]
fn a_part_file_that_another_program_made_anew_is_not_taken_for_ours() {
    // The new part file often gets the inode number of the removed one.
    let path = killed("removed-part", ":");
    fs::remove_file(path.folder("out.part")).unwrap();
    fs::write(path.folder("out.part"), content(1 << 20)).unwrap();
    run(&mut path.direct(2)).failed(SYSTEM, "client", "out.part: was not left by this program");
    assert_same(&fs::read(path.folder("out.part")).unwrap(), &content(1 << 20), "the part file");
}

#[test]
fn a_run_resumes_whatever_the_umask_was() {
    let path = killed("umask", "umask 0477");
    let mut again = after("umask 0477", &path.direct(2));
    without_privileges(&mut again);
    let said = run(&mut again).succeeded();
    assert!(said.contains(", resumed at 50%"), "{said}");
}

#[test]
fn a_name_of_the_greatest_length_is_fetched_and_resumed() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("long-name", (40 * BLOCK) as usize, faults);
    let name = "n".repeat(255);
    let mut command = path.scratch.client(path.relay.address, 1, "file", path.folder(&name));
    let client = Running::start(&mut command);
    gate.wait_until_reached();
    client.signal(libc::SIGINT);
    let outcome = client.finish();
    let names = path.names();
    let part = names[0].to_str().unwrap();
    assert!(part.starts_with(".ropewalk-") && part.len() == 42, "{names:?}");
    assert_eq!(names[1].to_str().unwrap(), format!("{part}.journal"));
    assert!(outcome.err.contains(&format!("/{part} keeps ")), "{outcome:?}");
    gate.open();
    let said = run(&mut command).succeeded();
    assert!(said.contains(", resumed at "), "{said}");
    assert_eq!(path.names(), [name.as_str()]);
}

#[test]
fn the_md5_of_a_resumed_fetch_does_not_wait_for_the_session_of_a_killed_client() {
    let scratch = Scratch::new("resume-dead-session");
    let server = Server::start(&scratch, &[]);
    // A hole of more bytes than a hash may be ahead; it has come before the sender reports once.
    let size = 200 << 20;
    fs::File::create(scratch.path("file")).unwrap().set_len(size).unwrap();
    let out = scratch.path("out");
    let mut slow = scratch.client(server.address, 1, "file", &out);
    let slow = Running::start(slow.args(["--limit-rate", "1M"]));
    wait_until("the part file", || scratch.path("out.part").exists().then_some(()));
    slow.signal(libc::SIGKILL);
    slow.finish();
    let begun = std::time::Instant::now();
    run(&mut scratch.client(server.address, 4, "file", &out)).succeeded();
    // The dead session lasts for 30 s.
    assert!(begun.elapsed() < std::time::Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(fs::metadata(&out).unwrap().len(), size);
}
