//! What a tree promises, in folders of real files.

use super::run::{Limits, Run};
use super::*;
use crate::codec::wire::PageEnd;
use crate::sys::process::effective_user;
use crate::testing::Random;
use crate::transfer::source::wait_blocks::WaitBlocks;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Room of a page in most of these tests.
const ROOM: usize = 64 << 10;

/// A folder to serve, and one beside it.
struct Place {
    path: PathBuf,
    tree: Tree,
}

impl Place {
    fn new(test: &str) -> Place {
        let path =
            std::env::temp_dir().join(format!("ropewalk-tree-{}-{test}", std::process::id()));
        fs::create_dir_all(path.join("top")).unwrap();
        fs::create_dir(path.join("outside")).unwrap();
        fs::write(path.join("outside/file"), b"secret").unwrap();
        let tree = Tree::new(File::open(path.join("top")).unwrap().into()).unwrap();
        Place { path, tree }
    }

    fn with_limits(test: &str, limits: Limits) -> Place {
        let mut place = Place::new(test);
        place.tree.runs = Runs::new(limits);
        place
    }

    fn top(&self, name: &str) -> PathBuf {
        self.path.join("top").join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.top(name), content).unwrap();
    }

    /// Makes empty files of these names. Most are links to the first: ext4 makes a link ten times
    /// faster than a file. It has room for 65,000 links to one file.
    fn fill(&self, names: impl Iterator<Item = String>) {
        let mut first: Option<PathBuf> = None;
        for name in names {
            let path = self.top(&name);
            if first.as_ref().is_none_or(|first| fs::hard_link(first, &path).is_err()) {
                File::create(&path).unwrap();
                first = Some(path);
            }
        }
    }

    fn make_dir(&self, name: &str) {
        fs::create_dir_all(self.top(name)).unwrap();
    }

    /// All entries of a folder, by pages of this room. Demands that names rise.
    fn list(&self, folder: &str, room: usize) -> (Vec<Found>, PageEnd) {
        let mut all: Vec<Found> = Vec::new();
        loop {
            let after = all.last().map_or(Vec::new(), |found| found.name.clone());
            let page = page_of(&self.tree, folder.as_bytes(), &after, room).unwrap();
            let sizes = page.entries.iter().map(|found| found.entry().encoded_size());
            assert!(page.entries.len() == 1 || sizes.sum::<usize>() <= room);
            assert!(page.end != PageEnd::More || !page.entries.is_empty());
            for found in page.entries {
                assert!(all.last().is_none_or(|last| last.name < found.name));
                all.push(found);
            }
            if page.end != PageEnd::More {
                return (all, page.end);
            }
        }
    }

    fn find(&self, name: &str) -> Found {
        let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
        let (all, _) = self.list(folder, ROOM);
        all.into_iter().find(|found| found.name == base.as_bytes()).unwrap()
    }

    fn read(&self, opened: &mut Opened, name: &str, identity: &Tag) -> Result<String, Refusal> {
        let mut text = String::new();
        let held = self.tree.open(opened, name.as_bytes(), identity)?;
        (&held.file).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    fn refused(&self, name: &str, identity: &Tag) -> Refusal {
        self.read(&mut Opened::new(), name, identity).unwrap_err()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn page_of(tree: &Tree, folder: &[u8], after: &[u8], room: usize) -> Result<Page, Refusal> {
    tree.page(folder, after, room, &mut WaitBlocks::none())
}

/// Runs `swap` in another thread until `look` is done.
fn meanwhile(swap: impl Fn() + Sync, look: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap();
            }
        });
        look();
        done.store(true, Ordering::Relaxed);
    });
}

fn make_fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn kinds(found: &[Found]) -> Vec<(&[u8], &Kind)> {
    found.iter().map(|found| (found.name.as_slice(), &found.kind)).collect()
}

