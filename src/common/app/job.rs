//! The transport of a job from a parent to its worker. The parent starts the worker with the
//! one argument `--job` and a Unix stream socket as standard input. The job is one line of
//! JSON (codec/message) with its descriptors (SCM_RIGHTS):
//!
//! ```text
//! {"parent": PID, "descriptors": D, ...}\n      with D descriptors
//! ```
//!
//! The first descriptors come with the first byte of the text, each further group with one
//! space behind the text. The worker ends if PID is not its own parent.
//!
//! The socket stays open as the lifeline: when it ends, the parent is gone, and the worker
//! exits with code 143. Later messages of the parent are one line each, with at most one
//! descriptor: a new rate, a handed stream, another session.

#![forbid(unsafe_code)]

use crate::codec::json::{self, Value};
use crate::codec::message::envelope;
use crate::error::{Error, ExitCode, Result};
use crate::sys::pass::{self, Received};
use crate::sys::{process, thread};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Longest job in bytes, newline included. A socket's buffer takes that much even without a
/// reader, so sending a job never blocks.
pub const MAX_JOB: usize = 64 << 10;

/// Most descriptors with a job: one for each of 255 streams, and a few.
pub const MAX_JOB_DESCRIPTORS: usize = 300;

/// Sends `job`, with the keys of the transport, over `socket`.
pub fn send(socket: &UnixStream, job: Value, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let job = envelope::seal_job(std::process::id(), descriptors.len(), job);
    let text = format!("{job}\n").into_bytes();
    if text.len() > MAX_JOB || descriptors.len() > MAX_JOB_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let first = descriptors.len().min(pass::MAX_DESCRIPTORS);
    let mut sent = pass::send(socket, &text, &descriptors[..first])?;
    while sent < text.len() {
        sent += pass::send(socket, &text[sent..], &[])?;
    }
    for more in descriptors[first..].chunks(pass::MAX_DESCRIPTORS) {
        pass::send(socket, b" ", more)?;
    }
    Ok(())
}

/// Sends a later message to a worker.
pub fn say(mut socket: &UnixStream, object: &Value) -> io::Result<()> {
    socket.write_all(format!("{object}\n").as_bytes())
}

