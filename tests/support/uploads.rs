//! A server that takes uploads into a folder of its own, and a client that sends them by hand.

use crate::support::harness::{Scratch, Server};
use crate::support::http::{Http, Reply};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A server of the folder `root`, which takes uploads into `root/in`.
pub(crate) struct Inbox {
    pub(crate) server: Server,
    pub(crate) scratch: Scratch,
    /// The folder `root/in`.
    pub(crate) folder: PathBuf,
}

/// Says at its end that something is done.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts a link to `target` in the place of the folder `sub`, and the folder back in its place.
pub(crate) fn swap_for_link(folder: &Path, target: &str) {
    let (link, old, own) = (folder.join("link"), folder.join("old"), folder.join("sub"));
    symlink(target, &link).unwrap();
    fs::rename(&own, &old).unwrap();
    fs::rename(&link, &own).unwrap();
    fs::remove_file(&own).unwrap();
    fs::rename(&old, &own).unwrap();
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

    /// A client that pushes `file` of the scratch folder to `name`.
    pub(crate) fn push(&self, file: &str, name: impl AsRef<OsStr>) -> Command {
        self.push_at(self.server.address, file, name)
    }

    /// The same through what is at `address`.
    pub(crate) fn push_at(
        &self,
        address: SocketAddr,
        file: &str,
        name: impl AsRef<OsStr>,
    ) -> Command {
        let mut command = self.scratch.program("client");
        command.arg("--push").arg(address.to_string()).arg("4").arg(file).arg(name);
        command.arg("--progress=none").current_dir(self.scratch.folder());
        command
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

    /// Runs `act` while `swap` changes the folder all the time.
    pub(crate) fn while_swapped<T>(
        &self,
        swap: impl Fn(&Path) + Sync,
        act: impl FnOnce() -> T,
    ) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    swap(&self.folder);
                }
            });
            // Also where `act` panics: the thread is joined.
            let _done = Done(&done);
            act()
        })
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
            if line.contains(" PUT ") || line.contains(" PUSH ") {
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

/// A server with links and folders in and around its writable folder.
pub(crate) fn inbox(test: &str) -> Inbox {
    let inbox = Inbox::open(test, &[]);
    let root = inbox.scratch.path("root");
    let secret = inbox.scratch.make_dir("secret");
    fs::write(secret.join("file"), b"secret").unwrap();
    for folder in ["root/other", "root/in/sub", "root/in/sub/deep"] {
        inbox.scratch.make_dir(folder);
    }
    for file in ["file", "other/file", "in/there"] {
        fs::write(root.join(file), b"outside").unwrap();
    }
    symlink("../other", root.join("in/other")).unwrap();
    symlink("../../secret", root.join("in/out")).unwrap();
    symlink("..", root.join("in/up")).unwrap();
    symlink("../..", root.join("in/sub/up")).unwrap();
    symlink(&secret, root.join("in/absolute")).unwrap();
    symlink("/", root.join("in/slash")).unwrap();
    symlink("/proc/self/cwd", root.join("in/magic")).unwrap();
    symlink("/proc/self/fd", root.join("in/fds")).unwrap();
    symlink("loop", root.join("in/loop")).unwrap();
    symlink("in", root.join("way")).unwrap();
    inbox
}

/// Every name beneath `folder` but what is in `besides`, with its inode and content.
pub(crate) fn state(folder: &Path, besides: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        let content = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.insert(path.clone(), (found.ino(), content));
        if found.is_dir() && path != besides {
            all.extend(state(&path, besides));
        }
    }
    all
}

/// Spellings of names outside of the folder `in`, as a client sends them.
pub(crate) fn spellings(scratch: &Scratch) -> Vec<Vec<u8>> {
    let names = [
        "new",
        "file",
        "../new",
        "/../new",
        "//../new",
        "../secret/new",
        "/../secret/file",
        "sub/../../new",
        "/./../new",
        "..//new",
        "/sub/.././../new",
        "%2e%2e/new",
        "/%2E%2E%2Fnew",
        "..%2fnew",
        "/%2e%2e%2f%2e%2e%2fsecret/new",
        "http://host/../new",
        "other/new",
        "other/file",
        "out/new",
        "out/file",
        "up/new",
        "up/file",
        "sub/up/new",
        "up/in/up/new",
        "sub/up/../secret/new",
        "absolute/new",
        "absolute/file",
        "slash/tmp/new",
        "slash/dev/null",
        "magic/new",
        "fds/1",
        "loop/new",
        "none/../../new",
        "there/../../new",
        "/proc/self/cwd/new",
        "/proc/self/fd/1",
        "/etc/new",
        "/dev/null",
        "/dev/shm/new",
        "",
        "/",
        ".",
        "..",
        "way",
        "way/",
        "way/..",
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for spelling in names {
        for before in ["", "/", "/in/", "in/", "/in/sub/../", "/way/", "//in/./"] {
            all.push([before.as_bytes(), spelling.as_bytes()].concat());
        }
    }
    all.push([b"/", "../".repeat(20).as_bytes(), b"etc/new"].concat());
    let real = scratch.path("root/new").into_os_string().into_encoded_bytes();
    all.push([&b"/in/"[..], &"../".repeat(20).into_bytes(), &real].concat());
    all.push(real);
    all.into_iter().filter(|target| !target.is_empty()).collect()
}
