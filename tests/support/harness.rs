//! The base of every test: its own folder and address, programs that it starts, reads and always
//! ends, and file content that each run makes again.

use crate::support::system::{Reserved, pass_on_no_ignored_signal, reserve, signal};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest wait of a test for any event. Only a failing test waits so long, but a busy machine
/// may need much of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The variable with the test's folder, in the environment of the test's programs and their
/// children. By it a test finds all of them again.
pub(crate) const MARK: &str = "ROPEWALK_TEST_FOLDER";

/// A test's own folder, and a loopback address that no other test uses.
pub(crate) struct Scratch {
    folder: PathBuf,
    address: Ipv4Addr,
}

impl Scratch {
    /// Makes both. `test` names the folder for people; tests may share it. The folder is in `TMPDIR`, if that is set:
    /// `make test` chooses a folder in memory.
    pub(crate) fn new(test: &str) -> Scratch {
        let parent = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
        let on_disk = || env!("CARGO_TARGET_TMPDIR").into();
        Scratch::new_in(&parent.map_or_else(on_disk, PathBuf::from), test)
    }

    /// Makes both. The folder is beside the programs, so it is neither in memory nor below /dev.
    pub(crate) fn on_disk(test: &str) -> Scratch {
        Scratch::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")), test)
    }

    fn new_in(parent: &Path, test: &str) -> Scratch {
        pass_on_no_ignored_signal();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let folder = parent.join(format!("{process}-{number}-{test}"));
        fs::create_dir_all(&folder).unwrap();
        // 127.64.0.0/10. Two runs at the same time differ in the middle bits.
        let host = ((process % (1 << 13)) << 9) | ((number + 1) % (1 << 9));
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) | host);
        Scratch { folder, address }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Another address, where only the test itself listens.
    pub(crate) fn elsewhere(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + (64 << 16))
    }

    /// The path of `name` in the folder.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.folder.join(name.as_ref())
    }

    /// Makes the file `name` with these bytes.
    pub(crate) fn write(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes the file `name` of `size` bytes. It stores none of them.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// Makes files of these names in `folder`, each with these bytes. Most are links to the first:
    /// ext4 makes a link ten times faster than a file. It has room for 65,000 links to one file.
    pub(crate) fn fill(folder: &Path, names: impl Iterator<Item = String>, bytes: &[u8]) {
        let mut first: Option<PathBuf> = None;
        for name in names {
            let path = folder.join(name);
            if first.as_ref().is_none_or(|first| fs::hard_link(first, &path).is_err()) {
                fs::write(&path, bytes).unwrap();
                first = Some(path);
            }
        }
    }

    /// The names in `folder`, sorted.
    pub(crate) fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Makes a folder in the folder.
    pub(crate) fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// One of the four programs, with its mark and with empty input.
    pub(crate) fn program(&self, name: &str) -> Command {
        self.command(&program_path(name))
    }

    /// The same with a program at this path.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env(MARK, &self.folder).stdin(Stdio::null());
        // Keeps the user's own passwords away from the tests.
        command.env("ROPEWALK_AUTH", "").env("XDG_CONFIG_HOME", self.folder.join(".config"));
        command
    }

    /// The client that fetches `file` into `output`. Unless `--progress` follows, it prints only
    /// how it ended, however long the fetch takes.
    pub(crate) fn client(
        &self,
        server: impl ToString,
        streams: impl ToString,
        file: impl AsRef<OsStr>,
        output: impl AsRef<OsStr>,
    ) -> Command {
        let mut command = self.program("client");
        command.arg(server.to_string()).arg(streams.to_string()).arg(file).arg(output);
        command.arg("--progress=none");
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The path of a program: in cargo's folder, or in the folder that the environment names for its
/// side. So `scripts/check/cross.sh` tests the programs of another machine on one side.
pub(crate) fn program_path(name: &str) -> PathBuf {
    let (side, own) = match name {
        "server" => ("ROPEWALK_TEST_SERVER", env!("CARGO_BIN_EXE_server")),
        "sender" => ("ROPEWALK_TEST_SERVER", env!("CARGO_BIN_EXE_sender")),
        "client" => ("ROPEWALK_TEST_CLIENT", env!("CARGO_BIN_EXE_client")),
        "receiver" => ("ROPEWALK_TEST_CLIENT", env!("CARGO_BIN_EXE_receiver")),
        other => panic!("no program is called {other}"),
    };
    std::env::var_os(side).map_or(own.into(), |folder| Path::new(&folder).join(name))
}

/// The same command, run by `sh` after `setting`: a limit, a umask, a closed output. The shell
/// becomes the program.
pub(crate) fn after(setting: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{setting}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// What a program prints, line by line as it comes.
struct Lines {
    /// Locked only so that the threads of a test may share the program.
    come: Mutex<Receiver<String>>,
    seen: String,
}

impl Lines {
    fn read(source: impl Read + Send + 'static) -> Lines {
        let (send, come) = mpsc::channel();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let mut line = Vec::new();
                match source.read_until(b'\n', &mut line) {
                    Ok(1..) => drop(send.send(String::from_utf8_lossy(&line).into_owned())),
                    _ => return,
                }
            }
        });
        Lines { come: Mutex::new(come), seen: String::new() }
    }

    /// The next line. `None` at the end, when every process that could still write has ended.
    fn next(&mut self) -> Option<String> {
        match self.come.get_mut().unwrap().recv_timeout(LIMIT) {
            Ok(line) => {
                self.seen.push_str(&line);
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing came behind:\n{}", self.seen),
        }
    }
}

