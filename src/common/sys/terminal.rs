//! The state of a terminal: its width, whether this process is in its foreground, and its echo.

use super::{check, retry};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The width of the terminal's window, in columns (ioctl_tty(2), TIOCGWINSZ). 0 if the terminal
/// does not know it.
pub fn columns(terminal: BorrowedFd<'_>) -> io::Result<u16> {
    // SAFETY: all-zero is a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives through the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) })?;
    Ok(size.ws_col)
}

/// Whether this process is in the background: another process group is in the terminal's
/// foreground. `false` if it is not this process's terminal.
pub fn is_in_background(terminal: BorrowedFd<'_>) -> bool {
    // SAFETY: tcgetpgrp takes a number and touches no memory; getpgrp takes nothing.
    let (front, own) = unsafe { (libc::tcgetpgrp(terminal.as_raw_fd()), libc::getpgrp()) };
    front > 0 && front != own
}

/// The input settings of a terminal (termios(3)).
#[derive(Clone)]
pub struct Settings(libc::termios);

impl Settings {
    /// The present settings of `terminal`.
    pub fn of(terminal: BorrowedFd<'_>) -> io::Result<Settings> {
        // SAFETY: all-zero is a valid termios.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: tcgetattr writes one termios, which lives through the call.
        check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) })?;
        Ok(Settings(settings))
    }

    /// These settings for a secret: the terminal echoes only the end of the line. Ctrl-\ does
    /// nothing, since its signal would leave the echo off.
    #[must_use]
    pub fn for_a_secret(&self) -> Settings {
        let mut settings = self.0;
        settings.c_lflag &= !libc::ECHO;
        settings.c_lflag |= libc::ICANON | libc::ISIG | libc::ECHONL;
        settings.c_cc[libc::VQUIT] = 0; // _POSIX_VDISABLE
        Settings(settings)
    }

    /// Applies these settings to `terminal`. A process in the background is stopped, by SIGTTOU,
    /// until it is in the foreground.
    pub fn put_on(&self, terminal: BorrowedFd<'_>) -> io::Result<()> {
        retry(|| {
            let number = terminal.as_raw_fd();
            // SAFETY: the settings are readable and live through the call.
            check(unsafe { libc::tcsetattr(number, libc::TCSADRAIN, &self.0) }).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_has_no_width_and_no_foreground() {
        let file = File::open("/dev/null").unwrap();
        assert!(columns(file.as_fd()).is_err());
        assert!(!is_in_background(file.as_fd()));
        assert!(Settings::of(file.as_fd()).is_err());
    }
}
