//! The journal beside a part file. It records which ranges of the part file are good, so that a
//! transfer continues after a break and trusts no other byte.
//!
//! `written` and hole records are appended right after the write, without a sync. They survive a
//! killed process, and count only within the same boot. A `durable` record follows a successful
//! fdatasync of the part file. Records before the offset that it names survive a power cut too.

#![forbid(unsafe_code)]

use crate::codec::journal::{
    HEADER_SIZE, JournalHeader, MAGIC, MAX_ETAG, MAX_NAME, RECORD_SIZE, Record,
};
use crate::hash::crc32c::extend;
use crate::sys::sync::lock;
use crate::sys::{file, random, volume};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Mutex, OnceLock};

/// The boot id of a journal in which only durable records count.
const NO_BOOT: [u8; 16] = [0; 16];

/// Records read at once.
const BATCH: usize = 1024;

/// How many ranges are read to recognize a part file. One good range is enough.
const SAMPLES: usize = 16;

/// A good size for the buffer of [`Recorded::holds_in`], in bytes.
pub const AUDIT_BUFFER: usize = 128 << 10;

/// A journal that is open for appending.
pub struct Journal {
    file: File,
    salt: u32,
    /// The offset of the next record.
    end: Mutex<u64>,
}

/// What a journal records about a range of the part file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The bytes of the range have this CRC32C.
    Bytes(u32),
    /// The range is a hole.
    Hole,
}

impl Recorded {
    /// Whether `range` of `part` is as recorded. `false` if it cannot be read. `buffer` is not
    /// empty; each read fills it.
    pub fn holds_in(self, part: &File, range: Range<u64>, buffer: &mut [u8]) -> bool {
        match self {
            Recorded::Bytes(crc) => crc_of(part, range, buffer) == Some(crc),
            Recorded::Hole => file::is_hole(part, range.start, range.end),
        }
    }
}

/// The CRC32C of a range; `None` if the range cannot be read.
fn crc_of(part: &File, range: Range<u64>, buffer: &mut [u8]) -> Option<u32> {
    let (mut at, mut crc) = (range.start, 0);
    while at < range.end {
        let count = (range.end - at).min(buffer.len() as u64) as usize;
        part.read_exact_at(&mut buffer[..count], at).ok()?;
        crc = extend(crc, &buffer[..count]);
        at += count as u64;
    }
    Some(crc)
}

/// The ranges that a journal records: the start of each, its end, and its content.
pub type Contents = BTreeMap<u64, (u64, Recorded)>;

/// The file that a transfer fetches, as its journal's header names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The file's name on the server.
    pub name: Vec<u8>,
    /// The file's entity tag; empty if the transfer cannot be resumed.
    pub etag: Vec<u8>,
    /// The file's size in bytes; 0 if it is not known.
    pub size: u64,
}

impl Journal {
    /// Begins a new journal for `part` in `file`, and drops the old content of `file`.
    pub fn create(file: File, subject: &Subject, part: &File) -> io::Result<Journal> {
        let mut salt = [0; 4];
        random::fill(&mut salt)?;
        let found = part.metadata()?;
        let header = JournalHeader {
            salt: u32::from_ne_bytes(salt),
            pid: std::process::id(),
            size: subject.size,
            device: found.dev(),
            inode: found.ino(),
            boot: boot_id(),
            name: subject.name.clone(),
            etag: subject.etag.clone(),
        };
        let bytes = header.encode();
        // The old header is written over, and not cut off first: without any header, no journal
        // would belong to the part file.
        file.write_all_at(&bytes, 0)?;
        file::set_length(&file, bytes.len() as u64)?;
        Ok(Journal { file, salt: header.salt, end: Mutex::new(bytes.len() as u64) })
    }

