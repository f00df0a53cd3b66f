//! Through OpenSSH, with an sshd of the test's own on its own address. Not tried without sshd.

use crate::support::exit::REFUSED;
use crate::support::harness::program_path;
use crate::support::harness::{MARK, Running, run, wait_until};
use crate::support::proof;
use crate::support::system::{Reserved, reserve};
use crate::support::through::Through;
use std::fs;
use std::path::Path;
use std::process::Command;

const SIZE: usize = 5 << 20;

/// An sshd that lets the user of the test in, with the test's own key.
struct Sshd {
    through: Through,
    /// The command that reaches it.
    command: String,
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
    let config = format!(
        "ListenAddress {address}\nPort {}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n\
         AuthorizedKeysFile {folder}/keys\nStrictModes no\nPermitRootLogin yes\n\
         SetEnv {MARK}={folder}\n{more}\n",
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
    Some(Sshd { through, command, running, _port: port })
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
fn an_sshd_that_drops_logins_by_chance_gets_them_again() {
    let Some(sshd) = sshd("sshd-drops", "MaxStartups 2:50:4") else { return };
    let client = sshd.client("6", &program_path("server"));
    sshd.fetches(client);
}

#[test]
fn nothing_stays_on_the_other_side_of_a_client_that_is_killed() {
    let Some(sshd) = sshd("sshd-killed", "") else { return };
    let mut client = sshd.client("3", &program_path("server"));
    let client = Running::start(client.args(["--limit-rate=1M", "--verify=crc32c"]));
    wait_until("a block", || {
        let journal = sshd.through.scratch.path("folder/out.part.journal");
        (fs::metadata(journal).ok()?.len() > 1000).then_some(())
    });
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
