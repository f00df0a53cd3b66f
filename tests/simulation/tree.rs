//! A seeded simulation of a tree: a source and a sink with faults, lost sessions and kills, over
//! whatever an earlier run left. At every end a name has its old content or its new content.

use crate::network::{Network, NetworkDial, session};
use crate::plan::Storm;
use crate::random::{Choices as _, Random};
use crate::world::acceptor;
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::tree_options::{Delete, TreeOptions};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::message::version::Stamp;
use ropewalk::error::{Error, ExitCode};
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::acceptor::Acceptor;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::tree::{TreeSink, Wanted};
use ropewalk::transfer::source::{Content, Source, tree};
use ropewalk::transfer::store::tree::Tree;
use ropewalk::transfer::timing::Timing;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// How the waits of the engine are divided.
const DIVISOR: u32 = 200;

/// Runs after which a tree must be equal.
const MAX_RUNS: usize = 30;

/// What a name stands for: its kind with mode and mtime, and its content.
type Facts = BTreeMap<PathBuf, (String, Vec<u8>)>;

/// The plan of one tree.
#[derive(Debug)]
pub(crate) struct TreePlan {
    seed: u64,
    streams: u8,
    sync: bool,
    checksum: bool,
    whole: bool,
    hard_links: bool,
    delete: bool,
    md5: bool,
    /// Whether the sink dials; else the source does, as in a push.
    sink_dials: bool,
    /// Sessions that are lost, and runs that are killed, after so many bytes.
    losses: Vec<u64>,
    kills: Vec<u64>,
    fault_once_in: u64,
}

impl TreePlan {
    pub(crate) fn new(seed: u64) -> TreePlan {
        let mut random = Random::from_seed(seed ^ 0x7ee);
        let mut bytes = |most: u64| {
            (0..random.within(0..most)).map(|_| random.within(1..3_000_000)).collect::<Vec<_>>()
        };
        let (losses, kills) = (bytes(3), bytes(4));
        TreePlan {
            seed,
            streams: random.pick(&[1, 2, 3, 4, 8]),
            sync: random.once_in(2),
            checksum: random.once_in(6),
            whole: random.once_in(3),
            hard_links: random.once_in(3),
            delete: random.once_in(2),
            losses,
            kills,
            fault_once_in: random.pick(&[0, 0, 2, 4]),
            md5: random.once_in(3),
            sink_dials: random.once_in(2),
        }
    }

    fn options(&self) -> TreeOptions {
        TreeOptions {
            checksum: self.checksum,
            whole: self.whole,
            hard_links: self.hard_links,
            delete: if self.delete { Delete::AtMost(1000) } else { Delete::Nothing },
            ..TreeOptions::default()
        }
    }
}

/// Both folders. They are removed at the end.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Carries the plan out. What is wrong, where something is.
pub(crate) fn run(plan: &TreePlan) -> Result<(), String> {
    let mut random = Random::from_seed(plan.seed);
    let name = format!("ropewalk-simtree-{}-{}", std::process::id(), plan.seed);
    let place = Place(std::env::temp_dir().join(name));
    let (there, here) = (place.0.join("there"), place.0.join("here"));
    for folder in [&there, &here] {
        fs::create_dir_all(folder).unwrap();
    }
    grow(&there, 0, &mut random);
    if random.once_in(2) {
        leave(&there, &here, &mut random);
    }
    let (wanted, before) = (facts(&there), facts(&here));
    let mut kills = plan.kills.iter();
    for _ in 0..MAX_RUNS {
        let storm = Storm::of(3_000_000, plan.fault_once_in);
        let network = Network::new(storm, random.split());
        let run = Run { plan, there: &there, here: &here, network };
        let done = run.once(kills.next().copied())?;
        let now = facts(&here);
        for (name, found) in now.iter().filter(|(name, _)| !is_ours(name)) {
            let is_known = |all: &Facts| {
                all.get(name).is_some_and(|known| known.1 == found.1 || found.1.is_empty())
            };
            if !is_known(&wanted) && !is_known(&before) {
                return Err(format!("{} is neither old nor new", name.display()));
            }
        }
        if done {
            return judge(plan, &wanted, &before, &now);
        }
    }
    Err(format!("not equal after {MAX_RUNS} runs"))
}

/// One run, of one process that dials.
struct Run<'a> {
    plan: &'a TreePlan,
    there: &'a Path,
    here: &'a Path,
    network: Arc<Network>,
}

