//! Programs without the system calls that are newer than Linux 3.10. Each call has its fallback, so
//! the same files arrive in the same ways.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, run};
use crate::support::http::{Http, reply};
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::{ClassicServer, fetch, md5, seed_reply};
use crate::support::proof;
use crate::support::system::on_an_old_kernel;
use crate::support::uploads::{Inbox, WRITABLE};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A server on the old kernel.
fn old_server(scratch: &Scratch, options: &[&str]) -> Server {
    let mut command = scratch.program("server");
    command.args(options).current_dir(scratch.folder());
    on_an_old_kernel(&mut command);
    Server::start_command(scratch, command)
}

/// The same program, on the old kernel.
fn old(mut command: Command) -> Command {
    on_an_old_kernel(&mut command);
    command
}

#[test]
fn the_programs_miss_the_calls_that_the_kernel_lacks() {
    let scratch = Scratch::new("old-missed");
    let mut server = old_server(&scratch, &["-v"]);
    scratch.write("file", b"bytes");
    run(&mut old(scratch.client(server.address, 1, "file", scratch.path("out")))).succeeded();
    let line = server.next_log_line();
    assert!(line.contains("no file system (Landlock): not supported"), "{line}");
    assert!(line.contains("system calls (seccomp): applied"), "{line}");
}

#[test]
fn files_arrive_with_every_check_and_with_none() {
    let scratch = Scratch::new("old-pulled");
    let server = old_server(&scratch, &[]);
    let bytes = content((5 << 20) + 17);
    scratch.write("file", &bytes);
    for (streams, verify) in [(1, "md5"), (4, "md5"), (4, "crc32c"), (16, "none"), (255, "md5")] {
        let output = scratch.path("out");
        let mut client = scratch.client(server.address, streams, "file", &output);
        client.args(["--verify", verify]);
        run(&mut old(client)).succeeded();
        assert_same(&fs::read(&output).unwrap(), &bytes, verify);
    }
    server.stop().succeeded();
    proof::nothing_stays(&scratch);
}

#[test]
fn an_upload_gets_its_name_and_no_name_leads_outside() {
    let inbox = Inbox::with("old-put", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).arg("--writable-by-anyone");
        on_an_old_kernel(&mut command);
        command
    });
    symlink("..", inbox.folder.join("up")).unwrap();
    let bytes = content(3_000_001);
    for (target, fields, status) in [
        ("/in/file", &["If-None-Match: *"][..], 201),
        ("/in/file", &["If-None-Match: *"], 412),
        ("/in/./file", &[], 204),
        ("/in/up/file", &[], 403),
        ("/in/../file", &[], 403),
    ] {
        assert_eq!(inbox.put(target, fields, &bytes).status, status, "{target} {fields:?}");
    }
    assert_same(&inbox.read("file"), &bytes, "the file");
    assert_eq!(Scratch::names(&inbox.scratch.path("root")), ["in"]);
}

#[test]
fn a_classic_client_is_served() {
    let scratch = Scratch::new("old-classic-client");
    let server = old_server(&scratch, &[]);
    let bytes = content(300_001);
    scratch.write("file", &bytes);
    assert_same(&fetch(server.address, "file", &[2, 0, 3, 1]), &bytes, "the blocks");
}

#[test]
fn a_classic_server_s_file_is_fetched() {
    let scratch = Scratch::new("old-classic-server");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(300_001);
    let client = old(scratch.client(server.address(), 4, "file", scratch.path("out")));
    let client = Running::start(&mut { client });
    let (hash, port) = (md5(&bytes), server.data_port());
    server.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")));
    server.send(&bytes, 4);
    client.finish().succeeded();
    assert_same(&fs::read(scratch.path("out")).unwrap(), &bytes, "the output");
}

#[test]
fn a_killed_transfer_resumes() {
    let (gate, faults) = Gate::after(20);
    let path = Path::new("old-resume", (40 << 17) + 7, faults);
    let client = path.begin(&gate, 20, old(path.client(1)));
    client.signal(libc::SIGKILL);
    client.finish();
    gate.open();
    let said = run(&mut old(path.client(4))).succeeded();
    assert!(said.contains(", resumed at "), "{said}");
    path.is_whole();
}

#[test]
fn holes_stay_holes() {
    let scratch = Scratch::new("old-holes");
    let server = old_server(&scratch, &[]);
    let file = scratch.sparse("file", 200 << 20);
    let output = scratch.path("out");
    run(&mut old(scratch.client(server.address, 4, &file, &output))).succeeded();
    let stored = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&output).unwrap()) * 512;
    assert!(stored < 1 << 20, "{stored} bytes are stored");
}

