//! Through OpenSSH, with an sshd of the test's own on its own address. Not tried without sshd.

use crate::support::exit::REFUSED;
use crate::support::harness::{MARK, Running, Scratch, assert_same, content, program_path};
use crate::support::harness::{run, wait_until};
use crate::support::path::wait_for_blocks;
use crate::support::proof;
use crate::support::system::{Reserved, reserve, signal};
use crate::support::through::Through;
use crate::support::trees;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const SIZE: usize = 5 << 20;

/// An sshd that lets the user of the test in, with the test's own key.
struct Sshd {
    through: Through,
    /// The command that reaches it.
    command: String,
    port: u16,
    running: Running,
    _port: Reserved,
}

/// Starts one; `None` where there is none, or where it does not run.
fn sshd(test: &str, more: &str) -> Option<Sshd> {
    let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(program) = program else {
        eprintln!("not tried: needs sshd");
        return None;
    };
    // It wants this folder, which its service makes at the start.
    if !Path::new("/run/sshd").is_dir() && fs::create_dir("/run/sshd").is_err() {
        eprintln!("not tried: sshd lacks /run/sshd");
        return None;
    }
    let through = Through::new(test, SIZE);
    let scratch = &through.scratch;
    for key in ["host", "user"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(scratch.path(key))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "ssh-keygen");
    }
    fs::copy(scratch.path("user.pub"), scratch.path("keys")).unwrap();
    let port = reserve(scratch.address(), 0).unwrap();
    let (folder, address) = (scratch.folder().display(), scratch.address());
    // The shell reads no settings of the user's. The key exchange is the cheapest: logins are many.
    let config = format!(
        "ListenAddress {address}\nPort {}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n\
         AuthorizedKeysFile {folder}/keys\nStrictModes no\nPermitRootLogin yes\n\
         KexAlgorithms curve25519-sha256\nSetEnv {MARK}={folder} HOME={folder}\n{more}\n",
        port.address.port()
    );
    let config = scratch.write("sshd.conf", config.as_bytes());
    let test = Command::new(program).args(["-t", "-f"]).arg(&config).output().unwrap();
    if !test.status.success() {
        eprintln!("not tried: {}", String::from_utf8_lossy(&test.stderr).trim());
        return None;
    }
    let mut command = scratch.command(Path::new(program));
    let mut running = Running::start(command.args(["-D", "-e", "-f"]).arg(config));
    while !running.next_error_line().contains("listening on") {}
    let command = format!(
        "ssh -F none -p {} -i {folder}/user -o IdentitiesOnly=yes \
         -o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=accept-new",
        port.address.port()
    );
    Some(Sshd { through, command, port: port.address.port(), running, _port: port })
}

impl Sshd {
    fn client(&self, streams: &str, server: &Path) -> Command {
        let scratch = &self.through.scratch;
        let mut client = scratch.program("client");
        client.arg("-e").arg(&self.command).arg("--remote-server").arg(server);
        client.arg(scratch.address().to_string()).arg(streams).arg(scratch.path("file"));
        client.arg(self.through.output()).arg("--progress=none");
        client
    }

    /// A client with these words in place of those of a fetch.
    fn client_with(&self, command: &str, words: &[&str]) -> Command {
        let scratch = &self.through.scratch;
        let mut client = scratch.program("client");
        client.arg("-e").arg(command).arg("--remote-server").arg(self.through.server_path());
        client.arg("--progress=none").args(words).current_dir(scratch.folder());
        client
    }

    /// Lets the test's key run this command only.
    fn force(&self, command: &str) {
        let scratch = &self.through.scratch;
        let key = fs::read_to_string(scratch.path("user.pub")).unwrap();
        let line = format!("restrict,command=\"{command}\" {key}");
        scratch.write("keys", line.as_bytes());
    }

    /// Demands that nothing stays once sshd has ended.
    fn ends(self) {
        self.running.signal(libc::SIGTERM);
        self.running.finish();
        proof::no_process_stays(&self.through.scratch);
    }

    /// Demands that the file comes, and that nothing stays once sshd has ended.
    fn fetches(self, mut client: Command) -> String {
        let outcome = run(&mut client);
        assert!(outcome.status.success(), "{outcome:?}");
        self.running.signal(libc::SIGTERM);
        self.running.finish();
        self.through.is_whole();
        outcome.out
    }
}

#[test]
fn a_file_arrives_through_ssh() {
    let Some(sshd) = sshd("sshd-file", "") else { return };
    let client = sshd.client("4", &program_path("server"));
    assert!(sshd.fetches(client).contains("md5 ok"));
}

