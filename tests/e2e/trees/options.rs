//! What the options mean for a folder, and what the client prints.

use crate::support::exit::{INCOMPLETE, SYSTEM, USAGE};
use crate::support::harness::{Running, content, run, sparse};
use crate::support::namespace::script_in;
use crate::support::path::wait_for_blocks;
use crate::support::trees::{Trees, facts};
use ropewalk::transfer::store::names;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant, SystemTime};

fn trees(test: &str) -> Trees {
    let trees = Trees::new(test);
    fill(&trees);
    trees
}

fn fill(trees: &Trees) {
    for number in 0..30 {
        trees.write(&format!("d{}/f{number}.c", number % 3), &content(1000 + number));
        trees.write(&format!("d{}/f{number}.o", number % 3), b"object");
    }
    trees.write("large", &content(3_000_000));
    fs::create_dir(trees.there("empty")).unwrap();
    symlink("large", trees.there("link")).unwrap();
}

#[test]
fn every_way_over_the_network_brings_the_same_folder() {
    let ways: [&[&str]; 7] = [
        &["--no-sync"],
        &["--single-port"],
        &["--verify", "crc32c"],
        &["--verify", "none"],
        &["--verify", "md5"],
        &["--limit-rate", "20M"],
        &["--trace", "trace.svg"],
    ];
    let trees = trees("tree-ways");
    for way in ways {
        let _ = fs::remove_dir_all(trees.here(""));
        let mut client = trees.client(way);
        run(client.current_dir(trees.scratch.folder())).succeeded();
        trees.assert_equal();
    }
    for streams in ["1", "255", "auto"] {
        fs::remove_dir_all(trees.here("")).unwrap();
        let here = trees.scratch.path("here");
        run(&mut trees.scratch.client(trees.server.address, streams, "there", here)).succeeded();
        trees.assert_equal();
    }
    let url = format!("http://{}{}", trees.server.address, trees.scratch.path("there").display());
    fs::remove_dir_all(trees.here("")).unwrap();
    let mut client = trees.scratch.program("client");
    run(client.arg(url).arg(trees.scratch.path("here")).arg("--progress=none")).succeeded();
    trees.assert_equal();
}

#[test]
fn each_file_longer_than_a_block_is_compared_by_md5_where_that_is_asked_for() {
    let trees = trees("tree-md5");
    trees.write("block", &content(128 << 10));
    trees.write("more", &content((128 << 10) + 1));
    let said = trees.sync(&["--verify=md5", "--no-sync"]);
    assert!(said.contains(", crc32c ok, md5 ok of 2 files; 0 same"), "{said}");
    let said = trees.sync(&["--verify=md5"]);
    assert!(said.contains(", crc32c ok; 64 same"), "what is there is not read: {said}");
    fs::remove_dir_all(trees.here("")).unwrap();
    let said = trees.sync(&[]);
    assert!(said.contains(", crc32c ok; 0 same"), "{said}");
}

#[test]
fn the_picture_of_a_folder_has_a_lane_of_its_files() {
    let trees = trees("tree-picture");
    let picture = trees.scratch.path("picture.svg");
    trees.sync(&["--trace", picture.to_str().unwrap()]);
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.contains(">files a second</text>"), "{svg}");
    assert_eq!(svg.matches("class=\"files\"").count(), 1);
    assert_eq!(svg.matches("class=\"row\"").count(), 4);
}

#[test]
fn the_rate_limit_holds_for_a_folder() {
    let trees = trees("tree-rate");
    let begun = Instant::now();
    trees.sync(&["--limit-rate", "1500K"]);
    assert!(begun.elapsed() > Duration::from_millis(1200), "{:?}", begun.elapsed());
}

#[test]
fn a_password_is_asked_for_before_anything_is_told_of_a_folder() {
    let scratch = crate::support::harness::Scratch::new("tree-auth");
    let passwords = scratch.write("passwords", b"me:secret\n");
    fs::set_permissions(&passwords, Permissions::from_mode(0o600)).unwrap();
    scratch.make_dir("there");
    let server = crate::support::harness::Server::start(&scratch, &["--auth", "passwords"]);
    let trees = Trees { server, scratch };
    fill(&trees);
    let outcome = trees.fetch(&[]);
    assert!(!outcome.status.success() && !trees.here("").exists(), "{outcome:?}");
    trees.sync(&["--auth", passwords.to_str().unwrap()]);
}