#[test]
fn an_entry_has_the_facts_of_its_file() {
    let place = Place::new("facts");
    place.write("file", "12345");
    let file = File::options().write(true).open(place.top("file")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o4751)).unwrap();
    file.set_modified(UNIX_EPOCH - Duration::new(1, 1)).unwrap();
    let (all, end) = place.list("", ROOM);
    assert_eq!((all.len(), end), (1, PageEnd::Whole));
    let known = fs::metadata(place.top("file")).unwrap();
    let found = &all[0];
    assert_eq!((found.name.as_slice(), &found.kind), (&b"file"[..], &Kind::File));
    assert_eq!((found.mode, found.size), (0o4751, 5));
    assert_eq!((found.mtime.seconds, found.mtime.nanoseconds), (-2, 999_999_999));
    assert_eq!((found.uid, found.gid), (known.uid(), known.gid()));
    assert_eq!((found.stored, found.inode_tag), (known.blocks() * 512, None));
}

#[test]
fn every_type_of_entry_is_listed_as_what_it_is() {
    let place = Place::new("types");
    place.write("a", "");
    place.make_dir("b");
    symlink("../outside/none", place.top("c")).unwrap();
    make_fifo(&place.top("d"));
    let _socket = std::os::unix::net::UnixListener::bind(place.top("e")).unwrap();
    let (all, end) = place.list("", ROOM);
    let text = Kind::Link(b"../outside/none".to_vec());
    let expected: [(&[u8], &Kind); 5] = [
        (b"a", &Kind::File),
        (b"b", &Kind::Folder),
        (b"c", &text),
        (b"d", &Kind::Other),
        (b"e", &Kind::Other),
    ];
    assert_eq!(kinds(&all), expected);
    assert_eq!(end, PageEnd::Whole);
}

#[test]
fn the_names_of_one_file_have_one_tag() {
    let place = Place::new("links");
    place.write("a", "x");
    place.write("b", "x");
    place.write("c", "x");
    fs::hard_link(place.top("a"), place.top("d")).unwrap();
    fs::hard_link(place.top("c"), place.top("e")).unwrap();
    let tags: Vec<_> = place.list("", ROOM).0.iter().map(|found| found.inode_tag).collect();
    assert!(tags[0].is_some() && tags[0] == tags[3]);
    assert!(tags[2].is_some() && tags[2] == tags[4] && tags[2] != tags[0]);
    assert_eq!(tags[1], None);
}

#[test]
fn names_are_bytes_of_any_kind_in_byte_order() {
    let place = Place::new("bytes");
    let mut names: BTreeSet<Vec<u8>> =
        (1..=255).filter(|byte| *byte != b'/' && *byte != b'.').map(|byte| vec![byte]).collect();
    names.extend([b"\xff\xfe\n x".to_vec(), b"...".to_vec(), vec![0xff; 255], vec![b'.'; 255]]);
    for name in &names {
        fs::write(place.top("").join(OsStr::from_bytes(name)), b"x").unwrap();
    }
    for room in [0, 500, ROOM] {
        let (all, end) = place.list("", room);
        let found: Vec<_> = all.iter().map(|found| found.name.clone()).collect();
        assert_eq!((found, end), (names.iter().cloned().collect(), PageEnd::Whole));
    }
    for found in place.list("", ROOM).0 {
        place.tree.open(&mut Opened::new(), &found.name, &found.identity).unwrap();
    }
}

#[test]
fn files_in_progress_and_their_journals_are_skipped_and_never_served() {
    let place = Place::new("reserved");
    let part = format!(".ropewalk-{}", "0123456789abcdef".repeat(2));
    let journal = format!("{part}.journal");
    let likes = [format!("{part}0"), format!("{journal}l"), ".ropewalk-x".to_string()];
    for name in likes.iter().chain([&part, &journal]) {
        place.write(name, "x");
    }
    for found in place.list("", ROOM).0 {
        let name = String::from_utf8(found.name.clone()).unwrap();
        let is_like = likes.contains(&name);
        assert_eq!(found.kind, if is_like { Kind::File } else { Kind::Other }, "{name}");
        let opened = place.read(&mut Opened::new(), &name, &found.identity);
        assert_eq!(opened.is_ok(), is_like, "{name}");
    }
    fs::remove_file(place.top(&part)).unwrap();
    place.make_dir(&part);
    place.write(&format!("{part}/file"), "x");
    assert!(matches!(page_of(&place.tree, part.as_bytes(), b"", ROOM), Err(Refusal::Forbidden)));
    assert!(matches!(place.refused(&format!("{part}/file"), &[0; 16]), Refusal::Forbidden));
}

