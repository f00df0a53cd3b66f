//! What a client prints during a fetch without a terminal: objects for a program, a plain line now
//! and then, or nothing; and the command that resumes the fetch.

use crate::support::harness::{Running, Scratch, Server, name, run};
use crate::support::path::BLOCK;
use crate::support::path::{Gate, Path, flip, leave};
use crate::support::relay::{Faults, Step};
use crate::support::system::reserve;
use ropewalk::codec::json::{Value, parse};
use ropewalk::codec::wire::HEADER_SIZE;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The object on a line.
#[track_caller]
fn object(line: &str) -> Value {
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?}");
    parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error:?}"))
}

#[track_caller]
fn number(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or_else(|| panic!("{key} of {object}"))
}

#[track_caller]
fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{key} of {object}"))
}

/// The client's next object, which must be of this kind.
#[track_caller]
fn next(client: &mut Running, event: &str) -> Value {
    let object = object(&client.next_error_line());
    assert_eq!(text(&object, "event"), event, "{object}");
    object
}

/// The next progress object that has `number` as its `key`.
#[track_caller]
fn progress_with(client: &mut Running, key: &str, wanted: u64) -> Value {
    loop {
        let object = next(client, "progress");
        if object.get(key).and_then(Value::as_u64) == Some(wanted) {
            return object;
        }
    }
}

#[test]
fn objects_come_from_start_to_end_even_while_no_bytes_come() {
    let (gate, faults) = Gate::after(10);
    let path = Path::new("json", 20 << 17, faults);
    let mut command = path.client(1);
    command.arg("--progress=json");
    let mut client = Running::start(&mut command);
    let start = next(&mut client, "start");
    assert_eq!(text(&start, "file"), "file");
    assert!(text(&start, "output").ends_with("/folder/out"), "{start}");
    assert_eq!(text(&start, "server"), path.relay.address.to_string());
    gate.wait_until_reached();
    let moving = progress_with(&mut client, "bytes", 10 * BLOCK);
    assert_eq!(text(&moving, "phase"), "moving");
    assert_eq!((number(&moving, "size"), number(&moving, "percent")), (20 * BLOCK, 50));
    assert_eq!((number(&moving, "streams"), number(&moving, "resent")), (1, 0));
    // No byte arrives, and the objects still come.
    for _ in 0..4 {
        progress_with(&mut client, "bytes", 10 * BLOCK);
    }
    gate.open();
    let outcome = client.finish();
    let last = object(outcome.err.split_inclusive('\n').next_back().unwrap());
    assert_eq!((text(&last, "event"), number(&last, "code")), ("end", 0));
    assert_eq!((number(&last, "bytes"), number(&last, "size")), (20 * BLOCK, 20 * BLOCK));
    let lines: Vec<Value> = outcome.err.split_inclusive('\n').map(object).collect();
    let ends = lines.iter().filter(|object| text(object, "event") == "end");
    assert_eq!(ends.count(), 1);
    // The man page describes each field. Several fields may share an entry.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/share/man/man1/ropewalk-client.1");
    let page = fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once(".SH PROGRESS OBJECTS").unwrap();
    let entries = page.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"));
    let documented: Vec<&str> = entries.flat_map(|entry| entry.split(", ")).collect();
    for object in lines {
        let Value::Object(members) = object else { panic!("{object}") };
        for (key, _) in members {
            assert!(documented.contains(&key.as_str()), "{key} is in no paper: {documented:?}");
        }
    }
    assert_eq!(outcome.succeeded(), format!("{}\n", text(&last, "text")));
    path.is_whole();
}

