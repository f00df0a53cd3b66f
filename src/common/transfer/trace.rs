//! The record of a transfer, as a picture needs it. Each stream has a row, and each stretch of time
//! a column. A cell says what the stream brought and what happened to it. However long a transfer
//! takes, there are at most [`MAX_COLUMNS`] columns: for more, two columns become one.

#![forbid(unsafe_code)]

mod recorder;

pub use crate::codec::message::slice::{Cell, Mark, Position, Slice};
pub use recorder::Recorder;

/// The most columns. This limits the memory to 3 MiB with 255 streams.
pub const MAX_COLUMNS: usize = 480;

/// The first width of a column, in milliseconds.
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

impl Position {
    /// The position on the way to `other`, after `done` of `whole` of the time.
    fn towards(&self, other: &Position, (done, whole): (u64, u64)) -> Position {
        let part = |from: u64, to: u64| {
            let more = u128::from(to.saturating_sub(from)) * u128::from(done);
            from + (more / u128::from(whole.max(1))) as u64
        };
        let part_if_any =
            |from: Option<u64>, to: Option<u64>| to.map(|to| part(from.unwrap_or(0), to));
        Position {
            prefix: part(self.prefix, other.prefix),
            hashed: part_if_any(self.hashed, other.hashed),
            files: part_if_any(self.files, other.files),
        }
    }
}

/// The record of a transfer, column by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Milliseconds of one column.
    width: u64,
    /// Where the last slice ended, in milliseconds.
    end: u64,
    positions: Vec<Position>,
    /// The rows of the streams, by their numbers. A row has a cell for each column, up to the last
    /// column in which something happened to the stream.
    rows: Vec<Vec<Cell>>,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { width: FIRST_WIDTH, end: 0, positions: Vec::new(), rows: Vec::new() }
    }
}

