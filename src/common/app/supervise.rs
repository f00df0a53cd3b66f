//! Workers as child processes: one thread starts, signals and reaps them all, and
//! lives as long as the program (a worker's parent-death signal is tied to it).
//!
//! A worker leads a process group of its own. It is in the supervisor's list from its start until
//! it is reaped. Only a group in the list gets signals. A helper is a program that is no worker,
//! such as ssh. It may stay in this program's own group, to ask a person at the terminal.

#![forbid(unsafe_code)]

use super::job;
use super::report::Reports;
use super::signals::{Signal, Signals};
use crate::codec::json::Value;
use crate::sys::process::{self, Ended, Pid};
use crate::sys::sync::lock;
use crate::sys::thread;
use signal_hook::consts::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long a worker has between SIGTERM and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// The pause after a wait that failed.
const FAILED_WAIT: Duration = Duration::from_millis(100);

/// A running worker. Dropping this closes its lifeline, which ends it.
pub struct Worker {
    /// Its reports.
    pub reports: Reports<ChildStdout>,
    lifeline: UnixStream,
    pid: Pid,
    ended: mpsc::Receiver<Ended>,
}

impl Worker {
    /// The socket that is the worker's standard input.
    pub fn lifeline(&self) -> &UnixStream {
        &self.lifeline
    }

    /// Waits until the worker has ended and is reaped. `None` only if the supervisor is gone.
    pub fn wait(&self) -> Option<Ended> {
        self.ended.recv().ok()
    }
}

/// A running program that is no worker. Dropping this does not end it.
pub struct Helper {
    /// Its standard error.
    pub errors: Option<ChildStderr>,
    pid: Pid,
    ended: mpsc::Receiver<Ended>,
}

impl Helper {
    /// Waits until the program has ended and is reaped, for `limit` at most.
    pub fn wait(&self, limit: Duration) -> Option<Ended> {
        self.ended.recv_timeout(limit).ok()
    }
}

/// The process group of a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// That of this program: the terminal's keys reach it, and it may ask there.
    Foreground,
    /// One of its own.
    Own,
}

/// An order to the thread.
enum Order {
    Start { program: PathBuf, input: OwnedFd, answer: mpsc::SyncSender<io::Result<Started>> },
    Help { command: Box<Command>, place: Place, answer: mpsc::SyncSender<io::Result<Helper>> },
    Signal { number: i32, done: mpsc::SyncSender<()> },
    SignalOne { pid: Pid, number: i32 },
    Stop { grace: Duration, done: UnixStream },
}

/// The thread's answer to a start.
struct Started {
    output: ChildStdout,
    pid: Pid,
    ended: mpsc::Receiver<Ended>,
}

