//! What a source answers for a tree, to a sink that asks by hand.

use crate::content;
use ropewalk::codec::entry::{Entry, EntryType, Page};
use ropewalk::codec::wire::{
    ErrorCode, HASH_UNIT, HEADER_SIZE, Header, Hello, MAX_REQUEST, MAX_ROOM, MIN_ROOM, PageEnd,
    RefusalCode, Request,
};
use ropewalk::hash::{Sha256Pair, crc32c::crc32c};
use ropewalk::sys::process::effective_user;
use ropewalk::sys::stream::Stream;
use ropewalk::transfer::link::acceptor::Acceptor;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::{Rate, Throttle};
use ropewalk::transfer::source::tree::Tree;
use ropewalk::transfer::source::{Content, Source};
use ropewalk::transfer::timing::Timing;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// So long a test waits for a byte.
const LIMIT: Duration = Duration::from_secs(20);

/// A folder `top` to send, in a folder that is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ropewalk-trees-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("top")).unwrap();
        Place(path)
    }

    fn top(&self, name: &str) -> PathBuf {
        self.0.join("top").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.top(name).parent().unwrap()).unwrap();
        fs::write(self.top(name), bytes).unwrap();
    }

    /// Runs a sink by hand against a source of the tree. The source goes on until it has said
    /// `finished`.
    fn serve(&self, sink: impl FnOnce(&mut Sink)) {
        self.serve_so(Terms::default(), sink);
    }

    fn serve_so(&self, terms: Terms, sink: impl FnOnce(&mut Sink)) {
        let Terms { unchecked, throttle, timing } = terms;
        let tree = Tree::new(File::open(self.top("")).unwrap().into()).unwrap();
        let source = Source::new(Content::Tree(tree), throttle, timing).unwrap();
        let token = Token::random().unwrap();
        let acceptor = Acceptor::new(None, None, timing).unwrap();
        let entrance = acceptor.entrance();
        let open = || {
            let (here, there) = Stream::pair().unwrap();
            here.set_read_timeout(Some(LIMIT)).unwrap();
            entrance.hand(there, Vec::new());
            let token = token.bytes();
            let hello = Hello { token, max_block: 16 << 10, unchecked, from_source: false };
            here.write_all(&hello.encode()).unwrap();
            here
        };
        thread::scope(|scope| {
            let serving = scope.spawn(|| source.accept(acceptor, &token, 4, |_| {}));
            let mut hand = Sink { stream: open(), unchecked, waits: 0 };
            sink(&mut hand);
            // On another stream: the sink may have lost its own.
            open().write_all(&Request::Finished.encode()).unwrap();
            serving.join().unwrap().unwrap();
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a source and its sink are.
#[derive(Default)]
struct Terms {
    unchecked: bool,
    throttle: Throttle,
    timing: Timing,
}

/// The facts of an entry that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    is_folder: bool,
    is_file: bool,
    size: u64,
    identity: [u8; 16],
}

impl Fact {
    fn of(entry: &Entry<'_>) -> Fact {
        Fact {
            is_folder: entry.entry_type == EntryType::Folder,
            is_file: entry.entry_type == EntryType::File,
            size: entry.size,
            identity: entry.identity,
        }
    }
}

/// What a request got.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Bytes(Vec<u8>),
    Same,
    /// With the entry of a file that has changed, and the bytes that came before.
    Refused(RefusalCode, Option<Fact>, usize),
}

use Answer::{Bytes, Refused, Same};

/// A sink that asks by hand, on one stream.
struct Sink {
    stream: Stream,
    unchecked: bool,
    /// How often it was told to wait.
    waits: usize,
}

impl Sink {
    fn ask(&self, request: &Request<'_>) {
        self.stream.write_all(&request.encode()).unwrap();
    }

    /// The next block but `wait`, with what follows its header.
    fn block(&mut self) -> (Header, Vec<u8>) {
        loop {
            let mut bytes = [0; HEADER_SIZE];
            self.read(&mut bytes);
            let (_, header) = Header::parse(&bytes).unwrap().unwrap();
            let mut payload = vec![0; header.payload()];
            self.read(&mut payload);
            match header {
                Header::Data { crc, .. } if self.unchecked => assert_eq!(crc, 0),
                Header::Data { crc, .. }
                | Header::Error { crc, .. }
                | Header::Entries { crc, .. }
                | Header::Refused { crc, .. } => assert_eq!(crc, crc32c(&payload)),
                Header::Hole { .. } | Header::Same { .. } | Header::Md5 { .. } => {}
                Header::End { .. } => panic!("{header:?}"),
                Header::Wait => {
                    self.waits += 1;
                    continue;
                }
            }
            return (header, payload);
        }
    }

    fn read(&self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let count = self.stream.read(bytes).unwrap();
            assert!(count > 0, "the stream has ended");
            bytes = &mut bytes[count..];
        }
    }

    /// One page of a folder.
    fn page(&mut self, name: &str, after: &[u8], room: u32) -> (BTreeMap<Vec<u8>, Fact>, PageEnd) {
        self.ask(&Request::List { name: name.as_bytes(), after, room });
        let (header, bytes) = self.block();
        let Header::Entries { end, .. } = header else { panic!("{header:?}") };
        assert!(bytes.len() <= room as usize);
        let entries = Page::new(&bytes, after).map(|entry| {
            let entry = entry.unwrap();
            (entry.name.to_vec(), Fact::of(&entry))
        });
        (entries.collect(), end)
    }

    /// All entries of a folder, and how many pages they took.
    fn list(&mut self, name: &str, room: u32) -> (BTreeMap<Vec<u8>, Fact>, usize) {
        let (mut all, mut pages) = (BTreeMap::<Vec<u8>, Fact>::new(), 0);
        loop {
            let after = all.last_key_value().map_or(Vec::new(), |(name, _)| name.clone());
            let (page, end) = self.page(name, &after, room);
            all.extend(page);
            pages += 1;
            match end {
                PageEnd::More => {}
                PageEnd::Whole => return (all, pages),
                PageEnd::Partial => panic!("some entries could not be read"),
            }
        }
    }

    fn fact(&mut self, name: &str) -> Fact {
        let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
        self.list(folder, MAX_ROOM).0[base.as_bytes()].clone()
    }

    /// The answer to a range request that was sent.
    fn answer(&mut self, offset: u64, length: u64) -> Answer {
        let mut got = Vec::new();
        loop {
            let at = offset + got.len() as u64;
            match self.block() {
                (Header::Data { offset, .. }, bytes) => {
                    assert_eq!(offset, at);
                    got.extend(bytes);
                }
                (Header::Hole { offset, length, .. }, _) => {
                    assert_eq!(offset, at);
                    got.resize(got.len() + length as usize, 0);
                }
                (Header::Same { offset: from, length: same }, _) => {
                    assert_eq!((from, u64::from(same), got.len()), (offset, length, 0));
                    return Same;
                }
                (Header::Refused { code, .. }, entry) => {
                    let fact = (!entry.is_empty()).then(|| Entry::parse(&entry).unwrap().1);
                    return Refused(code, fact.as_ref().map(Fact::of), got.len());
                }
                other => panic!("{other:?}"),
            }
            assert!(got.len() as u64 <= length);
            if got.len() as u64 == length {
                return Bytes(got);
            }
        }
    }

    /// Fetches a range of a file in this state.
    fn range(&mut self, name: &str, fact: &Fact, offset: u64, length: u64) -> Answer {
        self.ask(&range(name, fact, offset, length));
        self.answer(offset, length)
    }

    /// Fetches a whole file.
    fn fetch(&mut self, name: &str, fact: &Fact) -> Answer {
        self.range(name, fact, 0, fact.size.min(u64::from(MAX_REQUEST)))
    }

    fn list_refusal(&mut self, name: &str) -> RefusalCode {
        self.ask(&Request::List { name: name.as_bytes(), after: b"", room: MIN_ROOM });
        let (Header::Refused { code, length: 0, .. }, _) = self.block() else { panic!("{name}") };
        code
    }

    /// The text of an error block, behind which the stream ends.
    fn error(&mut self) -> (ErrorCode, String) {
        let (header, text) = self.block();
        let Header::Error { code, .. } = header else { panic!("{header:?}") };
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
        (code, String::from_utf8(text).unwrap())
    }

    /// All files of the tree, each fetched whole.
    fn fetch_all(&mut self, room: u32) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for (name, fact) in self.list(&folder, room).0 {
                let name = String::from_utf8(name).unwrap();
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if fact.is_folder {
                    folders.push(name);
                } else if fact.size == 0 {
                    files.insert(name, Vec::new());
                } else {
                    let Bytes(bytes) = self.fetch(&name, &fact) else { panic!("{name}") };
                    files.insert(name, bytes);
                }
            }
        }
        files
    }
}

