//! The journal's promises: it is cut at every byte and damaged at every byte, and
//! never vouches for what was not recorded.

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

fn contents(entries: &[(u64, u64, Vouched)]) -> Contents {
    entries.iter().map(|&(start, end, vouched)| (start, (end, vouched))).collect()
}

#[test]
fn what_was_recorded_is_vouched_for() {
    let scratch = Scratch::new("record");
    let journal = scratch.create();
    journal.written(100..200, 7).unwrap();
    journal.hole(200..300).unwrap();
    let expected = contents(&[(100, 200, Vouched::Bytes(7)), (200, 300, Vouched::Hole)]);
    assert_eq!(scratch.contents(), Some(expected));
}

#[test]
fn where_nothing_can_be_synced_nothing_is_durable_and_that_is_no_error() {
    let scratch = Scratch::new("no-sync");
    let journal = scratch.create();
    journal.written(0..100, 7).unwrap();
    journal.checkpoint(&File::open("/dev/null").unwrap()).unwrap();
    assert!(scratch.contents().is_some_and(|contents| contents.len() == 1));
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(Contents::new()));
}

#[test]
fn a_later_record_replaces_what_it_touches() {
    let scratch = Scratch::new("later");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.written(100..200, 2).unwrap();
    journal.written(50..150, 3).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(50, 150, Vouched::Bytes(3))])));
}

#[test]
fn after_another_boot_only_what_is_durable_counts() {
    let scratch = Scratch::new("boot");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Vouched::Bytes(1))])));
}

#[test]
fn after_a_failed_sync_only_what_was_durable_counts() {
    let scratch = Scratch::new("distrust");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    distrust(&scratch.file()).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Vouched::Bytes(1))])));
}

#[test]
fn a_record_between_the_sync_and_its_word_is_not_durable() {
    let scratch = Scratch::new("between");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    let before = *lock(&journal.end);
    journal.written(100..200, 2).unwrap();
    journal.append(&Record::Durable { journal: before }).unwrap();
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Vouched::Bytes(1))])));
}

#[test]
fn what_outlived_a_boot_outlives_the_next_and_new_records_follow() {
    let scratch = Scratch::new("renew");
    let journal = scratch.create();
    journal.written(0..100, 1).unwrap();
    journal.checkpoint(&scratch.part).unwrap();
    journal.written(100..200, 2).unwrap();
    scratch.reboot();
    let (header, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&header, &kept).unwrap();
    journal.written(200..300, 3).unwrap();
    let expected = contents(&[(0, 100, Vouched::Bytes(1)), (200, 300, Vouched::Bytes(3))]);
    assert_eq!(scratch.contents(), Some(expected));
    scratch.reboot();
    assert_eq!(scratch.contents(), Some(contents(&[(0, 100, Vouched::Bytes(1))])));
}

#[test]
fn a_renewal_that_a_power_cut_stops_anywhere_costs_nothing_that_was_durable() {
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
fn a_range_past_the_end_of_the_file_is_not_believed() {
    let scratch = Scratch::new("past");
    let journal = scratch.create();
    journal.written(900..1000, 1).unwrap();
    journal.written(1000..1001, 1).unwrap();
    assert_eq!(scratch.contents(), Some(contents(&[(900, 1000, Vouched::Bytes(1))])));
}

/// Twelve records, with what is vouched for after each number of them.
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
    (0..count as u64).map(|n| (n * 10, (n * 10 + 10, Vouched::Bytes(n as u32)))).collect()
}

#[test]
fn cut_at_every_byte_it_vouches_for_whole_records_only() {
    let scratch = Scratch::new("cut");
    let (bytes, header) = twelve(&scratch);
    for length in 0..=bytes.len() {
        std::fs::write(scratch.path(), &bytes[..length]).unwrap();
        let expected = (length >= header).then(|| first_of_twelve((length - header) / RECORD_SIZE));
        assert_eq!(scratch.contents(), expected, "cut at {length}");
    }
}

