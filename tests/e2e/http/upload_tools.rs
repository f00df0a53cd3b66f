//! Uploads by the HTTP clients of others, if they are installed.

use crate::support::harness::{Scratch, assert_same, content};
use crate::support::uploads::{Inbox, WRITABLE};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// An inbox that needs a password, and a file to send. `None`, and a message, if the tool is not
/// installed.
fn guarded(tool: &str, test: &str) -> Option<(Inbox, Vec<u8>)> {
    let asked = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().unwrap();
    if !asked.status.success() {
        eprintln!("skipped: {tool} is not installed");
        return None;
    }
    let inbox = Inbox::with(test, |scratch: &Scratch| {
        let users = scratch.write("users", b"ann:sesame\n");
        fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--auth", "users", "--auth-md5", "--max-upload", "20M"]);
        command
    });
    let bytes = content(9_000_001);
    inbox.scratch.write("file", &bytes);
    inbox.scratch.write("small", b"small");
    Some((inbox, bytes))
}

fn command(inbox: &Inbox, tool: &str, arguments: &[&str], target: &str) -> Output {
    let url = format!("http://{}{target}", inbox.server.address);
    let mut command = Command::new(tool);
    command.args(arguments).arg(url).env_remove("http_proxy").env("no_proxy", "*");
    command.current_dir(inbox.scratch.folder()).stdin(fs::File::open("/dev/null").unwrap());
    command.output().unwrap()
}

#[test]
fn curl_sends_a_file_with_a_password() {
    let Some((inbox, bytes)) = guarded("curl", "curl-put") else { return };
    for login in ["--digest", "--anyauth"] {
        for (file, sent) in [("file", &bytes[..]), ("small", b"small")] {
            let sending = ["-fsS", login, "-u", "ann:sesame", "-T", file];
            let ran = command(&inbox, "curl", &sending, "/in/");
            assert!(ran.status.success(), "{login} {file}: {ran:?}");
            assert_same(&inbox.read(file), sent, file);
            fs::remove_file(inbox.folder.join(file)).unwrap();
        }
    }
    let wrong = ["-sS", "--digest", "-u", "ann:wrong", "-T", "file", "-w", "%{http_code}"];
    let ran = command(&inbox, "curl", &wrong, "/in/");
    assert!(String::from_utf8_lossy(&ran.stdout).ends_with("401"), "{ran:?}");
    assert!(inbox.names().is_empty());
}

#[test]
fn curl_shows_why_a_file_is_refused() {
    let Some((inbox, _)) = guarded("curl", "curl-refused") else { return };
    inbox.scratch.sparse("huge", 21 << 20);
    for (file, target, status, words) in [
        ("-", "/in/file", "411", "write it to a file first"),
        ("huge", "/in/file", "413", "larger than this server takes"),
        ("file", "/file", "403", "nothing may be written there"),
        ("file", "/in/none/file", "409", "does not exist"),
    ] {
        let sending = ["-sS", "--digest", "-u", "ann:sesame", "-T", file, "-w", "%{http_code}"];
        let ran = command(&inbox, "curl", &sending, target);
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.ends_with(status) && said.contains(words), "{file} {target}: {ran:?}");
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn wget_sends_a_file_with_a_password() {
    let Some((inbox, bytes)) = guarded("wget", "wget-put") else { return };
    for (file, sent) in [("file", &bytes[..]), ("small", b"small")] {
        let body = format!("--body-file={file}");
        let sending =
            ["-nv", "--tries=1", "--method=PUT", &body, "--user=ann", "--password=sesame", "-O-"];
        let ran = command(&inbox, "wget", &sending, &format!("/in/{file}"));
        assert!(ran.status.success(), "{file}: {ran:?}");
        assert_same(&inbox.read(file), sent, file);
    }
}