/// The owner of the thread. The thread ends when this is dropped and no worker is left.
pub struct Supervisor {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    bell: UnixStream,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the thread. Workers do not inherit the environment variables `kept_back`.
    pub fn start(kept_back: &'static [&'static str]) -> io::Result<Supervisor> {
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ring.set_nonblocking(true)?;
        let (orders, inbox) = mpsc::channel();
        let signals = Signals::install(&[Signal::Child], &[Signal::Child])?;
        let children = Vec::new();
        let state = Thread { inbox, ring, signals, kept_back, children, stopping: None };
        let thread = thread::spawn("supervisor", move || state.run())?;
        Ok(Supervisor { orders: Mutex::new(Some(orders)), bell, thread: Some(thread) })
    }

    /// Starts `program` as a worker with this job.
    pub fn start_worker(
        &self,
        program: &Path,
        job: Value,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Worker> {
        let (lifeline, input) = UnixStream::pair()?;
        // Sent before the worker exists. The buffer of the socket holds the whole job until the
        // worker reads it.
        job::send(&lifeline, job, descriptors)?;
        let (answer, started) = mpsc::sync_channel(1);
        self.order(Order::Start { program: program.into(), input: input.into(), answer })?;
        let started = started.recv().map_err(|_| gone())??;
        let Started { output, pid, ended } = started;
        Ok(Worker { reports: Reports::new(output), lifeline, pid, ended })
    }

    /// Asks a worker to end, unless it is reaped already: one of a folder puts in place what is
    /// complete, and leaves nothing else. Without its lifeline it would end at once.
    pub fn end_worker(&self, worker: &Worker) {
        let _ = self.order(Order::SignalOne { pid: worker.pid, number: SIGTERM });
    }

    /// Starts a helper. Its standard error is read here; `command` says what its standard input and
    /// output are.
    pub fn start_helper(&self, command: Command, place: Place) -> io::Result<Helper> {
        let (answer, started) = mpsc::sync_channel(1);
        self.order(Order::Help { command: Box::new(command), place, answer })?;
        started.recv().map_err(|_| gone())?
    }

    /// Sends a signal to a helper, unless it is reaped already.
    pub fn signal_helper(&self, helper: &Helper, number: i32) {
        let _ = self.order(Order::SignalOne { pid: helper.pid, number });
    }

    /// Pauses every worker (SIGSTOP) until [`Supervisor::resume`]. The signals are sent when this
    /// returns: the caller may then stop its own process, and with it the thread that sends them.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(SIGSTOP)
    }

    /// Resumes paused workers.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(SIGCONT)
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        let (done, wait) = mpsc::sync_channel(1);
        self.order(Order::Signal { number, done })?;
        wait.recv().map_err(|_| gone())
    }

    /// Ends every worker, and starts no other: SIGTERM, then SIGKILL after `grace`. The answer
    /// reaches its end of file when all are reaped, so a main thread can wait for it and for a
    /// second signal.
    pub fn stop(&self, grace: Duration) -> io::Result<UnixStream> {
        let (done, wait) = UnixStream::pair()?;
        self.order(Order::Stop { grace, done })?;
        Ok(wait)
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let orders = lock(&self.orders);
        orders.as_ref().and_then(|orders| orders.send(order).ok()).ok_or_else(gone)?;
        ring(&self.bell);
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(lock(&self.orders).take());
        ring(&self.bell);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Wakes the thread. A full pipe has woken it already.
fn ring(mut bell: &UnixStream) {
    let _ = bell.write(&[0]);
}

fn gone() -> io::Error {
    io::Error::other("the supervisor is gone")
}

/// The thread's own state.
struct Thread {
    inbox: mpsc::Receiver<Order>,
    ring: UnixStream,
    signals: Signals,
    /// Variables that no worker inherits.
    kept_back: &'static [&'static str],
    children: Vec<Child>,
    stopping: Option<Stopping>,
}

/// A child that is not reaped.
struct Child {
    pid: Pid,
    place: Place,
    is_helper: bool,
    tell: mpsc::SyncSender<Ended>,
}

impl Child {
    fn signal(&self, number: i32) {
        let _ = match self.place {
            Place::Own => process::signal_group(self.pid, number),
            Place::Foreground => process::signal_child(self.pid, number),
        };
    }
}

/// After [`Supervisor::stop`]: SIGTERM was sent.
struct Stopping {
    /// When SIGKILL follows; `None` after it did.
    kill_at: Option<Instant>,
    /// Dropped when all workers are reaped: the callers' sockets then end.
    done: Vec<UnixStream>,
}

impl Thread {
    fn run(mut self) {
        let mut open = true;
        while open || !self.children.is_empty() {
            let kill_at = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
            let limit = kill_at.map(|at| at.saturating_duration_since(Instant::now()));
            if self.signals.wait(&[self.ring.as_fd()], limit).is_err() {
                // The thread goes on, since no worker could start without it. The pause keeps it
                // from spinning.
                std::thread::sleep(FAILED_WAIT);
            }
            while matches!(self.ring.read(&mut [0; 64]), Ok(1..)) {}
            open = self.take_orders();
            self.reap();
            self.escalate();
        }
    }

