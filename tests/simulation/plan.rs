//! What happens in one simulated transfer: all of it follows from the seed.

use crate::network::{Course, Fault, Weather};
use crate::random::{Choices as _, Random};
use ropewalk::codec::message::verify::Verify;
use ropewalk::transfer::timing::Timing;
use std::time::Duration;

/// How the waits of the engine are divided.
const DIVISOR: u32 = 200;

/// Where the sink puts the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a part file with a journal.
    Kept { sync: bool },
    /// Out in order.
    Piped,
}

/// What ends a phase before the file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The process that dials is killed when so many bytes were carried.
    Dialler(u64),
    /// The process that accepts is killed, and the parent gets another session.
    Acceptor(u64),
}

/// The plan of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The file: lengths of runs, bytes and holes in turn.
    pub(crate) runs: Vec<u64>,
    pub(crate) streams: u8,
    pub(crate) verify: Verify,
    pub(crate) place: Place,
    /// Whether the sink dials; else the source does.
    pub(crate) sink_dials: bool,
    /// Whether the acceptor listens; else streams are handed over.
    pub(crate) listens: bool,
    /// Bytes per second of the source.
    pub(crate) rate: Option<u64>,
    /// Once in so many streams a direction has a fault; never for 0.
    pub(crate) fault_once_in: u64,
    /// The kills, one after the other.
    pub(crate) kills: Vec<Kill>,
    /// Ranges of the part file that are damaged between two phases.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Where an older file differs, and its size, where there is one.
    pub(crate) older: Option<(Vec<(u64, u64)>, u64)>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        let mut random = Random::from_seed(seed);
        let runs = runs(&mut random);
        let size: u64 = runs.iter().sum();
        let place = match random.within(0..4) {
            0 => Place::Piped,
            1 => Place::Kept { sync: true },
            _ => Place::Kept { sync: false },
        };
        let kills = match place {
            Place::Piped => 0,
            Place::Kept { .. } => random.within(0..4),
        };
        let kill = |random: &mut Random| {
            let after = random.within(0..size.max(1) + 1);
            if random.once_in(2) { Kill::Dialler(after) } else { Kill::Acceptor(after) }
        };
        let spot = |random: &mut Random| {
            let start = random.within(0..size.max(1));
            (start, start + random.within(1..70_000))
        };
        Plan {
            seed,
            streams: random.pick(&[1, 1, 2, 3, 4, 8, 12]),
            verify: random.pick(&[Verify::Md5, Verify::Crc32c, Verify::None]),
            place,
            sink_dials: random.once_in(2),
            listens: random.once_in(4),
            rate: random.once_in(8).then(|| random.within(2_000_000..20_000_000)),
            fault_once_in: random.pick(&[0, 2, 3, 6]),
            kills: (0..kills).map(|_| kill(&mut random)).collect(),
            damage: (0..random.within(0..3)).map(|_| spot(&mut random)).collect(),
            older: random.once_in(2).then(|| {
                let changed = (0..random.within(0..4)).map(|_| spot(&mut random)).collect();
                (changed, random.pick(&[size, size, size / 2, size + 100_000]))
            }),
            runs,
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing::default().divided(DIVISOR)
    }

    /// The faults of the network. Their number is bounded, so that every run has an end.
    pub(crate) fn weather(&self) -> Storm {
        Storm {
            size: self.runs.iter().sum(),
            once_in: self.fault_once_in,
            left: 12,
            flips: self.verify != Verify::None,
        }
    }
}

/// Lengths of bytes and holes in turn: small files, sizes about a block, large ones.
fn runs(random: &mut Random) -> Vec<u64> {
    const BLOCK: u64 = 128 << 10;
    let first = match random.within(0..8) {
        0 => random.within(0..3),
        1 => BLOCK * random.within(1..5) + random.within(0..3) - 1,
        2 | 3 => random.within(1..BLOCK),
        _ => random.within(1..3_000_000),
    };
    let mut runs = vec![first];
    if random.once_in(3) {
        for _ in 0..random.within(1..5) {
            runs.push(random.within(1..2_000_000));
            runs.push(random.within(0..300_000));
        }
    }
    runs
}

/// Faults once in so many streams.
pub(crate) struct Storm {
    size: u64,
    once_in: u64,
    left: u32,
    /// Whether a flipped bit is noticed by the engine.
    flips: bool,
}

impl Storm {
    /// Faults at any byte of so many, once in so many streams.
    pub(crate) fn of(size: u64, once_in: u64) -> Storm {
        Storm { size, once_in, left: 12, flips: true }
    }
}

impl Weather for Storm {
    fn courses(&mut self, random: &mut Random) -> [Course; 2] {
        [0, 1].map(|direction| {
            let piece = random.pick(&[1 << 16, 1 << 16, 1 << 16, 5000, 700]);
            let delay = match random.within(0..10) {
                0 => Duration::from_micros(random.within(1..500)),
                _ => Duration::ZERO,
            };
            let comes = self.once_in > 0 && self.left > 0 && random.once_in(self.once_in);
            let fault = comes.then(|| {
                self.left -= 1;
                let most = if direction == 0 { 600 } else { self.size + 100 };
                (random.within(0..most), self.fault(random))
            });
            Course { piece, delay, fault }
        })
    }
}

impl Storm {
    fn fault(&self, random: &mut Random) -> Fault {
        match random.within(0..if self.flips { 7 } else { 4 }) {
            0 | 1 => Fault::Reset,
            2 => Fault::HalfClose,
            3 => Fault::Stall(Duration::from_millis(random.within(1..400))),
            4 => Fault::Drop,
            5 => Fault::Double,
            _ => Fault::Flip,
        }
    }
}