#[test]
fn a_folder_arrives_and_is_brought_up_to_date() {
    let scratch = Scratch::new("old-tree");
    let server = old_server(&scratch, &[]);
    let (top, out) = (scratch.make_dir("top"), scratch.path("out"));
    scratch.make_dir("top/sub");
    let large = content(3 << 20);
    scratch.write("top/sub/large", &large);
    (0..100).for_each(|number| drop(scratch.write(format!("top/{number}"), b"bytes")));
    std::os::unix::fs::symlink("sub/large", top.join("link")).unwrap();
    fs::hard_link(top.join("1"), top.join("one")).unwrap();
    let fetch = |options: &[&str]| {
        let mut client = scratch.client(server.address, 4, "top", &out);
        client.args(options);
        run(&mut old(client)).succeeded()
    };
    fetch(&["-H"]);
    assert_eq!(Scratch::names(&out), Scratch::names(&top));
    assert_same(&fs::read(out.join("link")).unwrap(), &large, "the file behind the link");
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(out.join(name)).unwrap());
    assert_eq!(inode("1"), inode("one"));
    // A file that changes, one that goes, and a folder that comes in the place of a link.
    scratch.write("top/2", b"other");
    for name in ["3", "link"] {
        fs::remove_file(top.join(name)).unwrap();
    }
    scratch.make_dir("top/link");
    fetch(&["-H", "--delete"]);
    assert_eq!(Scratch::names(&out), Scratch::names(&top));
    assert_eq!(fs::read(out.join("2")).unwrap(), b"other");
    assert!(fs::symlink_metadata(out.join("link")).unwrap().is_dir());
}

#[test]
fn the_files_of_root_are_served_and_files_outside_are_not() {
    let scratch = Scratch::new("old-root");
    let root = scratch.make_dir("root");
    scratch.make_dir("root/sub");
    scratch.write("root/file", b"inside");
    scratch.write("secret", b"secret");
    std::os::unix::fs::symlink("../file", root.join("sub/link")).unwrap();
    std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
    let server = old_server(&scratch, &["--root", "root"]);
    for name in ["file", "/sub/../file", "sub/link"] {
        assert_eq!(fetch(server.address, name, &[0]), b"inside", "{name}");
    }
    for name in ["/../secret", "/out", "/sub/../../secret", "/none"] {
        let (reply, _) = reply(&server, format!("GET {name} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(reply.status, 404, "{name}");
    }
}

#[test]
fn a_folder_is_shown() {
    let scratch = Scratch::new("old-index");
    let root = scratch.make_dir("root");
    scratch.make_dir("root/sub");
    scratch.write("root/file", b"four");
    std::os::unix::fs::symlink("../../secret", root.join("sub/out")).unwrap();
    std::os::unix::fs::symlink("../file", root.join("sub/link")).unwrap();
    let server = old_server(&scratch, &["--root", "root", "--index"]);
    let mut http = Http::connect(server.address);
    for (folder, names) in [("/", "sub/ file"), ("/sub/", "link")] {
        http.send(format!("GET {folder} HTTP/1.1\r\nAccept: application/json\r\n\r\n"));
        let reply = http.receive();
        let paths = reply.text().split("\"path\":\"").skip(1);
        let paths: Vec<&str> = paths.map(|text| text.split('"').next().unwrap()).collect();
        assert_eq!((reply.status, paths.join(" ").as_str()), (200, names), "{folder}");
    }
}

#[test]
fn get_and_head_give_the_file_and_its_length() {
    let scratch = Scratch::new("old-http");
    let server = old_server(&scratch, &["--root", "."]);
    scratch.write("file", "text\n".repeat(100_000).as_bytes());
    let mut http = Http::connect(server.address);
    http.send("GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = http.receive();
    assert_eq!((reply.status, reply.text()), (200, "text\n".repeat(100_000).as_str()));
    http.send("HEAD /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let head = String::from_utf8(crate::support::socket::read_all(http.stream)).unwrap();
    assert!(head.contains("\r\nContent-Length: 500000\r\n"), "{head}");
}

#[test]
fn the_client_proves_its_password() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("old-auth");
    let passwords = scratch.write("passwords", b"me:secret\n");
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    scratch.write("file", b"bytes");
    let server = old_server(&scratch, &["--auth", "passwords"]);
    let mut client = old(scratch.client(server.address, 2, "file", scratch.path("out")));
    run(client.arg("--auth").arg(passwords)).succeeded();
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
}
