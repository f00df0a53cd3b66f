//! Two folders, and the two ends of a transfer between them in one process.

use crate::content;
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::message::tree_options::TreeOptions;
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::message::version::Stamp;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::tree::{TreeSink, Wanted};
use ropewalk::transfer::source::tree::Tree;
use ropewalk::transfer::source::{Content, Source};
use ropewalk::transfer::store;
use ropewalk::transfer::timing::Timing;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Folders `there`, with files, and `here`, without one. Both are removed at the end.
pub(crate) struct Pair {
    folder: PathBuf,
    files: Vec<(String, usize)>,
}

impl Pair {
    /// With files of these names and sizes.
    pub(crate) fn new(test: &str, files: &[(String, usize)]) -> Pair {
        let folder = std::env::temp_dir().join(format!("ropewalk-{test}-{}", std::process::id()));
        fs::create_dir_all(folder.join("here")).unwrap();
        for (name, size) in files {
            let path = folder.join("there").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content(*size)).unwrap();
        }
        Pair { folder, files: files.to_vec() }
    }

    pub(crate) fn source(&self, timing: Timing) -> Source {
        let top = Tree::new(File::open(self.folder.join("there")).unwrap().into()).unwrap();
        Source::new(Content::Tree(top), Throttle::default(), timing).unwrap()
    }

    pub(crate) fn sink(&self, timing: Timing) -> TreeSink {
        let top = Tree::new(File::open(self.folder.join("there")).unwrap().into()).unwrap();
        let mtime = Stamp { seconds: 5, nanoseconds: 6 };
        let here = File::open(self.folder.join("here")).unwrap();
        let wanted = Wanted {
            streams: 3,
            grows: false,
            verify: Verify::Crc32c,
            rate: None,
            trace: false,
            limits: None,
            shown: "here".into(),
            top: FolderState { identity: top.identity(), mode: 0o755, mtime, uid: 0, gid: 0 },
            store: Some(store::tree::Tree::open(here, true, Timing::default()).unwrap()),
            options: TreeOptions::default(),
        };
        TreeSink::new(wanted, timing, Box::new(|_| {}))
    }

    /// Demands that everything has arrived, and nothing else is there.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        let here = self.folder.join("here");
        for (name, size) in &self.files {
            let read = fs::read(here.join(name));
            let bytes = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(bytes == content(*size), "{name}");
        }
        assert_eq!(count(&here), self.files.len());
    }
}

/// Everything below a folder that is no folder.
fn count(folder: &Path) -> usize {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
