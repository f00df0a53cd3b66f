//! A file on a server, a relay before it, and a client's folder on the other side: what
//! the tests of the ropewalk protocol have in common.

use crate::support::harness::{
    LIMIT, Running, Scratch, Server, assert_same, content, run, wait_until,
};
use crate::support::relay::{Faults, Relay, Step};
use ropewalk::codec::journal::{JournalHeader, RECORD_SIZE, Record};
use ropewalk::hash::crc32c;
use ropewalk::transfer::store::journal::{Journal, Subject};
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

/// Bytes of a block where there are few streams.
pub(crate) const BLOCK: u64 = 128 << 10;

/// What a summary may count: one of it, and several.
pub(crate) const DAMAGED: [&str; 2] =
    ["damaged block asked for again", "damaged blocks asked for again"];
pub(crate) const RECONNECTS: [&str; 2] = ["reconnect", "reconnects"];
const LATE: &str = " late, asked for again";

/// A server with the file `file`, behind a relay.
pub(crate) struct Path {
    pub(crate) scratch: Scratch,
    pub(crate) server: Server,
    pub(crate) relay: Relay,
    pub(crate) bytes: Vec<u8>,
}

impl Path {
    pub(crate) fn new(test: &str, size: usize, faults: Faults) -> Path {
        let scratch = Scratch::new(test);
        let server = Server::start(&scratch, &[]);
        let bytes = content(size);
        scratch.write("file", &bytes);
        scratch.make_dir("folder");
        let relay = Relay::start(&scratch, server.address, faults);
        Path { scratch, server, relay, bytes }
    }

    /// A client that fetches the file through the relay. Only the blocks' checksums are
    /// looked at: the MD5 would hide a lie of theirs.
    pub(crate) fn client(&self, threads: impl ToString) -> Command {
        let mut client =
            self.scratch.client(self.relay.address, threads, "file", self.folder("out"));
        client.args(["--verify", "crc32c"]);
        client
    }

    /// The same without the relay.
    pub(crate) fn direct(&self, threads: impl ToString) -> Command {
        let mut client =
            self.scratch.client(self.server.address, threads, "file", self.folder("out"));
        client.args(["--verify", "crc32c"]);
        client
    }

    /// Starts a server with these options at the address of the one that was killed.
    pub(crate) fn restart(&mut self, options: &[&str]) {
        let mut command = self.scratch.program("server");
        command.args(options);
        command.arg("--bind").arg(self.scratch.address().to_string());
        command.arg(self.server.address.port().to_string()).current_dir(self.scratch.folder());
        self.server.running = Running::start(&mut command);
        self.server.running.next_line();
    }

    /// The path of `name` in the client's folder.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path("folder").join(name)
    }

    /// What is in the client's folder.
    pub(crate) fn names(&self) -> Vec<OsString> {
        Scratch::names(&self.scratch.path("folder"))
    }

    /// Demands that the output is right, and that nothing is beside it.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        let output = fs::read(self.folder("out")).unwrap();
        assert_same(&output, &self.bytes, "the output");
        assert_eq!(self.names(), ["out"]);
    }

    /// Fetches the file, demands that it is right, and hands on the summary.
    #[track_caller]
    pub(crate) fn fetch(&self, threads: impl ToString) -> String {
        let said = run(&mut self.client(threads)).succeeded();
        self.is_whole();
        said
    }

    /// Waits until the journal vouches for this many blocks, written or holes.
    #[track_caller]
    pub(crate) fn wait_for_blocks(&self, count: u64) {
        wait_until("so many blocks", || {
            let journal = fs::read(self.folder("out.part.journal")).ok()?;
            (vouched(&journal)?.len() as u64 >= count).then_some(())
        });
    }

    /// Begins to fetch over one stream behind a gate that holds back what follows the
    /// first `blocks` blocks: these are written, and the client waits for more.
    #[track_caller]
    pub(crate) fn begin(&self, gate: &Gate, blocks: u64, mut client: Command) -> Running {
        let client = Running::start(&mut client);
        gate.wait_until_reached();
        self.wait_for_blocks(blocks);
        client
    }

    /// The same behind a gate that holds back what follows the first `offset` bytes, for a
    /// file with holes: how many blocks answer for a hole depends on how many were asked for
    /// when the first one came.
    #[track_caller]
    pub(crate) fn begin_up_to(&self, gate: &Gate, offset: u64, mut client: Command) -> Running {
        let client = Running::start(&mut client);
        gate.wait_until_reached();
        wait_until("so many bytes", || {
            let journal = fs::read(self.folder("out.part.journal")).ok()?;
            (total(&vouched(&journal)?) >= offset).then_some(())
        });
        client
    }

    /// Demands that no stream but the first asked for anything before `offset`, where what
    /// the first one has brought ends. How much more that one had asked for is no matter:
    /// it is as much as a round trip carries, and so depends on the machine.
    #[track_caller]
    pub(crate) fn was_gone_on_from(&self, offset: u64) {
        for piece in self.relay.asked() {
            assert!(piece.stream == 0 || piece.offset >= offset, "{piece:?} before {offset}");
        }
    }
}

