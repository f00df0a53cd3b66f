//! Where a fetch leaves the file: names, links, descriptors, modes, and outputs that the client
//! refuses.

use crate::support::exit::SYSTEM;
use crate::support::harness::{
    Outcome, Running, Scratch, Server, after, assert_same, content, name, run,
};
use crate::support::namespace::script_in;
use crate::support::peers::classic::ClassicServer;
use crate::support::system::without_privileges;
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
fn a_folder_or_no_output_means_the_file_s_own_name() {
    let scratch = Scratch::new("own-name");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("data");
    scratch.write("data/a file", b"bytes");
    let home = scratch.make_dir("home");
    let folder = scratch.make_dir("home/folder");
    symlink("folder", scratch.path("home/link")).unwrap();
    scratch.write("home/a file", b"an older one, which is replaced");
    for (ofile, output) in [
        (None, home.join("a file")),
        (Some("folder"), folder.join("a file")),
        (Some("folder/"), folder.join("a file")),
        (Some("folder/."), folder.join("a file")),
        (Some("folder/.."), home.join("a file")),
        (Some("."), home.join("a file")),
        (Some(".."), scratch.path("a file")),
        (Some("link"), folder.join("a file")),
    ] {
        let mut client = scratch.program("client");
        client.args([server.address.to_string().as_str(), "2", "data/a file"]).args(ofile);
        run(client.current_dir(&home)).succeeded();
        assert_eq!(fs::read(&output).unwrap(), b"bytes", "{ofile:?}");
        fs::remove_file(output).unwrap();
    }
    assert_eq!(Scratch::names(&folder).len(), 0);
    assert_eq!(Scratch::names(&home), ["folder", "link"]);
}

#[test]
fn a_folder_without_permission_is_an_error() {
    let scratch = Scratch::new("permission");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    let folder = scratch.make_dir("locked");
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    let mut client = scratch.client(server.address, 2, "file", folder.join("out"));
    without_privileges(&mut client);
    run(&mut client).failed(SYSTEM, "client", "locked/out: Permission denied");
    assert_eq!(Scratch::names(&folder).len(), 0);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let scratch = Scratch::new("no-folder");
    let output = scratch.path("missing/out");
    let outcome = run(&mut scratch.client("127.0.0.1:1", 2, "file", output));
    outcome.failed(SYSTEM, "client", "missing/out: No such file or directory");
    for output in ["missing/", "missing/.", "missing/.."] {
        let mut client = scratch.client("127.0.0.1:1", 2, "data/file", output);
        let outcome = run(client.current_dir(scratch.folder()));
        outcome.failed(
            SYSTEM,
            "client",
            &format!("{output}: there is no such folder; make it first"),
        );
    }
    assert_eq!(Scratch::names(scratch.folder()).len(), 0);
}

#[test]
fn an_output_that_is_not_a_regular_file_is_refused_before_any_request() {
    let scratch = Scratch::new("not-regular");
    let server = ClassicServer::bind(&scratch);
    let fifo = scratch.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path("s")).unwrap();
    symlink("/dev/null", scratch.path("link")).unwrap();
    let before = Scratch::names(scratch.folder());
    for (output, words) in [
        (name(b"/dev/null"), "/dev/null: exists and is not a regular file"),
        (name(b"/dev/full"), "/dev/full: exists and is not a regular file"),
        (fifo.as_os_str(), "fifo: exists and is not a regular file"),
        (name(b"s"), "s: exists and is not a regular file"),
        (name(b"link"), "link: exists and is not a regular file"),
        (name(b"new/"), "new/: there is no such folder; make it first"),
        (name(b"new/."), "new/.: there is no such folder; make it first"),
    ] {
        let mut client = scratch.client(server.address(), 2, "file", output);
        let outcome: Outcome = run(client.current_dir(scratch.folder()));
        outcome.failed(SYSTEM, "client", words);
    }
    assert_eq!(Scratch::names(scratch.folder()), before);
    assert!(fs::symlink_metadata("/dev/null").is_ok_and(|null| !null.is_file()));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_refused_before_a_byte_moves() {
    let scratch = Scratch::new("folder-in-place");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    scratch.make_dir("folder");
    scratch.make_dir("folder/file");
    for output in ["folder", "folder/"] {
        let mut client = scratch.client(server.address, 2, "file", output);
        let outcome = run(client.current_dir(scratch.folder()));
        outcome.failed(SYSTEM, "client", "folder/file: Is a directory");
    }
    assert_eq!(Scratch::names(&scratch.path("folder")), ["file"]);
}

