//! SIGTERM while a folder comes: what is complete is put in place before the receiver ends.

#![forbid(unsafe_code)]

use ropewalk::app::signals::{Signal, Signals};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::thread;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// SIGTERM as an event.
pub(crate) struct Stop {
    signals: Signals,
    /// Closed at the end of the transfer, which ends the wait at the other one.
    end: UnixStream,
    over: UnixStream,
}

impl Stop {
    /// Takes SIGTERM from now on, also where this process began with SIGTERM ignored: it comes
    /// from the client. To be called before this process gives up its rights.
    pub(crate) fn install() -> Result<Stop> {
        let failed = |error| Error::system("start", &error);
        let (end, over) = UnixStream::pair().map_err(failed)?;
        let signals =
            Signals::install(&[Signal::Terminate], &[Signal::Terminate]).map_err(failed)?;
        Ok(Stop { signals, end, over })
    }

    /// Runs `receive` to its end, and calls `fail` if SIGTERM comes meanwhile.
    pub(crate) fn during<T>(
        self,
        fail: impl FnOnce(Error) + Send,
        receive: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Stop { signals, end, over } = self;
        std::thread::scope(|scope| {
            // Dropped before the scope waits for the thread, also after a panic.
            let _end = end;
            let wait = move || match signals.wait(&[over.as_fd()], None) {
                Ok(wake) if wake.signal.is_none() => {}
                Ok(_) | Err(_) => fail(Error::new(ExitCode::Terminated, "stopped by SIGTERM")),
            };
            thread::spawn_scoped(scope, "signals", wait)
                .map_err(|error| Error::system("thread", &error))?;
            receive()
        })
    }
}
