//! How a parent tells a worker what to do: one JSON object and some descriptors over
//! the Unix stream socket that is the worker's standard input. The same socket is
//! the lifeline afterwards: its end of file means that the parent is gone.
//!
//! ```text
//! {"parent": PID, "descriptors": D, ...}\n      with D descriptors (SCM_RIGHTS)
//! ```
//!
//! The first message carries the whole text; descriptors that do not fit beside it
//! follow, each message of them with one space for a byte.

#![forbid(unsafe_code)]

use crate::codec::json::{self, Value};
use crate::error::{Error, ExitCode, Result};
use crate::sys::{pass, process};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Longest job in bytes, newline included. A socket's buffer takes that much even
/// when nobody reads, so sending a job never blocks.
pub const MAX_JOB: usize = 64 << 10;

/// Most descriptors with a job: one for each of 255 streams, and a few.
pub const MAX_JOB_DESCRIPTORS: usize = 300;

/// Sends the job `fields`, with the keys that every job has, over `socket`.
pub fn send(
    socket: &UnixStream,
    fields: Vec<(String, Value)>,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut object = vec![
        ("parent".to_string(), Value::from_u64(u64::from(std::process::id()))),
        ("descriptors".to_string(), Value::from_u64(descriptors.len() as u64)),
    ];
    object.extend(fields);
    let text = format!("{}\n", Value::Object(object)).into_bytes();
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

/// Says something more to a worker that has its job.
pub fn say(mut socket: &UnixStream, object: &Value) -> io::Result<()> {
    socket.write_all(format!("{object}\n").as_bytes())
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
        // Asked for before the parent is compared: it can die at any moment.
        process::set_parent_death_signal(libc::SIGKILL)
            .map_err(|error| Error::system("prctl", &error))?;
        let lifeline = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system("standard input", &error))?;
        let job = Job::receive(lifeline)?;
        if job.number("parent")? != process::parent() as u64 {
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
            let count =
                pass::receive(socket.as_fd(), &mut buffer, &mut descriptors).map_err(failed)?;
            if count == 0 {
                return Err(bad("ends early"));
            }
            text.extend_from_slice(&buffer[..count]);
            if text.len() > MAX_JOB {
                return Err(bad("is too long"));
            }
        }
        let object = json::parse(&text).map_err(|_| bad("is not JSON"))?;
        let expected = object.get("descriptors").and_then(Value::as_u64).unwrap_or(0);
        while (descriptors.len() as u64) < expected {
            let count = pass::receive(socket.as_fd(), &mut buffer[..1], &mut descriptors)
                .map_err(failed)?;
            if count == 0 {
                return Err(bad("ends early"));
            }
        }
        Ok(Job { object, descriptors: descriptors.into_iter(), lifeline: socket })
    }

    /// The whole job, for those who read several members at once.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// A number of the job.
    pub fn number(&self, key: &str) -> Result<u64> {
        self.object.get(key).and_then(Value::as_u64).ok_or_else(|| missing(key))
    }

    /// A text of the job.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.object.get(key).and_then(Value::as_str).ok_or_else(|| missing(key))
    }

    /// The next of the descriptors, in the order in which they were sent.
    pub fn descriptor(&mut self) -> Result<OwnedFd> {
        self.descriptors.next().ok_or_else(|| missing("descriptor"))
    }

    /// Starts a thread that ends this process when the parent closes the lifeline, and
    /// hands what the parent says later, one JSON object a line, to `hear`. It lives as
    /// long as the process.
    pub fn watch_lifeline(&self, mut hear: impl FnMut(Value) + Send + 'static) -> Result<()> {
        let failed = |error: io::Error| Error::system("lifeline", &error);
        let lifeline = UnixStream::from(self.lifeline.try_clone().map_err(failed)?);
        std::thread::Builder::new()
            .name("lifeline".into())
            .stack_size(super::SMALL_STACK)
            .spawn(move || {
                let mut lines = BufReader::new(lifeline);
                let mut line = Vec::new();
                while matches!(
                    lines.by_ref().take(MAX_JOB as u64).read_until(b'\n', &mut line),
                    Ok(1..)
                ) {
                    if let Ok(object) = json::parse(&line) {
                        hear(object);
                    }
                    line.clear();
                }
                std::process::exit(ExitCode::Terminated.number().into());
            })
            .map_err(failed)?;
        Ok(())
    }
}

fn missing(key: &str) -> Error {
    Error::protocol(format!("the job on standard input lacks '{key}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn round_trip(count: usize) -> Job {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let fields = vec![("size".to_string(), Value::from_u64(5 << 30))];
        send(&here, fields, &vec![file.as_fd(); count]).unwrap();
        Job::receive(there.into()).unwrap()
    }

    #[test]
    fn a_job_arrives_with_its_descriptors() {
        let mut job = round_trip(2);
        assert_eq!(job.number("size").unwrap(), 5 << 30);
        assert_eq!(job.number("parent").unwrap(), u64::from(std::process::id()));
        assert!(job.descriptor().is_ok() && job.descriptor().is_ok());
        assert!(job.descriptor().is_err());
    }

    #[test]
    fn more_descriptors_than_one_message_holds() {
        assert_eq!(round_trip(MAX_JOB_DESCRIPTORS).descriptors.len(), MAX_JOB_DESCRIPTORS);
    }

    #[test]
    fn one_descriptor_too_many_is_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        assert!(send(&here, Vec::new(), &vec![file.as_fd(); MAX_JOB_DESCRIPTORS + 1]).is_err());
    }

    #[test]
    fn a_job_that_is_cut_short_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        pass::send(&here, b"{\"parent\": 1", &[]).unwrap();
        drop(here);
        assert!(Job::receive(there.into()).unwrap_err().to_string().contains("ends early"));
    }

    #[test]
    fn a_key_that_is_missing_is_named() {
        assert!(round_trip(0).text("peer").unwrap_err().to_string().contains("'peer'"));
    }
}
