//! A source and a sink of a tree in one process: what a run makes of what was there.

use crate::content;
use crate::fair::Faults;
use crate::network::{Fault, Network, NetworkDial, session};
use crate::random::Random;
use crate::world::acceptor;
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::message::receiver_job::TreeLimits;
use ropewalk::codec::message::report::{Act, Report, TreeTally};
use ropewalk::codec::message::tree_options::{Delete, TreeOptions};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::message::version::Stamp;
use ropewalk::codec::pattern::Action;
use ropewalk::error::{Error, Result};
use ropewalk::sys::sync::lock;
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::dialler::Dialler;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::tree::{TreeSink, Wanted};
use ropewalk::transfer::source::{Content, Source, tree};
use ropewalk::transfer::store::tree::Tree;
use ropewalk::transfer::timing::Timing;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

const STREAMS: u8 = 3;

/// A folder `there` to fetch, and a folder `here` that gets it. Both are removed at the end.
struct Pair(PathBuf);

/// What a run did.
struct Run {
    tally: TreeTally,
    /// The acts that were told, with their paths, sorted.
    told: Vec<(String, String)>,
    /// Bytes of content that came over the streams.
    moved: u64,
}

impl Run {
    fn told(&self, act: Act) -> Vec<&str> {
        let acts = self.told.iter().filter(|(word, _)| word == act.word());
        acts.map(|(_, path)| path.as_str()).collect()
    }
}

