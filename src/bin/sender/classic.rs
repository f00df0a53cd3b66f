//! The classic protocol's sender: each stream says its number in one byte, and gets
//! that block of the file and then the end (PROTOCOL.md, "Data").

#![forbid(unsafe_code)]

use ropewalk::app::SMALL_STACK;
use ropewalk::app::report::REPORT_INTERVAL;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::lock;
use ropewalk::sys::{file, socket};
use ropewalk::transfer::blocks::BlockPlan;
use ropewalk::transfer::meter::{Meter, Reading};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a stream may take to say its number.
const NUMBER_TIME: Duration = Duration::from_secs(10);

/// Streams that may be open beside those that the transfer has, so that strangers
/// and streams with a wrong number cannot make this process grow.
const SPARE_STREAMS: usize = 16;

/// Bytes handed to the kernel at once; also how often progress is counted.
const SEND_SIZE: u64 = 1 << 20;

/// How long nothing is accepted after the system ran out of descriptors.
const BACKOFF: Duration = Duration::from_millis(100);

/// How long the sender waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a stream while none is open.
    pub(crate) idle: Duration,
    /// For a stream to accept more data.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { idle: Duration::from_secs(30), stall: Duration::from_secs(60) }
    }
}

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
}

/// What the threads tell the main one.
enum Event {
    /// A connection was accepted.
    Arrived(TcpStream, SocketAddr),
    /// A stream's thread is at its end.
    Ended(Ended),
}

/// How a stream ended.
enum Ended {
    /// Its block was sent, and the peer has all of it.
    Sent,
    /// It broke before that; the other streams go on.
    Broken(Error),
    /// It took no data for too long, which ends the transfer: without its block that
    /// cannot succeed, and a dead peer must not hold the others.
    Stalled(Error),
    /// It never became part of the transfer.
    Stranger,
}

/// What the threads of the streams share.
struct Shared {
    transfer: Classic,
    meter: Meter,
    claimed: Mutex<[bool; 256]>,
}

impl Classic {
    /// Serves all streams, and calls `progress` while they are under way.
    ///
    /// # Errors
    /// When a stream broke or stalled, or when not all came in time.
    pub(crate) fn serve(
        self,
        listener: TcpListener,
        mut progress: impl FnMut(Reading),
    ) -> Result<Reading> {
        let (events, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            transfer: self,
            meter: Meter::default(),
            claimed: Mutex::new([false; 256]),
        });
        accept_for_ever(listener, events.clone())?;
        let transfer = &shared.transfer;
        let (mut open, mut finished, mut failure) = (0, 0, None);
        let mut idle_since = Instant::now();
        while finished < transfer.threads {
            let patience = match open {
                0 => transfer.limits.idle.saturating_sub(idle_since.elapsed()),
                _ => REPORT_INTERVAL,
            };
            match inbox.recv_timeout(patience) {
                Ok(Event::Arrived(stream, peer)) => {
                    let room = usize::from(transfer.threads) + SPARE_STREAMS;
                    if transfer.welcomes(peer) && open < room {
                        open += 1;
                        start(stream, &shared, &events);
                    }
                }
                Ok(Event::Ended(ended)) => {
                    open -= 1;
                    idle_since = Instant::now();
                    finished += u8::from(!matches!(ended, Ended::Stranger));
                    match ended {
                        Ended::Sent | Ended::Stranger => {}
                        Ended::Broken(error) => failure = failure.or(Some(error)),
                        Ended::Stalled(error) => return Err(error),
                    }
                }
                Err(RecvTimeoutError::Timeout) if open == 0 => {
                    return Err(failure.unwrap_or_else(|| transfer.nobody_came(finished)));
                }
                Err(_) => {}
            }
            if open > 0 {
                progress(shared.meter.read());
            }
        }
        failure.map_or_else(|| Ok(shared.meter.read()), Err)
    }

    fn welcomes(&self, peer: SocketAddr) -> bool {
        self.peer.is_none_or(|expected| expected == peer.ip().to_canonical())
    }

    fn nobody_came(&self, finished: u8) -> Error {
        let seconds = self.limits.idle.as_secs();
        let text =
            format!("{finished} of {} streams came, and no other for {seconds} s", self.threads);
        Error::new(ExitCode::Network, text)
    }
}

