//! Disks that are full, limits of the system, and names that the disk cannot have.

use crate::support::exit::SYSTEM;
use crate::support::harness::{after, content, run};
use crate::support::namespace::on_a_small_disk;
use crate::support::trees::Trees;
use std::fs;

fn fill(trees: &Trees) {
    for number in 0..200 {
        trees.write(&format!("d{}/f{number}", number % 5), &content(10_000 + number));
    }
    trees.write("large", &content(2 << 20));
}

#[test]
fn a_full_disk_ends_the_run_and_with_room_it_goes_on() {
    let trees = Trees::new("tree-full");
    fill(&trees);
    let disk = trees.scratch.make_dir("disk");
    for sync in ["-q", "--no-sync"] {
        let client = trees.scratch.client(trees.server.address, 4, trees.there(""), "here");
        let mut client = client;
        client.arg(sync);
        // The first run fails, and leaves only right files. With room the second one goes on.
        let script = "\"$0\" \"$@\" 2>first; echo \"code $?\"; cat first; \
            find here -type f ! -name '.ropewalk-*' | wc -l; \
            find here -type f ! -name '.ropewalk-*' -exec sh -c 'cmp \"$0\" \"$1/${0#here/}\"' '{}' \
            \"$THERE\" ';'; mount -o remount,size=40m . && \"$0\" \"$@\" && diff -r here \"$THERE\" && \
            find here -name '.ropewalk-*' && echo equal";
        client.env("THERE", trees.there(""));
        let Some(mut shell) = on_a_small_disk(&disk, "2M", script, &client) else { return };
        let outcome = run(&mut shell);
        assert!(outcome.out.starts_with("code 1\n"), "{outcome:?}");
        assert!(outcome.out.contains("No space left on device"), "{outcome:?}");
        assert!(!outcome.err.contains("differ"), "{outcome:?}");
        assert!(outcome.out.ends_with("equal\n"), "{outcome:?}");
        assert!(!outcome.out.contains(".ropewalk-"), "{outcome:?}");
    }
}

#[test]
fn a_disk_without_inodes_ends_the_run_and_with_more_it_goes_on() {
    let trees = Trees::new("tree-inodes");
    fill(&trees);
    let disk = trees.scratch.make_dir("disk");
    let mut client = trees.scratch.client(trees.server.address, 4, trees.there(""), "here");
    client.env("THERE", trees.there(""));
    let script = "mount -o remount,nr_inodes=100 .; \"$0\" \"$@\" 2>&1; echo \"code $?\"; \
        mount -o remount,nr_inodes=1000 . && \"$0\" \"$@\" && diff -r here \"$THERE\" && echo equal";
    let Some(mut shell) = on_a_small_disk(&disk, "40m", script, &client) else { return };
    let outcome = run(&mut shell);
    assert!(outcome.out.contains("code 1\n"), "{outcome:?}");
    assert!(outcome.out.contains("No space left on device"), "{outcome:?}");
    assert!(outcome.out.ends_with("equal\n"), "{outcome:?}");
}

#[test]
fn a_limit_of_the_size_of_files_names_the_file() {
    let trees = Trees::new("tree-file-size");
    fill(&trees);
    let outcome = run(&mut after("ulimit -f 2000", &trees.client(&[])));
    outcome.failed(SYSTEM, "client", "here/large: File too large; to continue: ");
    trees.assert_right_files();
    trees.sync(&[]);
}

#[test]
fn few_descriptors_end_the_run_with_words_or_suffice() {
    let trees = Trees::new("tree-descriptors");
    fill(&trees);
    let mut has_failed = false;
    for limit in [16, 20, 24, 32, 48, 64] {
        let client = trees.client(&["--no-sync", "--retry-for", "0"]);
        let outcome = run(&mut after(&format!("ulimit -n {limit}"), &client));
        let code = outcome.status.code().unwrap();
        assert!(code == 0 || code == SYSTEM || code == 3, "{limit}: {outcome:?}");
        assert!(!outcome.err.contains("panicked"), "{limit}: {outcome:?}");
        if code == 0 {
            trees.assert_equal();
        } else {
            has_failed = true;
        }
        if fs::exists(trees.here("")).unwrap() {
            trees.assert_right_files();
        }
    }
    assert!(has_failed, "no limit was too low");
    trees.sync(&[]);
}

#[test]
fn a_server_with_few_descriptors_serves_the_folder_or_says_so() {
    let trees = Trees::new("tree-server-descriptors");
    fill(&trees);
    for limit in [24, 32, 64] {
        let mut command = trees.scratch.program("server");
        command.current_dir(trees.scratch.folder());
        let command = after(&format!("ulimit -n {limit}"), &command);
        let scratch = crate::support::harness::Scratch::new("few");
        let server = crate::support::harness::Server::start_command(&scratch, command);
        let mut client =
            trees.scratch.client(server.address, 4, "there", trees.scratch.path("here"));
        let outcome = run(client.args(["--retry-for", "0"]));
        if outcome.status.success() {
            trees.assert_equal();
        } else {
            assert!(!outcome.err.is_empty(), "{limit}: {outcome:?}");
        }
    }
}

#[test]
fn an_output_that_lies_too_deep_takes_every_path_that_the_folder_has() {
    let trees = Trees::new("tree-long-output");
    let long = format!("{}file", format!("{}/", "p".repeat(200)).repeat(15));
    trees.write(&long, b"deep");
    trees.write("other", b"other");
    // OFILE's own path and the path below it together are longer than PATH_MAX.
    let mut parent = trees.scratch.folder().to_path_buf();
    for _ in 0..8 {
        parent.push("q".repeat(200));
        fs::create_dir(&parent).unwrap();
    }
    let mut client = trees.scratch.client(trees.server.address, 4, "there", parent.join("out"));
    run(&mut client).succeeded();
    let script = format!("cd '{}' && cd out && cat {long} other", parent.display());
    let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(read.stdout, b"deepother", "{read:?}");
    run(&mut client).succeeded();
    let clean = format!("cd '{}' && rm -rf out", parent.display());
    assert!(std::process::Command::new("sh").args(["-c", &clean]).status().unwrap().success());
}