#[test]
fn a_folder_is_listed_in_pages_that_fit() {
    let place = Place::new("pages");
    for number in 0..1000 {
        place.write(&format!("{number}"), "x");
    }
    let (all, end) = place.list("", ROOM);
    assert_eq!((all.len(), end), (1000, PageEnd::Whole));
    for room in [0, 71, 200, 5000] {
        assert_eq!(place.list("", room), (all.clone(), PageEnd::Whole), "{room}");
    }
    let last = page_of(&place.tree, b"", b"999", ROOM).unwrap();
    assert_eq!((last.entries, last.end), (Vec::new(), PageEnd::Whole));
    let middle = page_of(&place.tree, b"", b"5000", ROOM).unwrap();
    assert_eq!(middle.entries[0].name, b"501", "a name that does not exist is a place too");
}

#[test]
fn texts_of_links_count_as_room() {
    let place = Place::new("texts");
    for number in 0..40 {
        symlink("x".repeat(4000), place.top(&format!("{number:02}"))).unwrap();
    }
    let (all, end) = place.list("", 10_000);
    assert_eq!((all.len(), end), (40, PageEnd::Whole));
    assert_eq!(page_of(&place.tree, b"", b"", 10_000).unwrap().entries.len(), 2);
}

#[test]
fn an_empty_folder_is_whole() {
    let place = Place::new("empty");
    let page = page_of(&place.tree, b"", b"", ROOM).unwrap();
    assert_eq!((page.entries.len(), page.end), (0, PageEnd::Whole));
}

#[test]
fn runs_of_any_size_give_the_same_listing() {
    let mut random = Random::new();
    for (names, bytes, small) in [(1, 1000, 0), (7, 1000, 0), (64, 300, 20), (5000, 1000, 100)] {
        let place =
            Place::with_limits(&format!("runs-{names}-{bytes}"), Limits { names, bytes, small });
        let mut expected = BTreeSet::new();
        for _ in 0..400 {
            let length = 1 + random.below(30);
            let name = format!("{:0>length$}", random.below(1000));
            place.write(&name, "");
            expected.insert(name.into_bytes());
        }
        for room in [0, 700, ROOM] {
            let (all, end) = place.list("", room);
            let found: Vec<_> = all.into_iter().map(|found| found.name).collect();
            assert_eq!(found, expected.iter().cloned().collect::<Vec<_>>());
            assert_eq!(end, PageEnd::Whole);
            assert_eq!(place.tree.runs.kept(), 0, "a folder that was listed leaves nothing");
        }
    }
}

#[test]
fn a_transfer_keeps_at_most_four_runs_and_the_oldest_goes() {
    let limits = Limits { names: 100, bytes: 4000, small: 0 };
    let place = Place::with_limits("four", limits);
    for folder in 0..8 {
        place.make_dir(&format!("{folder}"));
        for file in 0..20 {
            place.write(&format!("{folder}/{file:02}"), "");
        }
    }
    let first = |folder: &str| page_of(&place.tree, folder.as_bytes(), b"", 300).unwrap();
    for (known, folder) in ["0", "1", "2", "3", "4", "5", "6", "7"].into_iter().enumerate() {
        assert_eq!(first(folder).end, PageEnd::More);
        assert_eq!(place.tree.runs.kept(), (known + 1).min(4));
    }
    // Names that appear are not in a run that is kept, but in one that is read anew.
    for folder in ["3", "4"] {
        place.write(&format!("{folder}/19x"), "");
    }
    let last = |folder: &str| page_of(&place.tree, folder.as_bytes(), b"18", ROOM).unwrap().entries;
    assert_eq!(last("4").len(), 1);
    assert_eq!(last("3").len(), 2);
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let (place, folder) = (&place, format!("{}", thread % 8));
            scope.spawn(move || {
                for _ in 0..20 {
                    assert!(place.list(&folder, 300).0.len() >= 20);
                    assert!(place.tree.runs.kept() <= 4);
                }
            });
        }
    });
    assert_eq!(place.list("3", 300).0.len(), 21, "no place of a run was lost");
}