#[test]
fn damaged_at_every_byte_it_vouches_for_what_stands_before() {
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
fn after_a_torn_tail_new_records_are_read_again() {
    let scratch = Scratch::new("torn");
    let (bytes, header) = twelve(&scratch);
    std::fs::write(scratch.path(), &bytes[..header + RECORD_SIZE + 5]).unwrap();
    let (head, journal, kept) = Journal::open(scratch.file()).unwrap().unwrap();
    journal.renew(&head, &kept).unwrap();
    journal.written(500..600, 9).unwrap();
    let mut expected = first_of_twelve(1);
    expected.insert(500, (600, Vouched::Bytes(9)));
    assert_eq!(scratch.contents(), Some(expected));
}

#[test]
fn zeros_that_a_power_cut_has_left_are_overwritten_and_other_bytes_are_not() {
    let scratch = Scratch::new("zeros");
    let mut bytes = vec![0; AUDIT_BUFFER + 100];
    std::fs::write(scratch.path(), &bytes).unwrap();
    assert!(looks_like_one(&scratch.file()).unwrap());
    bytes[AUDIT_BUFFER + 50] = 1;
    std::fs::write(scratch.path(), &bytes).unwrap();
    assert!(!looks_like_one(&scratch.file()).unwrap());
}

/// What [`is_about`] says of the part file, beside a journal of `subject`.
fn is_about_part(scratch: &Scratch, subject: &Subject) -> bool {
    Journal::create(scratch.file(), subject, &scratch.part).unwrap();
    is_about(&scratch.file(), &scratch.part).unwrap()
}

#[test]
fn a_journal_that_vouches_for_nothing_is_about_a_file_of_the_full_length() {
    let scratch = Scratch::new("about-length");
    scratch.part.write_all_at(&[7; 1000], 0).unwrap();
    assert!(is_about_part(&scratch, &subject()));
    scratch.part.write_all_at(&[7], 1000).unwrap();
    assert!(!is_about_part(&scratch, &subject()));
}

#[test]
fn a_journal_that_vouches_for_nothing_is_about_a_file_of_zeros() {
    let scratch = Scratch::new("about-zeros");
    scratch.part.write_all_at(&[0; 10], 0).unwrap();
    assert!(is_about_part(&scratch, &subject()));
    scratch.part.write_all_at(&[0, 0, 1], 0).unwrap();
    assert!(!is_about_part(&scratch, &subject()));
}

#[test]
fn a_journal_of_a_transfer_that_cannot_go_on_is_about_whatever_it_was_made_for() {
    let scratch = Scratch::new("about-untagged");
    scratch.part.write_all_at(&[7; 10], 0).unwrap();
    assert!(is_about_part(&scratch, &Subject { etag: Vec::new(), ..subject() }));
}

#[test]
fn a_journal_is_about_the_file_whose_bytes_it_knows() {
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
fn a_range_that_is_longer_than_the_buffer_is_checked_to_its_end() {
    let scratch = Scratch::new("long-range");
    scratch.part.write_all_at(b"0123456789", 5).unwrap();
    let vouched = Vouched::Bytes(crate::hash::crc32c(b"0123456789"));
    assert!(vouched.holds_in(&scratch.part, 5..15, &mut [0; 4]));
    scratch.part.write_all_at(b"x", 14).unwrap();
    assert!(!vouched.holds_in(&scratch.part, 5..15, &mut [0; 4]));
    assert!(!vouched.holds_in(&scratch.part, 5..16, &mut [0; 4]), "behind the end");
}

#[test]
fn bytes_that_a_journal_vouches_for_are_counted() {
    let found = contents(&[(10, 15, Vouched::Hole), (20, 27, Vouched::Bytes(1))]);
    assert_eq!(bytes_of(&found), 12);
}

#[test]
fn more_records_than_are_read_at_once_are_all_read() {
    let scratch = Scratch::new("batches");
    let subject = Subject { size: u64::MAX, ..subject() };
    let journal = Journal::create(scratch.file(), &subject, &scratch.part).unwrap();
    let count = BATCH as u64 + 1;
    (0..count).for_each(|number| journal.written(number * 2..number * 2 + 1, 7).unwrap());
    let found = scratch.contents().unwrap();
    assert_eq!((found.len() as u64, bytes_of(&found)), (count, count));
}

#[test]
fn a_file_that_begins_as_a_journal_does_may_be_overwritten_as_such() {
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
fn the_boot_is_known_by_the_kernel_s_number() {
    let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return };
    assert_eq!(crate::hash::hex(&boot_id()), text.trim().replace('-', ""));
}
