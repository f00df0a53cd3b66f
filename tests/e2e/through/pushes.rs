//! Pushes through another program: files and folders arrive, and the server writes only where it was
//! told that it may.

use crate::support::exit::{DELETE_REFUSED, REFUSED, SYSTEM, USAGE};
use crate::support::harness::{Outcome, Running, Scratch, assert_same, content, program_path};
use crate::support::harness::{run, wait_until};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::through::{PIPES, SOCKET, Through};
use crate::support::trees;
use ropewalk::codec::wire::Header;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

const SIZE: usize = 5 << 20;

/// Demands success.
#[track_caller]
fn pushes(through: &Through, mut client: Command) -> Outcome {
    let outcome = run(&mut client);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    through.is_whole();
    outcome
}

/// Makes a folder with entries of every kind.
fn fill(scratch: &Scratch) {
    for number in 0..60 {
        let folder = scratch.path(format!("top/d{}/e", number % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{number}")), content(number * 31)).unwrap();
    }
    scratch.write("top/large", &content(3 << 20));
    scratch.make_dir("top/empty");
    symlink("../../d1/e/f1", scratch.path("top/d2/e/link")).unwrap();
    symlink("/etc/hostname", scratch.path("top/absolute")).unwrap();
    symlink("../above", scratch.path("top/out")).unwrap();
    for (name, mode) in [("top/d2/e/f7", 0o777), ("top/d3", 0o777), ("top/d4/e/f4", 0o600)] {
        fs::set_permissions(scratch.path(name), Permissions::from_mode(mode)).unwrap();
    }
}

fn assert_equal(scratch: &Scratch, there: &str) {
    trees::assert_equal(&trees::facts(&scratch.path("top")), &trees::facts(&scratch.path(there)));
}

#[test]
fn a_file_is_pushed_over_any_number_of_connections_of_any_kind() {
    for (body, streams) in
        [(SOCKET, "1"), (SOCKET, "4"), (PIPES, "1"), (PIPES, "3"), (PIPES, "auto")]
    {
        let through = Through::new("through-push", 5_000_001);
        let outcome = pushes(&through, through.pusher(body, streams, "file"));
        assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
        assert_eq!(outcome.err, "");
    }
}

#[test]
fn an_empty_file_and_one_that_is_there_already_are_pushed() {
    let through = Through::new("through-push-empty", 0);
    pushes(&through, through.pusher(PIPES, 2, "file"));
    let outcome = pushes(&through, through.pusher(SOCKET, 2, "file"));
    assert!(outcome.out.contains("is up to date"), "{outcome:?}");
}

#[test]
fn one_login_is_enough_for_a_push_and_its_last_word() {
    for body in [SOCKET, PIPES] {
        let through = Through::new("through-push-one", SIZE);
        let outcome = pushes(&through, through.pusher(&through.counted(body), 1, "file"));
        assert!(outcome.out.contains("md5 ok"), "{outcome:?}");
        assert_eq!(through.count(), 1, "{outcome:?}");
    }
}

#[test]
fn a_push_that_no_further_connection_can_join_goes_over_the_first_one() {
    let denied = "echo 'ann@box: Permission denied (password).' >&2; exit 255";
    let through = Through::new("through-push-password", SIZE);
    let body = format!("case $all in *BatchMode=yes*) {denied};; esac\n{SOCKET}");
    let client = through.pusher_through("ssh", &through.counted(&body), 4, "file", "");
    let outcome = pushes(&through, client);
    assert!(outcome.out.contains("over 1 stream, md5 ok"), "{outcome:?}");
    assert!(through.count() <= 3, "one login and at most two failures");
}

#[test]
fn a_folder_is_pushed_with_modes_and_links_exactly_as_they_are() {
    let through = Through::new("through-push-tree", 0);
    let scratch = &through.scratch;
    fill(scratch);
    let mut client = through.pusher(PIPES, 3, "top");
    client = crate::support::harness::after("umask 077", &client);
    run(&mut client).succeeded();
    assert_equal(scratch, "folder/out");
    fs::write(scratch.path("folder/out/more"), b"x").unwrap();
    fs::remove_file(scratch.path("top/large")).unwrap();
    let outcome = run(through.pusher(SOCKET, 2, "top").args(["--delete", "-v"]));
    assert!(outcome.out.contains("deleted more\n"), "{outcome:?}");
    assert_equal(scratch, "folder/out");
    for number in 0..60 {
        let _ = fs::remove_file(scratch.path(format!("top/d{}/e/f{number}", number % 5)));
    }
    let refused = run(through.pusher(SOCKET, 2, "top").arg("--delete"));
    assert_eq!(refused.status.code(), Some(DELETE_REFUSED), "{refused:?}");
    proof::no_process_stays(scratch);
}

#[test]
fn a_host_and_a_path_in_the_last_place_push_there_and_a_slash_means_a_folder() {
    let through = Through::new("through-push-word", SIZE);
    let scratch = &through.scratch;
    let script = through.script("rsh", SOCKET);
    let mut client = scratch.program("client");
    client.arg("-e").arg(script).arg("--remote-server").arg(program_path("server"));
    client.args(["file", "box:folder/"]).current_dir(scratch.folder());
    run(&mut client).succeeded();
    assert_same(&fs::read(scratch.path("folder/file")).unwrap(), &through.bytes, "the file");
    assert_eq!(Scratch::names(&scratch.path("folder")), ["file"]);
    proof::no_process_stays(scratch);
}

#[test]
fn a_server_that_was_not_told_so_writes_nothing() {
    let through = Through::new("through-push-not", SIZE);
    // A forced command decides for itself.
    let body = "shift $(($# - 2)); [ \"$1 $2\" = '--stdio --push' ] || exit 9; exec";
    let body = format!("{body} {} --stdio", program_path("server").display());
    let outcome = run(&mut through.pusher(&body, 2, "file"));
    outcome.failed(REFUSED, "client", "403 Forbidden: this server only reads");
    assert!(Scratch::names(&through.scratch.path("folder")).is_empty());
    proof::no_process_stays(&through.scratch);
}

#[test]
fn the_root_and_the_writable_folder_of_the_other_side_hold() {
    let through = Through::new("through-push-root", SIZE);
    let scratch = &through.scratch;
    scratch.make_dir("root");
    scratch.make_dir("root/in");
    symlink("../folder", scratch.path("root/leads-out")).unwrap();
    let (root, inside) = (scratch.path("root"), scratch.path("root/in"));
    let options = |more: &str| format!("--root {}{more}", root.display());
    let push = |options: &str, name: &str| {
        let mut client = through.pusher_through("rsh", SOCKET, 2, "file", options);
        client.arg(name);
        run(&mut client)
    };
    for name in ["../folder/out", "leads-out/out", "/none/out"] {
        let outcome = push(&options(""), name);
        assert_eq!(outcome.status.code(), Some(REFUSED), "{name}: {outcome:?}");
    }
    push(&options(""), "/out").succeeded();
    assert_same(&fs::read(root.join("out")).unwrap(), &through.bytes, "the file");
    let writable = options(&format!(" --writable {}", inside.display()));
    push(&writable, "out2").failed(REFUSED, "client", "403 Forbidden: nothing may be written");
    push(&writable, "in/out2").succeeded();
    let small = format!("{writable} --max-upload 1M");
    push(&small, "in/out3").failed(REFUSED, "client", "413");
    assert_eq!(Scratch::names(&root), ["in", "leads-out", "out"]);
    assert_eq!(Scratch::names(&inside), ["out2"]);
    assert!(Scratch::names(&scratch.path("folder")).is_empty());
    proof::no_process_stays(scratch);
}

#[test]
fn options_about_writing_that_mean_nothing_are_refused() {
    let scratch = Scratch::new("through-push-usage");
    for (options, words) in [
        (&["--stdio", "--writable", "."][..], "needs --push"),
        (&["--stdio", "--push", "--writable-by-anyone"], "--stdio"),
        (&["--push", "0"], "needs --stdio"),
    ] {
        run(scratch.program("server").args(options)).failed(USAGE, "server", words);
    }
}

/// A client that pushes slowly, of which something has come.
fn under_way(through: &Through, body: &str, streams: u8) -> Running {
    let mut client = through.pusher(body, streams, "file");
    let client = Running::start(client.args(["--limit-rate=1M"]));
    wait_until("records in the journal", || {
        let names = Scratch::names(&through.scratch.path("folder"));
        let journal =
            names.iter().find(|name| name.to_str().is_some_and(|n| n.ends_with(".journal")))?;
        let found = fs::metadata(through.scratch.path("folder").join(journal)).ok()?;
        (found.len() > 400).then_some(())
    });
    client
}

#[track_caller]
fn resumes(through: &Through) {
    let outcome = pushes(through, through.pusher(PIPES, 2, "file"));
    assert!(outcome.out.contains("resumed"), "{outcome:?}");
}

#[test]
fn nothing_stays_of_a_pushing_client_that_ends_early_and_the_next_one_resumes() {
    for (body, number) in [(SOCKET, libc::SIGKILL), (PIPES, libc::SIGKILL), (PIPES, libc::SIGINT)] {
        let through = Through::new("through-push-killed", SIZE);
        let client = under_way(&through, body, 3);
        client.signal(number);
        let outcome = client.finish();
        if number == libc::SIGINT {
            outcome.failed(130, "client", "to continue: ");
        }
        proof::no_process_stays(&through.scratch);
        resumes(&through);
    }
}

#[test]
fn a_push_goes_on_whichever_process_over_there_is_killed() {
    for body in [SOCKET, PIPES] {
        let through = Through::new("through-push-server", SIZE);
        let client = under_way(&through, body, 3);
        signal(through.session(), libc::SIGKILL);
        through.goes_on(client);
        let through = Through::new("through-push-other", SIZE);
        let client = under_way(&through, body, 3);
        signal(through.other_connection(), libc::SIGKILL);
        through.goes_on(client);
    }
    let through = Through::new("through-push-receiver", SIZE);
    let client = under_way(&through, PIPES, 2);
    signal(through.worker("receiver"), libc::SIGKILL);
    through.goes_on(client);
}

#[test]
fn a_connection_of_a_push_that_hangs_is_replaced_and_does_not_stay() {
    let through = Through::new("through-push-hangs", 16 << 20);
    let client = under_way(&through, SOCKET, 3);
    signal(through.other_connection(), libc::SIGSTOP);
    through.goes_on(client);
}

#[test]
fn a_program_that_hangs_is_ended_while_the_push_goes_on() {
    let through = Through::new("through-push-hangs-ended", 64 << 20);
    let hung = through.scratch.path("hung");
    // The second program says that it has joined. Then come wrong bytes, so its stream is given up
    // at once, and the program stays.
    let said = [Header::Wait.encode().to_vec(), vec![b'x'; 100]].concat();
    let said: String = said.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let hang = "trap '' TERM; while :; do sleep 1; done";
    let stuck = format!("printf '{said}'; echo $$ >{}; {hang}", hung.display());
    let body = through.counted(&format!("[ $number != 2 ] || {{ {stuck}; }}\n{SOCKET}"));
    let client = under_way(&through, &body, 3);
    let pid =
        wait_until("the second program", || fs::read_to_string(&hung).ok()?.trim().parse().ok());
    proof::is_reaped(pid);
    // More than half of the file is missing.
    client.signal(libc::SIGINT);
    client.finish().failed(130, "client", "to continue: ");
    proof::no_process_stays(&through.scratch);
}

#[test]
fn a_disk_that_is_full_over_there_is_told_and_ends_both_sides() {
    let through = Through::new("through-push-full", SIZE);
    let outcome = run(&mut through.pusher(&format!("ulimit -f 1000\n{SOCKET}"), 2, "file"));
    assert_eq!(outcome.status.code(), Some(SYSTEM), "{outcome:?}");
    assert!(outcome.err.contains("File too large") || outcome.err.contains("free space"));
    proof::no_process_stays(&through.scratch);
}
