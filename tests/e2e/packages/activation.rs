//! A server that is started with sockets, as an init system hands them over.

use crate::support::harness::{Running, Scratch, after, run, wait_until};
use crate::support::peers::classic::{ask, open_stream};
use crate::support::proof;
use crate::support::socket::read_all;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

/// Shell code that starts a program as systemd does: standard input becomes the sockets, from
/// descriptor 3 on. The program keeps the process id of the shell.
const ONE: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x";

/// A server's command line with a socket on standard input, and the socket's address.
fn with_socket(scratch: &Scratch, setting: &str, arguments: &[&str]) -> (Command, SocketAddr) {
    let listener = TcpListener::bind((scratch.address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = scratch.program("server");
    command.args(arguments).arg("--root").arg(scratch.folder());
    let mut command = after(setting, &command);
    command.stdin(OwnedFd::from(listener));
    (command, address)
}

/// The variables of socket activation in the environment of a process.
fn variables(pid: u32) -> Vec<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    environment.split('\0').filter(|v| v.starts_with("LISTEN_")).map(str::to_string).collect()
}

/// The files that a process has open.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
}

#[test]
fn a_server_serves_the_socket_that_it_was_started_with() {
    let scratch = Scratch::new("activation");
    scratch.write("file", b"bytes");
    let (mut command, address) = with_socket(&scratch, ONE, &[]);
    let mut server = Running::start(&mut command);
    assert_eq!(server.next_line(), format!("listening on {address}\n"));
    run(&mut scratch.client(address, 3, "file", scratch.path("out"))).succeeded();
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
    server.signal(libc::SIGTERM);
    server.finish().succeeded();
}

#[test]
fn a_server_serves_each_of_several_sockets() {
    let scratch = Scratch::new("activation-two");
    scratch.write("file", b"bytes");
    let two = ONE.replace("3<&0", "3<&0 4<&0").replace("FDS=1", "FDS=2");
    let (mut command, address) = with_socket(&scratch, &two, &[]);
    let mut server = Running::start(&mut command);
    for _ in 0..2 {
        assert_eq!(server.next_line(), format!("listening on {address}\n"));
    }
    for _ in 0..4 {
        run(&mut scratch.client(address, 2, "file", scratch.path("out"))).succeeded();
    }
}

#[test]
fn workers_get_neither_the_variables_nor_the_socket() {
    let scratch = Scratch::new("activation-worker");
    scratch.write("file", b"bytes");
    let (mut command, address) = with_socket(&scratch, ONE, &[]);
    let mut server = Running::start(&mut command);
    server.next_line();
    let handed = fs::read_link(format!("/proc/{}/fd/3", server.pid())).unwrap();
    assert_eq!(variables(server.pid()).len(), 3, "the server has all three variables");
    let offer = ask(address, "file", 1);
    let sender = proof::children(server.pid(), 1)[0];
    // Between fork and exec the worker is still the server's program.
    wait_until("the worker's own program", || {
        let program = fs::read_link(format!("/proc/{sender}/exe")).ok()?;
        program.ends_with("sender").then_some(())
    });
    assert_eq!(variables(sender), [""; 0]);
    assert!(!open_files(sender).contains(&handed), "{handed:?}");
    assert_eq!(read_all(open_stream(offer.sender, 0)), b"bytes");
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let scratch = Scratch::new("activation-other");
    let other = ONE.replace("$$", "1");
    let (mut command, _) = with_socket(&scratch, &other, &[]);
    run(&mut command).failed(2, "server", "port: is missing");
    let mut command = scratch.program("server");
    command.args(["--root", "."]).arg("--bind").arg(scratch.address().to_string()).arg("0");
    let mut server = Running::start(&mut after(&other, &command));
    assert!(server.next_line().starts_with(&format!("listening on {}:", scratch.address())));
}

#[test]
fn a_port_beside_handed_sockets_is_a_usage_error() {
    let scratch = Scratch::new("activation-port");
    for arguments in [&["8080"][..], &["--bind", "127.0.0.1"], &["--bind", "127.0.0.1", "0"]] {
        let (mut command, _) = with_socket(&scratch, ONE, arguments);
        run(&mut command).failed(2, "server", "port and --bind: must be left out");
    }
}

#[test]
fn a_descriptor_that_is_not_a_listening_socket_is_refused() {
    let scratch = Scratch::new("activation-bad");
    for (setting, words) in [
        ("exec 3</dev/null", "LISTEN_FDS: descriptor 3 is not a TCP socket that listens"),
        ("exec 3<&-", "LISTEN_FDS: descriptor 3 is not a TCP socket that listens"),
        ("exec 3<&0; export LISTEN_FDS=2", "descriptor 4 is not a TCP socket that listens"),
        ("export LISTEN_FDS=65", "LISTEN_FDS: must be a whole number from 0 to 64, not '65'"),
        ("export LISTEN_FDS=x", "LISTEN_FDS: must be a whole number from 0 to 64, not 'x'"),
    ] {
        let setting = format!("export LISTEN_PID=$$ LISTEN_FDS=1; {setting}");
        let (mut command, _) = with_socket(&scratch, &setting, &[]);
        run(&mut command).failed(2, "server", words);
    }
}
