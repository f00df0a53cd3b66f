//! A server in a folder of its own, and a client that says exactly what a test wants.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long anything may take that is waited for. Only a failing test waits so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Has the signals that tests send do what they usually do, whatever the tests were started
/// with: nohup(1) and the `&` of a script have some ignored, which programs inherit.
pub(crate) fn with_usual_signals(command: &mut Command) {
    let reset = || {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: SIG_DFL installs no function, so nothing can run in a signal's context.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec this makes system calls and touches no memory.
    unsafe { command.pre_exec(reset) };
}

/// A server that is ready, and its folder. Both are gone when this is dropped.
pub(crate) struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
    /// Where its metrics are, if it has any.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Server {
        let folder = Server::new_folder();
        Server::start_program(Path::new(env!("CARGO_BIN_EXE_server")), folder, options)
    }

    /// A server that has this shell script for its sender.
    pub(crate) fn with_sender(script: &str) -> Server {
        let folder = Server::new_folder();
        let programs = folder.join("programs");
        fs::create_dir(&programs).unwrap();
        let (server, sender) = (programs.join("server"), programs.join("sender"));
        // A link and not a copy: what was just written may be "busy" when it is started.
        fs::hard_link(env!("CARGO_BIN_EXE_server"), &server).unwrap();
        fs::write(&sender, script).unwrap();
        fs::set_permissions(&sender, fs::Permissions::from_mode(0o755)).unwrap();
        Server::start_program(&server, folder, &[])
    }

    fn new_folder() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("http-files-{}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn start_program(program: &Path, folder: PathBuf, options: &[&str]) -> Server {
        let mut command = Command::new(program);
        with_usual_signals(&mut command);
        let mut child = command
            .args(options)
            .args(["--bind", "127.0.0.1", "0"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut address = |words: &str| {
            line.clear();
            said.read_line(&mut line).unwrap();
            line.trim_end().strip_prefix(words).unwrap().parse().unwrap()
        };
        let own = address("listening on ");
        let metrics = options.contains(&"--metrics").then(|| address("metrics on "));
        let mut log = BufReader::new(child.stderr.take().unwrap());
        if !options.contains(&"-q") && !options.contains(&"--root") {
            log.read_line(&mut line).unwrap(); // what it warns of
        }
        Server { child, log, folder, address: own, metrics }
    }

    /// Makes a file in the server's folder. Its path is the answer.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// The same with so many bytes, none of which is stored.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> String {
        let path = self.file(name, b"");
        fs::File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
        path
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request with its answer, on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &[&str]) -> Reply {
        self.connect().ask(method, target, fields)
    }

    /// Asks for a transfer.
    pub(crate) fn post(&self, target: &str, body: &str) -> Reply {
        let mut client = self.connect();
        client.say(&format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.reply("POST")
    }

    /// The next line of the log.
    pub(crate) fn log_line(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line
    }

    /// The processor time that the server has used, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// Tells it to end, and waits for that.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        // SAFETY: kill takes two numbers; the child has not been reaped.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) }, 0);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let ended = self.child.wait();
        if std::thread::panicking() {
            let mut log = String::new();
            let _ = self.log.read_to_string(&mut log);
            eprintln!("the server: {ended:?}, and its log:\n{log}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A connection to the server.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &[&str]) -> Reply {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.say(&format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        self.reply(method)
    }

    /// The head of a reply, without its body.
    pub(crate) fn head(&mut self) -> Reply {
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.strip_suffix("\r\n").expect("the connection ended").to_string()
        };
        let first = line();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let field = line();
            match field.split_once(": ") {
                Some((name, value)) => fields.push((name.to_lowercase(), value.to_string())),
                None => return Reply { status, fields, body: Vec::new() },
            }
        }
    }

    /// A whole reply to a request with this method.
    pub(crate) fn reply(&mut self, method: &str) -> Reply {
        let mut reply = self.head();
        if method != "HEAD" && reply.status != 304 {
            reply.body = match reply.find("transfer-encoding") {
                None => self.bytes(reply.field("content-length").parse().unwrap()),
                Some(coding) => {
                    assert_eq!((coding, reply.find("content-length")), ("chunked", None));
                    self.chunks()
                }
            };
        }
        reply
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// A body in chunks, up to the empty one.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            body.extend(self.bytes(size));
            assert_eq!(self.bytes(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    /// Demands that the server closes now, and says nothing more.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) {
        assert!(matches!(self.stream.read(&mut [0]), Ok(0)), "the connection is still open");
    }
}

impl Reply {
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Bytes that anybody can make again, none of which is where it would be after a shift.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