impl Trace {
    /// Milliseconds of one column.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The end of the last slice, in milliseconds from the start.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.positions.len()
    }

    /// The position at the end of each column.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// How many rows there are.
    pub fn streams(&self) -> usize {
        self.rows.len()
    }

    /// The row of `stream`. Columns behind the end of the row are empty.
    pub fn row(&self, stream: usize) -> &[Cell] {
        self.rows.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Adds what has happened since the last call. The bytes and the position are spread evenly
    /// over that time.
    pub fn add(&mut self, slice: &Slice) {
        let start = self.end;
        self.end = slice.at.max(start + 1);
        while self.end.div_ceil(self.width) > MAX_COLUMNS as u64 {
            self.coarsen();
        }
        let (first, last) = ((start / self.width) as usize, ((self.end - 1) / self.width) as usize);
        let before = self.positions.last().copied().unwrap_or_default();
        for column in self.positions.len()..last {
            let at = (column as u64 + 1).saturating_mul(self.width);
            let share = (at - start, self.end - start);
            self.positions.push(before.towards(&slice.position, share));
        }
        self.positions.resize(last + 1, slice.position);
        self.positions[last] = slice.position;
        for (number, cell) in &slice.cells {
            let number = usize::from(*number);
            if self.rows.len() <= number {
                self.rows.resize(number + 1, Vec::new());
            }
            let row = &mut self.rows[number];
            row.resize((last + 1).max(row.len()), Cell::default());
            let mut given = 0;
            for (column, place) in row.iter_mut().enumerate().take(last + 1).skip(first) {
                let until = self.end.min((column as u64 + 1).saturating_mul(self.width));
                let share = u128::from(until - start) * u128::from(cell.bytes);
                let share = (share / u128::from(self.end - start)) as u64;
                let marks = if column == last { cell.marks } else { Default::default() };
                place.join(&Cell { bytes: share - given, open: cell.open, marks });
                given = share;
            }
        }
    }

    /// Makes one column of each two.
    pub fn coarsen(&mut self) {
        self.width *= 2;
        self.positions = self.positions.chunks(2).filter_map(|two| two.last().copied()).collect();
        for row in &mut self.rows {
            let pair = |two: &[Cell]| {
                let mut one = Cell::default();
                two.iter().for_each(|cell| one.join(cell));
                one
            };
            *row = row.chunks(2).map(pair).collect();
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
            position: Position { prefix: at, ..Position::default() },
            cells: cells.iter().map(|(number, bytes)| (*number, cell(*bytes))).collect(),
        }
    }

    fn bytes(trace: &Trace, stream: usize) -> Vec<u64> {
        trace.row(stream).iter().map(|cell| cell.bytes).collect()
    }

    #[test]
    fn the_bytes_of_a_slice_are_spread_over_its_time() {
        let mut trace = Trace::default();
        trace.add(&slice(50, &[(0, 10)]));
        trace.add(&slice(250, &[(0, 200), (2, 100)]));
        assert_eq!(bytes(&trace, 0), [60, 100, 50]);
        assert_eq!(bytes(&trace, 1), []);
        assert_eq!(bytes(&trace, 2), [25, 50, 25]);
        assert_eq!((trace.columns(), trace.streams(), trace.end()), (3, 3, 250));
    }

    #[test]
    fn a_mark_is_in_the_column_in_which_its_slice_ends() {
        let mut trace = Trace::default();
        let mut cell = Cell::default();
        cell.mark(Mark::Broken);
        trace.add(&Slice { at: 300, cells: vec![(0, cell)], ..Slice::default() });
        let broken: Vec<u16> = trace.row(0).iter().map(|cell| cell.count(Mark::Broken)).collect();
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
            assert!(trace.row(254).len() <= trace.columns());
        }
        assert_eq!(bytes(&trace, 254).iter().sum::<u64>(), 86_400 / step * 1001);
        assert!(trace.columns() > MAX_COLUMNS / 2 && trace.end() == 86_400_000);
    }

    #[test]
    fn a_slice_with_an_earlier_time_loses_no_byte() {
        let mut trace = Trace::default();
        trace.add(&slice(500, &[(0, 1)]));
        trace.add(&slice(100, &[(0, 1)]));
        assert_eq!(trace.end(), 501);
        assert_eq!(bytes(&trace, 0).iter().sum::<u64>(), 2);
    }

    #[test]
    fn between_two_slices_the_position_moves_evenly() {
        let mut trace = Trace::default();
        let position =
            |prefix, hashed| Position { prefix, hashed: Some(hashed), files: Some(hashed) };
        trace.add(&Slice { at: 100, position: position(1000, 0), ..Slice::default() });
        trace.add(&Slice { at: 500, position: position(1000, 400), ..Slice::default() });
        let hashed: Vec<_> = trace.positions().iter().filter_map(|at| at.hashed).collect();
        assert_eq!(hashed, [0, 100, 200, 300, 400]);
    }

    #[test]
    fn the_position_of_a_column_is_its_last() {
        let mut trace = Trace::default();
        trace.add(&slice(30, &[]));
        trace.add(&slice(90, &[]));
        trace.add(&slice(110, &[]));
        let prefixes: Vec<u64> = trace.positions().iter().map(|position| position.prefix).collect();
        assert_eq!(prefixes, [90, 110]);
        trace.coarsen();
        assert_eq!(trace.positions().last().map(|position| position.prefix), Some(110));
    }

    #[test]
    fn a_stream_that_was_open_for_a_part_of_a_column_was_open_in_it() {
        let mut trace = Trace::default();
        for (at, open) in [(20, false), (40, true), (60, false)] {
            let cell = Cell { open, ..Cell::default() };
            trace.add(&Slice { at, cells: vec![(0, cell)], ..Slice::default() });
        }
        assert!(trace.row(0)[0].open);
    }

    #[test]
    fn columns_get_twice_as_wide_when_there_would_be_more_than_the_most() {
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