/// The ranges that a journal vouches for, written or holes; `None` where it is none. How
/// many `durable` records are among theirs depends on the time that it took.
pub(crate) fn vouched(journal: &[u8]) -> Option<Vec<Range<u64>>> {
    let (start, header) = JournalHeader::parse(journal)?;
    let records = journal[start..].chunks_exact(RECORD_SIZE);
    let range = |record: &[u8]| match Record::parse(record.try_into().unwrap(), header.salt)? {
        Record::Written { range, .. } | Record::Hole { range } => Some(range),
        _ => None,
    };
    Some(records.filter_map(range).collect())
}

/// Leaves at `output` what a run leaves that is killed when it has brought `bytes`, of a file
/// that is on no server any more.
pub(crate) fn leave(output: &std::path::Path, bytes: &[u8]) {
    let beside = |suffix: &str| {
        let path = format!("{}{suffix}", output.display());
        fs::File::options().read(true).write(true).create_new(true).open(path).unwrap()
    };
    let (part, size) = (beside(".part"), bytes.len() as u64);
    part.write_all_at(bytes, 0).unwrap();
    let subject = Subject { name: b"gone".to_vec(), etag: b"\"gone\"".to_vec(), size };
    let journal = Journal::create(beside(".part.journal"), &subject, &part).unwrap();
    journal.written(0..size, crc32c(bytes)).unwrap();
}

/// How many bytes these are.
pub(crate) fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// The number before `what` in a summary; 0 where it is not mentioned.
#[track_caller]
pub(crate) fn count(said: &str, what: [&str; 2]) -> u64 {
    let mut parts = said.trim_end().split(", ");
    let part = parts.find_map(|part| what.iter().find_map(|what| part.strip_suffix(what)));
    part.map_or(0, |number| number.trim().parse().expect(said))
}

/// The bytes that a summary says were late; it has three digits of them.
pub(crate) fn late(said: &str) -> f64 {
    let Some((before, _)) = said.split_once(LATE) else { return 0.0 };
    let amount = before.rsplit(", ").next().unwrap();
    let (number, unit) = amount.split_once(' ').expect(said);
    let exponent = ["bytes", "KiB", "MiB", "GiB"].iter().position(|own| *own == unit).expect(said);
    number.parse::<f64>().expect(said) * f64::powi(1024.0, exponent as i32)
}

/// Numbers that look random and are the same for every run.
pub(crate) fn scatter(number: u64) -> u64 {
    let at = (number % 4096) as usize * 8;
    u64::from_le_bytes(content(at + 8)[at..].try_into().unwrap())
}

/// Turns one bit over.
pub(crate) fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Holds back what comes to it until it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    reached: bool,
    open: bool,
}

impl Gate {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.reached = true;
        self.changed.notify_all();
        while !state.open {
            let (after, late) = self.changed.wait_timeout(state, LIMIT).unwrap();
            state = after;
            if late.timed_out() {
                return;
            }
        }
    }

    /// Waits until somebody waits.
    #[track_caller]
    pub(crate) fn wait_until_reached(&self) {
        let state = self.state.lock().unwrap();
        let (state, _) =
            self.changed.wait_timeout_while(state, LIMIT, |state| !state.reached).unwrap();
        assert!(state.reached, "nothing came to the gate");
    }

    /// Lets everything pass from now on.
    pub(crate) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }

    /// Passes the first `blocks` blocks, and holds the others back.
    pub(crate) fn after(blocks: u64) -> (Arc<Gate>, Faults) {
        let gate = Arc::new(Gate::default());
        let own = gate.clone();
        let faults = Faults::of_blocks(move |block| {
            if block.number >= blocks {
                own.pass();
            }
            Step::Pass
        });
        (gate, faults)
    }

    /// Passes the first `blocks` blocks. When it is opened the first stream is cut there, as
    /// by a sender whose machine went down: what a dead process has sent would still come.
    pub(crate) fn before_a_cut(blocks: u64) -> (Arc<Gate>, Faults) {
        let gate = Arc::new(Gate::default());
        let own = gate.clone();
        let faults = Faults::of_blocks(move |block| {
            if block.number < blocks || block.stream > 0 {
                return Step::Pass;
            }
            own.pass();
            Step::Cut(0)
        });
        (gate, faults)
    }

    /// Passes the blocks that begin before `offset`, and holds the others back.
    pub(crate) fn at(offset: u64) -> (Arc<Gate>, Faults) {
        let gate = Arc::new(Gate::default());
        let own = gate.clone();
        let faults = Faults::of_blocks(move |block| {
            if block.offset() >= offset {
                own.pass();
            }
            Step::Pass
        });
        (gate, faults)
    }
}