impl Pair {
    fn new() -> Pair {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ropewalk-sync-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("there")).unwrap();
        fs::create_dir_all(path.join("here")).unwrap();
        Pair(path)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.0.join("there").join(name)
    }

    fn here(&self, name: &str) -> PathBuf {
        self.0.join("here").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.there(name).parent().unwrap()).unwrap();
        fs::write(self.there(name), bytes).unwrap();
    }

    fn write_here(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.here(name).parent().unwrap()).unwrap();
        fs::write(self.here(name), bytes).unwrap();
    }

    /// Small files, empty ones, links, folders, and a file of many requests with a hole.
    fn fill(&self) {
        for number in 0..300 {
            let name = format!("d{}/e{}/f{number}", number % 7, number % 3);
            self.write(&name, &content(number * 13));
        }
        self.write("large", &content(3_000_001));
        let sparse = File::create(self.there("sparse")).unwrap();
        sparse.write_all_at(&content(5000), 2 << 20).unwrap();
        sparse.set_len(5 << 20).unwrap();
        fs::create_dir(self.there("empty")).unwrap();
        symlink("../nowhere", self.there("d1/link")).unwrap();
        fs::set_permissions(self.there("d2/e0/f9"), PermissionsExt::from_mode(0o751)).unwrap();
        fs::set_permissions(self.there("d3"), PermissionsExt::from_mode(0o555)).unwrap();
        let old = SystemTime::UNIX_EPOCH - Duration::new(1000, 5);
        let file = File::options().write(true).open(self.there("d4/e1/f4")).unwrap();
        file.set_modified(old).unwrap();
    }

    fn run(&self, options: TreeOptions) -> Run {
        self.run_through(options, Faults::none()).unwrap()
    }

    /// One run over a network of this kind.
    fn run_through(&self, options: TreeOptions, weather: Faults) -> Result<Run> {
        self.run_so(options, None, (weather, Timing::default()), true)
    }

    fn run_timed(&self, options: TreeOptions, weather: Faults, timing: Timing) -> Result<Run> {
        self.run_so(options, None, (weather, timing), true)
    }

    /// One run with these limits on the source. The sink or the source dials.
    fn run_so(
        &self,
        options: TreeOptions,
        limits: Option<TreeLimits>,
        (weather, timing): (Faults, Timing),
        sink_dials: bool,
    ) -> Result<Run> {
        let (token, opened) = (Token::random().unwrap(), weather.opened());
        let network = Network::new(weather, Random::from_seed(1));
        let (acceptor, way) = acceptor(false, timing);
        network.open(way);
        let session = session(token.bytes(), STREAMS);
        let dial = Box::new(NetworkDial(network.clone()));
        let dialler = Dialler::new(dial, session.token, STREAMS, timing);
        let folder = tree::Tree::new(File::open(self.there("")).unwrap().into()).unwrap();
        let wanted = Wanted { limits, ..self.wanted(&folder, options) };
        let source = Source::new(Content::Tree(folder), Throttle::default(), timing).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let tell = move |report: Report| match report {
            Report::Entry { act, path, reason } => {
                let path = if path.is_empty() { reason.unwrap_or_default() } else { path };
                lock(&heard).push((act.word().to_string(), path));
            }
            other => panic!("{other:?}"),
        };
        let sink = TreeSink::new(wanted, timing, Box::new(tell));
        let mut tally = TreeTally::default();
        let mut moved = 0;
        thread::scope(|scope| {
            let mut renewals = 0;
            // A busy machine can be slower than a fault of this network lasts: the streams then go on
            // with the session that they have.
            let hear = |report| match report {
                Report::Tree(now) => tally = now,
                Report::Lost { .. } if renewals < 10 => {
                    renewals += 1;
                    dialler.renew(&session);
                }
                Report::Lost { .. } => sink.fail(Error::protocol("the session is lost")),
                _ => {}
            };
            let (sending, done) = match sink_dials {
                true => {
                    let sending = scope.spawn(|| source.accept(acceptor, &token, STREAMS, |_| {}));
                    (sending, sink.dial(&dialler, hear))
                }
                false => {
                    let sending = scope.spawn(|| {
                        source.dial(&dialler, |report| {
                            if let Report::Lost { .. } = report {
                                dialler.renew(&session);
                            }
                        })
                    });
                    (sending, sink.accept(acceptor, &token, hear))
                }
            };
            if done.is_err() && !sink_dials {
                source.fail(Error::protocol("the sink has failed"));
            }
            moved = sending.join().unwrap().map_or(0, |reading| reading.bytes);
            network.end();
            assert!(opened.load(Ordering::Relaxed) > 0);
            done.map(|done| assert!(matches!(done, Report::Done { .. }), "{done:?}"))
        })?;
        let mut told = lock(&told).clone();
        told.sort();
        Ok(Run { tally, told, moved })
    }

    fn wanted(&self, folder: &tree::Tree, options: TreeOptions) -> Wanted {
        let found = fs::metadata(self.there("")).unwrap();
        let top = FolderState {
            identity: folder.identity(),
            mode: (found.mode() & 0o7777) as u16,
            mtime: Stamp { seconds: found.mtime(), nanoseconds: found.mtime_nsec() as u32 },
            uid: found.uid(),
            gid: found.gid(),
        };
        let here = File::open(self.here("")).ok();
        Wanted {
            streams: STREAMS,
            grows: false,
            verify: Verify::Crc32c,
            rate: None,
            trace: false,
            shown: "here".into(),
            top,
            store: here.map(|here| Tree::open(here, true, Timing::default()).unwrap()),
            options,
            limits: None,
        }
    }

    /// Demands that both folders have the same entries, contents, modes and mtimes.
    fn assert_same(&self) {
        let (there, here) = (facts(&self.there("")), facts(&self.here("")));
        for (one, other) in there.iter().zip(&here) {
            assert!(one == other, "{:?} is not {:?}", &one[..3], &other[..3]);
        }
        assert_eq!(there.len(), here.len());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.there("d3"), PermissionsExt::from_mode(0o755));
        let _ = fs::set_permissions(self.here("d3"), PermissionsExt::from_mode(0o755));
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Name, type with mode, mtime and content of everything in a folder.
fn facts(top: &Path) -> Vec<[String; 4]> {
    let mut all = Vec::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let found = fs::metadata(&folder).unwrap();
        let name = |path: &Path| path.strip_prefix(top).unwrap().display().to_string();
        let stamps = |found: &fs::Metadata| format!("{}.{}", found.mtime(), found.mtime_nsec());
        all.push([name(&folder), format!("{:o}", found.mode()), stamps(&found), String::new()]);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            if found.is_dir() {
                folders.push(path);
                continue;
            }
            let content = match found.is_symlink() {
                true => fs::read_link(&path).unwrap().display().to_string(),
                false => ropewalk::hash::hex(&fs::read(&path).unwrap()),
            };
            let mode =
                if found.is_symlink() { "link".into() } else { format!("{:o}", found.mode()) };
            all.push([name(&path), mode, stamps(&found), content]);
        }
    }
    all.sort();
    all
}

