//! What may be in a recorded folder when the power is cut.

use super::site::{OUT, Site, Way};
use crate::check::{empty, lay};
use crate::disk::{Content, Dress, Kind, parent};
use crate::history::History;
use crate::promise::{Paths, joined};
use crate::states::State;
use crate::support::harness::Scratch;
use crate::support::trees::{Fact, facts};
use ropewalk::codec::message::version::Stamp;
use ropewalk::transfer::store::journal::{AUDIT_BUFFER, Journal};
use ropewalk::transfer::store::names;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The paths of a recorded folder, and what is there.
pub(crate) type Facts = BTreeMap<String, Fact>;

/// The facts of `top`, which has the name OUT.
pub(crate) fn facts_of(top: &Path) -> Facts {
    let path = |name: &OsStr| match name.to_str().unwrap() {
        "" => OUT.to_string(),
        name => format!("{OUT}/{name}"),
    };
    facts(top).into_iter().map(|(name, fact)| (path(&name), fact)).collect()
}

/// What the states of a history are checked against.
pub(crate) struct Expected<'a> {
    pub(crate) site: &'a Site,
    pub(crate) history: &'a History,
    /// What was there before the first step, and what the source has now.
    old: Facts,
    new: Facts,
    /// Whether a run has waited for nothing.
    is_unsynced: bool,
    /// Whether names that the source lacks may go.
    deletes: bool,
    /// Where states are laid out.
    folder: PathBuf,
}

/// What holds after so many steps.
pub(crate) struct Promise {
    /// Everything has arrived, and is on the disk.
    is_new: bool,
    /// The durable ranges of each large file.
    durable: Vec<(String, Vec<(u64, u64)>)>,
}

