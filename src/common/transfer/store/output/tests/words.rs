//! The words of the output and its part file: names, refusals and refused features.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn an_output_is_shown_as_the_user_gave_it_without_control_characters() {
    let scratch = Scratch::new("shown");
    let folder = scratch.0.display();
    assert_eq!(Output::locate(&scratch.0.join("out")).unwrap().shown(), format!("{folder}/out"));
    let strange = Output::locate(&scratch.0.join("a\x1bb")).unwrap();
    assert!(!strange.shown().contains('\x1b'), "{}", strange.shown());
}

#[test]
fn the_part_file_of_a_link_is_shown_beside_the_target() {
    let scratch = Scratch::new("shown-link");
    let folder = scratch.0.display();
    fs::create_dir(scratch.0.join("sub")).unwrap();
    symlink("sub/real", scratch.0.join("link")).unwrap();
    let output = Output::locate(&scratch.0.join("link")).unwrap();
    assert_eq!(output.shown(), format!("{folder}/link"));
    assert_eq!(output.shown_part(), format!("{folder}/sub/real.part"));
}

#[test]
fn the_error_names_what_is_there_instead_of_a_regular_file() {
    let scratch = Scratch::new("said");
    let error = Output::locate(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.ends_with("exists and is not a regular file"), "{error}");
    let error = Output::locate(&scratch.0).unwrap_err().to_string();
    assert!(error.ends_with("Is a directory"), "{error}");
}

#[test]
fn a_name_that_no_file_can_have_is_refused_at_once() {
    let scratch = Scratch::new("longest");
    assert!(Output::locate(&scratch.0.join("n".repeat(256))).is_err());
}

#[test]
fn the_error_says_that_the_part_file_was_replaced() {
    let scratch = Scratch::new("removed");
    let part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
    fs::remove_file(scratch.0.join("out.part")).unwrap();
    let error = part.commit(0, false).unwrap_err().to_string();
    assert!(error.contains("was replaced by another program"), "{error}");
}

#[test]
fn the_error_says_that_the_folder_is_gone() {
    let scratch = Scratch::new("gone");
    let folder = scratch.0.join("folder");
    fs::create_dir(&folder).unwrap();
    let output = Output::locate(&folder.join("out")).unwrap();
    fs::remove_dir(&folder).unwrap();
    let error = output.open_part(false).unwrap_err().to_string();
    assert!(error.ends_with("No such file or directory"), "{error}");
}

#[test]
fn the_error_says_why_a_part_file_is_refused() {
    let scratch = Scratch::new("trap-words");
    fs::write(scratch.0.join("victim"), b"victim").unwrap();
    symlink("victim", scratch.0.join("a.part")).unwrap();
    fs::hard_link(scratch.0.join("victim"), scratch.0.join("b.part")).unwrap();
    fs::create_dir(scratch.0.join("c.part")).unwrap();
    for (name, words) in [
        ("a", "a.part: is a symbolic link"),
        ("b", "b.part: has a second name"),
        ("c", "c.part: Is a directory"),
    ] {
        let error = write(&scratch.0.join(name), b"new").unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_error_names_the_process_that_holds_the_part_file() {
    let scratch = Scratch::new("holder");
    let path = scratch.0.join("out");
    let first = Output::locate(&path).unwrap().open_part(false).unwrap();
    first.start_over(b"file").unwrap();
    let error = Output::locate(&path).unwrap().open_part(false).unwrap_err().to_string();
    let words = format!("process {} is writing it", std::process::id());
    assert!(error.contains(&words), "{error}");
}

#[test]
fn only_refused_features_are_named() {
    let scratch = Scratch::new("lacks");
    let mut part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
    assert_eq!(part.lacks(), None);
    part.lacks_syncs();
    let words = format!("{}: the file system refuses syncs", part.output().shown());
    assert_eq!(part.lacks(), Some(words));
}

#[test]
fn a_journal_has_records_from_its_first_one_on() {
    let scratch = Scratch::new("records");
    let path = scratch.0.join("out");
    begin(&path);
    let part = Output::locate(&path).unwrap().open_part(false).unwrap();
    assert!(part.has_records());
    part.start_over(b"file").unwrap();
    assert!(!part.has_records());
    part.journal().set_len(1).unwrap();
    assert!(part.has_records(), "it cannot be read");
}

#[test]
fn a_part_file_is_kept_only_on_request() {
    let scratch = Scratch::new("kept");
    let mut part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
    assert!(!part.is_kept());
    part.keep(true);
    assert!(part.is_kept());
}

#[test]
fn a_file_system_that_refuses_nothing_is_not_named() {
    let scratch = Scratch::new("complaint");
    let mut part = Output::locate(&scratch.0.join("out")).unwrap().open_part(false).unwrap();
    let syncs = crate::sys::file::sync(part.file()).unwrap();
    let refused = part.complete(0, None, true).unwrap();
    assert_eq!(refused.is_some(), !syncs, "{refused:?}");
}

#[test]
fn a_name_without_a_folder_is_in_the_working_folder() {
    let output = Output::locate(Path::new("ropewalk-no-such-output")).unwrap();
    assert_eq!(output.shown(), "ropewalk-no-such-output");
}