fn verbose() -> TreeOptions {
    TreeOptions { verbose: true, ..TreeOptions::default() }
}

#[test]
fn a_run_makes_an_equal_tree_and_the_next_one_has_nothing_to_do() {
    let pair = Pair::new();
    pair.fill();
    let run = pair.run(verbose());
    pair.assert_same();
    assert_eq!((run.tally.files, run.tally.same, run.tally.refused), (303, 0, 0));
    assert!(run.tally.is_listed && run.told(Act::File).len() == 302, "{:?}", run.tally);
    assert_eq!(run.told(Act::Link), ["d1/link"]);
    let run = pair.run(verbose());
    pair.assert_same();
    assert_eq!((run.tally.files, run.tally.same, run.moved), (0, 303, 0));
    assert_eq!(run.told, []);
}

#[test]
fn every_fault_of_every_stream_is_mended() {
    let faults = [
        Fault::Reset,
        Fault::HalfClose,
        Fault::Flip,
        Fault::Drop,
        Fault::Double,
        Fault::Stall(Duration::from_millis(60)),
    ];
    let timing = Timing::default().divided(50);
    for fault in faults {
        let pair = Pair::new();
        pair.fill();
        for at in [40, 5000, 900_000] {
            let here = pair.here("");
            fs::set_permissions(pair.there("d3"), PermissionsExt::from_mode(0o755)).unwrap();
            let _ = fs::set_permissions(here.join("d3"), PermissionsExt::from_mode(0o755));
            fs::remove_dir_all(&here).unwrap();
            fs::create_dir(&here).unwrap();
            let run = pair.run_timed(verbose(), Faults::first(3, at, fault), timing);
            let tally = run.unwrap_or_else(|error| panic!("{fault:?} at {at}: {error}")).tally;
            assert_eq!((tally.files, tally.refused), (303, 0), "{fault:?} at {at}");
            pair.assert_same();
        }
    }
}

#[test]
fn only_what_differs_is_fetched() {
    let pair = Pair::new();
    pair.fill();
    pair.run(verbose());
    pair.write("d1/e1/f1", b"another content");
    pair.write("new/x", b"new");
    fs::remove_file(pair.here("d5/e2/f5")).unwrap();
    fs::remove_file(pair.here("d1/link")).unwrap();
    pair.write_here("d1/link", b"a file in its place");
    let run = pair.run(verbose());
    pair.assert_same();
    assert_eq!(run.told(Act::File), ["d1/e1/f1", "d5/e2/f5", "new/x"]);
    assert_eq!((run.told(Act::Link), run.told(Act::Folder)), (vec!["d1/link"], vec!["new"]));
}

#[test]
fn a_changed_block_of_a_large_file_moves_alone() {
    let pair = Pair::new();
    let mut bytes = content(8 << 20);
    pair.write("large", &bytes);
    pair.run(verbose());
    bytes[5 << 20] ^= 1;
    pair.write("large", &bytes);
    let whole = TreeOptions { whole: true, dry_run: false, ..verbose() };
    let run = pair.run(verbose());
    pair.assert_same();
    assert!(run.moved > 0 && run.moved <= 256 << 10, "{}", run.moved);
    bytes[6 << 20] ^= 1;
    pair.write("large", &bytes);
    assert!(pair.run(whole).moved >= 8 << 20);
    pair.assert_same();
}

#[test]
fn others_are_deleted_only_when_that_is_asked_for() {
    let pair = Pair::new();
    pair.fill();
    pair.run(verbose());
    pair.write_here("d1/extra", b"x");
    pair.write_here("old/deep/er", b"x");
    assert_eq!(pair.run(verbose()).tally.deleted, 0);
    let delete = TreeOptions { delete: Delete::Half, ..verbose() };
    let dry = pair.run(TreeOptions { dry_run: true, ..delete.clone() });
    assert!(pair.here("d1/extra").exists() && dry.tally.deleted == 4, "{:?}", dry.tally);
    let run = pair.run(delete);
    assert_eq!(run.told(Act::Deleted), ["d1/extra", "old", "old/deep", "old/deep/er"]);
    assert_eq!(dry.told(Act::Deleted), run.told(Act::Deleted));
    pair.assert_same();
}

