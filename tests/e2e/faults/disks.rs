//! Disks that fill up, lose written data, or lack what other disks have. If no such disk is
//! available, a library of the tests plays it. The library does not work for programs of another
//! machine.

use crate::support::exit::SYSTEM;
use crate::support::harness::{
    Running, Scratch, Server, after, assert_same, content, run, wait_until,
};
use crate::support::namespace::{on_a_small_disk, script_in};
use crate::support::path::{BLOCK, Gate, Path, scatter};
use crate::support::peers::classic::{ClassicServer, md5};
use crate::support::preload::preload;
use crate::support::relay::{Faults, Relay};
use crate::support::system::{Sync, on_a_failing_disk, without_privileges};
use crate::support::uploads::{Inbox, WRITABLE};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A library that refuses the calls that the variable DISK names.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
static int lacks(const char *what) {
    const char *disk = getenv("DISK");
    return disk && strstr(disk, what);
}
#define NEXT(name) dlsym(RTLD_NEXT, name)
int ftruncate64(int fd, off64_t length) {
    if (lacks("truncation")) { errno = EPERM; return -1; }
    return ((int (*)(int, off64_t))NEXT("ftruncate64"))(fd, length);
}
int flock(int fd, int how) {
    if (lacks("locks")) { errno = ENOLCK; return -1; }
    return ((int (*)(int, int))NEXT("flock"))(fd, how);
}
int fchmod(int fd, mode_t mode) {
    if (lacks("modes")) { errno = EPERM; return -1; }
    return ((int (*)(int, mode_t))NEXT("fchmod"))(fd, mode);
}
/* "stamps" ignores the times and reports no error. */
int futimens(int fd, const struct timespec times[2]) {
    if (lacks("times")) { errno = EPERM; return -1; }
    if (lacks("stamps")) return 0;
    return ((int (*)(int, const struct timespec *))NEXT("futimens"))(fd, times);
}
int fsync(int fd) {
    if (lacks("syncs")) { errno = EINVAL; return -1; }
    return ((int (*)(int))NEXT("fsync"))(fd);
}
int fdatasync(int fd) {
    if (lacks("syncs")) { errno = EINVAL; return -1; }
    return ((int (*)(int))NEXT("fdatasync"))(fd);
}
int fallocate64(int fd, int mode, off64_t from, off64_t length) {
    if (lacks("allocation")) { errno = EOPNOTSUPP; return -1; }
    return ((int (*)(int, int, off64_t, off64_t))NEXT("fallocate64"))(fd, mode, from, length);
}
int fstatvfs64(int fd, struct statvfs64 *to) {
    if (lacks("size")) { memset(to, 0, sizeof *to); return 0; }
    return ((int (*)(int, struct statvfs64 *))NEXT("fstatvfs64"))(fd, to);
}
int fstatfs64(int fd, struct statfs64 *to) {
    int done = ((int (*)(int, struct statfs64 *))NEXT("fstatfs64"))(fd, to);
    if (lacks("inodes")) to->f_type = 0x65735546;
    if (lacks("exfat")) to->f_type = 0x2011BAB0;
    return done;
}
"#;

/// The command, on a disk without the things that `what` names.
fn on_a_disk_without(what: &str, scratch: &Scratch, mut command: Command) -> Command {
    preload(scratch, SOURCE, &mut command);
    command.env("DISK", what);
    command
}

#[test]
fn a_disk_without_locks_modes_allocation_and_size_gets_the_file_and_one_warning() {
    let scratch = Scratch::new("poor-disk");
    let server = Server::start(&scratch, &[]);
    let bytes = content(3 << 20);
    scratch.write("file", &bytes);
    let out = scratch.path("out");
    let client = || scratch.client(server.address, 2, "file", &out);
    let everything = "locks modes allocation size inodes truncation";
    let outcome = run(&mut on_a_disk_without(everything, &scratch, client()));
    let warning = "refuses modes (Operation not permitted) and locks (No locks available)";
    let lines: Vec<&str> = outcome.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("client: warning: "), "{outcome:?}");
    assert!(lines[0].contains(warning), "{outcome:?}");
    outcome.succeeded();
    assert_same(&fs::read(&out).unwrap(), &bytes, "the output");
    // No warning with `-q`, and none if nothing is missed.
    for (what, quiet) in [(everything, "-q"), ("allocation size inodes truncation", "--no-sync")] {
        let outcome = run(on_a_disk_without(what, &scratch, client()).arg(quiet));
        assert_eq!(outcome.err, "", "{what}");
        outcome.succeeded();
    }
}

