//! A server with a folder of its own, for tests that look at it as an HTTP client does.

use crate::support::harness::{Scratch, Server, program_path};
use crate::support::http::{Http, Reply};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server that is ready, and its folder.
pub(crate) struct Site {
    /// Ends before its folder is removed.
    server: Server,
    pub(crate) scratch: Scratch,
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
    /// The address of its metrics, with `--metrics`.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Site {
    /// A server with these options.
    pub(crate) fn start(options: &[&str]) -> Site {
        let scratch = Scratch::new(&Site::new_name());
        let mut command = scratch.program("server");
        command.args(options);
        Site::start_command(scratch, command)
    }

    /// A server that has this shell script for its sender.
    pub(crate) fn with_sender(script: &str) -> Site {
        let scratch = Scratch::on_disk(&Site::new_name());
        let programs = scratch.make_dir("programs");
        let (server, sender) = (programs.join("server"), programs.join("sender"));
        // A hard link and not a copy: a program that was just written may be "busy" at its start.
        // So the folder is on the disk that has the program.
        fs::hard_link(program_path("server"), &server).unwrap();
        fs::write(&sender, script).unwrap();
        fs::set_permissions(&sender, Permissions::from_mode(0o755)).unwrap();
        let command = scratch.command(&server);
        Site::start_command(scratch, command)
    }

    fn new_name() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("site-{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn start_command(scratch: Scratch, mut command: Command) -> Site {
        command.current_dir(scratch.folder());
        let server = Server::start_command(&scratch, command);
        let (folder, address, metrics) =
            (scratch.folder().to_path_buf(), server.address, server.metrics);
        Site { server, scratch, folder, address, metrics }
    }

    /// Makes a file in the server's folder, and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        self.scratch.write(name, bytes).into_os_string().into_string().unwrap()
    }

    /// Makes a file of `size` bytes, and returns its path. The file stores none of its bytes.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> String {
        self.scratch.sparse(name, size).into_os_string().into_string().unwrap()
    }

    pub(crate) fn connect(&self) -> Http {
        Http::connect(self.address)
    }

    /// Sends one request on a new connection, and returns the reply.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &[&str]) -> Reply {
        self.connect().ask(method, target, fields)
    }

    /// Asks for a transfer.
    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &str) -> Reply {
        let mut http = self.connect();
        let length = body.len();
        http.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        http.receive()
    }

    /// The next line of the log.
    #[track_caller]
    pub(crate) fn log_line(&mut self) -> String {
        self.server.running.next_error_line()
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.running.pid()
    }

    /// The processor time that the server has used, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// Tells the server to end, waits for the end, and returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.server.running.signal(libc::SIGTERM);
        self.server.running.finish_ref().status.code()
    }
}
