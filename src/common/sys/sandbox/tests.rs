//! The rights of a confined process. Each test runs itself again as a child, which gives up its
//! rights and tries them.

use super::*;
use crate::sys::dir::{Access, Dir};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Set in a child, to a folder of its own.
const CHILD: &str = "ROPEWALK_SANDBOX_TEST";

const SENDER: Role = Role { work: Work::Sender, peers: Peers::Come };
const TREE_SOURCE: Role = Role { work: Work::TreeSource, peers: Peers::Come };
const TREE_SINK: Role = Role { work: Work::TreeSink, peers: Peers::AreDialled };

/// Runs the test of this name again in a process of its own. `true` in that process.
fn in_child(name: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let folder = format!("ropewalk-sandbox-{}-{name}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir(&folder).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("sys::sandbox::tests::{name}"), "--nocapture"])
        .args(["--test-threads", "1"])
        .env(CHILD, &folder)
        .env("RUST_BACKTRACE", "0")
        // AddressSanitizer forks a process to look for leaks; a confined process cannot fork.
        .env("LSAN_OPTIONS", "detect_leaks=0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    assert!(String::from_utf8_lossy(&text).contains("1 passed"));
    false
}

/// The child's own folder.
fn folder() -> PathBuf {
    std::env::var_os(CHILD).unwrap().into()
}

fn applied(report: &Report, step: &str) -> bool {
    let found = report.steps().iter().find(|(name, _)| name.contains(step)).unwrap();
    assert!(!matches!(found.1, Outcome::Failed(_)), "{report}");
    matches!(found.1, Outcome::Applied)
}

fn number<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// A system call by number, without arguments.
fn call(number: libc::c_long) -> io::Result<libc::c_int> {
    // SAFETY: only for calls that need no arguments or are refused before they look.
    check(unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) } as libc::c_int)
}

#[test]
fn a_sender_cannot_open_start_or_connect() {
    if !in_child("a_sender_cannot_open_start_or_connect") {
        return;
    }
    let report = confine_sender(64, Peers::Come);
    if !applied(&report, "seccomp") {
        return;
    }
    assert_eq!(number(File::open("/dev/null")), Some(libc::EPERM));
    assert_eq!(number(File::create("/tmp/ropewalk-never")), Some(libc::EPERM));
    assert_eq!(number(std::fs::read_dir("/")), Some(libc::EPERM));
    assert_eq!(number(std::fs::remove_file("/tmp/ropewalk-never")), Some(libc::EPERM));
    assert_eq!(number(TcpListener::bind("127.0.0.1:0")), Some(libc::EPERM));
    assert_eq!(number(TcpStream::connect("127.0.0.1:1")), Some(libc::EPERM));
    assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EPERM));
    let refused = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_ptrace,
        libc::SYS_kill,
        libc::SYS_mount,
        libc::SYS_clone,
        libc::SYS_setuid,
        libc::SYS_openat,
        libc::SYS_process_vm_readv,
        libc::SYS_memfd_create,
        libc::SYS_bpf,
        libc::SYS_prlimit64,
        crate::sys::number::OPENAT2,
        425, // io_uring_setup
    ];
    for refused in refused {
        assert_eq!(number(call(refused)), Some(libc::EPERM), "{refused}");
    }
    assert_eq!(number(call(crate::sys::number::CLONE3)), Some(libc::ENOSYS));
    assert_eq!(number(no_new_privileges()), Some(libc::EPERM)); // prctl is limited
    #[cfg(target_arch = "x86_64")]
    assert_eq!(number(call(0x4000_0000 + libc::SYS_getpid)), Some(libc::EPERM));
}

