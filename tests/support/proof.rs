//! Proof, from /proc, of which processes, threads, descriptors, ports and sockets a test's programs
//! have. Nothing here trusts what a program says.

use crate::support::harness::{MARK, Scratch, wait_until};
use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

const TIME_WAIT: u8 = 6;
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;

/// One line of /proc/net/tcp.
#[derive(Debug)]
struct Socket {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    state: u8,
    /// 0 for a socket that no process holds any more.
    inode: u64,
}

/// The running processes of this test's programs. Zombies do not count: a zombie is only an exit
/// status that its parent has not read yet.
pub(crate) fn processes(scratch: &Scratch) -> Vec<u32> {
    let mark = [MARK.as_bytes(), b"=", scratch.folder().as_os_str().as_bytes()].concat();
    all_processes()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark)
        })
        .collect()
}

/// Waits until no process of the test is left.
#[track_caller]
pub(crate) fn no_process_stays(scratch: &Scratch) {
    wait_until("the end of every process", || processes(scratch).is_empty().then_some(()));
}

/// Waits until no socket at or to the test's address is left. The test's own sockets do not count,
/// nor do those in TIME_WAIT, which belong to no process.
#[track_caller]
pub(crate) fn no_socket_stays(scratch: &Scratch) {
    wait_until("the end of every socket", || {
        let own = socket_inodes(std::process::id());
        let address = IpAddr::V4(scratch.address());
        sockets()
            .iter()
            .filter(|socket| socket.local.0 == address || socket.remote.0 == address)
            .all(|socket| matches!(socket.state, TIME_WAIT | CLOSED) || own.contains(&socket.inode))
            .then_some(())
    });
}

/// Waits until the other side of a connection to `address` is gone, although this side still holds
/// it.
#[track_caller]
pub(crate) fn no_socket_at(address: SocketAddr) {
    wait_until("the end of every socket at that port", || {
        sockets()
            .iter()
            .filter(|socket| socket.local == (address.ip(), address.port()))
            .all(|socket| matches!(socket.state, TIME_WAIT | CLOSED))
            .then_some(())
    });
}

/// Waits until `remote` has closed its side of one connection that `local` still holds.
#[track_caller]
pub(crate) fn no_socket_at_peer(local: SocketAddr, remote: SocketAddr) {
    wait_until("the end of the other side", || {
        sockets()
            .iter()
            .filter(|socket| socket.local == (remote.ip(), remote.port()))
            .filter(|socket| socket.remote == (local.ip(), local.port()))
            .all(|socket| matches!(socket.state, TIME_WAIT | CLOSED))
            .then_some(())
    });
}

/// Waits until neither processes nor sockets are left.
#[track_caller]
pub(crate) fn nothing_stays(scratch: &Scratch) {
    no_process_stays(scratch);
    no_socket_stays(scratch);
}

/// Waits until a process listens, and returns the port.
#[track_caller]
pub(crate) fn listening_port(pid: u32) -> u16 {
    wait_until("a listener", || {
        let own = socket_inodes(pid);
        sockets()
            .into_iter()
            .find(|socket| socket.state == LISTENING && own.contains(&socket.inode))
            .map(|socket| socket.local.1)
    })
}

/// Waits until `parent` has exactly this many children, and returns their numbers.
#[track_caller]
pub(crate) fn children(parent: u32, count: usize) -> Vec<u32> {
    wait_until("the right number of children", || {
        let found = find_children(parent);
        (found.len() == count).then_some(found)
    })
}

/// The children that `parent` has now. One that was forked and is not another program yet does not
/// count: its parent waits for it, so it is not to be stopped.
pub(crate) fn find_children(parent: u32) -> Vec<u32> {
    let command = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let own = command(parent);
    let is_child = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = line.rsplit_once(") ").unwrap_or_default().1.split(' ');
        let (state, its_parent) = (fields.next(), fields.next());
        state != Some("Z")
            && its_parent == Some(parent.to_string().as_str())
            && command(*pid) != own
    };
    all_processes().filter(is_child).collect()
}

fn all_processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The letter of a process's state in /proc: `T` for a stopped process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process has ended and its parent knows.
#[track_caller]
pub(crate) fn is_reaped(pid: u32) {
    wait_until("the end of a process", || state(pid).is_none().then_some(()));
}

/// How many threads and how many descriptors a process has.
pub(crate) fn holdings(pid: u32) -> (usize, usize) {
    let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    (count("task"), count("fd"))
}

/// Waits until a program sleeps for a set time.
#[track_caller]
pub(crate) fn pauses(pid: u32) {
    wait_until("a pause", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let number = call.split(' ').next()?.parse::<libc::c_long>().ok()?;
        [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].contains(&number).then_some(())
    });
}

/// Waits until a server hashes a file, in a thread of that name.
#[track_caller]
pub(crate) fn hashes(pid: u32) {
    wait_until("a thread that hashes", || (hashers(pid) > 0).then_some(()));
}

/// How many files a server hashes, or is about to hash.
pub(crate) fn hashers(pid: u32) -> usize {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| name == "hasher\n")
        .count()
}

/// The inodes of a process's sockets.
fn socket_inodes(pid: u32) -> HashSet<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return HashSet::new() };
    descriptors
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// All TCP sockets of the system.
fn sockets() -> Vec<Socket> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            let text = fs::read_to_string(table).unwrap_or_default();
            text.lines().skip(1).map(parse_socket).collect::<Vec<Socket>>()
        })
        .collect()
}

fn parse_socket(line: &str) -> Socket {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    Socket {
        local: parse_end(fields[1]),
        remote: parse_end(fields[2]),
        state: u8::from_str_radix(fields[3], 16).unwrap(),
        inode: fields[9].parse().unwrap(),
    }
}

/// `0100007F:1F90`: words of an address in this machine's byte order, and a port.
fn parse_end(text: &str) -> (IpAddr, u16) {
    let (address, port) = text.split_once(':').unwrap();
    let bytes: Vec<u8> = (0..address.len() / 8)
        .flat_map(|word| {
            u32::from_str_radix(&address[word * 8..word * 8 + 8], 16).unwrap().to_ne_bytes()
        })
        .collect();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap())),
    };
    (address.to_canonical(), u16::from_str_radix(port, 16).unwrap())
}

/// Demands that this process may leave no core file.
#[track_caller]
pub(crate) fn leaves_no_core(pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words.get(4..6), Some(&["0", "0"][..]), "{core}");
}
