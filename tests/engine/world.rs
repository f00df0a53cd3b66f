//! A file to send, a place for it, and the two ends of a transfer in one process.

#![allow(dead_code)] // each of the test targets uses a part

use crate::network::Way;
use ropewalk::codec::message::report::Report;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::Error;
use ropewalk::transfer::link::End;
use ropewalk::transfer::link::acceptor::Acceptor;
use ropewalk::transfer::queue::rate::Throttle;
use ropewalk::transfer::sink::{Sink, Wanted};
use ropewalk::transfer::source::identity::Version;
use ropewalk::transfer::source::{Content, Source};
use ropewalk::transfer::store::journal::{Journal, Subject};
use ropewalk::transfer::store::pipe::Pipe;
use ropewalk::transfer::store::{Kept, Store};
use ropewalk::transfer::timing::Timing;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder with the file, and what a sink makes of it. It is removed at the end.
pub(crate) struct World {
    folder: PathBuf,
    pub(crate) file: File,
    pub(crate) size: u64,
}

impl World {
    /// With a file of these runs: bytes, or so many bytes of a hole.
    pub(crate) fn new(runs: &[Result<Vec<u8>, u64>]) -> World {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("ropewalk-engine-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        let file = File::create_new(&path).unwrap();
        let mut size = 0;
        for run in runs {
            match run {
                Ok(bytes) => {
                    file.write_all_at(bytes, size).unwrap();
                    size += bytes.len() as u64;
                }
                Err(hole) => size += hole,
            }
        }
        file.set_len(size).unwrap();
        World { file: File::open(path).unwrap(), folder, size }
    }

    /// A source of the file.
    pub(crate) fn source(&self, throttle: Throttle, timing: Timing) -> Source {
        let found = self.file.metadata().unwrap();
        let file = self.file.try_clone().unwrap();
        let content = Content::File { file, version: Version::of(&found), stored: self.stored() };
        Source::new(content, throttle, timing).unwrap()
    }

    /// Bytes that the file takes on the disk.
    pub(crate) fn stored(&self) -> u64 {
        self.file.metadata().unwrap().blocks() * 512
    }

    /// Adds a byte to the file, whose size a sink was told before.
    pub(crate) fn grow(&self) {
        let path = self.folder.join("file");
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(b"x", self.size).unwrap();
    }

    fn open(&self, name: &str) -> File {
        let path = self.folder.join(name);
        File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    /// The part file.
    pub(crate) fn part(&self) -> File {
        self.open("part")
    }

    /// The part file with its journal, begun or gone on with.
    pub(crate) fn kept(&self, sync: bool) -> Store {
        let (part, journal) = (self.part(), self.open("journal"));
        let found = Journal::open(journal.try_clone().unwrap()).unwrap();
        let (journal, contents) = found.map_or_else(
            || {
                let subject =
                    Subject { name: b"file".to_vec(), etag: b"tag".to_vec(), size: self.size };
                part.set_len(self.size).unwrap();
                (Journal::create(journal, &subject, &part).unwrap(), Default::default())
            },
            |(_, journal, contents)| (journal, contents),
        );
        Store::Kept(Kept { part, journal, contents, sync, basis: None })
    }

    /// The same beside an older file: the file with these ranges changed, and of this size.
    pub(crate) fn kept_beside(&self, sync: bool, changed: &[(u64, u64)], size: u64) -> Store {
        let mut bytes = self.bytes();
        for &(start, end) in changed {
            let range = start.min(self.size) as usize..end.min(self.size) as usize;
            bytes[range].iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        bytes.resize(size as usize, 7);
        let basis = self.open("basis");
        basis.set_len(0).unwrap();
        basis.write_all_at(&bytes, 0).unwrap();
        match self.kept(sync) {
            Store::Kept(kept) => Store::Kept(Kept { basis: Some(basis), ..kept }),
            piped @ Store::Piped(_) => piped,
        }
    }

    /// Gives bytes out in order.
    pub(crate) fn piped(&self, to: OwnedFd) -> Store {
        Store::piped(Pipe::new(to))
    }

    /// Whether the part file is the file.
    pub(crate) fn is_whole(&self) -> bool {
        let (one, other) = (&self.file, &self.part());
        let mut buffers = [vec![0; 1 << 20], vec![0; 1 << 20]];
        let mut at = 0;
        while at < self.size {
            let count = (self.size - at).min(1 << 20) as usize;
            let [a, b] = &mut buffers;
            one.read_exact_at(&mut a[..count], at).unwrap();
            if other.read_exact_at(&mut b[..count], at).is_err() || a[..count] != b[..count] {
                return false;
            }
            at += count as u64;
        }
        other.metadata().unwrap().len() == self.size
    }

    /// All bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A sink for this file into `store`.
pub(crate) fn sink(
    world: &World,
    store: Store,
    streams: u8,
    verify: Verify,
    timing: Timing,
) -> Sink {
    let wanted = Wanted {
        size: world.size,
        streams,
        grows: false,
        verify,
        rate: None,
        trace: false,
        shown: "out".into(),
        store,
    };
    Sink::new(wanted, timing)
}

/// Ends the transfer of `end` when its session is lost. No test may wait for a session that nobody
/// opens.
pub(crate) fn fail_on_loss(end: &impl End) -> impl FnMut(Report) {
    |report| {
        if let Report::Lost { text } = report {
            end.fail(Error::protocol(format!("the session is lost: {text}")));
        }
    }
}

/// An acceptor, with the way to it.
pub(crate) fn acceptor(listens: bool, timing: Timing) -> (Acceptor, Way) {
    let listener = listens.then(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.as_ref().map(|listener| listener.local_addr().unwrap());
    let acceptor = Acceptor::new(listener.map(Into::into), None, timing).unwrap();
    let way = address.map_or_else(|| Way::Entrance(acceptor.entrance()), Way::Listener);
    (acceptor, way)
}
