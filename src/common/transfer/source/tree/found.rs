//! What a source finds under a name in a folder.

#![forbid(unsafe_code)]

use super::{has_vanished, is_reserved};
use crate::codec::entry::{Entry, EntryType};
use crate::hash::Sha256;
use crate::sys::beneath::Folder;
use crate::sys::dir::{self, Status};
use crate::sys::volume;
use crate::transfer::source::identity::{Identity, Stamp, Tag};
use std::num::NonZeroU64;

/// How often a name is looked at again that is a link and then is none.
const MAX_SWAPS: usize = 8;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// A FIFO, a socket, a device, or a file in progress: not sent.
    Other,
    /// Something that the source cannot look at. Only the name is known.
    Unreadable,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name in its folder: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits with set-id and sticky bits: 12 bits.
    pub mode: u16,
    /// When its bytes were last written.
    pub mtime: Stamp,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes of a file; 0 of anything else.
    pub size: u64,
    /// Bytes that a file takes on the disk; 0 of anything else.
    pub stored: u64,
    /// What all names of one file have in common; `None` where there is only one.
    pub inode_tag: Option<NonZeroU64>,
    /// Which state of it; of a folder, which folder.
    pub identity: Tag,
}

impl Found {
    /// The entry `name` of which `status` was read.
    pub(super) fn new(name: &[u8], status: &Status, keeps_inode: bool, text: Vec<u8>) -> Found {
        let identity = Identity::of_status(status, keeps_inode);
        let kind = match status.kind {
            _ if is_reserved(name) => Kind::Other,
            dir::Kind::File => Kind::File,
            dir::Kind::Folder => Kind::Folder,
            dir::Kind::Link => Kind::Link(text),
            dir::Kind::Special => Kind::Other,
        };
        let is_file = kind == Kind::File;
        let is_shared = kind != Kind::Folder && status.links > 1;
        Found {
            name: name.to_vec(),
            mode: status.mode as u16,
            mtime: identity.version.mtime,
            uid: status.user,
            gid: status.group,
            size: if is_file { status.size } else { 0 },
            stored: if is_file { identity.stored } else { 0 },
            inode_tag: if is_shared { inode_tag(status) } else { None },
            identity: match kind {
                Kind::Folder => identity.folder_tag(),
                _ => identity.tag(),
            },
            kind,
        }
    }

    fn unreadable(name: &[u8]) -> Found {
        Found {
            name: name.to_vec(),
            kind: Kind::Unreadable,
            mode: 0,
            mtime: Stamp { seconds: 0, nanoseconds: 0 },
            uid: 0,
            gid: 0,
            size: 0,
            stored: 0,
            inode_tag: None,
            identity: Tag::default(),
        }
    }

    /// The entry, as it goes over a stream.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            name: &self.name,
            entry_type: match &self.kind {
                Kind::File => EntryType::File,
                Kind::Folder => EntryType::Folder,
                Kind::Link(text) => EntryType::Link(text),
                Kind::Other => EntryType::Other,
                Kind::Unreadable => EntryType::Unreadable,
            },
            mode: self.mode,
            mtime: self.mtime,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            stored: self.stored,
            inode_tag: self.inode_tag,
            identity: self.identity,
        }
    }
}

fn inode_tag(status: &Status) -> Option<NonZeroU64> {
    let mut digest = Sha256::new();
    digest.update(&status.device.to_be_bytes());
    digest.update(&status.inode.to_be_bytes());
    let bytes = digest.finish().first_chunk().copied().unwrap_or_default();
    NonZeroU64::new(u64::from_be_bytes(bytes))
}

/// Looks at the names of one folder.
pub(super) struct Look<'a> {
    folder: &'a Folder,
    /// Whether inodes are kept, by device. More than one where something is mounted.
    keeps: Vec<(u64, bool)>,
}

impl<'a> Look<'a> {
    /// At the names of `folder`, which itself shows `status`.
    pub(super) fn new(folder: &'a Folder, status: &Status) -> Look<'a> {
        Look { folder, keeps: vec![(status.device, volume::keeps_inodes(folder))] }
    }

    /// Whether what is under `name`, with these facts, keeps its inode over a new mount.
    fn keeps_inode(&mut self, name: &[u8], status: &Status) -> bool {
        if let Some(known) = self.keeps.iter().find(|(device, _)| *device == status.device) {
            return known.1;
        }
        let keeps = self.folder.keeps_inodes_of(name).unwrap_or(false);
        self.keeps.push((status.device, keeps));
        keeps
    }

    /// What `name` is; `None` if it has vanished.
    pub(super) fn at(&mut self, name: &[u8]) -> Option<Found> {
        for _ in 0..MAX_SWAPS {
            let looked = self.folder.status_of(name).and_then(|status| {
                let is_link = status.kind == dir::Kind::Link;
                let text = if is_link { self.folder.link_text(name)? } else { Vec::new() };
                Ok((status, text))
            });
            match looked {
                // A link has a text; a file system that has none for it is damaged.
                Ok((status, text)) if status.kind != dir::Kind::Link || !text.is_empty() => {
                    let keeps = self.keeps_inode(name, &status);
                    return Some(Found::new(name, &status, keeps, text));
                }
                Err(error) if has_vanished(&error) => return None,
                // It was a link, and now is something else.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Ok(_) | Err(_) => break,
            }
        }
        Some(Found::unreadable(name))
    }
}
