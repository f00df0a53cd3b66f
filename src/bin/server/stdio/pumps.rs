//! The two threads that move bytes between the standard streams and a socket. The first of them
//! that ends, ends the connection.

#![forbid(unsafe_code)]

use ropewalk::sys::{pump, thread};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// The threads. They end with the process, at the latest.
pub(super) struct Pumps {
    ended: UnixStream,
}

impl Pumps {
    /// Moves bytes from standard input to `socket`, and from there to standard output. Standard
    /// input may be silent for `silence` at most.
    ///
    /// # Errors
    /// The system has no thread, or no descriptor.
    pub(super) fn start(socket: UnixStream, silence: Option<Duration>) -> io::Result<Pumps> {
        let (ended, bell) = UnixStream::pair()?;
        let (socket, bell) = (Arc::new(socket), Arc::new(bell));
        let (inward, ring) = (socket.clone(), bell.clone());
        thread::spawn("in", move || {
            // However it ends: there is nothing left that could be told to the client.
            let _ = pump::run(io::stdin().as_fd(), inward.as_fd(), silence);
            let _ = inward.shutdown(Shutdown::Write);
            let _ = ring.shutdown(Shutdown::Both);
        })?;
        thread::spawn("out", move || {
            let _ = pump::run(socket.as_fd(), io::stdout().as_fd(), None);
            let _ = bell.shutdown(Shutdown::Both);
        })?;
        Ok(Pumps { ended })
    }

    /// Readable once the connection has ended in one direction.
    pub(super) fn ended(&self) -> &UnixStream {
        &self.ended
    }
}
