//! Moves bytes from one descriptor to another: with splice(2), which copies none of them, where
//! one of the two is a pipe, else by reading and writing.

use super::poll::Room;
use super::{check, check_size, poll, retry};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The most bytes of one call.
const PIECE: usize = 1 << 20;

/// Bytes of the buffer without splice.
const BUFFER: usize = 128 << 10;

/// Why a pump came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dry {
    /// The source is at its end.
    End,
    /// The source brought nothing for too long.
    Silence,
}

/// Moves bytes until there are no more, or the source brings none for `silence`. If that is given,
/// the source also ends as soon as its other end is closed while the target is full.
///
/// A socket must not wait (O_NONBLOCK). splice(2) keeps the pipe locked while it waits for a socket:
/// another process that reads or writes the pipe then hangs, and no signal ends it.
///
/// # Errors
/// A read or a write failed; the target took nothing for `silence`.
pub fn run(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    silence: Option<Duration>,
) -> io::Result<Dry> {
    run_and_keep(source, target, silence, &mut Vec::new())
}

/// As [`run`]. After an error `left` ends with what was read and not written.
///
/// # Errors
/// As of [`run`].
pub fn run_and_keep(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    silence: Option<Duration>,
    left: &mut Vec<u8>,
) -> io::Result<Dry> {
    let mut buffer: Option<Vec<u8>> = None;
    loop {
        if poll::readable(&[source], silence)? == [false] {
            return Ok(Dry::Silence);
        }
        let moved = match &mut buffer {
            None => splice(source, target),
            Some(buffer) => copy(source, target, buffer, silence, left),
        };
        match moved {
            Ok(0) => return Ok(Dry::End),
            Ok(_) => {}
            // Neither is a pipe, or the kernel cannot splice this kind of file.
            Err(error) if buffer.is_none() && cannot_splice(&error) => {
                buffer = Some(vec![0; BUFFER]);
            }
            // The source is readable, so the target is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !has_room(source, target, silence)? {
                    return Ok(Dry::End);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits for room in the target; `false` if the source ends before.
fn has_room(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let Some(limit) = limit else { return poll::writable(target).map(|()| true) };
    match poll::room(target, source, limit)? {
        Room::There => Ok(true),
        Room::SourceEnded => Ok(false),
        Room::Late => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn cannot_splice(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::ESPIPE)
    )
}

fn splice(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<usize> {
    let null = std::ptr::null_mut();
    retry(|| {
        // SAFETY: splice takes two descriptors, and no memory where both offsets are null.
        check_size(unsafe {
            libc::splice(source.as_raw_fd(), null, target.as_raw_fd(), null, PIECE, 0)
        })
    })
}

/// Reads what has come, and writes all of it.
fn copy(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    buffer: &mut [u8],
    limit: Option<Duration>,
    left: &mut Vec<u8>,
) -> io::Result<usize> {
    let count = read(source, buffer)?;
    let written = write_all(target, &buffer[..count], limit);
    written.inspect_err(|_| left.extend_from_slice(&buffer[..count]))?;
    Ok(count)
}

/// Lets a pipe hold so many bytes (F_SETPIPE_SZ of fcntl(2)).
///
/// # Errors
/// The descriptor is no pipe; this user's pipes hold too much already.
pub fn widen(pipe: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    // SAFETY: this command of fcntl takes a number.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
}

/// Reads what has come (read(2)).
///
/// # Errors
/// `WouldBlock` where nothing has come and the descriptor does not wait; what read(2) gives.
pub fn read(source: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| {
        // SAFETY: `buffer` is writable for its length.
        check_size(unsafe {
            libc::read(source.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len())
        })
    })
}

/// Reads what comes until `deadline` at most.
///
/// # Errors
/// `TimedOut`; what read(2) gives.
pub fn read_by(source: BorrowedFd<'_>, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if poll::readable(&[source], Some(left))? == [false] {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match read(source, buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// Writes all bytes. The target may take nothing for `limit` at most.
///
/// # Errors
/// `TimedOut`; what write(2) gives.
pub fn write_all(
    target: BorrowedFd<'_>,
    mut bytes: &[u8],
    limit: Option<Duration>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = retry(|| {
            // SAFETY: `bytes` is readable for its length.
            check_size(unsafe {
                libc::write(target.as_raw_fd(), bytes.as_ptr().cast(), bytes.len())
            })
        });
        match written {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for_room(target, limit)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_room(target: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<()> {
    match limit {
        None => poll::writable(target),
        Some(limit) if poll::writable_within(target, limit)? => Ok(()),
        Some(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::thread;

    const SIZE: usize = 3_000_001;

    /// A pipe: what to read from, and what to write to.
    fn pipe() -> (File, File) {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for two descriptors.
        check_size(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as _).unwrap();
        // SAFETY: pipe2 has just returned both, and nothing else owns them.
        let [read, write] = ends.map(|end| unsafe { File::from_raw_fd(end) });
        (read, write)
    }

    fn bytes() -> Vec<u8> {
        (0..SIZE).map(|at| (at * 7 + at / 1000) as u8).collect()
    }

    /// Pumps all bytes from what `source` writes to into what `target` reads from.
    fn carried(
        (from, mut source): (impl AsFd + Sync, impl Write + Send),
        (mut target, to): (impl Read, impl AsFd + Send),
    ) {
        let mut got = Vec::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                source.write_all(&bytes()).unwrap();
                drop(source);
            });
            let from = &from;
            scope.spawn(move || {
                assert_eq!(run(from.as_fd(), to.as_fd(), None).unwrap(), Dry::End);
                drop(to);
            });
            target.read_to_end(&mut got).unwrap();
        });
        assert!(got == bytes());
    }

    #[test]
    fn every_byte_goes_from_a_pipe_to_a_socket_and_back() {
        carried(pipe(), UnixStream::pair().unwrap());
        carried(UnixStream::pair().unwrap(), pipe());
        carried(pipe(), pipe());
    }

    #[test]
    fn every_byte_goes_from_a_socket_to_a_socket() {
        carried(UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    }

    #[test]
    fn descriptors_that_do_not_wait_are_waited_for() {
        let (from, source) = UnixStream::pair().unwrap();
        let (target, to) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        to.set_nonblocking(true).unwrap();
        carried((from, source), (target, to));
        let (from, source) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        carried((from, source), pipe());
    }

    #[test]
    fn silence_ends_it() {
        let ((from, _source), (_target, to)) = (pipe(), UnixStream::pair().unwrap());
        let silence = Some(Duration::from_millis(5));
        assert_eq!(run(from.as_fd(), to.as_fd(), silence).unwrap(), Dry::Silence);
    }

    #[test]
    fn what_a_closed_target_did_not_take_is_not_lost() {
        for (from, mut source) in [
            (UnixStream::pair()
                .map(|(one, other)| (OwnedFd::from(one), File::from(OwnedFd::from(other)))))
            .unwrap(),
            {
                let (read, write) = pipe();
                (OwnedFd::from(read), write)
            },
        ] {
            let (target, to) = UnixStream::pair().unwrap();
            drop(target);
            source.write_all(b"word").unwrap();
            let mut left = Vec::new();
            assert!(run_and_keep(from.as_fd(), to.as_fd(), None, &mut left).is_err());
            drop(source);
            File::from(from).read_to_end(&mut left).unwrap();
            assert_eq!(left, b"word");
        }
    }

    #[test]
    fn a_target_that_is_closed_is_an_error() {
        let ((from, mut source), (target, to)) = (pipe(), UnixStream::pair().unwrap());
        source.write_all(b"x").unwrap();
        drop(target);
        assert!(run(from.as_fd(), to.as_fd(), None).is_err());
    }

    #[test]
    fn a_widened_pipe_takes_more_before_anybody_reads_and_a_socket_says_that_it_is_no_pipe() {
        let (_read, mut write) = pipe();
        widen(write.as_fd(), 256 << 10).unwrap();
        write.write_all(&[0; 256 << 10]).unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        assert!(widen(socket.as_fd(), 256 << 10).is_err());
    }

    #[test]
    fn a_target_that_takes_nothing_holds_up_neither_a_writer_of_the_pipe_nor_its_end() {
        let ((from, mut source), (target, _to)) = (pipe(), UnixStream::pair().unwrap());
        target.set_nonblocking(true).unwrap();
        // SAFETY: this command of fcntl takes a number.
        check(unsafe { libc::fcntl(source.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).unwrap();
        let limit = Some(Duration::from_secs(1000));
        let pump = thread::spawn(move || run(from.as_fd(), target.as_fd(), limit));
        // The pipe and the socket get full; a writer is told so each time.
        let mut refusals = 0;
        while refusals < 1000 {
            match source.write_all(&[0]) {
                Ok(()) => refusals = 0,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    refusals += 1;
                }
            }
        }
        drop(source);
        assert_eq!(pump.join().unwrap().unwrap(), Dry::End);
    }
}
