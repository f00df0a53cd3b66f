//! An entry of a listing: what a source says of a file, folder or link of a tree.

#![forbid(unsafe_code)]

use super::big_endian::{u16_at, u32_at, u64_at};
use super::message::version::Stamp;
use super::name::is_component;
use std::num::NonZeroU64;

/// Bytes of an identity: a hash of what changes with the file's bytes.
pub const IDENTITY_SIZE: usize = 16;

/// Longest text of a symbolic link, in bytes (PATH_MAX without its NUL).
pub const MAX_LINK_TEXT: usize = 4095;

/// Longest entry, in bytes: one with the longest name and text, and room for what later fields
/// may take.
pub const MAX_ENTRY: u32 = 8 << 10;

/// Bytes before the name.
pub const FIXED_SIZE: usize = 68;

/// All bits that a mode may have.
pub const MODE_BITS: u16 = 0o7777;

/// Largest size of a file: what the kernel can address.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// They end within an entry.
    Cut,
    /// A field is invalid.
    Field(&'static str),
    /// The name does not come after the one before it.
    Order,
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntryError::Cut => f.write_str("an entry is cut off"),
            EntryError::Field(name) => write!(f, "an entry has an invalid field '{name}'"),
            EntryError::Order => f.write_str("names are not in order"),
        }
    }
}

impl std::error::Error for EntryError {}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType<'a> {
    /// 1: a regular file.
    File,
    /// 2: a folder.
    Folder,
    /// 3: a symbolic link with this text, which is never empty and has no NUL.
    Link(&'a [u8]),
    /// 4: a FIFO, a socket, a device, or a file in progress: not sent.
    Other,
    /// 5: something that the source cannot look at. Only its name is known.
    Unreadable,
}

const TYPE_FILE: u8 = 1;
const TYPE_FOLDER: u8 = 2;
const TYPE_LINK: u8 = 3;
const TYPE_OTHER: u8 = 4;
const TYPE_UNREADABLE: u8 = 5;

/// An entry.
///
/// ```text
///  0        2          3      4      6          8         16         20    24    28     36
/// +--------+----------+------+------+----------+---------+----------+-----+-----+------+
/// | length | name len | type | mode | text len | mtime s | mtime ns | uid | gid | size |
/// +--------+----------+------+------+----------+---------+----------+-----+-----+------+
///  36       44          52         68
/// +--------+-----------+----------+------+------+------------+
/// | stored | inode tag | identity | name | text | more fields |
/// +--------+-----------+----------+------+------+------------+
/// ```
///
/// `length` counts all bytes of the entry. A reader passes over fields behind the text, which
/// a later program may add. Only a link has a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name in its folder.
    pub name: &'a [u8],
    /// What it is.
    pub entry_type: EntryType<'a>,
    /// The bits of chmod(2).
    pub mode: u16,
    /// When its content was last written.
    pub mtime: Stamp,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes of a file, at most 2^63 - 1.
    pub size: u64,
    /// Bytes that it takes on the source's disk.
    pub stored: u64,
    /// What entries of one inode have in common; `None` where there is only one.
    pub inode_tag: Option<NonZeroU64>,
    /// Which state of it; a folder's stays while its entries change.
    pub identity: [u8; IDENTITY_SIZE],
}

impl<'a> Entry<'a> {
    /// How many bytes [`Entry::encode_into`] appends.
    pub fn encoded_size(&self) -> usize {
        FIXED_SIZE + self.name.len() + self.text().len()
    }