/// A server that takes uploads, with this command in place of its own.
fn inbox(test: &str, make: impl FnOnce(&Scratch, Command) -> Command) -> Inbox {
    Inbox::with(test, |scratch| {
        let mut server = scratch.program("server");
        server.args(WRITABLE).arg("--writable-by-anyone").current_dir(scratch.folder());
        make(scratch, server)
    })
}

#[test]
fn a_disk_without_locks_modes_allocation_and_size_takes_an_upload() {
    let everything = "locks modes allocation size inodes truncation syncs";
    let inbox = inbox("poor-put", |scratch, server| on_a_disk_without(everything, scratch, server));
    let bytes = content(3 << 20);
    assert_eq!(inbox.put("/in/file", &[], &bytes).status, 201);
    assert_eq!(inbox.put("/in/file", &["If-None-Match: *"], &bytes).status, 412);
    assert_same(&inbox.read("file"), &bytes, "the file");
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn a_disk_that_loses_an_upload_keeps_the_old_file() {
    let mut inbox = inbox("lost-put", |_, mut server| {
        on_a_failing_disk(&mut server, Sync::All);
        server.arg("-q");
        server
    });
    fs::write(inbox.folder.join("file"), b"old").unwrap();
    let reply = inbox.put("/in/file", &[], b"new");
    assert_eq!((reply.status, reply.error()), (500, "the server cannot write the file"));
    let line = inbox.upload_line();
    assert!(line.ends_with(": the server cannot write the file (Input/output error)\n"), "{line}");
    assert_eq!((inbox.names().len(), inbox.read("file")), (1, b"old".to_vec()));
}

#[test]
fn a_disk_that_keeps_no_times_gets_the_file_and_one_warning() {
    let scratch = Scratch::new("timeless");
    let (server, bytes) = Server::with_file(&scratch, 100_000);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(scratch.path("file")).unwrap().set_modified(old).unwrap();
    let out = scratch.path("out");
    for (what, words) in [
        ("times", "refuses times (Operation not permitted)"),
        ("stamps", "refuses the time of the file on the server"),
    ] {
        for _ in 0..2 {
            let client = scratch.client(server.address, 2, "file", &out);
            let outcome = run(&mut on_a_disk_without(what, &scratch, client));
            let lines: Vec<&str> = outcome.err.lines().collect();
            assert!(lines.len() == 1 && lines[0].ends_with(words), "{outcome:?}");
            assert!(outcome.succeeded().contains("md5 ok"), "the client fetches the file again");
            assert_same(&fs::read(&out).unwrap(), &bytes, "the output");
        }
    }
}

#[test]
fn a_disk_that_cannot_sync_gets_the_file_and_one_warning() {
    let path = Path::new("no-syncs", (40 * BLOCK) as usize, Faults::default());
    let without = |command| on_a_disk_without("syncs", &path.scratch, command);
    let outcome = run(&mut without(path.client(2)));
    let lines: Vec<&str> = outcome.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].ends_with("the file system refuses syncs"), "{outcome:?}");
    outcome.succeeded();
    path.is_whole();
    let outcome = run(without(path.client(2)).arg("--no-sync"));
    assert_eq!(outcome.err, "");
    outcome.succeeded();
}

#[test]
fn a_part_file_grows_block_by_block_where_preallocation_would_write_zeros() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("grows", (40 * BLOCK + 7) as usize, faults);
    let on_exfat = |command| on_a_disk_without("exfat allocation", &path.scratch, command);
    let client = path.begin(&gate, 20, on_exfat(path.client(1)));
    let length = || fs::metadata(path.folder("out.part")).unwrap().len();
    assert_eq!(length(), 20 * BLOCK);
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    // Another inode, as after another mount.
    fs::copy(path.folder("out.part"), path.folder("copy")).unwrap();
    fs::rename(path.folder("copy"), path.folder("out.part")).unwrap();
    let said = run(&mut on_exfat(path.direct(4))).succeeded();
    assert!(said.contains(", resumed at 49%"), "{said}");
    path.is_whole();
}

