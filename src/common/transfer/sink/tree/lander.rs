//! The thread that puts complete files in place: durable in groups, then under their names. Then
//! it gives finished folders their times, from the bottom up.

#![forbid(unsafe_code)]

use super::{Here, Meta, TreeSink, deletion, large};
use crate::codec::message::report::Act;
use crate::error::{Error, Result};
use crate::transfer::link::End;
use crate::transfer::queue::board::entries::{Fate, File, FileId};
use crate::transfer::queue::board::{Finished, Landing};
use crate::transfer::store::tree::{Complete, Number, Target, Tree};
use crate::transfer::timing::Timing;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// So many bytes begin a sync.
const ENOUGH: u64 = 256 << 20;

/// A group waits this many times as long as the last landing took, which is its sync and its
/// renames: so the disk has nine tenths of its time for writing.
const LANDING_SHARE: u32 = 10;

/// Puts in place what is complete until the board ends, also when it ends early.
pub(super) fn run(sink: &TreeSink) {
    let is_durable = sink.wanted.store.as_ref().is_some_and(Tree::is_durable);
    let (mut ended, mut took) = (Instant::now(), Duration::ZERO);
    loop {
        let (enough, until) = match is_durable {
            true => (ENOUGH, ended + pause(took, &sink.health.timing)),
            false => (0, ended),
        };
        if !sink.board.wait_to_land(enough, until) {
            break;
        }
        let begun = Instant::now();
        if let Err(error) = land(sink, sink.board.take_landing()) {
            sink.fail(error);
            return;
        }
        (ended, took) = (Instant::now(), begun.elapsed());
    }
    if let Some(store) = sink.wanted.store.as_ref().filter(|_| is_durable) {
        if let Err(error) = store.sync_names() {
            sink.fail(Error::system(&sink.wanted.shown, &error));
        }
    }
}

/// How long a group is collected after a landing that took this long.
fn pause(took: Duration, timing: &Timing) -> Duration {
    took.saturating_mul(LANDING_SHARE).max(timing.soonest_landing).min(timing.latest_landing)
}

/// Lands one group.
///
/// # Errors
/// A failed sync, after which no file of the group gets its name; or a disk that is full.
fn land(sink: &TreeSink, landing: Landing<Meta>) -> Result<()> {
    let Landing { files, folders } = landing;
    if let Some(store) = sink.wanted.store.as_ref().filter(|store| store.is_durable()) {
        let complete = || files.iter().filter_map(|file| complete(&file.meta));
        if let Err(error) = store.sync_files(complete()) {
            complete().for_each(|complete| store.distrust(complete));
            large::distrust_all(sink);
            return Err(Error::system(&sink.wanted.shown, &error));
        }
    }
    let mut landed: Vec<FileId> = Vec::with_capacity(files.len());
    for file in &files {
        match place(sink, file) {
            Ok(()) => landed.push(file.id),
            Err(error) => {
                sink.refuse_here(&file.path(), &error)?;
                sink.board.not_landed(file.id, Fate::Refused);
            }
        }
    }
    for finished in &folders {
        finish(sink, finished)?;
    }
    let folders: Vec<_> = folders.iter().map(|finished| finished.folder.id).collect();
    sink.board.landed(&landed, &folders);
    Ok(())
}

/// A file that is complete under its temporary name.
fn complete(meta: &Meta) -> Option<&Complete> {
    match &meta.here {
        Here::File { complete, .. } => complete.get(),
        Here::Folder { .. } | Here::Done => None,
    }
}

/// Puts one file in place; or a further name of one that is in place.
fn place(sink: &TreeSink, file: &File<Meta>) -> io::Result<()> {
    let (Some(store), Here::File { target, complete }) = (&sink.wanted.store, &file.meta.here)
    else {
        return Ok(());
    };
    let (name, target) = (OsStr::from_bytes(&file.name), *target);
    let empty;
    let complete = match complete.get() {
        Some(complete) => complete,
        // A file that became empty while it was asked for.
        None => {
            let path = file.folder.meta.path().ok_or(io::ErrorKind::NotFound)?;
            let attributes = sink.attributes(&file.meta);
            let new = store.create(path, name, target, &attributes)?;
            empty = store.complete(new, 0, &attributes)?;
            &empty
        }
    };
    let (inode, path) = (sink.inode(&file.meta), complete.folder());
    match sink.link_to_first(store, (path, name), inode, target) {
        Ok(true) => store.discard(complete),
        Ok(false) => {
            put(store, complete, target, name)?;
            // The file is in place: what fails now makes it a copy, and nothing worse.
            let placed = inode.and_then(|_| store.look(path, name).ok().flatten());
            let is_first = |found| sink.become_first(inode, (path, name), Number::of(&found));
            if !placed.is_none_or(is_first) {
                // A stream has kept another name meanwhile, or there is no room to know more files.
                let is_link = sink.link_to_first(store, (path, name), inode, Target::Present);
                sink.has_copies.fetch_or(!is_link.unwrap_or(false), Ordering::Relaxed);
            }
        }
        Err(error) => {
            store.leave(complete);
            return Err(error);
        }
    }
    sink.tell(Act::File, || file.path());
    Ok(())
}

fn put(store: &Tree, complete: &Complete, target: Target, name: &OsStr) -> io::Result<()> {
    match store.put_in_place(complete) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && target == Target::Absent => {
            let words = format!(
                "another name that this file system takes for {:?} was put in place meanwhile",
                name
            );
            Err(io::Error::new(io::ErrorKind::AlreadyExists, words))
        }
        put => put,
    }
}

/// Gives a folder its mode and its times.
fn finish(sink: &TreeSink, finished: &Finished<Meta>) -> Result<()> {
    deletion::compare(sink, finished);
    let (Some(store), Some(path)) = (&sink.wanted.store, finished.folder.meta.path()) else {
        return Ok(());
    };
    if sink.wanted.options.dry_run {
        return Ok(());
    }
    match store.finish_folder(path, &sink.attributes(&finished.folder.meta)) {
        Ok(()) => Ok(()),
        Err(error) => sink.refuse_here(path.as_bytes(), &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_ten_times_the_last_landing_within_limits() {
        let timing = Timing::default();
        let paused = |milliseconds| pause(Duration::from_millis(milliseconds), &timing);
        assert_eq!(paused(50), Duration::from_millis(500));
        assert_eq!(paused(0), timing.soonest_landing);
        assert_eq!(paused(60_000), timing.latest_landing);
    }
}