#[test]
fn a_source_that_has_become_empty_deletes_nothing() {
    let pair = Pair::new();
    pair.write_here("a/b", b"x");
    let run = pair.run(TreeOptions { delete: Delete::Half, ..verbose() });
    assert!(run.tally.is_delete_refused && pair.here("a/b").exists());
    let run = pair.run(TreeOptions { delete: Delete::AtMost(1), ..verbose() });
    assert!(run.tally.is_delete_refused && pair.here("a/b").exists());
    let run = pair.run(TreeOptions { delete: Delete::AtMost(2), ..verbose() });
    assert!(!run.tally.is_delete_refused && run.tally.deleted == 2);
    pair.assert_same();
}

#[test]
fn what_is_excluded_is_neither_fetched_nor_deleted() {
    let pair = Pair::new();
    pair.write("a/x.o", b"x");
    pair.write("a/x.c", b"x");
    pair.write("skip/y", b"y");
    pair.write_here("keep.o", b"mine");
    pair.write_here("gone", b"mine");
    pair.write_here("a/x.c", b"older");
    let rules = vec![(Action::Exclude, b"*.o".to_vec()), (Action::Exclude, b"/skip/".to_vec())];
    let run = pair.run(TreeOptions { rules, delete: Delete::Half, ..verbose() });
    assert_eq!(run.told(Act::Deleted), ["gone"]);
    assert!(!pair.here("a/x.o").exists() && !pair.here("skip").exists());
    assert_eq!(fs::read(pair.here("keep.o")).unwrap(), b"mine");
    assert_eq!(fs::read(pair.here("a/x.c")).unwrap(), b"x");
}

#[test]
fn a_dry_run_changes_nothing_and_tells_what_a_run_would_do() {
    let pair = Pair::new();
    pair.fill();
    pair.write_here("d1/e1/f1", b"older");
    pair.write_here("d1/extra", b"x");
    let before = facts(&pair.here(""));
    let dry = pair.run(TreeOptions { dry_run: true, ..verbose() });
    assert!(facts(&pair.here("")) == before && dry.moved == 0);
    fs::remove_dir_all(pair.here("")).unwrap();
    let none = pair.run(TreeOptions { dry_run: true, ..verbose() });
    assert!(!pair.here("").exists());
    fs::create_dir(pair.here("")).unwrap();
    let run = pair.run(verbose());
    assert_eq!(none.told, run.told);
    assert_eq!(dry.tally.files, run.tally.files);
}

#[test]
fn existing_and_newer_files_stay_where_that_is_asked_for() {
    let pair = Pair::new();
    pair.write("old", b"theirs");
    pair.write("new", b"theirs");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let file = File::options().write(true).open(pair.there("old")).unwrap();
    file.set_modified(old).unwrap();
    pair.write_here("old", b"mine");
    pair.write_here("new", b"mine and older");
    let file = File::options().write(true).open(pair.here("new")).unwrap();
    file.set_modified(old).unwrap();
    pair.run(TreeOptions { ignore_existing: true, ..verbose() });
    assert_eq!(fs::read(pair.here("new")).unwrap(), b"mine and older");
    pair.run(TreeOptions { update: true, ..verbose() });
    assert_eq!(fs::read(pair.here("old")).unwrap(), b"mine");
    assert_eq!(fs::read(pair.here("new")).unwrap(), b"theirs");
}

#[test]
fn names_of_one_file_are_names_of_one_file_again() {
    let pair = Pair::new();
    pair.write("a/first", &content(5000));
    for name in ["a/second", "b", "c"] {
        if name == "a/second" {
            fs::create_dir_all(pair.there("a")).unwrap();
        }
        fs::hard_link(pair.there("a/first"), pair.there(name)).unwrap();
    }
    pair.run(TreeOptions { hard_links: true, ..verbose() });
    pair.assert_same();
    let number = |name: &str| fs::metadata(pair.here(name)).unwrap().ino();
    for name in ["a/second", "b", "c"] {
        assert_eq!(number(name), number("a/first"), "{name}");
    }
    // Two files of the same content are made one.
    fs::remove_file(pair.here("b")).unwrap();
    fs::copy(pair.here("c"), pair.here("b")).unwrap();
    pair.run(TreeOptions { hard_links: true, ..verbose() });
    assert_eq!(number("b"), number("a/first"));
}