#[test]
fn what_vanishes_after_its_name_was_read_is_left_out() {
    let place = Place::with_limits("vanish", Limits { names: 100, bytes: 4000, small: 0 });
    for number in 0..60 {
        place.write(&format!("{number:02}"), "");
    }
    assert_eq!(page_of(&place.tree, b"", b"", 200).unwrap().entries.len(), 2);
    assert_eq!(place.tree.runs.kept(), 1);
    for number in 2..50 {
        fs::remove_file(place.top(&format!("{number:02}"))).unwrap();
    }
    // Pages of names that have all vanished are passed over.
    let page = page_of(&place.tree, b"", b"01", 200).unwrap();
    assert_eq!(page.entries[0].name, b"50");
    for number in 50..60 {
        fs::remove_file(place.top(&format!("{number:02}"))).unwrap();
    }
    let page = page_of(&place.tree, b"", b"01", 200).unwrap();
    assert_eq!((page.entries.len(), page.end), (0, PageEnd::Whole));
}

#[test]
fn a_folder_that_vanishes_while_its_names_are_read_is_gone() {
    let place = Place::new("vanishes");
    place.make_dir("folder");
    (0..3).for_each(|number| place.write(&format!("folder/{number}"), ""));
    let dir = Folder::enter(place.tree.folder(), b"folder", None, Lookup::Best).unwrap().list();
    let vanish = |_: &mut WaitBlocks<'_>| fs::remove_dir_all(place.top("folder")).unwrap();
    let limits = Limits { names: 100, bytes: 4000, small: 0 };
    let read = Run::read(&dir.unwrap(), b"", limits, &mut WaitBlocks::none(), vanish);
    assert!(matches!(read.map(drop).map_err(Refusal::from), Err(Refusal::Gone)));
}

#[test]
fn a_folder_that_takes_the_name_of_another_is_not_listed_from_its_run() {
    let place = Place::with_limits("other", Limits { names: 100, bytes: 4000, small: 0 });
    for (folder, count) in [("one", 30), ("two", 40)] {
        place.make_dir(folder);
        (0..count).for_each(|number| place.write(&format!("{folder}/{number:02}"), ""));
    }
    let before = page_of(&place.tree, b"one", b"", 300).unwrap();
    fs::rename(place.top("one"), place.top("gone")).unwrap();
    fs::rename(place.top("two"), place.top("one")).unwrap();
    let after = page_of(&place.tree, b"one", b"29", ROOM).unwrap();
    assert_eq!(after.entries.len(), 10);
    assert_ne!(after.folder, before.folder);
    assert_eq!(place.find("one").identity, after.folder);
}

#[test]
fn a_folder_s_identity_stays_while_its_entries_change() {
    let place = Place::new("identity");
    place.make_dir("sub");
    let before = (place.find("sub").identity, place.tree.identity());
    place.write("sub/file", "");
    assert_eq!(place.find("sub").identity, before.0);
    assert_eq!(page_of(&place.tree, b"sub", b"", ROOM).unwrap().folder, before.0);
    assert_eq!(page_of(&place.tree, b"", b"", ROOM).unwrap().folder, before.1);
}