impl<'a> Expected<'a> {
    pub(crate) fn new(
        site: &'a Site,
        history: &'a History,
        old: Facts,
        deletes: bool,
        folder: PathBuf,
    ) -> Expected<'a> {
        let new = facts_of(&site.there());
        let is_unsynced = history.has_unsynced_run();
        Expected { site, history, old, new, is_unsynced, deletes, folder }
    }

    /// The durable ranges of the large file with this path.
    fn durable(&self, path: &str, length: usize) -> Vec<(u64, u64)> {
        let (part, journal) = Expected::on_its_way(path);
        let paths = Paths { out: path, part: &part, journal: &journal };
        self.history.promise_about(length, &paths).durable
    }

    /// Its name while it is written, and that of its journal.
    fn on_its_way(path: &str) -> (String, String) {
        let (folder, name) = (parent(path), path.rsplit('/').next().unwrap());
        let part = names::temporary(OsStr::new(name)).into_string().unwrap();
        let part = if folder.is_empty() { part } else { format!("{folder}/{part}") };
        (part.clone(), format!("{part}.journal"))
    }

    /// What holds if the power is cut after `length` steps.
    pub(crate) fn promise(&self, length: usize) -> Promise {
        let large = |(path, fact): (&String, &Fact)| {
            (fact.content.len() > 300_000).then(|| (path.clone(), self.durable(path, length)))
        };
        let is_new = self.history.is_done(length);
        Promise { is_new, durable: self.new.iter().filter_map(large).collect() }
    }

    /// Checks one state; `Err` says what is wrong. With `on_disk`, that includes what its journals
    /// vouch for. Returns how many bytes count.
    pub(crate) fn look(
        &self,
        state: &State,
        promise: &Promise,
        on_disk: bool,
    ) -> Result<u64, String> {
        let there = self.reachable(state);
        let paths: BTreeSet<&str> =
            self.old.keys().chain(self.new.keys()).map(String::as_str).collect();
        for path in &paths {
            self.name(path, there.get(path).copied(), state, promise)?;
        }
        let foreign = there.keys().find(|path| !paths.contains(*path) && !is_on_its_way(path));
        if let Some(path) = foreign {
            return Err(format!("{path} is neither old nor new"));
        }
        let has_journal = there.keys().any(|path| path.ends_with(".journal"));
        if !on_disk || !has_journal {
            return Ok(0);
        }
        empty(&self.folder);
        lay(self.history, state, &self.folder, true);
        let mut sum = 0;
        for (path, durable) in &promise.durable {
            let counted = self.counted(path)?;
            let is_there =
                there.get(path.as_str()).is_some_and(|file| self.is(*file, state, &self.new[path]));
            let lost = durable
                .iter()
                .find(|(start, end)| !counted.iter().any(|(from, to)| from <= start && end <= to));
            if let Some((start, end)) = lost.filter(|_| !is_there) {
                return Err(format!("{path}: {start}..{end} was durable, {counted:?} counts"));
            }
            sum += counted.iter().map(|(start, end)| end - start).sum::<u64>();
        }
        Ok(sum)
    }

    /// The names whose folders are there.
    fn reachable(&self, state: &'a State) -> BTreeMap<&'a str, usize> {
        let mut there: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, file) in &state.names {
            let folder = there.get(parent(name)).map(|file| &self.history.files[*file].kind);
            if !name.contains('/') || folder == Some(&Kind::Folder) {
                there.insert(name, *file);
            }
        }
        there
    }

    /// Checks what a name is.
    fn name(
        &self,
        path: &str,
        found: Option<usize>,
        state: &State,
        promise: &Promise,
    ) -> Result<(), String> {
        let (old, new) = (self.old.get(path), self.new.get(path));
        let Some(file) = found else {
            let class = |fact: &Fact| fact.mode & libc::S_IFMT == libc::S_IFDIR;
            let may_lack = match (old, new) {
                (None, _) => !promise.is_new,
                (Some(_), None) => self.deletes,
                // A folder in the way goes before the new name comes.
                (Some(old), Some(new)) => !promise.is_new && class(old) != class(new),
            };
            return if may_lack { Ok(()) } else { Err(format!("{path} is missing")) };
        };
        if new.is_some_and(|new| self.is(file, state, new)) {
            return match promise.is_new.then(|| self.differs(file, state, &self.new[path])) {
                Some(Some(what)) => Err(format!("{path}: {what}, after it was promised")),
                _ => Ok(()),
            };
        }
        let is_old = old.is_some_and(|old| self.is(file, state, old));
        if promise.is_new && new.is_some() {
            return Err(format!("{path} is not the new one, after it was promised"));
        }
        if is_old || (self.is_unsynced && !self.counts_as_complete(file, state, new)) {
            return Ok(());
        }
        let size = state.files[file].size;
        Err(format!("{path} is neither the old nor the new one: {size} bytes"))
    }

    fn fact(&self, file: usize, state: &State) -> (u32, Vec<u8>) {
        match &self.history.files[file].kind {
            Kind::File => (libc::S_IFREG, state.files[file].bytes()),
            Kind::Folder => (libc::S_IFDIR, Vec::new()),
            Kind::Link(text) => (libc::S_IFLNK, text.clone()),
        }
    }

    /// Whether a file has the type and the content of `fact`.
    fn is(&self, file: usize, state: &State, fact: &Fact) -> bool {
        let (kind, content) = self.fact(file, state);
        kind == fact.mode & libc::S_IFMT && content == fact.content
    }

    /// Which of mode and mtime is not that of `fact`.
    fn differs(&self, file: usize, state: &State, fact: &Fact) -> Option<String> {
        let (now, is_link) = (state.dress.get(file)?, fact.mode & libc::S_IFMT == libc::S_IFLNK);
        let wanted = Dress { mode: Some(fact.mode), mtime: Some(fact.mtime) };
        let is_same = match self.site.way {
            Way::Put => true,
            _ if is_link => now.mtime == wanted.mtime,
            _ => *now == wanted,
        };
        (!is_same).then(|| format!("{now:?} and not {wanted:?}"))
    }

    /// Whether the next run takes a file for complete.
    fn counts_as_complete(&self, file: usize, state: &State, new: Option<&Fact>) -> bool {
        let mtime = state.dress.get(file).and_then(|dress| dress.mtime);
        let stamp =
            |(seconds, nanoseconds): (i64, i64)| Stamp { seconds, nanoseconds: nanoseconds as u32 };
        new.zip(mtime).is_some_and(|(new, mtime)| {
            state.files[file].size == new.content.len() as u64
                && stamp(mtime).agrees_with(stamp(new.mtime))
        })
    }

    /// The ranges that count of the large file with this path, in the folder as it is.
    fn counted(&self, path: &str) -> Result<Vec<(u64, u64)>, String> {
        let (part, journal) = Expected::on_its_way(path);
        let open = |name: &str| {
            fs::File::options().read(true).write(true).open(self.folder.join(name)).ok()
        };
        let Some((part, journal)) = open(&part).zip(open(&journal)) else { return Ok(Vec::new()) };
        let Some((_, _, contents)) = Journal::open(journal).unwrap() else {
            return Ok(Vec::new());
        };
        let (expected, mut buffer) = (&self.new[path].content, vec![0; AUDIT_BUFFER]);
        let mut held = Vec::new();
        for (&from, &(to, recorded)) in &contents {
            if !recorded.holds_in(&part, from..to, &mut buffer) {
                continue;
            }
            let mut found = vec![0; (to - from) as usize];
            part.read_exact_at(&mut found, from).unwrap();
            if found != expected[from as usize..to as usize] {
                return Err(format!("{path}: wrong bytes count as there at {from}..{to}"));
            }
            held.push(from..to);
        }
        Ok(joined(held.into_iter()))
    }

    /// Demands that a folder is as the source, after a transfer.
    pub(crate) fn is_equal(&self, folder: &Path) -> Result<(), String> {
        let mut found = facts_of(&folder.join(OUT));
        let mut wanted = self.new.clone();
        if !self.deletes {
            found.retain(|path, _| wanted.contains_key(path) || is_on_its_way(path));
        }
        // What is left of a PUT, or beside a pushed file that is up to date, goes when it is old.
        let goes_later = |name: &str| match self.site.way {
            Way::Fetch => false,
            Way::Push => name.ends_with(".journal"),
            Way::Put => is_on_its_way(name),
        };
        for name in Scratch::names(folder) {
            let name = name.to_str().unwrap();
            if name != OUT && !goes_later(name) {
                return Err(format!("{name} is left"));
            }
        }
        if self.site.way == Way::Put {
            for fact in found.values_mut().chain(wanted.values_mut()) {
                (fact.mode, fact.mtime) = (0, (0, 0));
            }
        }
        for (path, fact) in &wanted {
            match found.remove(path) {
                None => return Err(format!("{path} is missing")),
                Some(found) if found.content != fact.content => {
                    return Err(format!("{path} has another content"));
                }
                Some(found) if found != *fact => {
                    let what = format!("{:o} {:?}", found.mode, found.mtime);
                    return Err(format!("{path}: {what}, not {:o} {:?}", fact.mode, fact.mtime));
                }
                Some(_) => {}
            }
        }
        match found.keys().next() {
            Some(path) => Err(format!("{path} is left")),
            None => Ok(()),
        }
    }

    /// The content of all files as text, for a failed test.
    pub(crate) fn shown(&self, state: &State) -> String {
        let line = |(path, file): (&&str, &usize)| {
            let Content { size, sectors } = &state.files[*file];
            let dress = state.dress.get(*file);
            format!("{path}: {file}, {size} bytes, {} sectors, {dress:?}\n", sectors.count())
        };
        self.reachable(state).iter().map(line).collect()
    }
}

/// Whether a path is that of a file on its way.
fn is_on_its_way(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    names::reserved(OsStr::new(name)).is_some()
}
