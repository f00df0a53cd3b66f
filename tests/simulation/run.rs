//! Carries a plan out: phases of a transfer, each with both ends, until the file is whole.

use crate::network::{Network, NetworkDial, session};
use crate::plan::{Kill, Place, Plan};
use crate::random::{Choices as _, Random};
use crate::world::{World, acceptor, sink};
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode};
use ropewalk::hash::{Md5, hex};
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::{Rate, Throttle};
use ropewalk::transfer::store::Store;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Phases after which a transfer must have come to its end.
const MAX_PHASES: usize = 40;

/// Carries `plan` out. What is wrong, where something is.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    let mut random = Random::from_seed(plan.seed ^ 0x5eed);
    let world = Arc::new(world(plan, &mut random));
    let network = Network::new(plan.weather(), random.split());
    let mut run = Run { plan, world, network, kills: plan.kills.clone().into(), damaged: false };
    for phase in 0.. {
        if phase == MAX_PHASES {
            return Err(format!("not whole after {MAX_PHASES} phases"));
        }
        let done = match plan.sink_dials {
            true => run.sink_dials()?,
            false => run.source_dials()?,
        };
        run.network.lose_session();
        if let Some(done) = done {
            run.network.end();
            return run.judge(&done);
        }
        run.damage();
    }
    Ok(())
}

fn world(plan: &Plan, random: &mut Random) -> World {
    let run = |(index, &length): (usize, &u64)| match index % 2 {
        0 => {
            // Repeated bytes would hide that a range is at the wrong place.
            let mut bytes = Vec::with_capacity(length as usize + 8);
            while (bytes.len() as u64) < length {
                bytes.extend_from_slice(&random.next().to_ne_bytes());
            }
            bytes.truncate(length as usize);
            Ok(bytes)
        }
        _ => Err(length),
    };
    World::new(&plan.runs.iter().enumerate().map(run).collect::<Vec<_>>())
}

struct Run<'a> {
    plan: &'a Plan,
    world: Arc<World>,
    network: Arc<Network>,
    kills: std::collections::VecDeque<Kill>,
    damaged: bool,
}

/// What came of a transfer: the report, and the bytes that went out where they did.
struct Done {
    report: Report,
    out: Option<Vec<u8>>,
}

/// The session that the accepting process serves now.
struct Serving {
    thread: JoinHandle<Option<Report>>,
}

