//! What the four programs print without a peer: help, versions, mistakes on the command line. Also,
//! how they treat outputs that are closed or full.

use crate::support::harness::{Outcome, Running, Scratch, Server, after, program_path, run};
use crate::support::pty::Pty;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

const PROGRAMS: [&str; 4] = ["server", "client", "sender", "receiver"];

/// Runs `check` on each program with these arguments.
fn each(scratch: &Scratch, arguments: &[&str], check: impl Fn(&str, &mut Command)) {
    for name in PROGRAMS {
        check(name, scratch.program(name).args(arguments));
    }
}

#[test]
fn help_goes_to_standard_output() {
    let scratch = Scratch::new("help");
    for option in ["-h", "--help"] {
        each(&scratch, &[option], |name, command| {
            let outcome = run(command);
            assert_eq!(outcome.err, "", "{name}");
            let text = outcome.succeeded();
            assert!(text.starts_with(&format!("usage: {name} [options] ")), "{text}");
            assert!(text.contains("\nexamples:\n"), "{text}");
            assert!(text.contains("\narguments:\n  "), "{text}");
            assert!(text.contains("\nhelp:\n  -h, --help "), "{text}");
            assert!(text.ends_with(&format!("man ropewalk-{name}\n")), "{text}");
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        });
    }
}

#[test]
fn help_in_a_window_is_as_wide_as_the_window_and_no_wider_than_80_columns() {
    let scratch = Scratch::new("help-width");
    for (columns, least, most) in [(60, 50, 60), (0, 70, 80), (200, 70, 80)] {
        let mut command = scratch.program("client");
        command.arg("--help");
        let (status, written) = Pty::start(command, columns).finish();
        assert!(status.success(), "{written:?}");
        let lines = written.split("\r\n").filter(|line| !line.starts_with("    client "));
        let widest = lines.map(str::len).max().unwrap();
        assert!((least..=most).contains(&widest), "{columns}: {written:?}");
    }
}

#[test]
fn help_bears_the_name_that_the_program_was_installed_under() {
    let scratch = Scratch::new("help-name");
    let installed = scratch.path("ropewalk-client");
    std::os::unix::fs::symlink(program_path("client"), &installed).unwrap();
    for arguments in [&["--help"][..], &[]] {
        let outcome = run(Command::new(&installed).args(arguments).stdin(Stdio::null()));
        let text = [outcome.out, outcome.err].concat();
        assert!(text.starts_with("usage: ropewalk-client [options] http://"), "{text}");
        assert!(text.contains(" ropewalk-client http://box:8080/srv/file.iso\n"), "{text}");
    }
}

#[test]
fn a_program_without_an_argument_shows_its_usage_and_an_example() {
    let scratch = Scratch::new("no-arguments");
    each(&scratch, &[], |name, command| {
        let outcome = run(command);
        assert_eq!((outcome.status.code(), outcome.out.as_str()), (Some(2), ""), "{outcome:?}");
        let lines: Vec<&str> = outcome.err.lines().collect();
        assert!(lines.len() <= 5, "{lines:?}");
        assert!(lines[0].starts_with(&format!("usage: {name} [options] ")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with(&format!("example: {name} "))));
        assert_eq!(lines.last().unwrap(), &format!("{name} --help shows all options"));
    });
}

#[test]
fn the_version_goes_to_standard_output() {
    let scratch = Scratch::new("version");
    for option in ["-V", "--version"] {
        each(&scratch, &[option], |name, command| {
            let text = run(command).succeeded();
            assert_eq!(text, format!("ropewalk {name} {}\n", env!("CARGO_PKG_VERSION")));
        });
    }
}

#[test]
fn help_into_a_full_device_is_an_error_and_no_panic() {
    let scratch = Scratch::new("help-full");
    each(&scratch, &["--help"], |name, command| {
        let outcome = run(&mut after("exec >/dev/full", command));
        outcome.failed(1, name, "standard output: No space left on device");
    });
}

#[test]
fn help_over_a_closed_pipe_is_an_error_and_no_panic() {
    let scratch = Scratch::new("help-pipe");
    each(&scratch, &["--help"], |name, command| {
        let (read, write) = UnixStream::pair().unwrap();
        drop(read);
        let child = command.stdout(OwnedFd::from(write)).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let line = format!("{name}: standard output: Broken pipe\n");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    });
}

