//! The journal's promises. Cut or damaged at any byte, it never gives a range that was not
//! recorded.

use super::*;
use std::path::PathBuf;

struct Scratch {
    folder: PathBuf,
    part: File,
}

impl Scratch {
    fn new(test: &str) -> Scratch {
        let name = format!("ropewalk-journal-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        let part = options.open(folder.join("out.part")).unwrap();
        Scratch { folder, part }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("out.part.journal")
    }

    fn file(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).open(self.path()).unwrap()
    }

    fn create(&self) -> Journal {
        Journal::create(self.file(), &subject(), &self.part).unwrap()
    }

    fn contents(&self) -> Option<Contents> {
        Journal::open(self.file()).unwrap().map(|(_, _, contents)| contents)
    }

    /// Gives the journal the boot id of another boot.
    fn reboot(&self) {
        let (_, header) = read_header(&self.file()).unwrap().unwrap();
        let other = JournalHeader { boot: [9; 16], ..header };
        self.file().write_all_at(&other.encode(), 0).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn subject() -> Subject {
    Subject { name: b"box:80/f".to_vec(), etag: b"tag".to_vec(), size: 1000 }
}

fn contents(entries: &[(u64, u64, Recorded)]) -> Contents {
    entries.iter().map(|&(start, end, recorded)| (start, (end, recorded))).collect()
}

#[test]
fn recorded_ranges_are_read_again() {
    let scratch = Scratch::new("record");
    let journal = scratch.create();
    journal.written(100..200, 7).unwrap();
    journal.hole(200..300).unwrap();
    let expected = contents(&[(100, 200, Recorded::Bytes(7)), (200, 300, Recorded::Hole)]);
    assert_eq!(scratch.contents(), Some(expected));
}

#[test]
fn a_file_system_without_syncs_makes_nothing_durable_and_is_no_error() {
    let scratch = Scratch::new("no-sync");
    let journal = scratch.create();
    journal.written(0..100, 7).unwrap();
    journal.checkpoint(&File::open("/dev/null").unwrap()).unwrap();
    assert!(scratch.contents().is_some_and(|contents| contents.len() == 1));
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(Contents::new()));
}

#[test]
fn a_later_record_replaces_the_records_that_it_overlaps() {
    let scratch = Scratch::new("later");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.written(100..200, 2).unwrap();
    journal.written(50..150, 3).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(50, 150, Recorded::Bytes(3))])));
}

#[test]
fn after_another_boot_only_durable_records_count() {
    let scratch = Scratch::new("boot");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Recorded::Bytes(1))])));
}

#[test]
fn after_a_failed_sync_only_durable_records_count() {
    let scratch = Scratch::new("distrust");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    distrust(&scratch.file()).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Recorded::Bytes(1))])));
}

#[test]
fn a_record_between_the_sync_and_its_durable_record_is_not_durable() {
    let scratch = Scratch::new("between");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    let before = *lock(&journal.end);
    journal.written(100..200, 2).unwrap();
    journal.append(&Record::Durable { journal: before }).unwrap();
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Recorded::Bytes(1))])));
}

#[test]
fn durable_records_survive_a_second_boot_and_new_records_follow() {
    let scratch = Scratch::new("renew");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    scratch.reboot();
    let (header, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&header, &kept).unwrap();
    journal.written(200..300, 3).unwrap();
    let expected = contents(&[(0, 100, Recorded::Bytes(1)), (200, 300, Recorded::Bytes(3))]);
    assert_eq!(scratch.contents(), Some(expected));
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Recorded::Bytes(1))])));
}

#[test]
fn a_power_cut_at_any_byte_of_a_renewal_costs_no_durable_record() {
    let scratch = Scratch::new("renewal");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.written(100..200, 2).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(200..300, 3).unwrap();
    scratch.reboot();
    let before = std::fs::read(scratch.path()).unwrap();
    let (header, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&header, &kept).unwrap();
    let after = std::fs::read(scratch.path()).unwrap();
    let changed = before.iter().zip(&after).rposition(|(before, after)| before != after);
    let header = read_header(&scratch.file()).unwrap().unwrap().0 as usize;
    assert!(changed.is_some_and(|last| last < header), "no record is written over");
    for length in before.len()..=after.len() {
        std::fs::write(scratch.path(), &after[..length]).unwrap();
        scratch.reboot();
        assert_eq!(scratch.contents(), Some(kept.clone()), "cut at {length}");
    }
}