#[test]
fn the_server_s_root_is_the_top_of_what_is_fetched() {
    let scratch = crate::support::harness::Scratch::new("tree-root");
    scratch.make_dir("there");
    let server = crate::support::harness::Server::start(&scratch, &["--root", "there"]);
    let trees = Trees { server, scratch };
    fill(&trees);
    symlink("../..", trees.there("out")).unwrap();
    let get = |file: &str, output: &str| {
        run(&mut trees.scratch.client(trees.server.address, 4, file, trees.scratch.path(output)))
    };
    get("/", "here").succeeded();
    trees.assert_equal();
    get("d1/", "part").succeeded();
    assert_eq!(facts(&trees.there("d1")), facts(&trees.scratch.path("part")));
    for file in ["out", "..", "../there", "nothing"] {
        let outcome = get(file, "other");
        assert!(!outcome.status.success(), "{file} {outcome:?}");
        assert!(!trees.scratch.path("other").exists(), "{file}");
    }
}

#[test]
fn the_first_pattern_that_matches_decides_wherever_it_comes_from() {
    let trees = trees("tree-patterns");
    trees.write("d1/deep/keep.o", b"x");
    let list = trees.scratch.write("list", b"# objects\n\n*.o\n/d2/\n");
    let options =
        ["--include", "keep.o", "--exclude-from", list.to_str().unwrap(), "--exclude", "large"];
    let said = trees.fetch(&options).succeeded();
    assert!(said.starts_with("22 files, "), "{said}");
    assert!(trees.here("d1/deep/keep.o").exists() && trees.here("link").is_symlink());
    for name in ["d2", "large", "d1/f1.o"] {
        assert!(!trees.here(name).exists(), "{name}");
    }
    let missing = trees.fetch(&["--exclude-from", "/nowhere/list"]);
    assert!(matches!(missing.status.code(), Some(SYSTEM | USAGE)), "{missing:?}");
    trees.fetch(&["--exclude="]).failed(USAGE, "client", "--exclude");
}

#[test]
fn a_dry_run_says_what_a_run_would_do_and_changes_nothing() {
    let trees = trees("tree-dry");
    let dry = trees.fetch(&["-n", "-v"]).succeeded();
    assert!(!trees.here("").exists(), "{dry}");
    let wet = trees.fetch(&["-v"]).succeeded();
    let lines = |said: &str| {
        let mut lines: Vec<String> = said.lines().map(str::to_string).collect();
        lines.pop();
        lines.sort();
        lines
    };
    assert_eq!(lines(&dry), lines(&wet));
    assert!(dry.contains("62 files would be fetched; 0 same"), "{dry}");
    trees.write("d0/f0.c", b"changed");
    fs::remove_file(trees.there("d0/f3.c")).unwrap();
    let before = facts(&trees.here(""));
    let dry = trees.fetch(&["-n", "-v", "--delete"]).succeeded();
    assert_eq!(facts(&trees.here("")), before);
    assert!(dry.contains("1 file would be fetched; 60 same"), "{dry}");
    assert!(dry.contains("1 would be deleted"), "{dry}");
    let wet = trees.fetch(&["-v", "--delete"]).succeeded();
    assert_eq!(lines(&dry), lines(&wet));
}

#[test]
fn a_dry_run_keeps_the_mode_of_the_folder_and_names_what_would_be_refused() {
    let trees = trees("tree-dry-mode");
    trees.write("name", b"a file");
    trees.write_here("name/inner", b"a folder with an entry");
    trees.write_here("more", b"");
    fs::set_permissions(trees.here(""), Permissions::from_mode(0o555)).unwrap();
    let (dry, wet) = (&["-n", "--delete", "--max-delete=9"][..], &["--delete", "--max-delete=9"]);
    for options in [dry, wet] {
        let outcome = trees.fetch(options);
        assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
        assert!(outcome.err.contains("client: name: Directory not empty"), "{outcome:?}");
        assert!(outcome.out.contains("0 would be deleted") || options == wet, "{outcome:?}");
        assert!(trees.here("more").exists());
        let mode = fs::metadata(trees.here("")).unwrap().permissions().mode() & 0o777;
        let there = fs::metadata(trees.there("")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if options == dry { 0o555 } else { there });
    }
}

