//! What is in a folder, as the programs see it: the sectors and sizes of files, names, modes and
//! mtimes, and the calls that change them.

use crate::sectors::{SECTOR, Sector, Sectors};
use ropewalk::hash::crc32c::crc32c;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// The content of one file. A missing sector stores nothing and reads as zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) size: u64,
    pub(crate) sectors: Sectors,
}

/// The hash of each sector is its CRC32C: states are many, and most of their bytes are sectors.
impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.size.hash(state);
        for (number, sector) in self.sectors.iter() {
            (number, crc32c(sector.as_slice())).hash(state);
        }
    }
}

/// Bytes that are written at an offset. A sector that they fill is shared by all contents that have
/// it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    sectors: Vec<Sector>,
}

impl Written {
    fn new(offset: u64, bytes: Vec<u8>) -> Written {
        let before = offset.next_multiple_of(SECTOR) - offset;
        let whole = bytes.get(before as usize..).unwrap_or_default();
        let sectors = whole.chunks_exact(SECTOR as usize);
        let sectors = sectors.map(|sector| Arc::new(sector.try_into().unwrap())).collect();
        Written { bytes, sectors }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(formatter)
    }
}

/// A change of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These bytes are written at this offset.
    Write(u64, Written),
    /// The file is cut or lengthened to this size.
    Size(u64),
    /// Space is allocated up to this offset; the file is lengthened to it.
    Reserve(u64),
    /// The range becomes a hole.
    Punch(Range<u64>),
}

impl Change {
    /// The bytes are written at this offset.
    pub(crate) fn write(offset: u64, bytes: Vec<u8>) -> Change {
        Change::Write(offset, Written::new(offset, bytes))
    }
}

/// A change of the names in the folder. Names are paths from it. Files, and the folders and links
/// in it, are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The file gets the name.
    Add(String, usize),
    /// The file loses the first name and gets the second one.
    Move(String, String, usize),
    /// No file has the name any more.
    Remove(String),
}

/// The names of a folder, each with its file.
pub(crate) type Names = BTreeMap<String, usize>;

/// What a number stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    File,
    Folder,
    /// A symbolic link with this text.
    Link(Vec<u8>),
}

/// The mode and the mtime of a file, folder or link. Those that nobody has set are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Dress {
    pub(crate) mode: Option<u32>,
    /// In seconds and nanoseconds.
    pub(crate) mtime: Option<(i64, i64)>,
}

impl Dress {
    /// Takes what `new` has.
    pub(crate) fn change(&mut self, new: Dress) {
        *self = Dress { mode: new.mode.or(self.mode), mtime: new.mtime.or(self.mtime) };
    }
}

/// The path of the folder that a name is in; empty for the folder itself.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Content {
    /// A file without holes.
    pub(crate) fn of(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.apply(&Change::write(0, bytes.to_vec()));
        content
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.read(0..self.size)
    }

    /// The bytes of a range, with zeros behind the end.
    pub(crate) fn read(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let numbers = range.start / SECTOR..range.end.div_ceil(SECTOR);
        for (number, sector) in self.sectors.range(numbers) {
            let at = number * SECTOR;
            let (from, to) = (at.max(range.start), (at + SECTOR).min(range.end).min(self.size));
            if from < to {
                let part = &sector[(from - at) as usize..(to - at) as usize];
                bytes[(from - range.start) as usize..(to - range.start) as usize]
                    .copy_from_slice(part);
            }
        }
        bytes
    }

    /// Applies a change. Returns the numbers of the sectors that it may change.
    pub(crate) fn apply(&mut self, change: &Change) -> Vec<u64> {
        match change {
            Change::Write(offset, written) => {
                let end = offset + written.bytes.len() as u64;
                self.size = self.size.max(end);
                self.overlay(*offset..end, Some(written))
            }
            Change::Size(size) => {
                let old = std::mem::replace(&mut self.size, *size);
                if old <= *size { Vec::new() } else { self.overlay(*size..old, None) }
            }
            Change::Reserve(end) => {
                self.size = self.size.max(*end);
                Vec::new()
            }
            Change::Punch(range) => self.overlay(range.start..range.end.min(self.size), None),
        }
    }

    /// The bytes of `range` become `written`; without that they become a hole.
    fn overlay(&mut self, range: Range<u64>, written: Option<&Written>) -> Vec<u64> {
        let bytes = written.map(|written| &written.bytes);
        let numbers = range.start / SECTOR..range.end.div_ceil(SECTOR).max(range.start / SECTOR);
        let first_whole = range.start.div_ceil(SECTOR);
        for number in numbers.clone() {
            let at = number * SECTOR;
            let (from, to) = (at.max(range.start), (at + SECTOR).min(range.end));
            // Bytes behind the end of the file count as zeros.
            if bytes.is_none() && from == at && (to == at + SECTOR || to >= self.size) {
                self.sectors.set(number, None);
                continue;
            }
            if bytes.is_none() && self.sectors.get(number).is_none() {
                continue;
            }
            if let Some(written) = written.filter(|_| to - from == SECTOR) {
                let whole = &written.sectors[(number - first_whole) as usize];
                self.sectors.set(number, Some(whole.clone()));
                continue;
            }
            if self.sectors.get(number).is_none() {
                self.sectors.set(number, Some(Arc::new([0; SECTOR as usize])));
            }
            let sector = self.sectors.get_mut(number).unwrap();
            let changed = &mut Arc::make_mut(sector)[(from - at) as usize..(to - at) as usize];
            match bytes {
                Some(bytes) => {
                    let part = (from - range.start) as usize..(to - range.start) as usize;
                    changed.copy_from_slice(&bytes[part]);
                }
                None => changed.fill(0),
            }
        }
        numbers.collect()
    }
}

impl Naming {
    /// The folder whose names it changes.
    pub(crate) fn folder(&self) -> &str {
        match self {
            Naming::Add(name, _) | Naming::Move(_, name, _) | Naming::Remove(name) => parent(name),
        }
    }

    /// Changes `names`. If an earlier change is not on the disk, it does what it can.
    pub(crate) fn apply(&self, names: &mut Names) {
        match self {
            Naming::Add(name, file) => drop(names.insert(name.clone(), *file)),
            Naming::Move(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Naming::Remove(name) => drop(names.remove(name)),
        }
    }
}

#[test]
fn a_file_reads_as_it_was_written() {
    let mut content = Content::of(&[1; 1000]);
    content.apply(&Change::write(700, vec![2; 400]));
    let mut expected = vec![1; 700];
    expected.resize(1100, 2);
    assert_eq!(content.bytes(), expected);
    content.apply(&Change::Size(600));
    content.apply(&Change::Size(1200));
    expected.truncate(600);
    expected.resize(1200, 0);
    assert_eq!(content.bytes(), expected);
}

#[test]
fn a_hole_stores_nothing_and_frees_only_whole_sectors() {
    let mut content = Content::of(&[1; 2048]);
    content.apply(&Change::Punch(512..1100));
    assert_eq!(content.sectors.iter().map(|(number, _)| number).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(content.read(1000..1102), [vec![0; 100], vec![1; 2]].concat());
    content.apply(&Change::Reserve(4096));
    assert_eq!((content.size, content.sectors.count()), (4096, 3));
}
