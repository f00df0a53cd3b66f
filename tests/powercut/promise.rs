//! What the programs have promised when the power is cut: which bytes count as there from then on,
//! and what OUT may be. The promise is derived from the recorded calls, without the programs' code.

use crate::disk::{Change, Content, Naming, parent};
use crate::history::{History, Step, Synced};
use ropewalk::codec::journal::{JournalHeader, RECORD_SIZE, Record};
use std::ops::Range;

pub(crate) const OUT: &str = "out";
pub(crate) const PART: &str = "out.part";
pub(crate) const JOURNAL: &str = "out.part.journal";

/// The names of a file, of what becomes it, and of the journal.
pub(crate) struct Paths<'a> {
    pub(crate) out: &'a str,
    pub(crate) part: &'a str,
    pub(crate) journal: &'a str,
}

/// What must hold in every state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Promise {
    /// The durable ranges: they count as there, or OUT is the new file.
    pub(crate) durable: Vec<(u64, u64)>,
    /// The entity tag of the file that the ranges belong to.
    pub(crate) etag: Vec<u8>,
    /// OUT is the new file: the client has said so, or has waited for it.
    pub(crate) is_new: bool,
    /// A run has waited for nothing.
    pub(crate) is_unsynced: bool,
}

impl Promise {
    /// Whether a client may refuse to overwrite what it finds. Where `is_dirty`, some of that may
    /// be foreign bytes.
    pub(crate) fn may_refuse(&self, is_dirty: bool) -> bool {
        self.durable.is_empty() && (is_dirty || self.is_unsynced)
    }
}

/// The complete records of a journal, each with its end.
pub(crate) fn records(journal: &[u8]) -> Option<(JournalHeader, Vec<(u64, Record)>)> {
    let (start, header) = JournalHeader::parse(journal)?;
    let parse = |bytes: &[u8]| Record::parse(bytes.try_into().unwrap(), header.salt);
    let records = journal[start..].chunks_exact(RECORD_SIZE).map_while(parse);
    let ends = (1..).map(|count| (start + count * RECORD_SIZE) as u64);
    let records = ends.zip(records).collect();
    Some((header, records))
}

/// The range of a record.
fn range(record: &Record) -> Option<Range<u64>> {
    match record {
        Record::Written { range, .. } | Record::Hole { range } => Some(range.clone()),
        Record::Durable { .. } | Record::Anew => None,
    }
}

/// The ranges that count, of the records that end within the first `length` bytes.
pub(crate) fn counting(records: &[(u64, Record)], length: u64) -> Vec<(u64, u64)> {
    let there = records.iter().filter(|(end, _)| *end <= length);
    let there: Vec<&Record> = there.map(|(_, record)| record).collect();
    let since = there.iter().rposition(|record| **record == Record::Anew).unwrap_or(0);
    joined(there[since..].iter().filter_map(|record| range(record)))
}

/// Joins adjacent ranges.
pub(crate) fn joined(ranges: impl Iterator<Item = Range<u64>>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = ranges.map(|range| (range.start, range.end)).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if last.1 >= start => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// What a journal on the disk makes durable.
fn durable(journal: &Content) -> (Vec<(u64, u64)>, Vec<u8>) {
    let Some((header, records)) = records(&journal.bytes()) else { return Default::default() };
    let named = records.iter().filter_map(|(_, record)| match record {
        Record::Durable { journal } => Some(*journal),
        _ => None,
    });
    let named = named.max().unwrap_or(0);
    (counting(&records, named), header.etag)
}

impl History {
    /// What holds if the power is cut after `length` steps.
    pub(crate) fn promise(&self, length: usize) -> Promise {
        self.promise_about(length, &Paths { out: OUT, part: PART, journal: JOURNAL })
    }

    /// The same for a file that has these names.
    pub(crate) fn promise_about(&self, length: usize, paths: &Paths<'_>) -> Promise {
        let start =
            self.names.get(paths.journal).map(|journal| durable(&self.files[*journal].content));
        let (durable_ranges, etag) = start.unwrap_or_default();
        let mut promise =
            Promise { durable: durable_ranges, etag, is_new: false, is_unsynced: false };
        let mut names = self.names.clone();
        let mut journal = names.get(paths.journal).copied();
        let mut files: Vec<Content> = self.files.iter().map(|file| file.content.clone()).collect();
        let mut under_way = std::collections::BTreeMap::new();
        let (mut syncs, mut moved) = (true, None);
        for (at, step) in self.steps[..length].iter().enumerate() {
            match step {
                Step::Begins(sync) => {
                    syncs = *sync;
                    promise.is_unsynced |= !syncs;
                }
                Step::Ends(success) => promise.is_new |= *success && syncs,
                Step::Change(file, change) => {
                    let is_part = names.get(paths.part) == Some(file);
                    if is_part && *change == Change::Size(0) && files[*file].size > 0 {
                        promise.durable.clear(); // it starts over
                    }
                    files[*file].apply(change);
                }
                Step::Name(naming) => {
                    match naming {
                        Naming::Add(name, file) if name == paths.journal => journal = Some(*file),
                        Naming::Move(_, to, _) if to == paths.out => {
                            moved = Some(at);
                            if !syncs {
                                promise.durable.clear(); // OUT may be the old file
                            }
                        }
                        Naming::Remove(name) if name == paths.part => {
                            promise.durable.clear();
                        }
                        _ => {}
                    }
                    naming.apply(&mut names);
                }
                Step::Dress(..) => {}
                Step::SyncBegins(thread, what) => {
                    let is_journal = *what == Synced::All
                        || journal.is_some_and(|journal| {
                            [Synced::File(journal), Synced::Data(journal)].contains(what)
                        });
                    let seen =
                        journal.filter(|_| is_journal).map(|journal| durable(&files[journal]));
                    under_way.insert(*thread, (at, what, seen));
                }
                Step::SyncEnds(thread, good) => match under_way.remove(thread) {
                    Some((since, what, seen)) if *good => {
                        if let Some((ranges, etag)) = seen {
                            (promise.durable, promise.etag) = (ranges, etag);
                        }
                        let folder = match what {
                            Synced::Folder(path) => path == parent(paths.out),
                            Synced::All => true,
                            Synced::File(_) | Synced::Data(_) => false,
                        };
                        promise.is_new |= folder && syncs && moved.is_some_and(|at| at < since);
                    }
                    _ => {}
                },
            }
        }
        promise
    }
}
