//! Names, links and races by which a place could be outside of the limit.

use super::super::{Lookup, look};
use super::*;
use crate::testing::Random;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// A root with a limit `in` in it. `in` has a folder `deep`. The root has a folder `other`, and
/// beside the root is `secret`.
struct World {
    path: PathBuf,
    root: File,
    limit: File,
}

impl World {
    fn new() -> World {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-place-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for folder in ["root/in/deep", "root/other", "secret"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        fs::write(path.join("root/in/file"), b"x").unwrap();
        let root = File::open(path.join("root")).unwrap();
        let limit = File::open(path.join("root/in")).unwrap();
        World { path, root, limit }
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.path.join("root").join(name)).unwrap();
    }

    fn find(&self, name: &str) -> Result<Place, NoPlace> {
        find_place(self.root.as_fd(), name.as_bytes(), numbers(&self.limit))
    }

    /// Demands that the name means `last` in this folder beneath the root.
    #[track_caller]
    fn finds(&self, name: &str, folder: &str, last: &str) {
        let place = self.find(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let expected = fs::metadata(self.path.join("root").join(folder)).unwrap();
        let found = place.folder.metadata().unwrap();
        assert_eq!((found.dev(), found.ino()), (expected.dev(), expected.ino()), "{name}");
        assert_eq!(place.name, last, "{name}");
    }

    #[track_caller]
    fn is_outside(&self, name: &str) {
        let found = self.find(name);
        assert!(matches!(found, Err(NoPlace::Outside(_))), "{name:?}: {found:?}");
    }

    /// Demands that the way ends beneath the limit with this error.
    #[track_caller]
    fn ends_within(&self, name: &str, code: i32) {
        match self.find(name) {
            Err(NoPlace::Within(error)) => assert_eq!(error.raw_os_error(), Some(code), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn numbers(folder: &File) -> (u64, u64) {
    let found = folder.metadata().unwrap();
    (found.dev(), found.ino())
}

#[test]
fn a_name_beneath_the_limit_is_found_whatever_is_there() {
    let world = World::new();
    world.link("/etc/passwd", "in/absolute");
    world.link("none", "in/dangling");
    for name in ["new", "file", "deep", "absolute", "dangling"] {
        world.finds(&format!("in/{name}"), "in", name);
    }
    for name in ["in//./new", "in/deep/../new", "other/../in/new", "in/../in/new"] {
        world.finds(name, "in", "new");
    }
    world.finds("in/deep/new", "in/deep", "new");
}

#[test]
fn links_on_the_way_lead_to_a_place_while_it_is_beneath_the_limit() {
    let world = World::new();
    world.link("in", "to");
    world.link("../in/deep", "other/deep");
    world.link("../in", "in/round");
    world.link("deep/", "in/slash");
    world.finds("to/new", "in", "new");
    world.finds("other/deep/new", "in/deep", "new");
    world.finds("other/deep/../new", "in", "new");
    world.finds("in/round/round/new", "in", "new");
    world.finds("in/slash/new", "in/deep", "new");
}

#[test]
fn what_is_not_beneath_the_limit_is_outside() {
    let world = World::new();
    world.link("../other", "in/other");
    world.link("../../secret", "in/secret");
    world.link(world.path.join("root/in"), "in/absolute");
    world.link("/", "in/slash");
    world.link("loop", "loop");
    world.link("other", "to");
    for name in [
        "",
        "in",
        "new",
        ".",
        "..",
        "/",
        "/in/new",
        "../new",
        "../root/in/new",
        "in/../new",
        "in/../../secret/new",
        "in/deep/../../new",
        "in/deep/../../../secret/new",
        "other/new",
        "other/../new",
        "to/new",
        "loop/new",
        "none/../in/new",
        "file/new",
        "in/other/new",
        "in/other/",
        "in/other/none/new",
        "in/secret/new",
        "in/absolute/new",
        "in/slash/etc/new",
        "in\0/new",
        "in/new\0",
        "..\\in/new",
    ] {
        world.is_outside(name);
    }
}

#[test]
fn missing_folders_and_files_on_the_way_end_it_beneath_the_limit() {
    let world = World::new();
    world.link("self", "in/self");
    world.ends_within("in/none/new", libc::ENOENT);
    world.ends_within("in/none/../../../secret/new", libc::ENOENT);
    world.ends_within("in/file/new", libc::ENOTDIR);
    world.ends_within("in/self/new", libc::ELOOP);
    world.ends_within(&format!("in/{}/new", "x".repeat(256)), libc::ENAMETOOLONG);
}

#[test]
fn a_name_that_ends_with_a_folder_is_said_to() {
    let world = World::new();
    for name in ["in/", "in/new/..", "in/deep/", "in/deep/.", "in/deep/..", "in/."] {
        let name = name.replace("new", "deep/deep");
        fs::create_dir_all(world.path.join("root/in/deep/deep")).unwrap();
        assert!(matches!(world.find(&name), Err(NoPlace::Folder)), "{name}");
    }
}

#[test]
fn the_root_itself_may_be_the_limit() {
    let mut world = World::new();
    world.limit = File::open(world.path.join("root")).unwrap();
    world.finds("new", "", "new");
    world.finds("in/../new", "", "new");
    world.is_outside("../new");
    world.is_outside("in/../../new");
}

#[test]
fn the_limit_of_folders_on_the_way_is_exact() {
    let world = World::new();
    let way = format!("in/{}new", "./".repeat(1000));
    world.finds(&way, "in", "new");
    let folders = |count: usize| "d/".repeat(count);
    fs::create_dir_all(world.path.join("root/in").join(folders(MAX_DEPTH))).unwrap();
    let deepest = folders(MAX_DEPTH - 1);
    world.finds(&format!("in/{deepest}new"), &format!("in/{deepest}"), "new");
    world.ends_within(&format!("in/{}new", folders(MAX_DEPTH)), libc::ENAMETOOLONG);
}

#[test]
fn a_limit_that_was_replaced_is_not_the_limit() {
    let world = World::new();
    fs::rename(world.path.join("root/in"), world.path.join("root/old")).unwrap();
    fs::create_dir(world.path.join("root/in")).unwrap();
    world.is_outside("in/new");
    world.finds("old/new", "old", "new");
}

/// Finds the name thousands of times while `swap` runs in another thread, and writes a file at
/// each place that is found.
fn write_while(world: &World, name: &str, swap: impl Fn(&Path) + Sync) -> usize {
    use crate::sys::dir::Access;
    let (done, mut written) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(&world.path.join("root"));
            }
        });
        for _ in 0..5000 {
            if let Ok(place) = world.find(name) {
                drop(place.folder.open_file(&place.name, Access::Create(0o600)));
                written += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    written
}

/// Demands that the folders outside of the limit are empty.
#[track_caller]
fn assert_untouched(world: &World) {
    for folder in ["root/other", "secret"] {
        assert_eq!(fs::read_dir(world.path.join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert!(!world.path.join("new").exists() && !world.path.join("root/new").exists());
}

#[test]
fn a_folder_that_is_swapped_for_a_link_never_leads_outside() {
    for target in ["../other", "../../secret", ".."] {
        let world = World::new();
        let written = write_while(&world, "in/deep/new", |root| {
            let (new, old, name) = (root.join("link"), root.join("in/old"), root.join("in/deep"));
            symlink(target, &new).unwrap();
            fs::rename(&name, &old).unwrap();
            fs::rename(&new, &name).unwrap();
            fs::remove_file(&name).unwrap();
            fs::rename(&old, &name).unwrap();
        });
        assert!(written > 0, "{target}");
        assert_untouched(&world);
    }
}

#[test]
fn a_link_that_is_swapped_for_another_never_leads_outside() {
    let world = World::new();
    world.link("deep", "in/link");
    let written = write_while(&world, "in/link/../link/new", |root| {
        for target in ["../other", "deep"] {
            symlink(target, root.join("in/next")).unwrap();
            fs::rename(root.join("in/next"), root.join("in/link")).unwrap();
        }
    });
    assert!(written > 0);
    assert_untouched(&world);
}

#[test]
fn every_name_means_the_place_that_the_kernel_gives_it() {
    let world = World::new();
    world.link("in", "to");
    world.link("../other", "in/other");
    world.link("../..", "in/deep/up");
    world.link("../../secret", "in/secret");
    world.link("deep", "in/near");
    let parts =
        ["in", "deep", "other", "to", "up", "secret", "near", "file", "..", ".", "", "none"];
    let limit = fs::canonicalize(world.path.join("root/in")).unwrap();
    let root = fs::canonicalize(world.path.join("root")).unwrap();
    let mut random = Random::new();
    for _ in 0..20_000 {
        let count = random.below(7);
        let way: Vec<&str> = (0..count).map(|_| parts[random.below(parts.len())]).collect();
        let name = format!("./{}/new", way.join("/"));
        let expected = fs::canonicalize(root.join(format!("./{}", way.join("/"))))
            .ok()
            .filter(|path| path.is_dir() && path.starts_with(&limit));
        match (world.find(&name), expected) {
            (Ok(place), Some(expected)) => {
                let expected = fs::metadata(expected).unwrap();
                let found = place.folder.metadata().unwrap();
                assert_eq!(found.ino(), expected.ino(), "{name}");
            }
            (Ok(place), None) => panic!("{name}: {place:?}"),
            (Err(error), Some(_)) => {
                // A way that leaves the root and comes back is refused.
                let way = format!("./{}", way.join("/"));
                let looked = look(world.root.as_fd(), way.as_bytes(), Lookup::Walk);
                assert!(looked.is_err(), "{name}: {error:?}");
            }
            (Err(_), None) => {}
        }
    }
}
