//! `--root`: the server serves nothing outside of the root, by any method and in any spelling. A
//! stranger cannot tell outside files from missing ones.

use crate::support::harness::{Outcome, Running, Scratch, Server, run};
use crate::support::http::{Http, Reply, reply};
use crate::support::peers::classic::request;
use crate::support::system::without_privileges;
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A folder with files, links and a secret beside it, and a server of that folder.
fn rooted(test: &str) -> (Scratch, Server) {
    rooted_with(test, &[])
}

fn rooted_with(test: &str, options: &[&str]) -> (Scratch, Server) {
    let scratch = Scratch::new(test);
    let root = scratch.make_dir("root");
    scratch.make_dir("root/sub");
    scratch.write("root/file", b"inside");
    scratch.write("root/sub/file", b"inside");
    scratch.write("root/closed", b"closed");
    fs::set_permissions(root.join("closed"), Permissions::from_mode(0o000)).unwrap();
    let secret = scratch.write("secret", b"secret");
    symlink("../file", root.join("sub/link")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink(&secret, root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let mut command = scratch.program("server");
    command.args(["--root", "root"]).args(options).current_dir(scratch.folder());
    without_privileges(&mut command);
    let server = Server::start_command(&scratch, command);
    (scratch, server)
}

/// Asks for the same name in every way: GET, HEAD, both kinds of POST.
fn every_way(server: &Server, name: &[u8]) -> [Reply; 4] {
    let plain = |method: &str| {
        let rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut http = Http::connect(server.address);
        http.send([method.as_bytes(), b" ", name, rest].concat());
        http
    };
    let fields = b" HTTP/1.1\r\nContent-Length: 28\r\n\r\n{\"threads\": 1,\"protocol\": 2}";
    let pulled = [b"POST ", name, fields].concat();
    let head = {
        let mut http = plain("HEAD");
        let head = http.head();
        assert!(http.is_closed(), "HEAD brings no body");
        head
    };
    [plain("GET").receive(), head, reply(server, request(name, 1)).0, reply(server, pulled).0]
}

#[test]
fn files_of_the_folder_are_served_under_relative_and_absolute_names() {
    let (scratch, server) = rooted("root-inside");
    for name in ["file", "/file", "//file", "/./sub/../file", "sub//file", "/sub/link"] {
        for reply in every_way(&server, name.as_bytes()) {
            assert_eq!(reply.status, 200, "{name}: {reply:?}");
        }
    }
    for (name, verify) in [("file", "md5"), ("/sub/link", "none")] {
        let output = scratch.path("output");
        let mut client = scratch.client(server.address, 3, name, &output);
        run(client.args(["--verify", verify])).succeeded();
        assert_eq!(fs::read(output).unwrap(), b"inside", "{name}");
    }
}

#[test]
fn files_outside_of_root_look_like_missing_files() {
    let (scratch, server) = rooted("root-outside");
    let here = ["sub", "/", "."].map(|name| name.as_bytes().to_vec());
    assert_hidden(&scratch, &server, &here);
}

#[test]
fn with_an_index_files_outside_of_root_look_like_missing_files_too() {
    let (scratch, server) = rooted_with("root-index-outside", &["--index"]);
    assert_hidden(&scratch, &server, &[]);
}

/// Demands that the server answers the same for each of these names, for outside and unreadable
/// files, and for a missing one.
#[track_caller]
fn assert_hidden(scratch: &Scratch, server: &Server, more: &[Vec<u8>]) {
    let closed = scratch.make_dir("root/closed-folder");
    fs::set_permissions(closed, Permissions::from_mode(0o311)).unwrap();
    let secret = scratch.path("secret");
    let mut names: Vec<Vec<u8>> = [
        "../secret",
        "/../secret",
        "//../secret",
        "sub/../../secret",
        "/./../secret",
        "..//secret",
        "/sub/.././../secret",
        "%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "..%2fsecret",
        "/%252e%252e/secret",
        "..\\secret",
        "http://host/../secret",
        "out",
        "absolute",
        "up/secret",
        "magic/etc/passwd",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/etc/passwd",
        "/dev/null",
        "closed",
        "closed-folder",
        "closed-folder/",
        "/closed-folder/.",
        "nothing/",
        "loop",
        "file/",
        "file/../file",
        "root/file",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    names.extend_from_slice(more);
    names.push(secret.as_os_str().as_encoded_bytes().to_vec());
    names.push([b"/", "../".repeat(20).as_bytes(), b"etc/passwd"].concat());
    let expected = every_way(server, b"nothing").map(|reply| shown(&reply));
    for name in names {
        let got = every_way(server, &name).map(|reply| shown(&reply));
        assert_eq!(got, expected, "{}", name.escape_ascii());
    }
}

/// A reply without the parts that differ in every reply.
fn shown(reply: &Reply) -> (u16, Vec<String>, Vec<u8>) {
    let lines = reply.head.lines().filter(|line| !line.starts_with("Date:"));
    (reply.status, lines.map(str::to_string).collect(), reply.body.clone())
}

#[test]
fn an_index_shows_what_is_served_and_nothing_else() {
    let (scratch, server) = rooted_with("root-index", &["--index"]);
    let closed = scratch.make_dir("root/closed-folder");
    fs::set_permissions(closed, Permissions::from_mode(0o311)).unwrap();
    assert!(Command::new("mkfifo").arg(scratch.path("root/fifo")).status().unwrap().success());
    let listed = |folder: &str| {
        let mut http = Http::connect(server.address);
        let fields = "Accept: application/json\r\nConnection: close";
        http.send(format!("GET {folder} HTTP/1.1\r\n{fields}\r\n\r\n"));
        let reply = http.receive();
        let paths = reply.text().split("\"path\":\"").skip(1);
        paths.map(|text| text.split('"').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed("/"), ["sub/", "file"]);
    for folder in ["/sub/", "/sub/../sub/"] {
        assert_eq!(listed(folder), ["file", "link"], "{folder}");
    }
    for outside in ["/up/", "/../", "/magic/", "/closed-folder/", "/etc/", "/fifo/", "/file/"] {
        assert!(listed(outside).is_empty(), "{outside}");
    }
}

#[test]
fn an_invalid_root_is_an_error_at_the_start() {
    let scratch = Scratch::new("root-none");
    scratch.write("file", b"bytes");
    for (root, words) in [("none", "No such file"), ("file", "Not a directory")] {
        let mut server = scratch.program("server");
        server.args(["--root", root, "0"]).current_dir(scratch.folder());
        run(&mut server).failed(1, "server", words);
    }
}

#[test]
fn the_server_warns_once_without_root_and_not_at_all_with_root_or_q() {
    let scratch = Scratch::new("root-warning");
    let users = scratch.write("users", b"ann:sesame\n");
    fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
    let start = |options: &[&str]| -> Outcome {
        let mut command = scratch.program("server");
        command.args(options).args(["--bind", &scratch.address().to_string(), "0"]);
        let mut server = Running::start(command.current_dir(scratch.folder()));
        server.next_line();
        server.signal(libc::SIGTERM);
        server.finish()
    };
    let warned = start(&[]).err;
    assert_eq!(warned.lines().count(), 1, "{warned}");
    for word in ["--root", "--bind", "--auth"] {
        assert!(warned.contains(word), "{warned}");
    }
    assert_eq!(start(&["-q"]).err, "");
    assert_eq!(start(&["--root", "."]).err, "");
    let guarded = start(&["--auth", "users"]).err;
    assert_eq!(guarded.lines().count(), 1, "{guarded}");
    assert!(guarded.contains("every user of --auth"), "{guarded}");
    assert!(!guarded.contains("everybody who can connect"), "{guarded}");
    assert_eq!(start(&["-q", "--auth", "users"]).err, "");
}

#[test]
fn the_warning_is_stronger_for_the_root_user_only() {
    let scratch = Scratch::new("root-louder");
    let warning = |user: Option<u32>| {
        let mut command = scratch.program("server");
        command.args(["--bind", &scratch.address().to_string(), "0"]);
        command.current_dir(scratch.folder());
        user.map(|user| command.uid(user));
        let mut server = Running::start(&mut command);
        server.next_line();
        server.signal(libc::SIGTERM);
        server.finish().err
    };
    let is_loud = |line: String| {
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_ne!(line.contains(" EVERY file "), line.contains(" every file "), "{line}");
        assert_eq!(line.contains(" EVERY file "), line.contains(" as root "), "{line}");
        line.contains(" EVERY file ")
    };
    // The owner of a new file is the user that runs the tests.
    let is_root = fs::metadata(scratch.folder()).unwrap().uid() == 0;
    assert_eq!(is_loud(warning(None)), is_root);
    if !can_be_tried() {
        return;
    }
    assert!(!is_loud(warning(Some(NOBODY.1))));
}
