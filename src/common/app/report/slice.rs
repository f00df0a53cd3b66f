//! A slice of a trace in a report. With 255 streams it takes at most 16 KiB.
//!
//! ```text
//! "at":1200,"prefix":4096,"hashed":1024,"lanes":[[STREAM,BYTES,OPEN,MARKS...],...]
//! ```

#![forbid(unsafe_code)]

use crate::codec::json::Value;
use crate::transfer::trace::{Cell, Slice, Standing};

/// Numbers of a lane before its marks.
const FIXED: usize = 3;

/// The members of a report.
pub(super) fn members(slice: &Slice) -> Vec<(String, Value)> {
    let number = |key: &str, number| (key.to_string(), Value::from_u64(number));
    let mut members = vec![number("at", slice.at), number("prefix", slice.standing.prefix)];
    members.extend(slice.standing.hashed.map(|hashed| number("hashed", hashed)));
    let lanes = slice.cells.iter().map(|(stream, cell)| {
        let mut lane = vec![u64::from(*stream), cell.bytes, cell.open.into()];
        lane.extend(cell.marks.map(u64::from));
        while lane.len() > FIXED && lane.last() == Some(&0) {
            lane.pop();
        }
        Value::Array(lane.into_iter().map(Value::from_u64).collect())
    });
    members.push(("lanes".to_string(), Value::Array(lanes.collect())));
    members
}

/// The slice that a report holds; `None` where it holds none.
pub(super) fn parse(report: &Value) -> Option<Slice> {
    let number = |key| report.get(key).and_then(Value::as_u64);
    let standing = Standing { prefix: number("prefix")?, hashed: number("hashed") };
    let Value::Array(lanes) = report.get("lanes")? else { return None };
    let cells = lanes.iter().map(|lane| {
        let Value::Array(lane) = lane else { return None };
        let numbers = lane.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?;
        let (&[stream, bytes, open], marks) = numbers.split_first_chunk::<FIXED>()?;
        let mut cell = Cell { bytes, open: open == 1, ..Cell::default() };
        for (mark, count) in cell.marks.iter_mut().zip(marks) {
            *mark = u16::try_from(*count).ok()?;
        }
        Some((u8::try_from(stream).ok()?, cell))
    });
    Some(Slice { at: number("at")?, standing, cells: cells.collect::<Option<_>>()? })
}