#[test]
fn what_has_the_same_content_stays_where_contents_are_compared() {
    let trees = Trees::new("tree-checksum");
    let sizes = [("empty", 0), ("small", 5000), ("units", 3 << 20), ("tail", (2 << 20) + 12_345)];
    sizes.iter().for_each(|(name, size)| trees.write(name, &content(*size)));
    trees.sync(&[]);
    let inodes = || sizes.map(|(name, _)| fs::metadata(trees.here(name)).unwrap().ino());
    let before = inodes();
    let said = trees.sync(&["--checksum"]);
    assert!(said.contains("; 4 same, 0 skipped"), "{said}");
    // Another time and mode: the file stays and gets them.
    for (name, _) in sizes {
        let there = File::options().write(true).open(trees.there(name)).unwrap();
        there.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1000, 5)).unwrap();
        there.set_permissions(Permissions::from_mode(0o640)).unwrap();
    }
    let said = trees.sync(&["--checksum"]);
    assert!(said.contains("; 4 same, 0 skipped"), "{said}");
    assert_eq!(inodes(), before);
    assert!(trees.sync(&["--checksum", "--whole"]).contains("; 4 same, 0 skipped"));
    assert_eq!(inodes(), before);
    // The last byte alone, and the same size and time.
    for (name, size) in sizes.iter().filter(|(_, size)| *size > 0) {
        let mut bytes = content(*size);
        bytes[size - 1] ^= 1;
        trees.write_here(name, &bytes);
        let here = File::options().write(true).open(trees.here(name)).unwrap();
        here.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1000, 5)).unwrap();
    }
    let said = trees.sync(&["--checksum"]);
    assert!(said.starts_with("3 files, ") && said.contains("; 1 same, 0 skipped"), "{said}");
}

#[test]
fn equal_files_with_holes_stay_and_names_of_one_file_become_links_where_contents_are_compared() {
    let trees = Trees::new("tree-checksum-links");
    sparse(&trees.there("holes"), 4 << 20, &[(1 << 20, 5000)]);
    for (name, size) in [("small", 5000), ("large", 3 << 20)] {
        trees.write(name, &content(size));
        trees.write_here(name, &content(size));
        trees.write_here(&format!("{name}-2"), &content(size));
        fs::hard_link(trees.there(name), trees.there(&format!("{name}-2"))).unwrap();
    }
    trees.fetch(&["--exclude=small*", "--exclude=large*"]).succeeded();
    let inode = |name: &str| fs::metadata(trees.here(name)).unwrap().ino();
    let before = inode("holes");
    let said = trees.sync(&["--checksum", "-H"]);
    assert!(said.contains("; 5 same, 0 skipped"), "{said}");
    assert_eq!(inode("holes"), before);
    assert_eq!((inode("small"), inode("large")), (inode("small-2"), inode("large-2")));
    let said = trees.sync(&["--checksum", "-H"]);
    assert!(said.starts_with("0 files, ") && said.contains("; 5 same, "), "{said}");
}

#[test]
fn one_file_here_that_is_two_files_of_other_modes_there_becomes_two() {
    for (name, options) in [("plain", &[][..]), ("links", &["-H"]), ("content", &["--checksum"])] {
        let trees = Trees::new(&format!("tree-split-{name}"));
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        for (name, mode) in [("a", 0o644), ("b", 0o600), ("c", 0o640)] {
            trees.write(name, b"hello");
            fs::set_permissions(trees.there(name), Permissions::from_mode(mode)).unwrap();
            File::open(trees.there(name)).unwrap().set_modified(mtime).unwrap();
        }
        trees.write_here("a", b"hello");
        File::open(trees.here("a")).unwrap().set_modified(mtime).unwrap();
        fs::set_permissions(trees.here("a"), Permissions::from_mode(0o640)).unwrap();
        let outside = trees.scratch.path("outside");
        for path in [trees.here("b"), trees.here("c"), outside.clone()] {
            fs::hard_link(trees.here("a"), path).unwrap();
        }
        trees.sync(options);
        assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o640, "{name}");
        let said = trees.sync(options);
        assert!(said.starts_with("0 files, ") && said.contains("; 3 same, "), "{said}");
    }
}

