//! `--auth`: which requests need a password, whose password is accepted, and what a stranger
//! learns.

use crate::support::harness::{Scratch, Server, after, run, wait_until};
use crate::support::http::{Http, reply};
use crate::support::peers::classic::request;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A file with secrets that only its owner can read.
fn secret(scratch: &Scratch, name: &str, text: &str) -> PathBuf {
    let path = scratch.write(name, text.as_bytes());
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// A server that knows ann and bob.
fn guarded(test: &str, options: &[&str]) -> (Scratch, Server) {
    let scratch = Scratch::new(test);
    secret(&scratch, "users", "ann:sesame\nbob:a:b c\n");
    let options = [&["--auth", "users"], options].concat();
    let server = Server::start(&scratch, &options);
    scratch.write("file", b"bytes");
    (scratch, server)
}

#[test]
fn streams_at_the_control_port_need_the_token_only() {
    let (scratch, server) = guarded("auth-port", &[]);
    let ours = secret(&scratch, "ours", "ann:sesame\n");
    let mut client = scratch.client(server.address, 3, "file", scratch.path("out"));
    let said = run(client.arg("--single-port").arg("--auth").arg(ours)).succeeded();
    assert!(said.contains(" through the control port"), "{said}");
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
}

fn get(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

#[test]
fn without_a_password_a_stranger_learns_nothing() {
    let (_scratch, server) = guarded("auth-stranger", &[]);
    let mut seen = Vec::new();
    for target in ["/file", "file", "/none", "/etc/shadow", "/", "/%zz", "/dev/null"] {
        let mut http = Http::connect(server.address);
        for bytes in [
            get("GET", target, ""),
            get("DELETE", target, ""),
            get("GET", target, "If-Match: *\r\nRange: bytes=0-1\r\n"),
            String::from_utf8(request(target.as_bytes(), 1)).unwrap(),
            String::from_utf8(request(target.as_bytes(), 0)).unwrap(),
        ] {
            http.send(&bytes);
            let reply = http.receive();
            assert_eq!((reply.status, reply.error()), (401, "a password is needed"), "{bytes}");
            let challenge = reply.field("WWW-Authenticate");
            assert!(challenge.starts_with("Digest realm=\"ropewalk\", nonce=\""), "{challenge}");
            assert!(challenge.ends_with(", qop=\"auth\", algorithm=SHA-256"), "{challenge}");
            assert_eq!(reply.head.matches("WWW-Authenticate").count(), 1);
            let nonce = challenge.split('"').nth(3).unwrap();
            let lines = reply.head.replace(nonce, "");
            seen.push(lines.lines().filter(|l| !l.starts_with("Date")).collect::<String>());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // A request without credentials is no failure, and the server does not log it.
    assert_eq!(server.stop().err, "");
}

#[test]
fn a_client_with_a_password_gets_its_file() {
    let (scratch, server) = guarded("auth-client", &[]);
    for (number, (user, verify)) in
        [("ann:sesame\n", "md5"), ("bob:a:b c", "crc32c"), ("ann:sesame", "none")]
            .iter()
            .enumerate()
    {
        let login = secret(&scratch, &format!("login-{number}"), user);
        let output = scratch.path("out");
        let mut client = scratch.client(server.address, 3, "file", &output);
        run(client.arg("--auth").arg(login).args(["--verify", verify])).succeeded();
        assert_eq!(fs::read(output).unwrap(), b"bytes");
    }
    // The longest possible name of a file, encoded.
    let name = "\u{fc}".repeat(127);
    scratch.write(&name, b"bytes");
    let mut client = scratch.client(server.address, 1, &name, scratch.path("out"));
    run(client.arg("--auth").arg(scratch.path("login-0"))).succeeded();
}

#[test]
fn a_wrong_password_is_refused_after_a_while_and_logged_without_it() {
    let (scratch, mut server) = guarded("auth-wrong", &[]);
    let login = secret(&scratch, "login", "ann:password1");
    let begun = Instant::now();
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    run(client.arg("--auth").arg(login)).failed(
        4,
        "client",
        "does not know this user or this password; check the line in /",
    );
    assert!(begun.elapsed() >= Duration::from_millis(900));
    let line = server.next_log_line();
    assert!(line.contains("a wrong user or password, user 'ann'"), "{line}");
    assert!(!line.contains("password1"), "{line}");
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    run(&mut client).failed(
        4,
        "client",
        "401 Unauthorized: a password is needed; --auth FILE gives",
    );
    assert!(!scratch.path("out").exists());
}

#[test]
fn failed_passwords_do_not_shut_out_other_clients() {
    let (scratch, mut server) = guarded("auth-flood", &["--max-connections", "8"]);
    let login = secret(&scratch, "login", "ann:sesame");
    let strangers: Vec<Http> = (0..40)
        .map(|_| {
            let mut http = Http::connect(server.address);
            http.send(get("GET", "/file", "Authorization: Digest x=y\r\n"));
            http
        })
        .collect();
    // Six requests have failed and wait for their replies: the most of one address at once.
    for _ in 0..6 {
        server.next_log_line();
    }
    let begun = Instant::now();
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    client.arg("--auth").arg(login).args(["--retry-for", "0", "--verify", "none"]);
    // A waiting reply takes no room from this client, which does not retry.
    run(&mut client).succeeded();
    // One after the other, the failures would delay the client for longer than this.
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(strangers);
}

#[test]
fn sighup_reads_the_passwords_again_and_a_broken_file_changes_nothing() {
    let (scratch, mut server) = guarded("auth-hup", &[]);
    let old = secret(&scratch, "old", "ann:sesame");
    let new = secret(&scratch, "new", "eve:apple");
    let fetch = |login: &PathBuf| {
        let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
        run(client.arg("--auth").arg(login)).status.code()
    };
    assert_eq!((fetch(&old), fetch(&new)), (Some(0), Some(4)));
    secret(&scratch, "users", "eve");
    server.running.signal(libc::SIGHUP);
    wait_until("the line in the log", || {
        server.next_log_line().contains("no colon in it; the old passwords stay").then_some(())
    });
    let fetch = |login: &PathBuf| {
        let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
        run(client.arg("--auth").arg(login)).status.code()
    };
    assert_eq!(fetch(&old), Some(0));
    secret(&scratch, "users", "eve:apple");
    server.running.signal(libc::SIGHUP);
    wait_until("the line in the log", || {
        server.next_log_line().contains("read again, users: 1").then_some(())
    });
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    run(client.arg("--auth").arg(&new)).succeeded();
    let mut client = scratch.client(server.address, 1, "file", scratch.path("out"));
    run(client.arg("--auth").arg(&old)).failed(4, "client", "password");
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn under_nohup_sighup_reads_the_passwords_again_too() {
    let scratch = Scratch::new("auth-nohup");
    secret(&scratch, "users", "ann:sesame");
    let mut command = scratch.program("server");
    command.args(["--root", ".", "--auth", "users"]).current_dir(scratch.folder());
    let mut server = Server::start_command(&scratch, after("trap '' HUP", &command));
    server.running.signal(libc::SIGHUP);
    let line = server.next_log_line();
    assert!(line.contains("read again, users: 1"), "{line}");
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn a_file_of_passwords_that_others_can_read_is_refused() {
    let scratch = Scratch::new("auth-mode");
    let path = secret(&scratch, "users", "ann:sesame");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let mut server = scratch.program("server");
    server.args(["--auth", "users", "0"]).current_dir(scratch.folder());
    run(&mut server).failed(1, "server", "users: others may read or change it");
    let mut client = scratch.client("127.0.0.1:1", 1, "file", "out");
    client.args(["--auth", "users"]).current_dir(scratch.folder());
    run(&mut client).failed(1, "client", "users: others may read or change it");
}

/// Runs curl with its own Digest client, if curl is here and can do it.
fn curl(server: &Server, arguments: &[&str]) -> Option<(String, String)> {
    let features = Command::new("curl").arg("--version").output().ok()?;
    let digest = String::from_utf8_lossy(&features.stdout).contains("HTTP");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}"]).args(arguments);
    command.arg(format!("http://{}/file", server.address)).env("no_proxy", "*");
    let output = command.current_dir("/").output().ok().filter(|_| digest)?;
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    Some((body.to_string(), code.to_string()))
}

#[test]
fn curl_comes_in_with_digest() {
    for options in [&[][..], &["--auth-md5"]] {
        let scratch = Scratch::new(&format!("auth-curl-{}", options.len()));
        secret(&scratch, "users", "ann:sesame");
        let options = [&["--auth", "users", "--root", "."], options].concat();
        let server = Server::start(&scratch, &options);
        scratch.write("file", b"bytes");
        let Some(found) = curl(&server, &["--digest", "-u", "ann:sesame"]) else { return };
        assert_eq!(found, ("bytes".to_string(), "200".to_string()), "{options:?}");
        let (_, code) = curl(&server, &["--digest", "-u", "ann:wrong"]).unwrap();
        assert_eq!(code, "401");
        let (_, code) = curl(&server, &["-u", "ann:sesame"]).unwrap();
        assert_eq!(code, "401", "the server refuses Basic");
        let head = curl(&server, &["--digest", "-u", "ann:sesame", "-I"]).unwrap();
        assert_eq!(head.1, "200");
    }
}

#[test]
fn md5_is_offered_only_where_it_is_allowed() {
    let (_scratch, server) = guarded("auth-md5", &["--auth-md5"]);
    let (reply, _) = reply(&server, get("GET", "/file", ""));
    let all: Vec<&str> =
        reply.head.lines().filter(|line| line.starts_with("WWW-Authenticate")).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("SHA-256") && all[1].contains("algorithm=MD5"), "{all:?}");
}