/// Accepts connections on a thread that ends with the process.
fn accept_for_ever(listener: TcpListener, events: mpsc::Sender<Event>) -> Result<()> {
    let accept = move || loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                if events.send(Event::Arrived(stream, peer)).is_err() {
                    return;
                }
            }
            Err(error) if socket::out_of_room(&error) => std::thread::sleep(BACKOFF),
            Err(_) => {} // that client went away again
        }
    };
    std::thread::Builder::new()
        .name("accept".into())
        .stack_size(SMALL_STACK)
        .spawn(accept)
        .map_err(|error| Error::system("thread", &error))?;
    Ok(())
}

/// Starts the thread of a stream. Where none can be had, the stream is closed, and its
/// guard tells so just the same.
fn start(stream: TcpStream, shared: &Arc<Shared>, events: &mpsc::Sender<Event>) {
    let (shared, guard) = (shared.clone(), EndGuard { events: events.clone(), ended: None });
    let thread = std::thread::Builder::new().name("stream".into()).stack_size(SMALL_STACK);
    let _ = thread.spawn(move || guard.end(shared.carry(&stream)));
}

/// Tells the main thread that a stream's thread is at its end, also when it panicked.
struct EndGuard {
    events: mpsc::Sender<Event>,
    ended: Option<Ended>,
}

impl EndGuard {
    fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let ended = self.ended.take().unwrap_or(Ended::Stranger);
        let _ = self.events.send(Event::Ended(ended));
    }
}

impl Shared {
    /// Serves one stream, from its number to its end. Whatever else ends it, a killed
    /// process too, breaks it off: the peer does not take that for its block's end.
    fn carry(&self, stream: &TcpStream) -> Ended {
        let _ = socket::reset_on_close(stream.as_fd(), true);
        let ended = self.carry_block(stream);
        if matches!(ended, Ended::Sent | Ended::Stranger) {
            let _ = socket::reset_on_close(stream.as_fd(), false);
        }
        ended
    }

    fn carry_block(&self, stream: &TcpStream) -> Ended {
        let Some(number) = self.claim(stream) else { return Ended::Stranger };
        let _open = self.meter.open();
        match self.send_block(stream, number) {
            Ok(()) => Ended::Sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let seconds = self.transfer.limits.stall.as_secs();
                let text = format!("stream {number}: took no data for {seconds} s");
                Ended::Stalled(Error::new(ExitCode::Network, text))
            }
            Err(error) => Ended::Broken(Error::network(format!("stream {number}"), &error)),
        }
    }

    /// Reads the stream's number. `None` for one that is out of range or was claimed
    /// before: only that stream is closed.
    fn claim(&self, mut stream: &TcpStream) -> Option<u8> {
        stream.set_read_timeout(Some(NUMBER_TIME)).ok()?;
        let mut number = [0];
        stream.read_exact(&mut number).ok()?;
        let [number] = number;
        if number >= self.transfer.threads {
            return None;
        }
        let mut claimed = lock(&self.claimed);
        let place = claimed.get_mut(usize::from(number))?;
        (!std::mem::replace(place, true)).then_some(number)
    }

    /// Sends the block, and waits until the peer has closed: it has all bytes then.
    fn send_block(&self, mut stream: &TcpStream, number: u8) -> io::Result<()> {
        let limit = Some(self.transfer.limits.stall);
        stream.set_write_timeout(limit)?;
        stream.set_read_timeout(limit)?;
        let block = self.transfer.plan.block(number);
        let mut offset = block.start;
        while offset < block.end {
            let count = (block.end - offset).min(SEND_SIZE) as usize;
            match file::send_to_socket(stream.as_fd(), &self.transfer.file, offset, count)? {
                0 => return Err(io::Error::other("the file became shorter")),
                sent => {
                    offset += sent as u64;
                    self.meter.add(sent as u64);
                }
            }
        }
        stream.shutdown(Shutdown::Write)?;
        // A peer that says more is not listened to, and not for long. A wait with a time
        // limit ends when the process is stopped and goes on (signal(7)).
        loop {
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => return Ok(()),
            }
        }
    }
}