#[test]
fn a_sender_cannot_connect_by_sending_either() {
    if !in_child("a_sender_cannot_connect_by_sending_either") {
        return;
    }
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if !applied(&confine_sender(64, Peers::Come), "seccomp") || calls::SOCKETCALL.is_some() {
        return;
    }
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: target.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let socket = listener.as_raw_fd();
    let (to, flags) = (&raw mut address, libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL);
    // A listener that is shut down is a socket like a new one.
    // SAFETY: takes numbers only and touches no memory.
    check(unsafe { libc::shutdown(socket, libc::SHUT_RDWR) }).unwrap();
    // SAFETY: the byte and the address are readable and have these lengths.
    let sent = unsafe { libc::sendto(socket, b"x".as_ptr().cast(), 1, flags, to.cast(), length) };
    assert_eq!(number(check(sent as libc::c_int)), Some(libc::EPERM));
    // SAFETY: all-zero is a valid msghdr: null pointers and numbers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_name, message.msg_namelen) = (to.cast(), length);
    // SAFETY: the message is live, and so is the address that it points to.
    let sent = unsafe { libc::sendmsg(socket, &message, flags) };
    assert_eq!(number(check(sent as libc::c_int)), Some(libc::EPERM));
    assert_eq!(number(call(libc::SYS_sendmmsg)), Some(libc::EPERM));
    target.set_nonblocking(true).unwrap();
    assert_eq!(target.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_sender_cannot_make_memory_that_runs() {
    if !in_child("a_sender_cannot_make_memory_that_runs") {
        return;
    }
    if !applied(&confine_sender(64, Peers::Come), "seccomp") || cfg!(target_arch = "s390x") {
        return;
    }
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: asks for new memory at a place that the kernel chooses.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_eq!(mapped, libc::MAP_FAILED);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn a_sender_can_send_what_it_has() {
    if !in_child("a_sender_can_send_what_it_has") {
        return;
    }
    let path = folder().join("file");
    std::fs::write(&path, b"0123456789").unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut lifeline, other) = std::os::unix::net::UnixStream::pair().unwrap();
    applied(&confine_sender(64, Peers::Come), "seccomp");

    let ready = crate::sys::poll::readable(&[listener.as_fd()], None).unwrap();
    assert_eq!(ready, [true]);
    let (stream, _) = listener.accept().unwrap();
    let limit = Some(std::time::Duration::from_secs(5));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.peer_addr().unwrap();
    stream.local_addr().unwrap();
    stream.take_error().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10);
    let copy = stream.try_clone().unwrap();
    let sending = std::thread::Builder::new().name("stream".into()).spawn(move || {
        let mut buffer = [0; 4];
        file.read_exact_at(&mut buffer, 0).unwrap();
        (&copy).write_all(&buffer).unwrap();
        crate::sys::file::send_to_socket(copy.as_fd(), &file, 4, 6).unwrap();
        crate::sys::file::next_hole(&file, 0).unwrap();
        copy.shutdown(std::net::Shutdown::Write).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
    });
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "0123456789");
    sending.unwrap().join().unwrap();

    // A stream that arrived elsewhere comes over the lifeline.
    crate::sys::pass::send(&other, b"x", &[peer.as_fd()]).unwrap();
    let mut came = Vec::new();
    crate::sys::pass::receive(lifeline.as_fd(), &mut [0; 8], &mut came).unwrap();
    assert_eq!(came.len(), 1);
    drop(other);
    assert_eq!(lifeline.read(&mut [0]).unwrap(), 0);
    crate::sys::random::fill(&mut [0; 16]).unwrap();
    let much = vec![7u8; 64 << 20];
    assert_eq!(much.iter().filter(|&&byte| byte == 7).count(), 64 << 20);
    // A panic ends only its thread here, too.
    assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
}

#[test]
fn many_threads_can_be_started_and_ended() {
    if !in_child("many_threads_can_be_started_and_ended") {
        return;
    }
    applied(&confine_sender(64, Peers::Come), "seccomp");
    let threads: Vec<_> = (0..255)
        .map(|number| {
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder.spawn(move || vec![number; 1000].iter().sum::<usize>()).unwrap()
        })
        .collect();
    for (number, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), number * 1000);
    }
}

#[test]
fn the_filter_holds_for_threads_that_were_there_before() {
    if !in_child("the_filter_holds_for_threads_that_were_there_before") {
        return;
    }
    let (go, wait) = std::sync::mpsc::channel();
    let before = std::thread::spawn(move || {
        wait.recv().unwrap();
        number(File::open("/dev/null"))
    });
    let report = confine_sender(64, Peers::Come);
    go.send(()).unwrap();
    let found = before.join().unwrap();
    if applied(&report, "seccomp") {
        assert_eq!(found, Some(libc::EPERM));
    }
}

#[test]
fn landlock_alone_denies_every_file() {
    if !in_child("landlock_alone_denies_every_file") {
        return;
    }
    no_new_privileges().unwrap();
    let Outcome::Applied = Outcome::of(landlock::deny_files(SENDER, None)) else { return };
    assert_eq!(number(File::open("/dev/null")), Some(libc::EACCES));
    assert_eq!(number(File::create("/tmp/ropewalk-never")), Some(libc::EACCES));
    assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EACCES));
}

