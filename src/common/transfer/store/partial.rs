//! Whether a transfer of the ropewalk protocol resumes an earlier run or starts over. This is
//! decided before the transfer asks for its first byte.

#![forbid(unsafe_code)]

use super::basis;
use super::journal::{self, Journal, Subject, bytes_of};
use super::output::PartFile;
use super::space;
use crate::codec::journal::JournalHeader;
use crate::error::{Error, Result};
use crate::sys::file;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// How a transfer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No earlier run left anything.
    Fresh,
    /// An earlier run left this many bytes, which will be checked.
    Resumed(u64),
    /// The transfer starts over, since the earlier bytes are useless: the reason, for the user.
    Over(&'static str),
}

/// How the user wants the transfer to begin and to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// Whether to ignore what an earlier run left.
    pub restart: bool,
    /// Whether to wait for the disk.
    pub sync: bool,
    /// Whether to do without the bytes of an older file.
    pub whole: bool,
}

impl StartOptions {
    /// Whether an older file may serve as basis.
    fn has_delta(self) -> bool {
        !self.whole && !self.restart
    }
}

/// Prepares `part` and its journal to receive `subject`, of which the server stores `stored` bytes.
/// Finds a basis, where `start_options` allow one. Returns how the transfer begins.
///
/// # Errors
/// The disk has no space for the file. That is known now, and not at the last byte.
pub fn prepare(
    part: &mut PartFile,
    subject: &Subject,
    stored: u64,
    start_options: StartOptions,
) -> Result<Start> {
    let shown = part.output().shown().to_string();
    let failed = |error: io::Error| Error::system(&shown, &error);
    // The part file may be the work of hours. It stays after any error, until it is known to be
    // useless.
    part.keep(part.file().metadata().map_err(failed)?.len() > 0);
    let found = find(part.file(), part.journal(), subject).map_err(failed)?;
    let start = match found {
        Found::Bytes(bytes) if !start_options.restart => Start::Resumed(bytes),
        Found::Changed(_) if !start_options.restart => Start::Over(CHANGED),
        Found::Useless(reason) if !start_options.restart => Start::Over(reason),
        _ => Start::Fresh,
    };
    let output = start_options.has_delta().then(|| basis::of_output(part, subject.size)).flatten();
    let takes_part = match found {
        Found::Changed(worth) => {
            start_options.has_delta() && basis::is_better(worth, output.as_ref())
        }
        Found::Nothing | Found::Useless(_) | Found::Bytes(_) => false,
    };
    if !matches!(start, Start::Resumed(_)) {
        // The journal may be about a file that was renamed just before a kill. Until that name
        // is on the disk, a power cut brings that file back, and it needs its journal.
        if start_options.sync && part.journal().metadata().map_err(failed)?.len() > 0 {
            part.sync_folder()?;
        }
        if takes_part {
            part.replace()?;
            // A new journal beside the old part file would make that a foreign one.
            if start_options.sync {
                part.sync_folder()?;
            }
        }
        begin(part, subject, start_options.sync).map_err(failed)?;
    }
    let mut output = output.map(|output| output.file);
    if !takes_part {
        part.set_basis(output.take());
    }
    // After a failed sync, bytes of an earlier run may be lost although they can be read.
    let lost = |part: &PartFile| drop(journal::distrust(part.journal()));
    if start_options.sync {
        // The journal must be on the disk before the part file has a byte. Without a journal, the
        // next run takes the part file for another program's.
        if !file::sync(part.journal()).inspect_err(|_| lost(part)).map_err(failed)? {
            part.lacks_syncs();
        }
        part.sync_folder()?;
    }
    let held = if let Start::Resumed(bytes) = start { bytes } else { 0 };
    let reserve = |part: &PartFile| space::reserve(part.file(), subject.size, stored, held, &shown);
    if let Err(error) = reserve(part) {
        if !takes_part {
            return Err(error);
        }
        part.set_basis(output); // the old part file takes the space that the new one needs
        reserve(part)?;
    }
    // An earlier run may have left gigabytes, which a disk needs minutes to sync. So they are
    // synced while the rest comes, before the first durable record. A failed sync is noticed then.
    if start_options.sync && !matches!(start, Start::Resumed(_)) {
        file::sync(part.file()).inspect_err(|_| lost(part)).map_err(failed)?;
    }
    Ok(start)
}

