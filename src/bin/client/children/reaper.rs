//! The children that run, and the end of each: a child whose connection nobody here holds any more
//! is ended if it does not end by itself. So a program that hangs does not stay.

#![forbid(unsafe_code)]

use super::child::Child;
use super::lines::Lines;
use ropewalk::app::supervise::{Place, Supervisor};
use ropewalk::sys::peer_watch::PeerWatch;
use ropewalk::sys::sync::lock;
use ropewalk::sys::{poll, thread};
use signal_hook::consts::{SIGKILL, SIGTERM};
use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long children may take to end by themselves at the end, after their connections were
/// closed; and then after each signal.
const GRACE: Duration = Duration::from_secs(1);

/// All children of a fetch or a push. Dropping this ends the thread, and no child.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    bell: UnixStream,
}

struct Shared {
    supervisor: Arc<Supervisor>,
    /// Says which children have a connection that is closed here.
    watch: PeerWatch,
    /// How long such a child may take to end by itself, and then after SIGTERM.
    hang_up: Duration,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// The number of the last child.
    last: u64,
    /// The children that may still run.
    running: Vec<(u64, Arc<Child>)>,
}

/// A child whose connection is closed here.
struct Closed {
    child: Arc<Child>,
    /// The signals that are left.
    signals: &'static [i32],
    /// When the next of them is due.
    at: Instant,
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no room for it.
    pub(super) fn start(supervisor: &Arc<Supervisor>, hang_up: Duration) -> io::Result<Reaper> {
        let (bell, ring) = UnixStream::pair()?;
        let (supervisor, watch) = (supervisor.clone(), PeerWatch::new()?);
        let shared = Arc::new(Shared { supervisor, watch, hang_up, all: Mutex::default() });
        let own = shared.clone();
        thread::spawn("reaper", move || own.run(&ring))?;
        Ok(Reaper { shared, bell })
    }

    /// Starts a child with these words. Returns the end of its socket that is here.
    pub(super) fn child(
        &self,
        words: &[OsString],
        place: Place,
        lines: &Arc<Lines>,
    ) -> io::Result<(Arc<Child>, UnixStream)> {
        let Shared { supervisor, watch, all, .. } = &*self.shared;
        let number = {
            let mut all = lock(all);
            all.last += 1;
            all.last
        };
        let add = |socket: &UnixStream| watch.add(socket.as_fd(), number);
        let (child, socket) = Child::start(supervisor, words, place, lines, add)?;
        let child = Arc::new(child);
        let mut all = lock(all);
        all.running.retain(|(_, child)| !child.is_known_to_have_ended());
        all.running.push((number, child.clone()));
        Ok((child, socket))
    }

    /// Ends all children but `kept`, and does not wait for that.
    pub(super) fn end_others(&self, kept: Option<&Arc<Child>>) {
        let all = lock(&self.shared.all);
        let is_kept = |child: &Arc<Child>| kept.is_some_and(|kept| Arc::ptr_eq(kept, child));
        for (_, child) in all.running.iter().filter(|(_, child)| !is_kept(child)) {
            child.signal(&self.shared.supervisor, SIGTERM);
        }
    }

    /// Ends all children, whose connections are closed, and waits until they have ended.
    pub(super) fn end(&self) {
        let running = std::mem::take(&mut lock(&self.shared.all).running);
        let mut left: Vec<Arc<Child>> = running.into_iter().map(|(_, child)| child).collect();
        for signal in [None, Some(SIGTERM), Some(SIGKILL)] {
            if let Some(number) = signal {
                left.iter().for_each(|child| child.signal(&self.shared.supervisor, number));
            }
            let deadline = Instant::now() + GRACE;
            left.retain(|child| !child.has_ended_by(deadline));
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let _ = self.bell.shutdown(Shutdown::Both);
    }
}

impl Shared {
    /// Ends children until the bell rings.
    fn run(&self, ring: &UnixStream) {
        let mut closed: Vec<Closed> = Vec::new();
        loop {
            let next = closed.iter().map(|closed| closed.at).min();
            let limit = next.map(|at| at.saturating_duration_since(Instant::now()));
            let ready = poll::readable(&[self.watch.as_fd(), ring.as_fd()], limit);
            // After an error, children stay until the end of all.
            let Ok([_, false]) = ready.as_deref() else { return };
            let Ok(numbers) = self.watch.ended() else { return };
            closed.extend(numbers.into_iter().filter_map(|number| self.closed(number)));
            closed.retain_mut(|closed| self.go_on(closed));
        }
    }

    fn closed(&self, number: u64) -> Option<Closed> {
        let all = lock(&self.all);
        let (_, child) = all.running.iter().find(|(other, _)| *other == number)?;
        let (child, at) = (child.clone(), Instant::now() + self.hang_up);
        Some(Closed { child, signals: &[SIGTERM, SIGKILL], at })
    }

    /// Sends the next signal if it is due. `false` if nothing is left to do.
    fn go_on(&self, closed: &mut Closed) -> bool {
        let now = Instant::now();
        if closed.at > now {
            return true;
        }
        match closed.signals {
            [number, rest @ ..] if !closed.child.has_ended_by(now) => {
                closed.child.signal(&self.supervisor, *number);
                (closed.signals, closed.at) = (rest, now + self.hang_up);
                !rest.is_empty()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that runs `sh -c text`.
    fn start(reaper: &Reaper, text: &str, place: Place) -> (Arc<Child>, UnixStream) {
        let words = ["sh", "-c", text].map(OsString::from);
        reaper.child(&words, place, &Arc::new(Lines::new("box", true))).unwrap()
    }

    fn reaper() -> Reaper {
        let supervisor = Arc::new(Supervisor::start(&[]).unwrap());
        Reaper::start(&supervisor, Duration::from_millis(20)).unwrap()
    }

    /// Waits for the end of a child. No wait is long: a signal waits for it.
    fn ends(child: &Child) {
        while !child.has_ended_by(Instant::now() + Duration::from_millis(1)) {}
    }

    #[test]
    fn a_child_that_hangs_is_ended_soon_after_its_connection_was_closed() {
        let reaper = reaper();
        // One takes SIGTERM, and the other only SIGKILL.
        for text in ["exec sleep 1000", "trap '' TERM; while :; do sleep 1; done"] {
            for place in [Place::Own, Place::Foreground] {
                let (child, socket) = start(&reaper, text, place);
                let (other, _open) = start(&reaper, "exec sleep 1000", Place::Own);
                drop(socket);
                ends(&child);
                assert!(!other.has_ended_by(Instant::now()));
                reaper.end();
                ends(&other);
            }
        }
    }

    #[test]
    fn a_child_whose_connection_is_open_stays() {
        let reaper = reaper();
        let (child, _socket) = start(&reaper, "exec sleep 1000", Place::Own);
        let (closed, socket) = start(&reaper, "exec sleep 1000", Place::Own);
        drop(socket);
        ends(&closed);
        assert!(!child.has_ended_by(Instant::now()));
        reaper.end_others(Some(&child));
        assert!(!child.has_ended_by(Instant::now() + Duration::from_millis(1)));
        reaper.end_others(None);
        ends(&child);
    }
}
