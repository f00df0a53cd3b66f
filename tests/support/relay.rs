//! A relay between a ropewalk client and its server. It does to the data streams what bad networks
//! do: flips bits, cuts, stalls, slows, splits and merges. It also carries the control connection,
//! since its reply names the data port.

mod messages;
mod plan;

pub(crate) use plan::{Block, DataPorts, Faults, Message, Piece, Step};

use crate::support::harness::Scratch;
use crate::support::peers::sink::begins_as_stream;
use crate::support::system::{fill_backlog, shut_down};
use messages::{read_block, read_message};
use ropewalk::codec::wire::{HEADER_SIZE, HELLO_SIZE, Hello, REQUEST_SIZE};
use ropewalk::sys::poll;
use ropewalk::sys::socket::reset_on_close;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// Bytes that the relay writes at once on a stream with a rate.
pub(crate) const PACED: usize = 8 << 10;

/// The most messages that become one write, and how long the relay waits for each.
const MERGED: usize = 8;
const MERGE_TIME: Duration = Duration::from_millis(2);

/// The relay. It ends with all its streams when dropped.
pub(crate) struct Relay {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    here: Ipv4Addr,
    server: SocketAddr,
    faults: Faults,
    over: AtomicBool,
    streams: AtomicUsize,
    /// How many of these came to the control port.
    beside: AtomicUsize,
    blocks: AtomicU64,
    sent: AtomicU64,
    asked: Mutex<Vec<Piece>>,
    passed: Mutex<Vec<Piece>>,
    controls: Mutex<Vec<String>>,
    links: Mutex<Vec<Weak<Link>>>,
    /// Shut down at the end, which wakes the threads that accept.
    listeners: Mutex<Vec<TcpListener>>,
    /// The connections that fill the queue of a data port that does not answer.
    waiting: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// A relay before `server`.
    pub(crate) fn start(scratch: &Scratch, server: SocketAddr, faults: Faults) -> Relay {
        let here = match faults.data {
            DataPorts::Carried => scratch.address(),
            // The server's own ports are not at that address.
            _ => scratch.elsewhere(),
        };
        let listener = TcpListener::bind((here, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            here,
            server,
            faults,
            over: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            blocks: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            asked: Mutex::default(),
            passed: Mutex::default(),
            controls: Mutex::default(),
            links: Mutex::default(),
            listeners: Mutex::default(),
            waiting: Mutex::default(),
        });
        shared.accept(listener, |shared, client| {
            std::thread::spawn(move || shared.control(client));
            true
        });
        Relay { address, shared }
    }

    /// Bytes of payload that were passed on to clients.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// How many streams there have been.
    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }

    /// How many streams came to the control port.
    pub(crate) fn beside(&self) -> usize {
        self.shared.beside.load(Ordering::SeqCst)
    }

    /// Every range that a stream asked for.
    pub(crate) fn asked(&self) -> Vec<Piece> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Every block that the relay passed on whole.
    pub(crate) fn passed(&self) -> Vec<Piece> {
        self.shared.passed.lock().unwrap().clone()
    }

    /// The heads of all control requests.
    pub(crate) fn controls(&self) -> Vec<String> {
        self.shared.controls.lock().unwrap().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for listener in self.shared.listeners.lock().unwrap().iter() {
            shut_down(listener);
        }
        for link in self.shared.links.lock().unwrap().iter().filter_map(Weak::upgrade) {
            link.end();
        }
    }
}