    fn text(&self) -> &'a [u8] {
        match self.entry_type {
            EntryType::Link(text) => text,
            EntryType::File | EntryType::Folder | EntryType::Other | EntryType::Unreadable => b"",
        }
    }

    /// Appends the entry's bytes to `out`. Name and text are no longer than they may be.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let entry_type = match self.entry_type {
            EntryType::File => TYPE_FILE,
            EntryType::Folder => TYPE_FOLDER,
            EntryType::Link(_) => TYPE_LINK,
            EntryType::Other => TYPE_OTHER,
            EntryType::Unreadable => TYPE_UNREADABLE,
        };
        let tag = self.inode_tag.map_or(0, NonZeroU64::get);
        out.extend_from_slice(&(self.encoded_size() as u16).to_be_bytes());
        out.extend_from_slice(&[self.name.len() as u8, entry_type]);
        out.extend_from_slice(&self.mode.to_be_bytes());
        out.extend_from_slice(&(self.text().len() as u16).to_be_bytes());
        out.extend_from_slice(&self.mtime.seconds.to_be_bytes());
        for number in [self.mtime.nanoseconds, self.uid, self.gid] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.size, self.stored, tag] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.identity);
        out.extend_from_slice(self.name);
        out.extend_from_slice(self.text());
    }

    /// Reads the entry that `bytes` begin with, and how many bytes it has.
    ///
    /// # Errors
    /// `bytes` end before the entry does, or a field is invalid.
    pub fn parse(bytes: &'a [u8]) -> Result<(usize, Entry<'a>), EntryError> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_SIZE>().ok_or(EntryError::Cut)?;
        let length = usize::from(u16_at(fixed, 0));
        if !(FIXED_SIZE..=MAX_ENTRY as usize).contains(&length) {
            return Err(EntryError::Field("length"));
        }
        let rest = rest.get(..length - FIXED_SIZE).ok_or(EntryError::Cut)?;
        let too_long = EntryError::Field("length");
        let (name, rest) = rest.split_at_checked(usize::from(fixed[2])).ok_or(too_long)?;
        let text = rest.get(..usize::from(u16_at(fixed, 6))).ok_or(too_long)?;
        let entry_type = match fixed[3] {
            TYPE_LINK if is_link_text(text) => EntryType::Link(text),
            TYPE_FILE if text.is_empty() => EntryType::File,
            TYPE_FOLDER if text.is_empty() => EntryType::Folder,
            TYPE_OTHER if text.is_empty() => EntryType::Other,
            TYPE_UNREADABLE if text.is_empty() => EntryType::Unreadable,
            TYPE_FILE..=TYPE_UNREADABLE => return Err(EntryError::Field("text")),
            _ => return Err(EntryError::Field("type")),
        };
        let mut identity = [0; IDENTITY_SIZE];
        identity.copy_from_slice(&fixed[52..]);
        let seconds = u64_at(fixed, 8) as i64;
        let entry = Entry {
            name,
            entry_type,
            mode: u16_at(fixed, 4),
            mtime: Stamp { seconds, nanoseconds: u32_at(fixed, 16) },
            uid: u32_at(fixed, 20),
            gid: u32_at(fixed, 24),
            size: u64_at(fixed, 28),
            stored: u64_at(fixed, 36),
            inode_tag: NonZeroU64::new(u64_at(fixed, 44)),
            identity,
        };
        entry.check().map(|()| (length, entry))
    }

    fn check(&self) -> Result<(), EntryError> {
        for (is_good, field) in [
            (is_component(self.name), "name"),
            (self.mode <= MODE_BITS, "mode"),
            (self.mtime.nanoseconds < 1_000_000_000, "mtime"),
            (self.size <= MAX_SIZE, "size"),
        ] {
            if !is_good {
                return Err(EntryError::Field(field));
            }
        }
        Ok(())
    }
}

fn is_link_text(text: &[u8]) -> bool {
    (1..=MAX_LINK_TEXT).contains(&text.len()) && !text.contains(&0)
}

/// The entries of a page, in their order. It ends at the first error.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    bytes: &'a [u8],
    /// The name before the next one.
    last: &'a [u8],
}

