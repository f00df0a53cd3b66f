//! `--metrics`: the server's numbers for Prometheus, on an address of their own and
//! nowhere else. One thread answers one request after the other, each in bounded time, so
//! that no request here slows a transfer down.

#![forbid(unsafe_code)]

pub(crate) mod counters;
mod text;

use crate::answer::{begin, refusal};
use crate::target;
use crate::transfers::table::Table;
use counters::Counters;
use ropewalk::app::http::{Http, NoRequest, Patience};
use ropewalk::codec::http::{Method, Refusal, RequestHead, Response, Status};
use ropewalk::sys::sync::lock;
use ropewalk::sys::{poll, socket, thread};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The one path that is served.
const PATH: &[u8] = b"/-/metrics";

/// How long a client may take to send its request. Others wait meanwhile.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// An address that is taken and not served yet.
pub(crate) struct Listening(TcpListener);

/// Where the numbers come from.
struct Source {
    counters: Arc<Counters>,
    table: Arc<Table>,
}

/// The connection that is answered, if there is one.
type Current = Arc<Mutex<Option<Arc<TcpStream>>>>;

/// The thread that answers. It ends when this is dropped.
pub(crate) struct Metrics {
    address: SocketAddr,
    current: Current,
    /// Closed to end the thread.
    bell: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Takes the address.
    pub(crate) fn on(address: SocketAddr) -> io::Result<Listening> {
        let listener = socket::listen(address)?;
        // A connection may be gone again before it is taken.
        listener.set_nonblocking(true)?;
        Ok(Listening(listener))
    }

    /// Starts to answer.
    pub(crate) fn serve(self, counters: Arc<Counters>, table: Arc<Table>) -> io::Result<Metrics> {
        let (bell, ear) = UnixStream::pair()?;
        let address = self.0.local_addr()?;
        let current = Current::default();
        let shared = current.clone();
        let source = Source { counters, table };
        let thread = thread::spawn("metrics", move || answer_all(&self.0, &ear, &shared, &source))?;
        Ok(Metrics { address, current, bell: Some(bell), thread: Some(thread) })
    }
}

impl Metrics {
    /// The address that it answers at, with the port that the system chose where that was 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        drop(self.bell.take());
        if let Some(stream) = lock(&self.current).as_ref() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one connection after the other until the bell rings.
fn answer_all(listener: &TcpListener, ear: &UnixStream, current: &Current, source: &Source) {
    loop {
        match poll::readable(&[ear.as_fd(), listener.as_fd()], None).as_deref() {
            Ok([false, true]) => {}
            Ok([false, false]) => continue,
            _ => return,
        }
        match listener.accept() {
            Ok((stream, _)) => {
                let stream = Arc::new(stream);
                *lock(current) = Some(stream.clone());
                // The bell rings before the server looks for a connection to end.
                if poll::readable(&[ear.as_fd()], Some(Duration::ZERO)).is_ok_and(|r| r == [false])
                {
                    converse(Http::new(stream), source);
                }
                *lock(current) = None;
            }
            Err(error) if socket::out_of_room(&error) => {
                let _ = poll::readable(&[ear.as_fd()], Some(socket::ROOM_PAUSE));
            }
            Err(_) => {} // the client went away again
        }
    }
}

/// One request, and its answer. There is no second one on a connection.
fn converse(mut http: Http, source: &Source) {
    let patience = Patience { request: REQUEST_TIME, idle: None };
    let (response, head_only) = match http.receive_request(patience) {
        Ok((head, _)) => (answer(&head, source), head.method == Method::Head),
        Err(NoRequest::Refused(refused)) => (refusal(&refused), false),
        Err(NoRequest::Closed) => return,
    };
    if http.write_response(&response.close(), head_only).is_ok() {
        http.close_gently();
    }
}

fn answer(head: &RequestHead, source: &Source) -> Response {
    match head.method {
        Method::Get | Method::Head if target::without_query(&head.target) == PATH => {
            let text = text::format(&source.counters, &source.table.totals());
            begin(Status::OK).body(text::CONTENT_TYPE, text)
        }
        Method::Get | Method::Head => {
            refusal(&Refusal::new(Status::NOT_FOUND, "this address serves only /-/metrics"))
        }
        _ => refusal(&Refusal::new(Status::METHOD_NOT_ALLOWED, "only GET and HEAD are served"))
            .field("Allow", "GET, HEAD"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfers::admission::Limits;
    use std::io::{Read, Write};

    fn serving() -> (Metrics, SocketAddr) {
        let listening = Listening::on("127.0.0.1:0".parse().unwrap()).unwrap();
        let limits = Limits { transfers: 1, per_origin: 1, patience: REQUEST_TIME };
        let metrics = listening.serve(Counters::new(), Table::new(limits, None)).unwrap();
        let address = metrics.address();
        (metrics, address)
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn only_the_numbers_are_served() {
        let (_metrics, address) = serving();
        for (request, status) in [
            ("GET /-/metrics HTTP/1.1\r\n\r\n", "200"),
            ("GET /-/metrics?x HTTP/1.0\r\n\r\n", "200"),
            ("HEAD /-/metrics HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
            ("POST /-/metrics HTTP/1.1\r\nContent-Length: 13\r\n\r\n{\"threads\":1}", "405"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let reply = ask(address, request);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
            assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
        }
    }

    #[test]
    fn a_silent_client_is_left_and_the_next_is_answered() {
        let (_metrics, address) = serving();
        let mut silent = TcpStream::connect(address).unwrap();
        let reply = ask(address, "GET /-/metrics HTTP/1.1\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        let mut said = String::new();
        silent.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }

    #[test]
    fn dropping_it_ends_it() {
        let (metrics, address) = serving();
        let mut silent = TcpStream::connect(address).unwrap();
        drop(metrics);
        let mut said = Vec::new();
        let _ = silent.read_to_end(&mut said); // its end, or a reset
        assert!(said.is_empty(), "it waited for the silent one");
        assert!(TcpStream::connect(address).is_err());
    }
}
