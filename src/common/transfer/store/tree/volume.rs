//! A file system that a part of a tree is on, and how files on it become durable.

#![forbid(unsafe_code)]

use crate::sys::beneath::{self, Lookup};
use crate::sys::dir::Dir;
use crate::sys::volume;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// A file system, open since before the first write to it: a descriptor tells only of failed
/// writes after its opening.
pub(super) struct Volume {
    device: u64,
    file: File,
    /// Whether one sync covers all files, and tells of every failure.
    syncs_whole: bool,
}

impl Volume {
    /// The file system of a folder.
    pub(super) fn of(dir: &Dir) -> io::Result<Volume> {
        let device = dir.status()?.device;
        // A folder that may not be listed cannot be synced; its files can.
        let again = beneath::open_dir(dir.as_fd(), b".", Lookup::Best);
        let file = match again {
            Ok(file) => file,
            Err(_) => File::from(dir.as_fd().try_clone_to_owned()?),
        };
        let syncs_whole = volume::reports_failed_writes(&file);
        Ok(Volume { device, file, syncs_whole })
    }

    /// A file system whose sync fails.
    #[cfg(test)]
    pub(super) fn broken(dir: &Dir) -> io::Result<Volume> {
        let device = dir.status()?.device;
        // A descriptor for lookups only cannot be synced.
        let file = File::from(beneath::open_folder(std::path::Path::new("/"))?);
        Ok(Volume { device, file, syncs_whole: true })
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Whether [`Volume::sync`] makes files durable. Else each needs a sync of its own.
    pub(super) fn syncs_whole(&self) -> bool {
        self.syncs_whole
    }

    /// Waits until everything on it is on its disk. Errors of a file system that does not tell of
    /// all are ignored.
    pub(super) fn sync(&self) -> io::Result<()> {
        match volume::sync(&self.file) {
            Err(_) if !self.syncs_whole => Ok(()),
            synced => synced,
        }
    }
}
