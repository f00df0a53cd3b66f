//! A file on a server, a relay before it, and a client's folder on the other side: what the tests
//! of the ropewalk protocol share.

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

/// Bytes of a block if there are few streams.
pub(crate) const BLOCK: u64 = 128 << 10;

/// The words for a count in a summary: for one, and for several.
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
        Path::over(Scratch::new(test), size, faults)
    }

    /// The same without faults, in a folder on a disk: there the kernel reserves space.
    pub(crate) fn on_disk(test: &str, size: usize) -> Path {
        Path::over(Scratch::on_disk(test), size, Faults::default())
    }

    fn over(scratch: Scratch, size: usize, faults: Faults) -> Path {
        let server = Server::start(&scratch, &[]);
        let bytes = content(size);
        scratch.write("file", &bytes);
        scratch.make_dir("folder");
        let relay = Relay::start(&scratch, server.address, faults);
        Path { scratch, server, relay, bytes }
    }

    /// A client that fetches the file through the relay. It checks only the checksums of blocks:
    /// the MD5 would hide a fault of theirs.
    pub(crate) fn client(&self, streams: impl ToString) -> Command {
        let mut client =
            self.scratch.client(self.relay.address, streams, "file", self.folder("out"));
        client.args(["--verify", "crc32c"]);
        client
    }

    /// The same without the relay.
    pub(crate) fn direct(&self, streams: impl ToString) -> Command {
        let mut client =
            self.scratch.client(self.server.address, streams, "file", self.folder("out"));
        client.args(["--verify", "crc32c"]);
        client
    }

    /// Starts a server with these options at the address of the killed server.
    pub(crate) fn restart(&mut self, options: &[&str]) {
        self.server.start_again(&self.scratch, options);
    }

    /// The path of `name` in the client's folder.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path("folder").join(name)
    }

    /// The names in the client's folder.
    pub(crate) fn names(&self) -> Vec<OsString> {
        Scratch::names(&self.scratch.path("folder"))
    }

    /// Demands that the output is right, and that no other file is beside it.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        let output = fs::read(self.folder("out")).unwrap();
        assert_same(&output, &self.bytes, "the output");
        assert_eq!(self.names(), ["out"]);
    }

    /// Fetches the file, demands that it is right, and returns the summary.
    #[track_caller]
    pub(crate) fn fetch(&self, streams: impl ToString) -> String {
        let said = run(&mut self.client(streams)).succeeded();
        self.is_whole();
        said
    }

    /// Waits until the journal vouches for this many blocks, written or holes.
    #[track_caller]
    pub(crate) fn wait_for_blocks(&self, count: u64) {
        wait_for_blocks(&self.folder("out.part.journal"), count);
    }

    /// Begins a fetch over one stream behind a gate that holds back everything after the first
    /// `blocks` blocks. Returns when these are written, and the client waits for more.
    #[track_caller]
    pub(crate) fn begin(&self, gate: &Gate, blocks: u64, mut client: Command) -> Running {
        let client = Running::start(&mut client);
        gate.wait_until_reached();
        self.wait_for_blocks(blocks);
        client
    }

    /// The same for a file with holes: the gate holds back everything after the first `offset`
    /// bytes. How many blocks answer for a hole depends on the requests at the time of the first.
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

    /// Demands that only the first stream asked for anything before `offset`, where the bytes that
    /// it brought end. What else the first stream asked for does not matter: that is as much as a
    /// round trip carries, and depends on the machine.
    #[track_caller]
    pub(crate) fn was_gone_on_from(&self, offset: u64) {
        for piece in self.relay.asked() {
            assert!(piece.stream == 0 || piece.offset >= offset, "{piece:?} before {offset}");
        }
    }
}

/// Waits until the journal of this path vouches for so many blocks, written or holes.
#[track_caller]
pub(crate) fn wait_for_blocks(journal: &std::path::Path, count: u64) {
    wait_until("so many blocks", || {
        let journal = fs::read(journal).ok()?;
        (vouched(&journal)?.len() as u64 >= count).then_some(())
    });
}

/// The ranges that a journal vouches for, written or holes. `None` if the bytes are no journal. How
/// many of the records are `durable` depends on the time that the run took.
pub(crate) fn vouched(journal: &[u8]) -> Option<Vec<Range<u64>>> {
    let (start, header) = JournalHeader::parse(journal)?;
    let records = journal[start..].chunks_exact(RECORD_SIZE);
    let range = |record: &[u8]| match Record::parse(record.try_into().unwrap(), header.salt)? {
        Record::Written { range, .. } | Record::Hole { range } => Some(range),
        _ => None,
    };
    Some(records.filter_map(range).collect())
}

/// Leaves at `output` what a killed run leaves after it has received `bytes`, of a file that is on
/// no server any more.
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

/// The sum of the lengths of these ranges.
pub(crate) fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// The number before `what` in a summary, or 0 without such words.
#[track_caller]
pub(crate) fn count(said: &str, what: [&str; 2]) -> u64 {
    let mut parts = said.trim_end().split(", ");
    let part = parts.find_map(|part| what.iter().find_map(|what| part.strip_suffix(what)));
    part.map_or(0, |number| number.trim().parse().expect(said))
}

/// How many bytes the summary calls late. It has three digits.
pub(crate) fn late(said: &str) -> f64 {
    let Some((before, _)) = said.split_once(LATE) else { return 0.0 };
    let amount = before.rsplit(", ").next().unwrap();
    let (number, unit) = amount.split_once(' ').expect(said);
    let exponent = ["bytes", "KiB", "MiB", "GiB"].iter().position(|own| *own == unit).expect(said);
    number.parse::<f64>().expect(said) * f64::powi(1024.0, exponent as i32)
}

/// Numbers that look random and are the same in every run.
pub(crate) fn scatter(number: u64) -> u64 {
    let at = (number % 4096) as usize * 8;
    u64::from_le_bytes(content(at + 8)[at..].try_into().unwrap())
}

/// Flips one bit.
pub(crate) fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Holds back every thread that comes to it, until it is opened.
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
    /// Waits until the gate is open.
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

    /// Waits until a thread waits at the gate.
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

    /// Passes the first `blocks` blocks, and holds back the others.
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

    /// Passes the first `blocks` blocks. When the gate is opened, the first stream is cut there, as
    /// if the sender's machine went down. (What a dead process has sent would still come.)
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

    /// Passes the blocks that begin before `offset`, and holds back the others.
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
