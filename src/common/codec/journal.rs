//! The bytes of `OUT.part.journal`: a header, and records of the content of `OUT.part`.
//! Big-endian, so that a disk can move to another machine. transfer/store/journal.rs reads and writes
//! the file.

#![forbid(unsafe_code)]

use super::etag::MAX_OPAQUE;
use crate::hash::crc32c::{crc32c, extend};
use std::ops::Range;

/// The first bytes of a journal: its name and the version of its format.
pub const MAGIC: [u8; 8] = *b"ropewj1\n";

/// Longest name of a file on a server that a journal can hold, in bytes.
pub const MAX_NAME: usize = 8192;

/// Longest entity tag that a journal can hold, in bytes: the longest that the client accepts,
/// with its quotes.
pub const MAX_ETAG: usize = MAX_OPAQUE + 2;

/// Bytes of the header before the name.
pub const HEADER_SIZE: usize = 64;

/// Bytes of a record.
pub const RECORD_SIZE: usize = 28;

/// The header: which transfer a journal is about.
///
/// ```text
///  0       8          10         12     16    20     28         36
/// +-------+----------+----------+------+-----+------+----------+---------+
/// | magic | name len | etag len | salt | pid | size | device   | inode   |
/// +-------+----------+----------+------+-----+------+----------+---------+
///  44             60         64
/// +--------------+----------+------+------+--------+
/// | boot id      | reserved | name | etag | CRC32C |
/// +--------------+----------+------+------+--------+
/// ```
///
/// The CRC covers everything before it. Device and inode are those of the part file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHeader {
    /// A random number in the CRC of each record. Records of an older journal, left on the disk,
    /// then have a wrong CRC.
    pub salt: u32,
    /// The process that holds the part file, for the message to a second client.
    pub pid: u32,
    /// The file's size on the server, in bytes.
    pub size: u64,
    /// The device that the part file is on.
    pub device: u64,
    /// The part file's inode.
    pub inode: u64,
    /// The boot in which the records were written.
    pub boot: [u8; 16],
    /// The file's name on the server, for a person who looks at the journal.
    pub name: Vec<u8>,
    /// The file's entity tag.
    pub etag: Vec<u8>,
}

impl JournalHeader {
    /// The header's bytes. Name and tag are cut at [`MAX_NAME`] and [`MAX_ETAG`]: a
    /// journal whose header was cut matches no transfer.
    pub fn encode(&self) -> Vec<u8> {
        let name = &self.name[..self.name.len().min(MAX_NAME)];
        let etag = &self.etag[..self.etag.len().min(MAX_ETAG)];
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(name.len() as u16).to_be_bytes());
        out.extend_from_slice(&(etag.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.salt.to_be_bytes());
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.device.to_be_bytes());
        out.extend_from_slice(&self.inode.to_be_bytes());
        out.extend_from_slice(&self.boot);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(name);
        out.extend_from_slice(etag);
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the header at the start of `bytes`. The answer is its length in bytes and the
    /// header; `None` if it is incomplete or damaged.
    pub fn parse(bytes: &[u8]) -> Option<(usize, JournalHeader)> {
        let fixed: &[u8; HEADER_SIZE] = bytes.first_chunk()?;
        let number = |at: usize, count: usize| {
            fixed[at..at + count].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (name_length, etag_length) = (number(8, 2) as usize, number(10, 2) as usize);
        if fixed[..8] != MAGIC || name_length > MAX_NAME || etag_length > MAX_ETAG {
            return None;
        }
        let end = HEADER_SIZE + name_length + etag_length;
        let crc = bytes.get(end..end + 4)?;
        if crc32c(&bytes[..end]).to_be_bytes() != crc {
            return None;
        }
        let mut boot = [0; 16];
        boot.copy_from_slice(&fixed[44..60]);
        let (name, etag) = bytes[HEADER_SIZE..end].split_at(name_length);
        let header = JournalHeader {
            salt: number(12, 4) as u32,
            pid: number(16, 4) as u32,
            size: number(20, 8),
            device: number(28, 8),
            inode: number(36, 8),
            boot,
            name: name.to_vec(),
            etag: etag.to_vec(),
        };
        Some((end + 4, header))
    }
}

/// A record.
///
/// ```text
///  0      1          4             8        16       24       28
/// +------+----------+-------------+--------+--------+--------+
/// | kind | reserved | payload CRC | offset | length | CRC32C |
/// +------+----------+-------------+--------+--------+--------+
/// ```
///
/// The CRC covers the journal's salt and bytes 0 to 23.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Kind `W`: the range was written, and its bytes have this CRC32C.
    Written {
        /// The offset in the part file, in bytes.
        range: Range<u64>,
        /// The CRC32C of the bytes there.
        crc: u32,
    },
    /// Kind `Z`: the range is a hole.
    Hole {
        /// Where in the part file.
        range: Range<u64>,
    },
    /// Kind `D`: the disk has the data that the records in the first `journal` bytes of this
    /// journal name. The length is 0.
    Durable {
        /// A length of the journal from its start, in bytes. A list of ranges would grow with
        /// what arrived.
        journal: u64,
    },
    /// Kind `X`: no record before this one counts. Offset and length are 0.
    Anew,
}