fn range<'a>(name: &'a str, fact: &Fact, offset: u64, length: u64) -> Request<'a> {
    let (name, identity, length) = (name.as_bytes(), fact.identity, length as u32);
    Request::Range { name, identity, offset, length, hash: None }
}

/// Folders, small and large files, an empty file, names that sort around their folder's.
fn some_files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for number in 0..200 {
        files.insert(format!("many/{number}"), content(number + 1));
    }
    for (name, size) in [("a.b/c", 70_000), ("a/b/c/d", 3), ("a0", 1 << 20), ("z", 0)] {
        files.insert(name.to_string(), content(size));
    }
    files
}

#[test]
fn a_tree_is_listed_page_by_page_and_each_file_fetched() {
    let (place, files) = (Place::new(), some_files());
    files.iter().for_each(|(name, bytes)| place.write(name, bytes));
    for unchecked in [false, true] {
        place.serve_so(Terms { unchecked, ..Terms::default() }, |sink| {
            assert!(sink.list("many", MIN_ROOM).1 > 1);
            assert_eq!(sink.fetch_all(MIN_ROOM), files);
        });
    }
}

#[test]
fn each_page_has_the_identity_that_the_entry_of_its_folder_has() {
    let place = Place::new();
    (0..300).for_each(|number| place.write(&format!("sub/{number}"), b"x"));
    place.write("sub/deep/file", b"x");
    place.serve(|sink| {
        let expected = |sink: &mut Sink, name: &str| match name {
            "" => Tree::new(File::open(place.top("")).unwrap().into()).unwrap().identity(),
            name => sink.fact(name).identity,
        };
        for name in ["", "sub", "sub/deep"] {
            let expected = expected(sink, name);
            for after in ["", "5"] {
                let (name, after) = (name.as_bytes(), after.as_bytes());
                sink.ask(&Request::List { name, after, room: MIN_ROOM });
                let (Header::Entries { folder, .. }, _) = sink.block() else { panic!() };
                assert_eq!(folder, expected);
            }
        }
    });
}