#[test]
fn an_sshd_that_drops_logins_by_chance_or_always_gets_them_again() {
    for (starts, streams) in [("2:50:4", "6"), ("2", "6"), ("10:30:100", "12")] {
        let more = format!("MaxStartups {starts}");
        let Some(sshd) = sshd("sshd-drops", &more) else { return };
        let client = sshd.client(streams, &program_path("server"));
        sshd.fetches(client);
    }
}

#[test]
fn folders_and_pushes_go_through_ssh() {
    let Some(sshd) = sshd("sshd-push", "") else { return };
    let scratch = &sshd.through.scratch;
    scratch.make_dir("top");
    for number in 0..50 {
        scratch.write(format!("top/f{number}"), &content(number * 100));
    }
    let host = scratch.address().to_string();
    let there = |name: &str| format!("{host}:{}", scratch.path(name).display());
    let push = |file: &str, name: &str| {
        run(&mut sshd.client_with(&sshd.command, &[file, &there(name)])).succeeded();
    };
    push("top", "folder/top");
    run(&mut sshd.client_with(&sshd.command, &[&there("folder/top"), "back"])).succeeded();
    for name in ["folder/top", "back"] {
        trees::assert_equal(
            &trees::facts(&scratch.path("top")),
            &trees::facts(&scratch.path(name)),
        );
    }
    push("file", "folder/");
    assert_same(&fs::read(scratch.path("folder/file")).unwrap(), &sshd.through.bytes, "the file");
    sshd.ends();
}

#[test]
fn a_forced_command_that_reads_one_folder_does_nothing_else() {
    let Some(sshd) = sshd("sshd-forced", "") else { return };
    let scratch = &sshd.through.scratch;
    scratch.make_dir("root");
    scratch.write("root/inside", &content(100_000));
    let root = scratch.path("root").display().to_string();
    let server = program_path("server").display().to_string();
    sshd.force(&format!("{server} --stdio --root {root}"));
    let host = scratch.address().to_string();
    let client = |words: &[&str]| run(&mut sshd.client_with(&sshd.command, words));
    client(&[&format!("{host}:inside"), "folder/"]).succeeded();
    for name in ["../file", "/etc/hostname"] {
        let outcome = client(&[&format!("{host}:{name}"), "folder/other"]);
        outcome.failed(REFUSED, "client", "404");
    }
    client(&["file", &format!("{host}:new")]).failed(REFUSED, "client", "this server only reads");
    sshd.force(&format!("{server} --stdio --push --root {root}"));
    client(&["file", &format!("{host}:../new")]).failed(REFUSED, "client", "403");
    client(&["file", &format!("{host}:new")]).succeeded();
    assert_eq!(Scratch::names(&scratch.path("root")), ["inside", "new"]);
    assert_eq!(Scratch::names(&scratch.path("folder")), ["inside"]);
    sshd.ends();
}

#[test]
fn a_login_that_ssh_refuses_is_told_in_its_words_and_not_repeated() {
    let Some(sshd) = sshd("sshd-refuses", "PasswordAuthentication no") else { return };
    let scratch = &sshd.through.scratch;
    let file = format!("{}:{}", scratch.address(), scratch.path("file").display());
    let unknown = sshd.command.replace("accept-new", "yes") + " -o BatchMode=yes";
    let outcome = run(&mut sshd.client_with(&unknown, &["-q", &file, "out"]));
    outcome.failed(REFUSED, "client", "Host key verification failed");
    let key = scratch.path("user").display().to_string();
    let stranger = sshd.command.replace(&key, &scratch.path("host").display().to_string());
    let outcome = run(&mut sshd.client_with(&stranger, &["-q", &file, "out"]));
    outcome.failed(REFUSED, "client", "Permission denied");
    sshd.ends();
}

#[test]
fn a_wrong_password_is_told_with_its_login_and_ends_everything() {
    let more = "PubkeyAuthentication no\nPasswordAuthentication yes\nPermitEmptyPasswords no";
    let Some(sshd) = sshd("sshd-password", more) else { return };
    let scratch = &sshd.through.scratch;
    let asked = scratch.path("asked");
    // Who knows the password of the test's user? Nobody, so any is wrong.
    let ask = format!("#!/bin/sh\necho \"$1\" >>{}\necho wrong\n", asked.display());
    let ask = scratch.write("ask", ask.as_bytes());
    fs::set_permissions(&ask, Permissions::from_mode(0o755)).unwrap();
    let file = format!("{}:{}", scratch.address(), scratch.path("file").display());
    let login = |push: bool| {
        let words = if push { ["file", &file] } else { [file.as_str(), "folder/out"] };
        let mut client = sshd.client_with(&sshd.command, &words);
        client.arg("-q").env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force");
        let outcome = run(&mut client);
        outcome.failed(REFUSED, "client", "ssh could not connect");
        outcome.failed(REFUSED, "client", &format!("@{}: Permission denied", scratch.address()));
    };
    login(false);
    let once = fs::read_to_string(&asked).unwrap();
    assert!(once.lines().all(|line| line.ends_with("'s password: ")), "{once}");
    login(true);
    // ssh asks as often as its user wants, and no other child asks again.
    let twice = fs::read_to_string(&asked).unwrap();
    assert_eq!(twice.lines().count(), 2 * once.lines().count());
    assert!(Scratch::names(&scratch.path("folder")).is_empty());
    sshd.ends();
}