impl Run<'_> {
    /// Sets the next kill of the acceptor on, or says when the dialler is killed.
    fn next_kill(&mut self) -> Option<u64> {
        match self.kills.pop_front()? {
            Kill::Acceptor(after) => {
                self.network.lose_session_after(after);
                None
            }
            Kill::Dialler(after) => Some(after),
        }
    }

    fn throttle(&self) -> Throttle {
        let rate = self.plan.rate.map(|rate| Arc::new(Rate::new(rate)));
        Throttle { rate, streams: self.plan.streams }
    }

    /// Starts a process that accepts as a source.
    fn start_source(&self, token: Token) -> Serving {
        let (plan, timing) = (self.plan, self.plan.timing());
        let (acceptor, way) = acceptor(plan.listens, timing);
        self.network.open(way);
        let (source, streams) = (self.world.source(self.throttle(), timing), plan.streams);
        let thread = thread::spawn(move || {
            let _ = source.accept(acceptor, &token, streams, |_| {});
            None
        });
        Serving { thread }
    }

    /// Starts a process that accepts as a sink.
    fn start_sink(&self, token: Token, store: Store) -> Serving {
        let (plan, timing) = (self.plan, self.plan.timing());
        let (acceptor, way) = acceptor(plan.listens, timing);
        self.network.open(way);
        let sink = sink(&self.world, store, plan.streams, plan.verify, timing);
        let thread = thread::spawn(move || sink.accept(acceptor, &token, |_| {}).ok());
        Serving { thread }
    }

    fn dialler(&self, token: Token) -> Dialler {
        let session = session(token.bytes(), self.plan.streams);
        let dial = Box::new(NetworkDial(self.network.clone()));
        Dialler::new(dial, session.token, session.streams, self.plan.timing())
    }

    /// Where the sink puts the bytes; and the thread that reads those that go out.
    fn store(&self) -> (Store, Option<JoinHandle<Vec<u8>>>) {
        match (self.plan.place, &self.plan.older) {
            (Place::Kept { sync }, None) => (self.world.kept(sync), None),
            (Place::Kept { sync }, Some((changed, size))) => {
                (self.world.kept_beside(sync, changed, *size), None)
            }
            (Place::Piped, _) => {
                let (here, mut there) = UnixStream::pair().unwrap();
                let reader = thread::spawn(move || {
                    let mut all = Vec::new();
                    there.read_to_end(&mut all).unwrap();
                    all
                });
                (self.world.piped(here.into()), Some(reader))
            }
        }
    }

    /// One phase in which the sink dials. `None` when it was killed.
    fn sink_dials(&mut self) -> Result<Option<Done>, String> {
        let (plan, timing) = (self.plan, self.plan.timing());
        let (store, reader) = self.store();
        let sink = sink(&self.world, store, plan.streams, plan.verify, timing);
        let token = Token::random().unwrap();
        let dialler = self.dialler(token);
        let mut serving = vec![self.start_source(token)];
        let kill_at = self.next_kill();
        let killed = Mutex::new(false);
        let done = sink.dial(&dialler, |report| match report {
            Report::Lost { .. } => {
                let token = Token::random().unwrap();
                self.next_kill();
                self.network.lose_session();
                serving.push(self.start_source(token));
                dialler.renew(&session(token.bytes(), plan.streams));
            }
            Report::Progress(tally)
                if kill_at.is_some_and(|at| (at..self.world.size).contains(&tally.bytes)) =>
            {
                *killed.lock().unwrap() = true;
                sink.fail(Error::new(ExitCode::Terminated, "killed"));
            }
            _ => {}
        });
        drop(sink); // what goes out ends
        self.network.lose_session();
        serving.into_iter().for_each(|serving| drop(serving.thread.join().unwrap()));
        let out = reader.map(|reader| reader.join().unwrap());
        match done {
            Ok(report) => Ok(Some(Done { report, out })),
            Err(_) if *killed.lock().unwrap() => Ok(None),
            Err(error) => Err(format!("the sink failed: {error}")),
        }
    }

    /// One phase in which the source dials. `None` when it was killed.
    fn source_dials(&mut self) -> Result<Option<Done>, String> {
        let (plan, timing) = (self.plan, self.plan.timing());
        let source = self.world.source(self.throttle(), timing);
        let token = Token::random().unwrap();
        let dialler = self.dialler(token);
        let (store, mut reader) = self.store();
        let mut serving = Some(self.start_sink(token, store));
        let kill_at = self.next_kill();
        let mut done = None;
        let mut killed = false;
        let sent = source.dial(&dialler, |report| match report {
            Report::Lost { .. } => {
                self.network.lose_session();
                done = serving.take().and_then(|serving| serving.thread.join().unwrap());
                if done.is_some() || plan.place == Place::Piped {
                    // What went out cannot be had again.
                    return source.fail(Error::new(ExitCode::Network, "lost"));
                }
                let token = Token::random().unwrap();
                self.next_kill();
                serving = Some(self.start_sink(token, self.store().0));
                dialler.renew(&session(token.bytes(), plan.streams));
            }
            Report::Progress(tally) if kill_at.is_some_and(|at| tally.bytes >= at) => {
                killed = true;
                source.fail(Error::new(ExitCode::Terminated, "killed"));
            }
            _ => {}
        });
        if sent.is_err() {
            self.network.lose_session();
        }
        done = done.or_else(|| serving.and_then(|serving| serving.thread.join().unwrap()));
        let out = reader.take().map(|reader| reader.join().unwrap());
        match done {
            Some(report) => Ok(Some(Done { report, out })),
            None if sent.is_ok() => Err("the source was told that a sink had everything".into()),
            None if killed || plan.place == Place::Piped => Ok(None),
            None => Err(format!("the source failed: {:?}", sent.err().map(|it| it.to_string()))),
        }
    }

    /// Damages the part file, as a disk may between two runs.
    fn damage(&mut self) {
        let is_kept = matches!(self.plan.place, Place::Kept { .. });
        if is_kept && !std::mem::replace(&mut self.damaged, true) {
            for &(start, end) in &self.plan.damage {
                let end = end.min(self.world.size);
                let junk = vec![0xa5; end.saturating_sub(start) as usize];
                self.world.part().write_all_at(&junk, start).unwrap();
            }
        }
    }

    /// Whether the file arrived.
    fn judge(&self, done: &Done) -> Result<(), String> {
        let Report::Done { md5, tally, .. } = &done.report else {
            return Err(format!("ended with {:?}", done.report));
        };
        let right = match &done.out {
            Some(out) => *out == self.world.bytes(),
            None => self.world.is_whole(),
        };
        let expected = (self.plan.verify == Verify::Md5).then(|| {
            let mut digest = Md5::new();
            digest.update(&self.world.bytes());
            hex(&digest.finish())
        });
        match (right, *md5 == expected, tally.bytes == self.world.size) {
            (true, true, true) => Ok(()),
            (false, ..) => Err("the file differs".into()),
            (_, false, _) => Err(format!("MD5 {md5:?} in place of {expected:?}")),
            (.., false) => Err(format!("{} bytes in place of {}", tally.bytes, self.world.size)),
        }
    }
}
