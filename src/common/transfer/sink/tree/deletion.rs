//! Deletes what the source does not have, at the end of a run. A folder is compared when its
//! listing has come whole. Only those folders are remembered that have something to delete.

#![forbid(unsafe_code)]

use super::meta::Names;
use super::{Here, Meta, TreeSink};
use crate::codec::message::report::Act;
use crate::codec::message::tree_options::Delete;
use crate::codec::text::escape;
use crate::error::Error;
use crate::sys::sync::lock;
use crate::transfer::queue::board::Finished;
use crate::transfer::store::tree::limits::{self, Census, Excess, Limit};
use crate::transfer::store::tree::{self, Case, FolderPath, Removed};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most names of the source that are held, over all folders: 128 MiB.
const MAX_NAMES: usize = 16 << 20;

/// What is to be deleted.
pub(super) struct Deletion {
    /// No peer knows its key, so no peer chooses names of one hash.
    hasher: RandomState,
    /// How many names may still be held.
    room: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Folders with entries that the source lacks, what case means there, and the hashes of the
    /// names that it has.
    folders: Vec<(FolderPath, Case, Vec<u64>)>,
    /// Entries of the source.
    source: u64,
    /// Entries that were here before the run.
    before: u64,
    /// Those of them that are to go.
    doomed: u64,
}

impl Deletion {
    pub(super) fn new() -> Deletion {
        Deletion::with_room(MAX_NAMES)
    }

    fn with_room(room: usize) -> Deletion {
        let room = AtomicUsize::new(room);
        Deletion { hasher: RandomState::new(), room, state: Mutex::default() }
    }

    /// The source has this name in a folder.
    pub(super) fn remember(&self, names: &mut Names, name: &[u8]) {
        if names.is_cut {
            return;
        }
        if self.take_room() {
            names.hashes.push(self.hash_of(names.case.unwrap_or_default(), name));
        } else {
            self.let_go(&mut names.hashes);
            names.is_cut = true;
        }
    }

    /// Whether a name was taken already, in a folder where case is ignored. Takes it if not.
    pub(super) fn take_name(&self, names: &mut Names, name: &[u8]) -> bool {
        let hash = self.hash_of(Case::Ignored, name);
        names.taken.contains(&hash) || {
            if self.take_room() {
                names.taken.insert(hash);
            }
            false
        }
    }

