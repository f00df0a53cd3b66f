//! Processes that are killed in the middle of a folder. At every instant each real name has the old
//! or the new content, and the next run makes the folders equal.

use crate::support::exit::USAGE;
use crate::support::harness::{Running, content, run, wait_until};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::trees::{Trees, leftovers};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The contents that a name may have.
type Allowed = HashMap<OsString, Vec<Vec<u8>>>;

/// Small files, and some of many requests.
fn fill(trees: &Trees) {
    for number in 0..400 {
        let name = format!("d{}/e{}/f{number}", number % 9, number % 4);
        trees.write(&name, &content(number * 37 + 1));
    }
    for number in 0..4 {
        trees.write(&format!("d{number}/large"), &content((2 << 20) + number));
    }
}

/// Everything that the names of the server's folder may stand for, with `older` contents.
fn allowed(trees: &Trees, older: &HashMap<OsString, Vec<u8>>) -> Allowed {
    let mut allowed = Allowed::new();
    for (name, fact) in crate::support::trees::facts(&trees.there("")) {
        let old = older.get(&name).cloned();
        allowed.insert(name, old.into_iter().chain([fact.content]).collect());
    }
    allowed
}

/// Looks at every file again and again until `over`.
fn watch(top: &Path, allowed: &Allowed, over: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        let mut folders = vec![top.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path: PathBuf = entry.path();
                if entry.file_name().as_bytes().starts_with(b".ropewalk-") {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                    continue;
                }
                // It may be replaced, but not taken away.
                let bytes = fs::read(&path).unwrap();
                let name = path.strip_prefix(top).unwrap().as_os_str();
                let right = allowed.get(name).is_some_and(|all| all.contains(&bytes));
                assert!(right, "{name:?} has {} wrong bytes", bytes.len());
                looks += 1;
            }
        }
    }
    looks
}

/// One of the processes of a run, if it is there.
fn victim(trees: &Trees, client: u32, number: usize) -> Option<u32> {
    let server = trees.server.running.pid();
    let child = |parent: u32| {
        proof::processes(&trees.scratch).into_iter().find(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = line.rsplit_once(") ").unwrap_or_default().1.to_string();
            fields.split(' ').nth(1) == Some(parent.to_string().as_str())
        })
    };
    match number % 4 {
        0 => Some(client),
        1 => child(client),
        2 => child(server),
        _ => Some(server),
    }
}

/// Ends the watcher, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives every file in a folder this mtime.
fn touch(folder: &Path, time: SystemTime) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true => touch(&entry.path(), time),
            false => File::open(entry.path()).unwrap().set_modified(time).unwrap(),
        }
    }
}

/// Kills 30 processes in one fetch of the folder.
fn kill_thirty(trees: &mut Trees, allowed: &Allowed, random: &mut u64) {
    let over = AtomicBool::new(false);
    let here = trees.here("");
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&here, allowed, &over));
        let at_the_end = Ends(&over);
        let mut kills = 0;
        let mut number = 0_u64;
        while kills < 30 {
            number += 1;
            assert!(number < 200, "runs end before anything can be killed");
            // Without syncs files get their names one by one, else in groups.
            let sync = if number % 3 == 0 { "-q" } else { "--no-sync" };
            let mut command = trees.client(&["--limit-rate", "12M", "--retry-for", "0", sync]);
            let client = Running::start(&mut command);
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_millis(20 + (*random >> 33) % 150));
            let pid = victim(trees, client.pid(), kills);
            if let Some(pid) = pid.filter(|pid| proof::state(*pid).is_some_and(|s| s != 'Z')) {
                signal(pid, libc::SIGKILL);
                kills += 1;
                if pid == trees.server.running.pid() {
                    trees.server.running.finish_ref();
                    trees.restart_server(&[]);
                }
            }
            let outcome = client.finish();
            if outcome.status.success() {
                // Everything is to be fetched again, with the same content.
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
                touch(&trees.there(""), time);
            }
            assert!(!outcome.err.contains("panicked") && outcome.status.code() != Some(USAGE));
        }
        drop(at_the_end);
        assert!(watcher.join().unwrap() > 0);
    });
}

