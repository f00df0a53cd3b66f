//! Disks that refuse or fail in the middle of a folder, played by a library. It does not work for
//! programs of another machine.

use crate::support::exit::{INCOMPLETE, SYSTEM};
use crate::support::harness::{Outcome, content, run};
use crate::support::preload::preload;
use crate::support::trees::{Trees, facts, leftovers};
use ropewalk::codec::journal::{JournalHeader, RECORD_SIZE, Record};
use ropewalk::transfer::store::{journal, names};
use std::ffi::OsStr;
use std::fs::{self, File};

/// A library that denies one call from its call number N on, as the variable DENY says: its name
/// and N.
const DENYING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
static int denies(const char *call) {
    static int count;
    const char *deny = getenv("DENY");
    size_t length = strlen(call);
    if (!deny || strncmp(deny, call, length) || deny[length] != ':') return 0;
    return __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) > atoi(deny + length + 1);
}
#define NEXT(name) dlsym(RTLD_NEXT, name)
#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t length, type offset) { \
        if (denies("write")) { errno = EDQUOT; return -1; } \
        return ((ssize_t (*)(int, const void *, size_t, type))NEXT(#name))(fd, data, length, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
#define ALLOCATE(name, type) \
    int name(int fd, int mode, type offset, type length) { \
        if (denies("allocate")) { errno = EDQUOT; return -1; } \
        return ((int (*)(int, int, type, type))NEXT(#name))(fd, mode, offset, length); \
    }
ALLOCATE(fallocate, off_t)
ALLOCATE(fallocate64, off64_t)
int mkdirat(int folder, const char *name, mode_t mode) {
    if (denies("folder")) { errno = EDQUOT; return -1; }
    return ((int (*)(int, const char *, mode_t))NEXT("mkdirat"))(folder, name, mode);
}
int symlinkat(const char *text, int folder, const char *name) {
    if (denies("link")) { errno = EDQUOT; return -1; }
    return ((int (*)(const char *, int, const char *))NEXT("symlinkat"))(text, folder, name);
}
/* A file system whose names have at most 100 bytes. */
long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    const char *name = (const char *)(number == SYS_renameat2 ? d : b);
    if ((number == SYS_renameat2 || number == SYS_statx) && strlen(name) > 100 && denies("name")) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return ((long (*)(long, ...))NEXT("syscall"))(number, a, b, c, d, e, f);
}
"#;

fn fill(trees: &Trees) {
    for number in 0..60 {
        trees.write(&format!("d{}/f{number}", number % 6), &content(10_000 + number));
        std::os::unix::fs::symlink("f1", trees.there(&format!("d{}/l{number}", number % 6)))
            .unwrap();
    }
    trees.write("large", &content(2 << 20));
}

/// Fetches while one call is denied from a number on.
fn denied(trees: &Trees, deny: &str, options: &[&str]) -> Outcome {
    let mut client = trees.client(options);
    preload(&trees.scratch, DENYING, &mut client);
    run(client.env("DENY", deny))
}

#[test]
fn a_quota_that_is_used_up_ends_the_run_and_with_room_it_goes_on() {
    let trees = Trees::on_disk("tree-quota");
    fill(&trees);
    for deny in ["write:20", "write:65", "allocate:0", "folder:3", "link:30"] {
        for options in [&[][..], &["--no-sync"]] {
            let outcome = denied(&trees, deny, options);
            assert_eq!(outcome.status.code(), Some(SYSTEM), "{deny}: {outcome:?}");
            assert!(outcome.err.contains("Disk quota exceeded"), "{deny}: {outcome:?}");
            trees.assert_right_files();
            trees.sync(&[]);
            assert!(leftovers(&trees.here("")).is_empty(), "{deny}");
            fs::remove_dir_all(trees.here("")).unwrap();
        }
    }
}

#[test]
fn a_name_that_is_too_long_for_the_disk_is_named_and_the_rest_arrives() {
    let trees = Trees::new("tree-name-too-long");
    fill(&trees);
    let long = format!("d1/{}", "n".repeat(200));
    trees.write(&long, b"long");
    for _ in 0..2 {
        let outcome = denied(&trees, "name:0", &[]);
        assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
        assert_eq!(outcome.err, format!("client: {long}: File name too long\n"));
        let (there, here) = (facts(&trees.there("")), facts(&trees.here("")));
        assert_eq!(here.len() + 1, there.len());
        trees.assert_right_files();
    }
    trees.sync(&[]);
}

/// A library whose syncfs(2) waits until the journal that the variable JOURNAL names has records,
/// and fails. It waits with poll(2), which a receiver may call.
const FAILING_SYNC: &str = r#"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
int syncfs(int fd) {
    struct stat found;
    errno = fd < 0 ? EBADF : EIO;
    for (int turn = 0; fd >= 0 && turn < 3000; turn++) {
        if (!stat(getenv("JOURNAL"), &found) && found.st_size > 300) break;
        poll(0, 0, 10);
    }
    errno = fd < 0 ? EBADF : EIO;
    return -1;
}
"#;

#[test]
fn after_a_failed_sync_nothing_of_a_large_file_counts_that_was_not_durable() {
    let trees = Trees::new("tree-failed-sync");
    trees.write("large", &content(6 << 20));
    for number in 0..5 {
        trees.write(&format!("d/f{number}"), b"small");
    }
    let journal = trees.here("").join(names::journal(OsStr::new("large")));
    let mut client = trees.client(&["--limit-rate", "1M"]);
    preload(&trees.scratch, FAILING_SYNC, &mut client);
    let outcome = run(client.env("JOURNAL", &journal));
    outcome.failed(SYSTEM, "client", "here: Input/output error");
    for number in 0..5 {
        assert!(!trees.here(&format!("d/f{number}")).exists(), "a file was put in place");
    }
    // The journal has records, of which only durable ones count.
    let bytes = fs::read(&journal).unwrap();
    let (start, header) = JournalHeader::parse(&bytes).unwrap();
    let records: Vec<Record> = bytes[start..]
        .chunks_exact(RECORD_SIZE)
        .map_while(|record| Record::parse(record.try_into().unwrap(), header.salt))
        .collect();
    let durable = records.iter().any(|record| matches!(record, Record::Durable { .. }));
    assert!(records.len() > 2 && !durable, "{records:?}");
    let opened = journal::Journal::open(File::open(&journal).unwrap()).unwrap();
    let (_, _, contents) = opened.unwrap();
    assert_eq!(journal::bytes_of(&contents), 0, "{contents:?}");
    trees.sync(&[]);
    assert!(leftovers(&trees.here("")).is_empty());
}

/// A library without syncfs(2), which says for each file that it is synced by itself.
const WITHOUT_SYNCFS: &str = r#"
#include <errno.h>
#include <unistd.h>
int syncfs(int fd) { (void)fd; errno = ENOSYS; return -1; }
int fdatasync(int fd) { (void)fd; return write(2, "s", 1) == 1 ? 0 : -1; }
"#;

#[test]
fn without_syncfs_each_file_is_synced_by_itself() {
    let trees = Trees::new("tree-without-syncfs");
    trees.write("large", &content(2 << 20));
    for number in 0..20 {
        trees.write(&format!("d/f{number}"), b"small");
    }
    let mut client = trees.client(&[]);
    preload(&trees.scratch, WITHOUT_SYNCFS, &mut client);
    let outcome = run(&mut client);
    assert_eq!(outcome.err.matches('s').count(), outcome.err.len(), "{outcome:?}");
    assert!(outcome.err.len() >= 21, "{outcome:?}");
    outcome.succeeded();
    trees.assert_equal();
}
