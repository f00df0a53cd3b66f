//! The bar that a client draws in a terminal: its width, its text, and its end.

use crate::support::harness::{Scratch, Server, run, wait_until};
use crate::support::path::{Gate, Path};
use crate::support::proof;
use crate::support::pty::{Pty, seen, tail};
use crate::support::relay::Faults;
use crate::support::system::in_front_of;
use std::process::Command;
use std::sync::Arc;

const BLOCKS: u64 = 10;

/// A client in a window of `columns` columns that has received half of its file.
struct Half {
    path: Path,
    gate: Arc<Gate>,
    pty: Pty,
}

fn half(test: &str, columns: u16, more: &[&str]) -> Half {
    let (gate, faults) = Gate::after(BLOCKS);
    let path = Path::new(test, 20 << 17, faults);
    let mut client = path.client(1);
    client.arg("--progress=auto").args(more);
    let mut pty = Pty::start(client, columns);
    gate.wait_until_reached();
    pty.wait_for(0, |written| written.contains("\r 50%") || written.contains("]   50%"));
    Half { path, gate, pty }
}

/// The lines that were drawn over each other.
fn drawn(written: &str) -> impl Iterator<Item = &str> {
    written.split('\r').map(|line| line.trim_start_matches("\x1b[J"))
}

/// The text of these lines without spaces. A line may have been broken at a space.
fn without_spaces(lines: &[String]) -> String {
    lines.concat().replace(' ', "")
}

#[test]
fn the_bar_fits_its_window_and_is_gone_at_the_end() {
    // A terminal without a known width counts as one of 80 columns.
    for (columns, width) in [(40, 40), (0, 80), (80, 80), (200, 200)] {
        let Half { path, gate, pty } = half("bar", columns, &[]);
        gate.open();
        let (status, written) = pty.finish();
        assert!(status.success(), "{written:?}");
        path.is_whole();
        let (bar, summary): (&str, &str) = written.split_at(written.find("2.50 MiB in ").unwrap());
        let widest = drawn(bar).map(str::len).max().unwrap();
        assert!(widest < width, "{widest} in {width}: {written:?}");
        assert_eq!(bar.contains(" of 2.50 MiB  "), width >= 80, "{}", tail(bar));
        assert_eq!(bar.contains(" stream"), width >= 80, "{}", tail(bar));
        assert_eq!(bar.contains("[==="), width >= 80, "{}", tail(bar));
        assert_eq!(bar.contains("\rfile  ["), width >= 80, "{}", tail(bar));
        assert!(!bar.contains("re-sent"), "{}", tail(bar));
        assert!(!bar.contains('\x1b'), "any terminal understands it: {}", tail(bar));
        // Only the summary is left.
        assert_eq!(
            without_spaces(&seen(&written, width)),
            summary.split_whitespace().collect::<String>()
        );
    }
}

#[test]
fn the_bar_fits_a_window_that_becomes_narrower() {
    let Half { path, gate, mut pty } = half("bar-resized", 80, &[]);
    pty.resize(40);
    let before = pty.written.len();
    // The terminal may have broken the old line in two, so the client erases both pieces.
    pty.wait_for(before, |written| written.contains("\x1b[J"));
    let after = pty.written.find("\x1b[J").unwrap();
    pty.wait_for(after, |written| written.matches("\r 50%").count() >= 3);
    for line in drawn(&pty.written[after..]) {
        assert!(line.len() < 40, "{line:?}");
    }
    pty.resize(100);
    let before = pty.written.len();
    pty.wait_for(before, |written| written.contains("[======"));
    gate.open();
    let (status, written) = pty.finish();
    assert!(status.success(), "{written:?}");
    assert!(seen(&written, 100)[0].starts_with("2.50 MiB in "), "{written:?}");
    path.is_whole();
}

#[test]
fn an_error_replaces_the_bar() {
    let Half { path, gate: _gate, pty } = half("bar-error", 40, &[]);
    pty.signal(libc::SIGINT);
    let (status, written) = pty.finish();
    assert_eq!(status.code(), Some(130), "{written:?}");
    let seen = without_spaces(&seen(&written, 40));
    let error =
        format!("client: stopped by SIGINT; {}.part keeps 50%", path.folder("out").display());
    assert!(seen.starts_with(&error.replace(' ', "")), "{seen}");
}

