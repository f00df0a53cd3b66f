//! The server's folder changes while it is fetched, and two clients fetch into one folder.

use crate::support::exit::{INCOMPLETE, SYSTEM};
use crate::support::harness::{Running, content, run, wait_until};
use crate::support::trees::Trees;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A folder that takes about three seconds.
const SLOW: &[&str] = &["--limit-rate", "1500K", "--no-sync"];

fn fill(trees: &Trees) {
    for number in 0..300 {
        trees.write(&format!("d{}/f{number}", number % 10), &content(6000 + number));
    }
    trees.write("d5/large", &content(3 << 20));
}

fn make_fifo(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// What came last is right, and a further run makes both folders equal.
#[track_caller]
fn settle(trees: &Trees) {
    trees.sync(&["--delete", "--max-delete", "10000"]);
}

#[test]
fn a_folder_that_changes_all_the_time_is_fetched_without_an_error_of_the_program() {
    let trees = Trees::new("tree-storm");
    fill(&trees);
    fs::create_dir(trees.scratch.path("secret")).unwrap();
    fs::write(trees.scratch.path("secret/s"), b"secret").unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let at_the_end = Ends(&over);
        scope.spawn(|| {
            for round in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                change(&trees, round);
            }
        });
        for _ in 0..3 {
            let outcome = run(&mut trees.client(&["--limit-rate", "4M", "--no-sync"]));
            let code = outcome.status.code();
            assert!(matches!(code, Some(0 | INCOMPLETE)), "{outcome:?}");
            assert_eq!(code == Some(INCOMPLETE), outcome.out.contains("could not be had"));
            for line in outcome.err.lines() {
                // Each line names an entry; `aside` is a folder while it is there.
                let names = ["client: d", "client: aside"];
                assert!(names.iter().any(|name| line.starts_with(name)), "{line}");
            }
        }
        drop(at_the_end);
    });
    for folder in 0..10 {
        let _ = fs::remove_file(trees.there(&format!("d{folder}/fifo")));
        // A link may stand in place of a folder, but nothing came through one.
        let here = trees.here(&format!("d{folder}"));
        assert!(here.is_symlink() || !here.join("s").exists(), "the secret came");
    }
    settle(&trees);
}

