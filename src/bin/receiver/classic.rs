//! The classic protocol's receiver: each stream says its number, and what then comes
//! is its block, to the end of the stream (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

mod piped;

pub(crate) use piped::Piped;

use ropewalk::app::SMALL_STACK;
use ropewalk::app::report::REPORT_INTERVAL;
use ropewalk::app::resolve::{advise_zone, connect_any};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::socket;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::meter::{Meter, Reading};
use ropewalk::transfer::rate::Rate;
use ropewalk::transfer::trace::{Mark, Recorder};
use std::fs::File;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// How long a refused connection is tried again: a classic server answers a moment
/// before its sender listens.
const REFUSED_TIME: Duration = Duration::from_secs(5);

/// Between two such attempts.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// How long one attempt to connect may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a stream may bring nothing.
const STALL_TIME: Duration = Duration::from_secs(60);

/// Bytes read at once by each stream.
const BUFFER: usize = 64 << 10;

/// Receives stream `n` into file `n`, each from offset 0, and calls `progress` while
/// they are under way. `shown` names the output in errors. Reads no faster than `rate`.
/// What each stream does goes to `recorder`.
pub(crate) fn receive(
    addresses: &[SocketAddr],
    files: &[File],
    shown: &str,
    rate: Option<&Rate>,
    recorder: Option<&Recorder>,
    mut progress: impl FnMut(Reading),
) -> Result<Reading> {
    let meter = Meter::default();
    // The first stream finds out which address answers; the others go there too.
    let (first, address) = connect(addresses)?;
    let stop = Stop::default();
    thread::scope(|scope| {
        let (ends, inbox) = mpsc::channel();
        let mut first = Some(first);
        let run = || {
            for (number, file) in (0..=u8::MAX).zip(files) {
                let rate = rate.map(|rate| (rate, files.len() as u64));
                let (meter, stop) = (&meter, &stop);
                let stream = Stream { number, file, shown, address, rate, recorder, meter, stop };
                start(scope, stream, first.take(), ends.clone())?;
            }
            drop(ends); // so that the death of those who have it is heard of
            let mut open = files.len();
            while open > 0 {
                match inbox.recv_timeout(REPORT_INTERVAL) {
                    Ok(ended) => {
                        ended?;
                        open -= 1;
                    }
                    Err(RecvTimeoutError::Timeout) => progress(meter.read()),
                    Err(RecvTimeoutError::Disconnected) => {
                        let text = "internal error: a stream's thread died";
                        return Err(Error::new(ExitCode::System, text));
                    }
                }
            }
            Ok(meter.read())
        };
        let outcome = run();
        if outcome.is_err() {
            stop.now();
        }
        outcome
    })
}

/// Connects to the first address that answers; refusals are tried again for a while.
fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr)> {
    let begun = Instant::now();
    loop {
        match connect_any(addresses, CONNECT_TIME) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && begun.elapsed() < REFUSED_TIME =>
            {
                thread::sleep(REFUSED_PAUSE);
            }
            done => {
                let shown = addresses.first().map(ToString::to_string).unwrap_or_default();
                return done.map_err(|cause| {
                    advise_zone(Error::network(shown, &cause), &cause, addresses)
                });
            }
        }
    }
}

/// Ends all streams when one has failed.
#[derive(Default)]
struct Stop {
    state: Mutex<(bool, Vec<Weak<TcpStream>>)>,
}

impl Stop {
    /// Has `stream` ended too when it comes to that.
    fn watch(&self, stream: &Arc<TcpStream>) -> io::Result<()> {
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
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What a stream that is of no more use means for the transfer.
fn lost(number: u8, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::new(
            ExitCode::Network,
            format!("stream {number}: no data came for {} s", STALL_TIME.as_secs()),
        ),
        _ => Error::network(format!("stream {number}"), error),
    }
}

/// One stream and where its bytes go.
struct Stream<'a> {
    number: u8,
    file: &'a File,
    shown: &'a str,
    address: SocketAddr,
    /// The limit, and how many streams share it.
    rate: Option<(&'a Rate, u64)>,
    recorder: Option<&'a Recorder>,
    meter: &'a Meter,
    stop: &'a Stop,
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stream: Stream<'scope>,
    connected: Option<TcpStream>,
    ends: mpsc::Sender<Result<()>>,
) -> Result<()> {
    thread::Builder::new()
        .name("stream".into())
        .stack_size(SMALL_STACK)
        .spawn_scoped(scope, move || {
            let outcome = stream.receive(connected);
            stream.record(|to, number| {
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

impl Stream<'_> {
    fn record(&self, record: impl FnOnce(&Recorder, usize)) {
        if let Some(recorder) = self.recorder {
            record(recorder, self.number.into());
        }
    }

    fn receive(&self, connected: Option<TcpStream>) -> Result<()> {
        let stream = Arc::new(match connected {
            Some(stream) => stream,
            None => connect(&[self.address])?.0,
        });
        let failed = |error| lost(self.number, &error);
        self.stop.watch(&stream).map_err(failed)?;
        let _open = self.meter.open();
        self.record(|to, number| to.opened(number));
        stream.set_read_timeout(Some(STALL_TIME)).map_err(failed)?;
        stream.as_ref().write_all(&[self.number]).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        let mut offset = 0;
        loop {
            let most =
                self.rate.map_or(BUFFER as u64, |(rate, all)| rate.portion(BUFFER as u64, all));
            match socket::read(&stream, &mut buffer[..most as usize]) {
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
