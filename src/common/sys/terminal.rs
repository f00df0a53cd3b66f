//! What a terminal says about itself: its width, and whether this process is in front.

use super::check;
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
    }
}
