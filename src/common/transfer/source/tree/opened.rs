//! The files of a tree that a stream has open. Requests for one file follow each other, so the
//! last few stay open.

#![forbid(unsafe_code)]

use super::found::Found;
use super::{Refusal, Tree, is_reserved};
use crate::sys::beneath::Folder;
use crate::sys::dir::{self, Status};
use crate::sys::volume;
use crate::transfer::source::identity::{Identity, Tag, sure_data};
use std::fs::File;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The most files that a stream has open.
pub const MAX_OPEN: usize = 4;

/// The most devices of which a stream remembers what they are.
const MAX_DEVICES: usize = 16;

/// An open file of a tree.
#[derive(Debug)]
pub struct Held {
    /// It, opened for reading.
    pub file: File,
    /// What its name showed just before it was opened: the state that the request names.
    pub identity: Identity,
    /// A range of which the file stores every byte, as was found out last.
    pub data: Range<u64>,
    name: Vec<u8>,
}

impl Held {
    /// Whether the open file is the one that the request names, in the same state.
    pub fn is_unchanged(&self) -> bool {
        Status::of(&self.file).is_ok_and(|now| {
            Identity::of_status(&now, self.identity.keeps_inode).same_as(&self.identity)
        })
    }

    /// The refusal for a file that has changed since it was opened: with what it is now.
    pub fn changed(&self) -> Refusal {
        match Status::of(&self.file) {
            Ok(stat) => changed(split(&self.name).1, &stat, self.identity.keeps_inode),
            Err(error) => Refusal::Failed(error),
        }
    }
}

fn changed(name: &[u8], status: &Status, keeps_inode: bool) -> Refusal {
    Refusal::Changed(Box::new(Found::new(name, status, keeps_inode, Vec::new())))
}

/// The name of the folder that a file is in, and the file's name there.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (b"", name),
    }
}

/// What a file system is.
#[derive(Clone, Copy, Debug)]
struct Device {
    number: u64,
    keeps_inodes: bool,
    shows_kernel: bool,
}

/// For so long a folder stays open to look further files up in it. A folder that is moved out of
/// the tree is served for no longer.
const FOLDER_TIME: Duration = Duration::from_millis(500);

/// The folder in which a file was looked up last.
#[derive(Debug)]
struct Looked {
    name: Vec<u8>,
    folder: Folder,
    since: Instant,
}

/// The open files of one stream.
#[derive(Debug, Default)]
pub struct Opened {
    looked: Option<Looked>,
    /// The one that was used last at the end.
    held: Vec<Held>,
    devices: Vec<Device>,
}

impl Opened {
    /// No file yet.
    pub fn new() -> Opened {
        Opened::default()
    }

    /// The names of the files, the one that was used last at the end.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&[u8]> {
        self.held.iter().map(|held| held.name.as_slice()).collect()
    }

    /// Where the file is that was opened in this state and still is in it.
    fn position(&mut self, name: &[u8], wanted: &Tag) -> Option<usize> {
        let at = self.held.iter().position(|held| held.name == name)?;
        let held = &self.held[at];
        if held.is_unchanged() && held.identity.tag() == *wanted {
            return Some(at);
        }
        self.held.remove(at);
        None
    }

    /// Keeps a file open, and closes the one that was not used for the longest time.
    fn keep(&mut self, held: Held) -> usize {
        if self.held.len() >= MAX_OPEN {
            self.held.remove(0);
        }
        self.held.push(held);
        self.held.len() - 1
    }

    /// The file system of an open file, whose name showed `status` just before it was opened.
    ///
    /// # Errors
    /// The name meant another file when it was opened.
    fn device(&mut self, file: &File, status: &Status) -> Result<Device, Refusal> {
        let number = status.device;
        if let Some(known) = self.devices.iter().find(|device| device.number == number) {
            return Ok(*known);
        }
        if Status::of(file).map_err(Refusal::Failed)?.device != number {
            return Err(Refusal::OtherType);
        }
        let keeps_inodes = volume::keeps_inodes(file);
        let device = Device { number, keeps_inodes, shows_kernel: volume::shows_kernel(file) };
        self.devices.truncate(MAX_DEVICES - 1);
        self.devices.push(device);
        Ok(device)
    }
}

impl Tree {
    /// The file `name`, which has to have the identity `wanted`.
    ///
    /// # Errors
    /// It is gone, may not be read, is no regular file, or has another identity.
    pub fn open<'a>(
        &self,
        opened: &'a mut Opened,
        name: &[u8],
        wanted: &Tag,
    ) -> Result<&'a mut Held, Refusal> {
        let at = match opened.position(name, wanted) {
            Some(at) => {
                let held = opened.held.remove(at);
                opened.keep(held)
            }
            None => {
                let held = self.open_anew(opened, name, wanted)?;
                opened.keep(held)
            }
        };
        Ok(&mut opened.held[at])
    }

    fn open_anew(&self, opened: &mut Opened, name: &[u8], wanted: &Tag) -> Result<Held, Refusal> {
        let (parent, base) = split(name);
        if is_reserved(base) || name.starts_with(b"/") {
            return Err(Refusal::Forbidden);
        }
        let folder = self.look_in(opened, parent)?;
        let (file, status) = open_regular(folder, base)?;
        let device = opened.device(&file, &status)?;
        if device.shows_kernel {
            return Err(Refusal::NotEntered);
        }
        let identity = Identity::of_status(&status, device.keeps_inodes);
        if identity.tag() != *wanted {
            return Err(changed(base, &status, device.keeps_inodes));
        }
        let data = sure_data(identity.stored, identity.version.size);
        Ok(Held { file, identity, data, name: name.to_vec() })
    }

    /// The folder `name`: files of one folder are asked for one after the other.
    fn look_in<'a>(&self, opened: &'a mut Opened, name: &[u8]) -> Result<&'a Folder, Refusal> {
        let is_known = opened
            .looked
            .as_ref()
            .is_some_and(|looked| looked.name == name && looked.since.elapsed() < FOLDER_TIME);
        if !is_known {
            opened.looked = None;
            let folder = match self.enter(name) {
                // It has become a file or a link.
                Err(Refusal::OtherType) => return Err(Refusal::Gone),
                entered => entered?,
            };
            let since = Instant::now();
            opened.looked = Some(Looked { name: name.to_vec(), folder, since });
        }
        opened.looked.as_ref().map(|looked| &looked.folder).ok_or(Refusal::Gone)
    }
}

/// Opens a file after a look at its type: opening a device may do something. Returns what the look
/// showed. What is opened may be another file by then: whether it is in this state is looked at
/// after its bytes were read.
fn open_regular(folder: &Folder, name: &[u8]) -> Result<(File, Status), Refusal> {
    if matches!(name, b"." | b"..") {
        return Err(Refusal::Forbidden);
    }
    let status = folder.status_of(name)?;
    if status.kind != dir::Kind::File {
        return Err(Refusal::OtherType);
    }
    let file = folder.open_file(name).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO | libc::ENODEV) => Refusal::OtherType, // a socket or a device by now
        _ => Refusal::from(error),
    })?;
    Ok((file, status))
}