#[test]
fn a_link_s_target_is_replaced_and_the_link_stays() {
    let scratch = Scratch::new("link");
    let (server, bytes) = Server::with_file(&scratch, 1 << 20);
    scratch.make_dir("sub");
    scratch.write("sub/target", b"old");
    symlink("sub/target", scratch.path("link")).unwrap();
    run(&mut scratch.client(server.address, 2, "file", scratch.path("link"))).succeeded();
    assert_eq!(fs::read_link(scratch.path("link")).unwrap().to_str(), Some("sub/target"));
    assert_same(&fs::read(scratch.path("sub/target")).unwrap(), &bytes, "the target");
    assert_eq!(Scratch::names(&scratch.path("sub")), ["target"]);
}

fn mode(scratch: &Scratch, name: &str) -> u32 {
    fs::metadata(scratch.path(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_file_s_mode_follows_the_umask() {
    let scratch = Scratch::new("umask");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let client = scratch.client(server.address, 2, "file", scratch.path(umask));
        run(&mut after(&format!("umask {umask}"), &client)).succeeded();
        assert_eq!(mode(&scratch, umask), expected, "umask {umask}");
    }
}

#[test]
fn a_replaced_file_keeps_its_mode() {
    let scratch = Scratch::new("keep-mode");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    for kept in [0o400, 0o640, 0o755] {
        let output = scratch.write("out", b"old");
        fs::set_permissions(&output, Permissions::from_mode(kept)).unwrap();
        let client = scratch.client(server.address, 2, "file", output);
        run(&mut after("umask 077", &client)).succeeded();
        assert_eq!(mode(&scratch, "out"), kept);
        fs::remove_file(scratch.path("out")).unwrap();
    }
}

#[test]
fn a_very_long_output_name_works() {
    // Errors show the name escaped, five times as long.
    let scratch = Scratch::new("long-output");
    let (server, bytes) = Server::with_file(&scratch, 1 << 20);
    let mut folder = std::path::PathBuf::from("x");
    for _ in 0..15 {
        folder = folder.join(name(&[0xff; 250]));
    }
    fs::create_dir_all(scratch.path(&folder)).unwrap();
    let mut client = scratch.client(server.address, 3, "file", folder.join("out"));
    run(client.current_dir(scratch.folder())).succeeded();
    assert_same(&fs::read(scratch.path(&folder).join("out")).unwrap(), &bytes, "the output");
}

#[test]
fn an_output_that_is_a_mount_point_is_refused_at_the_start() {
    let scratch = Scratch::new("bind-mount");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    let client = scratch.client(server.address, 2, "file", folder.join("out"));
    let script = "\"$0\" \"$@\"; echo $?; cat out; ls -A";
    let mount = format!("cd '{}' && echo old >out && mount --bind out out", folder.display());
    let Some(mut command) = script_in("-m", &mount, script, &client) else { return };
    let outcome = run(&mut command);
    let words = "out: cannot be replaced: it is a mount point; choose another output, or '-' and";
    assert!(outcome.err.contains(words), "{outcome:?}");
    assert_eq!(outcome.out, "1\nold\nout\n");
    assert_eq!(server.stop().err, "", "nobody was asked for anything");
}

#[test]
fn an_output_in_a_sticky_folder_of_another_user_is_refused_at_the_start() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("sticky");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    let out = scratch.write("folder/out", b"root's");
    fs::set_permissions(&out, Permissions::from_mode(0o666)).unwrap();
    let mut client = scratch.client(server.address, 2, "file", &out);
    let outcome = run(client.uid(NOBODY.1));
    outcome.failed(SYSTEM, "client", "out: cannot be replaced: Operation not permitted; choose");
    assert_eq!(Scratch::names(&folder), ["out"]);
}

#[test]
fn a_new_file_has_the_permissions_that_touch_gives() {
    let scratch = Scratch::new("default-acl");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let folder = scratch.make_dir("folder");
    let acl = "u::rwx,g::rwx,o::---,u:65534:rwx,m::rwx";
    let mut setfacl = Command::new("setfacl");
    let set = setfacl.args(["-d", "-m", acl]).arg(&folder).stderr(Stdio::null()).status();
    if !set.is_ok_and(|set| set.success()) {
        eprintln!("not tried: setfacl is not there, or the file system has no ACLs");
        return;
    }
    for umask in ["022", "077"] {
        let rights = |name: &str| {
            let path = folder.join(name);
            let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
            let acl = Command::new("getfacl").arg("-cp").arg(path).output().unwrap().stdout;
            (mode, String::from_utf8(acl).unwrap())
        };
        let mut touch = Command::new("touch");
        touch.arg(folder.join("touched"));
        run(&mut after(&format!("umask {umask}"), &touch)).succeeded();
        let client = scratch.client(server.address, 2, "file", folder.join("out"));
        run(&mut after(&format!("umask {umask}"), &client)).succeeded();
        assert_eq!(rights("out"), rights("touched"), "{umask}");
        assert_eq!(rights("out").0, 0o660);
        fs::remove_file(folder.join("out")).unwrap();
    }
}

/// Runs `script` with the client's command line up to OFILE as its arguments.
fn script(scratch: &Scratch, server: &Server, shell: &str, script: &str) -> Option<Running> {
    let client = scratch.client(server.address, 2, "file", "OFILE");
    let arguments = client.get_args().filter(|argument| *argument != "OFILE");
    let mut command = Command::new(shell);
    command.arg("-c").arg(script).arg(client.get_program()).args(arguments);
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).current_dir(scratch.folder());
    if Command::new(shell).args(["-c", ":"]).status().is_err() {
        eprintln!("not tried: no {shell}");
        return None;
    }
    Some(Running::start(&mut command))
}

