//! A folder or a file `there`, and the ways in which it becomes `out` in a recorded folder.

use crate::history::History;
use crate::recorder::Run;
use crate::support::harness::{LIMIT, Outcome, Scratch, Server, run};
use crate::support::uploads::head;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name that everything comes to have in the recorded folder.
pub(crate) const OUT: &str = "out";

/// How it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Fetch,
    Push,
    /// A PUT, which sends one file and no mtime.
    Put,
}

/// A test's folder, and the way.
pub(crate) struct Site {
    pub(crate) scratch: Scratch,
    pub(crate) way: Way,
    /// The server that a fetch is from.
    server: Option<Server>,
}

impl Site {
    pub(crate) fn new(test: &str, way: Way) -> Site {
        let scratch = Scratch::new(test);
        let server = (way == Way::Fetch).then(|| Server::start(&scratch, &["--quiet"]));
        Site { scratch, way, server }
    }

    /// The source.
    pub(crate) fn there(&self) -> PathBuf {
        self.scratch.path("there")
    }

    /// Runs the transfer into `folder`, and adds what it does there to the history.
    #[track_caller]
    pub(crate) fn run(&self, history: &mut History, folder: &Path, how: &Run, options: &[&str]) {
        let mut said = String::new();
        history.record(folder, how, |log| {
            let (success, shown) =
                self.transfer(folder, options, how.no_sync, |command| how.watch(command, log));
            said = shown;
            success
        });
        let success = history.has_succeeded();
        assert_eq!(success, how.dies.is_none(), "{said}");
    }

    /// Runs the transfer, and waits until every program is at its end. Returns whether it has
    /// succeeded, and what was said. The program that writes in the folder is given to `watch`.
    pub(crate) fn transfer(
        &self,
        folder: &Path,
        options: &[&str],
        no_sync: bool,
        watch: impl FnOnce(&mut Command),
    ) -> (bool, String) {
        let no_sync = no_sync.then_some("--no-sync");
        let name = format!("{}/{OUT}", folder.file_name().unwrap().to_str().unwrap());
        let outcome = match (self.way, &self.server) {
            (Way::Fetch, Some(server)) => {
                let out = folder.join(OUT);
                let mut client = self.scratch.client(server.address, 4, "there", out);
                watch(client.args(options).args(no_sync));
                run(&mut client)
            }
            (Way::Push, _) => {
                let server = self.taker(folder, watch);
                let mut client = self.scratch.program("client");
                client.args(["--push", &server.address.to_string(), "4", "there", &name]);
                client.args(["--progress=none", "--retry-for", "0"]).args(options).args(no_sync);
                let outcome = run(client.current_dir(self.scratch.folder()));
                server.stop();
                outcome
            }
            _ => return self.put(folder, &name, watch),
        };
        let Outcome { status, .. } = &outcome;
        (status.success(), format!("{outcome:?}"))
    }

    fn put(&self, folder: &Path, name: &str, watch: impl FnOnce(&mut Command)) -> (bool, String) {
        let server = self.taker(folder, watch);
        let bytes = fs::read(self.there()).unwrap();
        let head = head(format!("/{name}"), &["Connection: close"], bytes.len() as u64);
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // A server that dies takes nothing more, and does not answer.
        let mut reply = Vec::new();
        let _ = stream.write_all(&[head, bytes].concat());
        let _ = stream.read_to_end(&mut reply);
        server.stop();
        let reply = String::from_utf8(reply).unwrap();
        let success =
            ["HTTP/1.1 201 ", "HTTP/1.1 204 "].iter().any(|start| reply.starts_with(start));
        (success, reply)
    }

    /// A server that takes uploads into `folder`.
    fn taker(&self, folder: &Path, watch: impl FnOnce(&mut Command)) -> Server {
        let root = folder.parent().unwrap();
        let mut command = self.scratch.program("server");
        command.arg("--root").arg(root).arg("--writable").arg(folder).current_dir(root);
        command.args(["--quiet", "--writable-by-anyone", "--allow-delete", "--keep-free", "0"]);
        watch(&mut command);
        Server::start_command(&self.scratch, command)
    }
}
