//! The sink of a tree without a source: what entries and threads do in a folder of the test.

#![forbid(unsafe_code)]

use super::files::Change;
use super::*;
use crate::codec::entry::{Entry, EntryType};
use crate::codec::message::version::Stamp;
use crate::codec::wire::RefusalCode;
use crate::transfer::queue::board::entries::{Folder, Found, Kind, PageEnd, What};
use crate::transfer::queue::board::{Ask, Claim, Claimed};
use crate::transfer::store::tree::Target;
use std::fs::{self, Permissions};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

const MTIME: Stamp = Stamp { seconds: 5, nanoseconds: 6 };
const TOP: FolderState =
    FolderState { identity: [1; 16], mode: 0o755, mtime: MTIME, uid: 0, gid: 0 };

static PLACES: AtomicUsize = AtomicUsize::new(0);

/// A sink, and its folder.
struct Place {
    path: PathBuf,
    sink: TreeSink,
}

impl Place {
    fn new(options: TreeOptions, limits: Option<TreeLimits>) -> Place {
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-sink-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        let here = fs::File::open(&path).unwrap();
        let wanted = Wanted {
            streams: 1,
            grows: false,
            verify: Verify::Crc32c,
            rate: None,
            trace: false,
            shown: "here".into(),
            top: TOP,
            store: Some(Tree::open(here, true, Timing::default()).unwrap()),
            options,
            limits,
        };
        Place { path, sink: TreeSink::new(wanted, Timing::default(), Box::new(|_| {})) }
    }

    /// A file of 100 bytes with the mtime of every entry.
    fn file(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, [7; 100]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mtime = Duration::new(MTIME.seconds as u64, MTIME.nanoseconds);
        fs::File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH + mtime).unwrap();
        path
    }

    fn claim(&self) -> Claim<Meta> {
        let (content, answer_time) = (1 << 20, Duration::from_secs(1));
        let ask = Ask { requests: 1, names: 1000, content, idle: true, answer_time };
        match self.sink.board.claim(0, &ask) {
            Claimed::Work(mut claims) => claims.remove(0),
            Claimed::Later(_) | Claimed::Over => panic!("there is nothing to do"),
        }
    }

    /// The folder, of which a stream has asked for the entries.
    fn top(&self) -> Arc<Folder<Meta>> {
        match self.claim() {
            Claim::List { folder, .. } => folder,
            _ => panic!("the folder is not listed"),
        }
    }

    /// The one file of the folder, which is asked for.
    fn one_file(&self, size: u64, target: Target) -> Arc<File<Meta>> {
        self.top();
        self.sink.board.take_page(0, &[(b"file", Kind::File)], PageEnd::Whole);
        let meta = meta([2; 16], target);
        let found = Found { name: (*b"file").into(), meta, what: What::File(size) };
        self.sink.board.page(0, vec![found], PageEnd::Whole);
        match self.claim() {
            Claim::Open { file } | Claim::Small { file, .. } => file,
            _ => panic!("the file is not asked for"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn meta(identity: [u8; 16], target: Target) -> Meta {
    let here = Here::file(target);
    Meta { mode: 0o644, mtime: MTIME, uid: 0, gid: 0, identity, stored: 0, tag: None, here }
}

/// An entry of a file of 100 bytes that has further names at the source.
fn entry(name: &[u8], mode: u16, identity: [u8; 16]) -> Entry<'_> {
    let inode_tag = NonZeroU64::new(7);
    let (mtime, entry_type) = (MTIME, EntryType::File);
    let (uid, gid, size, stored) = (0, 0, 100, 100);
    Entry { name, entry_type, mode, mtime, uid, gid, size, stored, inode_tag, identity }
}

fn joins_names() -> TreeOptions {
    TreeOptions { hard_links: true, ..TreeOptions::default() }
}

#[test]
fn a_further_name_of_a_file_that_stays_changes_nothing_of_that_file() {
    let limits =
        TreeLimits { max_size: u64::MAX, max_entries: u64::MAX, umask: 0, any_link: false };
    let place = Place::new(joins_names(), Some(limits));
    let (one, other) = (place.file("one"), place.file("other"));
    // A name that the source does not know.
    let elsewhere = place.path.join("elsewhere");
    fs::hard_link(&one, &elsewhere).unwrap();
    let top = place.top();
    for (name, mode) in [(&b"one"[..], 0o644), (b"other", 0o000)] {
        place.sink.prepare(&top, &entry(name, mode, [2; 16])).unwrap();
    }
    let inode = |path: &PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&one), inode(&other));
    assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn a_number_that_another_file_has_by_now_joins_no_names() {
    let place = Place::new(joins_names(), None);
    place.file("one");
    let top = place.top();
    place.sink.prepare(&top, &entry(b"one", 0o644, [2; 16])).unwrap();
    let prepared = |identity| place.sink.prepare(&top, &entry(b"other", 0o644, identity)).unwrap();
    assert!(matches!(prepared([3; 16]).what, What::File(100)));
    assert!(matches!(prepared([2; 16]).what, What::Made));
}

#[test]
fn a_file_that_changes_while_it_is_compared_does_not_stay() {
    let place = Place::new(TreeOptions { checksum: true, ..TreeOptions::default() }, None);
    let path = place.file("file");
    let file = place.one_file(100, Target::Present);
    let changes = |_: &fs::File| {
        fs::File::options().write(true).open(&path)?.write_all_at(b"new", 50)?;
        Ok(true)
    };
    assert!(!place.sink.keep_if_same(&file, changes).unwrap());
    assert_ne!(fs::metadata(&path).unwrap().mtime(), MTIME.seconds);
    place.file("file");
    assert!(place.sink.keep_if_same(&file, |_| Ok(true)).unwrap());
}

#[test]
fn a_file_that_one_thread_completes_is_not_given_up_by_another_one() {
    let place = Place::new(TreeOptions::default(), None);
    let (sink, size) = (&place.sink, SMALL + 1);
    let file = place.one_file(size, Target::Absent);
    large::open(sink, file.clone()).unwrap();
    let large = lock(&sink.large).get(&file.id).cloned().unwrap();
    // A thread that completes the file takes it first, and may wait for the disk then.
    let new = large.take_new().unwrap();
    let meta = meta([3; 16], Target::Absent);
    sink.large_not_had(&large, RefusalCode::Changed, Some(Change { is_file: true, size, meta }));
    sink.large_not_had(&large, RefusalCode::Gone, None);
    assert_eq!((sink.board.progress().repeats, sink.board.progress().files_known), (0, 1));
    let store = sink.wanted.store.as_ref().unwrap();
    drop(store.complete(new, size, &sink.attributes(&file.meta)).unwrap());
    assert!(sink.board.complete(file.id));
}
