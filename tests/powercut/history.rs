//! What one or several runs did to a folder, call by call. If the power is cut after any call, this
//! says which changes are certainly on the disk.

use crate::disk::{Change, Content, Dress, Kind, Names, Naming};
use crate::sectors::Sector;
use crate::states::State;
use std::collections::BTreeMap;

/// One call, or the end of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file's content changes.
    Change(usize, Change),
    /// The folder's names change.
    Name(Naming),
    /// A file, folder or link gets a mode or an mtime.
    Dress(usize, Dress),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    /// A file, with its mode and mtime.
    File(usize),
    /// A file's bytes and size.
    Data(usize),
    /// The names in the folder with this path.
    Folder(String),
    All,
}

/// A file, folder or link, as it was before the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// Its inode at the time of the recording.
    pub(crate) inode: u64,
    pub(crate) content: Content,
    pub(crate) kind: Kind,
    pub(crate) dress: Dress,
}

/// Everything that is known: the files before the first step, all on the disk, and the steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) files: Vec<File>,
    pub(crate) names: Names,
    pub(crate) steps: Vec<Step>,
}

/// A file when the power is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The changes that gave the file a size before its bytes.
    pub(crate) ahead: Vec<usize>,
    /// What the changes made of each sector, each with the number of the change.
    pub(crate) sectors: BTreeMap<u64, Vec<(usize, Option<Sector>)>>,
}

/// The folder when the power is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) files: Vec<Pending>,
    pub(crate) names: Names,
    /// The changes of names that may be on the disk or not.
    pub(crate) namings: Vec<Naming>,
    /// Modes and mtimes that are certainly on the disk, and later ones that may be there or not.
    pub(crate) dress: Vec<Dress>,
    pub(crate) dressings: Vec<(usize, Dress)>,
}

/// The cuts of a history. A longer one is made of the last one, unless a sync has ended between.
pub(crate) struct Cuts<'a> {
    history: &'a History,
    covered: Covered,
    length: usize,
    cut: Cut,
    /// What the programs see of each file with changes that may be on the disk or not.
    seen: Vec<Option<Content>>,
}

/// Where the last sync began of each file's bytes, of its mode and mtime, of each folder's names,
/// and of everything.
#[derive(PartialEq, Eq)]
struct Covered {
    files: Vec<usize>,
    dress: Vec<usize>,
    folders: BTreeMap<String, usize>,
    all: usize,
}

impl Covered {
    /// Whether the names of a folder are on the disk as of this step.
    fn names(&self, folder: &str, at: usize) -> bool {
        at < self.all || self.folders.get(folder).is_some_and(|synced| at < *synced)
    }
}

impl Pending {
    fn apply(&mut self, now: &mut Content, change: &Change) {
        let size = now.size;
        for sector in now.apply(change) {
            let value = now.sectors.get(sector).cloned();
            let versions = self.sectors.entry(sector).or_default();
            let last = versions.last().map_or(self.base.sectors.get(sector), |(_, v)| v.as_ref());
            if last != value.as_ref() {
                versions.push((self.changes, value));
            }
        }
        if now.size < size {
            self.shrinks.push(self.changes);
        }
        if !matches!(change, Change::Write(offset, _) if *offset <= size) {
            self.ahead.push(self.changes);
        }
        if now.size != size {
            self.sizes.push((self.changes, now.size));
        }
        self.changes += 1;
    }
}

