//! A client whose server another program reaches. The program is a script of the test, which
//! ignores the host and starts the server on this machine.

use crate::support::harness::{Outcome, Running, Scratch, assert_same, content, program_path};
use crate::support::harness::{run, wait_until};
use crate::support::path::wait_for_blocks;
use crate::support::proof;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Starts the server with the socket of the client.
pub(crate) const SOCKET: &str = "exec \"$@\"";

/// Starts the server with pipes, as sshd does. What carries the bytes ends with the server.
pub(crate) const PIPES: &str = "exec sh -c 'cat=$1/cat.$$; shift
{ cat <&3 3<&- 2>/dev/null & echo $! >\"$cat\"; wait; } 3<&0 |
{ \"$@\"; kill \"$(cat \"$cat\")\" 2>/dev/null; } | cat 2>/dev/null' sh \"$(dirname \"$0\")\" \"$@\"";

/// The name of the program that notes down its process id and becomes the server.
const NOTING: &str = "noting";

/// The part of a script that passes over options and the host.
const SKIP: &str = "while [ \"$1\" != box ]; do shift; done; shift";

/// A file on the other side, and the programs of a test.
pub(crate) struct Through {
    pub(crate) scratch: Scratch,
    pub(crate) bytes: Vec<u8>,
}

impl Through {
    /// With a file of `size` bytes.
    pub(crate) fn new(test: &str, size: usize) -> Through {
        let scratch = Scratch::new(test);
        scratch.make_dir("folder");
        let bytes = content(size);
        scratch.write("file", &bytes);
        let through = Through { scratch, bytes };
        let started = through.scratch.path("started");
        fs::create_dir(&started).unwrap();
        let note = format!("{}\necho $$ >{}/$number/pid", counting(&started), started.display());
        let server = program_path("server");
        through.program(NOTING, &format!("{note}\nexec {} \"$@\"", server.display()));
        through
    }

    /// The server, for --remote-server: it notes down its starts.
    pub(crate) fn server_path(&self) -> PathBuf {
        self.scratch.path(NOTING)
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.write(name, format!("#!/bin/sh\n{text}\n").as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A program called `name` that runs `body` with the server's command line as its arguments.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        self.program(name, &format!("all=\"$*\"\n{SKIP}\n{body}"))
    }

    /// A client that reaches the server through such a program called `name`.
    pub(crate) fn client_through(
        &self,
        name: &str,
        body: &str,
        streams: impl ToString,
        server_options: &str,
    ) -> Command {
        let script = self.script(name, body);
        let server = format!("{} {server_options}", self.server_path().display());
        let mut command = self.scratch.program("client");
        command.arg("-e").arg(script).arg("--remote-server").arg(server);
        command.arg("box").arg(streams.to_string()).arg(self.scratch.path("file"));
        command.arg(self.output()).arg("--progress=none");
        command
    }

    /// The same with a program whose name means nothing.
    pub(crate) fn client(&self, body: &str, streams: impl ToString) -> Command {
        self.client_through("rsh", body, streams, "")
    }

    /// A client that pushes a file or a folder of the scratch folder to the output, through a
    /// program called `name`. Another name may follow in place of the output if `options` has a
    /// root.
    pub(crate) fn pusher_through(
        &self,
        name: &str,
        body: &str,
        streams: impl ToString,
        file: &str,
        options: &str,
    ) -> Command {
        let script = self.script(name, body);
        let server = format!("{} {options}", self.server_path().display());
        let mut command = self.scratch.program("client");
        command.args(["--push", "--progress=none", "-e"]).arg(script);
        command.arg("--remote-server").arg(server);
        command.arg("box").arg(streams.to_string()).arg(self.scratch.path(file));
        if !options.contains("--root") {
            command.arg(self.output());
        }
        command
    }

    /// The same with a program whose name means nothing.
    pub(crate) fn pusher(&self, body: &str, streams: impl ToString, file: &str) -> Command {
        self.pusher_through("rsh", body, streams, file, "")
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.scratch.path("folder/out")
    }

    /// Demands that the file is there and nothing else is.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        assert_same(&fs::read(self.output()).unwrap(), &self.bytes, "the file");
        assert_eq!(Scratch::names(&self.scratch.path("folder")), ["out"]);
        proof::no_process_stays(&self.scratch);
    }

    /// Runs the client, and demands that the file comes.
    #[track_caller]
    pub(crate) fn fetches(&self, mut client: Command) -> Outcome {
        let outcome = run(&mut client);
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
        self.is_whole();
        outcome
    }

    /// Demands that a client moves the whole file although something of it was killed.
    #[track_caller]
    pub(crate) fn goes_on(&self, client: Running) {
        let outcome = client.finish();
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
        self.is_whole();
    }

    /// A client that has received something, and is far from its end: one that gets 1 MiB a second.
    pub(crate) fn under_way(&self, body: &str, streams: u8) -> Running {
        self.has_begun(self.client(body, streams).args(["--limit-rate=1M", "--verify=crc32c"]))
    }

    /// A client that has received something.
    pub(crate) fn has_begun(&self, client: &mut Command) -> Running {
        let client = Running::start(client);
        wait_for_blocks(&self.scratch.path("folder/out.part.journal"), 2);
        client
    }

    /// The running processes of the test whose command line has this word.
    pub(crate) fn with_word(&self, word: &str) -> Vec<u32> {
        let has = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            // A shell of the script has the words too.
            let is_shell = words.clone().next().is_some_and(|first| first.ends_with(b"sh"));
            !is_shell && words.any(|other| other == word.as_bytes())
        };
        proof::processes(&self.scratch).into_iter().filter(has).collect()
    }

    /// The server that was started as number `number`, from 1 on, if it runs. It has noted down its
    /// process id: a look at all processes can wait for busy ones longer than a transfer takes.
    fn server(&self, number: usize) -> Option<u32> {
        let noted = self.scratch.path("started").join(number.to_string()).join("pid");
        let pid: u32 = fs::read_to_string(noted).ok()?.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() != NOTING).then_some(pid)
    }

    /// The server that has the session: the first.
    pub(crate) fn session(&self) -> u32 {
        wait_until("a session", || self.server(1))
    }

    /// A server that has joined the session of the first.
    pub(crate) fn other_connection(&self) -> u32 {
        wait_until("another connection", || {
            let started = Scratch::names(&self.scratch.path("started")).len();
            (2..=started).find_map(|number| self.server(number))
        })
    }

    /// The worker with this name over there.
    pub(crate) fn worker(&self, name: &str) -> u32 {
        let is_it = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).next().is_some_and(|all| all.ends_with(name.as_bytes()))
        };
        let session = self.session();
        wait_until("the worker", || proof::find_children(session).into_iter().find(is_it))
    }

    /// How often the script was started, if its body begins with [`COUNTED`].
    pub(crate) fn count(&self) -> usize {
        Scratch::names(&self.scratch.path("count")).len()
    }

    /// Where a script counts its starts.
    pub(crate) fn counted(&self, body: &str) -> String {
        let folder = self.scratch.path("count");
        fs::create_dir_all(&folder).unwrap();
        format!("{}\n{body}", counting(&folder))
    }
}

/// Sets `number` to 1 for the first start of the script, then to 2 and so on.
fn counting(folder: &Path) -> String {
    let folder = folder.display();
    format!("number=1; until mkdir {folder}/$number 2>/dev/null; do number=$((number + 1)); done")
}