#[test]
fn landlock_is_reported_as_failed_if_another_thread_exists() {
    if !in_child("landlock_is_reported_as_failed_if_another_thread_exists") {
        return;
    }
    // Besides the threads of the test harness. The e2e tests check that a worker has one thread.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let before = std::thread::spawn(move || wait.recv());
    let report = confine_sender(64, Peers::Come);
    let (_, outcome) = report.steps().iter().find(|(name, _)| name.contains("Landlock")).unwrap();
    let text = outcome.to_string();
    let failed = text.starts_with("failed (") && text.ends_with(" threads are there already)");
    assert!(failed || matches!(outcome, Outcome::NotSupported), "{text}");
    drop(go);
    assert!(before.join().unwrap().is_err());
}

#[test]
fn a_receiver_writes_what_it_has_open_and_nothing_else() {
    if !in_child("a_receiver_writes_what_it_has_open_and_nothing_else") {
        return;
    }
    let path = folder().join("out.part");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let report = confine_receiver(64, Peers::AreDialled);

    let limit = std::time::Duration::from_secs(5);
    let stream = TcpStream::connect_timeout(&address, limit).unwrap();
    stream.set_read_timeout(Some(limit)).unwrap();
    crate::sys::socket::round_trip(stream.as_fd());
    TcpStream::connect(address).unwrap();
    assert!(crate::sys::volume::free_space(&file).unwrap() > 0);
    crate::sys::volume::is_in_memory(&file);
    match crate::sys::file::preallocate(&file, 1 << 20) {
        Err(error) => assert_ne!(error.raw_os_error(), Some(libc::EPERM)),
        Ok(()) => assert_eq!(file.metadata().unwrap().len(), 1 << 20),
    }
    file.set_len(1 << 20).unwrap();
    file.write_all_at(&[7; 65536], 4096).unwrap();
    crate::sys::file::make_hole(&file, 8192, 16384).unwrap();
    crate::sys::file::start_write_back(&file, 0, 0);
    assert!(!crate::sys::file::is_hole(&file, 4096, 8192));
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    file.set_len(5000).unwrap();
    let mut bytes = [0; 904];
    file.read_exact_at(&mut bytes, 4096).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 7));
    if !applied(&report, "seccomp") {
        return;
    }
    assert_eq!(number(File::open(&path)), Some(libc::EPERM));
    assert_eq!(number(File::create(folder().join("new"))), Some(libc::EPERM));
    assert_eq!(number(std::fs::remove_file(&path)), Some(libc::EPERM));
    assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EPERM));
    assert_eq!(number(TcpListener::bind("127.0.0.1:0")), Some(libc::EPERM));
    if calls::SOCKETCALL.is_none() {
        assert_eq!(number(std::os::unix::net::UnixStream::connect("/x")), Some(libc::EPERM));
    }
}

#[test]
fn there_are_no_core_dumps_and_few_descriptors() {
    if !in_child("there_are_no_core_dumps_and_few_descriptors") {
        return;
    }
    limit_core_dumps().unwrap();
    limit_descriptors(16).unwrap();
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_GET_DUMPABLE takes numbers only and touches no memory.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, zero, zero, zero, zero) }, 0);
    let opened: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(opened.len() < 16);
    assert!(opened.iter().all(|file| file.as_raw_fd() < 16));
    limit_descriptors(1000).unwrap();
    drop(opened);
    let opened: Vec<File> = (0..100).map_while(|_| File::open("/dev/null").ok()).collect();
    assert!(opened.len() < 16);
}

#[test]
fn the_report_is_one_line() {
    let steps = vec![
        ("a", Outcome::Applied),
        ("b", Outcome::NotSupported),
        ("c", Outcome::of(Err(io::Error::from_raw_os_error(libc::EPERM)))),
    ];
    let line = Report { steps }.to_string();
    assert!(line.starts_with("a: applied, b: not supported, c: failed (Operation not"), "{line}");
}

/// A folder `top` with a file, a link and a folder, and a file beside it.
fn tree() -> (PathBuf, File) {
    let top = folder().join("top");
    std::fs::create_dir_all(top.join("sub")).unwrap();
    std::fs::write(top.join("sub/file"), b"bytes").unwrap();
    std::os::unix::fs::symlink("sub/file", top.join("link")).unwrap();
    std::fs::write(folder().join("beside"), b"secret").unwrap();
    let open = File::open(&top).unwrap();
    (top, open)
}

/// The error of what Landlock refuses, or seccomp before it.
fn is_refused<T>(result: io::Result<T>) -> bool {
    matches!(number(result), Some(libc::EACCES | libc::EPERM))
}

