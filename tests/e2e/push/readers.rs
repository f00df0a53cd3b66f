//! A folder that is served and written at once: whoever reads a file that is being replaced gets the
//! old one or the new one, whether it comes by PUT or by a push of a file or of a folder.

use crate::support::exit::{CHANGED, INCOMPLETE};
use crate::support::harness::{content, run, wait_until};
use crate::support::uploads::Inbox;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Sizes of the two contents of a file.
const SIZES: [usize; 2] = [700_000, 900_001];

/// How often a writer replaces the file, at least.
const TURNS: usize = 24;

/// How often each reader reads between two turns: once while the file is replaced, perhaps, and once
/// while it stays.
const READS: usize = 2;

/// Has readers of `in/top/file` read while `write` replaces the file, with the content of this
/// number. Each reader has to see both contents, and nothing else.
fn read_while(test: &str, write: impl Fn(&Inbox, usize)) {
    let inbox = Inbox::open(test, &[]);
    fs::create_dir(inbox.folder.join("top")).unwrap();
    for (number, size) in SIZES.into_iter().enumerate() {
        inbox.scratch.make_dir(&format!("top{number}"));
        inbox.scratch.write(format!("top{number}/file"), &content(size));
    }
    write(&inbox, 0);
    let over = AtomicBool::new(false);
    let seen: [[AtomicUsize; 2]; 3] = Default::default();
    let reads: [AtomicUsize; 3] = Default::default();
    let count = || reads.each_ref().map(|read| read.load(Ordering::Relaxed));
    let all_seen = || seen.iter().flatten().all(|count| count.load(Ordering::Relaxed) > 0);
    thread::scope(|scope| {
        let _ends = Ends(&over);
        let readers = [Reader::Get, Reader::Fetch, Reader::FetchFolder];
        for ((reader, seen), read) in readers.into_iter().zip(&seen).zip(&reads) {
            let (inbox, over) = (&inbox, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Some(number) = reader.read(inbox) {
                        seen[number].fetch_add(1, Ordering::Relaxed);
                    }
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 1.. {
            write(&inbox, turn % 2);
            if turn >= TURNS && all_seen() {
                break;
            }
            // A writer that goes on at once would leave a slow reader no time for either content.
            let before = count();
            wait_until("readers", || {
                let all = count().iter().zip(before).all(|(now, before)| *now >= before + READS);
                all.then_some(())
            });
        }
    });
}

/// Ends the readers, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
enum Reader {
    Get,
    Fetch,
    FetchFolder,
}

impl Reader {
    /// Which content is there; `None` where the file changed too often to be had.
    fn read(self, inbox: &Inbox) -> Option<usize> {
        let out = inbox.scratch.path(format!("out-{self:?}"));
        let fetch = |name: &str, options: &[&str]| {
            let mut client = inbox.scratch.client(inbox.server.address, 2, name, &out);
            run(client.args(options))
        };
        let bytes = match self {
            Reader::Get => inbox.connect().ask("GET", "/in/top/file", &[]).body,
            Reader::Fetch => {
                let outcome = fetch("in/top/file", &["--whole", "--restart"]);
                if outcome.status.code() == Some(CHANGED) {
                    return None;
                }
                outcome.succeeded();
                fs::read(&out).unwrap()
            }
            Reader::FetchFolder => {
                let outcome = fetch("in/top", &["--no-sync"]);
                let bytes = fs::read(out.join("file"));
                if outcome.status.code() == Some(INCOMPLETE) {
                    return None;
                }
                outcome.succeeded();
                bytes.unwrap()
            }
        };
        let found = SIZES.iter().position(|size| bytes == content(*size));
        Some(found.unwrap_or_else(|| panic!("{self:?}: {} bytes are of neither", bytes.len())))
    }
}

#[test]
fn readers_of_a_file_that_is_put_get_the_old_or_the_new_one() {
    read_while("readers-put", |inbox, number| {
        let reply = inbox.put("/in/top/file", &[], &content(SIZES[number]));
        assert!([201, 204].contains(&reply.status), "{reply:?}");
    });
}

#[test]
fn readers_of_a_file_that_is_pushed_get_the_old_or_the_new_one() {
    read_while("readers-push", |inbox, number| {
        let what = format!("top{number}/file");
        run(&mut inbox.push(&what, "in/top/file")).succeeded();
    });
}

#[test]
fn readers_of_a_folder_that_is_pushed_get_old_or_new_files() {
    read_while("readers-push-folder", |inbox, number| {
        run(&mut inbox.push(&format!("top{number}"), "in/top")).succeeded();
    });
}
