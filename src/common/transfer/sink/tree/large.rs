//! A large file of a tree while it is fetched: its queue, its file and journal, and the older
//! file that it may have bytes of.

#![forbid(unsafe_code)]

use super::super::delta::Delta;
use super::super::{audit, checkpoint};
use super::{Here, Meta, TreeSink};
use crate::codec::text::escape;
use crate::codec::wire::HASH_UNIT;
use crate::error::{Error, Result};
use crate::hash::hex;
use crate::sys::file;
use crate::sys::sync::lock;
use crate::transfer::link::End;
use crate::transfer::queue::board::entries::{Fate, File};
use crate::transfer::queue::ranges::RangeSet;
use crate::transfer::queue::{self, Queue};
use crate::transfer::store::journal::{self, Journal, Subject};
use crate::transfer::store::partial::{self, Found};
use crate::transfer::store::space;
use crate::transfer::store::tree::{FolderPath, NewFile, Target, Tree};
use crate::transfer::store::{Kept, Store};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes that are compared before the next look at whether the run has ended.
const COMPARED: u64 = 4 << 20;

/// A large file.
pub(super) struct Large {
    pub(super) file: Arc<File<Meta>>,
    pub(super) queue: Arc<Queue>,
    /// The file and its journal.
    pub(super) store: Store,
    pub(super) delta: Option<Delta>,
    /// Whether its MD5 is the source's, or need not be compared.
    pub(super) is_compared: AtomicBool,
    /// The same file, until it is complete or given up.
    new: Mutex<Option<NewFile>>,
}

impl Large {
    /// The file, for the one thread that completes it or gives it up.
    pub(super) fn take_new(&self) -> Option<NewFile> {
        lock(&self.new).take()
    }
}

/// Opens the output of a file, and lets the board have its queue.
///
/// # Errors
/// No entry can be put in place here any more.
pub(super) fn open(sink: &TreeSink, file: Arc<File<Meta>>) -> Result<()> {
    match try_open(sink, &file) {
        Ok(large) => {
            let large = Arc::new(large);
            lock(&sink.large).insert(file.id, large.clone());
            if !sink.board.opened(file.id, large.queue.clone()) {
                lock(&sink.large).remove(&file.id);
                return Ok(());
            }
            if let Some(opened) = &*lock(&sink.opened) {
                let _ = opened.send(large);
            }
            Ok(())
        }
        Err(Refused::Here(error)) => {
            sink.board.leave(file.id, Fate::Refused);
            sink.refuse_here(&file.path(), &error)
        }
        Err(Refused::Space(error)) => Err(error),
    }
}

/// Why a file cannot be opened.
enum Refused {
    Here(io::Error),
    /// The disk has no room for it.
    Space(Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Here(error)
    }
}

fn try_open(sink: &TreeSink, file: &Arc<File<Meta>>) -> std::result::Result<Large, Refused> {
    let gone = || io::Error::from_raw_os_error(libc::ENOENT);
    let store = sink.wanted.store.as_ref().ok_or_else(gone)?;
    let folder = file.folder.meta.path().ok_or_else(gone)?;
    let Here::File { target, .. } = file.meta.here else { return Err(gone().into()) };
    let name = OsStr::from_bytes(&file.name);
    let opened = store.open_large(folder, name, target)?;
    let subject = Subject {
        name: file.name.to_vec(),
        etag: hex(&file.meta.identity).into_bytes(),
        size: file.size,
    };
    let sync = store.is_durable();
    begin(opened.file.file(), &opened.journal, &subject, opened.found, sync)?;
    let (_, journal, contents) = Journal::open(opened.journal)?.ok_or_else(gone)?;
    let had = journal::bytes_of(&contents);
    let shown = format!("{}/{}", sink.wanted.shown, escape(&file.path()));
    // What a stranger announces is not taken on the disk before it comes.
    let stored = if sink.wanted.limits.is_some() { 0 } else { file.meta.stored };
    space::reserve(opened.file.file(), file.size, stored, had, &shown).map_err(Refused::Space)?;
    let delta = older(sink, store, folder, name, target).and_then(|old| Delta::new(old).ok());
    let part = opened.file.file().try_clone()?;
    let store = Store::Kept(Kept { part, journal, contents, sync, basis: None });
    let queue = queue_of(sink, file.size, &store.held(), delta.is_some());
    let new = Mutex::new(Some(opened.file));
    let is_compared = AtomicBool::new(!sink.compares_md5_of(file.size));
    Ok(Large { file: file.clone(), queue: Arc::new(queue), store, delta, is_compared, new })
}

/// Goes on with what an earlier run left of the same state of the file, or starts over.
fn begin(
    part: &fs::File,
    journal: &fs::File,
    subject: &Subject,
    was_there: bool,
    sync: bool,
) -> io::Result<()> {
    let found = if was_there { partial::find(part, journal, subject)? } else { Found::Nothing };
    if !matches!(found, Found::Bytes(_)) {
        partial::start_over(part, journal, subject, sync)?;
    }
    if sync {
        file::sync(journal)?;
    }
    Ok(())
}

