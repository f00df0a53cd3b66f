//! A slice of a trace in a report. With 255 streams it takes at most 16 KiB.
//!
//! ```text
//! "at":1200,"prefix":4096,"hashed":1024,"files":7,"rows":[[STREAM,BYTES,OPEN,MARKS...],...]
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;

/// How many numbers of a row come before its marks.
const FIXED: usize = 3;

/// What can happen to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Its connection broke.
    Broken,
    /// It brought nothing for so long that the receiver gave it up.
    Stalled,
    /// It was connected again.
    Reopened,
    /// It brought a block whose checksum differs.
    Damaged,
    /// It was asked for a range that another stream was late with.
    Again,
}

impl Mark {
    /// All of them, in the order of [`Cell::marks`].
    pub const ALL: [Mark; 5] =
        [Mark::Broken, Mark::Stalled, Mark::Reopened, Mark::Damaged, Mark::Again];
}

/// What one stream did in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Bytes that it brought.
    pub bytes: u64,
    /// Whether it was connected at any time.
    pub open: bool,
    /// How often each of [`Mark::ALL`] befell it.
    pub marks: [u16; Mark::ALL.len()],
}

impl Cell {
    /// Counts one more `mark`.
    pub fn mark(&mut self, mark: Mark) {
        let count = &mut self.marks[mark as usize];
        *count = count.saturating_add(1);
    }

    /// How many of this `mark` there are.
    pub fn count(&self, mark: Mark) -> u16 {
        self.marks[mark as usize]
    }
}

/// How far a transfer was at the end of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes from the start of the file without a gap; of a folder, all that are written.
    pub prefix: u64,
    /// How many of them are in the MD5, if there is one.
    pub hashed: Option<u64>,
    /// Of a folder, files that are done.
    pub files: Option<u64>,
}

/// What happened in one interval, which begins where the last slice ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// When it ends, in milliseconds from the start.
    pub at: u64,
    /// How far the transfer was then.
    pub position: Position,
    /// The streams that did anything, by their numbers.
    pub cells: Vec<(u8, Cell)>,
}

impl Slice {
    /// The members of a report with this slice.
    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let Position { prefix, hashed, files } = self.position;
        let mut members =
            vec![("at", Value::from_u64(self.at)), ("prefix", Value::from_u64(prefix))];
        for (key, number) in [("hashed", hashed), ("files", files)] {
            members.extend(number.map(|number| (key, Value::from_u64(number))));
        }
        let rows = self.cells.iter().map(|(stream, cell)| {
            let mut row = vec![u64::from(*stream), cell.bytes, cell.open.into()];
            row.extend(cell.marks.map(u64::from));
            while row.len() > FIXED && row.last() == Some(&0) {
                row.pop();
            }
            Value::Array(row.into_iter().map(Value::from_u64).collect())
        });
        members.push(("rows", Value::Array(rows.collect())));
        members
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Slice> {
        let position = Position {
            prefix: fields.number("prefix")?,
            hashed: fields.number_if_any("hashed")?,
            files: fields.number_if_any("files")?,
        };
        let cells = fields.array("rows")?.iter().map(row).collect::<Option<_>>();
        let cells = cells.ok_or_else(|| fields.invalid("rows"))?;
        Ok(Slice { at: fields.number("at")?, position, cells })
    }
}

/// The number of a stream and its cell; `None` for an invalid row.
fn row(row: &Value) -> Option<(u8, Cell)> {
    let numbers = row.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?;
    let (&[stream, bytes, open], marks) = numbers.split_first_chunk::<FIXED>()?;
    let mut cell = Cell { bytes, open: open == 1, ..Cell::default() };
    for (mark, count) in cell.marks.iter_mut().zip(marks) {
        *mark = u16::try_from(*count).ok()?;
    }
    Some((u8::try_from(stream).ok()?, cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message::report::Report;

    #[test]
    fn each_mark_is_counted_by_itself_up_to_the_most() {
        for mark in Mark::ALL {
            let mut cell = Cell::default();
            cell.mark(mark);
            cell.mark(mark);
            for other in Mark::ALL {
                assert_eq!(cell.count(other), if other == mark { 2 } else { 0 });
            }
            cell.marks = [u16::MAX; Mark::ALL.len()];
            cell.mark(mark);
            assert_eq!(cell.count(mark), u16::MAX);
        }
    }

    #[test]
    fn a_row_without_a_mark_keeps_its_three_numbers() {
        for open in [false, true] {
            let cell = Cell { bytes: 7, open, ..Cell::default() };
            let slice = Slice { at: 1, cells: vec![(0, cell)], ..Slice::default() };
            let json = Report::Trace(slice.clone()).to_json();
            assert!(json.to_string().ends_with(if open { "[[0,7,1]]}" } else { "[[0,7,0]]}" }));
            assert_eq!(Report::from_json(&json).unwrap(), Report::Trace(slice));
        }
    }
}