    /// Carries out the orders. `false` when the owner is gone.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Start { program, input, answer }) => {
                    let started = self.start(&program, input);
                    let _ = answer.send(started);
                }
                Ok(Order::Help { command, place, answer }) => {
                    let started = self.help(*command, place);
                    let _ = answer.send(started);
                }
                Ok(Order::Signal { number, done }) => {
                    self.children.iter().filter(|child| !child.is_helper).for_each(|child| {
                        child.signal(number);
                    });
                    let _ = done.send(());
                }
                Ok(Order::SignalOne { pid, number }) => {
                    let child = self.children.iter().find(|child| child.pid == pid);
                    child.into_iter().for_each(|child| child.signal(number));
                }
                Ok(Order::Stop { grace, done }) => self.stop(grace, done),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn start(&mut self, program: &Path, input: OwnedFd) -> io::Result<Started> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the program is being stopped"));
        }
        let mut command = Command::new(program);
        for variable in self.kept_back {
            command.env_remove(variable);
        }
        let mut child = command
            .arg("--job")
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (tell, ended) = mpsc::sync_channel(1);
        // std's handle neither reaps nor ends the child when dropped; this list does.
        let (pid, place) = (child.id() as Pid, Place::Own);
        self.children.push(Child { pid, place, is_helper: false, tell });
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        Ok(Started { output, pid, ended })
    }

    fn help(&mut self, mut command: Command, place: Place) -> io::Result<Helper> {
        if self.stopping.is_some() {
            return Err(io::Error::other("the program is being stopped"));
        }
        for variable in self.kept_back {
            command.env_remove(variable);
        }
        if place == Place::Own {
            command.process_group(0);
        }
        process::ends_with_parent(&mut command, SIGTERM);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let (tell, ended) = mpsc::sync_channel(1);
        let pid = child.id() as Pid;
        self.children.push(Child { pid, place, is_helper: true, tell });
        Ok(Helper { errors: child.stderr.take(), pid, ended })
    }

    fn signal_all(&self, signal: i32) {
        self.children.iter().for_each(|child| child.signal(signal));
    }

    fn stop(&mut self, grace: Duration, done: UnixStream) {
        self.signal_all(SIGTERM);
        self.signal_all(SIGCONT); // a paused worker takes no SIGTERM
        let kill_at = Some(Instant::now() + grace);
        match &mut self.stopping {
            Some(stopping) => {
                stopping.kill_at = stopping.kill_at.min(kill_at);
                stopping.done.push(done);
            }
            None => self.stopping = Some(Stopping { kill_at, done: vec![done] }),
        }
    }

    /// Reaps workers that have ended, and kills the rest of their groups.
    fn reap(&mut self) {
        self.children.retain(|child| {
            if !process::has_ended(child.pid).unwrap_or(true) {
                return true;
            }
            if child.place == Place::Own {
                child.signal(SIGKILL);
            }
            let ended = process::reap(child.pid).unwrap_or(Ended::Exited(-1));
            let _ = child.tell.send(ended);
            false
        });
    }

    /// Continues a stop: sends SIGKILL when it is due, and ends the callers' wait when all are
    /// reaped.
    fn escalate(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if self.children.is_empty() {
            stopping.done.clear();
        } else if stopping.kill_at.is_some_and(|at| at <= Instant::now()) {
            stopping.kill_at = None;
            self.signal_all(SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A shell script in place of a worker. It gets `--job` and ignores it.
    fn script(test: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ropewalk-sup-{}-{test}", std::process::id()));
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        path
    }

    /// Starts the script; right after another test has forked, the file may still be
    /// open for writing in that child, and exec says "text file busy".
    fn start(supervisor: &Supervisor, path: &Path) -> Worker {
        loop {
            match supervisor.start_worker(path, Value::object([]), &[]) {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                other => return other.unwrap(),
            }
        }
    }

    /// Stops all workers, and waits until they are reaped.
    fn stop(supervisor: &Supervisor, grace: Duration) {
        let mut rest = Vec::new();
        supervisor.stop(grace).unwrap().read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }

    /// Starts a script that has printed a report before this returns.
    fn running(supervisor: &Supervisor, test: &str, text: &str) -> Worker {
        let report = r#"echo '{"state":"progress","bytes":0,"streams":0}'"#;
        let path = script(test, &text.replace("READY", report));
        let mut worker = start(supervisor, &path);
        assert!(worker.reports.next_report().unwrap().is_some());
        std::fs::remove_file(path).unwrap();
        worker
    }

    #[test]
    fn an_end_is_reported() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let path = script("exit", "exit 5");
        assert_eq!(start(&supervisor, &path).wait(), Some(Ended::Exited(5)));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let missing = Path::new("/nonexistent/worker");
        let error = supervisor.start_worker(missing, Value::object([]), &[]).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn dropping_a_worker_closes_its_lifeline() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let worker = running(&supervisor, "drop", "READY; cat >/dev/null; exit 9");
        let Worker { lifeline, ended, .. } = worker;
        drop(lifeline);
        assert_eq!(ended.recv(), Ok(Ended::Exited(9)));
    }

    #[test]
    fn stopping_ends_a_worker_by_sigterm() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let worker = running(&supervisor, "term", "READY; sleep 1000 & wait");
        stop(&supervisor, Duration::from_secs(1000));
        assert_eq!(worker.wait(), Some(Ended::Killed(SIGTERM)));
    }

    #[test]
    fn a_worker_that_ignores_sigterm_is_killed() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let worker =
            running(&supervisor, "kill", "trap '' TERM; READY; while :; do sleep 0.1; done");
        stop(&supervisor, Duration::from_millis(50));
        assert_eq!(worker.wait(), Some(Ended::Killed(SIGKILL)));
    }

    #[test]
    fn a_paused_worker_is_stopped_too() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let worker = running(&supervisor, "pause", "READY; sleep 1000 & wait");
        supervisor.pause().unwrap();
        stop(&supervisor, Duration::from_secs(1000));
        assert_eq!(worker.wait(), Some(Ended::Killed(SIGTERM)));
    }

    /// Starts `sh -c text` as a helper that is in its place when this returns.
    fn helping(supervisor: &Supervisor, text: &str, place: Place) -> (Helper, UnixStream) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{text}; echo ready >&2; cat")]);
        let (here, there) = UnixStream::pair().unwrap();
        command.stdin(OwnedFd::from(there)).stdout(Stdio::null());
        let mut helper = supervisor.start_helper(command, place).unwrap();
        let errors = helper.errors.as_mut().unwrap();
        errors.read_exact(&mut [0; 6]).unwrap();
        (helper, here)
    }

    #[test]
    fn a_helper_is_signalled_alone_and_reaped() {
        let supervisor = Supervisor::start(&[]).unwrap();
        for place in [Place::Own, Place::Foreground] {
            let (other, _open) = helping(&supervisor, "true", place);
            let (helper, _input) = helping(&supervisor, "true", place);
            supervisor.signal_helper(&helper, SIGTERM);
            assert_eq!(helper.wait(Duration::from_secs(1000)), Some(Ended::Killed(SIGTERM)));
            assert_eq!(other.wait(Duration::ZERO), None);
            supervisor.signal_helper(&helper, SIGTERM);
            supervisor.signal_helper(&other, SIGKILL);
            assert_eq!(other.wait(Duration::from_secs(1000)), Some(Ended::Killed(SIGKILL)));
        }
    }

    #[test]
    fn stopping_ends_helpers_too() {
        let supervisor = Supervisor::start(&[]).unwrap();
        let (helper, _input) = helping(&supervisor, "trap '' TERM", Place::Own);
        stop(&supervisor, Duration::from_millis(50));
        assert_eq!(helper.wait(Duration::ZERO), Some(Ended::Killed(SIGKILL)));
    }

    #[test]
    fn nothing_is_started_after_a_stop() {
        let supervisor = Supervisor::start(&[]).unwrap();
        stop(&supervisor, Duration::ZERO);
        let job = Value::object([]);
        assert!(supervisor.start_worker(Path::new("/bin/true"), job, &[]).is_err());
    }
}