/// A running program. Dropping it kills the program.
pub(crate) struct Running {
    child: Child,
    out: Lines,
    err: Lines,
}

/// How a program ended, and everything that it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = Lines::read(child.stdout.take().unwrap());
        let err = Lines::read(child.stderr.take().unwrap());
        Running { child, out, err }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// The next line on standard output.
    pub(crate) fn next_line(&mut self) -> String {
        self.out.next().unwrap_or_else(|| panic!("it ended: {:?}", self.err.next()))
    }

    /// The next line on standard error.
    pub(crate) fn next_error_line(&mut self) -> String {
        self.err.next().unwrap_or_else(|| panic!("it ended after:\n{}", self.err.seen))
    }

    /// Waits for the end of the program and of its workers, which share its standard error.
    pub(crate) fn finish(mut self) -> Outcome {
        self.finish_ref()
    }

    /// Like `finish`, for a program in a field of a struct.
    pub(crate) fn finish_ref(&mut self) -> Outcome {
        while self.out.next().is_some() {}
        while self.err.next().is_some() {}
        let status = self.child.wait().unwrap();
        let (out, err) = (&mut self.out.seen, &mut self.err.seen);
        Outcome { status, out: std::mem::take(out), err: std::mem::take(err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            Ok(None) | Err(_) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                "still running".to_string()
            }
        };
        if std::thread::panicking() {
            for stream in [&mut self.out, &mut self.err] {
                // A worker that still ends may hold the output.
                while let Ok(line) =
                    stream.come.get_mut().unwrap().recv_timeout(Duration::from_secs(1))
                {
                    stream.seen.push_str(&line);
                }
            }
            let (pid, out, err) = (self.child.id(), &self.out.seen, &self.err.seen);
            eprintln!("process {pid}, {ended}, wrote:\n{out}{err}");
        }
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    Running::start(command).finish()
}

impl Outcome {
    /// Demands success, and returns what was printed.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.out
    }

    /// Demands this exit code and exactly one line of error, which begins with the program's name
    /// and holds `words`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, program: &str, words: &str) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        assert!(line.starts_with(&format!("{program}: ")), "{self:?}");
        assert!(line.contains(words), "'{words}' is missing: {self:?}");
        assert_eq!(self.out, "", "{self:?}");
    }

    /// The signal that ended the program.
    pub(crate) fn killed_by(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// A server that is ready. Dropping it kills the server.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    /// The address of its metrics, with `--metrics`.
    pub(crate) metrics: Option<SocketAddr>,
    /// Reserves the port, even between two servers.
    _port: Reserved,
}

