//! The command lines of the four programs: the one place where an option's name
//! and its help are written down.

#![forbid(unsafe_code)]

use super::options::{Opt, Positional, Program};

const QUIET: Opt =
    Opt { short: Some('q'), long: "quiet", value: None, help: "print nothing but errors" };

const VERBOSE: Opt =
    Opt { short: Some('v'), long: "verbose", value: None, help: "log more of what happens" };

const JOB: Opt = Opt {
    short: None,
    long: "job",
    value: None,
    help: "take the job from the program that started this one, on standard input",
};

/// `server`.
pub static SERVER: Program = Program {
    name: "server",
    summary: "File download server",
    positionals: &[Positional {
        name: "port",
        help: "server port; 0 for any that is free; left out with sockets of LISTEN_FDS",
        optional: true,
    }],
    options: &[
        Opt {
            short: None,
            long: "bind",
            value: Some("ADDR"),
            help: "listen on this address only (default: all, IPv6 and IPv4)",
        },
        Opt {
            short: None,
            long: "data-ports",
            value: Some("A-B"),
            help: "take the data ports of transfers from these (default: any that is free)",
        },
        Opt {
            short: None,
            long: "root",
            value: Some("DIR"),
            help: "send only what is in this folder (default: every file that can be read)",
        },
        Opt {
            short: None,
            long: "index",
            value: None,
            help: "show what is in a folder: HTML, or JSON for who asks for that",
        },
        Opt {
            short: None,
            long: "user",
            value: Some("NAME"),
            help: "once the port is taken, stop being root and become this user",
        },
        Opt {
            short: None,
            long: "auth",
            value: Some("FILE"),
            help: "serve only who knows a password of this file, user:password a line",
        },
        Opt {
            short: None,
            long: "auth-md5",
            value: None,
            help: "with --auth, let in old clients too that know no SHA-256",
        },
        Opt {
            short: None,
            long: "any-address",
            value: None,
            help: "take streams that show a session's token from any address",
        },
        Opt {
            short: None,
            long: "max-connections",
            value: Some("N"),
            help: "control connections open at once (default: 256)",
        },
        Opt {
            short: None,
            long: "max-transfers",
            value: Some("N"),
            help: "transfers under way at once (default: 256)",
        },
        Opt {
            short: None,
            long: "max-per-address",
            value: Some("N"),
            help: "of them for clients at one address (default: 64)",
        },
        Opt {
            short: None,
            long: "max-streams",
            value: Some("N"),
            help: "streams of one transfer, 1 to 255 (default: 255)",
        },
        Opt {
            short: None,
            long: "request-timeout",
            value: Some("SECONDS"),
            help: "how long a client may take to send a request (default: 10)",
        },
        Opt {
            short: None,
            long: "idle-timeout",
            value: Some("SECONDS"),
            help: "how long a transfer may lack streams, and a connection requests (default: 30)",
        },
        Opt {
            short: None,
            long: "stall-timeout",
            value: Some("SECONDS"),
            help: "break off a stream that takes no data for this long (default: 60)",
        },
        Opt {
            short: None,
            long: "metrics",
            value: Some("ADDR:PORT"),
            help: "serve numbers for Prometheus there, under /-/metrics, to everybody",
        },
        Opt {
            short: None,
            long: "limit-rate",
            value: Some("RATE"),
            help: "bytes a second of all transfers together; K, M, G for 1024s (default: none)",
        },
        Opt {
            short: None,
            long: "log",
            value: Some("FILE"),
            help: "log to this file, and open it anew on SIGUSR1 (default: standard error)",
        },
        Opt {
            short: None,
            long: "trust-proxy",
            value: Some("ADDR"),
            help: "take the client's address from X-Forwarded-For in requests of this proxy",
        },
        Opt { help: "log nothing but errors", ..QUIET },
        VERBOSE,
    ],
    alone: None,
};