    /// Opens the journal in `file` for appending, and reads its records. `None` if it has no good
    /// header.
    pub fn open(file: File) -> io::Result<Option<(JournalHeader, Journal, Contents)>> {
        let Some((mut end, header)) = read_header(&file)? else { return Ok(None) };
        let same_boot = header.boot == boot_id();
        let mut contents = Contents::new();
        // Records that no durable record covers yet, each with the offset of its end.
        let mut waiting: Vec<(u64, Record)> = Vec::new();
        let mut batch = vec![0; BATCH * RECORD_SIZE];
        'records: loop {
            let count = read_full(&file, &mut batch, end)?;
            for bytes in batch[..count].chunks_exact(RECORD_SIZE) {
                let record = bytes.try_into().ok().and_then(|b| Record::parse(b, header.salt));
                let Some(record) = record else { break 'records };
                end += RECORD_SIZE as u64;
                match record {
                    Record::Durable { journal } => {
                        let durable = waiting.partition_point(|(at, _)| *at <= journal);
                        waiting
                            .drain(..durable)
                            .for_each(|(_, record)| keep(&mut contents, record));
                    }
                    other if same_boot => keep(&mut contents, other),
                    other => waiting.push((end, other)),
                }
            }
            if count < batch.len() {
                break;
            }
        }
        contents.retain(|_, (end, _)| *end <= header.size);
        let journal = Journal { file, salt: header.salt, end: Mutex::new(end) };
        Ok(Some((header, journal, contents)))
    }

    /// Writes this process and this boot into the header, and drops a torn tail. After another
    /// boot, only `contents` stay. They are recorded again, behind the old records. Until the new
    /// records are on the disk, a power cut leaves the old records, which still count.
    pub fn renew(&self, header: &JournalHeader, contents: &Contents) -> io::Result<()> {
        let boot = boot_id();
        let renewed = JournalHeader { pid: std::process::id(), boot, ..header.clone() };
        let mut end = lock(&self.end);
        file::set_length(&self.file, *end)?;
        if header.boot != boot {
            *end = self.append_at(*end, &Record::Anew)?;
            for (&start, &(stop, recorded)) in contents {
                let range = start..stop;
                let record = match recorded {
                    Recorded::Bytes(crc) => Record::Written { range, crc },
                    Recorded::Hole => Record::Hole { range },
                };
                *end = self.append_at(*end, &record)?;
            }
            // The new records must be on the disk before the durable record and the header, which
            // make every record count.
            file::sync_data(&self.file)?;
            // These ranges were durable before, and still are.
            *end = self.append_at(*end, &Record::Durable { journal: *end })?;
        }
        self.file.write_all_at(&renewed.encode(), 0)
    }

    /// Records that `range` was written, and the CRC32C of its bytes.
    pub fn written(&self, range: Range<u64>, crc: u32) -> io::Result<()> {
        self.append(&Record::Written { range, crc })
    }

    /// Records that `range` is a hole.
    pub fn hole(&self, range: Range<u64>) -> io::Result<()> {
        self.append(&Record::Hole { range })
    }

    /// Makes every record so far durable: syncs `part`, and then appends a durable record. If the
    /// file system has no sync, nothing is durable, and nothing is recorded.
    ///
    /// # Errors
    /// The sync of `part` failed. The caller must not try again, since the kernel may have dropped
    /// the bytes that it could not write. Only earlier durable records count now, in this boot too.
    pub fn checkpoint(&self, part: &File) -> io::Result<()> {
        let journal = *lock(&self.end);
        if file::sync_data(part).inspect_err(|_| drop(distrust(&self.file)))? {
            self.append(&Record::Durable { journal })?;
            file::sync_data(&self.file)?;
        }
        Ok(())
    }

    /// Makes only durable records count from now on, after a failed sync: see [`distrust`].
    pub fn distrust(&self) -> io::Result<()> {
        distrust(&self.file)
    }

    /// Reserves the offset under the lock, and writes without the lock. A killed process may leave
    /// a gap before a written record. Reading stops at the gap, so that only good ranges count.
    fn append(&self, record: &Record) -> io::Result<()> {
        let at = {
            let mut end = lock(&self.end);
            *end += RECORD_SIZE as u64;
            *end - RECORD_SIZE as u64
        };
        self.append_at(at, record)?;
        Ok(())
    }

    fn append_at(&self, at: u64, record: &Record) -> io::Result<u64> {
        self.file.write_all_at(&record.encode(self.salt), at)?;
        Ok(at + RECORD_SIZE as u64)
    }
}

