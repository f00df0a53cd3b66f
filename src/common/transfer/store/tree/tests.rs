//! Each promise of the store, with real files.

mod entries;
mod landing;
mod leaving;

use super::*;
use crate::sys::process;
use crate::sys::user;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicUsize;

static TREES: AtomicUsize = AtomicUsize::new(0);

/// A tree in memory, or in the folder for temporary files.
struct Scratch {
    path: PathBuf,
    tree: Arc<Tree>,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch::with(false)
    }

    fn with(durable: bool) -> Scratch {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        Scratch::beneath(&parent, durable)
    }

    fn beneath(parent: &Path, durable: bool) -> Scratch {
        let number = TREES.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("ropewalk-tree-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let tree = Arc::new(open(&path, durable).unwrap());
        Scratch { path, tree }
    }

    /// A path in it.
    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its folder `name`, made without the store.
    fn folder(&self, name: &str) -> FolderPath {
        fs::create_dir(self.at(name)).unwrap();
        root().child(OsStr::new(name)).unwrap()
    }

    fn look(&self, name: &str) -> Option<Status> {
        self.tree.look(&root(), OsStr::new(name)).unwrap()
    }

    fn target(&self, name: &str) -> io::Result<Target> {
        Target::of(self.look(name).as_ref())
    }

    /// Writes a file in the tree's own folder, up to the landing.
    fn write(&self, name: &str, text: &str, attributes: &Attributes) -> io::Result<Complete> {
        let mut file = self.tree.create(&root(), OsStr::new(name), self.target(name)?, &plain())?;
        file.put(0, text.as_bytes())?;
        self.tree.complete(file, text.len() as u64, attributes)
    }

    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        self.tree.put_in_place(&self.write(name, text, &plain())?)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// All names in the tree's own folder, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn open(path: &Path, durable: bool) -> io::Result<Tree> {
    Tree::open(File::open(path)?, durable, Timing::default().divided(10))
}

fn root() -> FolderPath {
    FolderPath::root()
}

/// Attributes without an owner.
fn plain() -> Attributes {
    let mtime = Stamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    Attributes { mode: 0o644, mtime, owner: None }
}

fn stamp(found: &Status) -> Stamp {
    Stamp::of(found)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the rest of the test `name` as an ordinary user, in a process of its own. `false` in the
/// process that waits for it, and where that user cannot be had.
fn is_ordinary(name: &str) -> bool {
    const CHILD: &str = "ROPEWALK_TREE_TEST";
    if process::effective_user() != 0 {
        return true;
    }
    let Ok(Some(nobody)) = user::find(b"nobody") else { return false };
    if std::env::var_os(CHILD).is_some() {
        // A container's root may be unable to become another user.
        return user::become_user(&nobody).is_ok();
    }
    let name = format!("transfer::store::tree::tests::{name}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture", "--test-threads", "1"]).env(CHILD, "1");
    let output = command.env("LSAN_OPTIONS", "detect_leaks=0").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    false
}