const KIND_WRITTEN: u8 = b'W';
const KIND_HOLE: u8 = b'Z';
const KIND_DURABLE: u8 = b'D';
const KIND_ANEW: u8 = b'X';

impl Record {
    /// The record's bytes in the journal with this salt.
    pub fn encode(&self, salt: u32) -> [u8; RECORD_SIZE] {
        let (kind, crc, offset, length) = match self {
            Record::Written { range, crc } => {
                (KIND_WRITTEN, *crc, range.start, range.end - range.start)
            }
            Record::Hole { range } => (KIND_HOLE, 0, range.start, range.end - range.start),
            Record::Durable { journal } => (KIND_DURABLE, 0, *journal, 0),
            Record::Anew => (KIND_ANEW, 0, 0, 0),
        };
        let mut out = [0; RECORD_SIZE];
        out[0] = kind;
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out[8..16].copy_from_slice(&offset.to_be_bytes());
        out[16..24].copy_from_slice(&length.to_be_bytes());
        let seal = record_crc(salt, &out);
        out[24..28].copy_from_slice(&seal.to_be_bytes());
        out
    }

    /// The record in `bytes`; `None` if they are damaged or no record.
    pub fn parse(bytes: &[u8; RECORD_SIZE], salt: u32) -> Option<Record> {
        let number = |at: usize, count: usize| {
            bytes[at..at + count].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        if u64::from(record_crc(salt, bytes)) != number(24, 4) {
            return None;
        }
        let (crc, offset, length) = (number(4, 4) as u32, number(8, 8), number(16, 8));
        let range = offset..offset.checked_add(length)?;
        match bytes[0] {
            KIND_WRITTEN if length > 0 => Some(Record::Written { range, crc }),
            KIND_HOLE if length > 0 => Some(Record::Hole { range }),
            KIND_DURABLE => Some(Record::Durable { journal: offset }),
            KIND_ANEW => Some(Record::Anew),
            _ => None,
        }
    }
}

fn record_crc(salt: u32, bytes: &[u8; RECORD_SIZE]) -> u32 {
    extend(crc32c(&salt.to_be_bytes()), &bytes[..RECORD_SIZE - 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    fn header() -> JournalHeader {
        JournalHeader {
            salt: 0x0102_0304,
            pid: 4711,
            size: 5 << 30,
            device: 0x803,
            inode: 42,
            boot: *b"0123456789abcdef",
            name: b"box:8080/f".to_vec(),
            etag: b"\"e\"".to_vec(),
        }
    }

    #[test]
    fn golden_header() {
        let expected = concat!(
            "726f7065776a310a000a00030102030400001267",
            "00000001400000000000000000000803000000000000002a",
            "3031323334353637383961626364656600000000",
            "626f783a383038302f66226522",
        );
        let bytes = header().encode();
        assert_eq!(hex(&bytes[..bytes.len() - 4]), expected);
    }

    #[test]
    fn golden_records() {
        let written = Record::Written { range: 4096..8192, crc: 0x0a0b_0c0d };
        assert_eq!(
            hex(&written.encode(7)[..24]),
            "570000000a0b0c0d00000000000010000000000000001000"
        );
        let durable = Record::Durable { journal: 300 };
        assert_eq!(
            hex(&durable.encode(7)[..24]),
            "4400000000000000000000000000012c0000000000000000"
        );
    }

    #[test]
    fn a_written_journal_reads_back() {
        let bytes = header().encode();
        assert_eq!(JournalHeader::parse(&bytes), Some((bytes.len(), header())));
        for record in [
            Record::Written { range: 6 << 30..7 << 30, crc: 1 },
            Record::Hole { range: 0..1 },
            Record::Hole { range: 4096..12_288 },
            Record::Durable { journal: 1 << 40 },
            Record::Anew,
        ] {
            assert_eq!(Record::parse(&record.encode(9), 9), Some(record));
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_none() {
        let bytes = header().encode();
        for length in 0..bytes.len() {
            assert_eq!(JournalHeader::parse(&bytes[..length]), None);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(JournalHeader::parse(&bytes), None, "header, bit {bit}");
        }
        let record = Record::Written { range: 0..128, crc: 5 }.encode(1);
        for bit in 0..RECORD_SIZE * 8 {
            let mut record = record;
            record[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::parse(&record, 1), None, "record, bit {bit}");
        }
    }

    /// A header with other bytes at `at`, followed by `more`, and the right CRC.
    fn altered(at: usize, bytes: &[u8], more: usize) -> Vec<u8> {
        let mut header = header().encode();
        header.truncate(header.len() - 4);
        header[at..at + bytes.len()].copy_from_slice(bytes);
        header.resize(header.len() + more, b'x');
        let crc = crc32c(&header);
        header.extend_from_slice(&crc.to_be_bytes());
        header
    }

    #[test]
    fn a_header_of_another_format_is_none() {
        assert!(JournalHeader::parse(&altered(0, &MAGIC, 0)).is_some());
        assert_eq!(JournalHeader::parse(&altered(6, b"2", 0)), None);
    }

    #[test]
    fn a_header_with_longer_texts_than_there_can_be_is_none() {
        let name = (MAX_NAME as u16 + 1).to_be_bytes();
        assert_eq!(JournalHeader::parse(&altered(8, &name, MAX_NAME + 1 - 10)), None);
        let etag = (MAX_ETAG as u16 + 1).to_be_bytes();
        assert_eq!(JournalHeader::parse(&altered(10, &etag, MAX_ETAG + 1 - 3)), None);
    }

    #[test]
    fn a_record_of_no_bytes_is_none() {
        let (range, crc) = (9..9, 0);
        assert_eq!(Record::parse(&Record::Hole { range: range.clone() }.encode(1), 1), None);
        assert_eq!(Record::parse(&Record::Written { range, crc }.encode(1), 1), None);
    }

    #[test]
    fn a_record_of_another_journal_is_none() {
        assert_eq!(Record::parse(&Record::Hole { range: 0..9 }.encode(1), 2), None);
    }

    #[test]
    fn names_of_the_greatest_length_are_kept_and_longer_ones_match_nothing() {
        let mut longest = header();
        longest.name = vec![b'n'; MAX_NAME];
        longest.etag = vec![b'e'; MAX_ETAG];
        assert_eq!(JournalHeader::parse(&longest.encode()).unwrap().1, longest);
        longest.name.push(b'n');
        assert_ne!(JournalHeader::parse(&longest.encode()).unwrap().1, longest);
    }

    #[test]
    fn the_longest_tag_of_a_server_fits_with_its_quotes_and_nothing_longer() {
        let mut header = header();
        header.etag = format!("\"{}\"", "x".repeat(MAX_OPAQUE)).into_bytes();
        assert_eq!(JournalHeader::parse(&header.encode()).unwrap().1, header);
        header.etag.push(b'x');
        assert_ne!(JournalHeader::parse(&header.encode()).unwrap().1, header);
    }
}