impl Server {
    /// Starts a server with these options on the test's own address.
    pub(crate) fn start(scratch: &Scratch, options: &[&str]) -> Server {
        let mut command = scratch.program("server");
        command.args(options).current_dir(scratch.folder());
        Server::start_command(scratch, command)
    }

    /// The same with a command that lacks `--bind` and the port.
    pub(crate) fn start_command(scratch: &Scratch, mut command: Command) -> Server {
        let port = reserve(scratch.address(), 0).unwrap();
        let number = port.address.port().to_string();
        command.arg("--bind").arg(scratch.address().to_string()).arg(number);
        let mut running = Running::start(&mut command);
        let mut address_after = |words: &str| {
            let line = running.next_line();
            line.strip_prefix(words).unwrap().trim_end().parse().unwrap()
        };
        let given: Vec<&OsStr> = command.get_args().collect();
        let address = address_after("listening on ");
        let metrics =
            given.contains(&OsStr::new("--metrics")).then(|| address_after("metrics on "));
        if !["-q", "--quiet", "--root"].iter().any(|option| given.contains(&OsStr::new(option))) {
            // Skips the warning, so that no test has to. There is none if standard error is closed.
            if let Some(line) = running.err.next() {
                assert!(line.contains("warning: ") && line.contains("--root"), "{line}");
            }
            running.err.seen.clear();
        }
        Server { running, address, metrics, _port: port }
    }

    /// A server with the file `file` of `size` bytes, and these bytes.
    pub(crate) fn with_file(scratch: &Scratch, size: usize) -> (Server, Vec<u8>) {
        let bytes = content(size);
        scratch.write("file", &bytes);
        (Server::start(scratch, &[]), bytes)
    }

    /// The command that starts a server with these options at the address of this one.
    pub(crate) fn again(&self, scratch: &Scratch, options: &[&str]) -> Command {
        let mut again = scratch.program("server");
        again.args(options).current_dir(scratch.folder());
        again.args(["--bind", &self.address.ip().to_string()]);
        again.arg(self.address.port().to_string());
        again
    }

    /// Starts it, in place of the one that was killed.
    pub(crate) fn start_again(&mut self, scratch: &Scratch, options: &[&str]) {
        self.running = Running::start(&mut self.again(scratch, options));
        self.running.next_line();
    }

    /// Waits for the next line of the log, but skips lines about refused requests.
    pub(crate) fn next_log_line(&mut self) -> String {
        loop {
            let line = self.running.next_error_line();
            if !line.contains(" refused: ") {
                return line;
            }
        }
    }

    /// Kills the server, and with it its senders.
    pub(crate) fn kill(&mut self) {
        self.running.signal(libc::SIGKILL);
        self.running.finish_ref();
    }

    /// Ends the server as an init system does.
    pub(crate) fn stop(self) -> Outcome {
        self.running.signal(libc::SIGTERM);
        self.running.finish()
    }
}

/// Bytes that look random and are the same in every run (SplitMix64).
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    let mut bytes = vec![0; size.next_multiple_of(8)];
    for place in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        place.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Demands that two files or replies are equal, without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    let first = got.iter().zip(expected).position(|(got, expected)| got != expected);
    assert!(
        got.len() == expected.len() && first.is_none(),
        "{what}: {} bytes instead of {}, the first difference at {first:?}",
        got.len(),
        expected.len()
    );
}

/// Waits for a state that sends no event: looks every 2 ms.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The bytes as the name of a file.
pub(crate) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Makes a file of `size` bytes, with `length` bytes of data at each of these offsets.
pub(crate) fn sparse(path: &Path, size: u64, data: &[(u64, usize)]) -> fs::File {
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = file.unwrap();
    file.set_len(size).unwrap();
    for (offset, length) in data {
        file.write_all_at(&content(*length), *offset).unwrap();
    }
    file
}
