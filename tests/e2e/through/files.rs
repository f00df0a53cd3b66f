//! Files that arrive through another program, and command lines that name it.

use crate::support::exit::{REFUSED, USAGE};
use crate::support::harness::{Scratch, content, program_path, run};
use crate::support::through::{PIPES, SOCKET, Through};
use crate::support::trees;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_file_arrives_over_any_number_of_connections_of_any_kind() {
    for (body, streams) in
        [(SOCKET, "1"), (SOCKET, "4"), (PIPES, "1"), (PIPES, "3"), (PIPES, "auto")]
    {
        let through = Through::new("through-file", 5_000_001);
        let outcome = through.fetches(through.client(body, streams));
        assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
        assert_eq!(outcome.err, "");
    }
}

#[test]
fn an_empty_file_arrives() {
    let through = Through::new("through-empty", 0);
    through.fetches(through.client(PIPES, 2));
}

#[test]
fn a_file_that_is_here_already_is_not_fetched_again() {
    let through = Through::new("through-again", 1000);
    through.fetches(through.client(SOCKET, 2));
    let outcome = through.fetches(through.client(SOCKET, 2));
    assert!(outcome.out.contains("is up to date"), "{outcome:?}");
}

#[test]
fn a_file_is_given_out_in_order_too() {
    let through = Through::new("through-piped", 3_000_000);
    let script = through.script("rsh", PIPES);
    let mut client = through.scratch.program("client");
    client.arg("-q").arg("-e").arg(script).arg("--remote-server");
    client.arg(program_path("server"));
    client.arg(format!("box:{}", through.scratch.path("file").display())).arg("-");
    let output = client.stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{:?}", output.stderr);
    assert!(output.stdout == through.bytes);
}

#[test]
fn a_folder_arrives_and_is_brought_up_to_date() {
    let through = Through::new("through-tree", 0);
    let scratch = &through.scratch;
    for number in 0..60 {
        fs::create_dir_all(scratch.path(format!("top/d{}", number % 5))).unwrap();
        scratch.write(format!("top/d{}/f{number}", number % 5), &content(number * 97));
    }
    scratch.write("top/large", &content(3 << 20));
    let fetch = |body: &str, options: &[&str]| {
        let mut client = scratch.program("client");
        client.arg("-e").arg(through.script("rsh", body)).arg("--remote-server");
        client.arg(program_path("server")).args(["box", "3"]).arg(scratch.path("top"));
        run(client.arg(through.output()).args(options)).succeeded();
        let there = trees::facts(&scratch.path("top"));
        trees::assert_equal(&there, &trees::facts(&through.output()));
        crate::support::proof::no_process_stays(scratch);
    };
    fetch(PIPES, &[]);
    fs::remove_file(scratch.path("top/large")).unwrap();
    scratch.write("top/d1/f1", b"another content");
    fetch(SOCKET, &["--delete"]);
}

#[test]
fn commands_like_docker_kubectl_and_adb_reach_the_server() {
    let through = Through::new("through-like", 1_000_000);
    let (scratch, server) = (&through.scratch, program_path("server").display().to_string());
    for (name, words, command, host) in [
        ("docker", "exec -i web", "exec -i", "web"),
        ("kubectl", "exec -i pod/web --", "exec -i %h --", "pod/web"),
        ("adb", "-s emulator-5554 shell -T", "-s %h shell -T", "emulator-5554"),
    ] {
        let count = words.split(' ').count();
        let own = "case $* in \"$words\"*) shift $count;; *) exit 64;; esac";
        let text = format!("#!/bin/sh\nwords='{words} ' count={count}\n{own}\n{PIPES}\n");
        let program = scratch.write(name, text.as_bytes());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let command = format!("{} {command}", program.display());
        for (push, streams) in [(false, "1"), (false, "3"), (true, "3")] {
            let mut client = scratch.program("client");
            client.args(["-e", &command, "--remote-server", &server]);
            client.args(push.then_some("--push")).args([host, streams]);
            client.arg(scratch.path("file")).arg(through.output()).arg("--restart");
            through.fetches(client);
        }
    }
}

#[test]
fn the_root_of_the_other_side_holds() {
    let through = Through::new("through-root", 1000);
    let root = through.scratch.make_dir("root");
    let options = format!("--root {}", root.display());
    let mut client = through.client_through("rsh", SOCKET, 2, &options);
    let outcome = run(&mut client);
    outcome.failed(REFUSED, "client", "404 Not Found");
    fs::copy(through.scratch.path("file"), root.join("file")).unwrap();
    let mut client = through.scratch.program("client");
    client.arg("-e").arg(through.script("rsh", SOCKET)).arg("--remote-server");
    client.arg(format!("{} {options}", program_path("server").display()));
    client.arg("box:file").arg(through.output());
    through.fetches(client);
}

#[test]
fn a_server_over_standard_input_and_output_takes_no_port_and_no_password() {
    let scratch = Scratch::new("through-usage");
    for options in [&["8080"][..], &["--auth", "f"], &["--bind", "::1"], &["--data-ports", "1-2"]] {
        let outcome = run(scratch.program("server").arg("--stdio").args(options));
        outcome.failed(USAGE, "server", "--stdio");
    }
}

#[test]
fn command_lines_that_cannot_mean_anything_are_refused() {
    let scratch = Scratch::new("through-words");
    for (words, what) in [
        (&["-e", "x", "-oProxyCommand=y", "4", "f"][..], ""),
        (&["-e", "x", "--", "-box", "4", "f"], "begins with a dash"),
        (&["--", "-box:f"], "begins with a dash"),
        (&["-e", "", "box", "4", "f"], "must not be empty"),
        (&["-e", "x", "box", "4"], "file: is missing"),
        (&["--remote-server", "x", "box:8080", "4", "f"], "needs --rsh"),
        (&["-e", "x", "--auth", "f", "box", "4", "f"], "--auth"),
    ] {
        run(scratch.program("client").args(words)).failed(USAGE, "client", what);
    }
}

#[test]
fn the_end_of_standard_input_ends_a_server_whatever_it_does() {
    let scratch = Scratch::new("through-eof");
    scratch.sparse("file", 1 << 40);
    let mut command = scratch.program("server");
    command.arg("--stdio").current_dir(scratch.folder());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut input = server.stdin.take().unwrap();
    let body = "{\"threads\":1,\"protocol\":2}";
    write!(input, "POST file HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    write!(input, "HEAD file HTTP/1.1\r\nWant-Repr-Digest: md5=1\r\n\r\n").unwrap();
    crate::support::proof::hashes(server.id());
    drop(input);
    let begun = Instant::now();
    assert!(server.wait().unwrap().success());
    // Nothing waits for an answer that nobody reads.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    crate::support::proof::no_process_stays(&scratch);
}