#[test]
fn names_of_one_file_here_and_there_get_its_new_mode_without_its_bytes() {
    let trees = Trees::new("tree-links-mode");
    trees.write("a", &content(3 << 20));
    fs::hard_link(trees.there("a"), trees.there("b")).unwrap();
    trees.sync(&["-H"]);
    fs::set_permissions(trees.there("a"), Permissions::from_mode(0o600)).unwrap();
    let said = trees.sync(&["-H"]);
    assert!(said.starts_with("0 files, ") && said.contains("; 2 same, "), "{said}");
}

#[test]
fn holes_of_terabytes_are_compared_without_being_read() {
    let trees = Trees::new("tree-checksum-holes");
    fs::create_dir(trees.here("")).unwrap();
    let probe = File::create(trees.here("holes")).unwrap();
    // Most file systems have a smaller limit than memory.
    let size: u64 = if probe.set_len(7 << 60).is_ok() { 7 << 60 } else { 8 << 40 };
    for path in [trees.there("holes"), trees.here("holes")] {
        sparse(&path, size, &[(1 << 20, 5000), (size - 9000, 5000)]);
    }
    let before = fs::metadata(trees.here("holes")).unwrap().ino();
    let said = trees.fetch(&["--checksum"]).succeeded();
    assert!(said.contains("; 1 same, 0 skipped"), "{said}");
    assert_eq!(fs::metadata(trees.here("holes")).unwrap().ino(), before);
}

#[test]
fn a_file_that_is_to_stay_is_not_replaced_by_a_folder() {
    for option in ["--ignore-existing", "--update"] {
        let trees = Trees::new("tree-existing-folder");
        trees.write("name/inner", b"the server's");
        trees.write_here("name", b"mine");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let mine = File::options().write(true).open(trees.here("name")).unwrap();
        mine.set_modified(time).unwrap();
        let said = trees.fetch(&[option, "--delete"]).succeeded();
        assert!(said.contains("; 1 same, 0 skipped, 0 deleted"), "{said}");
        assert_eq!(fs::read(trees.here("name")).unwrap(), b"mine");
        trees.sync(&[]);
    }
}

#[test]
fn existing_newer_and_equal_files_are_treated_as_asked() {
    let trees = trees("tree-existing");
    trees.sync(&[]);
    let at = |path: &std::path::Path, seconds: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    for (name, here) in [("d0/f0.c", 2000), ("d0/f3.c", 500)] {
        trees.write_here(name, b"mine");
        at(&trees.here(name), here);
        at(&trees.there(name), 1000);
    }
    let read = |name: &str| fs::read(trees.here(name)).unwrap();
    trees.fetch(&["--ignore-existing"]).succeeded();
    assert_eq!((read("d0/f0.c"), read("d0/f3.c")), (b"mine".to_vec(), b"mine".to_vec()));
    trees.fetch(&["--update"]).succeeded();
    assert_eq!(read("d0/f0.c"), b"mine");
    assert_eq!(read("d0/f3.c"), content(1003));
    // The same size and time, and another content.
    let bytes = vec![b'z'; 1000];
    trees.write_here("d0/f0.c", &bytes);
    at(&trees.here("d0/f0.c"), 1000);
    trees.fetch(&[]).succeeded();
    assert_eq!(read("d0/f0.c"), bytes);
    trees.sync(&["--checksum"]);
    trees.fetch(&["--checksum", "--update"]).failed(USAGE, "client", "--checksum");
}

