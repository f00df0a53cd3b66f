//! A sink of a tree against a source that a test plays: nothing outside the folder changes, and the
//! run ends.

use crate::content;
use crate::fair::Faults;
use crate::network::{Network, NetworkDial, Way};
use crate::random::Random;
use ropewalk::codec::entry::{Entry, EntryType};
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::message::receiver_job::TreeLimits;
use ropewalk::codec::message::report::{Act, Report, TreeTally};
use ropewalk::codec::message::tree_options::{Delete, TreeOptions};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::message::version::Stamp;
use ropewalk::codec::wire::{HELLO_SIZE, Header, LONGEST_REQUEST, PageEnd, RefusalCode, Request};
use ropewalk::error::{Error, Result};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::sink::tree::{TreeSink, Wanted};
use ropewalk::transfer::store::tree::Tree;
use ropewalk::transfer::timing::Timing;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// The longest run of a test.
const LIMIT: Duration = Duration::from_secs(60);

/// The identity of each folder.
const FOLDER: [u8; 16] = [7; 16];

/// A request as the source sees it.
#[derive(Clone, Debug)]
enum Asked {
    List { name: String, after: Vec<u8> },
    Range { name: String, offset: u64, length: u32 },
}

/// Answers one stream until it ends.
pub(crate) type Serve = dyn Fn(TcpStream) + Send + Sync;

/// Answers one request on one stream.
type Answer = dyn Fn(&mut TcpStream, &Asked) + Send + Sync;

/// A folder `here`, beside a folder `outside` that nobody may change.
pub(crate) struct Place(PathBuf);

/// How a run ended.
pub(crate) struct Run {
    done: Result<TreeTally>,
    /// What was told: the act, the path and the reason.
    pub(crate) told: Vec<(Act, String, String)>,
}

impl Run {
    pub(crate) fn tally(&self) -> &TreeTally {
        self.done.as_ref().unwrap()
    }

    fn error(&self) -> &Error {
        self.done.as_ref().unwrap_err()
    }

    pub(crate) fn refused(&self) -> Vec<&str> {
        let all = self.told.iter().filter(|(act, ..)| *act == Act::Refused);
        let mut paths: Vec<&str> = all.map(|(_, path, _)| path.as_str()).collect();
        paths.sort_unstable();
        paths
    }
}

