//! What a terminal says about itself: its width, whether this process is in front, and
//! whether it shows what is typed.

use super::{check, retry};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many columns the terminal's window has now (ioctl_tty(2), TIOCGWINSZ). 0 where the
/// terminal does not know.
pub fn columns(terminal: BorrowedFd<'_>) -> io::Result<u16> {
    // SAFETY: all-zero is a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives through the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) })?;
    Ok(size.ws_col)
}

/// Whether another group of processes than this one's is in the foreground of the terminal:
/// this one was sent to the background. `false` where it is not this process's terminal.
pub fn is_in_background(terminal: BorrowedFd<'_>) -> bool {
    // SAFETY: tcgetpgrp takes a number and touches no memory; getpgrp takes nothing.
    let (front, own) = unsafe { (libc::tcgetpgrp(terminal.as_raw_fd()), libc::getpgrp()) };
    front > 0 && front != own
}

/// How a terminal treats what is typed (termios(3)).
#[derive(Clone)]
pub struct Settings(libc::termios);

impl Settings {
    /// Those of `terminal` now.
    pub fn of(terminal: BorrowedFd<'_>) -> io::Result<Settings> {
        // SAFETY: all-zero is a valid termios.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: tcgetattr writes one termios, which lives through the call.
        check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) })?;
        Ok(Settings(settings))
    }

    /// The same for a secret: only the end of the line is shown. Ctrl-\ does nothing, since
    /// the signal that it sends would leave the terminal so.
    #[must_use]
    pub fn for_a_secret(&self) -> Settings {
        let mut settings = self.0;
        settings.c_lflag &= !libc::ECHO;
        settings.c_lflag |= libc::ICANON | libc::ISIG | libc::ECHONL;
        settings.c_cc[libc::VQUIT] = 0; // _POSIX_VDISABLE
        Settings(settings)
    }

    /// Gives `terminal` these settings. From a process in the background the call stops
    /// the process, as SIGTTOU does, until it is in front.
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
    fn what_is_no_terminal_has_no_width_and_no_foreground() {
        let file = File::open("/dev/null").unwrap();
        assert!(columns(file.as_fd()).is_err());
        assert!(!is_in_background(file.as_fd()));
        assert!(Settings::of(file.as_fd()).is_err());
    }
}
