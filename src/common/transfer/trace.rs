//! What happened in a transfer, as a picture of it needs it: what each stream brought in
//! each stretch of time, and what befell it. However long a transfer takes, no more than
//! [`MAX_COLUMNS`] stretches are kept: when there would be more, two become one.

#![forbid(unsafe_code)]

mod recorder;

pub use crate::codec::message::slice::{Cell, Mark, Slice, Standing};
pub use recorder::Recorder;

/// The most stretches of time, which bounds the memory: 3 MiB with 255 streams.
pub const MAX_COLUMNS: usize = 480;

/// Milliseconds of a stretch at first.
const FIRST_WIDTH: u64 = 100;

impl Cell {
    fn join(&mut self, other: &Cell) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.open |= other.open;
        for (mark, more) in self.marks.iter_mut().zip(other.marks) {
            *mark = mark.saturating_add(more);
        }
    }
}

impl Standing {
    /// What it was on the way to `other`, when `done` of `whole` was gone by.
    fn towards(&self, other: &Standing, (done, whole): (u64, u64)) -> Standing {
        let part = |from: u64, to: u64| {
            let more = u128::from(to.saturating_sub(from)) * u128::from(done);
            from + (more / u128::from(whole.max(1))) as u64
        };
        Standing {
            prefix: part(self.prefix, other.prefix),
            hashed: other.hashed.map(|to| part(self.hashed.unwrap_or(0), to)),
        }
    }
}

/// A transfer, stretch by stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    width: u64,
    /// Where the last slice ended, in milliseconds.
    end: u64,
    standings: Vec<Standing>,
    /// The streams, by their numbers; a cell for each stretch up to the last one in which
    /// there was anything to say.
    lanes: Vec<Vec<Cell>>,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { width: FIRST_WIDTH, end: 0, standings: Vec::new(), lanes: Vec::new() }
    }
}

impl Trace {
    /// Milliseconds of one stretch.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// When it ends, in milliseconds from the start.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many stretches there are.
    pub fn columns(&self) -> usize {
        self.standings.len()
    }

    /// How far the transfer was at the end of each stretch.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// How many streams there were.
    pub fn streams(&self) -> usize {
        self.lanes.len()
    }