#[test]
fn with_checksum_a_file_of_the_same_stamps_is_compared() {
    let pair = Pair::new();
    pair.write("f", b"right");
    pair.run(verbose());
    let mtime = fs::metadata(pair.there("f")).unwrap().modified().unwrap();
    pair.write_here("f", b"wrong");
    File::options().write(true).open(pair.here("f")).unwrap().set_modified(mtime).unwrap();
    assert_eq!(pair.run(verbose()).tally.same, 1);
    pair.run(TreeOptions { checksum: true, ..verbose() });
    pair.assert_same();
}

#[test]
fn a_fifo_is_skipped_and_a_folder_in_the_way_is_refused() {
    let pair = Pair::new();
    pair.write("x", b"x");
    pair.write("y", b"y");
    pair.write_here("x/full/of", b"things");
    fs::create_dir(pair.here("y")).unwrap();
    assert!(Command::new("mkfifo").arg(pair.there("fifo")).status().unwrap().success());
    let run = pair.run(verbose());
    assert_eq!((run.told(Act::Skipped), run.told(Act::Refused)), (vec!["fifo"], vec!["x"]));
    assert_eq!((run.tally.skipped, run.tally.refused, run.tally.files), (1, 1, 1));
    assert_eq!(fs::read(pair.here("y")).unwrap(), b"y");
}

#[test]
fn a_source_that_dials_moves_a_tree_too() {
    let pair = Pair::new();
    pair.fill();
    let push = |weather| {
        pair.run_so(TreeOptions::default(), None, (weather, Timing::default()), false).unwrap()
    };
    let run = push(Faults::none());
    pair.assert_same();
    assert!(run.tally.files > 300 && run.tally.refused == 0, "{:?}", run.tally);
    let again = push(Faults::none());
    assert_eq!((again.tally.files, again.moved), (0, 0));
    assert_eq!(again.tally.same, run.tally.files);
}

/// The limits of a source that is not trusted.
const LIMITS: TreeLimits =
    TreeLimits { max_size: 100, max_entries: 20, umask: 0o027, any_link: false };

#[test]
fn what_the_limits_forbid_is_refused_or_skipped_alone() {
    let pair = Pair::new();
    pair.write("small", &content(100));
    pair.write("large", &content(101));
    pair.write("sub/x", &content(1));
    fs::set_permissions(pair.there("small"), PermissionsExt::from_mode(0o4777)).unwrap();
    for (name, text) in [
        ("sub/up", "../small"),
        ("absolute", "/etc/passwd"),
        ("out", "../x"),
        ("sub/out", "../../x"),
        ("behind", "sub/../small"),
    ] {
        symlink(text, pair.there(name)).unwrap();
    }
    let run =
        pair.run_so(verbose(), Some(LIMITS), (Faults::none(), Timing::default()), false).unwrap();
    assert_eq!((run.tally.refused, run.tally.skipped), (1, 4), "{:?}", run.told);
    assert!(!pair.here("large").exists());
    for name in ["absolute", "out", "sub/out", "behind"] {
        assert!(fs::symlink_metadata(pair.here(name)).is_err(), "{name}");
    }
    assert_eq!(fs::read_link(pair.here("sub/up")).unwrap(), Path::new("../small"));
    assert_eq!(fs::metadata(pair.here("small")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn more_entries_than_the_limits_allow_end_the_run() {
    for (count, is_whole) in [(20, true), (21, false)] {
        let pair = Pair::new();
        (0..count).for_each(|number| pair.write(&format!("f{number}"), b""));
        let run = pair.run_so(
            TreeOptions::default(),
            Some(LIMITS),
            (Faults::none(), Timing::default()),
            false,
        );
        match run {
            Ok(_) => assert!(is_whole),
            Err(error) => {
                assert!(!is_whole);
                assert_eq!(error.to_string(), "the folder has more than 20 entries");
            }
        }
    }
}
