//! Which file, and which state of it: what `fstat` says, and the entity tag made of
//! it. Two states with one identity are taken for the same bytes. Opens nothing.

#![forbid(unsafe_code)]

pub use crate::codec::message::version::{Stamp, Version};

use crate::hash::{Sha256, hex};
use crate::sys::dir::Status;
use crate::sys::volume;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A hash that names a file or folder in one state, and says nothing of what it is made of.
pub type Tag = [u8; 16];

/// Bytes in which st_blocks counts, whatever the file system's own blocks are.
const STORED_UNIT: u64 = 512;

impl Stamp {
    /// The mtime that `status` shows.
    pub fn of(status: &Status) -> Stamp {
        Stamp { seconds: status.mtime, nanoseconds: status.mtime_nanoseconds }
    }

    /// Whether `age` or more has gone by since then at `now`. Never so for a stamp
    /// from the future.
    pub fn is_older(&self, age: Duration, now: SystemTime) -> bool {
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return false };
        let Ok(seconds) = u64::try_from(self.seconds) else { return true };
        now.checked_sub(Duration::new(seconds, self.nanoseconds)).is_some_and(|past| past >= age)
    }

    /// From what the system calls give: nanoseconds are under a billion by contract.
    fn new(seconds: i64, nanoseconds: i64) -> Stamp {
        Stamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
    }
}

impl Version {
    /// The version that `metadata` shows.
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            size: metadata.size(),
            mtime: Stamp::new(metadata.mtime(), metadata.mtime_nsec()),
            ctime: Stamp::new(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The range of a file of `size` bytes that is known to have no hole, when the file takes so
/// many bytes on the disk.
pub fn sure_data(stored: u64, size: u64) -> Range<u64> {
    if stored < size { 0..0 } else { 0..u64::MAX }
}

/// One file in one state.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The file system's number.
    pub device: u64,
    /// The file's number in it.
    pub inode: u64,
    /// Whether that number is the file's after another mount too.
    pub keeps_inode: bool,
    /// Its state.
    pub version: Version,
    /// Bytes that it takes on the disk. Not part of what is compared: the file system
    /// settles that some time after the last write.
    pub stored: u64,
}

impl Identity {
    /// The identity of the open `file`, of which `metadata` was just read.
    pub fn of(file: &File, metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            keeps_inode: volume::keeps_inodes(file),
            version: Version::of(metadata),
            stored: metadata.blocks().saturating_mul(STORED_UNIT),
        }
    }

    /// The identity of the file or folder that `status` shows.
    pub fn of_status(status: &Status, keeps_inode: bool) -> Identity {
        let mtime = Stamp::of(status);
        let ctime = Stamp { seconds: status.ctime, nanoseconds: status.ctime_nanoseconds };
        Identity {
            device: status.device,
            inode: status.inode,
            keeps_inode,
            version: Version { size: status.size, mtime, ctime },
            stored: status.stored,
        }
    }

    /// Whether both are the same file in the same state.
    pub fn same_as(&self, other: &Identity) -> bool {
        (self.device, self.inode, self.version) == (other.device, other.inode, other.version)
    }

    /// The opaque part of the entity tag, 32 hexadecimal digits, without the quotes
    /// that a field puts around it. Says nothing of the numbers that it is made of. It stays
    /// the same when the file system is mounted again: so it leaves out the device, and an
    /// inode that is made up.
    pub fn etag(&self) -> String {
        hex(&self.tag())
    }

    /// The bytes of [`Identity::etag`]: the identity of a file in a tree.
    pub fn tag(&self) -> Tag {
        let inode = self.keeps_inode.then_some(self.inode);
        self.digest(inode.as_slice())
    }

    /// The strong entity tag as an `ETag` field has it, with its quotes.
    pub fn etag_field(&self) -> String {
        format!("\"{}\"", self.etag())
    }

    /// The identity of a folder in a tree: its numbers alone, since its stamps change with
    /// everything in it. The device alone where inodes are made up.
    pub fn folder_tag(&self) -> Tag {
        let mut digest = Sha256::new();
        digest.update(&self.device.to_be_bytes());
        if self.keeps_inode {
            digest.update(&self.inode.to_be_bytes());
        }
        digest.finish_half()
    }

    /// What tells this file from every other one while this program runs, in the form of
    /// [`Identity::etag`]. Two files on one device may have one entity tag, where inodes are
    /// made up and stamps are coarse.
    pub fn key(&self) -> String {
        hex(&self.digest(&[self.device, self.inode]))
    }