#[test]
fn what_sshd_loses_is_made_again() {
    for (first, push) in [(true, false), (false, false), (true, true), (false, true)] {
        let Some(sshd) = sshd("sshd-loses", "") else { return };
        let (file, host) = (sshd.through.scratch.path("file"), sshd.through.scratch.address());
        let (file, host) = (file.display().to_string(), host.to_string());
        let out = sshd.through.output().display().to_string();
        let words = ["--limit-rate=1M", &host, "3", &file, &out];
        let words = if push { [&["--push"], &words[..]].concat() } else { words.to_vec() };
        let mut client = sshd.client_with(&sshd.command, &words);
        let client = Running::start(&mut client);
        // Nothing comes to its end while the other logins take their time.
        let worker = sshd.through.worker(if push { "receiver" } else { "sender" });
        signal(worker, libc::SIGSTOP);
        let session = sshd.through.session();
        let other = sshd.through.other_connection();
        // The server's parent is a shell or sshd's own child.
        signal(parent_sshd(if first { session } else { other }), libc::SIGKILL);
        if !first {
            signal(worker, libc::SIGCONT); // else it ends with its session
        }
        let outcome = client.finish();
        assert_eq!(outcome.status.code(), Some(0), "{first} {push}: {outcome:?}");
        let got = fs::read(sshd.through.output()).unwrap();
        assert_same(&got, &sshd.through.bytes, "the file");
        sshd.ends();
    }
}

/// The nearest process above `pid` that is an sshd.
fn parent_sshd(mut pid: u32) -> u32 {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
        pid = parent.parse().unwrap();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        if name.starts_with("sshd") {
            return pid;
        }
    }
}

#[test]
fn dropbear_s_client_reaches_the_server_too() {
    let Some(sshd) = sshd("sshd-dbclient", "") else { return };
    let scratch = &sshd.through.scratch;
    let made = Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f"])
        .arg(scratch.path("dropbear"))
        .output();
    let Ok(made) = made else {
        eprintln!("not tried: needs dropbear");
        return;
    };
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let key = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    scratch.write("keys", format!("{key}\n").as_bytes());
    let key = scratch.path("dropbear").display().to_string();
    let command = format!("dbclient -y -y -T -p {} -i {key}", sshd.port);
    let host = scratch.address().to_string();
    let file = scratch.path("file").display().to_string();
    let out = sshd.through.output().display().to_string();
    run(&mut sshd.client_with(&command, &[&host, "3", &file, &out])).succeeded();
    let pushed = scratch.path("folder/pushed").display().to_string();
    run(&mut sshd.client_with(&command, &["--push", &host, "3", &file, &pushed])).succeeded();
    for path in [&out, &pushed] {
        assert_same(&fs::read(path).unwrap(), &sshd.through.bytes, "the file");
    }
    sshd.ends();
}

#[test]
fn nothing_stays_on_the_other_side_of_a_client_that_is_killed() {
    let Some(sshd) = sshd("sshd-killed", "") else { return };
    let mut client = sshd.client("3", &program_path("server"));
    let client = Running::start(client.args(["--limit-rate=1M", "--verify=crc32c"]));
    wait_for_blocks(&sshd.through.scratch.path("folder/out.part.journal"), 2);
    client.signal(libc::SIGKILL);
    client.finish();
    wait_until("the end of the other side", || {
        sshd.through.with_word("--stdio").is_empty().then_some(())
    });
    let client = sshd.client("2", &program_path("server"));
    assert!(sshd.fetches(client).contains("resumed"));
}

#[test]
fn a_program_that_is_missing_on_the_other_side_is_named() {
    let Some(sshd) = sshd("sshd-missing", "") else { return };
    let mut client = sshd.client("2", Path::new("/no/such/server"));
    run(client.arg("-q")).failed(REFUSED, "client", "/no/such/server cannot be run there");
    sshd.running.signal(libc::SIGTERM);
    sshd.running.finish();
    proof::no_process_stays(&sshd.through.scratch);
}
