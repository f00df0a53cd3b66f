//! `--user`: what a server that was started as root can still do afterwards.

use crate::support::harness::{Running, Scratch, Server, run};
use crate::support::proof;
use crate::support::proof::leaves_no_core;
use crate::support::system::reserve;
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn a_server_stops_being_root_and_still_serves() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("user");
    scratch.make_dir("root");
    scratch.write("root/file", b"bytes");
    let closed = scratch.write("root/closed", b"closed");
    fs::set_permissions(closed, Permissions::from_mode(0o600)).unwrap();
    let users = scratch.write("users", b"ann:sesame\n");
    fs::set_permissions(&users, Permissions::from_mode(0o600)).unwrap();
    let options = ["--user", NOBODY.0, "--root", "root", "--auth", "users"];
    let mut server = Server::start(&scratch, &options);
    let status = fs::read_to_string(format!("/proc/{}/status", server.running.pid())).unwrap();
    for (key, value) in [("Uid", NOBODY.1), ("Gid", NOBODY.1)] {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let all: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert!(all.len() == 4 && all.iter().all(|id| *id == value.to_string()), "{status}");
    }
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert_eq!(sorted(groups), groups_of_nobody(), "{status}");
    // The user cannot look into a process that was root. With fs.suid_dumpable 0 the kernel sees to
    // that. Otherwise the server asks for it once more.
    is_closed_to_its_user(server.running.pid());
    let fetch = |name: &str| {
        let mut client = scratch.client(server.address, 2, name, scratch.path("out"));
        run(client.arg("--auth").arg(&users))
    };
    fetch("file").succeeded();
    assert_eq!(fetch("closed").status.code(), Some(4), "root could read it");
    // The server cannot read again what only root can read.
    server.running.signal(libc::SIGHUP);
    while !server.next_log_line().contains("Permission denied; the old passwords stay") {}
    assert_eq!(server.stop().status.code(), Some(0));
    proof::nothing_stays(&scratch);
}

#[test]
fn an_invalid_user_is_refused() {
    let scratch = Scratch::new("user-none");
    for (name, code, words) in [
        ("ropewalk-no-such", 2, "--user: this machine has no user 'ropewalk-no-such'"),
        ("root", 1, "this user is root"),
    ] {
        let mut server = scratch.program("server");
        server.args(["-q", "--user", name, "--bind", &scratch.address().to_string(), "0"]);
        Running::start(&mut server).finish().failed(code, "server", words);
    }
}

#[test]
fn a_server_s_memory_is_closed_to_core_files_and_other_processes_of_its_user() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("user-core");
    let mut command = scratch.program("server");
    command.arg("-q").uid(NOBODY.1).gid(NOBODY.1);
    let server = Server::start_command(&scratch, command);
    let pid = server.running.pid();
    leaves_no_core(pid);
    is_closed_to_its_user(pid);
}

/// Demands that other processes of the same user cannot look into this process.
#[track_caller]
fn is_closed_to_its_user(pid: u32) {
    // If a process is closed to its own user, the kernel gives these files to root.
    let owner = fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner, 0, "another process of the user can read passwords and tokens");
}

/// Numbers between blanks, sorted.
fn sorted(numbers: &str) -> Vec<u32> {
    let mut all: Vec<u32> = numbers.split_whitespace().map(|id| id.parse().unwrap()).collect();
    all.sort_unstable();
    all
}

/// The groups of that user, as the system's own program lists them.
fn groups_of_nobody() -> Vec<u32> {
    let output = Command::new("id").args(["-G", NOBODY.0]).output().unwrap();
    sorted(std::str::from_utf8(&output.stdout).unwrap())
}

#[test]
fn the_server_binds_a_privileged_port_before_it_leaves_root() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("user-port");
    let address = scratch.address();
    let reserved = (600..1024).rev().find_map(|port| reserve(address, port)).unwrap();
    let port = reserved.address.port();
    let mut command = scratch.program("server");
    command.args(["-q", "--user", NOBODY.0, "--bind", &address.to_string(), &port.to_string()]);
    let mut server = Running::start(&mut command);
    assert_eq!(server.next_line(), format!("listening on {address}:{port}\n"));
}
