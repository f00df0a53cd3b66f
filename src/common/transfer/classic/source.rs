//! The source of the classic protocol. Each stream says its number in one byte. The source sends
//! that block of the file, and ends the stream (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

use crate::codec::message::report::Report;
use crate::error::{Error, ExitCode, Result};
use crate::sys::file;
use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use crate::transfer::classic::blocks::BlockPlan;
use crate::transfer::link::acceptor::{Acceptor, Arrival, Ended, Service};
use crate::transfer::link::admission::Admitted;
use crate::transfer::link::open::OpenStreams;
use crate::transfer::meter::{Meter, Reading};
use crate::transfer::queue::rate::{Rate, Throttle};
use crate::transfer::timing::Timing;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many more connections than streams may wait to say their number.
const SPARE_STREAMS: usize = 16;

/// Bytes handed to the kernel at once. Progress is counted after each such part.
const SEND_SIZE: u64 = 1 << 20;

/// A file that is sent in blocks, one for each stream.
pub struct ClassicSource {
    file: File,
    plan: BlockPlan,
    streams: u8,
    throttle: Throttle,
    timing: Timing,
    meter: Meter,
    /// The numbers that streams have claimed, and how these streams ended.
    numbers: Mutex<Numbers>,
    open: OpenStreams,
}

/// The numbers of a transfer's streams.
struct Numbers {
    claimed: [bool; 256],
    finished: u8,
    failure: Option<Error>,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { claimed: [false; 256], finished: 0, failure: None }
    }
}

impl Service for ClassicSource {
    fn room(&self) -> usize {
        usize::from(self.streams) + SPARE_STREAMS
    }

    /// An error, or a killed process, resets the stream. So the peer does not take that for the end
    /// of its block.
    fn serve(&self, arrival: &Arrival, admitted: &Admitted) -> Ended {
        let stream = &arrival.stream;
        stream.reset_on_close(true);
        let Some(number) = self.claim(stream, admitted) else {
            stream.reset_on_close(false);
            return Ended::Stranger;
        };
        let sent = {
            let _open = self.meter.open();
            self.send_block(stream, number)
        };
        self.open.remove(number.into());
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The transfer cannot succeed without this block. A dead peer must not keep the
                // other streams waiting.
                let seconds = self.timing.source_stall.as_secs();
                let text = format!("stream {number}: took no data for {seconds} s");
                Ended::Transfer(Err(Error::new(ExitCode::Network, text)))
            }
            sent => self
                .finish(sent.map_err(|error| Error::network(format!("stream {number}"), &error))),
        }
    }

    fn abandoned(&self) -> Error {
        let mut numbers = lock(&self.numbers);
        numbers.failure.take().unwrap_or_else(|| {
            let seconds = self.timing.idle.as_secs();
            let (finished, all) = (numbers.finished, self.streams);
            let text = format!("{finished} of {all} streams came, and no other for {seconds} s");
            Error::new(ExitCode::Network, text)
        })
    }

    fn end(&self) {
        self.open.end(None);
        self.throttle.rate.iter().for_each(|rate| Rate::lift(rate));
    }
}

impl ClassicSource {
    /// A source that sends `file` in the blocks of `plan` over this many streams.
    pub fn new(
        file: File,
        plan: BlockPlan,
        streams: u8,
        throttle: Throttle,
        timing: Timing,
    ) -> ClassicSource {
        ClassicSource {
            file,
            plan,
            streams,
            throttle,
            timing,
            meter: Meter::default(),
            numbers: Mutex::default(),
            open: OpenStreams::default(),
        }
    }

    /// Sends to the streams that come to `acceptor`.
    ///
    /// # Errors
    /// A stream failed, or did not come.
    pub fn accept(&self, acceptor: Acceptor, mut report: impl FnMut(Report)) -> Result<Reading> {
        let tell = &mut || report(Report::Progress(self.meter.read().into()));
        acceptor.serve(self, tell)?;
        Ok(self.meter.read())
    }

    /// Reads the stream's number. `None` if the number is too high or was claimed before. Then only
    /// this stream is closed.
    fn claim(&self, stream: &Arc<Stream>, admitted: &Admitted) -> Option<u8> {
        let mut number = [0];
        let deadline = Instant::now() + self.timing.hello;
        let count = stream.read_by(&mut number, deadline).ok()?;
        let [number] = number;
        if count == 0 || number >= self.streams {
            return None;
        }
        let mut numbers = lock(&self.numbers);
        let claimed = numbers.claimed.get_mut(usize::from(number))?;
        // A stream that was shut as a stranger claims no number.
        let claims = !*claimed && admitted.join() && self.open.add(number.into(), stream);
        *claimed |= claims;
        claims.then_some(number)
    }

    /// Sends the block, and waits until the peer has closed the stream: it has all bytes then.
    fn send_block(&self, stream: &Stream, number: u8) -> io::Result<()> {
        let limit = Some(self.timing.source_stall);
        stream.set_write_timeout(limit)?;
        stream.set_read_timeout(limit)?;
        let block = self.plan.block(number);
        let mut offset = block.start;
        while offset < block.end {
            let count = self.throttle.wait((block.end - offset).min(SEND_SIZE) as usize);
            match file::send_to_socket(stream.as_fd(), &self.file, offset, count)? {
                0 => return Err(io::Error::other("the file became shorter")),
                sent => {
                    offset += sent as u64;
                    self.meter.add(sent as u64, offset);
                }
            }
        }
        stream.shut(Shutdown::Write);
        // The source ignores what the peer says now, and waits no longer than the limit.
        match stream.read(&mut [0]) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => {
                stream.reset_on_close(false);
                Ok(())
            }
        }
    }

    /// Counts a stream that had a number. The last stream ends the transfer.
    fn finish(&self, sent: Result<()>) -> Ended {
        let mut numbers = lock(&self.numbers);
        numbers.finished += 1;
        if let Err(error) = sent {
            numbers.failure.get_or_insert(error);
        }
        match numbers.finished == self.streams {
            true => Ended::Transfer(numbers.failure.take().map_or(Ok(()), Err)),
            false => Ended::Stream,
        }
    }
}