/// `client`.
pub static CLIENT: Program = Program {
    name: "client",
    summary: "File download client",
    positionals: &[
        Positional {
            name: "address",
            help: "server address, in host:port format",
            optional: false,
        },
        Positional {
            name: "threads",
            help: "number of streams to receive the file over, 1 to 255, or auto",
            optional: false,
        },
        Positional {
            name: "file",
            help: "file to download, as the server names it",
            optional: false,
        },
        Positional {
            name: "ofile",
            help: "output file, or a folder; - for standard output (default: file's base name, here)",
            optional: true,
        },
    ],
    options: &[
        Opt {
            short: None,
            long: "auth",
            value: Some("FILE"),
            help: "where the server asks for a password: a file with one line, user:password",
        },
        Opt {
            short: None,
            long: "auth-md5",
            value: None,
            help: "with --auth, answer an old server too that knows no SHA-256",
        },
        Opt {
            short: None,
            long: "single-port",
            value: None,
            help: "send the streams to the server's own port without trying another",
        },
        Opt {
            short: None,
            long: "connect-timeout",
            value: Some("SECONDS"),
            help: "limit of each address (default: 10) and of waits for replies (default: none)",
        },
        Opt {
            short: None,
            long: "retry-for",
            value: Some("SECONDS"),
            help: "how long to wait for a full server, or to go on with a transfer (default: 60)",
        },
        Opt {
            short: None,
            long: "verify",
            value: Some("md5|crc32c|none"),
            help: "md5: the whole file and each block; crc32c: each block (default: md5)",
        },
        Opt {
            short: None,
            long: "limit-rate",
            value: Some("RATE"),
            help: "bytes a second at most; K, M, G for 1024s (default: none)",
        },
        Opt {
            short: None,
            long: "restart",
            value: None,
            help: "ignore what an earlier run left, and start over",
        },
        Opt {
            short: None,
            long: "no-sync",
            value: None,
            help: "do not wait for the disk: a power cut may cost the file",
        },
        Opt {
            short: None,
            long: "trace",
            value: Some("FILE.svg"),
            help: "draw the transfer: what each stream brought, and what befell it",
        },
        Opt {
            short: None,
            long: "progress",
            value: Some("auto|bar|plain|json|none"),
            help: "how to tell on standard error how far it is (default: auto)",
        },
        QUIET,
    ],
    alone: None,
};

/// `sender`.
pub static SENDER: Program = Program {
    name: "sender",
    summary: "Sends one file over several streams; started by server, or by hand",
    positionals: &[
        Positional {
            name: "port",
            help: "port to listen on; 0 for any that is free",
            optional: false,
        },
        Positional { name: "path", help: "file to send", optional: false },
        Positional { name: "block_size", help: "bytes that each stream sends", optional: false },
        Positional { name: "threads", help: "number of streams, 1 to 255", optional: false },
    ],
    options: &[JOB],
    alone: Some("job"),
};

/// `receiver`.
pub static RECEIVER: Program = Program {
    name: "receiver",
    summary: "Receives one file over several streams; started by client, or by hand",
    positionals: &[
        Positional { name: "host", help: "host that the sender runs on", optional: false },
        Positional { name: "port", help: "port that the sender listens on", optional: false },
        Positional { name: "threads", help: "number of streams, 1 to 255", optional: false },
        Positional {
            name: "directory",
            help: "folder for the part files 0.prt, 1.prt, ...",
            optional: false,
        },
    ],
    options: &[JOB],
    alone: Some("job"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_required_follows_what_may_be_left_out() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            let optional = program.positionals.iter().map(|positional| positional.optional);
            assert!(optional.is_sorted(), "{}", program.name);
        }
    }

    #[test]
    fn no_option_is_written_down_twice() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            for (index, option) in program.options.iter().enumerate() {
                for other in &program.options[index + 1..] {
                    assert_ne!(option.long, other.long, "{}", program.name);
                    assert!(option.short.is_none() || option.short != other.short);
                }
            }
        }
    }
}