#[test]
fn a_file_that_grows_gets_its_length_from_a_hole_at_the_end() {
    let scratch = Scratch::new("grows-hole");
    let server = Server::start(&scratch, &[]);
    let file = fs::File::create(scratch.path("file")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content(1 << 20), 1 << 20).unwrap();
    file.set_len(4 << 20).unwrap();
    let out = scratch.path("out");
    let client = scratch.client(server.address, 4, "file", &out);
    run(&mut on_a_disk_without("exfat allocation", &scratch, client)).succeeded();
    let expected = fs::read(scratch.path("file")).unwrap();
    assert_same(&fs::read(out).unwrap(), &expected, "the output");
}

#[test]
fn the_etag_leaves_out_an_inode_that_the_file_system_makes_up() {
    let scratch = Scratch::new("etag-inode");
    scratch.write("file", b"bytes");
    let tag = |disk: &str, folder: &str| {
        let mut command = scratch.program("server");
        command.args(["-q", "--root", "."]).current_dir(scratch.path(folder));
        let server = Server::start_command(&scratch, on_a_disk_without(disk, &scratch, command));
        let request = "HEAD /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut http = crate::support::http::Http::connect(server.address);
        http.send(request);
        let head = crate::support::socket::read_all(http.stream);
        let head = String::from_utf8(head).unwrap();
        head.lines().find(|line| line.starts_with("ETag: ")).unwrap().to_string()
    };
    assert_ne!(tag("nothing", ""), tag("inodes", ""));
    assert_eq!(tag("exfat", ""), tag("inodes", ""));
}

#[test]
fn a_disk_that_reports_no_size_does_not_count_as_full() {
    let scratch = Scratch::new("ramfs");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", &content(1 << 20));
    let folder = scratch.make_dir("folder");
    let client = scratch.client(server.address, 2, scratch.path("file"), folder.join("out"));
    let shown = folder.display();
    let mount = format!("mount -t ramfs ramfs '{shown}' && cd '{shown}'");
    let script = "\"$0\" \"$@\" && cmp out ../file && ls -A";
    let Some(mut command) = script_in("-m", &mount, script, &client) else { return };
    let outcome = run(&mut command);
    assert_eq!(outcome.err, "");
    assert!(outcome.succeeded().ends_with("\nout\n"));
}

#[test]
fn a_fetch_into_an_unreadable_folder_succeeds_and_resumes() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("drop-box", (40 * BLOCK) as usize, faults);
    let folder = path.folder("");
    fs::set_permissions(&folder, Permissions::from_mode(0o333)).unwrap();
    let mut command = path.client(1);
    without_privileges(&mut command);
    let client = path.begin(&gate, 20, command);
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let mut command = path.direct(2);
    without_privileges(&mut command);
    let outcome = run(&mut command);
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(outcome.err, "");
    assert!(outcome.succeeded().contains(", resumed at 50%"));
    path.is_whole();
}

/// A library whose sync says when it begins, and fails after three seconds. It waits with poll(2),
/// which a receiver may call.
const FAILING_LATE: &str = r#"
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

#[test]
fn a_sync_that_fails_after_the_last_byte_is_an_error() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("late-sync", 40 << 17, faults);
    let mut client = path.client(2);
    preload(&path.scratch, FAILING_LATE, &mut client);
    let mut client = Running::start(&mut client);
    assert_eq!(client.next_error_line(), "syncing\n");
    gate.open(); // all other bytes come before the sync fails
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.err.contains("out: Input/output error"), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
}

/// Runs the client, fills the disk when the test says so, and lets the client fail. Then makes room
/// and runs the client again. Only the script writes to stdout.
const FILL_AND_GO_ON: &str = r#"
"$0" "$@" & client=$!
until [ -e "$SIGNAL.fill" ]; do sleep 0.01; done
cat /dev/zero >filler 2>/dev/null
: >"$SIGNAL.filled"
wait $client; echo "first: $?"
ls -A
"$0" "$@"; echo "still full: $?"
rm filler
"$0" "$@"; echo "second: $?"
ls -A
cat out >"$SIGNAL.out"
"#;