#[test]
fn a_mount_in_the_folder_is_entered_unless_that_is_not_wanted() {
    let trees = trees("tree-mounts");
    let mut server = trees.scratch.program("server");
    server.current_dir(trees.scratch.folder());
    let mount = trees.there("empty");
    let setting = format!(
        "mount -t tmpfs none '{0}' && mkdir '{0}/sub' && echo x > '{0}/sub/file'",
        mount.display()
    );
    let Some(mut command) = script_in("-m", &setting, "exec \"$0\" \"$@\"", &server) else {
        return;
    };
    command.current_dir(trees.scratch.folder());
    let scratch = crate::support::harness::Scratch::new("tree-mounts-server");
    let mounted = crate::support::harness::Server::start_command(&scratch, command);
    let fetch = |options: &[&str]| {
        let there = trees.there("");
        let mut client =
            trees.scratch.client(mounted.address, 4, &there, trees.scratch.path("here"));
        run(client.args(options))
    };
    let said = fetch(&["-x"]);
    assert!(said.status.success() && said.out.contains(", 1 skipped,"), "{said:?}");
    assert!(!trees.here("empty/sub").exists(), "{said:?}");
    fetch(&[]).succeeded();
    assert_eq!(fs::read(trees.here("empty/sub/file")).unwrap(), b"x\n");
    // What is mounted there now is not entered again, and nothing of it is deleted.
    let said = fetch(&["-x", "--delete"]);
    assert!(trees.here("empty/sub/file").exists(), "{said:?}");
}

#[test]
fn a_name_that_cannot_be_a_link_of_its_file_is_a_copy_and_told_of() {
    let trees = Trees::new("tree-unlinked");
    trees.write("a", b"one file");
    fs::create_dir(trees.there("sub")).unwrap();
    fs::hard_link(trees.there("a"), trees.there("sub/b")).unwrap();
    fs::create_dir_all(trees.here("sub")).unwrap();
    let mount = format!("mount -t tmpfs none '{}'", trees.here("sub").display());
    // It looks before the mount goes.
    let script = format!("\"$0\" \"$@\" && cmp '{0}/a' '{0}/sub/b'", trees.here("").display());
    let Some(mut client) = script_in("-m", &mount, &script, &trees.client(&["-H"])) else { return };
    let outcome = run(&mut client);
    let words = "client: warning: some names could not become links of their file, and are copies";
    assert!(outcome.err.contains(words), "{outcome:?}");
    assert!(outcome.succeeded().starts_with("2 files, "));
}

#[test]
fn the_json_of_a_folder_has_its_fields() {
    let trees = trees("tree-json");
    trees.sync(&[]);
    trees.write("new", b"new");
    trees.write_here("old", b"old");
    let _ = std::process::Command::new("mkfifo").arg(trees.there("fifo")).status();
    let mut client = trees.client(&["--delete"]);
    let outcome = run(client.arg("--progress=json"));
    assert!(outcome.status.success(), "{outcome:?}");
    let all = format!("{}{}", outcome.out, outcome.err);
    let end = all.lines().find(|line| line.contains("\"event\":\"end\"")).unwrap();
    for field in [
        "\"files\":1,",
        "\"files_known\":1,",
        "\"listing_complete\":true,",
        "\"files_same\":62,",
        "\"skipped\":1,",
        "\"deleted\":1,",
        "\"refused\":0,",
        "\"code\":0,",
    ] {
        assert!(end.contains(field), "{field} is missing: {end}");
    }
}

#[test]
fn the_meaning_of_the_names_does_not_depend_on_what_exists() {
    let trees = trees("tree-meaning");
    for _ in 0..2 {
        for (output, folder) in [("a", "a"), ("b/", "b/there"), ("c/.", "c/there")] {
            let _ = fs::create_dir(trees.scratch.path(folder.split('/').next().unwrap()));
            let path = format!("{}/{output}", trees.scratch.folder().display());
            run(&mut trees.scratch.client(trees.server.address, 2, "there", path)).succeeded();
            assert_eq!(facts(&trees.there("")), facts(&trees.scratch.path(folder)), "{output}");
        }
    }
    // Without an output, and through a link to the folder.
    let empty = trees.scratch.make_dir("empty-place");
    symlink("there", trees.scratch.path("to-there")).unwrap();
    for name in ["there", "there/", "to-there"] {
        let mut client = trees.scratch.program("client");
        client.arg(trees.server.address.to_string()).args(["2", name, "--progress=none"]);
        run(client.current_dir(&empty)).succeeded();
        let own = name.trim_end_matches('/');
        assert_eq!(facts(&trees.there("")), facts(&empty.join(own)), "{name}");
    }
}