/// The length in bytes of the header of the journal in `file`, and the header.
pub fn read_header(file: &File) -> io::Result<Option<(u64, JournalHeader)>> {
    let mut bytes = vec![0; HEADER_SIZE + MAX_NAME + MAX_ETAG + 4];
    let count = read_full(file, &mut bytes, 0)?;
    Ok(JournalHeader::parse(&bytes[..count]).map(|(used, header)| (used as u64, header)))
}

/// Whether a journal may be written over `file`: it begins as a journal does, or it is empty or all
/// zeros. A power cut can leave the size of a new journal without its bytes.
pub fn looks_like_one(file: &File) -> io::Result<bool> {
    let mut buffer = vec![0; AUDIT_BUFFER];
    let mut count = read_full(file, &mut buffer, 0)?;
    let first = &buffer[..count.min(MAGIC.len())];
    if *first == MAGIC[..first.len()] {
        return Ok(true);
    }
    let mut at = 0;
    while count > 0 {
        if buffer[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += count as u64;
        count = read_full(file, &mut buffer, at)?;
    }
    Ok(true)
}

/// Whether `part` is the file that the journal in `file` was made for. Another file may have got
/// the name, or the inode number. The inode number counts only on file systems that keep it over a
/// mount.
pub fn is_about(file: &File, part: &File) -> io::Result<bool> {
    let Some((header, _, contents)) = Journal::open(file.try_clone()?)? else { return Ok(false) };
    let found = part.metadata()?;
    let keeps = volume::keeps_inodes(part);
    if keeps && header.inode != found.ino() {
        return Ok(false);
    }
    let mut buffer = vec![0; AUDIT_BUFFER];
    let mut samples =
        contents.iter().filter(|(_, (_, kept))| *kept != Recorded::Hole).take(SAMPLES).peekable();
    if samples.peek().is_some() {
        let holds = |(start, (end, kept)): (&u64, &(u64, Recorded))| {
            kept.holds_in(part, *start..*end, &mut buffer)
        };
        return Ok(samples.any(holds));
    }
    // Without records, a part file has its full length or only zeros.
    if keeps && (header.etag.is_empty() || header.size == found.len()) {
        return Ok(true);
    }
    let count = read_full(part, &mut buffer, 0)?;
    Ok(buffer[..count].iter().all(|byte| *byte == 0))
}

/// The total length of these ranges, in bytes.
pub fn bytes_of(contents: &Contents) -> u64 {
    contents.iter().map(|(start, (end, _))| end - start).sum()
}

/// Makes only durable records of the journal in `file` count from now on, as after a power cut. For
/// a failed sync: bytes that are read back may be in memory only.
pub fn distrust(file: &File) -> io::Result<()> {
    match read_header(file)? {
        Some((_, header)) => {
            let distrusted = JournalHeader { boot: NO_BOOT, ..header };
            file.write_all_at(&distrusted.encode(), 0)
        }
        None => Ok(()),
    }
}

/// Adds `record` to `contents`. It replaces earlier records of the same bytes.
fn keep(contents: &mut Contents, record: Record) {
    let (range, recorded) = match record {
        Record::Written { range, crc } => (range, Recorded::Bytes(crc)),
        Record::Hole { range } => (range, Recorded::Hole),
        Record::Durable { .. } => return,
        Record::Anew => return contents.clear(),
    };
    while let Some((&start, &(end, _))) = contents.range(..range.end).next_back() {
        if end <= range.start {
            break;
        }
        contents.remove(&start);
    }
    contents.insert(range.start, (range.end, recorded));
}

/// Reads until `buffer` is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Finds out the id of this boot, for journals that are made when the process may not read it any
/// more.
pub fn note_boot() {
    let _ = boot_id();
}

/// The id of this boot. If the kernel gives none, a random id, so that records count only within
/// this process.
fn boot_id() -> [u8; 16] {
    static ID: OnceLock<[u8; 16]> = OnceLock::new();
    *ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        crate::hash::from_hex(&digits).and_then(|id| id.try_into().ok()).unwrap_or_else(|| {
            let mut id = [0xff; 16];
            // Without random bytes, the process's number is the id.
            if random::fill(&mut id).is_err() {
                id[..4].copy_from_slice(&std::process::id().to_ne_bytes());
            }
            id
        })
    })
}

#[cfg(test)]
mod tests;
