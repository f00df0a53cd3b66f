//! Gathers what the streams of a transfer do until somebody takes it: many threads
//! record, one takes, several times a second. So it never holds more than one slice.

#![forbid(unsafe_code)]

use super::{Cell, Mark, Slice, Standing};
use crate::sys::sync::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Records the streams of one transfer.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    lanes: Mutex<BTreeMap<u8, Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    cell: Cell,
    open: bool,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { begun: Instant::now(), lanes: Mutex::default() }
    }
}

impl Recorder {
    /// Stream `number` is connected.
    pub fn opened(&self, number: usize) {
        self.at(number, |lane| (lane.open, lane.cell.open) = (true, true));
    }

    /// Stream `number` is not connected any more.
    pub fn closed(&self, number: usize) {
        self.at(number, |lane| lane.open = false);
    }

    /// No stream is needed any more.
    pub fn end(&self) {
        for lane in lock(&self.lanes).values_mut() {
            *lane = Lane::default();
        }
    }

    /// Stream `number` has brought so many bytes.
    pub fn brought(&self, number: usize, bytes: u64) {
        self.at(number, |lane| lane.cell.bytes += bytes);
    }

    /// This has befallen stream `number`.
    pub fn mark(&self, number: usize, mark: Mark) {
        self.at(number, |lane| lane.cell.mark(mark));
    }

    /// What was recorded since the last call.
    pub fn take(&self, standing: Standing) -> Slice {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut cells = Vec::new();
        for (number, lane) in lock(&self.lanes).iter_mut() {
            let next = Cell { open: lane.open, ..Cell::default() };
            let cell = std::mem::replace(&mut lane.cell, next);
            if cell != Cell::default() {
                cells.push((*number, cell));
            }
        }
        Slice { at, standing, cells }
    }

    fn at(&self, number: usize, change: impl FnOnce(&mut Lane)) {
        if let Ok(number) = u8::try_from(number) {
            change(lock(&self.lanes).entry(number).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let recorder = Recorder::default();
        recorder.opened(3);
        recorder.brought(3, 10);
        recorder.mark(3, Mark::Damaged);
        let cells = recorder.take(Standing::default()).cells;
        let mut expected = Cell { bytes: 10, open: true, ..Cell::default() };
        expected.mark(Mark::Damaged);
        assert_eq!(cells, [(3, expected)]);
        recorder.closed(3);
        let cells = recorder.take(Standing::default()).cells;
        assert_eq!(cells, [(3, Cell { open: true, ..Cell::default() })]);
        assert_eq!(recorder.take(Standing::default()).cells, []);
        recorder.opened(3);
        recorder.end();
        assert_eq!(recorder.take(Standing::default()).cells, []);
    }
}