    /// What `stream` did in each stretch; the rest of them are empty.
    pub fn lane(&self, stream: usize) -> &[Cell] {
        self.lanes.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Takes what has happened since the last call. What a stream brought and
    /// how far the transfer came is spread evenly over that time.
    pub fn add(&mut self, slice: &Slice) {
        let start = self.end;
        self.end = slice.at.max(start + 1);
        while self.end.div_ceil(self.width) > MAX_COLUMNS as u64 {
            self.coarsen();
        }
        let (first, last) = ((start / self.width) as usize, ((self.end - 1) / self.width) as usize);
        let before = self.standings.last().copied().unwrap_or_default();
        for column in self.standings.len()..last {
            let at = (column as u64 + 1).saturating_mul(self.width);
            let share = (at - start, self.end - start);
            self.standings.push(before.towards(&slice.standing, share));
        }
        self.standings.resize(last + 1, slice.standing);
        self.standings[last] = slice.standing;
        for (number, cell) in &slice.cells {
            let number = usize::from(*number);
            if self.lanes.len() <= number {
                self.lanes.resize(number + 1, Vec::new());
            }
            let lane = &mut self.lanes[number];
            lane.resize((last + 1).max(lane.len()), Cell::default());
            let mut given = 0;
            for (column, place) in lane.iter_mut().enumerate().take(last + 1).skip(first) {
                let until = self.end.min((column as u64 + 1).saturating_mul(self.width));
                let share = u128::from(until - start) * u128::from(cell.bytes);
                let share = (share / u128::from(self.end - start)) as u64;
                let marks = if column == last { cell.marks } else { Default::default() };
                place.join(&Cell { bytes: share - given, open: cell.open, marks });
                given = share;
            }
        }
    }

    /// Makes two stretches one, all along.
    pub fn coarsen(&mut self) {
        self.width *= 2;
        self.standings = self.standings.chunks(2).filter_map(|two| two.last().copied()).collect();
        for lane in &mut self.lanes {
            let pair = |two: &[Cell]| {
                let mut one = Cell::default();
                two.iter().for_each(|cell| one.join(cell));
                one
            };
            *lane = lane.chunks(2).map(pair).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(at: u64, cells: &[(u8, u64)]) -> Slice {
        let cell = |bytes| Cell { bytes, open: true, ..Cell::default() };
        Slice {
            at,
            standing: Standing { prefix: at, hashed: None },
            cells: cells.iter().map(|(number, bytes)| (*number, cell(*bytes))).collect(),
        }
    }

    fn bytes(trace: &Trace, stream: usize) -> Vec<u64> {
        trace.lane(stream).iter().map(|cell| cell.bytes).collect()
    }

    #[test]
    fn a_slice_is_spread_over_the_time_that_it_took() {
        let mut trace = Trace::default();
        trace.add(&slice(50, &[(0, 10)]));
        trace.add(&slice(250, &[(0, 200), (2, 100)]));
        assert_eq!(bytes(&trace, 0), [60, 100, 50]);
        assert_eq!(bytes(&trace, 1), []);
        assert_eq!(bytes(&trace, 2), [25, 50, 25]);
        assert_eq!((trace.columns(), trace.streams(), trace.end()), (3, 3, 250));
    }

    #[test]
    fn a_mark_stands_where_its_slice_ends() {
        let mut trace = Trace::default();
        let mut cell = Cell::default();
        cell.mark(Mark::Broken);
        trace.add(&Slice { at: 300, cells: vec![(0, cell)], ..Slice::default() });
        let broken: Vec<u16> = trace.lane(0).iter().map(|cell| cell.count(Mark::Broken)).collect();
        assert_eq!(broken, [0, 0, 1]);
    }

    #[test]
    fn a_day_takes_no_more_memory_than_a_minute_and_loses_no_byte() {
        let mut trace = Trace::default();
        // Miri takes a thousand times as long for a step.
        let step = if cfg!(miri) { 600 } else { 1 };
        for second in (step..=86_400).step_by(step as usize) {
            trace.add(&slice(second * 1000, &[(254, 1001)]));
            assert!(trace.columns() <= MAX_COLUMNS);
            assert!(trace.lane(254).len() <= trace.columns());
        }
        assert_eq!(bytes(&trace, 254).iter().sum::<u64>(), 86_400 / step * 1001);
        assert!(trace.columns() > MAX_COLUMNS / 2 && trace.end() == 86_400_000);
    }

    #[test]
    fn time_that_goes_back_harms_nothing() {
        let mut trace = Trace::default();
        trace.add(&slice(500, &[(0, 1)]));
        trace.add(&slice(100, &[(0, 1)]));
        assert_eq!(trace.end(), 501);
        assert_eq!(bytes(&trace, 0).iter().sum::<u64>(), 2);
    }

    #[test]
    fn between_two_slices_a_transfer_goes_on_evenly() {
        let mut trace = Trace::default();
        let standing = |prefix, hashed| Standing { prefix, hashed: Some(hashed) };
        trace.add(&Slice { at: 100, standing: standing(1000, 0), ..Slice::default() });
        trace.add(&Slice { at: 500, standing: standing(1000, 400), ..Slice::default() });
        let hashed: Vec<_> = trace.standings().iter().filter_map(|at| at.hashed).collect();
        assert_eq!(hashed, [0, 100, 200, 300, 400]);
    }

    #[test]
    fn a_standing_is_the_last_of_its_stretch() {
        let mut trace = Trace::default();
        trace.add(&slice(30, &[]));
        trace.add(&slice(90, &[]));
        trace.add(&slice(110, &[]));
        let prefixes: Vec<u64> = trace.standings().iter().map(|standing| standing.prefix).collect();
        assert_eq!(prefixes, [90, 110]);
        trace.coarsen();
        assert_eq!(trace.standings().last().map(|standing| standing.prefix), Some(110));
    }

    #[test]
    fn a_stream_that_was_open_for_a_part_of_a_stretch_was_open_in_it() {
        let mut trace = Trace::default();
        for (at, open) in [(20, false), (40, true), (60, false)] {
            let cell = Cell { open, ..Cell::default() };
            trace.add(&Slice { at, cells: vec![(0, cell)], ..Slice::default() });
        }
        assert!(trace.lane(0)[0].open);
    }

    #[test]
    fn stretches_get_twice_as_long_when_there_would_be_more_than_the_most() {
        let mut trace = Trace::default();
        let most = MAX_COLUMNS as u64 * FIRST_WIDTH;
        trace.add(&slice(most, &[(0, 1)]));
        assert_eq!((trace.width(), trace.columns()), (FIRST_WIDTH, MAX_COLUMNS));
        trace.add(&slice(most + 1, &[(0, 1)]));
        assert_eq!((trace.width(), trace.columns()), (2 * FIRST_WIDTH, MAX_COLUMNS / 2 + 1));
        trace.add(&slice(5 * most, &[(0, 1)])); // in one step over several widths
        assert_eq!(trace.width(), 8 * FIRST_WIDTH);
        assert_eq!(trace.columns(), MAX_COLUMNS * 5 / 8);
    }
}