/// Gives up the rights of this role in a tree. Whether Landlock and seccomp were applied. The
/// harness has another thread, so the report cannot tell.
fn confine_in(role: Role, root: &File) -> (bool, bool) {
    no_new_privileges().unwrap();
    let is_applied = |outcome: Outcome| {
        assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome}");
        matches!(outcome, Outcome::Applied)
    };
    let landlock = is_applied(Outcome::of(landlock::deny_files(role, Some(root.as_fd()))));
    (landlock, is_applied(Outcome::of(seccomp::restrict(role, landlock))))
}

/// Reads a tree in each way that a source does.
fn read_tree(root: &File) {
    use crate::sys::beneath::{Folder, Lookup};
    for lookup in [Lookup::Best, Lookup::Walk] {
        let enter = |name: &[u8]| Folder::enter(root.as_fd(), name, None, lookup).unwrap();
        let (top, sub) = (enter(b""), enter(b"sub"));
        let mut names: Vec<_> = top.list().unwrap().entries().map(Result::unwrap).collect();
        names.sort();
        assert_eq!(names, ["link", "sub"]);
        assert_eq!(top.link_text(b"link").unwrap(), b"sub/file");
        assert_eq!(sub.status_of(b"file").unwrap().size, 5);
        top.keeps_inodes_of(b"sub").unwrap();
        let mut text = String::new();
        sub.open_file(b"file").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes");
    }
}

#[test]
fn the_source_of_a_tree_reads_its_folder_and_nothing_else() {
    if !in_child("the_source_of_a_tree_reads_its_folder_and_nothing_else") {
        return;
    }
    let (top, root) = tree();
    let (landlock, seccomp) = confine_in(TREE_SOURCE, &root);
    read_tree(&root);
    if landlock {
        assert!(is_refused(File::open(folder().join("beside"))));
        assert!(is_refused(File::open("/etc/passwd")));
        assert!(is_refused(std::fs::read_dir("/")));
    }
    if !seccomp {
        return;
    }
    // It changes nothing, not even in its folder.
    let file = top.join("sub/file");
    assert_eq!(number(File::options().write(true).open(&file)), Some(libc::EPERM));
    assert_eq!(number(File::create(top.join("new"))), Some(libc::EPERM));
    assert_eq!(number(std::fs::remove_file(&file)), Some(libc::EPERM));
    assert_eq!(number(std::fs::rename(&file, top.join("new"))), Some(libc::EPERM));
    assert_eq!(number(std::fs::create_dir(top.join("new"))), Some(libc::EPERM));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    assert_eq!(number(std::fs::set_permissions(&file, private)), Some(libc::EPERM));
    assert_eq!(number(TcpStream::connect("127.0.0.1:1")), Some(libc::EPERM));
    assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EPERM));
}

#[test]
fn without_landlock_the_source_of_a_tree_still_changes_nothing() {
    if !in_child("without_landlock_the_source_of_a_tree_still_changes_nothing") {
        return;
    }
    let (top, root) = tree();
    no_new_privileges().unwrap();
    let restricted = Outcome::of(seccomp::restrict(TREE_SOURCE, false));
    read_tree(&root);
    let Outcome::Applied = restricted else { return };
    assert_eq!(number(call(crate::sys::number::OPENAT2)), Some(libc::EPERM));
    let sub = Dir::from(root).open_file(OsStr::new("sub"), Access::Look).map(Dir::from).unwrap();
    let open = |name: &str, access| number(sub.open_file(OsStr::new(name), access));
    assert_eq!(open("file", Access::Look), None);
    assert_eq!(open("file", Access::Update), Some(libc::EPERM));
    assert_eq!(open("new", Access::Create(0o600)), Some(libc::EPERM));
    assert_eq!(number(File::options().append(true).open(top.join("sub/file"))), Some(libc::EPERM));
}

