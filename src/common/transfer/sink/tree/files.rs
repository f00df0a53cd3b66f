//! What becomes of a file that the sink asked for: it is begun, completed, given up here, or not to be
//! had from the source.

#![forbid(unsafe_code)]

use super::entries::TOO_LARGE;
use super::large::{self, Large};
use super::{Here, Meta, TreeSink};
use crate::codec::message::report::Act;
use crate::codec::wire::RefusalCode;
use crate::error::{Error, Result};
use crate::sys::dir::{Kind as FileKind, Status};
use crate::sys::file::has_same_bytes;
use crate::transfer::queue;
use crate::transfer::queue::board::entries::{Fate, File};
use crate::transfer::source::identity::Identity;
use crate::transfer::store::tree::{NewFile, Target};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// What becomes of the bytes of a small file.
pub(super) enum Writing {
    /// None has come.
    Before,
    /// They are written.
    To(NewFile),
    /// They are of no use: another stream was first, or something was wrong.
    Nowhere,
}

/// What the source says a file is now.
pub(super) struct Change {
    /// Whether it still is a file.
    pub(super) is_file: bool,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The rest.
    pub(super) meta: Meta,
}

impl TreeSink {
    /// A large file cannot be had from the source, or is another one now.
    pub(super) fn large_not_had(&self, large: &Large, code: RefusalCode, changed: Option<Change>) {
        let is_over = large.queue.end() == Some(queue::End::Aborted);
        if !is_over && large::discard(self, large) {
            self.not_had(&large.file, code, changed);
        }
    }

    /// Creates a small file that stream `number` has taken.
    pub(super) fn begin(&self, file: &File<Meta>, number: usize) -> Result<Writing> {
        let name = OsStr::from_bytes(&file.name);
        let (Here::File { target, .. }, Some(path), Some(store)) =
            (&file.meta.here, file.folder.meta.path(), &self.wanted.store)
        else {
            self.board.put_back(number);
            return Err(Error::internal("a file has no place"));
        };
        match store.create(path, name, *target, &self.attributes(&file.meta)) {
            Ok(new) => Ok(Writing::To(new)),
            Err(error) => self.give_up(file, &error).map(|()| Writing::Nowhere),
        }
    }

    /// A small file cannot be put in place here.
    pub(super) fn give_up(&self, file: &File<Meta>, error: &io::Error) -> Result<()> {
        self.board.leave(file.id, Fate::Refused);
        self.refuse_here(&file.path(), error)
    }

    /// Every byte of a small file is written.
    pub(super) fn complete(&self, file: &File<Meta>, new: NewFile, number: usize) -> Result<()> {
        let Some(store) = &self.wanted.store else { return Ok(()) };
        match self.keep_if_same(file, |old| has_same_bytes(old, new.file(), 0..file.size)) {
            Ok(false) => {}
            decided => {
                // Its name goes before its folder can be finished, which sets the folder's mtime.
                drop(new);
                return self.end_kept(file, decided.map(drop));
            }
        }
        match store.complete(new, file.size, &self.attributes(&file.meta)) {
            Ok(complete) => {
                if let Here::File { complete: place, .. } = &file.meta.here {
                    let _ = place.set(complete);
                }
                self.board.written(number);
                Ok(())
            }
            Err(error) => self.give_up(file, &error),
        }
    }

    /// The older file stays, or its place fails.
    pub(super) fn end_kept(&self, file: &File<Meta>, kept: io::Result<()>) -> Result<()> {
        match kept {
            Ok(()) => {
                self.board.leave(file.id, Fate::Same);
                Ok(())
            }
            Err(error) => self.give_up(file, &error),
        }
    }

    /// Where contents are compared: whether the older file stays, since `is_same` finds the new bytes
    /// in it. The older file gets the mode, owner and mtime of the source's.
    ///
    /// # Errors
    /// What `is_same` says if the run has ended; errors of the system, which concern the place of the
    /// file.
    pub(super) fn keep_if_same(
        &self,
        file: &File<Meta>,
        is_same: impl FnOnce(&fs::File) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let (Here::File { target: Target::Present, .. }, Some(path), Some(store), true) = (
            &file.meta.here,
            file.folder.meta.path(),
            &self.wanted.store,
            self.wanted.options.checksum,
        ) else {
            return Ok(false);
        };
        let name = OsStr::from_bytes(&file.name);
        let Some(found) = store.look(path, name)? else { return Ok(false) };
        if found.kind != FileKind::File || found.size != file.size {
            return Ok(false);
        }
        let Some(old) = store.open_older(path, name).ok().flatten() else { return Ok(false) };
        match is_same(&old) {
            Ok(true) => {}
            Err(error) if self.board.end().is_some() => return Err(error),
            // What cannot be read is replaced.
            Ok(false) | Err(_) => return Ok(false),
        }
        if !self.may_stay(&found, &file.meta) {
            return Ok(false);
        }
        // It may have changed while it was compared.
        let state = |status: &Status| Identity::of_status(status, true);
        if !store.look(path, name)?.is_some_and(|now| state(&now).same_as(&state(&found))) {
            return Ok(false);
        }
        self.link_or_dress(store, (path, name), &found, &file.meta)?;
        Ok(true)
    }

    /// A file cannot be had from the source, or is another one now.
    pub(super) fn not_had(&self, file: &File<Meta>, code: RefusalCode, changed: Option<Change>) {
        match (code, changed) {
            (RefusalCode::Gone, _) => _ = self.board.leave(file.id, Fate::Gone),
            (RefusalCode::NotEntered, _) => {
                if self.board.leave(file.id, Fate::Skipped) {
                    self.tell(Act::Skipped, || file.path());
                }
            }
            (_, Some(Change { is_file: true, size, .. })) if self.is_too_large(size) => {
                if self.board.leave(file.id, Fate::Refused) {
                    self.tell_refused(&file.path(), TOO_LARGE);
                }
            }
            (_, Some(Change { is_file: true, size, meta })) => {
                let target = match &file.meta.here {
                    Here::File { target, .. } => *target,
                    Here::Folder { .. } | Here::Done => Target::Present,
                };
                let meta = Meta { here: Here::file(target), ..meta };
                if self.board.change(file.id, size, meta) {
                    let words = format!("it keeps changing on the {}", self.health.source());
                    self.tell_refused(&file.path(), &words);
                }
            }
            _ => {
                if self.board.leave(file.id, Fate::Refused) {
                    self.tell_refused(&file.path(), &words(code, self.health.source()));
                }
            }
        }
    }
}

/// Why the source does not answer.
pub(super) fn words(code: RefusalCode, source: &str) -> String {
    match code {
        RefusalCode::Gone => format!("it has vanished from the {source}"),
        RefusalCode::Forbidden => format!("the {source} may not read it"),
        RefusalCode::Changed => format!("it changed on the {source}"),
        RefusalCode::OtherType => format!("it is of another type on the {source} now"),
        RefusalCode::Unreadable => format!("the {source} cannot read it"),
        RefusalCode::NotEntered => {
            format!("it is on a file system that the {source} does not enter")
        }
        RefusalCode::Other(_) => format!("the {source} refuses it"),
    }
}