/// The exit code of a program whose outputs `setting` has changed.
fn code_with(setting: &str, command: &Command) -> Option<i32> {
    after(setting, command).status().unwrap().code()
}

#[test]
fn outputs_that_are_closed_or_full_never_cause_a_panic() {
    let scratch = Scratch::new("closed");
    for setting in ["exec >&- 2>&-", "exec >/dev/full 2>/dev/full", "exec <&- >&- 2>&-"] {
        each(&scratch, &["--no-such-option"], |name, command| {
            assert_eq!(code_with(setting, command), Some(2), "{name}: {setting}");
        });
    }
}

#[test]
fn a_fetch_succeeds_where_its_summary_cannot_be_written() {
    let scratch = Scratch::new("summary-full");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for setting in ["exec >/dev/full", "exec >&-", "exec <&- >&- 2>&-"] {
        let output = scratch.path("out");
        let client = scratch.client(server.address, 2, "file", &output);
        assert_eq!(code_with(setting, &client), Some(0), "{setting}");
        assert_eq!(std::fs::read(&output).unwrap(), b"bytes");
        std::fs::remove_file(output).unwrap();
    }
}

#[test]
fn a_server_whose_log_is_closed_or_full_serves() {
    let scratch = Scratch::new("log-full");
    scratch.write("file", b"bytes");
    for setting in ["exec 2>/dev/full", "exec 2>&-", "exec <&- 2>&-"] {
        let mut command = after(setting, &scratch.program("server"));
        command.current_dir(scratch.folder());
        let server = Server::start_command(&scratch, command);
        let output = scratch.path("out");
        run(&mut scratch.client(server.address, 2, "file", &output)).succeeded();
        assert_eq!(server.stop().status.code(), Some(0), "{setting}");
    }
}

#[test]
fn a_quiet_client_says_nothing() {
    let scratch = Scratch::new("quiet-client");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let output = scratch.path("out");
    let outcome = run(scratch.client(server.address, 2, "file", output).arg("-q"));
    assert_eq!((outcome.out.as_str(), outcome.err.as_str()), ("", ""));
    outcome.succeeded();
}

#[test]
fn a_quiet_server_logs_nothing() {
    let scratch = Scratch::new("quiet-server");
    let server = Server::start(&scratch, &["-q"]);
    scratch.write("file", b"bytes");
    run(&mut scratch.client(server.address, 2, "file", scratch.path("out"))).succeeded();
    assert_eq!(server.stop().err, "");
}

#[test]
fn the_log_has_one_line_for_a_transfer_and_one_for_a_refusal() {
    let scratch = Scratch::new("log");
    let mut server = Server::start(&scratch, &[]);
    scratch.write("a\nfile\u{1b}[2J", b"bytes");
    let mut client = scratch.client(server.address, 2, "./a\u{1b}", scratch.path("out"));
    run(&mut client).failed(4, "client", "404 Not Found");
    std::fs::rename(scratch.path("a\nfile\u{1b}[2J"), scratch.path("a file\u{1b}[2J")).unwrap();
    let mut client = scratch.client(server.address, 2, "./a file\u{1b}[2J", scratch.path("out"));
    run(&mut client).succeeded();
    // The sender may still be at its end when the client has everything.
    server.next_log_line();
    let log = server.stop().err;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].ends_with(" POST ./a%1B refused: 404 Not Found: no such file"), "{log}");
    assert!(lines[1].contains(" ./a file\\x1b[2J 5 bytes of 5 over "), "{log}");
    assert!(lines[1].ends_with(": complete"), "{log}");
}

