//! Two folders: `there`, which a server offers, and `here`, which a client fills.

use crate::support::harness::{Outcome, Scratch, Server, run};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Both folders, and the server. Dropping it ends the server, and removes the folders.
pub(crate) struct Trees {
    pub(crate) server: Server,
    pub(crate) scratch: Scratch,
}

/// What is under one name: type and mode, size, mtime, and content or text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
}

impl Trees {
    /// An empty folder `there` and a server. `here` is missing.
    pub(crate) fn new(test: &str) -> Trees {
        Trees::with_server(test, &[])
    }

    /// The same with these options of the server.
    pub(crate) fn with_server(test: &str, options: &[&str]) -> Trees {
        Trees::over(Scratch::new(test), options)
    }

    /// Two folders on a disk: there the kernel reserves space for large files.
    pub(crate) fn on_disk(test: &str) -> Trees {
        Trees::over(Scratch::on_disk(test), &[])
    }

    fn over(scratch: Scratch, options: &[&str]) -> Trees {
        scratch.make_dir("there");
        let server = Server::start(&scratch, options);
        Trees { server, scratch }
    }

    pub(crate) fn there(&self, name: &str) -> PathBuf {
        self.scratch.path("there").join(name)
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.scratch.path("here").join(name)
    }

    /// Makes a file on the server, and the folders on the way to it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        write(&self.there(name), bytes);
    }

    /// The same at the client.
    pub(crate) fn write_here(&self, name: &str, bytes: &[u8]) {
        write(&self.here(name), bytes);
    }

    /// The client that fetches `there` into `here` over 4 streams.
    pub(crate) fn client(&self, options: &[&str]) -> Command {
        let mut client =
            self.scratch.client(self.server.address, 4, "there", self.scratch.path("here"));
        client.args(options);
        client
    }

    /// Runs the client.
    pub(crate) fn fetch(&self, options: &[&str]) -> Outcome {
        run(&mut self.client(options))
    }

    /// Runs the client, and demands that both folders are equal then.
    #[track_caller]
    pub(crate) fn sync(&self, options: &[&str]) -> String {
        let said = self.fetch(options).succeeded();
        self.assert_equal();
        said
    }

    /// Demands that both folders have the same entries.
    #[track_caller]
    pub(crate) fn assert_equal(&self) {
        assert_equal(&facts(&self.there("")), &facts(&self.here("")));
    }

    /// Demands that every file that has its name `here` has its content.
    #[track_caller]
    pub(crate) fn assert_right_files(&self) {
        let there = facts(&self.there(""));
        for (name, fact) in facts(&self.here("")) {
            if !name.to_string_lossy().contains(".ropewalk-") {
                assert!(there[&name].content == fact.content, "{name:?}");
            }
        }
    }

    /// Starts a server with these options at the address of the one that was killed.
    pub(crate) fn restart_server(&mut self, options: &[&str]) {
        self.server.start_again(&self.scratch, options);
    }
}

impl Drop for Trees {
    /// Lets every folder be removed, for a user that is not root.
    fn drop(&mut self) {
        for top in [self.there(""), self.here("")] {
            open_up(&top);
        }
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o755));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Demands equal facts, and names the first ones that differ.
#[track_caller]
pub(crate) fn assert_equal(there: &BTreeMap<OsString, Fact>, here: &BTreeMap<OsString, Fact>) {
    for (name, fact) in there {
        match here.get(name) {
            None => panic!("{name:?} is missing"),
            Some(other) => {
                assert_eq!(format!("{:o}", fact.mode), format!("{:o}", other.mode), "{name:?}");
                assert_eq!(fact.mtime, other.mtime, "{name:?}");
                assert!(fact.content == other.content, "{name:?} has another content");
            }
        }
    }
    let more: Vec<&OsString> = here.keys().filter(|name| !there.contains_key(*name)).collect();
    assert!(more.is_empty(), "{more:?} should not be there");
}

/// Everything below a folder, and the folder itself under the empty name. The content of a special
/// file is empty.
pub(crate) fn facts(top: &Path) -> BTreeMap<OsString, Fact> {
    let mut all = BTreeMap::new();
    let mut paths = vec![top.to_path_buf()];
    while let Some(path) = paths.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let content = match found.file_type() {
            kind if kind.is_dir() => {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_vec(),
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        let name = path.strip_prefix(top).unwrap().as_os_str().to_os_string();
        let mtime = (found.mtime(), found.mtime_nsec());
        all.insert(name, Fact { mode: found.mode(), mtime, content });
    }
    all
}

/// Names below a folder that are reserved for files on their way.
pub(crate) fn leftovers(top: &Path) -> Vec<OsString> {
    let names = facts(top).into_keys();
    names.filter(|name| name.as_bytes().windows(10).any(|part| part == b".ropewalk-")).collect()
}