/// The file that is here now, if the new one may have bytes of it.
fn older(
    sink: &TreeSink,
    store: &Tree,
    folder: &FolderPath,
    name: &OsStr,
    target: Target,
) -> Option<fs::File> {
    if target != Target::Present || sink.wanted.options.whole {
        return None;
    }
    store.open_older(folder, name).ok().flatten()
}

fn queue_of(sink: &TreeSink, size: u64, held: &RangeSet, has_delta: bool) -> Queue {
    let piece = sink.block(0);
    match has_delta {
        false => Queue::new(size, piece, held).with_timing(&sink.health.timing),
        true => Queue::new(size, piece.next_multiple_of(HASH_UNIT), held)
            .with_timing(&sink.health.timing.with_hashes())
            .with_aligned_pieces(),
    }
}

/// Checks what an earlier run left, and makes durable what comes, until the queue ends.
pub(super) fn keep(sink: &TreeSink, large: &Large) {
    let Store::Kept(kept) = &large.store else { return };
    let time = sink.health.timing.checkpoint;
    audit::run(&large.queue, kept, || sink.board.wake());
    if let Err(error) = bytes_came(sink, large) {
        return sink.fail(error);
    }
    if kept.sync {
        if let Err(error) = checkpoint::run(&large.queue, kept, time) {
            sink.fail(Error::system(&sink.wanted.shown, &error));
        }
    }
    if sink.wanted.options.checksum {
        while !large.queue.wait_for_end(time) {}
        if let Err(error) = complete_if_whole(sink, large) {
            sink.fail(error);
        }
    }
}

/// Completes a file if it is whole. No stream waits for the comparison of contents: the file's own
/// thread makes it.
///
/// # Errors
/// As for [`complete_if_whole`].
pub(super) fn bytes_came(sink: &TreeSink, large: &Large) -> Result<()> {
    match sink.wanted.options.checksum {
        true => Ok(()),
        false => complete_if_whole(sink, large),
    }
}

/// Completes a file of which every byte is written and checked: it waits for its sync then.
///
/// # Errors
/// No entry can be put in place here any more.
pub(super) fn complete_if_whole(sink: &TreeSink, large: &Large) -> Result<()> {
    let is_whole = large.queue.end() == Some(queue::End::Complete);
    if !is_whole || !large.is_compared.load(Ordering::Acquire) {
        return Ok(());
    }
    let (Some(mut new), Some(store)) = (large.take_new(), &sink.wanted.store) else {
        return Ok(()); // another thread was first
    };
    let file = &large.file;
    let is_same = |old: &fs::File| match &large.delta {
        Some(delta) if delta.is_whole(old, new.file(), file.size)? => Ok(true),
        // Holes, bytes of an earlier run and late copies have no hash.
        _ => has_same_bytes(sink, old, new.file(), file.size),
    };
    match sink.keep_if_same(file, is_same) {
        Ok(false) => {}
        // The run has ended: the file stays with its journal.
        Err(_) if sink.board.end().is_some() => return Ok(()),
        decided => {
            lock(&sink.large).remove(&file.id);
            new.discard();
            drop(new); // before its folder can be finished
            return sink.end_kept(file, decided.map(drop));
        }
    }
    let done = store.complete(new, file.size, &sink.attributes(&file.meta));
    lock(&sink.large).remove(&file.id);
    match done {
        Ok(complete) => {
            if let Here::File { complete: place, .. } = &file.meta.here {
                let _ = place.set(complete);
            }
            sink.board.complete(file.id);
            Ok(())
        }
        Err(error) => {
            sink.board.leave(file.id, Fate::Refused);
            sink.refuse_here(&file.path(), &error)
        }
    }
}

/// Whether an older file has every byte of the new one. What is a hole in both is not read.
///
/// # Errors
/// `Interrupted` if the run has ended; errors of the system.
fn has_same_bytes(sink: &TreeSink, old: &fs::File, new: &fs::File, size: u64) -> io::Result<bool> {
    let mut start = 0;
    while start < size {
        if sink.board.end().is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let data =
            |file| file::next_data(file, start).map(|at| at.unwrap_or(size)).unwrap_or(start);
        start = data(old).min(data(new)).min(size);
        let end = size.min(start + COMPARED);
        if !file::has_same_bytes(old, new, start..end)? {
            return Ok(false);
        }
        start = end;
    }
    Ok(true)
}

/// A sync has failed, which may have lost bytes of any file: of those in progress only what was
/// durable before counts in the next run.
pub(super) fn distrust_all(sink: &TreeSink) {
    for large in lock(&sink.large).values() {
        if let Store::Kept(kept) = &large.store {
            let _ = kept.journal.distrust();
        }
    }
}

/// Gives up a file: nothing of it stays. False if another thread completes it, or has given it up:
/// that thread tells the board.
pub(super) fn discard(sink: &TreeSink, large: &Large) -> bool {
    let Some(mut new) = large.take_new() else { return false };
    lock(&sink.large).remove(&large.file.id);
    new.discard();
    true
}