impl Place {
    pub(crate) fn new() -> Place {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-hostile-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for folder in ["here", "outside/folder"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        fs::write(path.join("outside/file"), b"precious").unwrap();
        Place(path)
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.0.join("here").join(name)
    }

    fn run(&self, answer: impl Fn(&mut TcpStream, &Asked) + Send + Sync + 'static) -> Run {
        self.run_with(TreeOptions { verbose: true, ..TreeOptions::default() }, answer)
    }

    /// One run over two streams. Demands that it ends, and changes nothing outside.
    fn run_with(
        &self,
        options: TreeOptions,
        answer: impl Fn(&mut TcpStream, &Asked) + Send + Sync + 'static,
    ) -> Run {
        self.run_wanted(self.wanted(options), answer)
    }

    fn run_wanted(
        &self,
        wanted: Wanted,
        answer: impl Fn(&mut TcpStream, &Asked) + Send + Sync + 'static,
    ) -> Run {
        self.run_against(wanted, move |stream| serve(stream, &answer))
    }

    /// The same against a source that answers a stream in this way.
    pub(crate) fn run_against(
        &self,
        wanted: Wanted,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Run {
        let before = outside(&self.0);
        let (send, end) = mpsc::channel();
        thread::spawn(move || send.send(receive(wanted, Arc::new(serve))));
        let run = end.recv_timeout(LIMIT).expect("the run does not end");
        assert_eq!(outside(&self.0), before);
        if let Err(error) = &run.done {
            assert!(!error.to_string().contains("thread died"), "{error}");
        }
        run
    }

    pub(crate) fn wanted(&self, options: TreeOptions) -> Wanted {
        let mtime = Stamp { seconds: 5, nanoseconds: 6 };
        let here = File::open(self.here("")).unwrap();
        Wanted {
            streams: 2,
            grows: false,
            verify: Verify::Crc32c,
            rate: None,
            trace: false,
            limits: None,
            shown: "here".into(),
            top: FolderState { identity: FOLDER, mode: 0o755, mtime, uid: 0, gid: 0 },
            store: Some(Tree::open(here, false, Timing::default()).unwrap()),
            options,
        }
    }

    /// Every name below `here`, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.here(""))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(top: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            all.push(entry.path().strip_prefix(top).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

/// Everything beside `here`.
fn outside(top: &Path) -> (Vec<String>, Vec<u8>) {
    let beside = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().file_name());
    let mut all: Vec<String> = beside.map(|name| name.into_string().unwrap()).collect();
    all.sort();
    all.extend(names(&top.join("outside")));
    (all, fs::read(top.join("outside/file")).unwrap())
}

fn receive(wanted: Wanted, serve: Arc<Serve>) -> Run {
    // However busy the machine is, the session goes on: nobody opens another one.
    let timing = Timing { loss: LIMIT, deaf: LIMIT, ..Timing::default().divided(20) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let network = Network::new(Faults::none(), Random::from_seed(1));
    network.open(Way::Listener(address));
    let dialler = Dialler::new(Box::new(NetworkDial(network.clone())), [7; 16], 2, timing);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let tell = move |report: Report| {
        if let Report::Entry { act, path, reason } = report {
            lock(&heard).push((act, path, reason.unwrap_or_default()));
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    let sink = TreeSink::new(wanted, timing, Box::new(tell));
    let mut tally = TreeTally::default();
    let done = sink.dial(&dialler, |report| {
        if let Report::Tree(now) = report {
            tally = now;
        }
    });
    network.end();
    let told = std::mem::take(&mut *lock(&told));
    Run { done: done.map(|_| tally), told }
}

/// Answers the requests of one stream until it ends.
fn serve(mut stream: TcpStream, answer: &Answer) {
    let mut hello = [0; HELLO_SIZE];
    if stream.read_exact(&mut hello).is_err() {
        return;
    }
    let (mut buffer, mut filled) = (vec![0; LONGEST_REQUEST], 0);
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    loop {
        let Ok(Some((used, request))) = Request::parse(&buffer[..filled]) else {
            match stream.read(&mut buffer[filled..]) {
                Ok(count @ 1..) => filled += count,
                _ => return,
            }
            continue;
        };
        let asked = match request {
            Request::List { name, after, .. } => {
                Some(Asked::List { name: text(name), after: after.to_vec() })
            }
            Request::Range { name, offset, length, .. } => {
                Some(Asked::Range { name: text(name), offset, length })
            }
            Request::Idle | Request::Streams { .. } => None,
            Request::Finished | Request::Leave | Request::Md5 { .. } => return,
        };
        asked.iter().for_each(|asked| answer(&mut stream, asked));
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

fn entry<'a>(name: &'a [u8], entry_type: EntryType<'a>, size: u64) -> Entry<'a> {
    let identity = match entry_type {
        EntryType::Folder => FOLDER,
        _ => [9; 16],
    };
    Entry {
        name,
        entry_type,
        mode: 0o755,
        mtime: Stamp { seconds: 1_000_000_000, nanoseconds: 1 },
        uid: 0,
        gid: 0,
        size,
        stored: size,
        inode_tag: None,
        identity,
    }
}

pub(crate) fn file(name: &[u8], size: u64) -> Entry<'_> {
    entry(name, EntryType::File, size)
}

fn folder(name: &[u8]) -> Entry<'_> {
    entry(name, EntryType::Folder, 0)
}

fn link<'a>(name: &'a [u8], text: &'a [u8]) -> Entry<'a> {
    entry(name, EntryType::Link(text), 0)
}

/// Sends a page of the folder with this identity. The sink may have closed the stream.
fn page_of(stream: &mut TcpStream, folder: [u8; 16], entries: &[Entry<'_>], end: PageEnd) {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.encode_into(&mut bytes));
    let (length, crc) = (bytes.len() as u32, crc32c(&bytes));
    let header = Header::Entries { end, folder, length, crc };
    let _ = stream.write_all(&[&header.encode()[..], &bytes].concat());
}

pub(crate) fn page(stream: &mut TcpStream, entries: &[Entry<'_>]) {
    page_of(stream, FOLDER, entries, PageEnd::Whole);
}

pub(crate) fn data(stream: &mut TcpStream, offset: u64, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(16 << 10).enumerate() {
        let offset = offset + (index * (16 << 10)) as u64;
        let header = Header::Data { offset, length: piece.len() as u32, crc: crc32c(piece) };
        let _ = stream.write_all(&[&header.encode()[..], piece].concat());
    }
}

pub(crate) fn refuse(stream: &mut TcpStream, code: RefusalCode, entry: Option<&Entry<'_>>) {
    let mut bytes = Vec::new();
    entry.iter().for_each(|entry| entry.encode_into(&mut bytes));
    let header = Header::Refused { code, length: bytes.len() as u32, crc: crc32c(&bytes) };
    let _ = stream.write_all(&[&header.encode()[..], &bytes].concat());
}

/// Bytes of any file.
fn answer_range(stream: &mut TcpStream, asked: &Asked) {
    if let Asked::Range { offset, length, .. } = asked {
        data(stream, *offset, &vec![b'x'; *length as usize]);
    }
}

#[test]
fn wrong_names_end_the_run_and_make_nothing() {
    let pages: [&[Entry<'_>]; 9] = [
        &[file(b"..", 1)],
        &[folder(b"..")],
        &[folder(b".")],
        &[file(b"../outside/new", 1)],
        &[file(b"/tmp/new", 1)],
        &[link(b"a/b", b"x")],
        &[file(b"a\0b", 1)],
        &[file(b"b", 1), file(b"a", 1)],
        &[file(b"a", 1), folder(b"a")],
    ];
    for entries in pages {
        let place = Place::new();
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.encode_into(&mut bytes));
        let run = place.run(move |stream, asked| match asked {
            Asked::List { .. } => {
                let (length, crc) = (bytes.len() as u32, crc32c(&bytes));
                let header = Header::Entries { end: PageEnd::Whole, folder: FOLDER, length, crc };
                let _ = stream.write_all(&[&header.encode()[..], &bytes].concat());
            }
            Asked::Range { .. } => answer_range(stream, asked),
        });
        let text = run.error().to_string();
        assert!(text.contains("bad blocks in a row"), "{text}");
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[test]
fn a_page_that_begins_before_the_last_one_ended_is_not_taken() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { after, .. } if after.is_empty() => {
            page_of(stream, FOLDER, &[file(b"b", 0)], PageEnd::More);
        }
        Asked::List { .. } => page(stream, &[file(b"a", 0), file(b"b", 5), file(b"c", 0)]),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert!(run.error().to_string().contains("in a row"), "{}", run.error());
    assert!(place.names().len() <= 1, "{:?}", place.names());
}

#[test]
fn a_page_without_an_entry_and_without_an_end_is_not_taken() {
    let place = Place::new();
    let run = place.run(|stream, _| page_of(stream, FOLDER, &[], PageEnd::More));
    assert!(run.error().to_string().contains("in a row"), "{}", run.error());
}

#[test]
fn links_here_are_replaced_and_never_followed() {
    let place = Place::new();
    symlink("../outside", place.here("a")).unwrap();
    symlink("../outside/file", place.here("b")).unwrap();
    symlink("../outside/file", place.here("c")).unwrap();
    symlink("../outside/new", place.here("d")).unwrap();
    symlink("../outside", place.here("e")).unwrap();
    let entries = || [file(b"b", 3), file(b"c", 0), file(b"d", 3 << 20), link(b"e", b"/etc")];
    let run = place.run(move |stream, asked| match asked {
        Asked::List { name, .. } if name.is_empty() => {
            let mut all = vec![folder(b"a")];
            all.extend(entries());
            page(stream, &all);
        }
        Asked::List { name, .. } if name == "a" => {
            page(stream, &[file(b"file", 4), folder(b"folder"), file(b"new", 0)]);
        }
        Asked::List { .. } => page(stream, &[]),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!(run.tally().refused, 0, "{:?}", run.told);
    assert!(fs::symlink_metadata(place.here("a")).unwrap().is_dir());
    assert_eq!(fs::read(place.here("b")).unwrap(), b"xxx");
    assert_eq!(fs::read(place.here("a/file")).unwrap(), b"xxxx");
    assert_eq!(fs::read_link(place.here("e")).unwrap(), Path::new("/etc"));
}

#[test]
fn a_folder_that_becomes_a_link_in_the_middle_is_not_written_through() {
    for moment in ["list", "range", "large"] {
        let place = Place::new();
        let (folder_here, aside) = (place.here("a"), place.here("aside"));
        let swap = move || {
            if fs::rename(&folder_here, &aside).is_ok() {
                symlink("../outside", &folder_here).unwrap();
            }
        };
        let size = if moment == "large" { 3 << 20 } else { 4 };
        let run = place.run(move |stream, asked| match asked {
            Asked::List { name, .. } if name.is_empty() => page(stream, &[folder(b"a")]),
            Asked::List { name, .. } if name == "a" => {
                if moment == "list" {
                    swap();
                }
                page(stream, &[file(b"file", size), folder(b"folder"), link(b"new", b"x")]);
            }
            Asked::List { .. } => page(stream, &[file(b"inner", 0), link(b"l", b"x")]),
            Asked::Range { .. } => {
                if moment != "list" {
                    swap();
                }
                answer_range(stream, asked);
            }
        });
        if let Ok(tally) = &run.done {
            assert!(tally.refused > 0 || moment != "list", "{moment} {:?}", run.told);
        }
    }
}

#[test]
fn a_page_of_another_folder_deletes_nothing() {
    let place = Place::new();
    fs::write(place.here("mine"), b"mine").unwrap();
    let options = TreeOptions { delete: Delete::AtMost(100), ..TreeOptions::default() };
    let run = place.run_with(options, |stream, asked| match asked {
        Asked::List { .. } => page_of(stream, [1; 16], &[], PageEnd::Whole),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!((run.tally().refused, run.tally().deleted), (0, 0));
    assert!(place.here("mine").exists());
}

#[test]
fn a_folder_that_is_listed_in_part_keeps_what_is_here() {
    let place = Place::new();
    fs::write(place.here("mine"), b"mine").unwrap();
    let options = TreeOptions { delete: Delete::AtMost(100), ..TreeOptions::default() };
    let run = place.run_with(options, |stream, asked| match asked {
        Asked::List { .. } => page_of(stream, FOLDER, &[file(b"a", 3)], PageEnd::Partial),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!((run.tally().deleted, run.refused()), (0, vec![""]));
    assert_eq!(place.names(), ["a", "mine"]);
}

#[test]
fn a_page_that_is_longer_than_any_may_be_is_not_waited_for() {
    for length in [(64 << 10) + 1, 100 << 20, u32::MAX] {
        let place = Place::new();
        let run = place.run(move |stream, _| {
            let header = Header::Entries { end: PageEnd::Whole, folder: FOLDER, length, crc: 0 };
            let _ = stream.write_all(&header.encode());
        });
        assert!(run.error().to_string().contains("in a row"), "{length}: {}", run.error());
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[test]
fn folders_without_end_end_at_the_deepest_that_may_be() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { .. } => page(stream, &[folder(b"d")]),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!(run.tally().refused, 1, "{:?}", run.told);
    assert_eq!(place.names().len(), 256);
}

#[test]
fn answers_to_nothing_end_the_run() {
    let answers: [fn(&mut TcpStream); 9] = [
        |stream| data(stream, 0, b"x"),
        |stream| data(stream, 1, b"xyz"),
        |stream| data(stream, u64::MAX - 10, b"xyz"),
        |stream| drop(stream.write_all(&Header::Same { offset: 0, length: 4 }.encode())),
        |stream| {
            let hole = Header::Hole { offset: 0, length: 4, run: u64::MAX };
            drop(stream.write_all(&hole.encode()));
        },
        |stream| {
            let hole = Header::Hole { offset: 0, length: u32::MAX, run: 1 << 40 };
            drop(stream.write_all(&hole.encode()));
        },
        |stream| drop(stream.write_all(&Header::Md5 { length: 4, md5: [0; 16] }.encode())),
        |stream| page(stream, &[]),
        |stream| data(stream, 0, &[b'x'; 5000]),
    ];
    for answer in answers {
        let place = Place::new();
        let run = place.run(move |stream, asked| match asked {
            Asked::List { .. } => page(stream, &[file(b"f", 4)]),
            // The right byte at first, so that another answer is in the middle of a file.
            Asked::Range { .. } => answer(stream),
        });
        assert!(run.error().to_string().contains("in a row"), "{}", run.error());
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[test]
fn sizes_that_lie_take_no_room_and_end_the_run_or_the_file() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { .. } => page(stream, &[file(b"huge", i64::MAX as u64), file(b"z", 3)]),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    match &run.done {
        Ok(tally) => assert_eq!((tally.refused, run.refused()), (1, vec!["huge"])),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(!place.here("huge").exists());
}

#[test]
fn a_file_whose_identity_always_changes_is_refused_and_the_rest_arrives() {
    let place = Place::new();
    let changes = Arc::new(AtomicUsize::new(0));
    let count = changes.clone();
    let run = place.run(move |stream, asked| match asked {
        Asked::List { .. } => {
            page(stream, &[file(b"a", 100), file(b"large", 3 << 20), file(b"z", 3)]);
        }
        Asked::Range { name, .. } if name != "z" => {
            let number = count.fetch_add(1, Ordering::Relaxed) as u64;
            let changed = Entry { identity: [number as u8; 16], ..file(b"a", 3 + number) };
            refuse(stream, RefusalCode::Changed, Some(&changed));
        }
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!(run.refused(), ["a", "large"], "{:?}", run.told);
    assert_eq!(place.names(), ["z"]);
    assert!(changes.load(Ordering::Relaxed) < 60);
}

#[test]
fn a_file_that_has_become_empty_is_asked_for_no_more() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { .. } => page(stream, &[file(b"a", 100), file(b"large", 3 << 20)]),
        Asked::Range { name, length, .. } => {
            assert!(*length > 0);
            refuse(stream, RefusalCode::Changed, Some(&file(name.as_bytes(), 0)));
        }
    });
    assert_eq!((run.tally().files, run.tally().refused), (2, 0), "{:?}", run.told);
    assert_eq!(place.names(), ["a", "large"]);
    assert_eq!(fs::metadata(place.here("large")).unwrap().len(), 0);
}

#[test]
fn a_changed_file_of_another_type_or_name_changes_no_other_place() {
    let place = Place::new();
    let others = [folder(b"f"), link(b"f", b"../outside"), file(b"other", 5)];
    for other in others {
        let mut bytes = Vec::new();
        other.encode_into(&mut bytes);
        let run = place.run(move |stream, asked| match asked {
            Asked::List { .. } => page(stream, &[file(b"f", 4)]),
            Asked::Range { .. } => {
                let (length, crc) = (bytes.len() as u32, crc32c(&bytes));
                let header = Header::Refused { code: RefusalCode::Changed, length, crc };
                let _ = stream.write_all(&[&header.encode()[..], &bytes].concat());
            }
        });
        assert_eq!((run.tally().refused, place.names().len()), (1, 0), "{:?}", run.told);
    }
}

const CODES: [RefusalCode; 6] = [
    RefusalCode::Gone,
    RefusalCode::Forbidden,
    RefusalCode::OtherType,
    RefusalCode::Unreadable,
    RefusalCode::NotEntered,
    RefusalCode::Other(200),
];

/// Entries that count as refused and as skipped, after one refusal.
fn outcome(code: RefusalCode) -> (u64, u64) {
    match code {
        RefusalCode::Gone => (0, 0),
        RefusalCode::NotEntered => (0, 1),
        _ => (1, 0),
    }
}

#[test]
fn refusals_at_every_state_of_a_file_leave_nothing_of_it() {
    // Before its first byte, in the middle of a small file, and of a large one.
    for (size, after) in [(100, 0), (200 << 10, 1), (3 << 20, 0), (3 << 20, 2)] {
        for code in CODES {
            let place = Place::new();
            let blocks = AtomicUsize::new(0);
            let run = place.run(move |stream, asked| match asked {
                Asked::List { .. } => page(stream, &[file(b"f", size), file(b"z", 3)]),
                Asked::Range { name, offset, length, .. } if name == "f" => {
                    let is_begun = blocks.fetch_add(1, Ordering::Relaxed) < after;
                    if is_begun {
                        data(stream, *offset, &vec![b'x'; (*length as usize).min(16 << 10)]);
                    }
                    if !is_begun || u64::from(*length) > 16 << 10 {
                        refuse(stream, code, None);
                    }
                }
                Asked::Range { .. } => answer_range(stream, asked),
            });
            let (refused, skipped) = outcome(code);
            assert_eq!(run.tally().skipped, skipped, "{size} {code:?} {:?}", run.told);
            assert_eq!(run.tally().refused, refused, "{size} {code:?} {:?}", run.told);
            assert_eq!(place.names(), ["z"], "{size} {after} {code:?}");
        }
    }
}

#[test]
fn refusals_of_a_folder_keep_what_is_there() {
    for code in CODES {
        let place = Place::new();
        fs::create_dir(place.here("d")).unwrap();
        fs::write(place.here("d/mine"), b"mine").unwrap();
        let options = TreeOptions { delete: Delete::AtMost(100), ..TreeOptions::default() };
        let run = place.run_with(options, move |stream, asked| match asked {
            Asked::List { name, .. } if name.is_empty() => page(stream, &[folder(b"d")]),
            Asked::List { .. } => refuse(stream, code, None),
            Asked::Range { .. } => answer_range(stream, asked),
        });
        let (refused, skipped) = outcome(code);
        assert_eq!((run.tally().refused, run.tally().skipped), (refused, skipped), "{code:?}");
        assert_eq!(run.tally().deleted, 0, "{code:?}");
        assert!(place.here("d/mine").exists());
    }
}

#[test]
fn a_refusal_of_the_folder_itself_is_never_a_success() {
    for code in CODES {
        let place = Place::new();
        fs::write(place.here("mine"), b"mine").unwrap();
        let options = TreeOptions { delete: Delete::AtMost(100), ..TreeOptions::default() };
        let run = place.run_with(options, move |stream, _| refuse(stream, code, None));
        assert!(run.done.as_ref().map_or(true, |tally| tally.refused == 1), "{code:?}");
        assert!(place.here("mine").exists());
    }
}

#[test]
fn reserved_names_of_a_source_are_skipped() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { .. } => {
            let (one, two, three) = (reserved(b'0', ""), reserved(b'1', ""), reserved(b'2', ""));
            let journal = reserved(b'3', ".journal");
            page(stream, &[file(&one, 4), folder(&two), link(&three, b"x"), file(&journal, 0)]);
        }
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!((run.tally().skipped, run.tally().files, run.tally().refused), (4, 0, 0));
    assert_eq!(place.names(), Vec::<String>::new());
}

fn reserved(digit: u8, end: &str) -> Vec<u8> {
    [&b".ropewalk-"[..], &[digit; 32], end.as_bytes()].concat()
}

#[test]
fn extreme_times_and_owners_are_taken_as_far_as_they_go() {
    let place = Place::new();
    let options = TreeOptions { owner: true, ..TreeOptions::default() };
    let run = place.run_with(options, |stream, asked| match asked {
        Asked::List { name, .. } if name.is_empty() => {
            let time = |seconds| Stamp { seconds, nanoseconds: 999_999_999 };
            let odd = |entry: Entry<'static>, seconds| Entry {
                mtime: time(seconds),
                uid: u32::MAX,
                gid: u32::MAX,
                mode: 0o7777,
                ..entry
            };
            page(
                stream,
                &[
                    odd(file(b"a", 3), i64::MAX),
                    odd(file(b"b", 0), i64::MIN),
                    odd(folder(b"c"), i64::MAX),
                    odd(folder(b"d"), i64::MIN),
                    odd(link(b"e", b"x"), i64::MAX),
                    odd(file(b"f", 3 << 20), i64::MIN),
                ],
            );
        }
        Asked::List { .. } => page(stream, &[]),
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!(run.tally().refused, 0, "{:?}", run.told);
    assert_eq!(place.names(), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn two_million_names_of_one_folder_take_no_memory_with_delete() {
    let place = Place::new();
    fs::write(place.here("mine"), b"mine").unwrap();
    let options = TreeOptions { delete: Delete::AtMost(100), ..TreeOptions::default() };
    let run = place.run_with(options, |stream, asked| match asked {
        Asked::List { after, .. } => {
            let last = std::str::from_utf8(after).unwrap().parse().unwrap_or(10_000_000_u64);
            let names: Vec<String> = (1..800).map(|more| (last + more).to_string()).collect();
            let entries: Vec<Entry<'_>> =
                names.iter().map(|name| entry(name.as_bytes(), EntryType::Other, 0)).collect();
            let end = if last > 12_000_000 { PageEnd::Whole } else { PageEnd::More };
            page_of(stream, FOLDER, &entries, end);
        }
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert!(run.tally().skipped > 2_000_000);
    assert_eq!(run.tally().deleted, 1);
}

#[test]
fn blocks_that_are_damaged_again_and_again_end_the_run() {
    let place = Place::new();
    let run = place.run(|stream, asked| match asked {
        Asked::List { .. } => page(stream, &[file(b"f", 4), file(b"large", 1 << 20)]),
        Asked::Range { offset, length, .. } => {
            let bytes = content(*length as usize);
            for (index, piece) in bytes.chunks(16 << 10).enumerate() {
                let offset = offset + (index * (16 << 10)) as u64;
                let header = Header::Data { offset, length: piece.len() as u32, crc: 1 };
                let _ = stream.write_all(&[&header.encode()[..], piece].concat());
            }
        }
    });
    assert!(run.error().to_string().contains("in a row"), "{}", run.error());
    assert!(!place.here("f").exists() && !place.here("large").exists());
}

/// The limits of a server.
const LIMITS: TreeLimits =
    TreeLimits { max_size: 1 << 20, max_entries: 1000, umask: 0o022, any_link: false };

#[test]
fn a_listing_without_end_ends_where_the_entries_are_limited() {
    for deep in [false, true] {
        let place = Place::new();
        let wanted = Wanted { limits: Some(LIMITS), ..place.wanted(TreeOptions::default()) };
        let run = place.run_wanted(wanted, move |stream, asked| match asked {
            Asked::List { after, .. } => {
                let last = std::str::from_utf8(after).unwrap().parse().unwrap_or(10_000_000_u64);
                let names: Vec<String> = (1..50).map(|more| (last + more).to_string()).collect();
                let entries: Vec<Entry<'_>> = names
                    .iter()
                    .map(
                        |name| {
                            if deep { folder(name.as_bytes()) } else { file(name.as_bytes(), 0) }
                        },
                    )
                    .collect();
                page_of(
                    stream,
                    FOLDER,
                    &entries,
                    if deep { PageEnd::Whole } else { PageEnd::More },
                );
            }
            Asked::Range { .. } => answer_range(stream, asked),
        });
        assert_eq!(run.error().to_string(), "the folder has more than 1000 entries");
        assert!(place.names().len() <= 1000, "{}", place.names().len());
    }
}

#[test]
fn a_file_that_grows_over_the_limit_while_it_is_asked_for_is_refused() {
    let place = Place::new();
    let wanted = Wanted { limits: Some(LIMITS), ..place.wanted(TreeOptions::default()) };
    let run = place.run_wanted(wanted, |stream, asked| match asked {
        Asked::List { .. } => page(stream, &[file(b"a", (1 << 20) + 1), file(b"grows", 3)]),
        Asked::Range { name, .. } if name == "grows" => {
            refuse(stream, RefusalCode::Changed, Some(&file(b"grows", 1 << 40)));
        }
        Asked::Range { .. } => answer_range(stream, asked),
    });
    assert_eq!(run.refused(), ["a", "grows"]);
    assert!(place.names().is_empty(), "{:?}", place.names());
}
