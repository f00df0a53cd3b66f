//! The room for uploads: what they have announced and not written yet, and what stays free.

#![forbid(unsafe_code)]

use ropewalk::sys::sync::lock;
use ropewalk::sys::volume::{self, Room};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

/// Bytes that a file takes beside its content.
const ENTRY_BYTES: u64 = 4096;

/// The room for the uploads of a server.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Percent of a file system that stay free.
    keep_free: u64,
    /// Bytes that uploads have announced and not written yet, by the file system's number.
    promised: Arc<Mutex<HashMap<u64, u64>>>,
}

/// Too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The bytes that one upload has announced and not written yet.
#[derive(Debug)]
pub(crate) struct Promise {
    promised: Arc<Mutex<HashMap<u64, u64>>>,
    device: u64,
    left: u64,
}

impl Space {
    /// Keeps so many percent of a file system free.
    pub(crate) fn new(keep_free: u64) -> Space {
        Space { keep_free, promised: Arc::default() }
    }

    /// Promises room for `size` bytes of `file`, which has none yet.
    ///
    /// # Errors
    /// Its file system has too little room.
    pub(crate) fn promise(&self, file: &File, size: u64) -> Result<Promise, Full> {
        let device = file.metadata().map_or(0, |found| found.dev());
        let left = size.saturating_add(ENTRY_BYTES);
        let room = volume::room(file);
        let mut promised = lock(&self.promised);
        let others = promised.get(&device).copied().unwrap_or(0);
        let needed = others.saturating_add(left);
        if room.is_some_and(|room| !self.has_room(&room, needed)) {
            return Err(Full);
        }
        promised.insert(device, needed);
        drop(promised);
        Ok(Promise { promised: self.promised.clone(), device, left })
    }

    /// Whether the file system of `file` has room beside what uploads were promised.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn check_beside_promises(&self, file: &File) -> Result<(), Full> {
        let device = file.metadata().map_or(0, |found| found.dev());
        let promised = lock(&self.promised).get(&device).copied().unwrap_or(0);
        self.check(file, promised)
    }

    /// Whether the file system of `file` has room for `bytes` more.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn check(&self, file: &File, bytes: u64) -> Result<(), Full> {
        match volume::room(file) {
            Some(room) if !self.has_room(&room, bytes) => Err(Full),
            _ => Ok(()),
        }
    }

    fn has_room(&self, room: &Room, bytes: u64) -> bool {
        let kept = |all: u64| (u128::from(all) * u128::from(self.keep_free) / 100) as u64;
        let has_bytes = room.free_bytes >= kept(room.bytes).saturating_add(bytes);
        // The file whose room is asked for has been made.
        has_bytes && (room.files == 0 || room.free_files >= kept(room.files))
    }
}

impl Promise {
    /// Notes that `bytes` were written or taken on the disk.
    pub(crate) fn keep(&mut self, bytes: u64) {
        let kept = bytes.min(self.left);
        self.left -= kept;
        let mut promised = lock(&self.promised);
        if let Some(all) = promised.get_mut(&self.device) {
            *all = all.saturating_sub(kept);
            if *all == 0 {
                promised.remove(&self.device);
            }
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { bytes: 1000, free_bytes: 500, files: 100, free_files: 50 };

    #[test]
    fn the_percent_of_bytes_and_of_files_stay_free() {
        let has_room = |keep_free, room: Room, bytes| Space::new(keep_free).has_room(&room, bytes);
        assert!(has_room(0, ROOM, 500) && !has_room(0, ROOM, 501));
        assert!(has_room(20, ROOM, 300) && !has_room(20, ROOM, 301));
        assert!(!has_room(0, ROOM, u64::MAX) && !has_room(100, ROOM, 0));
        let few_files = Room { free_files: 19, ..ROOM };
        assert!(!has_room(20, few_files, 0) && has_room(19, few_files, 0));
        // Without a fixed number of files, only bytes count.
        assert!(has_room(20, Room { files: 0, free_files: 0, ..ROOM }, 0));
    }

    #[test]
    fn promises_count_until_they_are_kept_or_dropped() {
        let file = File::open(std::env::temp_dir()).unwrap();
        let space = Space::new(0);
        let Some(room) = volume::room(&file) else { return };
        let most = room.free_bytes;
        let half = most / 2 + (1 << 20);
        let mut first = space.promise(&file, half).unwrap();
        assert_eq!(space.promise(&file, half).err(), Some(Full));
        first.keep(half);
        drop(space.promise(&file, half / 2).unwrap());
        drop(first);
        assert!(lock(&space.promised).is_empty());
        assert_eq!(space.promise(&file, u64::MAX).err(), Some(Full));
        assert!(lock(&space.promised).is_empty());
    }
}
