//! A server that takes uploads into a folder of its own, and a client that sends them by hand.

use crate::support::harness::{Scratch, Server};
use crate::support::http::{Http, Reply};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A server of the folder `root`, which takes uploads into `root/in`.
pub(crate) struct Inbox {
    pub(crate) server: Server,
    pub(crate) scratch: Scratch,
    /// The folder `root/in`.
    pub(crate) folder: PathBuf,
}

impl Inbox {
    /// A server that takes uploads from everybody, with these options.
    pub(crate) fn open(test: &str, options: &[&str]) -> Inbox {
        Inbox::with(test, |scratch| {
            let mut command = scratch.program("server");
            command.args(WRITABLE).arg("--writable-by-anyone").args(options);
            command
        })
    }

    /// A server with the command that `make` gives, in the scratch folder.
    pub(crate) fn with(test: &str, make: impl FnOnce(&Scratch) -> Command) -> Inbox {
        let scratch = Scratch::new(test);
        scratch.make_dir("root");
        let folder = scratch.make_dir("root/in");
        let mut command = make(&scratch);
        command.current_dir(scratch.folder());
        let mut server = Server::start_command(&scratch, command);
        let said = server.running.next_line();
        assert!(said.starts_with("writable by ") && said.ends_with("/root/in\n"), "{said}");
        Inbox { server, scratch, folder }
    }

    /// A connection to the server.
    pub(crate) fn connect(&self) -> Http {
        Http::connect(self.server.address)
    }

    /// Sends the file on a connection of its own, and waits for the reply.
    #[track_caller]
    pub(crate) fn put(&self, target: impl AsRef<[u8]>, fields: &[&str], body: &[u8]) -> Reply {
        put(&mut self.connect(), target, fields, body)
    }

    /// The names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<OsString> {
        Scratch::names(&self.folder)
    }

    /// What the file `name` in the folder holds.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The next line of the log about an upload that had begun.
    pub(crate) fn upload_line(&mut self) -> String {
        loop {
            let line = self.server.next_log_line();
            if line.contains(" PUT ") {
                return line;
            }
        }
    }
}

/// The options of a server that takes uploads, without the one that says from whom.
pub(crate) const WRITABLE: [&str; 6] =
    ["--root", "root", "--writable", "root/in", "--keep-free", "0"];

/// The head of a PUT of so many bytes.
pub(crate) fn head(target: impl AsRef<[u8]>, fields: &[&str], size: u64) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let rest = format!(" HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{fields}\r\n");
    [b"PUT ", target.as_ref(), rest.as_bytes()].concat()
}

/// Sends the file on this connection, and waits for the reply.
#[track_caller]
pub(crate) fn put(
    http: &mut Http,
    target: impl AsRef<[u8]>,
    fields: &[&str],
    body: &[u8],
) -> Reply {
    http.send(head(target, fields, body.len() as u64));
    http.send(body);
    answer(http)
}

/// Waits for the final reply to a PUT. A 204 has no body, and no length.
#[track_caller]
pub(crate) fn answer(http: &mut Http) -> Reply {
    let mut reply = http.head();
    if reply.status != 204 {
        let length: usize = reply.field("content-length").parse().unwrap();
        reply.body = vec![0; length];
        std::io::Read::read_exact(&mut http.stream, &mut reply.body).unwrap();
    }
    reply
}

/// Sends a head that asks for `100 Continue`, and waits for it.
#[track_caller]
pub(crate) fn begin(http: &mut Http, target: &str, fields: &[&str], size: u64) {
    http.send(head(target, &[&["Expect: 100-continue"], fields].concat(), size));
    let interim = http.head();
    assert_eq!(interim.status, 100, "{interim:?}");
}
