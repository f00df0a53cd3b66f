//! Signals as events: a main thread waits for them together with its descriptors. signal-hook
//! restarts interrupted calls, so only a wait in this file notices a signal.

#![forbid(unsafe_code)]

use crate::sys::{poll, process};
use signal_hook::consts;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The signals that these programs handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal went away.
    HangUp,
    /// SIGTSTP: Ctrl-Z.
    Pause,
    /// SIGCHLD: a child ended or stopped.
    Child,
    /// SIGUSR1: the program defines its meaning.
    User,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Signal::Interrupt => consts::SIGINT,
            Signal::Terminate => consts::SIGTERM,
            Signal::HangUp => consts::SIGHUP,
            Signal::Pause => consts::SIGTSTP,
            Signal::Child => consts::SIGCHLD,
            Signal::User => consts::SIGUSR1,
        }
    }
}

/// The signals that a program's main thread waits for.
pub const MAIN_SIGNALS: [Signal; 4] =
    [Signal::Interrupt, Signal::Terminate, Signal::HangUp, Signal::Pause];

/// One pipe for each signal.
pub struct Signals {
    pipes: Vec<(Signal, UnixStream)>,
}

/// What ended a wait.
#[derive(Debug)]
pub struct Wake {
    /// A signal, if one came.
    pub signal: Option<Signal>,
    /// For each of the descriptors waited for, whether it is readable or closed.
    pub ready: Vec<bool>,
}

impl Signals {
    /// Handles `wanted` from now on. An ignored signal stays ignored, as nohup(1) and a shell's
    /// `&` require, unless `always` has it.
    pub fn install(wanted: &[Signal], always: &[Signal]) -> io::Result<Signals> {
        let mut pipes = Vec::new();
        for &signal in wanted {
            if !always.contains(&signal) && process::is_ignored(signal.number()) {
                continue;
            }
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.number(), write)?;
            pipes.push((signal, read));
        }
        Ok(Signals { pipes })
    }

    /// Waits for a signal or for one of `descriptors`; `limit` as in [`poll::readable`].
    pub fn wait(
        &self,
        descriptors: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> io::Result<Wake> {
        let mut set: Vec<BorrowedFd<'_>> = descriptors.to_vec();
        set.extend(self.pipes.iter().map(|(_, pipe)| pipe.as_fd()));
        let mut ready = poll::readable(&set, limit)?;
        let raised = ready.split_off(descriptors.len());
        let signal =
            self.pipes.iter().zip(raised).find(|(_, raised)| *raised).map(|((signal, pipe), _)| {
                // It counts once, however often it came since the last wait.
                let mut reader: &UnixStream = pipe;
                while matches!(reader.read(&mut [0; 64]), Ok(64)) {}
                *signal
            });
        Ok(Wake { signal, ready })
    }

    /// Restores the default action of each signal.
    pub fn release(self) {
        self.pipes.iter().for_each(|(signal, _)| process::restore(signal.number()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_signal_ends_the_wait_and_is_named() {
        let signals = Signals::install(&[Signal::Pause], &[]).unwrap();
        signal_hook::low_level::raise(consts::SIGTSTP).unwrap();
        signal_hook::low_level::raise(consts::SIGTSTP).unwrap();
        assert_eq!(signals.wait(&[], None).unwrap().signal, Some(Signal::Pause));
        let again = signals.wait(&[], Some(Duration::ZERO)).unwrap();
        assert_eq!(again.signal, None, "two at once count as one");
    }

    #[test]
    fn a_descriptor_ends_the_wait() {
        let signals = Signals::install(&[], &[]).unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"x").unwrap();
        let wake = signals.wait(&[here.as_fd()], None).unwrap();
        assert_eq!((wake.signal, wake.ready), (None, vec![true]));
    }
}