/// Changes a tree in each way that a sink does.
fn change_tree(root: &File, top: &std::path::Path) {
    use crate::sys::beneath::{Lookup, Mounts, open_plain_dir};
    use crate::sys::dir::place;
    let name = OsStr::new;
    let dir = Dir::from(root.try_clone().unwrap());
    let made = dir.make_dir(name("made"), 0o700).unwrap();
    made.set_mode(0o755).unwrap(); // it is open for lookups only
    for lookup in [Lookup::Best, Lookup::Walk] {
        let mounts = Mounts::Refuse;
        let sub = Dir::from(open_plain_dir(root.as_fd(), b"made", mounts, lookup).unwrap());
        let file = sub.open_file(name("part"), Access::Create(0o600)).unwrap();
        assert!(crate::sys::file::try_lock(&file).unwrap());
        file.write_all_at(b"0123456789", 0).unwrap();
        file.set_len(5).unwrap();
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let found = sub.status().unwrap();
        std::os::unix::fs::fchown(&file, Some(found.user), Some(found.group)).unwrap();
        place::set_mtime(&file, 1_700_000_000, 5).unwrap();
        file.sync_data().unwrap();
        crate::sys::volume::sync(root).unwrap();
        crate::sys::volume::reports_failed_writes(root);
        sub.rename_new(name("part"), name("whole")).unwrap();
        sub.open_file(name("whole"), Access::Update).unwrap();
        sub.make_link(b"whole", name("link")).unwrap();
        assert_eq!(sub.link_text(name("link")).unwrap(), b"whole");
        sub.set_owner_of(name("link"), found.user, found.group).unwrap();
        sub.set_mtime_of(name("link"), 1_700_000_000, 5).unwrap();
        sub.rename(name("link"), name("other")).unwrap();
        // The first version of Landlock knows no names in two folders.
        match sub.link(name("whole"), &dir, name("second")) {
            Ok(()) => dir.remove_file(name("second")).unwrap(),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EXDEV)),
        }
        assert_eq!(sub.entries().count(), 2);
        sub.remove_file(name("other")).unwrap();
        sub.remove_file(name("whole")).unwrap();
        sub.set_mtime(1_700_000_000, 5).unwrap();
        sub.sync_names().unwrap();
    }
    dir.remove_dir(name("made")).unwrap();
    assert_eq!(std::fs::read(top.join("sub/file")).unwrap(), b"bytes");
}

#[test]
fn the_sink_of_a_tree_changes_its_folder_and_nothing_else() {
    if !in_child("the_sink_of_a_tree_changes_its_folder_and_nothing_else") {
        return;
    }
    let (top, root) = tree();
    let (landlock, seccomp) = confine_in(TREE_SINK, &root);
    read_tree(&root);
    change_tree(&root, &top);
    if landlock {
        let beside = folder().join("beside");
        assert!(is_refused(File::open(&beside)));
        assert!(is_refused(File::options().write(true).open(&beside)));
        assert!(is_refused(std::fs::remove_file(&beside)));
        assert!(is_refused(File::create(folder().join("new"))));
        assert!(is_refused(std::fs::create_dir(folder().join("new"))));
        assert!(is_refused(std::os::unix::fs::symlink("x", folder().join("new"))));
        let moved = number(std::fs::rename(top.join("sub/file"), folder().join("new")));
        assert!(matches!(moved, Some(libc::EACCES | libc::EPERM | libc::EXDEV)), "{moved:?}");
        let linked = number(std::fs::hard_link(&beside, top.join("new")));
        assert!(matches!(linked, Some(libc::EACCES | libc::EPERM | libc::EXDEV)), "{linked:?}");
    }
    if seccomp {
        assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EPERM));
        assert_eq!(number(TcpListener::bind("127.0.0.1:0")), Some(libc::EPERM));
        assert_eq!(number(call(libc::SYS_mknodat)), Some(libc::EPERM));
    }
}

#[test]
fn the_report_of_a_worker_of_a_tree_names_the_step() {
    if !in_child("the_report_of_a_worker_of_a_tree_names_the_step") {
        return;
    }
    let (_, root) = tree();
    let line = confine_tree_source(64, root.as_fd(), Peers::Come).to_string();
    assert!(line.contains(", no other folder (Landlock): "), "{line}");
}

#[test]
fn a_pump_passes_bytes_on_and_can_do_nothing_else() {
    if !in_child("a_pump_passes_bytes_on_and_can_do_nothing_else") {
        return;
    }
    use std::os::unix::net::UnixStream;
    let ((one, from), (to, mut other)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let report = confine_pump(16);
    let moved = crate::sys::thread::spawn("pump", move || {
        let moved = crate::sys::pump::run(from.as_fd(), to.as_fd(), None);
        to.shutdown(std::net::Shutdown::Write).unwrap();
        moved.unwrap()
    });
    // By write and read, since the pump needs no calls for sockets only.
    crate::sys::pump::write_all(one.as_fd(), b"word", None).unwrap();
    one.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = [0; 8];
    let count = crate::sys::pump::read(other.as_fd(), &mut got).unwrap();
    assert_eq!(&got[..count], b"word");
    assert_eq!(moved.unwrap().join().unwrap(), crate::sys::pump::Dry::End);
    if applied(&report, "seccomp") {
        assert_eq!(number(File::open("/dev/null")), Some(libc::EPERM));
        assert_eq!(number(other.read(&mut got)), Some(libc::EPERM));
        assert_eq!(number(UnixStream::pair()), Some(libc::EPERM));
        assert_eq!(number(Command::new("/bin/true").spawn()), Some(libc::EPERM));
    }
}