#[test]
fn a_range_behind_the_end_of_the_file_does_not_count() {
    let scratch = Scratch::new("past");
    let journal = scratch.create();
    journal.written(900..1000, 1).unwrap();
    journal.written(1000..1001, 1).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(900, 1000, Recorded::Bytes(1))])));
}

/// The bytes of a journal with twelve records, and the length of its header.
fn twelve(scratch: &Scratch) -> (Vec<u8>, usize) {
    let journal = scratch.create();
    for number in 0..12u64 {
        journal.written(number * 10..number * 10 + 10, number as u32).unwrap();
    }
    let bytes = std::fs::read(scratch.path()).unwrap();
    let header = bytes.len() - 12 * RECORD_SIZE;
    (bytes, header)
}

fn first_of_twelve(count: usize) -> Contents {
    (0..count as u64).map(|n| (n * 10, (n * 10 + 10, Recorded::Bytes(n as u32)))).collect()
}

#[test]
fn of_a_journal_that_is_cut_anywhere_only_whole_records_count() {
    let scratch = Scratch::new("cut");
    let (bytes, header) = twelve(&scratch);
    for length in 0..=bytes.len() {
        std::fs::write(scratch.path(), &bytes[..length]).unwrap();
        let expected = (length >= header).then(|| first_of_twelve((length - header) / RECORD_SIZE));
        assert_eq!(scratch.contents(), expected, "cut at {length}");
    }
}

#[test]
fn of_a_journal_that_is_damaged_anywhere_only_the_records_before_count() {
    let scratch = Scratch::new("damage");
    let (bytes, header) = twelve(&scratch);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        std::fs::write(scratch.path(), &damaged).unwrap();
        let expected = (at >= header).then(|| first_of_twelve((at - header) / RECORD_SIZE));
        assert_eq!(scratch.contents(), expected, "damaged at {at}");
    }
}

#[test]
fn new_records_behind_a_torn_tail_are_read_again() {
    let scratch = Scratch::new("torn");
    let (bytes, header) = twelve(&scratch);
    std::fs::write(scratch.path(), &bytes[..header + RECORD_SIZE + 5]).unwrap();
    let (head, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&head, &kept).unwrap();
    journal.written(500..600, 9).unwrap();
    let mut expected = first_of_twelve(1);
    expected.insert(500, (600, Recorded::Bytes(9)));
    assert_eq!(scratch.contents(), Some(expected));
}

#[test]
fn zeros_from_a_power_cut_may_be_overwritten_and_other_bytes_not() {
    let scratch = Scratch::new("zeros");
    let mut bytes = vec![0; AUDIT_BUFFER + 100];
    std::fs::write(scratch.path(), &bytes).unwrap();
    assert!(looks_like_one(&scratch.file()).unwrap());
    bytes[AUDIT_BUFFER + 50] = 1;
    std::fs::write(scratch.path(), &bytes).unwrap();
    assert!(!looks_like_one(&scratch.file()).unwrap());
}

/// The answer of [`is_about`] for the part file and a new journal of `subject`.
fn is_about_part(scratch: &Scratch, subject: &Subject) -> bool {
    Journal::create(scratch.file(), subject, &scratch.part).unwrap();
    is_about(&scratch.file(), &scratch.part).unwrap()
}

#[test]
fn a_journal_without_records_is_about_a_file_of_the_full_length() {
    let scratch = Scratch::new("about-length");
    scratch.part.write_all_at(&[7; 1000], 0).unwrap();
    assert!(is_about_part(&scratch, &subject()));
    scratch.part.write_all_at(&[7], 1000).unwrap();
    assert!(!is_about_part(&scratch, &subject()));
}

#[test]
fn a_journal_without_records_is_about_a_file_of_zeros() {
    let scratch = Scratch::new("about-zeros");
    scratch.part.write_all_at(&[0; 10], 0).unwrap();
    assert!(is_about_part(&scratch, &subject()));
    scratch.part.write_all_at(&[0, 0, 1], 0).unwrap();
    assert!(!is_about_part(&scratch, &subject()));
}

#[test]
fn a_journal_of_a_transfer_that_cannot_be_resumed_is_about_any_content() {
    let scratch = Scratch::new("about-untagged");
    scratch.part.write_all_at(&[7; 10], 0).unwrap();
    assert!(is_about_part(&scratch, &Subject { etag: Vec::new(), ..subject() }));
}

