//! Folders that are pushed.

use crate::support::exit::REFUSED;
use crate::support::harness::{Scratch, content, run};
use crate::support::uploads::{Inbox, WRITABLE};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// "Some entries could not be had."
const INCOMPLETE: i32 = 8;

/// "Nothing was deleted."
const DELETE_REFUSED: i32 = 9;

/// Makes the folder `top` in the scratch folder.
fn fill(scratch: &Scratch) {
    for number in 0..100 {
        let folder = scratch.path(format!("top/d{}/e", number % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{number}")), content(number * 31)).unwrap();
    }
    scratch.write("top/large", &content(3 << 20));
    scratch.make_dir("top/empty");
    symlink("d1/e/f1", scratch.path("top/link")).unwrap();
    fs::set_permissions(scratch.path("top/d2/e/f7"), Permissions::from_mode(0o750)).unwrap();
}

/// The files, folders and links below a folder: mode, mtime and content of each.
fn facts(top: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let bytes = match () {
                () if found.is_dir() => Vec::new(),
                () if found.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                () => fs::read(&path).unwrap(),
            };
            let mtime = found.mtime() * 1_000_000_000 + found.mtime_nsec();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_string();
            all.insert(name, (found.mode(), mtime, bytes));
            if found.is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

#[test]
fn equal_files_with_several_names_stay_where_contents_are_compared() {
    let inbox = Inbox::open("push-folder-links", &[]);
    inbox.scratch.make_dir("top");
    for (name, size) in [("small", 5000), ("large", 3 << 20)] {
        let path = inbox.scratch.write(format!("top/{name}"), &content(size));
        fs::hard_link(path, inbox.scratch.path(format!("top/{name}-2"))).unwrap();
    }
    run(inbox.push("top", "in/there").arg("-H")).succeeded();
    let inode = |name: &str| fs::metadata(inbox.folder.join("there").join(name)).unwrap().ino();
    let before = (inode("small"), inode("large"));
    assert_eq!((inode("small-2"), inode("large-2")), before);
    let said = run(inbox.push("top", "in/there").args(["-H", "--checksum"])).succeeded();
    assert!(said.starts_with("0 files, ") && said.contains("; 4 same, "), "{said}");
    assert_eq!((inode("small"), inode("large")), before);
    assert_eq!((inode("small-2"), inode("large-2")), before);
}

#[test]
fn a_folder_arrives_whole_and_the_next_push_has_nothing_to_do() {
    let mut inbox = Inbox::open("push-folder", &[]);
    fill(&inbox.scratch);
    let said = run(&mut inbox.push("top", "in/there")).succeeded();
    assert!(said.starts_with("102 files, "), "{said}");
    assert!(said.ends_with("; 0 same, 0 skipped, 0 deleted\n"), "{said}");
    let expected = facts(&inbox.scratch.path("top"));
    assert!(facts(&inbox.folder.join("there")) == expected);
    let line = inbox.upload_line();
    assert!(line.contains(" PUSH in/there 102 files, "), "{line}");
    let again = run(&mut inbox.push("top/", "in/there")).succeeded();
    assert!(again.contains("; 102 same, 0 skipped, 0 deleted"), "{again}");
    inbox.scratch.write("top/d1/e/new", b"new");
    let more = run(&mut inbox.push("top", "in/there/")).succeeded();
    assert!(more.starts_with("103 files, "), "a slash at the end means a folder in it: {more}");
    assert!(inbox.folder.join("there/top/d1/e/new").exists());
}

#[test]
fn a_pushed_file_that_is_longer_than_a_block_is_compared_by_md5_where_that_is_asked_for() {
    let inbox = Inbox::open("push-folder-md5", &[]);
    fill(&inbox.scratch);
    inbox.scratch.write("top/more", &content((128 << 10) + 1));
    let said = run(inbox.push("top", "in/there").arg("--verify=md5")).succeeded();
    assert!(said.contains(", crc32c ok, md5 ok of 2 files; 0 same"), "{said}");
    assert!(facts(&inbox.folder.join("there")) == facts(&inbox.scratch.path("top")));
}

#[test]
fn what_the_client_lacks_is_deleted_only_where_the_server_allows_it() {
    let inbox = Inbox::open("push-delete-not", &[]);
    fill(&inbox.scratch);
    let refused = run(inbox.push("top", "in/top").arg("--delete"));
    refused.failed(REFUSED, "client", "403 Forbidden: this server deletes nothing");
    let refused = run(inbox.push("top", "in/top").arg("--owner"));
    refused.failed(REFUSED, "client", "403 Forbidden: this server sets no owners");
    assert!(inbox.names().is_empty());

    let inbox = Inbox::open("push-delete", &["--allow-delete"]);
    fill(&inbox.scratch);
    run(&mut inbox.push("top", "in/top")).succeeded();
    fs::write(inbox.folder.join("top/other"), b"x").unwrap();
    let dry = run(inbox.push("top", "in/top").args(["--delete", "-n"])).succeeded();
    assert!(dry.contains(", 1 would be deleted"), "{dry}");
    assert!(inbox.folder.join("top/other").exists());
    let said = run(inbox.push("top", "in/top").args(["--delete", "-v"])).succeeded();
    assert!(said.starts_with("deleted other\n") && said.contains(", 1 deleted"), "{said}");
    assert!(!inbox.folder.join("top/other").exists());
    fs::remove_dir_all(inbox.scratch.path("top")).unwrap();
    inbox.scratch.make_dir("top");
    let refused = run(inbox.push("top", "in/top").arg("--delete"));
    assert_eq!(refused.status.code(), Some(DELETE_REFUSED), "{refused:?}");
    assert!(refused.err.contains("the source is empty"), "{refused:?}");
    assert!(inbox.folder.join("top/large").exists());
}

#[test]
fn files_that_are_too_large_are_named_and_the_others_arrive() {
    let inbox = Inbox::open("push-large", &["--max-upload", "2M"]);
    fill(&inbox.scratch);
    let outcome = run(&mut inbox.push("top", "in/top"));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(
        outcome.err.contains("large: the file is larger than this server takes"),
        "{outcome:?}"
    );
    assert!(outcome.out.contains(", 1 could not be had"), "{outcome:?}");
    assert!(inbox.folder.join("top/d1/e/f1").exists() && !inbox.folder.join("top/large").exists());
}

#[test]
fn more_entries_than_allowed_end_the_push() {
    let inbox = Inbox::open("push-many", &["--max-files", "20"]);
    fill(&inbox.scratch);
    run(&mut inbox.push("top", "in/top")).failed(
        REFUSED,
        "client",
        "the folder has more than 20 entries",
    );
}

#[test]
fn links_that_lead_out_are_not_made_and_the_umask_of_the_server_counts() {
    let inbox = Inbox::with("push-links", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).arg("--writable-by-anyone");
        crate::support::harness::after("umask 027", &command)
    });
    inbox.scratch.make_dir("top");
    for (name, text) in [("a", "/etc/passwd"), ("b", "../x"), ("c", "d/../e"), ("good", "file")] {
        symlink(text, inbox.scratch.path("top").join(name)).unwrap();
    }
    inbox.scratch.write("top/file", b"x");
    fs::set_permissions(inbox.scratch.path("top/file"), Permissions::from_mode(0o6777)).unwrap();
    let said = run(&mut inbox.push("top", "in/top")).succeeded();
    assert!(said.contains(", 3 skipped, "), "{said}");
    assert_eq!(Scratch::names(&inbox.folder.join("top")), ["file", "good"]);
    assert_eq!(fs::metadata(inbox.folder.join("top/file")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn nothing_is_followed_that_is_a_link_in_the_writable_folder() {
    let inbox = Inbox::open("push-planted", &[]);
    let secret = inbox.scratch.make_dir("secret");
    fill(&inbox.scratch);
    fs::create_dir(inbox.folder.join("top")).unwrap();
    symlink(&secret, inbox.folder.join("top/d1")).unwrap();
    symlink(secret.join("file"), inbox.folder.join("top/large")).unwrap();
    run(&mut inbox.push("top", "in/top")).succeeded();
    assert!(Scratch::names(&secret).is_empty());
    assert!(fs::symlink_metadata(inbox.folder.join("top/d1")).unwrap().is_dir());
    symlink(&secret, inbox.folder.join("link")).unwrap();
    run(&mut inbox.push("top", "in/link")).failed(REFUSED, "client", "409 Conflict");
    assert!(Scratch::names(&secret).is_empty());
}
