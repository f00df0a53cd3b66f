//! The sink of the classic protocol. Each stream sends its number, and receives its block until the
//! end of the stream (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

use super::connect::{connect, lost};
use crate::error::{Error, Result};
use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use crate::sys::thread;
use crate::transfer::meter::{Meter, Reading};
use crate::transfer::queue::rate::Rate;
use crate::transfer::timing::Timing;
use crate::transfer::trace::{Mark, Recorder};
use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, Weak};
use std::thread::Scope;

/// Bytes read at once by each stream.
pub(super) const BUFFER: usize = 64 << 10;

/// Receives stream `n` into file `n` from offset 0. Calls `progress` while streams are open.
/// `shown` names the output in errors. Reads no faster than `rate`. `recorder` records the streams.
pub fn receive(
    addresses: &[SocketAddr],
    files: &[File],
    shown: &str,
    rate: Option<&Rate>,
    recorder: Option<&Recorder>,
    timing: &Timing,
    mut progress: impl FnMut(Reading),
) -> Result<Reading> {
    let meter = Meter::default();
    // The first stream finds out which address answers. The other streams use that address.
    let (first, address) = connect(addresses, timing)?;
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (ends, inbox) = mpsc::channel();
        let mut first = Some(first);
        let run = || {
            for (number, file) in (0..=u8::MAX).zip(files) {
                let rate = rate.map(|rate| (rate, files.len() as u64));
                let (meter, stop) = (&meter, &stop);
                let block =
                    Block { number, file, shown, address, rate, recorder, timing, meter, stop };
                start(scope, block, first.take(), ends.clone())?;
            }
            drop(ends);
            let mut open = files.len();
            while open > 0 {
                match inbox.recv_timeout(timing.report) {
                    Ok(ended) => {
                        ended?;
                        open -= 1;
                    }
                    Err(RecvTimeoutError::Timeout) => progress(meter.read()),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Error::internal("nothing came of it"));
                    }
                }
            }
            Ok(meter.read())
        };
        let outcome = run();
        if outcome.is_err() {
            stop.now();
            rate.iter().for_each(|rate| rate.lift());
        }
        outcome
    })
}

/// Ends all streams when one stream has failed.
#[derive(Default)]
struct Stop {
    state: Mutex<(bool, Vec<Weak<Stream>>)>,
}

impl Stop {
    /// Adds `stream` to the streams that [`Stop::now`] ends.
    fn watch(&self, stream: &Arc<Stream>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        state.1.push(Arc::downgrade(stream));
        Ok(())
    }

    fn now(&self) {
        let mut state = lock(&self.state);
        state.0 = true;
        for stream in state.1.iter().filter_map(Weak::upgrade) {
            stream.shut(Shutdown::Both);
        }
    }
}

/// One stream and its file.
struct Block<'a> {
    number: u8,
    file: &'a File,
    shown: &'a str,
    address: SocketAddr,
    /// The limit, and how many streams share it.
    rate: Option<(&'a Rate, u64)>,
    recorder: Option<&'a Recorder>,
    timing: &'a Timing,
    meter: &'a Meter,
    stop: &'a Stop,
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    block: Block<'scope>,
    connected: Option<Stream>,
    ends: mpsc::Sender<Result<()>>,
) -> Result<()> {
    thread::spawn_scoped(scope, "stream", move || {
        let received = thread::contained(|| block.receive(connected));
        let outcome = received.unwrap_or_else(|| Err(Error::internal("a thread died")));
        block.record(|to, number| {
            to.closed(number);
            if outcome.is_err() {
                to.mark(number, Mark::Broken);
            }
        });
        let _ = ends.send(outcome);
    })
    .map_err(|error| Error::system("thread", &error))?;
    Ok(())
}

impl Block<'_> {
    fn record(&self, record: impl FnOnce(&Recorder, usize)) {
        if let Some(recorder) = self.recorder {
            record(recorder, self.number.into());
        }
    }

    fn receive(&self, connected: Option<Stream>) -> Result<()> {
        let stream = Arc::new(match connected {
            Some(stream) => stream,
            None => connect(&[self.address], self.timing)?.0,
        });
        let failed = |error| lost(self.number, &error, self.timing);
        self.stop.watch(&stream).map_err(failed)?;
        let _open = self.meter.open();
        self.record(|to, number| to.opened(number));
        stream.set_read_timeout(Some(self.timing.classic_stall)).map_err(failed)?;
        stream.write_all(&[self.number]).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        let mut offset = 0;
        loop {
            let most =
                self.rate.map_or(BUFFER as u64, |(rate, all)| rate.portion(BUFFER as u64, all));
            match stream.read(&mut buffer[..most as usize]) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    if let Some((rate, _)) = self.rate {
                        rate.take(count as u64);
                    }
                    self.file
                        .write_all_at(&buffer[..count], offset)
                        .map_err(|error| Error::system(self.shown, &error))?;
                    offset += count as u64;
                    self.meter.add(count as u64, offset);
                    self.record(|to, number| to.brought(number, count as u64));
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}