#[test]
fn a_server_says_of_a_folder_what_its_entry_says() {
    let place = Place::new("state");
    place.make_dir("sub");
    fs::set_permissions(place.top("sub"), fs::Permissions::from_mode(0o2751)).unwrap();
    let time = UNIX_EPOCH - Duration::new(1, 1);
    File::open(place.top("sub")).unwrap().set_modified(time).unwrap();
    let entry = place.find("sub");
    let folder = File::open(place.top("sub")).unwrap();
    let state = state_of(folder.as_fd()).unwrap();
    assert_eq!((state.identity, state.mode), (entry.identity, entry.mode));
    assert_eq!((state.mtime, state.uid, state.gid), (entry.mtime, entry.uid, entry.gid));
    assert_eq!(Tree::new(folder.into()).unwrap().identity(), state.identity);
}

#[test]
fn a_file_and_a_view_of_the_kernel_are_no_trees() {
    for (path, code) in [("/dev/null", libc::ENOTDIR), ("/proc", libc::EXDEV)] {
        let file = File::open(path).unwrap();
        assert_eq!(state_of(file.as_fd()).unwrap_err().raw_os_error(), Some(code), "{path}");
        assert_eq!(Tree::new(file.into()).unwrap_err().raw_os_error(), Some(code), "{path}");
    }
}

#[test]
fn a_listing_may_be_of_a_hundred_thousand_names() {
    let place = Place::new("hundred");
    place.fill((0..100_000).map(|number| format!("{:05}", (number * 7919) % 100_000)));
    let (all, end) = place.list("", ROOM);
    assert_eq!((all.len(), end), (100_000, PageEnd::Whole));
    assert_eq!((&all[0].name[..], &all[99_999].name[..]), (&b"00000"[..], &b"99999"[..]));
    assert_eq!(place.tree.runs.kept(), 0);
}

/// What this thread has used of a processor (proc_pid_schedstat).
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// `cargo test --lib three_hundred -- --ignored --nocapture` prints the figure.
#[test]
#[ignore = "measures"]
fn three_hundred_thousand_names_take_about_a_second() {
    let mut place = Place::new("three-hundred");
    if Path::new("/dev/shm").is_dir() {
        let path = Path::new("/dev/shm").join(place.path.file_name().unwrap());
        fs::create_dir_all(path.join("top")).unwrap();
        fs::remove_dir_all(&place.path).unwrap();
        place.tree = Tree::new(File::open(path.join("top")).unwrap().into()).unwrap();
        place.path = path;
    }
    for number in 0..300_000u32 {
        let name = format!("file-{:08}", number.wrapping_mul(2_654_435_761));
        drop(File::create(place.top(&name)).unwrap());
    }
    let begin = cpu_time();
    let (all, _) = place.list("", ROOM);
    let listed = cpu_time() - begin;
    let mut opened = Opened::new();
    for found in &all {
        place.tree.open(&mut opened, &found.name, &found.identity).unwrap();
    }
    println!("CPU: listed in {listed:?}, opened in {:?}", cpu_time() - begin - listed);
    assert_eq!(all.len(), 300_000);
}