#[test]
fn names_of_descriptors_are_written_to_at_their_position() {
    let scratch = Scratch::new("descriptors");
    let server = Server::start(&scratch, &[]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    std::os::unix::fs::symlink("/dev/stdout", scratch.path("link")).unwrap();
    let expected = [b"before\n", bytes.as_slice(), b"behind\n"].concat();
    for (ofile, redirection) in
        [("/dev/stdout", ">"), ("/proc/self/fd/1", ">"), ("link", ">"), ("/dev/fd/7", "7>")]
    {
        let number = if redirection == ">" { 1 } else { 7 };
        let text = format!(
            "exec {redirection}log; echo before >&{number}; \"$0\" -q \"$@\" {ofile} || exit; \
             echo behind >&{number}"
        );
        let log: PathBuf = scratch.write("log", b"");
        let before = fs::metadata(&log).unwrap().ino();
        script(&scratch, &server, "sh", &text).unwrap().finish().succeeded();
        assert_eq!(fs::metadata(&log).unwrap().ino(), before, "{ofile}");
        assert_same(&fs::read(&log).unwrap(), &expected, ofile);
    }
    let text = "\"$0\" -q \"$@\" >(cat >copy); code=$?; wait $!; exit $code";
    if let Some(running) = script(&scratch, &server, "bash", text) {
        running.finish().succeeded();
        assert_same(&fs::read(scratch.path("copy")).unwrap(), &bytes, "the copy");
    }
}

#[test]
fn a_descriptor_that_cannot_be_written_to_is_refused() {
    let scratch = Scratch::new("descriptor-read");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let text = "exec 7<file; exec \"$0\" \"$@\" /dev/fd/7";
    let outcome = script(&scratch, &server, "sh", text).unwrap().finish();
    outcome.failed(SYSTEM, "client", "descriptor 7: Bad file descriptor");
    assert_eq!(fs::read(scratch.path("file")).unwrap(), b"bytes");
}
