//! The two threads that move bytes between the standard streams and a socket. The first of them
//! that ends, ends the connection. Where a sequel follows the end of the socket, they go on with
//! another socket.

#![forbid(unsafe_code)]

use ropewalk::codec::wire::{Header, JOIN_SIZE};
use ropewalk::sys::{pump, thread};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Bytes of one read while a sequel is looked for.
const PIECE: usize = 64 << 10;

/// How many bytes a pipe is to hold. With the usual 64 KiB both ends wait for each other more often: a
/// gigabyte through ssh took 6% longer.
const PIPE_SIZE: i32 = 256 << 10;

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
    fn begin(&self) -> io::Result<Socket>;
}

/// A socket that does not wait (O_NONBLOCK), as [`pump::run`] needs it.
pub(super) struct Socket(UnixStream);

impl Socket {
    /// Makes it from one that waits.
    ///
    /// # Errors
    /// The system refuses it. It may do so in a process that is confined.
    pub(super) fn new(stream: UnixStream) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        Ok(Socket(stream))
    }
}

impl std::ops::Deref for Socket {
    type Target = UnixStream;

    fn deref(&self) -> &UnixStream {
        &self.0
    }
}

/// The standard streams, or what stands for them.
pub(super) struct Standard {
    input: OwnedFd,
    output: OwnedFd,
    /// How long the input may bring nothing.
    silence: Duration,
}

impl Standard {
    /// Those of this process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn of_process(silence: Duration) -> io::Result<Standard> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        for stream in [&input, &output] {
            // It may be no pipe, and works at any size.
            let _ = pump::widen(stream.as_fd(), PIPE_SIZE);
        }
        Ok(Standard { input, output, silence })
    }
}

/// The threads. They end with the process, at the latest.
pub(super) struct Pumps {
    ended: UnixStream,
}

impl Pumps {
    /// Moves bytes from standard input to `socket`, and from there to standard output. The end of
    /// that, or too long a silence of standard input, shuts one of two sockets that are connected.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(
        standard: Standard,
        (ended, bell): (UnixStream, UnixStream),
        socket: Socket,
        sequel: Option<Arc<dyn Sequel>>,
    ) -> io::Result<Pumps> {
        let (socket, bell) = (Arc::new(socket), Arc::new(bell));
        let (also, ring) = (socket.clone(), bell.clone());
        let (tell, next) = mpsc::channel();
        let (follows, standard) = (sequel.clone(), Arc::new(standard));
        let out = standard.clone();
        thread::spawn("in", move || {
            // However it ends: there is nothing left that could be told to the client.
            let _ = standard.inward(also, follows.as_deref(), &tell);
            let _ = ring.shutdown(Shutdown::Both);
        })?;
        thread::spawn("out", move || {
            let _ = out.outward(socket, sequel.as_deref(), &next);
            let _ = bell.shutdown(Shutdown::Both);
        })?;
        Ok(Pumps { ended })
    }

    /// Readable once the connection has ended in one direction.
    pub(super) fn ended(&self) -> &UnixStream {
        &self.ended
    }
}

impl Standard {
    /// Moves bytes from standard input to one socket after the other.
    fn inward(
        &self,
        mut socket: Arc<Socket>,
        sequel: Option<&dyn Sequel>,
        tell: &mpsc::Sender<Arc<Socket>>,
    ) -> io::Result<()> {
        let (mut left, silence) = (Vec::new(), Some(self.silence));
        loop {
            let ended = pump::run_and_keep(self.input.as_fd(), socket.as_fd(), silence, &mut left);
            // At the end of standard input the client is gone, so nothing is answered any more. After
            // an error, the socket may still have an answer.
            let both = ended.is_ok();
            let _ = socket.shutdown(if both { Shutdown::Both } else { Shutdown::Write });
            if both {
                return Ok(());
            }
            let Some((sequel, beginning)) = sequel.and_then(|next| Some((next, next.beginning()?)))
            else {
                return self.discard();
            };
            let rest = self.find(&beginning, std::mem::take(&mut left))?;
            socket = Arc::new(sequel.begin()?);
            pump::write_all(socket.as_fd(), &rest, silence)?;
            if tell.send(socket.clone()).is_err() {
                return Ok(());
            }
        }
    }

