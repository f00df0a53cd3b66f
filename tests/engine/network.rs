//! A network in one process: a dialler gets one end of a socketpair, an acceptor the end of
//! another, and two threads carry bytes between them, with the faults of a plan.

#![allow(dead_code)] // each of the test targets uses a part

use crate::random::{Choices as _, Random};
use ropewalk::codec::message::session::Session;
use ropewalk::codec::wire::{HELLO_SIZE, Hello};
use ropewalk::sys::stream::Stream;
use ropewalk::transfer::link::acceptor::Entrance;
use ropewalk::transfer::link::dial::Dial;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How an acceptor gets its streams.
#[derive(Clone)]
pub(crate) enum Way {
    /// Its own listener takes them.
    Listener(SocketAddr),
    /// They are handed over.
    Entrance(Entrance),
}

/// Something that befalls one direction of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both directions end at once.
    Reset,
    /// This direction ends; the other goes on.
    HalfClose,
    /// One bit of the byte is flipped.
    Flip,
    /// Nothing is carried for a while.
    Stall(Duration),
    /// The byte is lost, and all others come.
    Drop,
    /// The byte comes twice.
    Double,
}

/// What one direction of one stream does to its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Most bytes that are carried at once.
    pub(crate) piece: usize,
    /// The pause after each piece.
    pub(crate) delay: Duration,
    /// What happens at which byte.
    pub(crate) fault: Option<(u64, Fault)>,
}

/// What happens on a network: asked for each stream.
pub(crate) trait Weather: Send {
    /// The courses from the dialler to the acceptor, and back.
    fn courses(&mut self, random: &mut Random) -> [Course; 2];
}

/// The network between a dialler and the acceptors of its sessions.
pub(crate) struct Network {
    state: Mutex<State>,
}

struct State {
    /// The way to the acceptor of the session; `None` while no process listens.
    way: Option<Way>,
    weather: Box<dyn Weather>,
    random: Random,
    relays: Vec<JoinHandle<()>>,
    /// The streams of this session, to be reset with it.
    streams: Vec<Arc<Stream>>,
    /// Bytes carried in all.
    carried: u64,
    /// The session is lost when so many bytes were carried.
    lost_at: Option<u64>,
    /// When so many bytes were carried, the network is down for so long.
    outage: Option<(u64, Duration)>,
    down_until: Option<Instant>,
}

impl Network {
    pub(crate) fn new(weather: impl Weather + 'static, random: Random) -> Arc<Network> {
        Arc::new(Network {
            state: Mutex::new(State {
                way: None,
                weather: Box::new(weather),
                random,
                relays: Vec::new(),
                streams: Vec::new(),
                carried: 0,
                lost_at: None,
                outage: None,
                down_until: None,
            }),
        })
    }

    /// From now on, streams go this way.
    pub(crate) fn open(&self, way: Way) {
        self.state.lock().unwrap().way = Some(way);
    }

    /// The process that accepts is gone, with all its connections.
    pub(crate) fn lose_session(&self) {
        let mut state = self.state.lock().unwrap();
        state.lost_at = None;
        if let Some(Way::Entrance(entrance)) = state.way.take() {
            entrance.close();
        }
        state.streams.drain(..).for_each(|stream| stream.shut(Shutdown::Both));
    }

    /// The session is lost when so many bytes more were carried.
    pub(crate) fn lose_session_after(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap();
        state.lost_at = Some(state.carried + bytes);
    }

    /// When so many bytes more were carried, nothing is carried for `time`, and no stream opens.
    pub(crate) fn go_down_after(&self, bytes: u64, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.outage = Some((state.carried + bytes, time));
    }

    /// Waits while the network is down, until `limit` at most. Whether it is up.
    pub(crate) fn wait_until_up(&self, limit: Option<Instant>) -> bool {
        let Some(up) = self.state.lock().unwrap().down_until else { return true };
        let until = limit.map_or(up, |limit| limit.min(up));
        thread::sleep(until.saturating_duration_since(Instant::now()));
        until == up
    }

    /// Bytes carried in all.
    pub(crate) fn carried(&self) -> u64 {
        self.state.lock().unwrap().carried
    }

    /// Resets every stream, and waits for the threads that carry.
    pub(crate) fn end(&self) {
        self.lose_session();
        let relays = std::mem::take(&mut self.state.lock().unwrap().relays);
        relays.into_iter().for_each(|relay| relay.join().unwrap());
    }

    /// Counts carried bytes. `false` when the session is lost by that.
    fn carry(&self, bytes: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        state.carried += bytes as u64;
        let lost = state.lost_at.is_some_and(|at| state.carried >= at);
        if let Some((_, time)) = state.outage.filter(|(at, _)| state.carried >= *at) {
            state.outage = None;
            state.down_until = Some(Instant::now() + time);
        }
        drop(state);
        if lost {
            self.lose_session();
        }
        !lost
    }