#[test]
fn a_folder_onto_a_file_or_standard_output_is_refused_before_bytes_move() {
    let trees = trees("tree-onto-file");
    fs::write(trees.scratch.path("here"), b"mine").unwrap();
    let outcome = trees.fetch(&[]);
    assert!(!outcome.status.success(), "{outcome:?}");
    assert!(outcome.err.contains("is not a folder"), "{outcome:?}");
    assert_eq!(fs::read(trees.scratch.path("here")).unwrap(), b"mine");
    let outcome = run(&mut trees.scratch.client(trees.server.address, 2, "there", "-"));
    assert!(!outcome.status.success() && outcome.out.is_empty(), "{outcome:?}");
    let missing = trees.scratch.path("no/such/parent");
    let outcome = run(&mut trees.scratch.client(trees.server.address, 2, "there", missing));
    outcome.failed(SYSTEM, "client", "No such file or directory");
}

#[test]
fn what_could_not_be_had_is_named_once_and_the_rest_arrives() {
    let trees = trees("tree-incomplete");
    trees.write("strange\nname\x1b[31m/file", b"x");
    trees.write_here("strange\nname\x1b[31m/file/in/the/way", b"x");
    trees.write_here("large/in/the/way", b"x");
    let outcome = trees.fetch(&[]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert_eq!(outcome.err.lines().count(), 2, "{outcome:?}");
    assert!(!outcome.err.contains('\x1b'), "{outcome:?}");
    assert!(outcome.err.contains("client: large: "), "{outcome:?}");
    assert!(outcome.out.contains(", 2 could not be had"), "{outcome:?}");
    assert_eq!(fs::read(trees.here("d0/f0.c")).unwrap(), content(1000));
}

#[test]
fn a_file_that_becomes_a_folder_and_a_folder_that_becomes_a_file_change_places() {
    let trees = trees("tree-changes-type");
    trees.sync(&[]);
    for (old, is_folder) in [("d0", true), ("empty", true), ("large", false), ("link", false)] {
        match is_folder {
            true => fs::remove_dir_all(trees.there(old)).unwrap(),
            false => fs::remove_file(trees.there(old)).unwrap(),
        }
        match is_folder {
            true => trees.write(old, b"now a file"),
            false => trees.write(&format!("{old}/now"), b"a folder"),
        }
    }
    // A folder that is not empty stays in the way; everything else changes.
    let outcome = trees.fetch(&[]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.starts_with("client: d0: ") && outcome.err.lines().count() == 1);
    fs::remove_dir_all(trees.here("d0")).unwrap();
    trees.sync(&[]);
}

#[test]
fn a_resumed_large_file_goes_on_where_it_was() {
    for (name, options) in [("sync", &[][..]), ("no-sync", &["--no-sync"])] {
        let mut trees = Trees::new(&format!("tree-resume-large-{name}"));
        trees.write("large", &content(32 << 20));
        let journal = trees.here("").join(names::journal(OsStr::new("large")));
        let mut command = trees.client(&["--limit-rate", "8M"]);
        let client = Running::start(command.args(options));
        wait_for_blocks(&journal, 64);
        client.signal(libc::SIGKILL);
        client.finish();
        trees.sync(options);
        // The line of the session that was killed may come first, or later.
        let moved = loop {
            let line = trees.server.next_log_line();
            if line.contains(": complete") {
                break line;
            }
        };
        let bytes = moved.split(" bytes").next().unwrap().rsplit(' ').next().unwrap();
        let bytes: u64 = bytes.parse().unwrap();
        // On a busy machine a late range is sent twice.
        assert!(bytes < 30 << 20, "{name}: {moved}");
    }
}