#[test]
fn a_disk_that_fills_up_at_any_block_keeps_what_came_and_resumes_with_room() {
    for round in 0..4 {
        // The file fits on the disk, and is stored only in part, so no space is allocated in
        // advance. Each block may be the one that does not fit.
        let blocks = 2 + scatter(round) % 10;
        let (gate, faults) = Gate::after(blocks);
        let mut path = Path::new("fills-up", 2 << 20, faults);
        let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
        file.set_len(4 << 20).unwrap();
        path.bytes.resize(4 << 20, 0);
        let signal = path.scratch.path("signal");
        let Some(mut command) =
            on_a_small_disk(&path.scratch.path("folder"), "3m", FILL_AND_GO_ON, &path.client(1))
        else {
            return;
        };
        let running = Running::start(command.env("SIGNAL", &signal));
        gate.wait_until_reached();
        fs::write(path.scratch.path("signal.fill"), b"").unwrap();
        wait_until("a full disk", || path.scratch.path("signal.filled").exists().then_some(()));
        gate.open();
        let outcome = running.finish();
        let lines: Vec<&str> = outcome.out.lines().collect();
        let failed = ["first: 1", "filler", "out.part", "out.part.journal", "still full: 1"];
        assert_eq!(lines[..5], failed, "{blocks}: {outcome:?}");
        let said: Vec<&str> = outcome.err.lines().collect();
        assert_eq!(said.len(), 2, "{outcome:?}");
        for error in said {
            let words = [
                "out: No space left on device; ",
                "iB more are needed; ",
                "out.part keeps ",
                "%; to continue: ",
            ];
            assert!(words.iter().all(|words| error.contains(words)), "{error}");
        }
        assert!(lines[5].contains(", resumed at "), "{outcome:?}");
        assert_eq!(lines[6..], ["second: 0", "out"], "{outcome:?}");
        let output = fs::read(path.scratch.path("signal.out")).unwrap();
        assert_same(&output, &path.bytes, "the output");
    }
}

#[test]
fn a_classic_fetch_joins_its_parts_in_the_room_of_the_file_and_a_part() {
    let scratch = Scratch::new("classic-room");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(2_300_000);
    let client = scratch.client(server.address(), 4, "file", "out");
    let script = "\"$0\" \"$@\" && cat out >\"$COPY\"";
    let folder = scratch.make_dir("folder");
    let Some(mut command) = on_a_small_disk(&folder, "3m", script, &client) else { return };
    let client = Running::start(command.env("COPY", scratch.path("copy")));
    server.offer(&md5(&bytes));
    server.send(&bytes, 4);
    client.finish().succeeded();
    assert_same(&fs::read(scratch.path("copy")).unwrap(), &bytes, "the output");
}

#[test]
fn a_limit_of_the_file_s_size_is_an_error_in_the_first_second() {
    let path = Path::on_disk("file-limit", 2 << 20);
    let outcome = run(&mut after("ulimit -f 1024", &path.client(2)));
    outcome.failed(1, "client", "out: File too large");
    assert_eq!((path.relay.sent(), path.names().len()), (0, 0));
    path.fetch(2);
}

#[test]
fn a_disk_without_enough_room_is_an_error_before_anything_is_sent() {
    let scratch = Scratch::new("no-room");
    let server = crate::support::harness::Server::start(&scratch, &[]);
    scratch.write("file", &content(6 << 20));
    // `sparse` has holes: it stores 5 MiB of 1 GiB.
    scratch.write("sparse", &content(5 << 20));
    let sparse = fs::File::options().write(true).open(scratch.path("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let folder = scratch.make_dir("folder");
    for file in ["file", "sparse"] {
        let relay = Relay::start(&scratch, server.address, Default::default());
        let client = scratch.client(relay.address, 2, file, "out");
        let script = "\"$0\" \"$@\"; echo $?; ls -A";
        let Some(mut command) = on_a_small_disk(&folder, "3m", script, &client) else { return };
        let outcome = run(&mut command);
        assert_eq!(outcome.out, "1\n", "{outcome:?}");
        assert!(outcome.err.contains("out: No space left on device; "), "{outcome:?}");
        assert!(outcome.err.contains(" MiB more are needed\n"), "{outcome:?}");
        assert_eq!((relay.sent(), relay.asked()), (0, Vec::new()), "{file}");
        wait_until("the goodbye", || (relay.streams() > 0).then_some(()));
        assert_eq!(relay.streams(), 1, "{file}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let scratch = Scratch::new("full");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    let folder = scratch.make_dir("small");
    let client = scratch.client(server.address, 4, "file", folder.join("out"));
    let script = "\"$0\" \"$@\"; code=$?; ls -A; exit $code";
    let Some(mut shared) = on_a_small_disk(&folder, "256k", script, &client) else { return };
    run(&mut shared).failed(SYSTEM, "client", "out: No space left on device");
}
