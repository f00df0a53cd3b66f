//! A classic transfer to a pipe, which needs the bytes in order. So each stream is opened when the
//! stream before it has ended. Parallel streams would have to wait for the first, and a server may
//! give up a stream that takes nothing.

#![forbid(unsafe_code)]

use super::connect::{connect, lost};
use super::sink::BUFFER;
use crate::codec::message::report::{Mended, Report, Tally};
use crate::error::{Error, Result};
use crate::hash::{Md5, hex};
use crate::sys::thread;
use crate::transfer::meter::Meter;
use crate::transfer::queue::rate::Rate;
use crate::transfer::store::pipe::Pipe;
use crate::transfer::timing::Timing;
use crate::transfer::trace::{Mark, Position, Recorder};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};

/// A classic transfer to a pipe.
pub struct Piped {
    /// The address of the sender's data port.
    pub address: SocketAddr,
    /// How many streams the sender expects.
    pub streams: u8,
    /// The output's name for error messages, escaped.
    pub shown: String,
    /// Bytes per second at most.
    pub rate: Option<Rate>,
    /// Records the streams; `None` if no report wants that.
    pub recorder: Option<Recorder>,
    /// The output.
    pub pipe: Pipe,
    /// The waits.
    pub timing: Timing,
}

impl Piped {
    /// Receives the whole file. Calls `report` while it does.
    pub fn receive(&self, mut report: impl FnMut(Report)) -> Result<Report> {
        let meter = &Meter::default();
        let mut tell = || {
            report(Report::Progress(meter.read().into()));
            let slice = self.recorder.as_ref().map(|it| it.take(Position::default()));
            slice.map(Report::Trace).map(&mut report);
        };
        std::thread::scope(|scope| {
            let (end, over) = mpsc::channel::<()>();
            let carry = thread::spawn_scoped(scope, "out", move || {
                let _end = end; // dropped at the end, also by a panic
                self.carry_all(meter)
            })
            .map_err(|error| Error::system("thread", &error))?;
            while over.recv_timeout(self.timing.report) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
            tell();
            carry.join().unwrap_or_else(|_| Err(Error::internal("a thread died")))
        })
    }

    fn carry_all(&self, meter: &Meter) -> Result<Report> {
        let (mut digest, mut buffer, mut bytes) = (Md5::new(), vec![0; BUFFER], 0);
        for number in 0..self.streams {
            let _open = meter.open();
            let carried = self.carry(number, &mut buffer, |piece| {
                self.pipe.write(piece).map_err(|error| Error::system(&self.shown, &error))?;
                digest.update(piece);
                bytes += piece.len() as u64;
                meter.add(piece.len() as u64, bytes);
                self.record(|to| to.brought(number.into(), piece.len() as u64));
                Ok(())
            });
            self.record(|to| {
                to.closed(number.into());
                if carried.is_err() {
                    to.mark(number.into(), Mark::Broken);
                }
            });
            carried?;
        }
        let tally = Tally { bytes, streams: 1, offset: bytes, ..Tally::default() };
        let md5 = Some(hex(&digest.finish()));
        Ok(Report::Done { tally, md5, mended: Mended::default() })
    }

    fn record(&self, record: impl FnOnce(&Recorder)) {
        if let Some(recorder) = &self.recorder {
            record(recorder);
        }
    }

    /// Calls `take` with each piece that stream `number` brings.
    fn carry(
        &self,
        number: u8,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let failed = |error| lost(number, &error, &self.timing);
        let (stream, _) = connect(&[self.address], &self.timing)?;
        self.record(|to| to.opened(number.into()));
        stream.set_read_timeout(Some(self.timing.classic_stall)).map_err(failed)?;
        stream.write_all(&[number]).map_err(failed)?;
        loop {
            let most = buffer.len() as u64;
            let most = self.rate.as_ref().map_or(most, |rate| rate.portion(most, 1));
            match stream.read(&mut buffer[..most as usize]).map_err(failed)? {
                0 => return Ok(()),
                count => {
                    if let Some(rate) = &self.rate {
                        rate.take(count as u64);
                    }
                    take(&buffer[..count])?;
                }
            }
        }
    }
}
