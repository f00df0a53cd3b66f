//! What children say on standard error: each line is shown once, however many children say it.

#![forbid(unsafe_code)]

use ropewalk::app::terminal;
use ropewalk::codec::text::escape_limited;
use ropewalk::sys::sync::{lock, wait_until};
use ropewalk::sys::thread;
use std::collections::HashSet;
use std::io::Read;
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// The most different lines that are shown.
const MOST_LINES: usize = 50;

/// The most bytes of a line that count.
const LINE: usize = 300;

/// What ssh says when a login fails, and another attempt would fail too.
const LOGIN_FAILED: [&[u8]; 3] =
    [b"Permission denied", b"Too many authentication failures", b"Host key verification failed"];

/// The lines of all children.
pub(super) struct Lines {
    /// The host, escaped.
    shown: String,
    quiet: bool,
    seen: Mutex<HashSet<Vec<u8>>>,
}

/// What one child has said.
pub(super) struct Heard(Arc<(Mutex<Said>, Condvar)>);

#[derive(Default)]
struct Said {
    last: Option<Vec<u8>>,
    is_login: bool,
    ended: bool,
}

impl Lines {
    /// Nothing was said yet. With `quiet` nothing is shown.
    pub(super) fn new(shown: &str, quiet: bool) -> Lines {
        Lines { shown: shown.to_string(), quiet, seen: Mutex::default() }
    }

    /// Reads what a child says, until nobody can say more. Everything is read, so that no child
    /// waits for a full pipe.
    pub(super) fn follow(self: &Arc<Lines>, errors: Option<ChildStderr>) -> Heard {
        let heard = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let (lines, said) = (self.clone(), heard.clone());
        // Without a thread the pipe is closed, and the child says nothing.
        let _ = thread::spawn("errors", move || {
            if let Some(errors) = errors {
                lines.read(errors, &said.0);
            }
            lock(&said.0).ended = true;
            said.1.notify_all();
        })
        .map_err(|_| lock(&heard.0).ended = true);
        Heard(heard)
    }

    fn read(&self, mut errors: impl Read, said: &Mutex<Said>) {
        let (mut line, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = errors.read(&mut piece) {
            for &byte in &piece[..count] {
                match byte {
                    b'\n' | b'\r' => self.hear(&std::mem::take(&mut line), said),
                    _ if line.len() < LINE => line.push(byte),
                    _ => {}
                }
            }
        }
        self.hear(&line, said);
    }

    fn hear(&self, line: &[u8], said: &Mutex<Said>) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        {
            let mut said = lock(said);
            let has = |words: &&[u8]| line.windows(words.len()).any(|part| part == *words);
            said.is_login |= LOGIN_FAILED.iter().any(has);
            said.last = Some(line.to_vec());
        }
        if !self.quiet && self.is_new(line) {
            terminal::log(format_args!("{}: {}", self.shown, escape_limited(line, LINE)));
        }
    }

    /// Whether nobody has said so before, and not too much was said.
    fn is_new(&self, line: &[u8]) -> bool {
        let mut seen = lock(&self.seen);
        seen.len() < MOST_LINES && seen.insert(line.to_vec())
    }
}

impl Heard {
    /// Waits until the child can say no more.
    pub(super) fn wait_for_end(&self, deadline: Instant) {
        let (said, changed) = &*self.0;
        drop(wait_until(changed, lock(said), deadline, |said| said.ended));
    }

    /// The last line, and whether any line said that the login failed.
    pub(super) fn last(&self) -> (Option<Vec<u8>>, bool) {
        let said = lock(&self.0.0);
        (said.last.clone(), said.is_login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8]) -> Said {
        let said = Mutex::default();
        Lines::new("box", true).read(text, &said);
        said.into_inner().unwrap()
    }

    #[test]
    fn the_last_line_counts_even_without_its_end() {
        assert_eq!(said(b"one\r\ntwo\n\n").last.unwrap(), b"two");
        assert_eq!(said(b"one\ntwo").last.unwrap(), b"two");
        assert!(said(b"\n\r\n").last.is_none());
    }

    #[test]
    fn a_failed_login_is_seen_in_any_line() {
        assert!(said(b"ann@box: Permission denied (publickey).\nbye\n").is_login);
        assert!(!said(b"kex_exchange_identification: Connection reset by peer\n").is_login);
    }

    #[test]
    fn a_flood_is_read_and_bounded() {
        assert_eq!(said(&vec![b'x'; 1 << 20]).last.unwrap().len(), LINE);
        let lines = Lines::new("box", true);
        let new = (0..1000).filter(|number: &u32| lines.is_new(&number.to_be_bytes())).count();
        assert_eq!(new, MOST_LINES);
    }

    #[test]
    fn a_line_is_new_once() {
        let lines = Lines::new("box", true);
        assert_eq!([b"a", b"b", b"a"].map(|line| lines.is_new(line)), [true, true, false]);
    }
}