/// The two sockets of a stream.
struct Link {
    client: TcpStream,
    server: TcpStream,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Link {
    fn is_over(&self) -> bool {
        *self.ended.lock().unwrap()
    }

    fn wait_for_end(&self) {
        drop(self.end.wait_while(self.ended.lock().unwrap(), |ended| !*ended).unwrap());
    }

    fn set_over(&self) {
        *self.ended.lock().unwrap() = true;
        self.end.notify_all();
    }

    fn end(&self) {
        self.set_over();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Both sides see a reset, once the threads of the stream have closed their copies.
    fn reset(&self) {
        self.set_over();
        for socket in [&self.client, &self.server] {
            let _ = reset_on_close(socket.as_fd(), true);
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Accepts in a new thread until the relay ends, or `take` wants no more connections.
    fn accept(
        self: &Arc<Shared>,
        listener: TcpListener,
        take: impl Fn(Arc<Shared>, TcpStream) -> bool + Send + 'static,
    ) {
        self.listeners.lock().unwrap().push(listener.try_clone().unwrap());
        if self.is_over() {
            return; // nothing would wake the thread
        }
        let own = self.clone();
        std::thread::spawn(move || {
            while !own.is_over() {
                if let Ok((client, _)) = listener.accept()
                    && !take(own.clone(), client)
                {
                    // A clone is left, with which the kernel would go on accepting.
                    shut_down(&listener);
                    return;
                }
            }
        });
    }

    fn link(&self, client: TcpStream, server: TcpStream) -> Arc<Link> {
        for socket in [&client, &server] {
            let _ = socket.set_nodelay(true);
        }
        let link = Arc::new(Link { client, server, ended: Mutex::new(false), end: Condvar::new() });
        self.links.lock().unwrap().push(Arc::downgrade(&link));
        link
    }

    /// Carries one request and its reply, and puts the port of a listener of this relay into the
    /// reply.
    fn control(self: &Arc<Shared>, client: TcpStream) -> Option<()> {
        let server = TcpStream::connect(self.server).ok()?;
        if begins_as_stream(&client) {
            self.beside.fetch_add(1, Ordering::SeqCst);
            self.carry(client, server);
            return None;
        }
        let link = self.link(client, server);
        let (head, body) = read_message(&link.client, true)?;
        (&link.server).write_all(&[head.as_bytes(), &body].concat()).ok()?;
        self.controls.lock().unwrap().push(head.clone());
        let (reply, body) = read_message(&link.server, !head.starts_with("HEAD "))?;
        let mut body = String::from_utf8(body).ok()?;
        let mut reply = (self.faults.reply)(&head, reply)?;
        if let Some((before, after)) = body.split_once("\"port\":") {
            let end = after.find([',', '}'])?;
            let port = self.data_port(after[..end].trim().parse().ok()?);
            let old = format!("Content-Length: {}\r\n", body.len());
            body = format!("{before}\"port\":{port}{}", &after[end..]);
            reply = reply.replace(&old, &format!("Content-Length: {}\r\n", body.len()));
        }
        (&link.client).write_all(&[reply.as_bytes(), body.as_bytes()].concat()).ok()
    }

    /// The port that a client learns in place of the sender's `port`.
    fn data_port(self: &Arc<Shared>, port: u16) -> u16 {
        let listen = || TcpListener::bind((self.here, port)).unwrap();
        match &self.faults.data {
            DataPorts::Carried => return self.listen(port),
            DataPorts::Refused => {}
            DataPorts::Silent => {
                let listener = listen();
                self.waiting.lock().unwrap().extend(fill_backlog(&listener));
                self.listeners.lock().unwrap().push(listener);
            }
            DataPorts::Foreign(serve) => {
                let serve = *serve;
                self.accept(listen(), move |_, client| {
                    std::thread::spawn(move || serve(client));
                    true
                });
            }
        }
        port
    }

    /// Listens in place of the sender at `port`, until that sender is gone.
    fn listen(self: &Arc<Shared>, port: u16) -> u16 {
        let listener = TcpListener::bind((self.here, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let sender = SocketAddr::new(self.server.ip(), port);
        self.accept(listener, move |shared, client| {
            let Ok(server) = TcpStream::connect(sender) else { return false };
            shared.carry(client, server);
            true
        });
        own
    }

    /// Carries a stream both ways. In a fetch the client sends requests, and in a push it sends
    /// blocks: its hello says which.
    fn carry(self: &Arc<Shared>, client: TcpStream, server: TcpStream) {
        let stream = self.streams.fetch_add(1, Ordering::SeqCst);
        let link = self.link(client, server);
        let own = self.clone();
        std::thread::spawn(move || {
            let mut hello = vec![0; HELLO_SIZE];
            if (&link.client).read_exact(&mut hello).is_err() {
                return link.end();
            }
            let is_push = Hello::parse(&hello)
                .is_ok_and(|hello| hello.is_some_and(|(_, hello)| hello.from_source));
            (own.faults.message)(Message { number: 0, stream, bytes: &mut hello });
            let (back, other) = (link.clone(), own.clone());
            std::thread::spawn(move || match is_push {
                true => other.carry_requests(&back, [&back.server, &back.client], stream, &[]),
                false => other.carry_blocks(&back, [&back.server, &back.client], stream),
            });
            let ends = [&link.client, &link.server];
            match is_push {
                true => match own.write(ends[1], &hello, &mut 1) {
                    Ok(()) => own.carry_blocks(&link, ends, stream),
                    Err(_) => link.end(),
                },
                false => own.carry_requests(&link, ends, stream, &hello),
            }
        });
    }

    /// Carries the requests, behind bytes that came before.
    fn carry_requests(
        &self,
        link: &Link,
        [mut from, to]: [&TcpStream; 2],
        stream: usize,
        before: &[u8],
    ) {
        let (mut number, mut next) = (1, 1);
        let mut out = before.to_vec();
        loop {
            for _ in 0..MERGED {
                if !out.is_empty() && !self.more_comes(from) {
                    break;
                }
                let mut bytes = vec![0; REQUEST_SIZE];
                if from.read_exact(&mut bytes).is_err() {
                    return link.end();
                }
                let rest = u16::from_be_bytes([bytes[2], bytes[3]]);
                bytes.resize(REQUEST_SIZE + usize::from(rest), 0);
                if from.read_exact(&mut bytes[REQUEST_SIZE..]).is_err() {
                    return link.end();
                }
                if bytes[0] == 1 {
                    let offset = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
                    let length = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
                    let piece = Piece { stream, offset, length: length.into() };
                    self.asked.lock().unwrap().push(piece);
                }
                (self.faults.message)(Message { number, stream, bytes: &mut bytes });
                out.extend_from_slice(&bytes);
                number += 1;
            }
            if self.write(to, &out, &mut next).is_err() {
                return link.end();
            }
            out.clear();
        }
    }

    /// Whether these bytes wait for the next ones, to merge with them.
    fn more_comes(&self, source: &TcpStream) -> bool {
        self.faults.merge
            && poll::readable(&[source.as_fd()], Some(MERGE_TIME)).is_ok_and(|r| r == [true])
    }

    /// Carries the blocks.
    fn carry_blocks(&self, link: &Link, [from, to]: [&TcpStream; 2], stream: usize) {
        let mut next = 1;
        loop {
            let (mut out, mut pieces) = (Vec::new(), Vec::new());
            for _ in 0..MERGED {
                let number = self.blocks.load(Ordering::SeqCst);
                let mut block = Block { number, stream, bytes: vec![0; HEADER_SIZE] };
                match read_block(from, &mut block.bytes) {
                    Ok(true) => {}
                    Ok(false) => {
                        let _ = to.shutdown(Shutdown::Write);
                        return;
                    }
                    Err(_) if link.is_over() => return,
                    Err(_) => return link.reset(),
                }
                block.number = self.blocks.fetch_add(1, Ordering::SeqCst);
                let offset = block.offset();
                let length = (block.bytes.len() - HEADER_SIZE) as u64;
                match (self.faults.block)(&mut block) {
                    Step::Pass => {}
                    Step::Cut(bytes) => {
                        block.bytes.truncate(bytes);
                        let _ = self.pace(to, stream, &block.bytes, &mut next, &[]);
                        return link.reset();
                    }
                    Step::Stall => {
                        return link.wait_for_end();
                    }
                }
                pieces.push(Piece { stream, offset, length });
                out.extend_from_slice(&block.bytes);
                if !self.more_comes(from) {
                    break;
                }
            }
            if self.pace(to, stream, &out, &mut next, &pieces).is_err() {
                return link.end();
            }
        }
    }

    /// Writes to the sink, at the stream's rate. The relay notes a block before it writes the last
    /// bytes of it: after these, the sink may have ended.
    fn pace(
        &self,
        to: &TcpStream,
        stream: usize,
        bytes: &[u8],
        next: &mut usize,
        pieces: &[Piece],
    ) -> io::Result<()> {
        let last = bytes.len().div_ceil(PACED).max(1) - 1;
        let (begun, mut written) = (Instant::now(), 0);
        for (number, piece) in bytes.chunks(PACED).enumerate() {
            if number == last {
                self.passed.lock().unwrap().extend(pieces);
            }
            self.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            self.write(to, piece, next)?;
            if let Some(rate) = (self.faults.rate)(stream) {
                // Measured from the start, so a sleep that is too long is made up for.
                written += piece.len();
                let due = Duration::from_secs_f64(written as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
        Ok(())
    }

    fn write(&self, mut sink: &TcpStream, bytes: &[u8], next: &mut usize) -> io::Result<()> {
        let Some(most) = self.faults.split else { return sink.write_all(bytes) };
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*next));
            sink.write_all(piece)?;
            *next = *next % most + 1;
            rest = after;
        }
        Ok(())
    }
}