#[test]
fn a_journal_is_about_the_file_with_the_recorded_bytes() {
    let scratch = Scratch::new("about-bytes");
    let journal = scratch.create();
    scratch.part.write_all_at(&[7; 100], 0).unwrap();
    journal.hole(500..600).unwrap();
    journal.written(0..100, crate::hash::crc32c(&[7; 100])).unwrap();
    assert!(is_about(&scratch.file(), &scratch.part).unwrap());
    scratch.part.write_all_at(&[8], 99).unwrap();
    assert!(!is_about(&scratch.file(), &scratch.part).unwrap());
}

#[test]
fn a_journal_is_not_about_another_file_with_the_same_bytes() {
    let scratch = Scratch::new("about-inode");
    let journal = scratch.create();
    scratch.part.write_all_at(&[7; 100], 0).unwrap();
    journal.written(0..100, crate::hash::crc32c(&[7; 100])).unwrap();
    let other = scratch.folder.join("other");
    std::fs::copy(scratch.folder.join("out.part"), &other).unwrap();
    assert!(!is_about(&scratch.file(), &File::open(other).unwrap()).unwrap());
}

#[test]
fn a_range_that_is_longer_than_the_buffer_is_checked_whole() {
    let scratch = Scratch::new("long-range");
    scratch.part.write_all_at(b"0123456789", 5).unwrap();
    let recorded = Recorded::Bytes(crate::hash::crc32c(b"0123456789"));
    assert!(recorded.holds_in(&scratch.part, 5..15, &mut [0; 4]));
    scratch.part.write_all_at(b"x", 14).unwrap();
    assert!(!recorded.holds_in(&scratch.part, 5..15, &mut [0; 4]));
    assert!(!recorded.holds_in(&scratch.part, 5..16, &mut [0; 4]), "behind the end");
}

#[test]
fn the_recorded_bytes_are_counted() {
    let found = contents(&[(10, 15, Recorded::Hole), (20, 27, Recorded::Bytes(1))]);
    assert_eq!(bytes_of(&found), 12);
}

#[test]
fn all_records_of_a_long_journal_are_read() {
    let scratch = Scratch::new("batches");
    let subject = Subject { size: u64::MAX, ..subject() };
    let journal = Journal::create(scratch.file(), &subject, &scratch.part).unwrap();
    let count = BATCH as u64 + 1;
    (0..count).for_each(|number| journal.written(number * 2..number * 2 + 1, 7).unwrap());
    let found = scratch.contents().unwrap();
    assert_eq!((found.len() as u64, bytes_of(&found)), (count, count));
}

#[test]
fn a_file_that_begins_as_a_journal_may_be_overwritten() {
    let scratch = Scratch::new("magic");
    std::fs::write(scratch.path(), &MAGIC[..1]).unwrap();
    assert!(looks_like_one(&scratch.file()).unwrap());
    std::fs::write(scratch.path(), [&MAGIC[..], b"and more"].concat()).unwrap();
    assert!(looks_like_one(&scratch.file()).unwrap());
    std::fs::write(scratch.path(), b"").unwrap();
    assert!(looks_like_one(&scratch.file()).unwrap());
    std::fs::write(scratch.path(), b"\0text").unwrap();
    assert!(!looks_like_one(&scratch.file()).unwrap());
}

#[test]
fn a_renewed_journal_names_this_process() {
    let scratch = Scratch::new("pid");
    scratch.create();
    let (_, header) = read_header(&scratch.file()).unwrap().unwrap();
    let other = JournalHeader { pid: header.pid.wrapping_add(1), ..header };
    scratch.file().write_all_at(&other.encode(), 0).unwrap();
    let (header, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&header, &kept).unwrap();
    let (_, header) = read_header(&scratch.file()).unwrap().unwrap();
    assert_eq!(header.pid, std::process::id());
}

#[test]
fn a_journal_that_cannot_be_read_is_an_error() {
    let scratch = Scratch::new("unreadable");
    let file = File::create(scratch.path()).unwrap();
    assert!(read_header(&file).is_err());
}

#[test]
fn the_boot_id_is_that_of_the_kernel() {
    let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return };
    assert_eq!(crate::hash::hex(&boot_id()), text.trim().replace('-', ""));
}
