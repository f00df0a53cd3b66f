//! Logins that are refused, fail, or ask a person: how many there are, and what is fetched all the
//! same. The program calls itself ssh.

use crate::support::exit::{NETWORK, REFUSED};
use crate::support::harness::run;
use crate::support::proof;
use crate::support::pty::Pty;
use crate::support::system::in_front_of;
use crate::support::through::{PIPES, SOCKET, Through};
use std::process::Command;

const SIZE: usize = 2_000_000;

const DENIED: &str = "echo 'ann@box: Permission denied (publickey,password).' >&2; exit 255";

const DROPPED: &str =
    "echo 'kex_exchange_identification: Connection closed by remote host' >&2; exit 255";

#[test]
fn connections_that_the_other_side_drops_for_now_are_made_again() {
    let through = Through::new("through-dropped", SIZE);
    let body = format!("[ $number != 2 ] || {{ {DROPPED}; }}\n{PIPES}");
    let body = through.counted(&body);
    let client = through.client_through("ssh", &body, 2, "--limit-rate 500K");
    let outcome = through.fetches(client);
    assert!(outcome.out.contains("over 2 streams"), "{outcome:?}");
}

#[test]
fn a_login_that_only_a_person_can_repeat_brings_the_file_over_one_connection() {
    let through = Through::new("through-password", SIZE);
    let body = format!("case $all in *BatchMode=yes*) {DENIED};; esac\n{SOCKET}");
    let body = through.counted(&body);
    let outcome = through.fetches(through.client_through("ssh", &body, 4, ""));
    assert!(outcome.out.contains("over 1 stream"), "{outcome:?}");
    assert!(outcome.err.contains("no further connections"), "{outcome:?}");
    assert!(outcome.err.contains("the server gave no MD5"), "{outcome:?}");
    assert!(through.count() <= 3, "one login and at most two failures");
}

#[test]
fn a_first_login_that_fails_is_not_repeated() {
    let through = Through::new("through-denied", SIZE);
    let mut client = through.client_through("ssh", &through.counted(DENIED), 4, "");
    let outcome = run(client.arg("-q"));
    outcome.failed(REFUSED, "client", "Permission denied");
    assert_eq!(through.count(), 1);
    let mut client = through.client_through("ssh", &through.counted(DROPPED), 4, "");
    run(client.arg("-q")).failed(NETWORK, "client", "ssh could not connect");
    assert_eq!(through.count(), 2);
}

#[test]
fn a_server_that_no_connection_can_join_is_left_with_one_stream() {
    let through = Through::new("through-apart", SIZE);
    // As if each login got a container of its own.
    if !Command::new("unshare").args(["-rn", "true"]).status().is_ok_and(|code| code.success()) {
        eprintln!("not tried: needs unshare(1) and network namespaces");
        return;
    }
    let body = through.counted(&format!("set -- unshare -rn \"$@\"\n{SOCKET}"));
    let client = through.client_through("rsh", &body, 4, "--limit-rate 1M");
    let outcome = through.fetches(client);
    assert!(outcome.out.contains("over 1 stream, md5 ok"), "{outcome:?}");
    assert!(through.count() <= 5, "two joins in vain, or a few more at the same time");
}

#[test]
fn the_first_connection_may_ask_for_a_password_at_the_terminal() {
    let through = Through::new("through-terminal", SIZE);
    let ask = "printf 'password: ' >/dev/tty; read word </dev/tty; [ \"$word\" = sesame ]";
    let body = format!("case $all in *BatchMode*) ;; *) {ask} || exit 255;; esac\n{SOCKET}");
    let mut client = through.client_through("ssh", &body, 2, "");
    in_front_of(&mut client);
    let mut pty = Pty::start(client, 80);
    pty.wait_for(0, |written| written.contains("password: "));
    pty.type_in("sesame\n");
    let (status, written) = pty.finish();
    assert_eq!(status.code(), Some(0), "{written:?}");
    through.is_whole();
}

#[test]
fn ctrl_c_at_the_password_ends_everything() {
    let through = Through::new("through-terminal-c", SIZE);
    let ask = "printf 'password: ' >/dev/tty; read word </dev/tty";
    let mut client = through.client_through("ssh", &format!("{ask}\n{SOCKET}"), 2, "");
    in_front_of(&mut client);
    let mut pty = Pty::start(client, 80);
    pty.wait_for(0, |written| written.contains("password: "));
    pty.type_in("\x03");
    let (status, written) = pty.finish();
    assert_eq!(status.code(), Some(130), "{written:?}");
    proof::no_process_stays(&through.scratch);
}
