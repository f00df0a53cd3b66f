//! The command lines of the four programs: the names and the help of all arguments and
//! options.

#![forbid(unsafe_code)]

mod client;
mod habits;
mod server;

pub use client::CLIENT;
pub use server::SERVER;

use super::options::{Group, Opt, Positional, Program};

const QUIET: Opt = Opt { short: Some('q'), long: "quiet", value: None, help: "print errors only" };

const VERBOSE: Opt =
    Opt { short: Some('v'), long: "verbose", value: None, help: "log more details" };

const JOB: Opt = Opt {
    short: None,
    long: "job",
    value: None,
    help: "read the job from the parent program, on standard input",
};

/// `sender`.
pub static SENDER: Program = Program {
    name: "sender",
    summary: "Sends one file over several streams. The server starts it; it also runs by hand.",
    forms: &["port path block_size streams"],
    positionals: &[
        Positional {
            name: "port",
            help: "the port to listen on; 0 for any free port",
            optional: false,
        },
        Positional { name: "path", help: "the file to send", optional: false },
        Positional { name: "block_size", help: "number of bytes per stream", optional: false },
        Positional { name: "streams", help: "number of streams, 1 to 255", optional: false },
    ],
    groups: &[Group { title: "options", options: &[JOB] }],
    examples: &[("Send a file of 64 MiB over 4 streams", "{} 9000 file 16777217 4")],
    habits: &[],
    alone: Some("job"),
};

/// `receiver`.
pub static RECEIVER: Program = Program {
    name: "receiver",
    summary: "Receives one file over several streams. The client starts it; it also runs by hand.",
    forms: &["host port streams directory"],
    positionals: &[
        Positional { name: "host", help: "the host of the sender", optional: false },
        Positional { name: "port", help: "the port of the sender", optional: false },
        Positional { name: "streams", help: "number of streams, 1 to 255", optional: false },
        Positional {
            name: "directory",
            help: "the folder for the part files 0.prt, 1.prt, ...",
            optional: false,
        },
    ],
    groups: &[Group { title: "options", options: &[JOB] }],
    examples: &[("Receive a file over 4 streams", "{} box 9000 4 parts")],
    habits: &[],
    alone: Some("job"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_required_argument_follows_an_optional_one() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            let optional = program.positionals.iter().map(|positional| positional.optional);
            assert!(optional.is_sorted(), "{}", program.name);
        }
    }

    #[test]
    fn every_option_is_defined_once() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            let options: Vec<&Opt> = program.all_options().collect();
            for (index, option) in options.iter().enumerate() {
                for other in &options[index + 1..] {
                    assert_ne!(option.long, other.long, "{}", program.name);
                    assert!(option.short.is_none() || option.short != other.short);
                }
            }
        }
    }
}
