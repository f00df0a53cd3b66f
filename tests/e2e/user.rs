//! `--user`: what a server that was started as root still is and can do afterwards.

use crate::harness::{Running, Scratch, Server, program_path, run};
use crate::proof;
use crate::sandbox::leaves_no_core;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What most systems call the user that owns nothing, with its number.
pub(crate) const NOBODY: (&str, u32) = ("nobody", 65534);

/// Whether this is root, and the programs are where nobody can start them.
pub(crate) fn can_be_tried() -> bool {
    let mut command = Command::new(program_path("sender"));
    command.arg("-V").uid(NOBODY.1).stdout(Stdio::null()).stderr(Stdio::null());
    let possible = command.status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("not tried: needs root, and a repository that everybody can read");
    }
    possible
}

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
    let fetch = |name: &str| {
        let mut client = scratch.client(server.address, 2, name, scratch.path("out"));
        run(client.arg("--auth").arg(&users))
    };
    fetch("file").succeeded();
    assert_eq!(fetch("closed").status.code(), Some(4), "root could read it");
    // What only root can read cannot be read again.
    server.running.signal(libc::SIGHUP);
    while !server.next_log_line().contains("Permission denied; the old passwords stay") {}
    assert_eq!(server.stop().status.code(), Some(0));
    proof::nothing_stays(&scratch);
}

#[test]
fn a_user_that_cannot_be_is_refused() {
    let scratch = Scratch::new("user-none");
    for (name, code, words) in [
        ("ropewalk-no-such", 2, "--user: no user 'ropewalk-no-such' here"),
        ("root", 1, "root is what is to be left"),
    ] {
        let mut server = scratch.program("server");
        server.args(["-q", "--user", name, "--bind", &scratch.address().to_string(), "0"]);
        Running::start(&mut server).finish().failed(code, "server", words);
    }
}

#[test]
fn a_server_s_memory_is_for_no_core_file_and_no_other_process_of_its_user() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("user-core");
    let mut command = scratch.program("server");
    command.arg("-q").uid(NOBODY.1).gid(NOBODY.1);
    let server = Server::start_command(&scratch, command);
    let pid = server.running.pid();
    leaves_no_core(pid);
    // The kernel gives these files to root when the process is closed to its own user.
    let owner = fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner, 0, "else whoever is that user can read passwords and tokens");
}
