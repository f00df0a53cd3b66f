//! A server with one file, and folders for a client.

use crate::history::History;
use crate::recorder::Run;
use crate::support::harness::{Scratch, Server};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a block if there are few streams.
pub(crate) const BLOCK: usize = 128 << 10;

/// A fetch of so many blocks and a few bytes is slow enough for checkpoints.
pub(crate) const BLOCKS: usize = 12;
pub(crate) const SIZE: usize = BLOCKS * BLOCK + 77;
const RATE: &str = "330K";

/// A server with the file `file`, and the bytes of the file.
pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) server: Server,
    pub(crate) bytes: Vec<u8>,
}

impl World {
    /// Makes a server whose file has these bytes.
    pub(crate) fn new(test: &str, bytes: Vec<u8>) -> World {
        let scratch = Scratch::on_disk(test);
        let server = Server::start(&scratch, &["--quiet"]);
        scratch.write("file", &bytes);
        World { scratch, server, bytes }
    }

    /// The same, but ranges of zeros are holes.
    pub(crate) fn with_holes(test: &str, bytes: Vec<u8>) -> World {
        let world = World::new(test, bytes);
        let file = fs::File::create(world.scratch.path("file")).unwrap();
        file.set_len(world.bytes.len() as u64).unwrap();
        for (number, block) in world.bytes.chunks(4096).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                file.write_all_at(block, number as u64 * 4096).unwrap();
            }
        }
        world
    }

    /// A new folder for a client, with this OUT.
    pub(crate) fn folder(&self, name: &str, old: Option<&[u8]>) -> PathBuf {
        let folder = self.scratch.make_dir(name);
        if let Some(old) = old {
            fs::write(folder.join("out"), old).unwrap();
        }
        folder
    }

    /// A client that fetches the file into the folder.
    pub(crate) fn client(&self, folder: &Path) -> Command {
        self.scratch.client(self.server.address, 4, "file", folder.join("out"))
    }

    /// Adds a run to the history of `folder`. A `slow` run is slow enough for checkpoints.
    #[track_caller]
    pub(crate) fn run(&self, history: &mut History, folder: &Path, how: &Run, slow: bool) {
        let mut client = self.client(folder);
        if slow {
            client.args(["--limit-rate", RATE]);
        }
        let outcome = history.run(&mut client, folder, how);
        assert_eq!(outcome.status.success(), how.dies.is_none(), "{outcome:?}");
    }

    /// Where states are laid out.
    pub(crate) fn states_folder(&self) -> PathBuf {
        states_folder(&self.scratch)
    }
}

/// Where the states of a test are laid out: in memory if there is such a folder.
pub(crate) fn states_folder(scratch: &Scratch) -> PathBuf {
    let name = format!("ropewalk-powercut-{}", scratch.address());
    let shared = Path::new("/dev/shm").join(name);
    if fs::create_dir_all(&shared).is_ok() { shared } else { scratch.path("states") }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(states_folder(&self.scratch));
    }
}