impl<'a> Page<'a> {
    /// The entries in `bytes`, which come after the name `after`; that is empty on a folder's
    /// first page.
    pub fn new(bytes: &'a [u8], after: &'a [u8]) -> Page<'a> {
        Page { bytes, last: after }
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return None;
        }
        Some(Entry::parse(bytes).and_then(|(used, entry)| {
            if entry.name <= self.last {
                return Err(EntryError::Order);
            }
            self.bytes = &bytes[used..];
            self.last = entry.name;
            Ok(entry)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    const FILE: Entry<'static> = Entry {
        name: b"a.jpg",
        entry_type: EntryType::File,
        mode: 0o644,
        mtime: Stamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
        uid: 1000,
        gid: 100,
        size: 5 << 30,
        stored: 4096,
        inode_tag: None,
        identity: *b"0123456789abcdef",
    };

    const LINK: Entry<'static> = Entry {
        name: b"b",
        entry_type: EntryType::Link(b"../c"),
        mode: 0o777,
        mtime: Stamp { seconds: -1, nanoseconds: 999_999_999 },
        size: 4,
        stored: 0,
        inode_tag: NonZeroU64::new(7),
        ..FILE
    };

    fn bytes(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        entry.encode_into(&mut out);
        out
    }

    /// An entry with other bytes at a place.
    fn altered(entry: &Entry<'_>, at: usize, with: &[u8]) -> Vec<u8> {
        let mut bytes = bytes(entry);
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    }

    #[track_caller]
    fn refused(bytes: &[u8], field: &'static str) {
        assert_eq!(Entry::parse(bytes), Err(EntryError::Field(field)));
    }

    #[test]
    fn golden_entries() {
        let golden = "0049050101a40000000000006553f100075bcd15000003e80000006400000001400000000000\
            000000001000000000000000000030313233343536373839616263646566612e6a7067";
        assert_eq!(hex(&bytes(&FILE)), golden);
        let golden = "0049010301ff0004ffffffffffffffff3b9ac9ff000003e80000006400000000000000040000\
            0000000000000000000000000007303132333435363738396162636465\
            66622e2e2f63";
        assert_eq!(hex(&bytes(&LINK)), golden);
    }

    #[test]
    fn a_written_entry_reads_back() {
        let link = EntryType::Link(&[b'x'; 4095]);
        for entry_type in [EntryType::Folder, EntryType::Other, EntryType::Unreadable, link] {
            for name in [&b"n"[..], &[0xff; 255]] {
                let early = Stamp { seconds: i64::MIN, nanoseconds: 0 };
                for mtime in [early, Stamp { seconds: i64::MAX, nanoseconds: 999_999_999 }] {
                    let entry = Entry { name, entry_type, mtime, mode: 0o7777, ..FILE };
                    let bytes = bytes(&entry);
                    assert_eq!(bytes.len(), entry.encoded_size());
                    assert!(bytes.len() <= MAX_ENTRY as usize);
                    assert_eq!(Entry::parse(&bytes), Ok((bytes.len(), entry)));
                }
            }
        }
    }

    #[test]
    fn an_entry_that_is_cut_off_is_told_from_an_invalid_one() {
        let whole = bytes(&LINK);
        for length in 0..whole.len() {
            assert_eq!(Entry::parse(&whole[..length]), Err(EntryError::Cut), "{length}");
        }
    }

    #[test]
    fn fields_that_a_later_program_adds_are_passed_over() {
        let mut longer = altered(&LINK, 0, &(bytes(&LINK).len() as u16 + 3).to_be_bytes());
        longer.extend_from_slice(b"new");
        assert_eq!(Entry::parse(&longer), Ok((longer.len(), LINK)));
        let page = [&bytes(&FILE)[..], &longer].concat();
        assert_eq!(Page::new(&page, b"").collect::<Vec<_>>(), [Ok(FILE), Ok(LINK)]);
    }

    #[test]
    fn lengths_fit_into_the_entry() {
        refused(&altered(&FILE, 0, &[0, 67]), "length");
        refused(&altered(&FILE, 0, &[0x20, 1]), "length");
        refused(&altered(&FILE, 2, &[6]), "length");
        refused(&altered(&LINK, 6, &[0, 5]), "length");
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_folder() {
        for name in [&b"a/jpg"[..], b"a\0jpg", b"/.jpg"] {
            refused(&altered(&FILE, 68, name), "name");
        }
        for name in [&b""[..], b".", b"..", b"/"] {
            refused(&bytes(&Entry { name, ..FILE }), "name");
        }
    }

    #[test]
    fn only_a_link_has_a_text_and_a_link_has_one() {
        for other in [TYPE_FILE, TYPE_FOLDER, TYPE_OTHER, TYPE_UNREADABLE] {
            refused(&altered(&LINK, 3, &[other]), "text");
        }
        refused(&altered(&FILE, 3, &[TYPE_LINK]), "text");
        refused(&altered(&LINK, 69, b"\0"), "text");
        refused(&bytes(&Entry { entry_type: EntryType::Link(&[b'x'; 4096]), ..FILE }), "text");
        for unknown in [0, 6, 255] {
            refused(&altered(&FILE, 3, &[unknown]), "type");
        }
    }

    #[test]
    fn numbers_are_in_their_ranges() {
        refused(&altered(&FILE, 4, &0o10000u16.to_be_bytes()), "mode");
        refused(&altered(&FILE, 16, &1_000_000_000u32.to_be_bytes()), "mtime");
        refused(&altered(&FILE, 28, &(1u64 << 63).to_be_bytes()), "size");
    }

    #[test]
    fn the_names_of_a_page_rise_strictly() {
        let order = Some(Err(EntryError::Order));
        let page = [bytes(&FILE), bytes(&LINK)].concat();
        assert_eq!(Page::new(&page, b"a").collect::<Vec<_>>(), [Ok(FILE), Ok(LINK)]);
        assert_eq!(Page::new(&page, b"a.jpg").next(), order);
        assert_eq!(Page::new(&page, b"b").next(), order);
        for wrong in [[bytes(&LINK), bytes(&FILE)], [bytes(&FILE), bytes(&FILE)]] {
            assert_eq!(Page::new(&wrong.concat(), b"").nth(1), order);
        }
    }

    #[test]
    fn a_page_ends_at_its_first_error() {
        let page = [&bytes(&FILE)[..], &bytes(&LINK)[..70]].concat();
        let all: Vec<_> = Page::new(&page, b"").collect();
        assert_eq!(all, [Ok(FILE), Err(EntryError::Cut)]);
        assert_eq!(Page::new(b"", b"").next(), None);
    }

    #[test]
    fn an_error_says_in_words_what_is_wrong() {
        for (error, words) in [
            (EntryError::Cut, "an entry is cut off"),
            (EntryError::Field("mode"), "an entry has an invalid field 'mode'"),
            (EntryError::Order, "names are not in order"),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
