//! Thirty kills in the middle of one transfer, and a watcher that demands that every real name has
//! the old or the new content all the while.

use crate::support::exit::USAGE;
use crate::support::harness::{Running, Scratch, Server};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::trees::Fact;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// How many processes are killed.
const KILLS: usize = 30;

/// The contents that a name may have.
pub(crate) type Allowed = HashMap<OsString, Vec<Vec<u8>>>;

/// Everything that the names of the source may stand for, with `older` contents.
pub(crate) fn allowed(
    source: BTreeMap<OsString, Fact>,
    older: &HashMap<OsString, Vec<u8>>,
) -> Allowed {
    let mut allowed = Allowed::new();
    for (name, fact) in source {
        let old = older.get(&name).cloned();
        allowed.insert(name, old.into_iter().chain([fact.content]).collect());
    }
    allowed
}

/// The transfer whose processes are killed.
pub(crate) struct Victims<'a> {
    pub(crate) scratch: &'a Scratch,
    /// The file or the folder that is sent.
    pub(crate) source: PathBuf,
    /// The folder that gets it.
    pub(crate) sink: PathBuf,
    /// What may be in that folder.
    pub(crate) allowed: Allowed,
    /// How the server is started again.
    pub(crate) server: Command,
    /// A client that makes the transfer.
    pub(crate) client: &'a dyn Fn() -> Command,
}

impl Victims<'_> {
    /// Kills 30 processes in one transfer: the client, its worker, the server's worker and the
    /// server, one after the other.
    pub(crate) fn kill_thirty(&mut self, server: &mut Server) {
        let over = AtomicBool::new(false);
        let mut random = seed();
        let (sink, allowed) = (self.sink.clone(), std::mem::take(&mut self.allowed));
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&sink, &allowed, &over));
            let at_the_end = Ends(&over);
            let (mut kills, mut number) = (0, 0_u64);
            while kills < KILLS {
                number += 1;
                assert!(number < 200, "runs end before anything can be killed");
                // Without syncs files get their names one by one, else in groups.
                let sync = if number % 3 == 0 { "-q" } else { "--no-sync" };
                let client = Running::start((self.client)().args(["--retry-for", "0", sync]));
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 150));
                let pid = self.victim(server, client.pid(), kills);
                if let Some(pid) = pid.filter(|pid| proof::state(*pid).is_some_and(|s| s != 'Z')) {
                    signal(pid, libc::SIGKILL);
                    kills += 1;
                    if pid == server.running.pid() {
                        server.running.finish_ref();
                        server.running = Running::start(&mut self.server);
                        server.running.next_line();
                    }
                }
                let outcome = client.finish();
                if outcome.status.success() {
                    // Everything is to be sent again, with the same content. Times that one may be the
                    // other of, cut to 2 s, would count as equal.
                    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * number);
                    touch(&self.source, time);
                }
                assert!(!outcome.err.contains("panicked") && outcome.status.code() != Some(USAGE));
            }
            drop(at_the_end);
            assert!(watcher.join().unwrap() > 0, "there was nothing to look at");
        });
    }

    /// One of the processes of a run, if it is there.
    fn victim(&self, server: &Server, client: u32, number: usize) -> Option<u32> {
        let server = server.running.pid();
        let child = |parent: u32| {
            proof::processes(self.scratch).into_iter().find(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let fields = line.rsplit_once(") ").unwrap_or_default().1.to_string();
                fields.split(' ').nth(1) == Some(parent.to_string().as_str())
            })
        };
        match number % 4 {
            0 => Some(client),
            1 => child(client),
            2 => child(server),
            _ => Some(server),
        }
    }
}

/// The seed of the random times.
fn seed() -> u64 {
    let seed = std::env::var("ROPEWALK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(u64::from(std::process::id()));
    eprintln!("ROPEWALK_SEED={seed}");
    seed
}

/// The pause between two looks, and how long ago a file must have changed at least so that a later
/// change shows in its ctime.
const PAUSE: Duration = Duration::from_millis(10);
const SETTLED: Duration = Duration::from_millis(500);

/// What tells that a file was not changed: its device and number, and its ctime.
type Unchanged = (u64, u64, i64, i64);

/// That of a file, if it has settled.
fn settled(found: &Metadata) -> Option<Unchanged> {
    let changed = Duration::new(found.ctime() as u64, found.ctime_nsec() as u32);
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).ok()?;
    (age > SETTLED).then(|| (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// Looks at every file again and again until `over`. A file that has not changed since it was read
/// is not read again.
fn watch(top: &Path, allowed: &Allowed, over: &AtomicBool) -> u64 {
    let mut looks = 0;
    let mut seen: HashMap<PathBuf, Unchanged> = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        let mut folders = vec![top.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path: PathBuf = entry.path();
                if entry.file_name().as_bytes().starts_with(b".ropewalk-") {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                    continue;
                }
                // It may be replaced, but not taken away.
                let now = settled(&fs::metadata(&path).unwrap());
                if now.is_some() && seen.get(&path) == now.as_ref() {
                    continue;
                }
                let mut file = File::open(&path).unwrap();
                let settled = settled(&file.metadata().unwrap());
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                let name = path.strip_prefix(top).unwrap().as_os_str();
                let right = allowed.get(name).is_some_and(|all| all.contains(&bytes));
                assert!(right, "{name:?} has {} wrong bytes", bytes.len());
                looks += 1;
                settled.map(|settled| seen.insert(path, settled));
            }
        }
    }
    looks
}

/// Ends the watcher, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives a file, or every file in a folder, this mtime.
fn touch(path: &Path, time: SystemTime) {
    if !path.is_dir() {
        return File::open(path).unwrap().set_modified(time).unwrap();
    }
    for entry in fs::read_dir(path).unwrap() {
        touch(&entry.unwrap().path(), time);
    }
}
