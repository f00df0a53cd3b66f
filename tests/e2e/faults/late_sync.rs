//! A disk that is slow to sync, or says late that it has lost what was written: a library of
//! the tests' own stands before the C library's. Not for programs of another machine.

use crate::support::harness::{Running, wait_until};
use crate::support::path::{Gate, Path};
use crate::support::preload::preload;

/// Says when it begins, and fails after three seconds. poll(2) is what a receiver may call.
const SOURCE: &str = r#"
#include <errno.h>
#include <poll.h>
#include <unistd.h>
int fdatasync(int fd) {
    (void)fd;
    if (write(2, "syncing\n", 8) != 8) return 0;
    poll(0, 0, 3000);
    errno = EIO;
    return -1;
}
"#;

/// Says when a large file is synced.
const SPEAKING: &str = r#"
#include <sys/stat.h>
#include <unistd.h>
int fsync(int fd) {
    struct stat found;
    int large = fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 1 << 20;
    return large && write(2, "syncing\n", 8) != 8;
}
"#;

#[test]
fn a_sync_that_fails_after_the_last_byte_is_no_success() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("late-sync", 40 << 17, faults);
    let mut client = path.client(2);
    preload(&path.scratch, SOURCE, &mut client);
    let mut client = Running::start(&mut client);
    assert_eq!(client.next_error_line(), "syncing\n");
    gate.open(); // all the rest comes before the sync has failed
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.err.contains("out: Input/output error"), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
}

#[test]
fn what_an_earlier_run_left_is_not_synced_before_the_rest_is_asked_for() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("resume-sync", 40 << 17, faults);
    let client = path.begin(&gate, 20, path.client(1));
    client.signal(libc::SIGKILL);
    client.finish();
    let mut client = path.client(1);
    preload(&path.scratch, SPEAKING, &mut client);
    let client = Running::start(&mut client);
    let goes_on = || path.relay.asked().iter().any(|piece| piece.stream > 0).then_some(());
    wait_until("a request of the second run", goes_on);
    client.signal(libc::SIGKILL);
    let outcome = client.finish();
    assert!(!outcome.err.contains("syncing"), "{outcome:?}");
    gate.open();
}
