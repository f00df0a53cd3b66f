//! A disk that says late that it has lost what was written: a library of the tests' own
//! stands before the C library's fdatasync(2). Not for programs of another machine.

use crate::harness::{Running, Scratch};
use crate::path::{Gate, Path};
use std::path::PathBuf;
use std::process::Command;

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

fn library(scratch: &Scratch) -> PathBuf {
    let (source, library) = (scratch.write("slow.c", SOURCE.as_bytes()), scratch.path("slow.so"));
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap().success(), "the linker of these tests is a C compiler");
    library
}

#[test]
fn a_sync_that_fails_after_the_last_byte_is_no_success() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("late-sync", 40 << 17, faults);
    let mut client = path.client(2);
    client.env("LD_PRELOAD", library(&path.scratch));
    let mut client = Running::start(&mut client);
    assert_eq!(client.next_error_line(), "syncing\n");
    gate.open(); // all the rest comes before the sync has failed
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.err.contains("out: Input/output error"), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
}