/// Why a transfer starts over whose part file can be a basis.
const CHANGED: &str = "the file on the server has changed";

/// What an earlier run left.
pub(in crate::transfer) enum Found {
    /// Nothing.
    Nothing,
    /// Bytes that are of no use, for this reason.
    Useless(&'static str),
    /// So many bytes of another state of the file.
    Changed(u64),
    /// So many bytes.
    Bytes(u64),
}

/// Finds out what an earlier run left. If that can be used, renews the journal for this run. The
/// journal is about this part file, or the part file is empty.
pub(in crate::transfer) fn find(
    part: &File,
    journal: &File,
    subject: &Subject,
) -> io::Result<Found> {
    let there = part.metadata()?;
    if there.len() == 0 {
        // The part file is new. It may have the inode number of the file that the journal is about.
        return Ok(Found::Nothing);
    }
    let Some((header, journal, contents)) = Journal::open(journal.try_clone()?)? else {
        return Ok(Found::Useless("its journal is missing or damaged"));
    };
    if header.etag.is_empty() {
        return Ok(Found::Useless("it came from a classic server"));
    }
    if header.etag != subject.etag || header.size != subject.size {
        return Ok(Found::Changed(basis::worth_of_part(&contents, subject.size)));
    }
    // On a file system that makes up inode numbers, the part file may have a new one.
    let header = JournalHeader { device: there.dev(), inode: there.ino(), ..header };
    journal.renew(&header, &contents)?;
    Ok(Found::Bytes(bytes_of(&contents)))
}

/// Empties the part file, and begins a new journal.
fn begin(part: &mut PartFile, subject: &Subject, sync: bool) -> io::Result<()> {
    part.keep(false);
    start_over(part.file(), part.journal(), subject, sync)
}

/// Empties `part`, and begins a new journal about it.
pub(in crate::transfer) fn start_over(
    part: &File,
    journal: &File,
    subject: &Subject,
    sync: bool,
) -> io::Result<()> {
    let was_empty = part.metadata()?.len() == 0;
    file::set_length(part, 0)?;
    if sync && !was_empty {
        file::sync(part)?; // a power cut must not leave old bytes beside the new journal
    }
    Journal::create(journal.try_clone()?, subject, part)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::store::output::Output;
    use crate::transfer::store::space::missing_space;
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    const RESUME: StartOptions = StartOptions { restart: false, sync: true, whole: false };
    const RESTART: StartOptions = StartOptions { restart: true, sync: true, whole: false };

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Scratch {
            let name = format!("ropewalk-partial-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        fn part(&self) -> PartFile {
            let mut part = self.open(false).unwrap();
            part.keep(true);
            part
        }

        fn open(&self, restart: bool) -> Result<PartFile> {
            Output::locate(&self.0.join("out")).unwrap().open_part(restart)
        }

        /// A run that brings the first half and is then killed.
        fn half(&self) {
            let mut part = self.part();
            assert_eq!(prepare(&mut part, &subject(), 4096, RESUME).unwrap(), Start::Fresh);
            part.keep(true); // a killed run removes nothing
            part.file().write_all_at(&[7; 2048], 0).unwrap();
            let journal = part.journal().try_clone().unwrap();
            let (_, journal, _) = Journal::open(journal).unwrap().unwrap();
            journal.written(0..2048, crate::hash::crc32c(&[7; 2048])).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn subject() -> Subject {
        Subject { name: b"f".to_vec(), etag: b"tag".to_vec(), size: 4096 }
    }

    #[test]
    fn a_killed_run_is_resumed() {
        let scratch = Scratch::new("resume");
        scratch.half();
        let start = prepare(&mut scratch.part(), &subject(), 4096, RESUME).unwrap();
        assert_eq!(start, Start::Resumed(2048));
    }

    #[test]
    fn a_restart_drops_what_a_killed_run_left() {
        let scratch = Scratch::new("restart");
        scratch.half();
        let mut part = scratch.part();
        assert_eq!(prepare(&mut part, &subject(), 4096, RESTART).unwrap(), Start::Fresh);
        let mut bytes = [1; 2048];
        part.file().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 2048]);
    }

    #[test]
    fn bytes_behind_the_end_of_the_file_are_cut() {
        let scratch = Scratch::new("too-long");
        scratch.half();
        scratch.part().file().write_all_at(b"not ours", 5000).unwrap();
        let mut part = scratch.part();
        prepare(&mut part, &subject(), 4096, RESUME).unwrap();
        assert_eq!(part.file().metadata().unwrap().len(), 4096);
    }

    #[test]
    fn a_part_file_stays_when_its_journal_cannot_be_used() {
        let scratch = Scratch::new("second-name");
        scratch.half();
        let journal = scratch.0.join("out.part.journal");
        std::fs::hard_link(&journal, scratch.0.join("second")).unwrap();
        assert!(scratch.open(false).is_err());
        assert!(scratch.open(true).is_err());
        std::fs::remove_file(scratch.0.join("second")).unwrap();
        let start = prepare(&mut scratch.part(), &subject(), 4096, RESUME).unwrap();
        assert_eq!(start, Start::Resumed(2048));
    }

    #[test]
    fn a_run_is_resumed_although_its_device_has_another_number() {
        let scratch = Scratch::new("device");
        scratch.half();
        let path = scratch.0.join("out.part.journal");
        let journal = File::options().read(true).write(true).open(path).unwrap();
        let (_, header) = journal::read_header(&journal).unwrap().unwrap();
        let header = crate::codec::journal::JournalHeader { device: header.device + 1, ..header };
        journal.write_all_at(&header.encode(), 0).unwrap();
        let start = prepare(&mut scratch.part(), &subject(), 4096, RESUME).unwrap();
        assert_eq!(start, Start::Resumed(2048));
    }

    #[test]
    fn a_transfer_of_a_changed_file_starts_over_and_says_so() {
        let scratch = Scratch::new("tag");
        scratch.half();
        let other = Subject { etag: b"other".to_vec(), ..subject() };
        let start = prepare(&mut scratch.part(), &other, 4096, RESUME).unwrap();
        assert_eq!(start, Start::Over("the file on the server has changed"));
    }

    /// More than a basis needs.
    const LARGE: u64 = 4 * basis::LEAST;

    /// A run that brings all of a file of [`LARGE`] bytes, which has changed since.
    fn brought(scratch: &Scratch) {
        let (mut part, subject) = (scratch.part(), Subject { size: LARGE, ..subject() });
        prepare(&mut part, &subject, LARGE, RESUME).unwrap();
        part.keep(true);
        let bytes = [7; LARGE as usize];
        part.file().write_all_at(&bytes, 0).unwrap();
        let journal = part.journal().try_clone().unwrap();
        let (_, journal, _) = Journal::open(journal).unwrap().unwrap();
        journal.written(0..LARGE, crate::hash::crc32c(&bytes)).unwrap();
    }

    fn changed() -> Subject {
        Subject { etag: b"other".to_vec(), size: 2 * LARGE, ..subject() }
    }

    fn inode(file: &File) -> u64 {
        file.metadata().unwrap().ino()
    }

    #[test]
    fn the_part_file_of_a_changed_file_is_the_basis_and_has_no_name_any_more() {
        let scratch = Scratch::new("basis-part");
        brought(&scratch);
        let mut part = scratch.part();
        let old = inode(part.file());
        let start = prepare(&mut part, &changed(), 2 * LARGE, RESUME).unwrap();
        assert_eq!(start, Start::Over(CHANGED));
        let basis = part.basis().unwrap();
        assert_eq!((inode(basis), basis.metadata().unwrap().nlink()), (old, 0));
        let mut bytes = [0; LARGE as usize];
        basis.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; LARGE as usize]);
        assert!(basis.write_at(b"x", 0).is_err(), "it is open for reading only");
        let named = std::fs::metadata(scratch.0.join("out.part")).unwrap();
        assert_eq!((named.ino(), named.len()), (inode(part.file()), 2 * LARGE));
        part.keep(true);
        drop(part);
        // The journal is about the new part file.
        let start = prepare(&mut scratch.part(), &changed(), 2 * LARGE, RESUME).unwrap();
        assert_eq!(start, Start::Resumed(0));
    }

    #[test]
    fn another_client_cannot_take_the_new_part_file() {
        let scratch = Scratch::new("basis-lock");
        brought(&scratch);
        let mut part = scratch.part();
        prepare(&mut part, &changed(), 2 * LARGE, RESUME).unwrap();
        assert!(scratch.open(false).is_err());
    }

    #[test]
    fn with_whole_or_restart_there_is_no_basis() {
        for options in [StartOptions { whole: true, ..RESUME }, RESTART] {
            let scratch = Scratch::new("basis-none");
            brought(&scratch);
            std::fs::write(scratch.0.join("out"), [7; LARGE as usize]).unwrap();
            let mut part = scratch.part();
            let old = inode(part.file());
            prepare(&mut part, &changed(), 2 * LARGE, options).unwrap();
            assert!(part.basis().is_none());
            assert_eq!(inode(part.file()), old);
        }
    }

    #[test]
    fn the_output_is_the_basis_where_it_has_more_bytes() {
        for (length, is_output) in [(LARGE - 1, false), (LARGE, false), (LARGE + 1, true)] {
            let scratch = Scratch::new("basis-choice");
            brought(&scratch);
            let out = scratch.0.join("out");
            std::fs::write(&out, vec![7; length as usize]).unwrap();
            let mut part = scratch.part();
            prepare(&mut part, &changed(), 2 * LARGE, RESUME).unwrap();
            let output = inode(&File::open(out).unwrap());
            assert_eq!(inode(part.basis().unwrap()) == output, is_output, "{length}");
        }
    }

    #[test]
    fn an_output_that_has_no_whole_block_is_no_basis() {
        for (length, is_basis) in [(basis::LEAST - 1, false), (basis::LEAST, true)] {
            let scratch = Scratch::new("basis-short");
            std::fs::write(scratch.0.join("out"), vec![7; length as usize]).unwrap();
            let mut part = scratch.part();
            prepare(&mut part, &changed(), 2 * LARGE, RESUME).unwrap();
            assert_eq!(part.basis().is_some(), is_basis, "{length}");
        }
    }

    #[test]
    fn holes_of_the_output_do_not_make_it_the_better_basis() {
        let scratch = Scratch::new("basis-hole");
        brought(&scratch);
        let (mut part, output) = (scratch.part(), File::create(scratch.0.join("out")).unwrap());
        output.set_len(2 * LARGE).unwrap();
        let old = inode(part.file());
        prepare(&mut part, &changed(), 2 * LARGE, RESUME).unwrap();
        assert_eq!(inode(part.basis().unwrap()), old);
    }

    #[test]
    fn a_journal_does_not_count_for_another_part_file() {
        let scratch = Scratch::new("stale");
        scratch.half();
        let other = scratch.0.join("other");
        std::fs::write(&other, [0; 4096]).unwrap();
        std::fs::rename(other, scratch.0.join("out.part")).unwrap();
        assert!(scratch.open(false).is_err());
        let start = prepare(&mut scratch.open(true).unwrap(), &subject(), 4096, RESTART).unwrap();
        assert_eq!(start, Start::Fresh);
    }

    #[test]
    fn a_part_file_without_its_journal_is_overwritten_only_by_a_restart() {
        let scratch = Scratch::new("bare");
        scratch.half();
        std::fs::remove_file(scratch.0.join("out.part.journal")).unwrap();
        assert!(scratch.open(false).is_err());
        let start = prepare(&mut scratch.open(true).unwrap(), &subject(), 4096, RESTART).unwrap();
        assert_eq!(start, Start::Fresh);
    }

    #[test]
    fn space_is_taken_for_a_file_and_not_for_its_holes() {
        let scratch = Scratch::new("space");
        let mut part = scratch.part();
        let large = Subject { size: 1 << 20, ..subject() };
        prepare(&mut part, &large, 1 << 20, RESUME).unwrap();
        assert_eq!(part.file().metadata().unwrap().len(), 1 << 20);
        let sparse = Subject { size: 1 << 40, etag: b"sparse".to_vec(), ..subject() };
        prepare(&mut part, &sparse, 4096, RESUME).unwrap();
        let found = part.file().metadata().unwrap();
        assert!(found.len() == 1 << 40 && found.blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_part_file_that_can_be_resumed_stays_when_it_was_not_to_be_kept() {
        let scratch = Scratch::new("keep");
        scratch.half();
        let mut part = scratch.part();
        part.keep(false);
        let found = prepare(&mut part, &subject(), 1 << 60, RESUME);
        assert!(found.is_ok(), "the size is what counts: {found:?}");
        drop(part);
        let start = prepare(&mut scratch.part(), &subject(), 4096, RESUME).unwrap();
        assert_eq!(start, Start::Resumed(2048));
    }

    #[test]
    fn the_missing_space_is_that_of_the_file_less_taken_and_free_space() {
        let scratch = Scratch::new("missing");
        let part = scratch.part();
        let missing = |stored| missing_space(part.file(), stored, 0);
        assert_eq!((missing(0), missing(4096)), (0, 0));
        let before = missing(1 << 60);
        assert!(before > 1 << 59, "{before}");
        // A written byte is one more taken byte and one less free byte. Other programs write to the
        // same disk meanwhile.
        part.file().write_all_at(&vec![7; 1 << 20], 0).unwrap();
        assert!(missing(1 << 60).abs_diff(before) < 1 << 40);
        // If the file system does not tell how much space a file takes, the held bytes count.
        assert!(missing_space(part.file(), 1 << 60, 1 << 59) <= before - (1 << 58));
    }

    #[test]
    fn a_file_that_cannot_fit_is_refused_at_once() {
        let scratch = Scratch::new("full");
        let huge = Subject { size: 1 << 60, ..subject() };
        assert!(prepare(&mut scratch.part(), &huge, 1 << 60, RESUME).is_err());
    }

    #[test]
    fn a_resumed_journal_names_the_device_and_the_inode_of_its_part_file() {
        let scratch = Scratch::new("numbers");
        scratch.half();
        let mut part = scratch.part();
        let (_, header) = journal::read_header(part.journal()).unwrap().unwrap();
        let other =
            JournalHeader { device: header.device + 1, inode: header.inode + 1, ..header.clone() };
        part.journal().write_all_at(&other.encode(), 0).unwrap();
        prepare(&mut part, &subject(), 4096, RESUME).unwrap();
        let (_, found) = journal::read_header(part.journal()).unwrap().unwrap();
        assert_eq!((found.device, found.inode), (header.device, header.inode));
    }

    #[test]
    fn a_file_system_that_can_sync_lacks_no_syncs() {
        let scratch = Scratch::new("syncs");
        let mut part = scratch.part();
        let syncs = file::sync(part.journal()).unwrap();
        prepare(&mut part, &subject(), 4096, RESUME).unwrap();
        assert_eq!(part.lacks().is_some_and(|lacks| lacks.contains("syncs")), !syncs);
    }
}