#[test]
fn the_error_names_a_taken_port_in_the_c_library_s_words() {
    let scratch = Scratch::new("in-use");
    let taken = TcpListener::bind((scratch.address(), 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut server = scratch.program("server");
    server.args(["--bind", &scratch.address().to_string(), &port]);
    run(&mut server).failed(
        1,
        "server",
        &format!("port {port}: Address already in use; another program listens there"),
    );
}

#[test]
fn a_port_is_free_again_right_after_a_server_s_end() {
    let scratch = Scratch::new("free-again");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    run(&mut scratch.client(server.address, 2, "file", scratch.path("out"))).succeeded();
    let port = server.address.port().to_string();
    server.stop();
    let mut again = scratch.program("server");
    again.args(["--bind", &scratch.address().to_string(), &port]);
    let mut again = Running::start(&mut again);
    assert_eq!(again.next_line(), format!("listening on {}:{port}\n", scratch.address()));
}

#[test]
fn a_server_listens_on_both_families_at_once() {
    let scratch = Scratch::new("families");
    let mut server = Running::start(scratch.program("server").arg("0"));
    let line = server.next_line();
    let port: u16 = line.trim_end().rsplit_once(':').unwrap().1.parse().unwrap();
    let file = scratch.write("file", b"bytes");
    let mut addresses = vec![format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => addresses.push(format!("[::1]:{port}")),
        Err(error) => eprintln!("not tried over IPv6: {error}"),
    }
    for address in addresses {
        let outcome = run(&mut scratch.client(&address, 3, &file, scratch.path("out")));
        assert_eq!(outcome.err, "", "{address}");
        outcome.succeeded();
    }
}

/// Demands that the program refuses these arguments as a mistake of the user.
#[track_caller]
fn refused(name: &str, arguments: &[&str], words: &str) {
    let scratch = Scratch::new(&format!("usage-{name}"));
    let mut command = scratch.program(name);
    let outcome: Outcome = run(command.args(arguments).current_dir(scratch.folder()));
    outcome.failed(2, name, words);
    assert!(!outcome.err.contains("sesame"), "a password is shown: {}", outcome.err);
    assert_eq!(Scratch::names(scratch.folder()).len(), 0, "{arguments:?}");
}

#[test]
fn the_error_names_every_mistake_on_a_client_s_command_line() {
    for (arguments, words) in [
        (&["-q"][..], "address: is missing"),
        (&["h:1", "1"], "file: is missing; write h:1/path, or h:1 streams file"),
        (&["h:1"], "file: is missing"),
        (&["h:1", "1", "/"], "ofile: cannot derive a name from '/'; give OFILE"),
        (&["h:1", "1", "x/.."], "ofile: cannot derive a name from 'x/..'; give OFILE"),
        (&["h:1", "1", "x/-", "."], "ofile: cannot derive a name from 'x/-'; give OFILE"),
        (&["h:1", "1", "f", "o", "x\u{1b}"], "'x\\x1b': is one argument too many"),
        (&["h", "1", "f", "o"], "address: 'h' has no port"),
        (&["h:", "1", "f", "o"], "address: 'h:' has no port"),
        (&["h:0", "1", "f", "o"], "'h:0' has a port that is not a number from 1 to 65535"),
        (&["h:99999", "1", "f", "o"], "'h:99999' has a port that is not a number from 1 to 65535"),
        (&["h:http", "1", "f", "o"], "'h:http' has a port that is not a number from 1 to 65535"),
        (
            &["http://h:1", "1", "f"],
            "must be host:port before streams and file, which a URL replaces",
        ),
        (
            &["http://h:1/f", "1", "f", "o"],
            "must be host:port before streams and file, which a URL replaces",
        ),
        (&["1", "h:1", "f", "o"], "'1' has no port; it must be host:port; the order is: host:port"),
        (&["h:1", "f", "4"], "not 'f'; the order is: host:port streams file [ofile]"),
        (&["f", "h:1"], "; the order is: host:port streams file [ofile]"),
        (&["https://h/f"], "https is not possible, since ropewalk does not encrypt; use http://"),
        (&["http://h/"], "ofile: cannot derive a name from '/'; give OFILE"),
        (&["http://h"], "address: 'http://h' names no file and no folder"),
        (&["h:/f", "--auth", "o"], "--auth: has no meaning where --rsh reaches the server"),
        (
            &["ann:sesame@h:1/f"],
            "must have no user and no password, which others could see; --auth",
        ),
        (
            &["--streams", "4", "h:1", "4", "f"],
            "--streams: cannot be combined with the argument streams",
        ),
        (&["--streams", "0", "h:1/f"], "--streams: must be a whole number from 1 to 255, not '0'"),
        (&[":1", "1", "f", "o"], "address: ':1' has no host"),
        (&["::1:80", "1", "f", "o"], "not in brackets"),
        (&["[::1:80", "1", "f", "o"], "lacks a bracket"),
        (&["h:1", "0", "f", "o"], "streams: must be a whole number from 1 to 255 or auto, not '0'"),
        (&["h:1", "256", "f", "o"], "from 1 to 255 or auto, not '256'"),
        (&["h:1", "4.0", "f", "o"], "from 1 to 255 or auto, not '4.0'"),
        (&["h:1", "+4", "f", "o"], "from 1 to 255 or auto, not '+4'"),
        (&["h:1", "--", "-4", "f", "o"], "from 1 to 255 or auto, not '-4'"),
        (&["h:1", "1", "", "o"], "file: must not be empty"),
        (&["h:1", "1", "f", ""], "ofile: must not be empty"),
        (&["--wat", "h:1", "1", "f", "o"], "--wat: no such option; see --help"),
        (&["-Q", "h:1", "1", "f", "o"], "-Q: no such option; see --help"),
        (&["--verfy=md5", "h:1", "1", "f"], "--verfy: no such option; did you mean --verify?"),
        (&["-r", "h:1/f"], "-r: no such option; a folder is fetched with everything in it"),
        (&["-avP", "h:1/f"], "-a: no such option; a folder is fetched with everything in it"),
        (&["-c", "h:1/f"], "-c: no such option; the same command continues"),
        (&["-P", "8080", "h:1/f"], "-P: no such option; a partial file is always kept, and a port"),
        (&["-z", "h:1/f"], "-z: no such option; ropewalk does not compress"),
        (&["--bwlimit=1M", "h:1/f"], "--bwlimit: no such option; --limit-rate RATE limits"),
        (&["-O", "http://h/f"], "-O: no such option; the output file or folder is the last"),
        (&["-uann:sesame", "http://h/f"], "-u: no such option; --auth FILE names a file"),
        (&["--quiet=1", "h:1", "1", "f", "o"], "--quiet: takes no value"),
        (&["h:1", "1", "f", "o", "--connect-timeout"], "--connect-timeout: needs a value"),
        (&["--connect-timeout=0", "h:1", "1", "f", "o"], "--connect-timeout: must be a whole"),
        (&["--retry-for=-1", "h:1", "1", "f", "o"], "--retry-for: must be a whole"),
        (&["--verify=sha1", "h:1", "1", "f", "o"], "--verify: must be md5, crc32c or none"),
        (&["--restart=1", "h:1", "1", "f", "o"], "--restart: takes no value"),
        (&["--progress=dots", "h:1", "1", "f", "o"], "--progress: must be auto, bar, plain, json"),
    ] {
        refused("client", arguments, words);
    }
}

#[test]
fn the_error_names_every_mistake_on_a_server_s_command_line() {
    for (arguments, words) in [
        (&["-q"][..], "port: is missing"),
        (&["--port", "80"], "--port: no such option; the port is the last argument"),
        (&["-d", "/srv", "80"], "-d: no such option; --root DIR names the folder to serve"),
        (&["65536"], "port: must be a whole number from 0 to 65535, not '65536'"),
        (&["http"], "port: must be a whole number"),
        (&["0", "0"], "'0': is one argument too many"),
        (&["--bind", "nowhere", "0"], "--bind: must be an IP address, not 'nowhere'"),
        (&["--max-connections", "0", "0"], "--max-connections: must be"),
        (&["--max-transfers", "-1", "0"], "--max-transfers: must be"),
        (&["--idle-timeout", "x", "0"], "--idle-timeout: must be"),
        (&["--stall-timeout", "99999", "0"], "--stall-timeout: must be"),
    ] {
        refused("server", arguments, words);
    }
}

#[test]
fn the_error_names_every_mistake_on_a_worker_s_command_line() {
    refused("sender", &["0", "f", "0", "1"], "block_size: must be");
    refused("sender", &["0", "f", "1", "256"], "streams: must be");
    refused("sender", &["0", "f", "1"], "streams: is missing");
    refused("receiver", &["h", "0", "1", "."], "port: must be");
    refused("receiver", &["h", "1", "0", "."], "streams: must be");
    refused("receiver", &["--job", "h"], "'h': is one argument too many");
}

#[test]
fn a_worker_without_a_job_from_a_parent_says_so() {
    let scratch = Scratch::new("no-job");
    for name in ["sender", "receiver"] {
        run(scratch.program(name).arg("--job")).failed(1, name, "standard input: ");
    }
}
