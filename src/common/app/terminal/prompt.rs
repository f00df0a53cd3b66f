//! Questions to the user at the terminal. The terminal does not echo a secret. Whatever ends or
//! stops the program meanwhile turns the echo on again first.

#![forbid(unsafe_code)]

use super::SCREEN;
use crate::sys::sync::lock;
use crate::sys::terminal::Settings;
use crate::sys::{poll, process};
use signal_hook::consts::SIGQUIT;
use signal_hook::{flag, low_level};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// The longest answer, in bytes. A longer one counts as none.
const MAX_ANSWER: usize = 1000;

/// The open question.
static OPEN: Mutex<Option<Question>> = Mutex::new(None);

struct Question {
    terminal: File,
    text: String,
    /// For a secret: the terminal's settings before the question.
    before: Option<Settings>,
}

impl Question {
    fn ask(&self) -> io::Result<()> {
        if let Some(before) = &self.before {
            before.for_a_secret().put_on(self.terminal.as_fd())?;
        }
        (&self.terminal).write_all(self.text.as_bytes())
    }

    fn restore(&self) {
        if let Some(before) = &self.before {
            let _ = before.put_on(self.terminal.as_fd());
        }
    }
}

/// Opens the terminal of this process, if standard error is a terminal too: then a person has
/// started the program.
pub fn terminal() -> Option<File> {
    let is_seen = io::stderr().is_terminal();
    File::options().read(true).write(true).open("/dev/tty").ok().filter(|_| is_seen)
}

/// Shows `text`, which the caller has escaped, and reads a line. The terminal does not echo a
/// `secret`. `None` if the user gives no answer, or `stop` is closed first. No bar is drawn
/// meanwhile.
pub fn ask(
    terminal: &File,
    text: &str,
    secret: bool,
    stop: BorrowedFd<'_>,
) -> io::Result<Option<Vec<u8>>> {
    drop(super::hush());
    lock(&SCREEN).asks = true;
    let quit = Quit::watched();
    let waits = quit.map_or(stop, |quit| quit.pipe.as_fd());
    quit.inspect(|quit| quit.is_calm.store(false, Ordering::SeqCst));
    let before = secret.then(|| Settings::of(terminal.as_fd())).transpose();
    let answer = before.and_then(|before| {
        let question = Question { terminal: terminal.try_clone()?, text: text.into(), before };
        let open = lock(&OPEN).insert(question).ask();
        open.and_then(|()| read_line(terminal, stop, waits))
    });
    close();
    quit.inspect(|quit| quit.is_calm.store(true, Ordering::SeqCst));
    lock(&SCREEN).asks = false;
    if quit.is_some_and(|quit| quit_was_sent(&quit.pipe)) {
        low_level::emulate_default_handler(SIGQUIT)?;
    }
    answer
}

/// Whether SIGQUIT has come. Another process sends it: no key does while a question is open.
struct Quit {
    /// Whether no question is open: then SIGQUIT has its default action.
    is_calm: Arc<AtomicBool>,
    pipe: UnixStream,
}

impl Quit {
    /// Handles SIGQUIT from now on, for all questions. `None` if it is ignored or cannot be
    /// handled.
    fn watched() -> Option<&'static Quit> {
        static QUIT: OnceLock<Option<Quit>> = OnceLock::new();
        let quit = QUIT.get_or_init(|| match process::is_ignored(SIGQUIT) {
            true => None,
            false => Quit::watch().ok(),
        });
        quit.as_ref()
    }

    fn watch() -> io::Result<Quit> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let is_calm = Arc::new(AtomicBool::new(true));
        flag::register_conditional_default(SIGQUIT, is_calm.clone())?;
        low_level::pipe::register(SIGQUIT, writer)?;
        Ok(Quit { is_calm, pipe })
    }
}

/// Whether the signal came.
fn quit_was_sent(mut pipe: &UnixStream) -> bool {
    matches!(pipe.read(&mut [0]), Ok(1))
}

/// A line without its end.
fn read_line(
    mut terminal: &File,
    stop: BorrowedFd<'_>,
    quit: BorrowedFd<'_>,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let ready = poll::readable(&[terminal.as_fd(), stop, quit], None)?;
        if ready[1..].contains(&true) {
            return Ok(None);
        }
        let mut buffer = [0; 256];
        let count = terminal.read(&mut buffer)?;
        line.extend_from_slice(&buffer[..count]);
        if line.len() > MAX_ANSWER + 1 {
            return Ok(None);
        }
        match line.strip_suffix(b"\n") {
            Some(b"") => return Ok(None),
            Some(answer) => return Ok(Some(answer.to_vec())),
            None if count == 0 => return Ok(None),
            None => {}
        }
    }
}

/// The process is about to stop: restores the terminal's settings.
pub fn leave() {
    if let Some(question) = &*lock(&OPEN) {
        question.restore();
    }
}

/// The process goes on: asks the question once more.
pub fn come_back() {
    if let Some(question) = &*lock(&OPEN) {
        let _ = question.ask();
    }
}

fn close() {
    if let Some(question) = lock(&OPEN).take() {
        question.restore();
    }
}
