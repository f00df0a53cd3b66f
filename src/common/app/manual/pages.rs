//! What a man page says beyond its program's table: how it works, its files and signals.
//! The server's page has a file of its own.

#![forbid(unsafe_code)]

mod server;

use super::super::options::Program;
use super::super::programs::{CLIENT, RECEIVER, SENDER};
use crate::error::ExitCode;

/// One page.
pub(super) struct Page {
    /// The program that it is about.
    pub(super) program: &'static Program,
    /// Paragraphs.
    pub(super) description: &'static [&'static str],
    /// Sections between OPTIONS and EXIT STATUS.
    pub(super) sections: &'static [Section],
    /// The codes with which it can end.
    pub(super) exits: &'static [ExitCode],
    /// Other pages, and their sections.
    pub(super) see_also: &'static [(&'static str, u8)],
}

/// A section of a page.
pub(super) struct Section {
    /// Its heading.
    pub(super) title: &'static str,
    /// Paragraphs.
    pub(super) text: &'static [&'static str],
    /// Names, and what they are.
    pub(super) entries: &'static [(&'static str, &'static str)],
}

/// All pages.
pub(super) static ALL: [Page; 4] = [server::PAGE, CLIENT_PAGE, SENDER_PAGE, RECEIVER_PAGE];

const CLIENT_PAGE: Page = Page {
    program: &CLIENT,
    description: &[
        "Fetches a file from ropewalk-server, or from a classic server, over 1 to 255 TCP streams. \
         A URL names the server and the file; its path is percent-decoded, and its port is 80 \
         unless it has one. A query and a fragment are ignored. In the other form the address is \
         host:port, IPv4:port or [IPv6]:port. A link-local address names its interface, as in \
         [fe80::1%eth0]:8080. The client tries all addresses of a name, IPv6 and IPv4 in turn: \
         the next address after 250 ms without an answer, or at once after a failure (RFC \
         8305).",
        "With auto the client begins with a few streams, and opens more as long as more streams \
         bring more. A file of few blocks gets no more streams than it has blocks. --trace draws \
         what each stream did.",
        "Each block has a CRC32C, and the client asks for a damaged block again. The file gets its \
         own name only when it is complete, its MD5 is the server's, and it is on the disk. Until \
         then an older file of that name stays as it was. The client follows a symbolic link and \
         replaces its target. An OFILE that is a folder means the file's own name in that \
         folder; without OFILE the file gets its own name in this folder.",
        "With OFILE - the file goes to standard output, in order, while it comes; /dev/stdout and \
         /dev/fd/N mean that descriptor. Nothing is kept, and only the exit code tells that the \
         MD5 differs.",
        "The same command continues a fetch that a signal, a lost network, a full disk or a crash \
         has interrupted. It fetches what is missing while it checks what is there. When the \
         file has changed on the server meanwhile, the client says so and starts over.",
        "The client refuses an output that it cannot replace before a byte moves: a mount point, \
         an immutable file, or the file of another user in a folder with the sticky bit. \
         Write into such a file with OFILE - and a redirection.",
        "Where the file system has no locks, modes or preallocation (NFS without lockd, FAT, \
         exFAT, FUSE), the client says so in a warning and continues.",
        "A stream that breaks or stalls is opened again. When the server goes away in the middle, \
         the client asks for another session and continues, for as long as --retry-for allows. Without \
         --connect-timeout it waits for a reply without limit, and says so every 10 s.",
        "Sizes and rates are in KiB, MiB, GiB: powers of 1024, as K, M and G of --limit-rate are.",
    ],
    sections: &[
        Section {
            title: "SUMMARY",
            text: &[
                "After a fetch the client prints a line on standard output, or on standard error \
                 with OFILE -: the size, the time, the rate, the most streams that were open at \
                 once, and md5 ok. With -v the line has the digits of the MD5. The rate counts \
                 the bytes that this run moved. The line adds what applies:",
            ],
            entries: &[
                (
                    "now, after a rate",
                    "A part of the file was there before; the rate is that of this run.",
                ),
                ("resumed at N%", "An earlier run had left this share of the file."),
                ("through the control port", "The streams could not use the data port."),
                ("N damaged blocks asked for again", "Their CRC32C was wrong."),
                ("N reconnects", "The client opened this many streams again."),
                (
                    "SIZE late, asked for again",
                    "Their stream was too slow; the line says so from 1% of the file on.",
                ),
                (
                    "the MD5 was the slowest step",
                    "After the last byte the MD5 took 0.2 s or more, and a tenth of the time.",
                ),
            ],
        },
        Section {
            title: "PASSWORDS",
            text: &[
                "A server with --auth asks for a user and a password. The client looks for them in \
                 the file of --auth, else in the file of ROPEWALK_AUTH, else in the file of all \
                 hosts. Where none has them, it asks at the terminal, three times at most, if \
                 standard error is a terminal. The client never sends the password itself.",
                "The first two files have one line, user:password. The client refuses a file that \
                 others may read or change; it passes over the file of all hosts then, with a \
                 warning.",
            ],
            entries: &[],
        },
        Section {
            title: "PROGRESS OBJECTS",
            text: &["With --progress json each line on standard error is a JSON object."],
            entries: &[
                ("event", "start (first), progress, message, or end (last, also of a failure)."),
                ("version, server, file, output", "Of start: names are escaped."),
                ("seconds", "Time since the start."),
                (
                    "phase",
                    "asking; moving; lost, while the client asks for another session; checking, \
                     while no byte comes and the client checks what is there, makes the MD5 or \
                     waits for the server's; saving.",
                ),
                ("bytes, size, percent", "Bytes that are there, of the file, and their share."),
                (
                    "rate, left",
                    "Bytes per second, and seconds to the last byte; left is null while nobody \
                     knows.",
                ),
                ("streams, resent", "Open streams, and blocks that were asked for again."),
                ("kept, checked", "Bytes of an earlier run, and how many of them are checked."),
                ("hashed", "Bytes of the file that are in the MD5; null where none is made here."),
                (
                    "code, text",
                    "Of end: the exit code, and the summary or the error. A message has \
                                a text too.",
                ),
                (
                    "md5, resumed",
                    "Of end, after success: the MD5 or null, and bytes of an earlier run.",
                ),
            ],
        },
        Section {
            title: "FILES",
            text: &[],
            entries: &[
                (
                    "OFILE.part",
                    "What has arrived so far; readable for its owner alone. A file of this name \
                     that no earlier run left is refused, unless it is empty or --restart is \
                     given. Where that name is too long, it is .ropewalk- and 32 hex digits.",
                ),
                (
                    "OFILE.part.journal",
                    "Which ranges of it can be trusted. The client removes both files when the \
                     fetch succeeds, when the MD5 differs, and when the file changes on the \
                     server. Another file of this name is refused.",
                ),
                (
                    "~/.config/ropewalk/auth",
                    "The file of all hosts, for its owner alone: a line host[:port] user:password \
                     for each server. The first line for the server counts. A line may be empty \
                     or begin with #.",
                ),
                (
                    "../libexec/ropewalk/receiver",
                    "The worker, from the folder of ropewalk-client on. The client takes a worker \
                     beside it only where there is none here.",
                ),
            ],
        },
        Section {
            title: "ENVIRONMENT",
            text: &[],
            entries: &[
                ("ROPEWALK_AUTH", "The name of a file with the line user:password."),
                ("XDG_CONFIG_HOME", "The folder in place of ~/.config."),
                ("NO_COLOR, TERM", "With NO_COLOR, or where TERM is dumb, nothing is in color."),
            ],
        },
        Section {
            title: "SIGNALS",
            text: &[
                "SIGINT, SIGTERM and SIGHUP end the fetch and keep what has arrived. The server hears \
                 of it, so its place is free at once. A second signal does not wait.",
            ],
            entries: &[],
        },
    ],
    exits: &ExitCode::ALL,
    see_also: &[("ropewalk-server", 1), ("ropewalk-receiver", 1)],
};

