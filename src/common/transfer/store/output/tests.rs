//! The output's promises: it is the old file or the whole new one, and no foreign file is touched.

mod words;

use super::*;
use crate::codec::message::version::Stamp;
use crate::hash::{Sha256, hex};
use crate::transfer::store::journal::Subject;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, symlink};

struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let name = format!("ropewalk-out-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let part = Output::locate(path)?.open_part(false)?;
    part.start_over(b"file")?;
    part.file().write_all_at(text, 0).unwrap();
    part.commit(text.len() as u64, true).map(drop)
}

/// A run that was killed after it had received a part of `path`.
fn begin(path: &Path) {
    let mut part = Output::locate(path).unwrap().open_part(false).unwrap();
    let subject = Subject { name: b"file".to_vec(), etag: b"tag".to_vec(), size: 9 };
    let journal = part.journal().try_clone().unwrap();
    let journal = Journal::create(journal, &subject, part.file()).unwrap();
    part.file().write_all_at(b"bytes", 0).unwrap();
    journal.written(0..5, crate::hash::crc32c(b"bytes")).unwrap();
    part.keep(true);
}

#[test]
fn a_new_file_appears_whole_and_alone() {
    let scratch = Scratch::new("new");
    write(&scratch.0.join("out"), b"new").unwrap();
    assert_eq!(scratch.names(), ["out"]);
    assert_eq!(fs::read(scratch.0.join("out")).unwrap(), b"new");
}