impl Run<'_> {
    /// Carries it out. Whether it came to its end.
    fn once(&self, kill_at: Option<u64>) -> Result<bool, String> {
        let done = match self.plan.sink_dials {
            true => self.sink_dials(kill_at),
            false => self.source_dials(kill_at),
        };
        self.network.end();
        done
    }

    fn timing() -> Timing {
        Timing::default().divided(DIVISOR)
    }

    fn sink_dials(&self, kill_at: Option<u64>) -> Result<bool, String> {
        let mut losses = self.plan.losses.iter().copied();
        let sink = self.sink();
        let token = Token::random().unwrap();
        let mut serving = vec![self.start_source(token, losses.next())];
        let dialler = self.dialler(token);
        let mut killed = false;
        let done = sink.dial(&dialler, |report| match report {
            Report::Lost { .. } => {
                self.network.lose_session();
                let token = Token::random().unwrap();
                serving.push(self.start_source(token, losses.next()));
                dialler.renew(&session(token.bytes(), self.plan.streams));
            }
            Report::Progress(tally) if kill_at.is_some_and(|at| tally.bytes >= at) => {
                killed = true;
                sink.fail(Error::new(ExitCode::Terminated, "killed"));
            }
            _ => {}
        });
        drop(sink);
        self.network.lose_session();
        serving.into_iter().for_each(|serving| serving.join().unwrap());
        match done {
            Ok(_) => Ok(true),
            Err(_) if killed => Ok(false),
            Err(error) => Err(format!("the sink failed: {error}")),
        }
    }

    /// The same with a sink that accepts, and another one for each session.
    fn source_dials(&self, kill_at: Option<u64>) -> Result<bool, String> {
        let mut losses = self.plan.losses.iter().copied();
        let source = self.source();
        let token = Token::random().unwrap();
        let mut serving = Some(self.start_sink(token, losses.next()));
        let dialler = self.dialler(token);
        let (mut done, mut killed) = (Ok(false), false);
        let sent = source.dial(&dialler, |report| match report {
            Report::Lost { .. } => {
                self.network.lose_session();
                done = serving.take().map_or(Ok(false), has_all);
                if done != Ok(false) {
                    return source.fail(Error::new(ExitCode::Network, "lost"));
                }
                let token = Token::random().unwrap();
                serving = Some(self.start_sink(token, losses.next()));
                dialler.renew(&session(token.bytes(), self.plan.streams));
            }
            Report::Progress(tally) if kill_at.is_some_and(|at| tally.bytes >= at) => {
                killed = true;
                source.fail(Error::new(ExitCode::Terminated, "killed"));
            }
            _ => {}
        });
        if sent.is_err() {
            self.network.lose_session();
        }
        let done = match serving {
            Some(serving) => has_all(serving)?,
            None => done?,
        };
        match done {
            true => Ok(true),
            false if sent.is_ok() => Err("the source was told that a sink had everything".into()),
            false if killed => Ok(false),
            false => Err(format!("the source failed: {:?}", sent.err().map(|it| it.to_string()))),
        }
    }

    fn dialler(&self, token: Token) -> Dialler {
        let session = session(token.bytes(), self.plan.streams);
        let dial = Box::new(NetworkDial(self.network.clone()));
        Dialler::new(dial, session.token, session.streams, Run::timing())
    }

    /// The way to an acceptor, and when its session is lost.
    fn acceptor(&self, lost_after: Option<u64>) -> Acceptor {
        let (acceptor, way) = acceptor(false, Run::timing());
        self.network.open(way);
        lost_after.into_iter().for_each(|after| self.network.lose_session_after(after));
        acceptor
    }

    /// A process that accepts as the source of the tree.
    fn start_source(&self, token: Token, lost_after: Option<u64>) -> JoinHandle<()> {
        let (source, streams) = (self.source(), self.plan.streams);
        let acceptor = self.acceptor(lost_after);
        thread::spawn(move || drop(source.accept(acceptor, &token, streams, |_| {})))
    }

    /// A process that accepts as the sink of the tree. Whether it has everything.
    fn start_sink(
        &self,
        token: Token,
        lost_after: Option<u64>,
    ) -> JoinHandle<Result<Report, Error>> {
        let sink = self.sink();
        let acceptor = self.acceptor(lost_after);
        thread::spawn(move || sink.accept(acceptor, &token, |_| {}))
    }

    fn source(&self) -> Source {
        let folder = tree::Tree::new(File::open(self.there).unwrap().into()).unwrap();
        Source::new(Content::Tree(folder), Throttle::default(), Run::timing()).unwrap()
    }

    fn sink(&self) -> TreeSink {
        let told = Box::new(|_: Report| {});
        TreeSink::new(wanted(self.plan, self.there, self.here, Run::timing()), Run::timing(), told)
    }
}

/// Whether a sink that accepted has everything. It may have lost its session, and nothing else.
fn has_all(serving: JoinHandle<Result<Report, Error>>) -> Result<bool, String> {
    match serving.join().unwrap() {
        Ok(_) => Ok(true),
        Err(error) if error.code() == ExitCode::Network => Ok(false),
        Err(error) => Err(format!("the sink failed: {error}")),
    }
}

