//! The two threads that move bytes between the standard streams and a socket. The first of them
//! that ends, ends the connection. Where a sequel follows the end of the socket, they go on with
//! another socket.

#![forbid(unsafe_code)]

use super::SILENCE;
use ropewalk::codec::wire::{Header, JOIN_SIZE};
use ropewalk::sys::{pump, thread};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Bytes of one read while a sequel is looked for.
const PIECE: usize = 64 << 10;

/// What follows on the standard streams when the socket has come to its end.
pub(super) trait Sequel: Send + Sync {
    /// The bytes with which it begins; the client may send others before. `None` if nothing
    /// follows.
    fn beginning(&self) -> Option<[u8; JOIN_SIZE]>;

    /// What tells the client that the socket has ended, since standard output does not end. The
    /// client throws this away if it knows already.
    fn last_word(&self) -> Vec<u8>;

    /// Begins it. Returns the socket that it goes over.
    ///
    /// # Errors
    /// The system has no descriptor.
    fn begin(&self) -> io::Result<UnixStream>;
}

/// The threads. They end with the process, at the latest.
pub(super) struct Pumps {
    ended: UnixStream,
}

impl Pumps {
    /// Moves bytes from standard input to `socket`, and from there to standard output. Standard
    /// input may be silent for `silence` at most. The end of that shuts one of two sockets that are
    /// connected.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(
        (ended, bell): (UnixStream, UnixStream),
        socket: UnixStream,
        silence: Option<Duration>,
        sequel: Option<Arc<dyn Sequel>>,
    ) -> io::Result<Pumps> {
        let (socket, bell) = (Arc::new(socket), Arc::new(bell));
        let (also, ring) = (socket.clone(), bell.clone());
        let (tell, next) = mpsc::channel();
        let follows = sequel.clone();
        thread::spawn("in", move || {
            // However it ends: there is nothing left that could be told to the client.
            let _ = inward(also, silence, follows.as_deref(), &tell);
            let _ = ring.shutdown(Shutdown::Both);
        })?;
        thread::spawn("out", move || {
            let _ = outward(socket, sequel.as_deref(), &next);
            let _ = bell.shutdown(Shutdown::Both);
        })?;
        Ok(Pumps { ended })
    }

    /// Readable once the connection has ended in one direction.
    pub(super) fn ended(&self) -> &UnixStream {
        &self.ended
    }
}

/// Moves bytes from standard input to one socket after the other.
fn inward(
    mut socket: Arc<UnixStream>,
    silence: Option<Duration>,
    sequel: Option<&dyn Sequel>,
    tell: &mpsc::Sender<Arc<UnixStream>>,
) -> io::Result<()> {
    let mut left = Vec::new();
    loop {
        let ended = pump::run_and_keep(io::stdin().as_fd(), socket.as_fd(), silence, &mut left);
        // At the end of standard input the client is gone, so nothing is answered any more. After
        // an error, the socket may still have an answer.
        let both = ended.is_ok();
        let _ = socket.shutdown(if both { Shutdown::Both } else { Shutdown::Write });
        let (Err(error), Some(sequel)) = (ended, sequel) else { return Ok(()) };
        let Some(beginning) = sequel.beginning() else { return Err(error) };
        let rest = find(&beginning, std::mem::take(&mut left))?;
        socket = Arc::new(sequel.begin()?);
        pump::write_all(socket.as_fd(), &rest, Some(SILENCE))?;
        if tell.send(socket.clone()).is_err() {
            return Ok(());
        }
    }
}

/// Moves bytes from one socket after the other to standard output.
fn outward(
    mut socket: Arc<UnixStream>,
    sequel: Option<&dyn Sequel>,
    next: &mpsc::Receiver<Arc<UnixStream>>,
) -> io::Result<()> {
    loop {
        // A socket that is closed with bytes in it ends with an error.
        let ended = pump::run(socket.as_fd(), io::stdout().as_fd(), None);
        let Some(sequel) = sequel.filter(|sequel| sequel.beginning().is_some()) else {
            return ended.map(drop);
        };
        pump::write_all(io::stdout().as_fd(), &sequel.last_word(), Some(SILENCE))?;
        let Ok(other) = next.recv() else { return Ok(()) };
        pump::write_all(io::stdout().as_fd(), &Header::Wait.encode(), Some(SILENCE))?;
        socket = other;
    }
}

/// Reads standard input until `beginning` has come, of which `bytes` may have a part, within the
/// silence. Returns what came behind.
fn find(beginning: &[u8], mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let (mut piece, until) = (vec![0; PIECE], Instant::now() + SILENCE);
    loop {
        let found = bytes.windows(beginning.len()).position(|window| window == beginning);
        if let Some(at) = found {
            return Ok(bytes.split_off(at + beginning.len()));
        }
        bytes.drain(..bytes.len().saturating_sub(beginning.len() - 1));
        match pump::read_by(io::stdin().as_fd(), &mut piece, until)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