/// Ends the changes, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One change of one entry.
fn change(trees: &Trees, round: u64) {
    let number = round * 7 % 300;
    let path = trees.there(&format!("d{}/f{number}", number % 10));
    let other = trees.there(&format!("d{}/g{number}", (number + 1) % 10));
    match round % 8 {
        0 => fs::write(&path, content((round % 9000) as usize)).unwrap(),
        1 => drop(fs::remove_file(&path)),
        2 => drop(fs::rename(&path, &other)),
        3 => drop(fs::write(&other, b"appears")),
        4 => {
            let _ = fs::remove_file(&path);
            let _ = symlink("../../secret/s", &path);
        }
        5 => {
            let fifo = trees.there(&format!("d{}/fifo", number % 10));
            if !fifo.exists() {
                make_fifo(&fifo);
            }
        }
        6 => {
            let folder = trees.there(&format!("d{}", number % 10));
            let aside = trees.there("aside");
            if fs::rename(&folder, &aside).is_ok() {
                let _ = symlink("../secret", &folder);
                std::thread::yield_now();
                let _ = fs::remove_file(&folder);
                let _ = fs::rename(&aside, &folder);
            }
        }
        _ => {
            let folder = trees.there(&format!("d{}/new{}", number % 10, round % 5));
            let _ = fs::create_dir(&folder);
            let _ = fs::write(folder.join("inner"), b"inner");
            if round % 3 == 0 {
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }
}

/// Starts a slow fetch, and waits until something has its name.
fn begun(trees: &Trees) -> Running {
    let client = Running::start(&mut trees.client(SLOW));
    wait_until("the first file", || {
        let folders = fs::read_dir(trees.here("")).ok()?.flatten();
        folders
            .flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten())
            .find(is_real)
    });
    client
}

/// Whether an entry has the name that it has on the server.
fn is_real(entry: &fs::DirEntry) -> bool {
    !entry.file_name().to_string_lossy().starts_with('.')
}

#[test]
fn a_large_file_that_grows_in_the_middle_arrives_as_it_is_then() {
    let trees = Trees::new("tree-grows");
    fill(&trees);
    let client = begun(&trees);
    use std::io::Write;
    let mut large = fs::File::options().append(true).open(trees.there("d5/large")).unwrap();
    large.write_all(&content(12_345)).unwrap();
    client.finish().succeeded();
    assert_eq!(fs::metadata(trees.here("d5/large")).unwrap().len(), (3 << 20) + 12_345);
    trees.assert_equal();
}

#[test]
fn a_large_file_that_becomes_empty_in_the_middle_arrives_empty() {
    let trees = Trees::on_disk("tree-empties");
    fill(&trees);
    let client = begun(&trees);
    trees.write("d5/large", b"");
    client.finish().succeeded();
    assert_eq!(fs::read(trees.here("d5/large")).unwrap(), b"");
    // ext4 gives a file that is cut its mtime twice: at the start, and when its blocks are free.
    settle(&trees);
}

#[test]
fn what_vanishes_in_the_middle_is_no_error() {
    let trees = Trees::new("tree-vanishes");
    fill(&trees);
    let client = begun(&trees);
    fs::remove_dir_all(trees.there("d5")).unwrap();
    for number in (0..300).step_by(20) {
        fs::remove_file(trees.there(&format!("d0/f{number}"))).unwrap();
    }
    client.finish().succeeded();
    settle(&trees);
}

#[test]
fn a_large_file_that_becomes_a_fifo_or_a_link_is_named() {
    for kind in ["fifo", "link"] {
        let trees = Trees::new(&format!("tree-becomes-{kind}"));
        fill(&trees);
        let client = begun(&trees);
        // The client knows the entries of a folder in which it has put a file.
        wait_until("a file of the folder", || {
            fs::read_dir(trees.here("d5")).ok()?.flatten().find(is_real)
        });
        let (large, other) = (trees.there("d5/large"), trees.there("d5/other"));
        match kind {
            "fifo" => make_fifo(&other),
            _ => symlink("/etc/passwd", &other).unwrap(),
        }
        fs::rename(&other, &large).unwrap();
        let outcome = client.finish();
        assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
        assert!(outcome.err.starts_with("client: d5/large: "), "{outcome:?}");
        assert!(!trees.here("d5/large").exists());
        if kind == "fifo" {
            fs::remove_file(&large).unwrap();
        }
        settle(&trees);
    }
}

#[test]
fn the_folder_itself_may_vanish_before_the_end() {
    let trees = Trees::new("tree-top-vanishes");
    fill(&trees);
    let client = begun(&trees);
    fs::rename(trees.there(""), trees.scratch.path("moved")).unwrap();
    // The server goes on with the folder that it has open.
    client.finish().succeeded();
    fs::rename(trees.scratch.path("moved"), trees.there("")).unwrap();
    trees.assert_equal();
}

#[test]
fn a_second_client_with_the_same_output_is_refused_and_the_first_goes_on() {
    let trees = Trees::new("tree-two-clients");
    fill(&trees);
    let first = begun(&trees);
    let second = trees.fetch(&[]);
    second.failed(SYSTEM, "client", "another client is writing to it");
    first.finish().succeeded();
    trees.assert_equal();
    trees.sync(&[]);
}

#[test]
fn two_clients_at_once_leave_an_equal_folder() {
    let trees = Trees::new("tree-race");
    fill(&trees);
    for _ in 0..3 {
        let clients: Vec<Running> =
            (0..3).map(|_| Running::start(&mut trees.client(&[]))).collect();
        let outcomes: Vec<_> = clients.into_iter().map(Running::finish).collect();
        assert!(outcomes.iter().any(|outcome| outcome.status.success()), "{outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| !outcome.status.success()) {
            outcome.failed(SYSTEM, "client", "another client is writing to it");
        }
        trees.assert_equal();
        fs::remove_dir_all(trees.here("")).unwrap();
    }
}
