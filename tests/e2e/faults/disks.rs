//! Disks that are not ext4, folders with other rights, and outputs that are no files: what is
//! there is used, and what is missing is said in one warning. A library of the tests' own
//! stands before the C library where no such disk is to be had; it is not for programs of
//! another machine.

use crate::support::exit::SYSTEM;
use crate::support::harness::{Running, Scratch, Server, after, assert_same, content, run};
use crate::support::namespace::script_in;
use crate::support::path::BLOCK;
use crate::support::path::{Gate, Path};
use crate::support::preload::preload;
use crate::support::relay::Faults;
use crate::support::system::without_privileges;
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Refuses what the variable DISK names.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/types.h>
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

/// A command whose disk lacks these things.
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
    // Without a word where only errors are wanted, and where nothing is missed.
    for (what, quiet) in [(everything, "-q"), ("allocation size inodes truncation", "--no-sync")] {
        let outcome = run(on_a_disk_without(what, &scratch, client()).arg(quiet));
        assert_eq!(outcome.err, "", "{what}");
        outcome.succeeded();
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
fn a_file_grows_with_what_comes_where_zeros_would_be_written() {
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
fn a_hole_at_the_end_gives_a_file_that_grows_its_length() {
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
fn an_inode_that_is_made_up_is_not_in_the_etag() {
    let scratch = Scratch::new("etag-inode");
    scratch.write("file", b"bytes");
    let tag = |disk: &str, folder: &str| {
        let mut command = scratch.program("server");
        command.args(["-q", "--root", "."]).current_dir(scratch.path(folder));
        let server = Server::start_command(&scratch, on_a_disk_without(disk, &scratch, command));
        let request = "HEAD /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut http = crate::support::peers::classic::Http::connect(server.address);
        http.send(request);
        let head = crate::support::peers::classic::read_all(http.stream);
        let head = String::from_utf8(head).unwrap();
        head.lines().find(|line| line.starts_with("ETag: ")).unwrap().to_string()
    };
    assert_ne!(tag("nothing", ""), tag("inodes", ""));
    assert_eq!(tag("exfat", ""), tag("inodes", ""));
}

#[test]
fn a_disk_that_tells_no_size_is_not_full() {
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
fn an_output_that_something_is_mounted_at_is_refused_at_the_start() {
    let scratch = Scratch::new("bind-mount");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    let client = scratch.client(server.address, 2, "file", folder.join("out"));
    let script = "\"$0\" \"$@\"; echo $?; cat out; ls -A";
    let mount = format!("cd '{}' && echo old >out && mount --bind out out", folder.display());
    let Some(mut command) = script_in("-m", &mount, script, &client) else { return };
    let outcome = run(&mut command);
    let words = "out: cannot be replaced: it is a mount point; choose another output, or '-' and";
    assert!(outcome.err.contains(words), "{outcome:?}");
    assert_eq!(outcome.out, "1\nold\nout\n");
    assert_eq!(server.stop().err, "", "nobody was asked for anything");
}

#[test]
fn an_output_that_its_folder_lets_nobody_else_replace_is_refused_at_the_start() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("sticky");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    let out = scratch.write("folder/out", b"root's");
    fs::set_permissions(&out, Permissions::from_mode(0o666)).unwrap();
    let mut client = scratch.client(server.address, 2, "file", &out);
    let outcome = run(client.uid(NOBODY.1));
    outcome.failed(SYSTEM, "client", "out: cannot be replaced: Operation not permitted; choose");
    assert_eq!(Scratch::names(&folder), ["out"]);
}

#[test]
fn a_folder_that_cannot_be_read_is_written_to_and_gone_on_in() {
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

#[test]
fn a_new_file_has_the_rights_that_touch_would_give_it() {
    let scratch = Scratch::new("default-acl");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    let acl = "u::rwx,g::rwx,o::---,u:65534:rwx,m::rwx";
    let mut setfacl = Command::new("setfacl");
    let set = setfacl.args(["-d", "-m", acl]).arg(&folder).stderr(Stdio::null()).status();
    if !set.is_ok_and(|set| set.success()) {
        eprintln!("not tried: setfacl is not there, or the file system has no ACLs");
        return;
    }
    for umask in ["022", "077"] {
        let rights = |name: &str| {
            let path = folder.join(name);
            let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
            let acl = Command::new("getfacl").arg("-cp").arg(path).output().unwrap().stdout;
            (mode, String::from_utf8(acl).unwrap())
        };
        let mut touch = Command::new("touch");
        touch.arg(folder.join("touched"));
        run(&mut after(&format!("umask {umask}"), &touch)).succeeded();
        let client = scratch.client(server.address, 2, "file", folder.join("out"));
        run(&mut after(&format!("umask {umask}"), &client)).succeeded();
        assert_eq!(rights("out"), rights("touched"), "{umask}");
        assert_eq!(rights("out").0, 0o660);
        fs::remove_file(folder.join("out")).unwrap();
    }
}

/// Runs `script` with the client's command line up to OFILE as its arguments.
fn script(scratch: &Scratch, server: &Server, shell: &str, script: &str) -> Option<Running> {
    let client = scratch.client(server.address, 2, "file", "OFILE");
    let arguments = client.get_args().filter(|argument| *argument != "OFILE");
    let mut command = Command::new(shell);
    command.arg("-c").arg(script).arg(client.get_program()).args(arguments);
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).current_dir(scratch.folder());
    if Command::new(shell).args(["-c", ":"]).status().is_err() {
        eprintln!("not tried: no {shell}");
        return None;
    }
    Some(Running::start(&mut command))
}

#[test]
fn names_of_descriptors_get_the_bytes_where_they_stand() {
    let scratch = Scratch::new("descriptors");
    let server = Server::start(&scratch, &[]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    std::os::unix::fs::symlink("/dev/stdout", scratch.path("link")).unwrap();
    let expected = [b"before\n", bytes.as_slice(), b"behind\n"].concat();
    for (ofile, redirection) in
        [("/dev/stdout", ">"), ("/proc/self/fd/1", ">"), ("link", ">"), ("/dev/fd/7", "7>")]
    {
        let number = if redirection == ">" { 1 } else { 7 };
        let text = format!(
            "exec {redirection}log; echo before >&{number}; \"$0\" -q \"$@\" {ofile} || exit; \
             echo behind >&{number}"
        );
        let log: PathBuf = scratch.write("log", b"");
        let before = fs::metadata(&log).unwrap().ino();
        script(&scratch, &server, "sh", &text).unwrap().finish().succeeded();
        assert_eq!(fs::metadata(&log).unwrap().ino(), before, "{ofile}");
        assert_same(&fs::read(&log).unwrap(), &expected, ofile);
    }
    let text = "\"$0\" -q \"$@\" >(cat >copy); code=$?; wait $!; exit $code";
    if let Some(running) = script(&scratch, &server, "bash", text) {
        running.finish().succeeded();
        assert_same(&fs::read(scratch.path("copy")).unwrap(), &bytes, "the copy");
    }
}

#[test]
fn a_descriptor_that_cannot_be_written_to_is_refused() {
    let scratch = Scratch::new("descriptor-read");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let text = "exec 7<file; exec \"$0\" \"$@\" /dev/fd/7";
    let outcome = script(&scratch, &server, "sh", text).unwrap().finish();
    outcome.failed(SYSTEM, "client", "descriptor 7: Bad file descriptor");
    assert_eq!(fs::read(scratch.path("file")).unwrap(), b"bytes");
}
