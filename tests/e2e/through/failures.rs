//! Other sides without a server that answers: the message says what to do.

use crate::support::exit::{NETWORK, PROTOCOL, REFUSED, SYSTEM};
use crate::support::harness::{Outcome, Scratch, run};
use crate::support::proof;
use crate::support::through::{SOCKET, Through};

/// What comes of a client whose program runs `body`.
fn outcome(test: &str, body: &str) -> (Through, Outcome) {
    let through = Through::new(test, 1_000_000);
    let outcome = run(through.client(body, 3).arg("-q"));
    proof::no_process_stays(&through.scratch);
    (through, outcome)
}

/// Demands this end, and that nothing is left.
#[track_caller]
fn fails(test: &str, body: &str, code: i32, words: &[&str]) {
    let (through, outcome) = outcome(test, body);
    for word in words {
        outcome.failed(code, "client", word);
    }
    assert!(Scratch::names(&through.scratch.path("folder")).is_empty());
}

#[test]
fn a_program_that_is_missing_there_is_brought_there_by_what_the_message_says() {
    let words = ["cannot be run there", "--remote-server", "make static", "not found"];
    fails(
        "through-missing",
        "echo sh: 1: ropewalk-server: not found >&2; exit 127",
        REFUSED,
        &words,
    );
    fails("through-not-executable", "exit 126", REFUSED, &words[..3]);
}

#[test]
fn noise_before_the_reply_is_quoted() {
    let words = ["'Welcome to \\x1b[31mbox'", "start-up file"];
    fails(
        "through-noise",
        &format!("printf 'Welcome to \\033[31mbox\\nmore\\n'; {SOCKET}"),
        PROTOCOL,
        &words,
    );
    fails(
        "through-nologin",
        "echo This account is not available.; exit 1",
        PROTOCOL,
        &["'This account is not"],
    );
}

#[test]
fn an_old_program_and_another_program_are_told_with_their_words() {
    let words = ["ended with exit code 2", "no such option"];
    fails("through-old", "echo server: --stdio: no such option >&2; exit 2", NETWORK, &words);
    fails("through-nothing", "cat >/dev/null & exit 0", NETWORK, &["ended with exit code 0"]);
    fails("through-kills-itself", "kill -9 $$", NETWORK, &["stopped by signal 9"]);
    fails("through-cat", "exec cat", PROTOCOL, &["POST "]);
}

#[test]
fn a_command_that_is_not_here_is_an_error_of_this_machine() {
    let scratch = Scratch::new("through-no-command");
    let outcome = run(scratch.program("client").args(["-e", "/no/such/ssh", "box", "1", "f"]));
    outcome.failed(SYSTEM, "client", "/no/such/ssh: No such file");
}

#[test]
fn standard_error_that_floods_holds_nothing_up_and_each_line_is_shown_once() {
    let through = Through::new("through-flood", 3_000_000);
    let flood = "(i=0; while [ $i -lt 20000 ]; do echo \"some words\"; i=$((i + 1)); done) >&2 &";
    let outcome = through.fetches(through.client(&format!("{flood}\n{SOCKET}"), 3));
    assert_eq!(outcome.err, "client: box: some words\n");
}

#[test]
fn lines_of_standard_error_are_escaped_and_bounded() {
    let through = Through::new("through-escape", 1000);
    let body = format!("printf '\\033[2Jx\\n%01000d\\n' 0 >&2; {SOCKET}");
    let outcome = through.fetches(through.client(&body, 2));
    assert!(outcome.err.contains("client: box: \\x1b[2Jx\n"), "{outcome:?}");
    assert!(outcome.err.lines().all(|line| line.len() < 400), "{outcome:?}");
}
