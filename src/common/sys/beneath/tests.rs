//! The same tests for both ways of looking a name up.

use super::*;
use crate::testing::Random;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// A folder with a root in it, and files inside and outside of the root.
struct Place {
    path: PathBuf,
    root: OwnedFd,
}

impl Place {
    fn new() -> Place {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-beneath-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("root/sub/deep")).unwrap();
        fs::write(path.join("secret"), b"outside").unwrap();
        fs::write(path.join("root/file"), b"inside").unwrap();
        fs::write(path.join("root/sub/deep/file"), b"deep").unwrap();
        let root = open_folder(&path.join("root")).unwrap();
        Place { path, root }
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.path.join("root").join(name)).unwrap();
    }

    fn read(&self, name: &str, lookup: Lookup) -> io::Result<String> {
        read(self.root.as_fd(), name, lookup)
    }

    /// Every way of lookup finds this content under the name.
    fn finds(&self, name: &str, content: &str) {
        for lookup in ways() {
            assert_eq!(self.read(name, lookup).unwrap(), content, "{name} {lookup:?}");
        }
    }

    /// Every way of lookup refuses the name with this error.
    fn refuses(&self, name: &str, number: i32) {
        for lookup in ways() {
            let error = self.read(name, lookup).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(number), "{name} {lookup:?} {error}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn read(root: BorrowedFd<'_>, name: &str, lookup: Lookup) -> io::Result<String> {
    let mut text = String::new();
    open_regular(root, name.as_bytes(), lookup)?.read_to_string(&mut text)?;
    Ok(text)
}

/// All ways that this kernel has.
fn ways() -> Vec<Lookup> {
    let here = open_folder(Path::new("/")).unwrap();
    let kernel = by_kernel(here.as_fd(), c".", Purpose::Look.flags(), 0).is_ok();
    let all = [Lookup::Best, Lookup::Walk, Lookup::Kernel];
    all.into_iter().filter(|&way| kernel || way != Lookup::Kernel).collect()
}

#[test]
fn plain_names_are_found() {
    let place = Place::new();
    place.finds("file", "inside");
    place.finds("./file", "inside");
    place.finds("sub/deep/file", "deep");
    place.finds("sub//deep/./file", "deep");
}

#[test]
fn a_parent_inside_the_root_is_found() {
    let place = Place::new();
    place.finds("sub/../file", "inside");
    place.finds("sub/deep/../../sub/deep/file", "deep");
}

#[test]
fn a_parent_of_the_root_is_refused() {
    let place = Place::new();
    for name in ["..", "../secret", "./../secret", "sub/../../secret", "sub/..//../root/file"] {
        place.refuses(name, libc::EXDEV);
    }
}

#[test]
fn an_absolute_name_is_refused() {
    let place = Place::new();
    place.refuses("/file", libc::EXDEV);
    place.refuses("//etc/passwd", libc::EXDEV);
}

#[test]
fn a_missing_file_is_not_found() {
    let place = Place::new();
    place.refuses("none", libc::ENOENT);
    place.refuses("none/../file", libc::ENOENT);
    place.refuses("file/../file", libc::ENOTDIR);
    place.refuses("file/", libc::ENOTDIR);
    place.refuses("file/.", libc::ENOTDIR);
    place.refuses("file/x", libc::ENOTDIR);
}

#[test]
fn links_that_stay_inside_work() {
    let place = Place::new();
    place.link("file", "a");
    place.link("sub", "b");
    place.link("../../file", "sub/deep/up");
    place.link("b/deep/up", "c");
    for name in ["a", "sub/deep/up", "b/deep/up", "c", "b/../file"] {
        place.finds(name, "inside");
    }
    place.finds("b/deep/file", "deep");
    place.refuses("a/", libc::ENOTDIR);
}

#[test]
fn links_that_leave_are_refused() {
    let place = Place::new();
    place.link("../secret", "up");
    place.link("sub/../../secret", "around");
    place.link("..", "parent");
    place.link("../root/file", "back");
    place.link("up", "chain");
    for name in ["up", "around", "parent", "parent/secret", "back", "chain"] {
        place.refuses(name, libc::EXDEV);
    }
}

#[test]
fn absolute_links_are_refused_wherever_they_lead() {
    let place = Place::new();
    place.link("/etc/passwd", "absolute");
    place.link("/", "slash");
    place.link(place.path.join("root/file").to_str().unwrap(), "home");
    for name in ["absolute", "slash", "slash/etc/passwd", "home"] {
        place.refuses(name, libc::EXDEV);
    }
}

#[test]
fn loops_of_links_end() {
    let place = Place::new();
    place.link("self", "self");
    place.link("b", "a");
    place.link("a", "b");
    place.link("more/x", "sub/more");
    for name in ["self", "a", "b/x", "sub/more"] {
        place.refuses(name, libc::ELOOP);
    }
}

#[test]
fn the_limit_of_links_is_exact() {
    let place = Place::new();
    place.link("file", "link1");
    for number in 2..=MAX_LINKS + 1 {
        place.link(&format!("link{}", number - 1), &format!("link{number}"));
    }
    place.finds(&format!("link{MAX_LINKS}"), "inside");
    place.refuses(&format!("link{}", MAX_LINKS + 1), libc::ELOOP);
}

#[test]
fn the_limit_of_a_name_is_exact() {
    let place = Place::new();
    let name = |length: usize| format!("{}file", "/".repeat(length - 4)).replacen('/', ".", 1);
    place.finds(&name(MAX_NAME), "inside");
    place.refuses(&name(MAX_NAME + 1), libc::ENAMETOOLONG);
    place.refuses(&"x".repeat(256), libc::ENAMETOOLONG);
}

#[test]
fn impossible_names_are_refused() {
    let place = Place::new();
    for lookup in ways() {
        for name in ["", "file\0", "\0", "file\0/../../secret"] {
            let error = place.read(name, lookup).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}

#[test]
fn only_regular_files_are_opened() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo").arg(place.path.join("root/fifo")).status();
    assert!(made.unwrap().success());
    std::os::unix::net::UnixListener::bind(place.path.join("root/socket")).unwrap();
    for lookup in ways() {
        for name in ["fifo", "socket", "sub", ".", "sub/.."] {
            let error = place.read(name, lookup).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name} {lookup:?}");
        }
        let devices = open_folder(Path::new("/dev")).unwrap();
        let error = read(devices.as_fd(), "null", lookup).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn magic_links_are_refused() {
    for lookup in ways() {
        let own = open_folder(Path::new("/proc/self")).unwrap();
        for name in ["exe", "cwd", "root/etc/passwd", "fd/0", "cwd/Cargo.toml", "ns/mnt"] {
            let error = read(own.as_fd(), name, lookup).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{name} {lookup:?}");
        }
        let proc = open_folder(Path::new("/proc")).unwrap();
        for name in ["self/exe", "self/root/etc/passwd", "thread-self/cwd/Cargo.toml"] {
            let error = read(proc.as_fd(), name, lookup).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{name} {lookup:?}");
        }
    }
}

#[test]
fn ordinary_links_of_proc_are_followed() {
    for lookup in ways() {
        let proc = open_folder(Path::new("/proc")).unwrap();
        assert!(read(proc.as_fd(), "self/comm", lookup).is_ok(), "{lookup:?}");
    }
}

#[test]
fn a_folder_that_may_not_be_searched_hides_even_its_parent() {
    use std::os::unix::fs::PermissionsExt;
    if crate::sys::process::effective_user() == 0 {
        return; // root may search everything
    }
    let place = Place::new();
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(place.path.join("root/sub"), closed).unwrap();
    place.refuses("sub/../file", libc::EACCES);
    place.refuses("sub/deep/file", libc::EACCES);
    fs::set_permissions(place.path.join("root/sub"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// Looks `name` up thousands of times while `swap` runs in another thread. The answer is all
/// content that was read.
fn read_while(
    place: &Place,
    name: &str,
    lookup: Lookup,
    swap: impl Fn(&Path) + Sync,
) -> BTreeSet<String> {
    let done = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(&place.path.join("root"));
            }
        });
        for _ in 0..5000 {
            if let Ok(text) = place.read(name, lookup) {
                seen.insert(text);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    // Everything is in its place again.
    seen.insert(place.read(name, lookup).unwrap());
    seen
}

#[test]
fn a_file_that_is_swapped_for_a_link_out_never_gives_what_is_outside() {
    for lookup in ways() {
        let place = Place::new();
        fs::write(place.path.join("root/kept"), b"inside").unwrap();
        let seen = read_while(&place, "file", lookup, |root| {
            let (new, name) = (root.join("new"), root.join("file"));
            symlink("../secret", &new).unwrap();
            fs::rename(&new, &name).unwrap();
            fs::hard_link(root.join("kept"), &new).unwrap();
            fs::rename(&new, &name).unwrap();
        });
        assert_eq!(seen, BTreeSet::from(["inside".to_string()]), "{lookup:?}");
    }
}

#[test]
fn a_folder_that_is_swapped_for_a_link_out_never_gives_what_is_outside() {
    for lookup in ways() {
        let place = Place::new();
        fs::create_dir(place.path.join("deep")).unwrap();
        fs::write(place.path.join("deep/file"), b"outside").unwrap();
        let seen = read_while(&place, "sub/deep/../deep/file", lookup, |root| {
            let (new, old, name) = (root.join("new"), root.join("old"), root.join("sub"));
            symlink("..", &new).unwrap();
            fs::rename(&name, &old).unwrap();
            fs::rename(&new, &name).unwrap();
            fs::remove_file(&name).unwrap();
            fs::rename(&old, &name).unwrap();
        });
        assert_eq!(seen, BTreeSet::from(["deep".to_string()]), "{lookup:?}");
    }
}

#[test]
fn without_proc_the_name_is_opened_a_second_time() {
    let place = Place::new();
    place.link("sub/deep/file", "link");
    for lookup in ways() {
        let opened = resolve(place.root.as_fd(), c"link", Purpose::Read, lookup).unwrap();
        let seen = resolve(place.root.as_fd(), c"link", Purpose::Look, lookup).unwrap();
        assert!(same_regular(&seen, &opened).unwrap());
        let error = resolve(place.root.as_fd(), c"../secret", Purpose::Read, lookup).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
    }
}

#[test]
fn both_ways_agree_on_many_names() {
    let place = Place::new();
    for (target, name) in [
        ("sub", "in"),
        ("..", "out"),
        ("../in/..", "sub/turn"),
        ("deep/", "sub/slash"),
        ("file", "sub/deep/near"),
        ("../../file", "sub/deep/far"),
        ("none", "dangling"),
        ("loop", "loop"),
        ("/", "sub/top"),
    ] {
        place.link(target, name);
    }
    let parts = [
        "file", "sub", "deep", "in", "out", "turn", "slash", "near", "far", "dangling", "loop",
        "top", "..", ".", "", "..",
    ];
    let mut random = Random::new();
    let told = |way, name: &str| place.read(name, way).map_err(|error| error.raw_os_error());
    let ways = ways();
    for _ in 0..20_000 {
        let count = 1 + random.below(8);
        let name: Vec<&str> = (0..count).map(|_| parts[random.below(parts.len())]).collect();
        let name = name.join("/");
        let first = told(ways[0], &name);
        for &way in &ways {
            assert_eq!(told(way, &name), first, "{name:?} {way:?}");
        }
    }
}

/// Every way of opening a folder without links.
fn plain(place: &Place, path: &str, mounts: Mounts) -> Vec<io::Result<File>> {
    let open = |way| open_plain_dir(place.root.as_fd(), path.as_bytes(), mounts, way);
    ways().into_iter().map(open).collect()
}

#[test]
fn a_plain_folder_is_opened_to_be_listed() {
    let place = Place::new();
    for opened in plain(&place, "sub/deep", Mounts::Refuse) {
        let expected = fs::metadata(place.path.join("root/sub/deep")).unwrap();
        assert_eq!(opened.unwrap().metadata().unwrap().ino(), expected.ino());
    }
    for path in ["file", "sub/file", "missing", "", "sub//deep/.."] {
        assert!(plain(&place, path, Mounts::Enter).iter().all(Result::is_err), "{path}");
    }
}

#[test]
fn a_plain_folder_is_not_reached_over_a_link() {
    let place = Place::new();
    place.link("sub", "link");
    place.link("../..", "out");
    for path in ["link", "link/deep", "out", "out/root"] {
        for opened in plain(&place, path, Mounts::Enter) {
            let code = opened.unwrap_err().raw_os_error();
            assert!(matches!(code, Some(libc::ELOOP | libc::ENOTDIR)), "{path} {code:?}");
        }
    }
}

#[test]
fn another_mount_is_entered_only_if_that_is_allowed() {
    let root = open_folder(Path::new("/")).unwrap();
    let is_mount = fs::metadata("/proc/self").is_ok();
    for way in ways().into_iter().filter(|_| is_mount) {
        open_plain_dir(root.as_fd(), b"proc", Mounts::Enter, way).unwrap();
        let refused = open_plain_dir(root.as_fd(), b"proc", Mounts::Refuse, way).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EXDEV), "{way:?}");
    }
}