    /// Takes the room for one more name.
    fn take_room(&self) -> bool {
        let less = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Names of a folder are not needed any more.
    fn let_go(&self, hashes: &mut Vec<u64>) {
        self.room.fetch_add(hashes.len(), Ordering::Relaxed);
        *hashes = Vec::new();
    }

    /// The hash of a name in a folder where case means this.
    fn hash_of(&self, case: Case, name: &[u8]) -> u64 {
        self.hasher.hash_one(&*case.key(name))
    }
}

/// Compares a folder whose entries are all in place: counts what the source lacks.
pub(super) fn compare(sink: &TreeSink, finished: &Finished<Meta>) {
    let Here::Folder { path, is_new, names } = &finished.folder.meta.here else { return };
    let taken = std::mem::take(&mut lock(names).taken);
    sink.deletion.room.fetch_add(taken.len(), Ordering::Relaxed);
    if sink.wanted.options.delete == Delete::Nothing || !finished.is_whole {
        return;
    }
    let mut names = std::mem::take(&mut *lock(names));
    if names.is_cut {
        let shown = escape(&finished.folder.path());
        return sink.warn(format!("{shown}: nothing is deleted there: it has too many names"));
    }
    names.hashes.sort_unstable();
    let case = names.case.unwrap_or_default();
    let removed = match path {
        Some(path) if !is_new => {
            let mut ignore = |_: &[u8], _: io::Result<_>| {};
            remove(sink, path, (case, &names.hashes), tree::Act::Count, &mut ignore)
        }
        _ => Ok(Removed::default()),
    };
    match (removed, path) {
        (Ok(removed), Some(path)) => {
            let mut state = lock(&sink.deletion.state);
            state.source += names.hashes.len() as u64;
            // What cannot be looked at counts as one entry: nothing below it can be removed either.
            let doomed = removed.entries() + removed.refused;
            state.before += names.before + doomed;
            state.doomed += doomed;
            match doomed > 0 {
                true => state.folders.push((path.clone(), case, names.hashes)),
                false => sink.deletion.let_go(&mut names.hashes),
            }
        }
        (Ok(_), None) => sink.deletion.let_go(&mut names.hashes),
        (Err(error), _) => {
            sink.has_failed_here.store(true, Ordering::Relaxed);
            sink.board.deleted(0, 1);
            let text = Error::system(escape(&finished.folder.path()), &error);
            sink.warn(format!("nothing can be deleted: {text}"));
        }
    }
}

/// Deletes, if that is wanted and allowed. In a dry run it only tells of it.
pub(super) fn run(sink: &TreeSink) {
    let options = &sink.wanted.options;
    let limit = match options.delete {
        Delete::Nothing => return,
        Delete::Half => Limit::Half,
        Delete::AtMost(most) => Limit::AtMost(most),
    };
    let state = std::mem::take(&mut *lock(&sink.deletion.state));
    let State { folders, source, before, doomed } = state;
    if doomed == 0 {
        return;
    }
    if sink.has_failed_here.load(Ordering::Relaxed) {
        return sink.warn(format!("{doomed} entries were not deleted, since there were errors"));
    }
    if let Err(excess) = limits::check(limit, Census { source, before, doomed }) {
        sink.is_delete_refused.store(true, Ordering::Relaxed);
        return sink.warn(words(excess, doomed, before));
    }
    let act = if options.dry_run { tree::Act::Count } else { tree::Act::Remove };
    for (path, case, hashes) in folders {
        let mut told = |path: &[u8], done: io::Result<_>| match done {
            Ok(_) => sink.tell(Act::Deleted, || path),
            Err(error) => sink.tell_refused(path, &sink.health.words_here(&error)),
        };
        match remove(sink, &path, (case, &hashes), act, &mut told) {
            Ok(removed) => sink.board.deleted(removed.entries(), removed.refused),
            Err(error) => {
                sink.tell_refused(path.as_bytes(), &sink.health.words_here(&error));
                sink.board.deleted(0, 1);
            }
        }
    }
}

/// Counts or removes the entries of one folder that the source lacks.
fn remove(
    sink: &TreeSink,
    path: &FolderPath,
    (case, hashes): (Case, &[u64]),
    act: tree::Act,
    told: &mut dyn FnMut(&[u8], io::Result<crate::sys::dir::Kind>),
) -> io::Result<Removed> {
    let Some(store) = &sink.wanted.store else { return Ok(Removed::default()) };
    let hash_of = |name: &OsStr| sink.deletion.hash_of(case, name.as_bytes());
    let has = |name: &OsStr| hashes.binary_search(&hash_of(name)).is_ok();
    let spares = |path: &[u8], is_folder: bool| sink.rules.exclude(path, is_folder);
    let opens = match (sink.wanted.options.dry_run, sink.wanted.limits) {
        (true, _) => tree::Opens::Nothing,
        // The source could read a folder then that the server may not read.
        (false, Some(_)) => tree::Opens::Readable,
        (false, None) => tree::Opens::All,
    };
    store.remove_others(path, act, &mut tree::Rules { opens, has: &has, spares: &spares, told })
}

/// Why a limit keeps everything from being deleted.
fn words(excess: Excess, doomed: u64, before: u64) -> String {
    match excess {
        Excess::EmptySource => {
            format!("nothing was deleted: the source is empty, and {doomed} entries would go")
        }
        Excess::MoreThanHalf => format!(
            "nothing was deleted: {doomed} of {before} entries would go; \
             --max-delete {doomed} allows it"
        ),
        Excess::MoreThanAllowed => {
            format!("nothing was deleted: {doomed} entries would go, more than --max-delete allows")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_not_held_and_their_folder_is_marked() {
        let deletion = Deletion::with_room(10);
        let (mut one, mut other) = (Names::default(), Names::default());
        (0..6_u8).for_each(|name| deletion.remember(&mut one, &[name]));
        (0..100_u8).for_each(|name| deletion.remember(&mut other, &[name]));
        assert!(!one.is_cut && other.is_cut && other.hashes.is_empty());
        // What the other one had is free again.
        (6..10_u8).for_each(|name| deletion.remember(&mut one, &[name]));
        assert_eq!((one.hashes.len(), one.is_cut), (10, false));
    }

    #[test]
    fn a_name_is_taken_by_the_first_of_those_that_differ_by_case() {
        let (deletion, mut names) = (Deletion::with_room(2), Names::default());
        assert!(!deletion.take_name(&mut names, b"Name"));
        assert!(!deletion.take_name(&mut names, b"other"));
        assert!(deletion.take_name(&mut names, b"NAME") && deletion.take_name(&mut names, b"Name"));
        assert!(!deletion.take_name(&mut names, b"third"), "there is no room to know it");
        assert_eq!(names.taken.len(), 2);
    }
}
