//! The command line of `client`.

#![forbid(unsafe_code)]

use super::super::options::{Group, Opt, Positional, Program};
use super::{QUIET, VERBOSE, habits};

/// `client`.
pub static CLIENT: Program = Program {
    name: "client",
    summary: "Fetches a file or a folder from a ropewalk server, or pushes one to it, over many TCP streams, and verifies it.",
    forms: &[
        "http://host:port/path [ofile]",
        "host:port streams file [ofile]",
        "[user@]host:path [ofile]",
        "--push host:port streams file [ofile]",
        "file [user@]host:path",
    ],
    positionals: &[
        Positional {
            name: "address",
            help: "host:port of the server; or a URL that names the file too, with or without \
                   http://; or [user@]host:path, which means ssh",
            optional: false,
        },
        Positional {
            name: "streams",
            help: "number of streams, 1 to 255, or auto; not with a URL",
            optional: true,
        },
        Positional {
            name: "file",
            help: "the name of the file or folder on the server; not with a URL. With --push, the file or \
                   folder here",
            optional: true,
        },
        Positional {
            name: "ofile",
            help: "the output file, a folder for it, or - for standard output; for a folder: the \
                   folder that gets its content (default: its own name, in this folder). With --push, the \
                   name on the server",
            optional: true,
        },
    ],
    groups: &[
        Group {
            title: "what to fetch",
            options: &[
                Opt {
                    short: None,
                    long: "push",
                    value: None,
                    help: "send FILE, a file or a folder here or - for standard input, to OFILE on a \
                           server with --writable, or through --rsh",
                },
                Opt {
                    short: None,
                    long: "auth",
                    value: Some("FILE"),
                    help: "file with the line user:password, for a server that asks for a password",
                },
                Opt {
                    short: None,
                    long: "auth-md5",
                    value: None,
                    help: "answer with MD5 too, for an old server that lacks SHA-256",
                },
                Opt {
                    short: None,
                    long: "verify",
                    value: Some("md5|crc32c|none"),
                    help: "check the blocks and the whole file (md5), the blocks only (crc32c), or nothing (none) (default: md5 for a file, crc32c for a folder)",
                },
            ],
        },
        Group {
            title: "folders",
            options: &[
                Opt {
                    short: None,
                    long: "delete",
                    value: None,
                    help: "delete in OFILE what the server's folder does not have, at most half of it",
                },
                Opt {
                    short: None,
                    long: "max-delete",
                    value: Some("N"),
                    help: "with --delete: if more than N entries would go, delete none (default: half of them)",
                },
                Opt {
                    short: Some('n'),
                    long: "dry-run",
                    value: None,
                    help: "change nothing; with -v, show what would be done",
                },
                Opt {
                    short: None,
                    long: "exclude",
                    value: Some("PATTERN"),
                    help: "leave out what matches: *, ?, [a-z], **; /x at the top only, x/ folders only",
                },
                Opt {
                    short: None,
                    long: "include",
                    value: Some("PATTERN"),
                    help: "do not leave out what matches; the first pattern that matches decides",
                },
                Opt {
                    short: None,
                    long: "exclude-from",
                    value: Some("FILE"),
                    help: "leave out what matches a line of FILE",
                },
                Opt {
                    short: None,
                    long: "checksum",
                    value: None,
                    help: "compare contents, and not size and mtime",
                },
                Opt {
                    short: None,
                    long: "ignore-existing",
                    value: None,
                    help: "leave as it is whatever is there",
                },
                Opt {
                    short: None,
                    long: "update",
                    value: None,
                    help: "leave files that are newer here",
                },
                Opt {
                    short: Some('H'),
                    long: "hard-links",
                    value: None,
                    help: "make names of one file on the server names of one file here",
                },
                Opt {
                    short: None,
                    long: "owner",
                    value: None,
                    help: "keep owners, by number, and the set-id bits (as root)",
                },
                Opt {
                    short: Some('x'),
                    long: "one-file-system",
                    value: None,
                    help: "do not enter other file systems that are mounted in the server's folder",
                },
            ],
        },
        Group {
            title: "through another program",
            options: &[
                Opt {
                    short: Some('e'),
                    long: "rsh",
                    value: Some("COMMAND"),
                    help: "reach the other machine with COMMAND, such as ssh or 'docker exec -i'; the address is its host, which takes the place of %h",
                },
                Opt {
                    short: None,
                    long: "remote-server",
                    value: Some("PATH"),
                    help: "the server program on the other machine (default: ropewalk-server)",
                },
            ],
        },
        Group {
            title: "how fast",
            options: &[
                Opt {
                    short: None,
                    long: "streams",
                    value: Some("N|auto"),
                    help: "number of streams for a URL, 1 to 255; auto finds a good number (default: auto)",
                },
                Opt {
                    short: None,
                    long: "limit-rate",
                    value: Some("RATE"),
                    help: "limit to RATE bytes per second; K, M, G mean KiB, MiB, GiB (default: no limit)",
                },
                Opt {
                    short: None,
                    long: "single-port",
                    value: None,
                    help: "use the port in the address for all streams, and try no other port",
                },
                Opt {
                    short: None,
                    long: "connect-timeout",
                    value: Some("SECONDS"),
                    help: "time to connect to one address (default: 10), and to wait for a reply (default: no limit)",
                },
                Opt {
                    short: None,
                    long: "retry-for",
                    value: Some("SECONDS"),
                    help: "time to wait for a full server, and to reach a lost server again (default: 60)",
                },
            ],
        },
        Group {
            title: "what to keep",
            options: &[
                Opt {
                    short: None,
                    long: "restart",
                    value: None,
                    help: "fetch the whole file anew, whatever is there",
                },
                Opt {
                    short: None,
                    long: "whole",
                    value: None,
                    help: "fetch every byte, also those that an older file has already",
                },
                Opt {
                    short: None,
                    long: "no-sync",
                    value: None,
                    help: "do not wait for the disk, except before the file gets its mtime",
                },
            ],
        },
        Group {
            title: "what to show",
            options: &[
                Opt {
                    short: None,
                    long: "progress",
                    value: Some("auto|bar|plain|json|none"),
                    help: "how to show progress on standard error (default: auto)",
                },
                Opt {
                    short: None,
                    long: "trace",
                    value: Some("FILE.svg"),
                    help: "draw a picture of the transfer: the rate and the faults of each stream",
                },
                Opt { help: "print errors only", ..QUIET },
                Opt { help: "show the MD5 of the file too; of a folder, each change", ..VERBOSE },
            ],
        },
    ],
    examples: &[
        ("Fetch a file by its URL into this folder", "{} http://box:8080/srv/file.iso"),
        ("Fetch a file over 4 streams", "{} box:8080 4 data/file.iso file.iso"),
        ("Fetch a folder, or bring it up to date", "{} box:8080 4 srv/photos photos"),
        (
            "Push a folder to a server, or bring it up to date",
            "{} --push box:8080 4 photos in/photos",
        ),
        (
            "Push standard input, while another program writes it",
            "{} --push - http://box:8080/in/photos.tar < photos.tar",
        ),
        ("Fetch through ssh, from a machine where no server runs", "{} user@box:data/file.iso"),
        ("Push through ssh, into a folder there", "{} file.iso user@box:data/"),
        ("Fetch from a container over 4 streams", "{} -e 'docker exec -i' web 4 /srv/file.iso"),
        ("Unpack an archive while it arrives", "{} http://box:8080/srv/backup.tar - | tar x"),
        ("Give a password", "{} --auth login.txt http://box:8080/srv/file.iso"),
        ("Leave room on the line for others", "{} --limit-rate 2M http://box:8080/srv/file.iso"),
    ],
    habits: habits::CLIENT,
    alone: None,
};