#[test]
fn a_part_file_that_is_not_committed_leaves_the_old_file() {
    let scratch = Scratch::new("old");
    let path = scratch.0.join("out");
    fs::write(&path, b"old").unwrap();
    let part = Output::locate(&path).unwrap().open_part(false).unwrap();
    part.file().write_all_at(b"new", 0).unwrap();
    assert_eq!(scratch.names(), ["out", "out.part", "out.part.journal"]);
    drop(part);
    assert_eq!(scratch.names(), ["out"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_replaced_file_keeps_its_mode_without_set_user_id() {
    let scratch = Scratch::new("mode");
    let path = scratch.0.join("out");
    fs::write(&path, b"old").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
}

#[test]
fn a_part_file_is_private_until_it_is_whole() {
    let scratch = Scratch::new("private");
    let stale = scratch.0.join("out.part");
    fs::write(&stale, b"stale").unwrap();
    fs::set_permissions(&stale, Permissions::from_mode(0o644)).unwrap();
    let part = Output::locate(&scratch.0.join("out")).unwrap().open_part(true).unwrap();
    assert_eq!(fs::metadata(&stale).unwrap().permissions().mode() & 0o777, 0o600);
    part.commit(5, false).unwrap();
    let mode = fs::metadata(scratch.0.join("out")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o666 & !process::creation_mask());
}

#[test]
fn the_target_of_a_link_is_replaced_and_the_link_stays() {
    let scratch = Scratch::new("link");
    fs::create_dir(scratch.0.join("sub")).unwrap();
    symlink("second", scratch.0.join("first")).unwrap();
    symlink("sub/real", scratch.0.join("second")).unwrap();
    write(&scratch.0.join("first"), b"new").unwrap();
    assert_eq!(fs::read(scratch.0.join("sub/real")).unwrap(), b"new");
    assert_eq!(scratch.names(), ["first", "second", "sub"]);
}

#[test]
fn a_circle_of_links_is_refused() {
    let scratch = Scratch::new("circle");
    symlink("a", scratch.0.join("b")).unwrap();
    symlink("b", scratch.0.join("a")).unwrap();
    let error = write(&scratch.0.join("a"), b"").unwrap_err();
    assert!(error.to_string().ends_with("Too many levels of symbolic links"), "{error}");
}

#[test]
fn an_output_that_is_no_regular_file_is_refused() {
    let scratch = Scratch::new("kind");
    for path in [
        scratch.0.as_path(),
        Path::new("/dev/null"),
        Path::new("/dev/full"),
        &scratch.0.join(".."),
        &scratch.0.join("missing/"),
        &scratch.0.join("missing/."),
    ] {
        assert!(Output::locate(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_second_writer_is_refused() {
    let scratch = Scratch::new("lock");
    let path = scratch.0.join("out");
    let _first = Output::locate(&path).unwrap().open_part(false).unwrap();
    let error = Output::locate(&path).unwrap().open_part(false).unwrap_err();
    assert!(error.to_string().contains("another client is writing it"), "{error}");
    assert_eq!(scratch.names(), ["out.part", "out.part.journal"]);
}

#[test]
fn a_part_file_of_an_earlier_run_is_used_again() {
    let scratch = Scratch::new("left");
    let out = scratch.0.join("out");
    begin(&out);
    assert_eq!(Output::locate(&out).unwrap().kept(), Some((5, 9)));
    write(&out, b"new").unwrap();
    assert_eq!(fs::read(&out).unwrap(), b"new");
    assert_eq!(scratch.names(), ["out"]);
}

#[test]
fn a_foreign_part_file_is_refused_and_stays() {
    let scratch = Scratch::new("foreign");
    let (out, part) = (scratch.0.join("out"), scratch.0.join("out.part"));
    let foreign = |text: &[u8]| {
        fs::write(scratch.0.join("new"), text).unwrap();
        fs::rename(scratch.0.join("new"), &part).unwrap();
        fs::set_permissions(&part, Permissions::from_mode(0o644)).unwrap();
    };
    let is_refused = |text: &[u8], names: &[&str]| {
        let error = Output::locate(&out).unwrap().open_part(false).unwrap_err();
        assert!(error.to_string().contains("no journal belongs to it"), "{error}");
        assert_eq!(error.code(), ExitCode::System);
        assert_eq!(fs::read(&part).unwrap(), text);
        assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(scratch.names(), names);
        assert_eq!(Output::locate(&out).unwrap().kept(), None);
    };
    foreign(b"a browser's");
    is_refused(b"a browser's", &["out.part"]);
    // Beside a journal that is about an earlier file with this name.
    fs::remove_file(&part).unwrap();
    begin(&out);
    foreign(b"a browser's");
    is_refused(b"a browser's", &["out.part", "out.part.journal"]);
    // Also with the same inode number, as after only the part file was removed.
    fs::remove_file(&part).unwrap();
    begin(&out);
    fs::write(&part, b"other").unwrap();
    fs::set_permissions(&part, Permissions::from_mode(0o644)).unwrap();
    is_refused(b"other", &["out.part", "out.part.journal"]);
    Output::locate(&out).unwrap().open_part(true).unwrap();
    assert_eq!(scratch.names().len(), 0);
}

#[test]
fn a_foreign_file_with_the_journal_s_name_is_never_touched() {
    let scratch = Scratch::new("journal-name");
    let journal = scratch.0.join("out.part.journal");
    fs::write(&journal, b"somebody's").unwrap();
    for restart in [false, true] {
        let output = Output::locate(&scratch.0.join("out")).unwrap();
        let error = output.open_part(restart).unwrap_err().to_string();
        assert!(error.contains("out.part.journal: is not this program's journal"), "{error}");
        assert_eq!(fs::read(&journal).unwrap(), b"somebody's");
        assert_eq!(scratch.names(), ["out.part.journal"]);
    }
}

/// A power cut can give the journal its size before its bytes.
#[test]
fn a_journal_with_a_reserved_name_that_holds_other_bytes_is_begun_anew() {
    let scratch = Scratch::new("journal-junk");
    let journal = scratch.0.join(names::journal(OsStr::new("out")));
    fs::write(&journal, [0x9c; 106]).unwrap();
    let folder = Dir::open(&scratch.0).unwrap();
    let output = Output::at(folder, OsString::from("out"), "shown".into()).unwrap();
    let part = output.open_part(true).unwrap();
    assert_eq!(fs::read(&journal).unwrap(), b"");
    part.commit(0, true).unwrap();
    assert_eq!(scratch.names(), ["out"]);
}

#[test]
fn a_foreign_file_that_replaced_the_journal_stays() {
    let scratch = Scratch::new("journal-replaced");
    let journal = scratch.0.join("out.part.journal");
    for whole in [true, false] {
        let part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
        fs::write(scratch.0.join("new"), b"fetched").unwrap();
        fs::rename(scratch.0.join("new"), &journal).unwrap();
        if whole {
            part.commit(0, true).unwrap();
        } else {
            drop(part);
        }
        assert_eq!(fs::read(&journal).unwrap(), b"fetched", "{whole}");
        fs::remove_file(&journal).unwrap();
    }
}

#[test]
fn an_output_that_replaces_a_part_file_removes_its_journal() {
    let scratch = Scratch::new("part-name");
    begin(&scratch.0.join("out"));
    write(&scratch.0.join("out.part"), b"fetched").unwrap();
    assert_eq!(scratch.names(), ["out.part"]);
    assert!(write(&scratch.0.join("out"), b"new").is_err());
    assert_eq!(fs::read(scratch.0.join("out.part")).unwrap(), b"fetched");
}

#[test]
fn a_part_file_that_cannot_be_opened_leaves_no_journal() {
    let scratch = Scratch::new("half-opened");
    fs::create_dir(scratch.0.join("out.part")).unwrap();
    assert!(write(&scratch.0.join("out"), b"new").is_err());
    assert_eq!(scratch.names(), ["out.part"]);
}

#[test]
fn a_part_file_whose_name_would_be_too_long_has_a_digest_as_name() {
    let scratch = Scratch::new("long");
    for length in [242, 243, 255] {
        let name = "n".repeat(length);
        let path = scratch.0.join(&name);
        begin(&path);
        let expected = match length {
            242 => format!("{name}.part"),
            _ => {
                let mut digest = Sha256::new();
                digest.update(name.as_bytes());
                format!(".ropewalk-{}", &hex(&digest.finish())[..32])
            }
        };
        assert_eq!(scratch.names(), [expected.clone(), format!("{expected}.journal")]);
        let output = Output::locate(&path).unwrap();
        assert!(output.shown_part().ends_with(&format!("/{expected}")));
        assert!(output.has(&scratch.0.join(&expected)));
        assert_eq!(output.kept(), Some((5, 9)));
        write(&path, b"new").unwrap();
        assert_eq!(scratch.names(), [name]);
        fs::remove_file(path).unwrap();
    }
    assert!(write(&scratch.0.join("n".repeat(256)), b"new").is_err());
}

#[test]
fn a_link_or_folder_with_the_part_file_s_name_is_refused() {
    let scratch = Scratch::new("trap");
    fs::write(scratch.0.join("victim"), b"victim").unwrap();
    symlink("victim", scratch.0.join("a.part")).unwrap();
    fs::hard_link(scratch.0.join("victim"), scratch.0.join("b.part")).unwrap();
    fs::create_dir(scratch.0.join("c.part")).unwrap();
    for name in ["a", "b", "c"] {
        assert!(write(&scratch.0.join(name), b"new").is_err(), "{name}");
    }
    assert_eq!(fs::read(scratch.0.join("victim")).unwrap(), b"victim");
}

#[test]
fn a_part_file_of_another_size_is_not_renamed() {
    let scratch = Scratch::new("size");
    let out = scratch.0.join("out");
    for size in [4, 6] {
        let part = Output::locate(&out).unwrap().open_part(false).unwrap();
        part.file().write_all_at(b"bytes", 0).unwrap();
        let error = part.commit(size, true).unwrap_err().to_string();
        assert!(error.contains(&format!(": has 5 bytes, not {size}")), "{error}");
    }
    assert_eq!(scratch.names().len(), 0);
}

#[test]
fn the_output_gets_the_time_of_the_file_on_the_server() {
    let scratch = Scratch::new("mtime");
    let out = scratch.0.join("out");
    assert_eq!(Output::locate(&out).unwrap().replaced(), None);
    let mtime = Stamp { seconds: -5, nanoseconds: 123_456_789 };
    for sync in [true, false] {
        let mut part = Output::locate(&out).unwrap().open_part(false).unwrap();
        part.file().write_all_at(b"bytes", 0).unwrap();
        part.complete(5, Some(mtime), sync).unwrap();
        part.put_in_place(sync).unwrap();
        let replaced = Output::locate(&out).unwrap().replaced();
        assert_eq!(replaced, Some(Existing { size: 5, mtime }), "{sync}");
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn a_journal_is_removed_when_its_part_file_became_the_output() {
    let scratch = Scratch::new("tidy");
    let out = scratch.0.join("out");
    let tidy = || Output::locate(&out).unwrap().tidy();
    begin(&out);
    tidy();
    assert_eq!(scratch.names(), ["out.part", "out.part.journal"], "it can be resumed");
    fs::rename(scratch.0.join("out.part"), &out).unwrap();
    tidy();
    assert_eq!(scratch.names(), ["out"]);
    fs::write(scratch.0.join("out.part.journal"), b"somebody else's").unwrap();
    tidy();
    assert_eq!(scratch.names(), ["out", "out.part.journal"]);
}

#[test]
fn an_output_that_became_a_folder_is_not_replaced() {
    let scratch = Scratch::new("became");
    let part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
    fs::create_dir(scratch.0.join("out")).unwrap();
    assert!(part.commit(0, true).is_err());
    assert_eq!(scratch.names(), ["out"]);
}

#[test]
fn an_output_knows_its_files_by_every_path() {
    let scratch = Scratch::new("paths");
    let path = scratch.0.join("out");
    symlink(&path, scratch.0.join("link")).unwrap();
    symlink(&scratch.0, scratch.0.join("folder")).unwrap();
    let output = Output::locate(&path).unwrap();
    for own in ["out", "./out", "link", "folder/out", "out.part", "folder/out.part.journal"] {
        assert!(output.has(&scratch.0.join(own)), "{own}");
    }
    for other in ["", "other", "out/", "nowhere/out", "../out"] {
        assert!(!output.has(&scratch.0.join(other)), "{other}");
    }
}

#[test]
fn an_output_in_an_open_folder_has_reserved_names_and_follows_no_link() {
    let scratch = Scratch::new("at");
    let at = |name: &str| {
        Output::at(Dir::open(&scratch.0).unwrap(), OsString::from(name), "shown".into())
    };
    let part = at("out").unwrap().open_part(false).unwrap();
    part.start_over(b"file").unwrap();
    part.file().write_all_at(b"new", 0).unwrap();
    let names = scratch.names();
    assert!(names.iter().all(|name| names::reserved(OsStr::new(name)).is_some()), "{names:?}");
    assert_eq!(names.len(), 2);
    part.commit(3, true).unwrap();
    assert_eq!(
        (scratch.names(), fs::read(scratch.0.join("out")).unwrap()),
        (vec!["out".into()], b"new".to_vec())
    );
    symlink("out", scratch.0.join("link")).unwrap();
    fs::create_dir(scratch.0.join("folder")).unwrap();
    for name in ["link", "folder"] {
        assert!(at(name).is_err(), "{name}");
    }
}