#[test]
fn an_unreadable_folder_is_refused_and_an_entry_of_an_unsearchable_one_is_unreadable() {
    if effective_user() == 0 {
        return; // root may read everything
    }
    let place = Place::new("unreadable");
    for (folder, mode) in [("closed", 0o000), ("listed", 0o400), ("searched", 0o100)] {
        place.make_dir(folder);
        place.write(&format!("{folder}/file"), "x");
        fs::set_permissions(place.top(folder), fs::Permissions::from_mode(mode)).unwrap();
    }
    let page = |folder: &str| page_of(&place.tree, folder.as_bytes(), b"", ROOM);
    for folder in ["closed", "listed", "searched"] {
        assert_eq!(place.find(folder).kind, Kind::Folder);
    }
    assert!(matches!(page("closed"), Err(Refusal::Forbidden)));
    assert!(matches!(page("searched"), Err(Refusal::Forbidden)));
    // The kernel looks `.` up in the folder itself.
    assert!(matches!(page("listed"), Err(Refusal::Forbidden)));
    assert!(matches!(place.refused("closed/file", &[0; 16]), Refusal::Forbidden));
    // A file in a folder that can only be searched can be had by its name.
    let file = place.refused("searched/file", &[0; 16]);
    let Refusal::Changed(found) = file else { panic!("{file:?}") };
    assert_eq!(place.read(&mut Opened::new(), "searched/file", &found.identity).unwrap(), "x");
    place.write("secret", "x");
    fs::set_permissions(place.top("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let found = place.find("secret");
    assert!(matches!(place.refused("secret", &found.identity), Refusal::Forbidden));
    for folder in ["closed", "listed", "searched"] {
        fs::set_permissions(place.top(folder), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_file_is_opened_in_the_state_that_was_listed() {
    let place = Place::new("open");
    place.make_dir("sub/deep");
    place.write("sub/deep/file", "content");
    let found = place.find("sub/deep/file");
    let mut opened = Opened::new();
    assert_eq!(place.read(&mut opened, "sub/deep/file", &found.identity).unwrap(), "content");
    let held = place.tree.open(&mut opened, b"sub/deep/file", &found.identity).unwrap();
    assert_eq!((held.identity.version.size, held.identity.tag()), (7, found.identity));
}

#[test]
fn a_file_that_changed_is_refused_with_its_new_facts() {
    let place = Place::new("changed");
    place.write("file", "old");
    let old = place.find("file");
    let mut opened = Opened::new();
    place.read(&mut opened, "file", &old.identity).unwrap();
    place.write("file", "newer");
    let refused = place.read(&mut opened, "file", &old.identity).unwrap_err();
    let Refusal::Changed(new) = refused else { panic!("{refused:?}") };
    assert_eq!(*new, place.find("file"));
    assert_eq!(place.read(&mut opened, "file", &new.identity).unwrap(), "newer");
    let refused = place.read(&mut opened, "file", &old.identity).unwrap_err();
    assert!(matches!(refused, Refusal::Changed(_)));
}

#[test]
fn a_file_that_was_replaced_is_served_as_listed_only_while_it_is_open() {
    let place = Place::new("replaced");
    place.write("file", "old");
    place.write("new", "new");
    let old = place.find("file");
    let mut opened = Opened::new();
    place.tree.open(&mut opened, b"file", &old.identity).unwrap();
    fs::rename(place.top("new"), place.top("file")).unwrap();
    // Its bytes are whole in the open file, but its ctime has changed.
    let refused = place.read(&mut opened, "file", &old.identity).unwrap_err();
    let Refusal::Changed(new) = refused else { panic!("{refused:?}") };
    assert_eq!(place.read(&mut opened, "file", &new.identity).unwrap(), "new");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let place = Place::new("types-open");
    place.make_dir("folder");
    place.write("file", "x");
    symlink("file", place.top("link")).unwrap();
    symlink("../outside", place.top("out")).unwrap();
    symlink("link-loop", place.top("link-loop")).unwrap();
    make_fifo(&place.top("fifo"));
    for name in ["folder", "link", "out", "link-loop", "fifo"] {
        assert!(matches!(place.refused(name, &[0; 16]), Refusal::OtherType), "{name}");
    }
    for name in ["none", "none/file", "file/file", "out/file", "link-loop/file"] {
        assert!(matches!(place.refused(name, &[0; 16]), Refusal::Gone), "{name}");
    }
    for name in ["file", "link", "out", "link-loop", "fifo"] {
        let page = page_of(&place.tree, name.as_bytes(), b"", ROOM);
        assert!(matches!(page, Err(Refusal::OtherType)), "{name}");
    }
    assert!(matches!(page_of(&place.tree, b"none", b"", ROOM), Err(Refusal::Gone)));
}

#[test]
fn no_name_leads_out_of_the_tree() {
    let place = Place::new("out");
    place.make_dir("sub");
    for name in ["../outside/file", "sub/../../outside/file", "/etc/passwd", "..", ".", "", "a\0b"]
    {
        let refused = place.refused(name, &[0; 16]);
        assert!(matches!(refused, Refusal::Forbidden), "{name} {refused:?}");
    }
    for name in ["..", "../outside", "/", "/etc", "sub/", "sub//", "."] {
        let refused = page_of(&place.tree, name.as_bytes(), b"", ROOM).unwrap_err();
        assert!(matches!(refused, Refusal::Forbidden), "{name} {refused:?}");
    }
}

#[test]
fn a_name_has_at_most_256_components() {
    let place = Place::new("deep");
    let deepest = vec!["d"; MAX_DEPTH].join("/");
    place.make_dir(&deepest);
    assert_eq!(place.list(&deepest, ROOM), (Vec::new(), PageEnd::Whole));
    place.make_dir(&format!("{deepest}/d"));
    let refused = page_of(&place.tree, format!("{deepest}/d").as_bytes(), b"", ROOM);
    assert!(matches!(refused, Err(Refusal::Forbidden)));
}

#[test]
fn the_last_few_files_stay_open_and_no_more() {
    let place = Place::new("few");
    let mut opened = Opened::new();
    let names: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
    names.iter().for_each(|name| place.write(name, name));
    for name in &names {
        let identity = place.find(name).identity;
        let first = place.tree.open(&mut opened, name.as_bytes(), &identity).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&first.file);
        let again = place.tree.open(&mut opened, name.as_bytes(), &identity).unwrap();
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&again.file), number);
        // What is asked for all the time stays open, whatever else comes.
        let first = place.find("0").identity;
        place.tree.open(&mut opened, b"0", &first).unwrap();
    }
    assert_eq!(opened.names(), [&b"7"[..], b"8", b"9", b"0"]);
}

#[test]
fn a_tree_of_the_kernel_is_none_and_other_file_systems_are_left_out_on_request() {
    assert!(Tree::new(File::open("/proc/self").unwrap().into()).is_err());
    let root = || Tree::new(File::open("/").unwrap().into()).unwrap();
    assert!(matches!(page_of(&root(), b"proc", b"", ROOM), Err(Refusal::NotEntered)));
    let status = root().open(&mut Opened::new(), b"proc/self/status", &[0; 16]).map(drop);
    assert!(matches!(status, Err(Refusal::NotEntered)));
    let device = |path: &str| fs::metadata(path).unwrap().dev();
    if device("/") != device("/dev/shm") {
        page_of(&root(), b"dev/shm", b"", ROOM).unwrap();
        let refused = page_of(&root().one_file_system(), b"dev/shm", b"", ROOM);
        assert!(matches!(refused, Err(Refusal::NotEntered)));
    }
}

#[test]
fn without_openat2_all_is_the_same() {
    let mut place = Place::new("walk");
    place.make_dir("sub");
    place.write("sub/file", "x");
    symlink("sub", place.top("link")).unwrap();
    let before = (place.list("", ROOM), place.list("sub", ROOM));
    place.tree.lookup = Lookup::Walk;
    assert_eq!((place.list("", ROOM), place.list("sub", ROOM)), before);
    let identity = place.find("sub/file").identity;
    assert_eq!(place.read(&mut Opened::new(), "sub/file", &identity).unwrap(), "x");
    assert!(matches!(place.refused("link/file", &identity), Refusal::Gone));
}

#[test]
fn a_folder_that_is_swapped_for_a_link_never_gives_what_is_outside() {
    let place = Place::new("swap-folder");
    place.make_dir("real");
    place.write("real/inside", "inside");
    symlink("../outside", place.top("false")).unwrap();
    let secret = Status::of(File::open(place.path.join("outside/file")).unwrap()).unwrap();
    let secret = Identity::of_status(&secret, true).tag();
    let rename = |from: &str, to: &str| fs::rename(place.top(from), place.top(to)).unwrap();
    let swap = || {
        rename("real", "name");
        rename("name", "real");
        rename("false", "name");
        rename("name", "false");
    };
    meanwhile(swap, || {
        for _ in 0..3000 {
            if let Ok(page) = page_of(&place.tree, b"name", b"", ROOM) {
                assert!(page.entries.iter().all(|found| found.name == b"inside"));
            }
            assert!(place.tree.open(&mut Opened::new(), b"name/file", &secret).is_err());
        }
    });
}

#[test]
fn a_file_that_is_swapped_for_a_link_or_a_fifo_is_itself_or_refused() {
    let place = Place::new("swap-file");
    place.write("real", "inside");
    symlink("../outside/file", place.top("link")).unwrap();
    make_fifo(&place.top("fifo"));
    let rename = |from: &str, to: &str| fs::rename(place.top(from), place.top(to)).unwrap();
    let swap = || {
        for name in ["real", "link", "fifo"] {
            rename(name, "name");
            rename("name", name);
        }
    };
    meanwhile(swap, || {
        let (mut known, mut served) = ([0; 16], 0);
        let limit = std::time::Instant::now() + Duration::from_secs(20);
        while served < 20 && std::time::Instant::now() < limit {
            match place.tree.open(&mut Opened::new(), b"name", &known) {
                Ok(held) => {
                    let mut text = String::new();
                    (&held.file).read_to_string(&mut text).unwrap();
                    // Only then are bytes sent.
                    if held.is_unchanged() {
                        assert_eq!(text, "inside");
                        served += 1;
                    }
                }
                Err(Refusal::Changed(found)) => known = found.identity,
                Err(Refusal::Gone | Refusal::OtherType) => {}
                Err(other) => panic!("{other:?}"),
            }
            for found in page_of(&place.tree, b"", b"", ROOM).unwrap().entries {
                assert_ne!(found.kind, Kind::Unreadable);
            }
        }
    });
}

#[test]
fn a_folder_that_changes_all_the_time_is_listed_in_order() {
    let place = Place::with_limits("churn", Limits { names: 50, bytes: 4000, small: 100 });
    (0..300).for_each(|number| place.write(&format!("stays-{number}"), ""));
    let number = std::sync::atomic::AtomicUsize::new(0);
    let churn = || {
        let number = number.fetch_add(1, Ordering::Relaxed) % 100;
        place.write(&format!("comes-{number}"), "");
        place.write(&format!("x-{number}"), "");
        fs::remove_file(place.top(&format!("comes-{number}"))).unwrap();
    };
    meanwhile(churn, || {
        for _ in 0..30 {
            let (all, end) = place.list("", 700);
            assert_eq!(end, PageEnd::Whole);
            let stays = all.iter().filter(|found| found.name.starts_with(b"stays"));
            assert_eq!(stays.count(), 300);
        }
    });
}

#[test]
fn a_name_has_up_to_4095_bytes() {
    use crate::sys::dir::Dir;
    let place = Place::new("long");
    let mut here = Dir::open(&place.top("")).unwrap();
    let part = std::ffi::OsString::from_vec(vec![b'n'; 254]);
    let mut name = Vec::new();
    for _ in 0..16 {
        here = here.make_dir(&part, 0o700).unwrap();
        name.extend_from_slice(part.as_bytes());
        name.push(b'/');
    }
    let base = OsStr::new("fifteen-letters");
    here.open_file(base, crate::sys::dir::Access::Create(0o600)).unwrap();
    let page = page_of(&place.tree, &name[..name.len() - 1], b"", ROOM).unwrap();
    assert_eq!(page.entries[0].name, base.as_bytes());
    name.extend_from_slice(base.as_bytes());
    assert_eq!(name.len(), 4095);
    place.tree.open(&mut Opened::new(), &name, &page.entries[0].identity).unwrap();
}