#[test]
fn a_folder_of_5000_files_is_fetched_with_64_requests_under_way() {
    let place = Place::new();
    // Most of the files are links, which the file system makes faster.
    (0..50).for_each(|number| place.write(&format!("{number}"), &content(number + 1)));
    (50..5000).for_each(|number| {
        let name = |number: usize| place.top(&format!("{number}"));
        fs::hard_link(name(number % 50), name(number)).unwrap();
    });
    place.serve(|sink| {
        let (all, pages) = sink.list("", MAX_ROOM);
        assert!(all.len() == 5000 && pages > 5, "{pages}");
        let all: Vec<_> =
            all.into_iter().map(|(name, fact)| (String::from_utf8(name).unwrap(), fact)).collect();
        let ask = |sink: &Sink, (name, fact): &(String, Fact)| {
            sink.ask(&range(name, fact, 0, fact.size));
        };
        all[..64].iter().for_each(|file| ask(sink, file));
        for (at, (name, fact)) in all.iter().enumerate() {
            let expected = content(name.parse::<usize>().unwrap() % 50 + 1);
            assert_eq!(sink.answer(0, fact.size), Bytes(expected));
            all.get(at + 64).iter().for_each(|file| ask(sink, file));
        }
    });
}

/// Refusals among answers: each request has its own, and the order stays.
#[test]
fn a_stream_goes_on_after_each_refusal() {
    let place = Place::new();
    for name in ["stays", "vanishes", "swapped", "folder/file"] {
        place.write(name, b"old");
    }
    fs::write(place.0.join("secret"), b"out").unwrap();
    place.serve(|sink| {
        let facts = sink.list("", MAX_ROOM).0;
        let fact = |name: &str| &facts[name.as_bytes()];
        let inner = sink.fact("folder/file");
        fs::remove_file(place.top("vanishes")).unwrap();
        fs::remove_file(place.top("swapped")).unwrap();
        symlink("../secret", place.top("swapped")).unwrap();
        fs::rename(place.top("folder"), place.top("moved")).unwrap();
        symlink("moved", place.top("folder")).unwrap();
        for name in ["vanishes", "stays", "swapped", "folder", "stays"] {
            sink.ask(&range(name, fact(name), 0, 3));
        }
        sink.ask(&range("folder/file", &inner, 0, 3));
        sink.ask(&range("moved/file", &inner, 0, 3));
        let refused = |code| Refused(code, None, 0);
        assert_eq!(sink.answer(0, 3), refused(RefusalCode::Gone));
        assert_eq!(sink.answer(0, 3), Bytes(b"old".into()));
        assert_eq!(sink.answer(0, 3), refused(RefusalCode::OtherType));
        assert_eq!(sink.answer(0, 3), refused(RefusalCode::OtherType));
        assert_eq!(sink.answer(0, 3), Bytes(b"old".into()));
        assert_eq!(sink.answer(0, 3), refused(RefusalCode::Gone));
        assert_eq!(sink.answer(0, 3), Bytes(b"old".into()));
    });
}