const BY_HAND: &str = "By hand it speaks the classic protocol, takes the arguments of the classic \
                       program, and is silent when all goes well.";

const SENDER_PAGE: Page = Page {
    program: &SENDER,
    description: &[
        "The worker that ropewalk-server starts for each transfer. It listens on the port, serves \
         so many streams of so many bytes each, and ends. It also ends when no stream comes for \
         30 s.",
        BY_HAND,
        "It is installed as sender in PREFIX/libexec/ropewalk, not in a folder of PATH.",
    ],
    sections: &[],
    exits: &ExitCode::ALL,
    see_also: &[("ropewalk-server", 1), ("ropewalk-receiver", 1)],
};

const RECEIVER_PAGE: Page = Page {
    program: &RECEIVER,
    description: &[
        "The worker that ropewalk-client starts for each fetch. It leaves what each stream brings \
         in a part file of its own, and does not join them.",
        BY_HAND,
        "It is installed as receiver in PREFIX/libexec/ropewalk, not in a folder of PATH.",
    ],
    sections: &[Section {
        title: "FILES",
        text: &[],
        entries: &[("0.prt, 1.prt, ...", "What came over each stream, in the given folder.")],
    }],
    exits: &ExitCode::ALL,
    see_also: &[("ropewalk-client", 1), ("ropewalk-sender", 1)],
};
