//! The command that reaches the server on another machine: ssh, or any program that connects its
//! standard input and output to a program there.

#![forbid(unsafe_code)]

use ropewalk::app::options::Arguments;
use ropewalk::codec::shell;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The server program, unless the user names another one.
const REMOTE_SERVER: &str = "ropewalk-server";

/// What stands for the host in COMMAND.
const HOST: &[u8] = b"%h";

/// Options that mean nothing where another program reaches the server.
const FOREIGN: [&str; 3] = ["auth", "auth-md5", "single-port"];

/// For ssh: no terminal, no X11 and no agent there. It ends after three times 30 s without an answer:
/// else a connection that hangs would never end, since no byte of this program would find that out.
const SSH: [&str; 5] = ["-T", "-x", "-a", "-o", "ServerAliveInterval=30"];

/// For further connections of ssh: no question, and a connection of their own.
const FURTHER_SSH: [&str; 4] = ["-o", "BatchMode=yes", "-o", "ControlPath=none"];

/// A command with its host and the program that it starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rsh {
    /// The words of COMMAND, with the host; at least one.
    command: Vec<OsString>,
    /// The words of the server program there.
    server: Vec<OsString>,
    /// Whether the server is to write.
    is_push: bool,
}

/// Which connection of a transfer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first, which may ask a person for a password.
    First,
    /// Every other one.
    Further,
}

/// Refuses options that only have a meaning with `--rsh`.
pub(super) fn refuse_without(arguments: &Arguments) -> Result<Option<Rsh>> {
    match arguments.has("remote-server") {
        true => Err(Error::usage("--remote-server: needs --rsh, or an address such as box:path")),
        false => Ok(None),
    }
}

impl Rsh {
    /// The command of `--rsh`, or ssh, for this host.
    pub(super) fn from_arguments(arguments: &Arguments, host: &str, is_push: bool) -> Result<Rsh> {
        if let Some(option) = FOREIGN.into_iter().find(|option| arguments.has(option)) {
            let text = format!("--{option}: has no meaning where --rsh reaches the server");
            return Err(Error::usage(text));
        }
        let command = arguments.value("rsh").unwrap_or(OsStr::new("ssh"));
        let server = arguments.value("remote-server").unwrap_or(OsStr::new(REMOTE_SERVER));
        let mut words = words("--rsh", command)?;
        match words.iter().any(|word| find(word).is_some()) {
            true => words.iter_mut().for_each(|word| fill_in(word, host.as_bytes())),
            false => words.push(host.as_bytes().to_vec()),
        }
        let text = |words: Vec<Vec<u8>>| words.into_iter().map(OsString::from_vec).collect();
        let server = text(self::words("--remote-server", server)?);
        Ok(Rsh { command: text(words), server, is_push })
    }

    /// The program of COMMAND, for messages.
    pub(crate) fn path(&self) -> String {
        escape(self.command.first().map(|word| word.as_bytes()).unwrap_or_default())
    }

    /// The same without its folder.
    pub(crate) fn program(&self) -> String {
        let program = self.command.first().map(OsString::as_os_str).unwrap_or_default();
        let name = Path::new(program).file_name().unwrap_or(program);
        escape(name.as_bytes())
    }

    /// Whether the connections are those of a push.
    pub(crate) fn is_push(&self) -> bool {
        self.is_push
    }

    /// Whether the program is OpenSSH's client, or pretends to be.
    pub(crate) fn is_ssh(&self) -> bool {
        self.program() == "ssh"
    }

    /// The server program there, for messages.
    pub(crate) fn server(&self) -> String {
        let words = self.server.iter().map(|word| escape(word.as_bytes()));
        words.collect::<Vec<_>>().join(" ")
    }

    /// All words of the command line.
    pub(crate) fn line(&self, turn: Turn) -> Vec<OsString> {
        let mut line = self.command.clone();
        let extra: Vec<&str> = match (self.is_ssh(), turn) {
            (false, _) => Vec::new(),
            (true, Turn::First) => SSH.to_vec(),
            (true, Turn::Further) => [&SSH[..], &FURTHER_SSH].concat(),
        };
        // Before the user's own options: the first value of an ssh option counts.
        line.splice(1..1, extra.into_iter().map(OsString::from));
        line.extend(self.server.iter().cloned());
        line.push("--stdio".into());
        line.extend(self.is_push.then(|| "--push".into()));
        line
    }
}

fn words(option: &str, text: &OsStr) -> Result<Vec<Vec<u8>>> {
    let words = shell::split(text.as_bytes())
        .ok_or_else(|| Error::usage(format!("{option}: a quote is not closed")))?;
    match words.first().is_some_and(|word| !word.is_empty()) {
        true => Ok(words),
        false => Err(Error::usage(format!("{option}: must not be empty"))),
    }
}

fn find(word: &[u8]) -> Option<usize> {
    word.windows(HOST.len()).position(|window| window == HOST)
}

fn fill_in(word: &mut Vec<u8>, host: &[u8]) {
    let mut done = Vec::new();
    while let Some(at) = find(word) {
        done.extend_from_slice(&word[..at]);
        done.extend_from_slice(host);
        word.drain(..at + HOST.len());
    }
    done.append(word);
    *word = done;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::CLIENT;

    fn rsh(words: &[&str]) -> Result<Rsh> {
        let words = words.iter().copied().chain(["box", "4", "f"]);
        match CLIENT.parse(words.map(Into::into))? {
            Request::Run(arguments) => {
                Rsh::from_arguments(&arguments, "box", arguments.has("push"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn line(words: &[&str], turn: Turn) -> String {
        let line = rsh(words).unwrap().line(turn);
        line.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn ssh_gets_its_options_and_the_host() {
        let alive = "-T|-x|-a|-o|ServerAliveInterval=30";
        let first = format!("ssh|{alive}|box|ropewalk-server|--stdio");
        assert_eq!(line(&[], Turn::First), first);
        assert_eq!(
            line(&["-e", "/usr/bin/ssh -p 2222"], Turn::Further),
            format!(
                "/usr/bin/ssh|{alive}|-o|BatchMode=yes|-o|ControlPath=none|-p|2222|box|\
                 ropewalk-server|--stdio"
            )
        );
    }

    #[test]
    fn the_host_takes_its_place_in_any_other_command() {
        for turn in [Turn::First, Turn::Further] {
            let docker = line(&["-e", "docker exec -i"], turn);
            assert_eq!(docker, "docker|exec|-i|box|ropewalk-server|--stdio");
            let kubectl = line(&["--rsh=kubectl exec -i pod/%h-%h --"], turn);
            assert_eq!(kubectl, "kubectl|exec|-i|pod/box-box|--|ropewalk-server|--stdio");
        }
    }

    #[test]
    fn the_server_of_a_push_is_told_that_it_may_write() {
        let line = line(&["--push", "-e", "x"], Turn::Further);
        assert_eq!(line, "x|box|ropewalk-server|--stdio|--push");
    }

    #[test]
    fn the_server_program_is_split_in_words() {
        let line = line(&["-e", "x", "--remote-server", "sudo 'a b'"], Turn::First);
        assert_eq!(line, "x|box|sudo|a b|--stdio");
    }

    #[test]
    fn commands_without_a_program_and_options_without_a_meaning_are_refused() {
        for words in [
            &["-e", ""][..],
            &["-e", "''"],
            &["-e", "'a"],
            &["-e", "x", "--remote-server= "],
            &["-e", "x", "--auth=f"],
            &["-e", "x", "--single-port"],
        ] {
            assert!(rsh(words).is_err(), "{words:?}");
        }
    }
}
