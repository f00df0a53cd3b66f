//! What is killed in the middle of a transfer: nothing stays on either side, and the transfer goes
//! on, by itself or with the same command.

use crate::support::exit::NETWORK;
use crate::support::harness::{Running, after, run, wait_until};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::through::{PIPES, SOCKET, Through};
use std::fs;
use std::time::{Duration, Instant};

const SIZE: usize = 5 << 20;

/// The same command, which must find what the first run has left.
#[track_caller]
fn resumes(through: &Through) {
    let outcome = through.fetches(through.client(PIPES, 2));
    assert!(outcome.out.contains("resumed"), "{outcome:?}");
}

#[test]
fn nothing_stays_of_a_client_that_is_killed_and_the_next_one_resumes() {
    for body in [SOCKET, PIPES] {
        let through = Through::new("through-killed", SIZE);
        let client = through.under_way(body, 3);
        client.signal(libc::SIGKILL);
        assert_eq!(client.finish().killed_by(), Some(libc::SIGKILL));
        proof::no_process_stays(&through.scratch);
        resumes(&through);
    }
}

#[test]
fn nothing_stays_after_ctrl_c_and_the_next_run_resumes() {
    let through = Through::new("through-ctrl-c", SIZE);
    let client = through.under_way(PIPES, 3);
    client.signal(libc::SIGINT);
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(130), "{outcome:?}");
    assert!(outcome.err.contains("to continue: "), "{outcome:?}");
    proof::no_process_stays(&through.scratch);
    resumes(&through);
}

#[test]
fn a_connection_that_is_killed_is_made_again() {
    let through = Through::new("through-one", SIZE);
    let client = through.under_way(SOCKET, 3);
    signal(through.other_connection(), libc::SIGKILL);
    through.goes_on(client);
}

#[test]
fn a_server_that_is_killed_over_there_is_started_again() {
    for body in [SOCKET, PIPES] {
        let through = Through::new("through-server", SIZE);
        let client = through.under_way(body, 3);
        signal(through.session(), libc::SIGKILL);
        through.goes_on(client);
    }
}

#[test]
fn a_sender_that_is_killed_over_there_is_started_again() {
    let through = Through::new("through-sender", SIZE);
    let client = through.under_way(PIPES, 2);
    signal(through.worker("sender"), libc::SIGKILL);
    through.goes_on(client);
}

#[test]
fn a_connection_that_hangs_is_replaced_and_does_not_stay() {
    let through = Through::new("through-hangs", 16 << 20);
    let client = through.under_way(SOCKET, 3);
    signal(through.other_connection(), libc::SIGSTOP);
    through.goes_on(client);
}

#[test]
fn a_program_that_hangs_is_ended_while_the_fetch_goes_on() {
    let through = Through::new("through-hangs-ended", 64 << 20);
    let client = through.under_way(SOCKET, 3);
    let other = through.other_connection();
    signal(other, libc::SIGSTOP);
    proof::is_reaped(other);
    // More than half of the file is missing.
    client.signal(libc::SIGINT);
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(130), "{outcome:?}");
    proof::no_process_stays(&through.scratch);
}

#[test]
fn the_connection_of_the_session_that_hangs_holds_nothing_up() {
    let through = Through::new("through-session-hangs", 16 << 20);
    let client = through.under_way(SOCKET, 3);
    signal(through.session(), libc::SIGSTOP);
    through.goes_on(client);
}

#[test]
fn a_request_for_the_md5_whose_other_side_is_gone_is_made_again_at_once() {
    for body in [SOCKET, PIPES] {
        let through = Through::new("through-md5-gone", 48 << 20);
        let mut client = through.client(body, 1);
        // The hash of a large file follows its bytes, so the request is held until the end.
        let client = Running::start(client.arg("--limit-rate=8M"));
        let begun = Instant::now();
        signal(through.other_connection(), libc::SIGKILL);
        let outcome = client.finish();
        assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(60), "of 120 s of silence");
        through.is_whole();
    }
}

#[test]
fn a_request_for_the_md5_that_hangs_is_made_again_over_another_connection() {
    let through = Through::new("through-md5-hangs", 48 << 20);
    let mut client = through.client(SOCKET, 1);
    let client = Running::start(client.arg("--limit-rate=8M"));
    // The hash of a large file follows its bytes, so the server holds the request.
    proof::hashes(through.session());
    let begun = Instant::now();
    signal(through.other_connection(), libc::SIGSTOP);
    let outcome = client.finish();
    assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    through.is_whole();
}

#[test]
fn one_connection_is_enough_for_an_md5_that_takes_long() {
    let through = Through::new("through-md5-long", 25 << 20);
    let mut client = through.client(&through.counted(PIPES), 1);
    // The server says once or twice that it goes on.
    let outcome = run(client.arg("--limit-rate=1M"));
    assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
    assert_eq!((outcome.err.as_str(), through.count()), ("", 2));
    through.is_whole();
}

/// Over a network that drops everything, in the middle of a fetch, the client ends and leaves no
/// program. `before` runs in each program before the server's.
fn ends_where_nothing_arrives(test: &str, before: &str) {
    let through = Through::new(test, 64 << 20);
    let dropped = through.scratch.path("dropped");
    let hang = "while :; do sleep 1; done";
    let body = format!("[ ! -e {} ] || {{ {hang}; }}\n{before}\n{SOCKET}", dropped.display());
    let mut client = through.client(&through.counted(&body), 3);
    client.args(["--limit-rate=1M", "--verify=crc32c", "--retry-for=1"]);
    let client = through.has_begun(&mut client);
    through.other_connection();
    fs::write(dropped, "").unwrap();
    for pid in through.with_word("--stdio") {
        signal(pid, libc::SIGSTOP);
    }
    let outcome = client.finish();
    outcome.failed(NETWORK, "client", "to continue: ");
    proof::no_process_stays(&through.scratch);
}

#[test]
fn a_network_that_drops_everything_ends_the_client_and_leaves_no_program() {
    ends_where_nothing_arrives("through-silent", "");
}

#[test]
fn a_stream_that_outlives_the_others_for_a_while_does_not_hold_up_the_end() {
    ends_where_nothing_arrives("through-silent-late", "[ $number != 3 ] || sleep 3");
}

#[test]
fn ctrl_z_stops_the_client_and_it_goes_on_afterwards() {
    let through = Through::new("through-ctrl-z", SIZE);
    let client = through.under_way(PIPES, 2);
    client.signal(libc::SIGTSTP);
    wait_until("the stop", || (proof::state(client.pid()) == Some('T')).then_some(()));
    client.signal(libc::SIGCONT);
    through.goes_on(client);
}

#[test]
fn a_disk_that_is_full_here_ends_both_sides() {
    let through = Through::new("through-full", SIZE);
    let client = through.client(PIPES, 2);
    let outcome = run(&mut after("ulimit -f 1000", &client));
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    proof::no_process_stays(&through.scratch);
}