#[test]
fn a_listing_that_cannot_be_is_refused_and_the_stream_goes_on() {
    let place = Place::new();
    place.write("file", b"x");
    symlink(".", place.top("link")).unwrap();
    place.serve(|sink| {
        assert_eq!(sink.list_refusal("none"), RefusalCode::Gone);
        assert_eq!(sink.list_refusal("file"), RefusalCode::OtherType);
        assert_eq!(sink.list_refusal("link"), RefusalCode::OtherType);
        assert_eq!(sink.list_refusal(".ropewalk-0123456789abcdef0123456789abcdef"), {
            RefusalCode::Forbidden
        });
        assert_eq!(sink.list("", MAX_ROOM).0.len(), 2);
    });
}

#[test]
fn what_the_source_may_not_read_is_refused() {
    if effective_user() == 0 {
        return;
    }
    let place = Place::new();
    place.write("closed/file", b"x");
    place.write("unreadable", b"x");
    let forbid = |name: &str, mode| {
        fs::set_permissions(place.top(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    forbid("closed", 0);
    forbid("unreadable", 0);
    place.serve(|sink| {
        assert_eq!(sink.list_refusal("closed"), RefusalCode::Forbidden);
        let fact = sink.fact("unreadable");
        assert_eq!(sink.fetch("unreadable", &fact), Refused(RefusalCode::Forbidden, None, 0));
        assert_eq!(sink.list("", MAX_ROOM).0.len(), 2);
    });
    forbid("closed", 0o700);
}

#[test]
fn a_file_that_changed_before_it_is_asked_for_is_refused_with_its_new_entry() {
    let place = Place::new();
    place.write("folder/file", b"old");
    place.serve(|sink| {
        let old = sink.fact("folder/file");
        assert_eq!(sink.fetch("folder/file", &old), Bytes(b"old".into()));
        // It is still open from before.
        place.write("folder/file", b"newer");
        let Refused(RefusalCode::Changed, Some(new), 0) = sink.fetch("folder/file", &old) else {
            panic!("not refused")
        };
        assert_eq!((new.size, &new), (5, &sink.fact("folder/file")));
        assert_eq!(sink.fetch("folder/file", &new), Bytes(b"newer".into()));
    });
}

/// A rate holds the answer up, so that it is not all sent when the file grows.
#[test]
fn a_file_that_changes_while_a_range_is_answered_is_refused_with_its_new_entry() {
    for unchecked in [false, true] {
        let place = Place::new();
        let bytes = content(1 << 20);
        place.write("file", &bytes);
        let throttle = Throttle { rate: Some(Arc::new(Rate::new(1 << 20))), streams: 1 };
        place.serve_so(Terms { unchecked, throttle, ..Terms::default() }, |sink| {
            let old = sink.fact("file");
            sink.ask(&range("file", &old, 0, old.size));
            let (first, _) = sink.block();
            assert!(matches!(first, Header::Data { offset: 0, .. }), "{first:?}");
            File::options().write(true).open(place.top("file")).unwrap().set_len(100).unwrap();
            let from = first.payload() as u64;
            let answer = sink.answer(from, old.size - from);
            let Refused(RefusalCode::Changed, Some(new), _) = answer else { panic!("{answer:?}") };
            assert_eq!(new.size, 100);
            // The new entry may be from between the file's new size and its new stamps.
            let new = sink.fact("file");
            assert_eq!(sink.fetch("file", &new), Bytes(bytes[..100].into()));
        });
    }
}

/// Whatever the sink gets as a whole is one state of the file.
#[test]
fn a_file_that_changes_all_the_time_is_never_answered_with_bytes_of_two_states() {
    let place = Place::new();
    place.write("file", &[b'0'; 40_000]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number: usize = 0;
            while !done.load(Ordering::Relaxed) {
                // Sizes differ: the stamps of some kernels are coarse.
                let state = vec![b'0' + (number % 10) as u8; 40_000 + number % 1000];
                fs::write(place.0.join("next"), &state).unwrap();
                fs::rename(place.0.join("next"), place.top("file")).unwrap();
                let file = File::options().write(true).open(place.top("file")).unwrap();
                file.set_len(number as u64 % 1000 + 1).unwrap();
                number += 1;
            }
        });
        place.serve(|sink| {
            let mut fact = sink.fact("file");
            for _ in 0..500 {
                match sink.fetch("file", &fact) {
                    Bytes(bytes) => {
                        assert_eq!(bytes.len() as u64, fact.size);
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "bytes of two states");
                        // A folder that changes may be listed without the name.
                        let now = sink.list("", MAX_ROOM).0.remove(&b"file"[..]);
                        fact = now.unwrap_or(fact);
                    }
                    Refused(RefusalCode::Changed, Some(new), _) => fact = new,
                    other => panic!("{other:?}"),
                }
            }
        });
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn holes_and_hashes_are_answered_as_for_a_single_file() {
    let place = Place::new();
    let unit = u64::from(HASH_UNIT);
    let bytes = content(2 * HASH_UNIT as usize);
    place.write("sparse", &bytes);
    File::options().write(true).open(place.top("sparse")).unwrap().set_len(16 * unit).unwrap();
    place.serve(|sink| {
        let fact = sink.fact("sparse");
        sink.ask(&range("sparse", &fact, 4 * unit, unit));
        let (hole, _) = sink.block();
        assert_eq!(hole, Header::Hole { offset: 4 * unit, length: HASH_UNIT, run: 12 * unit });
        let mut digests = Sha256Pair::new();
        let (one, other) = bytes[..HASH_UNIT as usize].split_at(HASH_UNIT as usize / 2);
        digests.update(one, other);
        let hash = Some(digests.finish_half());
        for (offset, expected) in [(0, Same), (unit, Bytes(bytes[HASH_UNIT as usize..].into()))] {
            let (name, identity) = (&b"sparse"[..], fact.identity);
            sink.ask(&Request::Range { name, identity, offset, length: HASH_UNIT, hash });
            assert_eq!(sink.answer(offset, unit), expected);
        }
        let all = [bytes.clone(), vec![0; 14 * HASH_UNIT as usize]].concat();
        assert_eq!(sink.fetch("sparse", &fact), Bytes(all));
    });
}

#[test]
fn a_range_without_a_name_or_past_the_end_ends_its_stream_and_no_other() {
    let place = Place::new();
    place.write("file", b"x");
    for is_named in [false, true] {
        place.serve(|sink| {
            let fact = sink.fact("file");
            let text = if is_named {
                sink.ask(&range("file", &fact, 1, 1));
                "the range is not in the file"
            } else {
                sink.ask(&Request::of_single_file(0, 1, None));
                "the session has a tree"
            };
            assert_eq!(sink.error(), (ErrorCode::Request, text.to_string()));
        });
    }
}

/// Each entry is a step, and here each step is longer than the time after which a sink is told.
#[test]
fn a_long_listing_tells_the_sink_to_wait() {
    let place = Place::new();
    (0..50).for_each(|number| place.write(&format!("{number}"), b"x"));
    let timing = Timing { wait: Duration::from_nanos(1), ..Timing::default() };
    place.serve_so(Terms { timing, ..Terms::default() }, |sink| {
        let begun = Instant::now();
        assert_eq!(sink.list("", MAX_ROOM).0.len(), 50);
        assert!(sink.waits >= 50, "{} in {:?}", sink.waits, begun.elapsed());
    });
}
