//! Records what the streams of a transfer do. Many threads record, and one thread takes a slice
//! several times a second. So a recorder never holds more than one slice.

#![forbid(unsafe_code)]

use super::{Cell, Mark, Position, Slice};
use crate::sys::sync::lock;
use crate::transfer::link::Event;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Records the streams of one transfer.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    rows: Mutex<BTreeMap<u8, Row>>,
}

#[derive(Debug, Default)]
struct Row {
    cell: Cell,
    open: bool,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { begun: Instant::now(), rows: Mutex::default() }
    }
}

impl Recorder {
    /// Stream `number` is connected.
    pub fn opened(&self, number: usize) {
        self.at(number, |row| (row.open, row.cell.open) = (true, true));
    }

    /// Stream `number` is not connected any more.
    pub fn closed(&self, number: usize) {
        self.at(number, |row| row.open = false);
    }

    /// The transfer needs no stream any more. Forgets what was not taken.
    pub fn end(&self) {
        for row in lock(&self.rows).values_mut() {
            *row = Row::default();
        }
    }

    /// Stream `number` has brought `bytes` more.
    pub fn brought(&self, number: usize, bytes: u64) {
        self.at(number, |row| row.cell.bytes += bytes);
    }

    /// `mark` has happened to stream `number`.
    pub fn mark(&self, number: usize, mark: Mark) {
        self.at(number, |row| row.cell.mark(mark));
    }

    /// `event` has happened to stream `number`.
    pub fn notice(&self, number: usize, event: Event) {
        match event {
            Event::Opened => self.opened(number),
            Event::Closed => self.closed(number),
            Event::Reopened => self.mark(number, Mark::Reopened),
            Event::Broken => self.mark(number, Mark::Broken),
            Event::Stalled => self.mark(number, Mark::Stalled),
        }
    }

    /// Takes what was recorded since the last call. The transfer is at `position`.
    pub fn take(&self, position: Position) -> Slice {
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut cells = Vec::new();
        for (number, row) in lock(&self.rows).iter_mut() {
            let next = Cell { open: row.open, ..Cell::default() };
            let cell = std::mem::replace(&mut row.cell, next);
            if cell != Cell::default() {
                cells.push((*number, cell));
            }
        }
        Slice { at, position, cells }
    }

    fn at(&self, number: usize, change: impl FnOnce(&mut Row)) {
        if let Ok(number) = u8::try_from(number) {
            change(lock(&self.rows).entry(number).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_taken_once() {
        let recorder = Recorder::default();
        recorder.opened(3);
        recorder.brought(3, 10);
        recorder.mark(3, Mark::Damaged);
        let cells = recorder.take(Position::default()).cells;
        let mut expected = Cell { bytes: 10, open: true, ..Cell::default() };
        expected.mark(Mark::Damaged);
        assert_eq!(cells, [(3, expected)]);
        recorder.closed(3);
        let cells = recorder.take(Position::default()).cells;
        assert_eq!(cells, [(3, Cell { open: true, ..Cell::default() })]);
        assert_eq!(recorder.take(Position::default()).cells, []);
        recorder.opened(3);
        recorder.end();
        assert_eq!(recorder.take(Position::default()).cells, []);
    }
}