    /// A hash of these numbers and the state.
    fn digest(&self, numbers: &[u64]) -> Tag {
        let Version { size, mtime, ctime } = self.version;
        let mut digest = Sha256::new();
        for number in numbers.iter().chain([&size]) {
            digest.update(&number.to_be_bytes());
        }
        for stamp in [mtime, ctime] {
            digest.update(&stamp.seconds.to_be_bytes());
            digest.update(&stamp.nanoseconds.to_be_bytes());
        }
        digest.finish_half()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::PathBuf;

    const NOW: Stamp = Stamp { seconds: 1_000, nanoseconds: 500_000_000 };

    fn some() -> Identity {
        let version = Version { size: 3, mtime: NOW, ctime: NOW };
        Identity { device: 1, inode: 2, keeps_inode: true, version, stored: 512 }
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ropewalk-{}-identity-{name}", std::process::id()))
    }

    #[test]
    fn every_field_but_the_stored_bytes_is_in_the_key_and_all_but_the_device_in_the_tag() {
        let later = Stamp { nanoseconds: 500_000_001, ..NOW };
        let version = some().version;
        let others = [
            Identity { device: 2, ..some() },
            Identity { inode: 3, ..some() },
            Identity { version: Version { size: 4, ..version }, ..some() },
            Identity { version: Version { mtime: later, ..version }, ..some() },
            Identity { version: Version { ctime: later, ..version }, ..some() },
        ];
        for other in others {
            assert!(!other.same_as(&some()), "{other:?}");
            assert_ne!(other.key(), some().key(), "{other:?}");
            let same_tag = other.etag() == some().etag();
            assert_eq!(same_tag, other.device != some().device, "{other:?}");
        }
        let settled = Identity { stored: 4096, ..some() };
        assert!(settled.same_as(&some()));
        assert_eq!((settled.etag(), settled.key()), (some().etag(), some().key()));
    }

    #[test]
    fn an_inode_that_is_made_up_is_in_the_key_only() {
        let (one, other) = (
            Identity { keeps_inode: false, ..some() },
            Identity { keeps_inode: false, inode: 3, ..some() },
        );
        assert_eq!(one.etag(), other.etag());
        assert_ne!(one.key(), other.key());
        assert_ne!(one.etag(), some().etag());
    }

    #[test]
    fn a_folder_is_its_numbers_and_not_its_state() {
        let version = Version { size: 4, ..some().version };
        let tag = some().folder_tag();
        assert_eq!(Identity { version, ..some() }.folder_tag(), tag);
        assert_ne!(Identity { device: 2, ..some() }.folder_tag(), tag);
        assert_ne!(Identity { inode: 3, ..some() }.folder_tag(), tag);
        let made_up = Identity { keeps_inode: false, ..some() };
        assert_eq!(Identity { inode: 3, ..made_up }.folder_tag(), made_up.folder_tag());
        assert_ne!(Identity { device: 2, ..made_up }.folder_tag(), made_up.folder_tag());
    }

    #[test]
    fn the_facts_of_both_calls_are_one_identity() {
        let path = scratch("facts");
        fs::write(&path, b"x").unwrap();
        let file = File::open(&path).unwrap();
        let known = Identity::of(&file, &file.metadata().unwrap());
        let found = Identity::of_status(&Status::of(&file).unwrap(), known.keeps_inode);
        fs::remove_file(path).unwrap();
        assert!(found.same_as(&known));
        assert_eq!((found.tag(), found.stored), (known.tag(), known.stored));
        assert_eq!(hex(&found.tag()), known.etag());
    }

    #[test]
    fn a_tag_is_thirty_two_digits_that_stay_the_same() {
        assert_eq!(some().etag().len(), 32);
        assert_eq!(some().etag(), "e7609301a0ee52c7108321bca4b52978");
    }

    #[test]
    fn a_file_that_is_written_to_has_another_identity() {
        let path = scratch("write");
        let mut file = File::create(&path).unwrap();
        let before = Identity::of(&file, &file.metadata().unwrap());
        assert!(before.same_as(&Identity::of(&file, &fs::metadata(&path).unwrap())));
        file.write_all(b"x").unwrap();
        assert!(!before.same_as(&Identity::of(&file, &file.metadata().unwrap())));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_hole_takes_no_space() {
        let path = scratch("hole");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        let found = Identity::of(&file, &file.metadata().unwrap());
        fs::remove_file(path).unwrap();
        assert_eq!(found.version.size, 1 << 30);
        assert!(found.stored < 1 << 20);
    }

    #[test]
    fn age_counts_from_the_stamp_and_the_future_has_none() {
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        let age = Duration::from_secs(2);
        assert!(NOW.is_older(age, at(1_002_500)));
        assert!(!NOW.is_older(age, at(1_002_499)));
        assert!(!NOW.is_older(age, at(999_000)));
        assert!(Stamp { seconds: -1, nanoseconds: 0 }.is_older(age, at(0)));
    }
}