impl<'a> Cuts<'a> {
    fn new(history: &'a History, covered: Covered) -> Cuts<'a> {
        let base = |file: &File| Pending { base: file.content.clone(), ..Pending::default() };
        let cut = Cut {
            files: history.files.iter().map(base).collect(),
            names: history.names.clone(),
            dress: history.files.iter().map(|file| file.dress).collect(),
            ..Cut::default()
        };
        let seen = vec![None; history.files.len()];
        Cuts { history, covered, length: 0, cut, seen }
    }

    /// The cut after `length` steps.
    pub(crate) fn at(&mut self, length: usize) -> &Cut {
        let covered = self.history.synced(length);
        if length < self.length || covered != self.covered {
            *self = Cuts::new(self.history, covered);
        }
        for at in self.length..length {
            self.apply(at);
        }
        self.length = length;
        &self.cut
    }

    /// Applies step `at`.
    fn apply(&mut self, at: usize) {
        let (covered, cut) = (&self.covered, &mut self.cut);
        match &self.history.steps[at] {
            Step::Change(file, change) if at < covered.files[*file] => {
                cut.files[*file].base.apply(change);
            }
            Step::Change(file, change) => {
                let pending = &mut cut.files[*file];
                let seen = self.seen[*file].get_or_insert_with(|| pending.base.clone());
                pending.apply(seen, change);
            }
            Step::Name(naming) if covered.names(naming.folder(), at) => {
                naming.apply(&mut cut.names);
            }
            Step::Name(naming) => cut.namings.push(naming.clone()),
            Step::Dress(file, dress) if at < covered.all.max(covered.dress[*file]) => {
                cut.dress[*file].change(*dress);
            }
            Step::Dress(file, dress) => cut.dressings.push((*file, *dress)),
            Step::SyncBegins(..) | Step::SyncEnds(..) | Step::Begins(_) | Step::Ends(_) => {}
        }
    }
}

impl History {
    /// The steps at which the last syncs began. Only syncs that ended well within the first
    /// `length` steps count.
    fn synced(&self, length: usize) -> Covered {
        let (files, dress) = (vec![0; self.files.len()], vec![0; self.files.len()]);
        let mut covered = Covered { files, dress, folders: BTreeMap::new(), all: 0 };
        let mut under_way = BTreeMap::new();
        for (at, step) in self.steps[..length].iter().enumerate() {
            match step {
                Step::SyncBegins(thread, what) => drop(under_way.insert(*thread, (at, what))),
                Step::SyncEnds(thread, good) => match under_way.remove(thread) {
                    Some((since, what @ (Synced::File(file) | Synced::Data(file)))) if *good => {
                        covered.files[*file] = covered.files[*file].max(since);
                        if matches!(what, Synced::File(_)) {
                            covered.dress[*file] = covered.dress[*file].max(since);
                        }
                    }
                    Some((since, Synced::Folder(path))) if *good => {
                        let folder = covered.folders.entry(path.clone()).or_default();
                        *folder = since.max(*folder);
                    }
                    Some((since, Synced::All)) if *good => {
                        covered.files.iter_mut().for_each(|file| *file = since.max(*file));
                        covered.all = covered.all.max(since);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        covered
    }

    /// What may be on the disk if the power is cut after `length` steps.
    pub(crate) fn cut(&self, length: usize) -> Cut {
        let mut cuts = self.cuts();
        cuts.at(length);
        cuts.cut
    }

    /// The same for one length after the other.
    pub(crate) fn cuts(&self) -> Cuts<'_> {
        Cuts::new(self, self.synced(0))
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

    /// The modes and mtimes that the programs see then.
    pub(crate) fn seen_dress(&self, length: usize) -> Vec<Dress> {
        let mut all: Vec<Dress> = self.files.iter().map(|file| file.dress).collect();
        for step in &self.steps[..length] {
            match step {
                Step::Dress(file, dress) => all[*file].change(*dress),
                Step::Change(file, _) => all[*file].mtime = None,
                _ => {}
            }
        }
        all
    }

    /// What a kill without a power cut leaves after `length` steps.
    pub(crate) fn state_within_boot(&self, length: usize) -> State {
        let (names, files) = self.seen(length);
        State { names, files, dress: self.seen_dress(length), is_dirty: false }
    }

    /// Whether the last run reported success.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.steps.last() == Some(&Step::Ends(true))
    }

    /// Whether a run has waited for nothing.
    pub(crate) fn has_unsynced_run(&self) -> bool {
        self.steps.contains(&Step::Begins(false))
    }

    /// Whether a run that waits for the disk has reported success within the first `length`
    /// steps, and no further one has begun.
    pub(crate) fn is_done(&self, length: usize) -> bool {
        let mut waits = false;
        let mut done = false;
        for step in &self.steps[..length] {
            match step {
                Step::Begins(sync) => (waits, done) = (*sync, false),
                Step::Ends(success) => done = *success && waits,
                _ => {}
            }
        }
        done
    }
}
