//! Where a client gets its password: from the environment, from the file of all hosts, or from the
//! person at its terminal, who never sees it again.

use crate::support::exit::REFUSED;
use crate::support::harness::{Running, Scratch, Server, run, wait_until};
use crate::support::peers::classic::ClassicServer;
use crate::support::proof;
use crate::support::pty::Pty;
use crate::support::system::in_front_of;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A server that knows ann, and a client that asks it for a file.
fn guarded(test: &str) -> (Scratch, Server, Command) {
    let scratch = Scratch::new(test);
    secret(&scratch.path("users"), "ann:sesame\n");
    let server = Server::start(&scratch, &["--root", ".", "--auth", "users"]);
    scratch.write("file", b"bytes");
    let client = scratch.client(server.address, 1, "file", scratch.path("out"));
    (scratch, server, client)
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// Writes the file of all hosts.
fn hosts(scratch: &Scratch, text: &str) -> std::path::PathBuf {
    let folder = scratch.path(".config/ropewalk");
    fs::create_dir_all(&folder).unwrap();
    secret(&folder.join("auth"), text);
    folder.join("auth")
}

#[test]
fn the_environment_may_name_the_file() {
    let (scratch, _server, mut client) = guarded("auth-environment");
    secret(&scratch.path("login"), "ann:sesame\n");
    run(client.env("ROPEWALK_AUTH", scratch.path("login"))).succeeded();
    // The command line takes precedence.
    secret(&scratch.path("wrong"), "ann:wrong\n");
    let words = "does not know this user or this password; check the line in ";
    run(client.arg("--auth").arg(scratch.path("wrong"))).failed(4, "client", words);
}

#[test]
fn the_file_of_all_hosts_is_used_for_its_hosts_only() {
    let (scratch, server, mut client) = guarded("auth-hosts");
    let (host, port) = (server.address.ip(), server.address.port());
    let none = "401 Unauthorized: a password is needed; --auth FILE gives a password";
    for (text, succeeds) in [
        (format!("# a comment\n{host} ann:sesame\n"), true),
        (format!("other bob:x\n{host}:{port}\tann:sesame\n"), true),
        (format!("{host}:1 ann:sesame\nother ann:sesame\n"), false),
    ] {
        hosts(&scratch, &text);
        let outcome = run(&mut client);
        match succeeds {
            true => drop(outcome.succeeded()),
            false => outcome.failed(4, "client", none),
        }
    }
}

#[test]
fn a_file_of_all_hosts_that_others_may_read_is_not_used_and_only_looked_at_when_needed() {
    let (scratch, server, mut client) = guarded("auth-hosts-mode");
    let path = hosts(&scratch, &format!("{} ann:sesame\n", server.address.ip()));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let outcome = run(&mut client);
    assert_eq!(outcome.status.code(), Some(4), "{outcome:?}");
    assert!(
        outcome
            .err
            .contains("others may read or change it; chmod 600 makes it private; it is not used\n"),
        "{outcome:?}"
    );
    hosts(&scratch, "no-password-here sesame\n");
    let outcome = run(&mut client);
    assert!(outcome.err.contains("auth: line 1: no colon in it; it is not used\n"), "{outcome:?}");
    assert!(!outcome.err.contains("sesame"), "{outcome:?}");
    let open = Server::start(&scratch, &["--root", "."]);
    let outcome = run(&mut scratch.client(open.address, 1, "file", scratch.path("out")));
    assert_eq!(outcome.err, "");
}

#[test]
fn a_password_in_place_of_a_file_s_name_is_not_shown() {
    let (_scratch, _server, mut client) = guarded("auth-mistaken");
    let outcome = run(client.arg("--auth=ann:sesame"));
    outcome.failed(2, "client", "--auth: takes the name of a file");
    assert!(!outcome.err.contains("sesame"), "{outcome:?}");
}

/// A client that waits at its terminal for the password.
fn asked(test: &str) -> (Scratch, Server, Pty) {
    let (scratch, server, mut client) = guarded(test);
    in_front_of(&mut client);
    let mut pty = Pty::start(client, 80);
    pty.wait_for(0, |written| written.contains("User for "));
    assert!(pty.shows_what_is_typed());
    pty.type_in("ann\n");
    pty.wait_for(0, |written| written.contains("Password for ann at "));
    wait_until("a terminal without echo", || (!pty.shows_what_is_typed()).then_some(()));
    (scratch, server, pty)
}

#[test]
fn the_client_prompts_for_a_password_and_does_not_echo_it() {
    let (scratch, _server, mut pty) = asked("auth-asked");
    pty.type_in("sesame\n");
    pty.wait_for(0, |written| written.contains("5 bytes in "));
    assert!(pty.shows_what_is_typed());
    let (status, written) = pty.finish();
    assert!(status.success(), "{written:?}");
    assert!(!written.contains("sesame"), "{written:?}");
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
}

#[test]
fn the_client_prompts_again_after_a_wrong_password() {
    let (_scratch, _server, mut pty) = asked("auth-asked-again");
    pty.type_in("wrong\n");
    let before = pty.written.len();
    pty.wait_for(before, |written| written.contains("this password\r\nUser for "));
    pty.type_in("ann\n");
    pty.wait_for(before, |written| written.contains("Password for ann at "));
    wait_until("a terminal without echo", || (!pty.shows_what_is_typed()).then_some(()));
    pty.type_in("sesame\n");
    assert!(pty.finish().0.success());
}

#[test]
fn no_answer_is_no_password() {
    let (_scratch, _server, mut pty) = asked("auth-no-answer");
    pty.type_in("\n");
    let (status, written) = pty.finish();
    assert_eq!(status.code(), Some(4), "{written:?}");
    assert!(written.contains("401 Unauthorized: a password is needed"), "{written:?}");
}

#[test]
fn the_terminal_echoes_again_after_every_way_out() {
    use libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for signals in [&[SIGINT][..], &[SIGTERM], &[SIGHUP], &[SIGQUIT], &[SIGINT, SIGINT]] {
        let (scratch, server, mut pty) = asked("auth-signals");
        for signal in signals {
            pty.signal(*signal);
        }
        wait_until("the end", || pty.shows_what_is_typed().then_some(()));
        pty.catch_up();
        let terminal = pty.terminal();
        let (status, written) = pty.finish();
        assert!(crate::support::system::echoes(&terminal), "{signals:?}");
        assert!(!status.success(), "{written:?}");
        drop(server);
        proof::nothing_stays(&scratch);
    }
}

#[test]
fn ctrl_c_typed_at_the_prompt_ends_the_client() {
    let (_scratch, _server, mut pty) = asked("auth-ctrl-c");
    pty.type_in("ses\x03");
    let (status, written) = pty.finish();
    assert_eq!(status.code(), Some(130), "{written:?}");
    assert!(written.ends_with("client: stopped by SIGINT\r\n"), "{written:?}");
}

#[test]
fn ctrl_z_at_the_prompt_gives_the_terminal_back_and_asks_again_afterwards() {
    let (_scratch, _server, mut pty) = asked("auth-ctrl-z");
    pty.type_in("\x1a");
    wait_until("the stop", || (proof::state(pty.pid()) == Some('T')).then_some(()));
    assert!(pty.shows_what_is_typed());
    pty.catch_up();
    let before = pty.written.len();
    pty.signal(libc::SIGCONT);
    pty.wait_for(before, |written| written.contains("Password for ann at "));
    wait_until("a terminal without echo", || (!pty.shows_what_is_typed()).then_some(()));
    pty.type_in("sesame\n");
    assert!(pty.finish().0.success());
}

#[test]
fn a_client_whose_messages_go_to_a_file_does_not_prompt() {
    let (_scratch, _server, mut client) = guarded("auth-unseen");
    let outcome = Running::start(&mut client).finish();
    outcome.failed(4, "client", "401 Unauthorized: a password is needed");
}

#[test]
fn a_password_goes_out_by_md5_only_on_request() {
    let scratch = Scratch::new("wait-md5-login");
    let login = scratch.write("login", b"ann:sesame");
    fs::set_permissions(&login, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let challenge = "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\
                     WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\r\n";
    let server = ClassicServer::bind(&scratch);
    let start = |options: &[&str]| {
        let mut client = scratch.client(server.address(), 1, "file", scratch.path("out"));
        Running::start(client.arg("--auth").arg(&login).args(options))
    };
    let client = start(&[]);
    server.answer(challenge);
    client.finish().failed(REFUSED, "client", "by MD5 only; --auth-md5 allows that");
    let client = start(&["--auth-md5"]);
    server.answer(challenge);
    let (request, mut stream) = server.accept_request();
    assert!(request.contains("\r\nAuthorization: Digest "), "{request}");
    stream.write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n").unwrap();
    client.finish().failed(REFUSED, "client", "404 None");
}