fn wanted(plan: &TreePlan, there: &Path, here: &Path, timing: Timing) -> Wanted {
    let folder = tree::Tree::new(File::open(there).unwrap().into()).unwrap();
    let found = fs::metadata(there).unwrap();
    Wanted {
        streams: plan.streams,
        grows: false,
        verify: if plan.md5 { Verify::Md5 } else { Verify::Crc32c },
        rate: None,
        trace: false,
        limits: None,
        shown: "here".into(),
        top: FolderState {
            identity: folder.identity(),
            mode: (found.mode() & 0o7777) as u16,
            mtime: Stamp { seconds: found.mtime(), nanoseconds: found.mtime_nsec() as u32 },
            uid: found.uid(),
            gid: found.gid(),
        },
        store: Some(Tree::open(File::open(here).unwrap(), plan.sync, timing).unwrap()),
        options: plan.options(),
    }
}

/// Fills a folder: files of all sizes, links, hard links, and folders with the same.
fn grow(folder: &Path, depth: u64, random: &mut Random) {
    for number in 0..random.within(0..14) {
        let path = folder.join(format!("n{number}"));
        match random.within(0..10) {
            0 | 1 if depth < 4 => {
                fs::create_dir(&path).unwrap();
                grow(&path, depth + 1, random);
            }
            2 => symlink(format!("../to{number}"), &path).unwrap(),
            3 => drop(File::create(&path).unwrap()),
            4 if number > 0 => {
                let first = folder.join("n0");
                match first.is_file() {
                    true => fs::hard_link(first, &path).unwrap(),
                    false => fill(&path, random),
                }
            }
            _ => fill(&path, random),
        }
    }
}

/// A file with bytes that are nowhere twice, perhaps with a hole.
fn fill(path: &Path, random: &mut Random) {
    let size = match random.within(0..12) {
        0 => random.within(1_000_000..2_500_000),
        1 | 2 => random.within(60_000..200_000),
        _ => random.within(1..9000),
    };
    let file = File::create(path).unwrap();
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as u64) < size {
        bytes.extend_from_slice(&random.next().to_ne_bytes());
    }
    bytes.truncate(size as usize);
    let start = if random.once_in(8) { random.within(0..1_000_000) } else { 0 };
    file.write_all_at(&bytes, start).unwrap();
    let mode = random.pick(&[0o644, 0o600, 0o755, 0o444]);
    file.set_permissions(PermissionsExt::from_mode(mode)).unwrap();
}

/// What an earlier time may have left here: a part of the tree, older files, and other entries.
fn leave(there: &Path, here: &Path, random: &mut Random) {
    for entry in fs::read_dir(there).unwrap() {
        let (from, to) = match entry {
            Ok(entry) => (entry.path(), here.join(entry.file_name())),
            Err(error) => panic!("{error}"),
        };
        let found = fs::symlink_metadata(&from).unwrap();
        match random.within(0..6) {
            0 => continue,
            1 if !found.is_dir() => symlink("elsewhere", &to).unwrap(),
            2 => fs::create_dir(&to).unwrap(), // empty: it may be replaced
            _ if found.is_dir() => {
                fs::create_dir(&to).unwrap();
                leave(&from, &to, random);
            }
            _ if found.is_file() => {
                let mut bytes = fs::read(&from).unwrap();
                let at = random.within(0..bytes.len().max(1) as u64) as usize;
                bytes.iter_mut().skip(at).take(10).for_each(|byte| *byte ^= 0x55);
                fs::write(&to, bytes).unwrap();
                // The clock of an mtime is coarse: the file here may be as old as the one there.
                let older = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
                File::options().write(true).open(&to).unwrap().set_modified(older).unwrap();
            }
            _ => {}
        }
    }
    if random.once_in(3) {
        fs::write(here.join("extra"), b"mine").unwrap();
    }
}

fn is_ours(name: &Path) -> bool {
    name.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".ropewalk-"))
}

/// Everything below `top`.
fn facts(top: &Path) -> Facts {
    let mut all = Facts::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let (kind, content) = match found.file_type() {
                kind if kind.is_symlink() => (
                    "link".into(),
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                ),
                kind if kind.is_dir() => {
                    folders.push(path.clone());
                    (stamps(&found), Vec::new())
                }
                _ => (stamps(&found), fs::read(&path).unwrap()),
            };
            all.insert(path.strip_prefix(top).unwrap().to_path_buf(), (kind, content));
        }
    }
    all
}

fn stamps(found: &fs::Metadata) -> String {
    format!("{:o} {}.{}", found.mode(), found.mtime(), found.mtime_nsec())
}

/// Whether everything arrived, and nothing else went.
fn judge(plan: &TreePlan, wanted: &Facts, before: &Facts, now: &Facts) -> Result<(), String> {
    for (name, fact) in wanted {
        match now.get(name) {
            Some(found) if found == fact => {}
            Some(found) => {
                return Err(format!("{}: {} in place of {}", name.display(), found.0, fact.0));
            }
            None => return Err(format!("{} is missing", name.display())),
        }
    }
    for name in now.keys().filter(|name| !wanted.contains_key(*name)) {
        if plan.delete || is_ours(name) || !before.contains_key(name) {
            return Err(format!("{} is still here", name.display()));
        }
    }
    Ok(())
}