    fn connect(self: &Arc<Network>) -> io::Result<Stream> {
        let mut state = self.state.lock().unwrap();
        let way = state.way.clone();
        let way = way.ok_or_else(|| io::Error::from_raw_os_error(libc::ECONNREFUSED))?;
        let (dialler, near) = Stream::pair()?;
        let mut random = state.random.split();
        let [out, back] = state.weather.courses(&mut random);
        let near = Arc::new(near);
        // A server reads a hello before it hands a stream over; another process does not.
        let begun = if random.once_in(2) { HELLO_SIZE } else { 0 };
        let far = match way {
            Way::Listener(address) => Arc::new(Stream::from(TcpStream::connect(address)?)),
            Way::Entrance(entrance) => {
                let (far, acceptor) = Stream::pair()?;
                let far = Arc::new(far);
                if begun > 0 {
                    let relay =
                        self.relay_behind_hello(&near, &far, acceptor, entrance, [out, back]);
                    state.relays.push(relay);
                    state.streams.extend([near, far]);
                    return Ok(dialler);
                }
                entrance.hand(acceptor, Vec::new());
                far
            }
        };
        let relays = self.relays(&near, &far, [out, back]);
        state.relays.extend(relays);
        state.streams.extend([near, far]);
        Ok(dialler)
    }

    fn relays(
        self: &Arc<Network>,
        near: &Arc<Stream>,
        far: &Arc<Stream>,
        [out, back]: [Course; 2],
    ) -> [JoinHandle<()>; 2] {
        [(near, far, out), (far, near, back)].map(|(from, to, course)| {
            let (network, from, to) = (self.clone(), from.clone(), to.clone());
            thread::spawn(move || relay(&network, &from, &to, &course))
        })
    }

    /// Hands the stream over when its hello has come, as a server does.
    fn relay_behind_hello(
        self: &Arc<Network>,
        near: &Arc<Stream>,
        far: &Arc<Stream>,
        acceptor: Stream,
        entrance: Entrance,
        courses: [Course; 2],
    ) -> JoinHandle<()> {
        let (network, near, far) = (self.clone(), near.clone(), far.clone());
        thread::spawn(move || {
            let mut hello = [0; HELLO_SIZE];
            let mut filled = 0;
            while filled < HELLO_SIZE {
                match near.read(&mut hello[filled..]) {
                    Ok(count @ 1..) => filled += count,
                    Ok(0) | Err(_) => return near.shut(Shutdown::Both),
                }
            }
            if Hello::token(&hello).is_none() {
                return near.shut(Shutdown::Both);
            }
            entrance.hand(acceptor, hello.to_vec());
            for relay in network.relays(&near, &far, courses) {
                relay.join().unwrap();
            }
        })
    }
}

/// Carries bytes from one stream to another until one of them ends.
fn relay(network: &Network, from: &Stream, to: &Stream, course: &Course) {
    let mut buffer = vec![0; course.piece];
    let (mut at, mut fault) = (0, course.fault);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return to.shut(Shutdown::Write),
            Ok(count) => count,
            Err(_) => return to.shut(Shutdown::Both),
        };
        let mut bytes = buffer[..count].to_vec();
        let end = at + count as u64;
        if let Some((place, what)) = fault.filter(|(place, _)| *place < end) {
            fault = None;
            let index = (place.saturating_sub(at)) as usize;
            match what {
                Fault::Reset => {
                    from.shut(Shutdown::Both);
                    return to.shut(Shutdown::Both);
                }
                Fault::HalfClose => {
                    let _ = to.write_all(&bytes[..index]);
                    to.shut(Shutdown::Write);
                    // What still comes this way is lost.
                    while from.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    return;
                }
                Fault::Flip => bytes[index] ^= 1 << (place % 8),
                Fault::Stall(time) => thread::sleep(time),
                Fault::Drop => drop(bytes.remove(index)),
                Fault::Double => bytes.insert(index, bytes[index]),
            }
        }
        at = end;
        network.wait_until_up(None);
        if to.write_all(&bytes).is_err() || !network.carry(count) {
            from.shut(Shutdown::Both);
            return to.shut(Shutdown::Both);
        }
        if !course.delay.is_zero() {
            thread::sleep(course.delay);
        }
    }
}

/// Dials over the network.
pub(crate) struct NetworkDial(pub(crate) Arc<Network>);

impl Dial for NetworkDial {
    fn dial(&self, until: Instant) -> io::Result<Stream> {
        match self.0.wait_until_up(Some(until)) {
            true => self.0.connect(),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A session with this token. Its addresses are of no use.
pub(crate) fn session(token: [u8; 16], streams: u8) -> Session {
    let nowhere: SocketAddr = "192.0.2.1:1".parse().unwrap();
    Session { address: nowhere, control: nowhere, token, streams }
}
