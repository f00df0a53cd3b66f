//! What one or several runs did to a folder, call by call. If the power is cut after any call, this
//! says which changes are certainly on the disk.

use crate::disk::{Change, Content, Names, Naming, Sector};
use std::collections::BTreeMap;

/// One call, or the end of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file's content changes.
    Change(usize, Change),
    /// The folder's names change.
    Name(Naming),
    /// A thread begins to wait for the disk.
    SyncBegins(u32, Synced),
    /// The wait is over. Whether the data is on the disk.
    SyncEnds(u32, bool),
    /// A run begins. Whether it waits for the disk.
    Begins(bool),
    /// A run has ended. Whether the client reported success.
    Ends(bool),
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    File(usize),
    Folder,
    All,
}

/// A file, as it was before the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// Its inode at the time of the recording.
    pub(crate) inode: u64,
    pub(crate) content: Content,
}

/// Everything that is known: the files before the first step, all on the disk, and the steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) files: Vec<File>,
    pub(crate) names: Names,
    pub(crate) steps: Vec<Step>,
}

/// A file when the power is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// The content that is certainly on the disk, unless a later change has replaced it.
    pub(crate) base: Content,
    /// How many changes may be on the disk or not.
    pub(crate) changes: usize,
    /// The sizes that these changes gave the file, each with the number of the change.
    pub(crate) sizes: Vec<(usize, u64)>,
    /// The changes that cut the file. Size and blocks change together, on every file system that
    /// keeps both in one place.
    pub(crate) shrinks: Vec<usize>,
    /// What the changes made of each sector, each with the number of the change.
    pub(crate) sectors: BTreeMap<u64, Vec<(usize, Option<Sector>)>>,
}

/// The folder when the power is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) files: Vec<Pending>,
    pub(crate) names: Names,
    /// The changes of names that may be on the disk or not.
    pub(crate) namings: Vec<Naming>,
}

impl Pending {
    fn apply(&mut self, now: &mut Content, change: &Change) {
        let size = now.size;
        for sector in now.apply(change) {
            let value = now.sectors.get(&sector).cloned();
            let versions = self.sectors.entry(sector).or_default();
            let last = versions.last().map_or(self.base.sectors.get(&sector), |(_, v)| v.as_ref());
            if last != value.as_ref() {
                versions.push((self.changes, value));
            }
        }
        if now.size < size {
            self.shrinks.push(self.changes);
        }
        if now.size != size {
            self.sizes.push((self.changes, now.size));
        }
        self.changes += 1;
    }
}

impl History {
    /// The steps at which the last syncs began, of each file and of the folder. Only syncs that
    /// ended well within the first `length` steps count.
    fn synced(&self, length: usize) -> (Vec<usize>, usize) {
        let (mut files, mut folder) = (vec![0; self.files.len()], 0);
        let mut under_way = BTreeMap::new();
        for (at, step) in self.steps[..length].iter().enumerate() {
            match step {
                Step::SyncBegins(thread, what) => drop(under_way.insert(*thread, (at, *what))),
                Step::SyncEnds(thread, good) => match under_way.remove(thread) {
                    Some((since, Synced::File(file))) if *good => {
                        files[file] = files[file].max(since);
                    }
                    Some((since, Synced::Folder)) if *good => folder = folder.max(since),
                    Some((since, Synced::All)) if *good => {
                        files.iter_mut().for_each(|file| *file = since.max(*file));
                        folder = folder.max(since);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        (files, folder)
    }

    /// What may be on the disk if the power is cut after `length` steps.
    pub(crate) fn cut(&self, length: usize) -> Cut {
        let (files, folder) = self.synced(length);
        let mut now: Vec<Content> = self.files.iter().map(|file| file.content.clone()).collect();
        let mut cut = Cut { names: self.names.clone(), ..Cut::default() };
        cut.files.resize_with(now.len(), Pending::default);
        let mut settled = vec![false; now.len()];
        for (at, step) in self.steps[..length].iter().enumerate() {
            match step {
                Step::Change(file, change) if at < files[*file] => {
                    now[*file].apply(change);
                }
                Step::Change(file, change) => {
                    let pending = &mut cut.files[*file];
                    if !std::mem::replace(&mut settled[*file], true) {
                        pending.base = now[*file].clone();
                    }
                    pending.apply(&mut now[*file], change);
                }
                Step::Name(naming) if at < folder => naming.apply(&mut cut.names),
                Step::Name(naming) => cut.namings.push(naming.clone()),
                _ => {}
            }
        }
        for ((pending, settled), now) in cut.files.iter_mut().zip(settled).zip(now) {
            if !settled {
                pending.base = now;
            }
        }
        cut
    }

    /// The names and files that the programs see after `length` steps.
    pub(crate) fn seen(&self, length: usize) -> (Names, Vec<Content>) {
        let mut names = self.names.clone();
        let mut files: Vec<Content> = self.files.iter().map(|file| file.content.clone()).collect();
        for step in &self.steps[..length] {
            match step {
                Step::Change(file, change) => drop(files[*file].apply(change)),
                Step::Name(naming) => naming.apply(&mut names),
                _ => {}
            }
        }
        (names, files)
    }
}