    /// Moves bytes from one socket after the other to standard output.
    fn outward(
        &self,
        mut socket: Arc<Socket>,
        sequel: Option<&dyn Sequel>,
        next: &mpsc::Receiver<Arc<Socket>>,
    ) -> io::Result<()> {
        loop {
            // A socket that is closed with bytes in it ends with an error.
            let ended = pump::run(socket.as_fd(), self.output.as_fd(), None);
            let Some(sequel) = sequel.filter(|sequel| sequel.beginning().is_some()) else {
                return ended.map(drop);
            };
            pump::write_all(self.output.as_fd(), &sequel.last_word(), Some(self.silence))?;
            let Ok(other) = next.recv() else { return Ok(()) };
            pump::write_all(self.output.as_fd(), &Header::Wait.encode(), Some(self.silence))?;
            socket = other;
        }
    }

    /// Reads standard input until its end, within the silence. So the socket has this time to say
    /// its last word.
    fn discard(&self) -> io::Result<()> {
        let (mut piece, until) = (vec![0; PIECE], Instant::now() + self.silence);
        while pump::read_by(self.input.as_fd(), &mut piece, until)? > 0 {}
        Ok(())
    }

    /// Reads standard input until `beginning` has come, of which `bytes` may have a part, within the
    /// silence. Returns what came behind.
    fn find(&self, beginning: &[u8], mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let (mut piece, until) = (vec![0; PIECE], Instant::now() + self.silence);
        loop {
            let found = bytes.windows(beginning.len()).position(|window| window == beginning);
            if let Some(at) = found {
                return Ok(bytes.split_off(at + beginning.len()));
            }
            bytes.drain(..bytes.len().saturating_sub(beginning.len() - 1));
            match pump::read_by(self.input.as_fd(), &mut piece, until)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const SILENCE: Duration = Duration::from_millis(20);

    /// What never has a last word.
    struct Talks;

    impl Sequel for Talks {
        fn beginning(&self) -> Option<[u8; JOIN_SIZE]> {
            Some([7; JOIN_SIZE])
        }

        fn last_word(&self) -> Vec<u8> {
            Vec::new()
        }

        fn begin(&self) -> io::Result<Socket> {
            Err(io::ErrorKind::Other.into())
        }
    }

    /// The client's end of standard streams, the other end of the socket, and the pumps between.
    fn start(
        silence: Duration,
        sequel: Option<Arc<dyn Sequel>>,
    ) -> (UnixStream, UnixStream, Pumps) {
        let (client, streams) = UnixStream::pair().unwrap();
        let (socket, session) = UnixStream::pair().unwrap();
        let socket = Socket::new(socket).unwrap();
        let output = streams.try_clone().unwrap().into();
        let standard = Standard { input: streams.into(), output, silence };
        let pumps = Pumps::start(standard, UnixStream::pair().unwrap(), socket, sequel);
        (client, session, pumps.unwrap())
    }

    #[test]
    fn a_socket_of_the_pumps_does_not_wait() {
        let (socket, _session) = UnixStream::pair().unwrap();
        let read = (&*Socket::new(socket).unwrap()).read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn bytes_go_both_ways_and_the_end_of_input_ends_both() {
        let (mut client, mut session, pumps) = start(Duration::from_secs(1000), None);
        client.write_all(b"ask").unwrap();
        session.read_exact(&mut [0; 3]).unwrap();
        session.write_all(b"tell").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(session.read(&mut [0]).unwrap(), 0);
        assert_eq!((&pumps.ended).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_socket_that_takes_nothing_any_more_still_says_its_last_word() {
        let (mut client, mut session, pumps) = start(Duration::from_secs(1000), None);
        session.shutdown(Shutdown::Read).unwrap();
        // All of this is taken only if it is read and thrown away.
        client.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(&[0; 4 << 20]).unwrap();
        session.write_all(b"over").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        drop(session);
        assert_eq!((&pumps.ended).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_network_that_drops_everything_ends_both_though_nobody_closes_anything() {
        for sequel in [None, Some(Arc::new(Talks) as Arc<dyn Sequel>)] {
            let (mut client, mut session, pumps) = start(SILENCE, sequel);
            client.write_all(b"ask").unwrap();
            session.read_exact(&mut [0; 3]).unwrap();
            // The client takes nothing any more, so what the session sends goes nowhere.
            while session.write(&[0; 4096]).is_ok() {}
            assert_eq!((&pumps.ended).read(&mut [0]).unwrap(), 0);
        }
    }
}
