//! The classic protocol's sender: each stream says its number in one byte, and gets
//! that block of the file and then the end (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

use crate::places::Place;
use crate::streams::{Arrival, Ended, Limits, Pace, Protocol};
use ropewalk::app::report;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::lock;
use ropewalk::sys::{file, socket};
use ropewalk::transfer::blocks::BlockPlan;
use ropewalk::transfer::meter::Meter;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

/// How long a stream may take to say its number.
const NUMBER_TIME: Duration = Duration::from_secs(10);

/// Connections that may wait to say their number beside as many as there are streams.
const SPARE_STREAMS: usize = 16;

/// Bytes handed to the kernel at once; also how often progress is counted.
const SEND_SIZE: u64 = 1 << 20;

/// One transfer.
pub(crate) struct Classic {
    /// The file.
    pub(crate) file: File,
    /// Which bytes of it each stream gets.
    pub(crate) plan: BlockPlan,
    /// How many streams there are.
    pub(crate) threads: u8,
    /// The only address from which streams may come; any without one.
    pub(crate) peer: Option<IpAddr>,
    /// How long to wait.
    pub(crate) limits: Limits,
    /// How fast to send.
    pub(crate) pace: Pace,
    /// What was sent.
    pub(crate) meter: Meter,
    /// Which numbers were claimed, and how their streams ended.
    pub(crate) numbers: Mutex<Numbers>,
    /// Whether somebody reads reports.
    pub(crate) reports: bool,
}

/// The numbers of a transfer's streams.
pub(crate) struct Numbers {
    claimed: [bool; 256],
    finished: u8,
    failure: Option<Error>,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { claimed: [false; 256], finished: 0, failure: None }
    }
}

impl Protocol for Classic {
    fn room(&self) -> usize {
        usize::from(self.threads) + SPARE_STREAMS
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Whatever else ends a stream, a killed process too, breaks it off: the peer does
    /// not take that for its block's end.
    fn carry(&self, arrival: &Arrival, place: &Place) -> Ended {
        let stream = &*arrival.stream;
        let _ = socket::reset_on_close(stream.as_fd(), true);
        let Some(number) = self.claim(stream, place) else {
            let _ = socket::reset_on_close(stream.as_fd(), false);
            return Ended::Stranger;
        };
        let sent = {
            let _open = self.meter.open();
            self.send_block(stream, number)
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Without its block the transfer cannot succeed, and a dead peer must
                // not hold the others.
                let seconds = self.limits.stall.as_secs();
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
            let seconds = self.limits.idle.as_secs();
            let (finished, all) = (numbers.finished, self.threads);
            let text = format!("{finished} of {all} streams came, and no other for {seconds} s");
            Error::new(ExitCode::Network, text)
        })
    }

    fn report(&self) {
        if self.reports {
            report::Report::Progress(self.meter.read().into()).send();
        }
    }
}

impl Classic {
    /// Reads the stream's number. `None` for one that is out of range or was claimed
    /// before: only that stream is closed.
    fn claim(&self, mut stream: &TcpStream, place: &Place) -> Option<u8> {
        stream.set_read_timeout(Some(NUMBER_TIME)).ok()?;
        let mut number = [0];
        stream.read_exact(&mut number).ok()?;
        let [number] = number;
        if number >= self.threads {
            return None;
        }
        let mut numbers = lock(&self.numbers);
        let claimed = numbers.claimed.get_mut(usize::from(number))?;
        // One that was shown out claims nothing.
        let claims = !*claimed && place.join();
        *claimed |= claims;
        claims.then_some(number)
    }

    /// Sends the block, and waits until the peer has closed: it has all bytes then.
    fn send_block(&self, stream: &TcpStream, number: u8) -> io::Result<()> {
        let limit = Some(self.limits.stall);
        stream.set_write_timeout(limit)?;
        stream.set_read_timeout(limit)?;
        let block = self.plan.block(number);
        let mut offset = block.start;
        while offset < block.end {
            let count = self.pace.wait((block.end - offset).min(SEND_SIZE) as usize);
            match file::send_to_socket(stream.as_fd(), &self.file, offset, count)? {
                0 => return Err(io::Error::other("the file became shorter")),
                sent => {
                    offset += sent as u64;
                    self.meter.add(sent as u64, offset);
                }
            }
        }
        stream.shutdown(Shutdown::Write)?;
        // A peer that says more is not listened to, and not for long.
        match socket::read(stream, &mut [0]) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => socket::reset_on_close(stream.as_fd(), false),
        }
    }

    /// Counts a stream that had a number; the last one ends the transfer.
    fn finish(&self, sent: Result<()>) -> Ended {
        let mut numbers = lock(&self.numbers);
        numbers.finished += 1;
        if let Err(error) = sent {
            numbers.failure.get_or_insert(error);
        }
        match numbers.finished == self.threads {
            true => Ended::Transfer(numbers.failure.take().map_or(Ok(()), Err)),
            false => Ended::Stream,
        }
    }
}