#[test]
fn progress_tells_how_much_of_the_part_file_has_been_checked() {
    let (gate, faults) = Gate::after(10);
    let path = Path::new("json-resumed", 20 << 17, faults);
    let client = path.begin(&gate, 10, path.client(1));
    client.signal(libc::SIGINT);
    client.finish();
    let mut command = path.client(1);
    command.args(["--progress=json", "--verify", "md5"]);
    let mut client = Running::start(&mut command);
    next(&mut client, "start");
    // No byte comes, and the MD5 takes in everything that is there.
    let checked = progress_with(&mut client, "hashed", 10 * BLOCK);
    assert_eq!((number(&checked, "kept"), number(&checked, "checked")), (10 * BLOCK, 10 * BLOCK));
    assert_eq!(checked.get("left"), Some(&Value::Null), "{checked}");
    gate.open();
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn names_in_objects_are_escaped() {
    let scratch = Scratch::new("json-names");
    let server = Server::start(&scratch, &[]);
    let file = name(b"a\xff\x1b[2J\n");
    scratch.write(file, b"bytes");
    let output = scratch.path(name(b"o\x07\xfe"));
    let outcome = run(scratch.client(server.address, 1, file, &output).arg("--progress=json"));
    let first = object(outcome.err.split_inclusive('\n').next().unwrap());
    assert_eq!(text(&first, "file"), "a\\xff\\x1b[2J\\x0a");
    assert!(text(&first, "output").ends_with("/o\\x07\\xfe"), "{first}");
    assert!(outcome.err.is_ascii(), "{outcome:?}");
    outcome.succeeded();
}

#[test]
fn a_failure_is_the_last_object_and_no_line_of_text() {
    let scratch = Scratch::new("json-fails");
    let port = reserve(scratch.address(), 0).unwrap();
    let mut client = scratch.client(port.address, 2, "file", scratch.path("out"));
    let outcome = run(client.arg("--progress=json"));
    assert_eq!(outcome.status.code(), Some(3), "{outcome:?}");
    let lines: Vec<Value> = outcome.err.split_inclusive('\n').map(object).collect();
    assert_eq!(text(&lines[0], "event"), "start");
    let last = lines.last().unwrap();
    assert_eq!((text(last, "event"), number(last, "code")), ("end", 3));
    assert_eq!((text(last, "phase"), last.get("size")), ("asking", Some(&Value::Null)));
    assert!(text(last, "text").contains("Connection refused; no server listens there"), "{last}");
    assert_eq!(outcome.out, "");
}

#[test]
fn errors_and_warnings_are_objects_too() {
    let path = Path::new("json-message", 1000, Faults::default());
    leave(&path.folder("out"), b"from somewhere");
    let outcome = run(path.client(1).arg("--progress=json"));
    let lines: Vec<Value> = outcome.err.split_inclusive('\n').map(object).collect();
    let message = lines.iter().find(|object| text(object, "event") == "message").unwrap();
    assert!(text(message, "text").contains("out.part: starting over: "), "{message}");
    outcome.succeeded();
    path.is_whole();
}

#[test]
fn blocks_that_are_sent_again_are_counted() {
    let gate = std::sync::Arc::new(Gate::default());
    let own = gate.clone();
    let path = Path::new(
        "json-resent",
        20 << 17,
        Faults::of_blocks(move |block| {
            match block.number {
                3 | 5 => flip(&mut block.bytes[HEADER_SIZE..], 77),
                10.. => own.pass(),
                _ => {}
            }
            Step::Pass
        }),
    );
    let mut command = path.client(1);
    let mut client = Running::start(command.arg("--progress=json"));
    next(&mut client, "start");
    progress_with(&mut client, "resent", 2);
    gate.open();
    let outcome = client.finish();
    let last = object(outcome.err.split_inclusive('\n').next_back().unwrap());
    assert_eq!(number(&last, "resent"), 2, "{last}");
    assert!(outcome.succeeded().contains(", 2 damaged blocks asked for again"));
    path.is_whole();
}

#[test]
fn progress_of_a_classic_transfer_counts_bytes_and_streams() {
    use crate::support::peers::classic::{ClassicServer, md5};
    use std::io::Write;
    let scratch = Scratch::new("json-classic");
    let server = ClassicServer::bind(&scratch);
    let bytes = crate::support::harness::content(5000);
    let mut command = scratch.client(server.address(), 2, "file", scratch.path("out"));
    let mut client = Running::start(command.arg("--progress=json"));
    next(&mut client, "start");
    server.offer(&md5(&bytes));
    let streams = server.accept_streams(2);
    for (number, mut stream) in streams.iter().map(|(number, stream)| (*number, stream)) {
        stream.write_all(&bytes[usize::from(number) * 2501..][..1000]).unwrap();
    }
    let moving = progress_with(&mut client, "bytes", 2000);
    assert_eq!((number(&moving, "streams"), moving.get("size")), (2, Some(&Value::Null)));
    for (number, mut stream) in streams {
        let start = usize::from(number) * 2501;
        stream.write_all(&bytes[start + 1000..(start + 2501).min(5000)]).unwrap();
    }
    let outcome = client.finish();
    let last = object(outcome.err.split_inclusive('\n').next_back().unwrap());
    assert_eq!((number(&last, "bytes"), number(&last, "size")), (5000, 5000));
    outcome.succeeded();
}

#[test]
fn a_plain_line_comes_every_ten_seconds_and_not_at_once() {
    let (gate, faults) = Gate::after(10);
    let path = Path::new("plain", 20 << 17, faults);
    let begun = Instant::now();
    // Standard error is no terminal here.
    let mut command = path.client(1);
    let mut client = Running::start(command.arg("--progress=auto"));
    let line = client.next_error_line();
    assert!(begun.elapsed() >= Duration::from_secs(10), "{line}");
    assert!(line.starts_with("client: file: 50%, 1.25 MiB of 2.50 MiB, "), "{line}");
    assert!(!line.contains('\r') && line.ends_with(" stream\n"), "{line}");
    gate.open();
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn a_plain_line_tells_of_a_lost_server_at_once() {
    let (gate, faults) = Gate::before_a_cut(10);
    let mut path = Path::new("plain-lost", 20 << 17, faults);
    let mut command = path.client(1);
    let begun = Instant::now();
    let mut client = Running::start(command.arg("--progress=plain"));
    gate.wait_until_reached();
    path.server.kill();
    gate.open();
    loop {
        let line = client.next_error_line();
        if line.contains("lost the server, asking again") {
            assert!(line.starts_with("client: file: "), "{line}");
            break;
        }
        // Each of the other lines takes 10 s.
        assert!(begun.elapsed() < Duration::from_secs(60), "{line}");
    }
    path.restart(&[]);
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn a_quiet_client_tells_of_its_progress_only_when_it_is_asked_to() {
    let path = Path::new("quiet-json", 1000, Faults::default());
    let outcome = run(path.client(1).args(["-q", "--progress=json"]));
    assert_eq!(outcome.out, "");
    assert!(outcome.err.lines().count() >= 2, "{outcome:?}");
    outcome.succeeded();
}

/// Interrupts a client in the middle, and has `shell` run the command that the client prints.
#[track_caller]
fn goes_on(test: &str, shell: &str, file: &OsStr, output: &OsStr) {
    let (gate, faults) = Gate::after(10);
    let path = Path::new(test, 20 << 17, faults);
    fs::rename(path.scratch.path("file"), path.scratch.path(file)).unwrap();
    let output = path.folder("").join(output);
    let mut part = OsString::from(&output);
    part.push(".part");
    let mut command = path.scratch.client(path.relay.address, 1, file, &output);
    let mut client = Running::start(command.args(["--restart", "--progress=json", "-q"]));
    gate.wait_until_reached();
    progress_with_or_start(&mut client, 10 * BLOCK);
    client.signal(libc::SIGTERM);
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(143), "{outcome:?}");
    let last = object(outcome.err.split_inclusive('\n').next_back().unwrap());
    let said = text(&last, "text").to_string();
    assert!(
        said.starts_with("stopped by SIGTERM; ") && said.contains(".part keeps 50%; "),
        "{said}"
    );
    let (_, again) = said.split_once("; to continue: ").unwrap();
    assert!(
        again.starts_with(crate::support::harness::program_path("client").to_str().unwrap()),
        "{again}"
    );
    assert!(!again.contains("--restart"), "{again}");
    gate.open();
    let mut shell = Command::new(shell);
    shell.arg("-c").arg(again).current_dir(path.scratch.folder()).stdin(Stdio::null());
    let outcome = run(shell.env(crate::support::harness::MARK, path.scratch.folder()));
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let last = object(outcome.err.split_inclusive('\n').next_back().unwrap());
    assert_eq!(number(&last, "resumed"), 10 * BLOCK, "{last}");
    assert_eq!(fs::read(&output).unwrap(), path.bytes);
    assert!(!fs::exists(part).unwrap());
}

/// Waits until so many bytes are there.
#[track_caller]
fn progress_with_or_start(client: &mut Running, bytes: u64) {
    next(client, "start");
    progress_with(client, "bytes", bytes);
}

#[test]
fn the_printed_command_resumes_the_fetch() {
    goes_on("again", "sh", OsStr::new("file"), OsStr::new("out"));
}

#[test]
fn the_printed_command_is_quoted_where_the_shell_needs_it() {
    let file = OsStr::new("it's $(a) \"file\"; *");
    goes_on("again-quoted", "sh", file, OsStr::new("o  ut & \\n~"));
}

#[test]
fn the_printed_command_quotes_bytes_that_are_not_text() {
    if !Command::new("bash").arg("-c").arg(":").status().is_ok_and(|status| status.success()) {
        eprintln!("not tried: there is no bash");
        return;
    }
    let output = OsString::from_vec(b"o\nu\xfet".to_vec());
    goes_on("again-bytes", "bash", OsStr::from_bytes(b"f\xff\xfe'"), &output);
}
