//! The command line of `server`.

#![forbid(unsafe_code)]

use super::super::options::{Group, Opt, Positional, Program};
use super::{QUIET, VERBOSE, habits};

/// `server`.
pub static SERVER: Program = Program {
    name: "server",
    summary: "Serves files over many TCP streams to ropewalk clients, and over HTTP to curl, \
              wget and browsers.",
    forms: &["port"],
    positionals: &[Positional {
        name: "port",
        help: "the port to listen on; 0 for any free port; leave it out with LISTEN_FDS",
        optional: true,
    }],
    groups: &[
        Group {
            title: "what to serve",
            options: &[
                Opt {
                    short: None,
                    long: "root",
                    value: Some("DIR"),
                    help: "serve only the files in this folder (default: every file that the server can read)",
                },
                Opt {
                    short: None,
                    long: "index",
                    value: None,
                    help: "list a folder as an HTML page, or as JSON for clients that ask for JSON",
                },
            ],
        },
        Group {
            title: "where to listen",
            options: &[
                Opt {
                    short: None,
                    long: "stdio",
                    value: None,
                    help: "serve one client over standard input and output, as client -e ssh starts this program",
                },
                Opt {
                    short: None,
                    long: "bind",
                    value: Some("ADDR"),
                    help: "listen on this address only (default: all addresses, IPv6 and IPv4)",
                },
                Opt {
                    short: None,
                    long: "data-ports",
                    value: Some("A-B"),
                    help: "take the data ports of transfers from this range (default: any free port)",
                },
                Opt {
                    short: None,
                    long: "metrics",
                    value: Some("ADDR:PORT"),
                    help: "serve metrics for Prometheus at this address, under /-/metrics, without a password",
                },
            ],
        },
        Group {
            title: "who may fetch",
            options: &[
                Opt {
                    short: None,
                    long: "auth",
                    value: Some("FILE"),
                    help: "serve only the users in this file, which has a line user:password for each user",
                },
                Opt {
                    short: None,
                    long: "auth-md5",
                    value: None,
                    help: "with --auth, accept MD5 too; wget needs it, curl and Chromium do not",
                },
                Opt {
                    short: None,
                    long: "any-address",
                    value: None,
                    help: "accept streams with the token of a session from any address",
                },
                Opt {
                    short: None,
                    long: "trust-proxy",
                    value: Some("ADDR"),
                    help: "take the client address from X-Forwarded-For in requests of this proxy",
                },
                Opt {
                    short: None,
                    long: "user",
                    value: Some("NAME"),
                    help: "give up root once the port is open, and become this user",
                },
            ],
        },
        Group {
            title: "uploads",
            options: &[
                Opt {
                    short: None,
                    long: "writable",
                    value: Some("DIR"),
                    help: "take uploads into this folder, which is within --root; needs --auth or --writable-by-anyone",
                },
                Opt {
                    short: None,
                    long: "writable-by-anyone",
                    value: None,
                    help: "with --writable, take uploads from everybody who can connect, without a password",
                },
                Opt {
                    short: None,
                    long: "max-upload",
                    value: Some("SIZE"),
                    help: "with --writable, the most bytes of an uploaded file, such as 500M or 10G (default: no limit)",
                },
                Opt {
                    short: None,
                    long: "max-files",
                    value: Some("N"),
                    help: "with --writable, the most entries of a folder that is pushed (default: no limit)",
                },
                Opt {
                    short: None,
                    long: "keep-free",
                    value: Some("PERCENT"),
                    help: "with --writable, refuse uploads that would leave less of the file system free (default: 5)",
                },
                Opt {
                    short: None,
                    long: "allow-delete",
                    value: None,
                    help: "with --writable, let a client that pushes a folder delete what it does not have",
                },
                Opt {
                    short: None,
                    long: "allow-owner",
                    value: None,
                    help: "with --writable, let a client that pushes a folder set owners and set-id bits",
                },
                Opt {
                    short: None,
                    long: "push",
                    value: None,
                    help: "with --stdio, let the client write and delete what this user may, beneath --root and --writable",
                },
            ],
        },
        Group {
            title: "limits",
            options: &[
                Opt {
                    short: None,
                    long: "limit-rate",
                    value: Some("RATE"),
                    help: "limit all transfers, downloads and uploads together to RATE bytes per second; K, M, G mean KiB, MiB, GiB (default: no limit)",
                },
                Opt {
                    short: None,
                    long: "max-connections",
                    value: Some("N"),
                    help: "maximum control connections (default: 256)",
                },
                Opt {
                    short: None,
                    long: "max-transfers",
                    value: Some("N"),
                    help: "maximum transfers (default: 256)",
                },
                Opt {
                    short: None,
                    long: "max-per-address",
                    value: Some("N"),
                    help: "maximum transfers per client address (default: 64)",
                },
                Opt {
                    short: None,
                    long: "max-streams",
                    value: Some("N"),
                    help: "maximum streams per transfer, 1 to 255 (default: 255)",
                },
                Opt {
                    short: None,
                    long: "request-timeout",
                    value: Some("SECONDS"),
                    help: "time for a client to send a request (default: 10)",
                },
                Opt {
                    short: None,
                    long: "idle-timeout",
                    value: Some("SECONDS"),
                    help: "time after which the server ends a transfer without streams, or a connection without requests (default: 30)",
                },
                Opt {
                    short: None,
                    long: "stall-timeout",
                    value: Some("SECONDS"),
                    help: "time after which the server ends a stream that takes no data (default: 60)",
                },
            ],
        },
        Group {
            title: "log",
            options: &[
                Opt {
                    short: None,
                    long: "log",
                    value: Some("FILE"),
                    help: "log to this file, and reopen it on SIGUSR1 (default: standard error)",
                },
                Opt { help: "log errors only", ..QUIET },
                VERBOSE,
            ],
        },
    ],
    examples: &[
        (
            "Serve one folder, with pages that show what is in it",
            "{} --root /srv/files --index 8080",
        ),
        (
            "Ask for a password, and give up root",
            "{} --auth /etc/ropewalk.users --user nobody 8080",
        ),
        (
            "Take uploads into one folder of the root",
            "{} --root /srv --writable /srv/in --auth users 8080",
        ),
        ("Use few ports, for a firewall", "{} --root /srv/files --data-ports 8081-8100 8080"),
        ("Serve every file that this user can read, to everybody", "{} 8080"),
        ("Fetch with another program, on another machine", "curl -O http://box:8080/file.iso"),
    ],
    habits: habits::SERVER,
    alone: None,
};