/// Sends a later message with a descriptor. Never waits: fails if the socket's buffer is full.
pub fn hand(socket: &UnixStream, object: Value, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let text = format!("{}\n", envelope::seal_handed(object)).into_bytes();
    // A message this small goes whole or not at all (unix(7)).
    match pass::send_now(socket, &text, &[descriptor])? {
        count if count == text.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// A job as a worker gets it.
#[derive(Debug)]
pub struct Job {
    object: Value,
    descriptors: std::vec::IntoIter<OwnedFd>,
    lifeline: OwnedFd,
}

impl Job {
    /// Takes the job from standard input, and ties this process to its parent: when
    /// the parent dies, this process does.
    pub fn from_parent() -> Result<Job> {
        // Set before the check of the parent, which can die at any moment.
        process::set_parent_death_signal(libc::SIGKILL)
            .map_err(|error| Error::system("prctl", &error))?;
        let lifeline = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system("standard input", &error))?;
        let job = Job::receive(lifeline)?;
        if envelope::parent(&job.object)? != process::parent() as u64 {
            return Err(Error::new(ExitCode::System, "the parent is gone"));
        }
        Ok(job)
    }

    fn receive(socket: OwnedFd) -> Result<Job> {
        let failed = |error: io::Error| Error::system("standard input", &error);
        let bad = |what: &str| Error::protocol(format!("the job on standard input {what}"));
        let (mut text, mut descriptors) = (Vec::new(), Vec::new());
        let mut buffer = [0; 4096];
        while text.last() != Some(&b'\n') {
            let received =
                pass::receive(socket.as_fd(), &mut buffer, &mut descriptors).map_err(failed)?;
            match received {
                Received { bytes: 0, .. } => return Err(bad("ends early")),
                Received { lost: true, .. } => return Err(bad("has too many descriptors")),
                Received { bytes, .. } => text.extend_from_slice(&buffer[..bytes]),
            }
            if text.len() > MAX_JOB {
                return Err(bad("is too long"));
            }
        }
        let object = json::parse(&text).map_err(|_| bad("is not JSON"))?;
        let expected = envelope::descriptors(&object);
        while (descriptors.len() as u64) < expected {
            let received = pass::receive(socket.as_fd(), &mut buffer[..1], &mut descriptors)
                .map_err(failed)?;
            match received {
                Received { bytes: 0, .. } => return Err(bad("ends early")),
                Received { lost: true, .. } => return Err(bad("has too many descriptors")),
                Received { .. } => {}
            }
        }
        Ok(Job { object, descriptors: descriptors.into_iter(), lifeline: socket })
    }

    /// The job's text, for the type of the job to read.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// The next descriptor, in the order of sending.
    pub fn descriptor(&mut self) -> Result<OwnedFd> {
        self.descriptors.next().ok_or_else(|| Error::protocol("the job lacks a descriptor"))
    }

    /// Starts a thread that ends this process when the parent closes the lifeline. It passes each
    /// later message of the parent to `hear`, with its descriptor. It lives as long as the
    /// process.
    pub fn watch_lifeline(
        &self,
        mut hear: impl FnMut(Value, Option<OwnedFd>) + Send + 'static,
    ) -> Result<()> {
        let failed = |error: io::Error| Error::system("lifeline", &error);
        let mut words = Words::new(self.lifeline.try_clone().map_err(failed)?);
        let listen = move || -> () {
            while let Some((object, descriptor)) = words.next_word() {
                hear(object, descriptor);
            }
            std::process::exit(ExitCode::Terminated.number().into());
        };
        thread::spawn("lifeline", listen).map_err(failed)?;
        Ok(())
    }
}

/// The later messages of a parent.
struct Words {
    lifeline: OwnedFd,
    text: Vec<u8>,
    /// Descriptors whose lines are not read yet; `None` for a lost one.
    arrived: VecDeque<Option<OwnedFd>>,
}

impl Words {
    fn new(lifeline: OwnedFd) -> Words {
        Words { lifeline, text: Vec::new(), arrived: VecDeque::new() }
    }

    /// Waits for the next message. `None` when the parent is gone.
    fn next_word(&mut self) -> Option<(Value, Option<OwnedFd>)> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                let Ok(object) = json::parse(&line) else { continue };
                let descriptor = match envelope::descriptors(&object) {
                    0 => None,
                    _ => self.arrived.pop_front().flatten(),
                };
                return Some((object, descriptor));
            }
            self.read().filter(|_| self.text.len() <= MAX_JOB)?;
        }
    }

    fn read(&mut self) -> Option<()> {
        let (mut buffer, mut descriptors) = ([0; 4096], Vec::new());
        let received = pass::receive(self.lifeline.as_fd(), &mut buffer, &mut descriptors).ok()?;
        self.text.extend_from_slice(&buffer[..received.bytes]);
        self.arrived.extend(descriptors.into_iter().map(Some));
        if received.lost {
            self.arrived.push_back(None);
        }
        (received.bytes > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn round_trip(count: usize) -> Job {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let job = Value::object([("size", Value::from_u64(5 << 30))]);
        send(&here, job, &vec![file.as_fd(); count]).unwrap();
        Job::receive(there.into()).unwrap()
    }

    #[test]
    fn a_job_arrives_with_its_descriptors() {
        let mut job = round_trip(2);
        assert_eq!(job.object().get("size").and_then(Value::as_u64), Some(5 << 30));
        assert_eq!(envelope::parent(job.object()).unwrap(), u64::from(std::process::id()));
        assert!(job.descriptor().is_ok() && job.descriptor().is_ok());
        assert!(job.descriptor().is_err());
    }

    #[test]
    fn a_job_may_have_more_descriptors_than_one_message() {
        assert_eq!(round_trip(MAX_JOB_DESCRIPTORS).descriptors.len(), MAX_JOB_DESCRIPTORS);
    }

    #[test]
    fn one_descriptor_too_many_is_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let job = Value::object([]);
        assert!(send(&here, job, &vec![file.as_fd(); MAX_JOB_DESCRIPTORS + 1]).is_err());
    }

    #[test]
    fn a_job_that_is_cut_short_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        pass::send(&here, b"{\"parent\": 1", &[]).unwrap();
        drop(here);
        assert!(Job::receive(there.into()).unwrap_err().to_string().contains("ends early"));
    }

    #[test]
    fn later_messages_have_their_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let word = |number| Value::object([("number", Value::from_u64(number))]);
        say(&here, &word(0)).unwrap();
        hand(&here, word(1), here.as_fd()).unwrap();
        (&here).write_all(b"no JSON\n").unwrap();
        say(&here, &word(2)).unwrap();
        hand(&here, word(3), here.as_fd()).unwrap();
        drop(here);
        let mut words = Words::new(there.into());
        let heard = std::iter::from_fn(|| words.next_word())
            .map(|(object, descriptor)| {
                (object.get("number").and_then(Value::as_u64).unwrap(), descriptor.is_some())
            })
            .take(4);
        assert_eq!(heard.collect::<Vec<_>>(), [(0, false), (1, true), (2, false), (3, true)]);
    }

    #[test]
    fn a_message_whose_descriptor_was_lost_takes_no_other_one() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut words = Words::new(there.into());
        words.arrived.push_back(None);
        hand(&here, Value::object([]), here.as_fd()).unwrap();
        hand(&here, Value::object([]), here.as_fd()).unwrap();
        assert!(words.next_word().is_some_and(|(_, descriptor)| descriptor.is_none()));
        assert!(words.next_word().is_some_and(|(_, descriptor)| descriptor.is_some()));
    }

    #[test]
    fn handing_over_never_waits() {
        let (here, _there) = UnixStream::pair().unwrap();
        let full = (0..1_000_000).any(|_| hand(&here, Value::object([]), here.as_fd()).is_err());
        assert!(full);
    }
}