#[test]
fn the_bar_says_that_the_client_waits_for_the_md5() {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    let reply = move |request: &str, head| {
        if request.starts_with("HEAD ") {
            own.pass();
        }
        Some(head)
    };
    let faults = Faults { reply: Box::new(reply), ..Faults::default() };
    let path = Path::new("bar-md5", 1 << 20, faults);
    let mut client = path.scratch.client(path.relay.address, 2, "file", path.folder("out"));
    client.arg("--progress=bar");
    let mut pty = Pty::start(client, 80);
    pty.wait_for(0, |written| written.contains("100%  waiting for the MD5  1.00 MiB"));
    gate.open();
    assert!(pty.finish().0.success());
    path.is_whole();
}

#[test]
fn ctrl_z_leaves_nothing_of_the_bar_behind() {
    let Half { path, gate, mut pty } = half("bar-stopped", 80, &[]);
    for _ in 0..3 {
        pty.signal(libc::SIGTSTP);
        wait_until("the stop", || (proof::state(pty.pid()) == Some('T')).then_some(()));
        pty.catch_up();
        assert_eq!(seen(&pty.written, 80).len(), 0, "{:?}", pty.written);
        let stopped = pty.written.len();
        pty.signal(libc::SIGCONT);
        pty.wait_for(stopped, |written| written.contains("]   50%"));
    }
    gate.open();
    assert!(pty.finish().0.success());
    path.is_whole();
}

/// What a client writes to a terminal of this kind: it fetches one file, and then another that does
/// not exist.
fn in_colors(test: &str, environment: &[(&str, &str)]) -> String {
    let scratch = Scratch::new(test);
    let server = Server::start(&scratch, &["--root", "."]);
    scratch.write("file", b"bytes");
    let mut all = String::new();
    for file in ["file", "none"] {
        let mut client = scratch.client(server.address, 1, file, scratch.path("out"));
        client.envs(environment.iter().copied());
        all.push_str(&Pty::start(client, 80).finish().1);
    }
    all
}

#[test]
fn an_error_and_the_ok_of_the_summary_are_colored_where_the_terminal_can() {
    let written = in_colors("colors", &[("TERM", "xterm"), ("NO_COLOR", "")]);
    assert!(written.contains(", md5 \x1b[32mok\x1b[0m\r\n"), "{written:?}");
    assert!(written.contains("\x1b[31mclient:\x1b[0m 127."), "{written:?}");
    assert_eq!(written.matches('\x1b').count(), 4, "the terminal shows another color: {written:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        let written = in_colors("no-colors", &[("TERM", "xterm"), (name, value)]);
        assert!(!written.contains('\x1b'), "{name}: {written:?}");
        assert!(written.contains(", md5 ok"), "{written:?}");
    }
}

#[test]
fn output_to_a_file_has_no_color() {
    let scratch = Scratch::new("colors-file");
    let server = Server::start(&scratch, &["--root", "."]);
    scratch.write("file", b"bytes");
    for file in ["file", "none"] {
        let mut client = scratch.client(server.address, 1, file, scratch.path("out"));
        let outcome = run(client.env("TERM", "xterm"));
        assert!(!outcome.out.contains('\x1b') && !outcome.err.contains('\x1b'), "{outcome:?}");
    }
}

#[test]
fn a_client_in_the_background_draws_nothing() {
    let scratch = Scratch::new("bar-background");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", &vec![7; 1 << 20]);
    // Enough bytes for one second, in which a client would draw a bar several times.
    let client = scratch.client(server.address, 1, "file", scratch.path("out"));
    let mut shell = Command::new("sh");
    shell.arg("-mc").arg("\"$0\" \"$@\" --progress=bar --limit-rate=1M & wait $!");
    shell.arg(client.get_program()).args(client.get_args());
    shell.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    in_front_of(&mut shell);
    let (status, written) = Pty::start(shell, 80).finish();
    assert!(status.success(), "{written:?}");
    assert!(!written.contains('%'), "{written:?}");
    assert!(written.contains("1.00 MiB in "), "{written:?}");
}