#[test]
fn thirty_kills_leave_no_wrong_file_and_the_next_run_makes_an_equal_folder() {
    let mut trees = Trees::new("tree-kills");
    fill(&trees);
    // Half of it is there already, and older.
    let mut older = HashMap::new();
    for number in (0..400).step_by(2) {
        let name = format!("d{}/e{}/f{number}", number % 9, number % 4);
        trees.write_here(&name, b"older");
        older.insert(name.into(), b"older".to_vec());
    }
    let old = content((2 << 20) - 1);
    trees.write_here("d1/large", &old);
    older.insert("d1/large".into(), old);
    let allowed = allowed(&trees, &older);
    let seed = std::env::var("ROPEWALK_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = seed.unwrap_or(u64::from(std::process::id()));
    eprintln!("ROPEWALK_SEED={random}");
    kill_thirty(&mut trees, &allowed, &mut random);
    trees.sync(&[]);
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_waited_for() {
    let mut trees = Trees::new("tree-server-back");
    fill(&trees);
    let mut command = trees.client(&["--limit-rate", "4M", "--retry-for", "60", "--no-sync"]);
    let client = Running::start(&mut command);
    let begun = Instant::now();
    for _ in 0..2 {
        let before = count(&trees);
        assert!(before < 404, "the client was too fast");
        wait_until("more files", || (count(&trees) > before).then_some(()));
        trees.server.kill();
        trees.restart_server(&[]);
    }
    client.finish().succeeded();
    assert!(begun.elapsed() < Duration::from_secs(60));
    trees.assert_equal();
}

/// Files that are in place.
fn count(trees: &Trees) -> usize {
    match fs::exists(trees.here("")).unwrap() {
        true => facts_without_reading(&trees.here("")),
        false => 0,
    }
}

fn facts_without_reading(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        count += match entry.file_type().unwrap().is_dir() {
            true => facts_without_reading(&entry.path()),
            false => usize::from(!entry.file_name().as_bytes().starts_with(b".ropewalk-")),
        };
    }
    count
}

#[test]
fn what_a_killed_client_left_goes_with_the_next_run() {
    let trees = Trees::new("tree-leftovers");
    trees.write("a", b"a");
    trees.write("d/b", b"b");
    for name in ["", "d/"] {
        let left = format!("{name}.ropewalk-{}", "0123456789abcdef".repeat(2));
        trees.write_here(&left, b"left by another file");
        trees.write_here(&format!("{left}.journal"), b"no journal");
    }
    assert_eq!(leftovers(&trees.here("")).len(), 4);
    run(&mut trees.client(&["-n"])).succeeded();
    assert_eq!(leftovers(&trees.here("")).len(), 4, "a dry run changes nothing");
    trees.sync(&[]);
}

#[test]
fn the_md5_of_a_resumed_file_covers_what_the_killed_run_had_fetched() {
    let mut trees = Trees::with_server("tree-md5-resume", &["--idle-timeout", "1"]);
    trees.write("large", &content(40 << 20));
    let slow = ["--verify=md5", "--limit-rate", "16M", "--retry-for", "0"];
    let client = Running::start(&mut trees.client(&slow));
    // A record of the journal has 28 bytes, and a block 128 KiB.
    let is_begun = || {
        let names = fs::read_dir(trees.here("")).into_iter().flatten().flatten();
        let journal = names
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "journal"))?;
        (fs::metadata(journal).ok()?.len() > 28 * 80).then_some(())
    };
    wait_until("a quarter of the file", is_begun);
    signal(client.pid(), libc::SIGKILL);
    client.finish();
    let first = trees.server.next_log_line();
    let said = trees.sync(&["--verify=md5"]);
    assert!(said.starts_with("1 file, ") && said.contains(", md5 ok of 1 file; "), "{said}");
    let second = trees.server.next_log_line();
    let sent = |line: &str| {
        let (before, _) = line.split_once(" bytes sent").unwrap_or_else(|| panic!("{line}"));
        before.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap()
    };
    assert!(sent(&first) > 8 << 20 && sent(&second) < 34 << 20, "{first} {second}");
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
}
