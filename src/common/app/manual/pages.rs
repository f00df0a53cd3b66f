//! What a man page says beyond its program's table: how it works, its files and signals.

#![forbid(unsafe_code)]

use super::super::options::Program;
use super::super::programs::{CLIENT, RECEIVER, SENDER, SERVER};
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
pub(super) static ALL: [Page; 4] = [SERVER_PAGE, CLIENT_PAGE, SENDER_PAGE, RECEIVER_PAGE];

const SERVER_PAGE: Page = Page {
    program: &SERVER,
    description: &[
        "Sends files over many TCP streams at once to ropewalk-client and to the classic client, \
         and over one connection to any HTTP client such as curl, wget or a browser. Only regular \
         files are sent. A name without a leading slash starts at the folder that the server was \
         started in, or at the folder of --root.",
        "Each transfer is carried by a ropewalk-sender of its own, on a port of its own, or \
         through the server's port where the client cannot reach that one. When the server is ready it prints one line with its address on standard output. It logs one line \
         on standard error for each transfer: peer, file, bytes sent, size, streams, seconds, \
         outcome.",
        "Nothing is encrypted. Without --root the server sends every file that it can read, and \
         without --auth to everybody who can connect to it.",
    ],
    sections: &[
        Section {
            title: "SIGNALS",
            text: &[],
            entries: &[
                (
                    "SIGINT, SIGTERM",
                    "End the server and all transfers. A second one does not wait for them.",
                ),
                ("SIGHUP", "With --auth: reads the passwords again. Without: as SIGTERM."),
            ],
        },
        Section {
            title: "ENVIRONMENT",
            text: &[],
            entries: &[(
                "LISTEN_PID, LISTEN_FDS",
                "When LISTEN_PID is the number of the server's own process, it listens on the \
                 sockets that it was started with, LISTEN_FDS of them from descriptor 3 on, as \
                 systemd.socket(5) hands them over. They have to be TCP sockets that listen \
                 already. The port and --bind are then left out.",
            )],
        },
        Section {
            title: "FILES",
            text: &[],
            entries: &[(
                "../libexec/ropewalk/sender",
                "The worker, from the folder of ropewalk-server on. One beside \
                 it is taken only where there is none here.",
            )],
        },
    ],
    exits: &[ExitCode::Success, ExitCode::System, ExitCode::Usage],
    see_also: &[("ropewalk-client", 1), ("ropewalk-sender", 1)],
};

const CLIENT_PAGE: Page = Page {
    program: &CLIENT,
    description: &[
        "Fetches a file from ropewalk-server, or from a classic server, over 1 to 255 TCP streams. \
         A URL names the server and the file; its path is percent-decoded, and its port is 80 \
         unless it has one. A query and a fragment are ignored. In the other form the address is \
         host:port, IPv4:port or [IPv6]:port. The client tries every address of a name.",
        "With auto the client begins with a few streams, and opens more as long as more streams \
         bring more. A file of few blocks gets no more streams than it has blocks. --trace draws \
         what each stream did.",
        "Each block has a CRC32C, and the client asks for a damaged block again. The file gets its \
         own name only when it is complete, its MD5 is the server's, and it is on the disk. Until \
         then an older file of that name stays as it was. A symbolic link is followed, and its \
         target replaced. An OFILE that is a folder means the file's base name in it, and \
         without OFILE that is the name here.",
        "With OFILE - the file goes to standard output, in order, while it comes, and nothing of \
         it is kept. Only the exit code then tells that its MD5 differs.",
        "The same command continues a fetch that a signal, a lost network, a full disk or a crash \
         has interrupted. When the file has changed on the server meanwhile, the client says so \
         and starts over.",
        "A stream that breaks or stalls is opened again. When the server goes away in the middle, \
         the client asks for another session and continues, for as long as --retry-for allows.",
        "Sizes and rates are in KiB, MiB, GiB: powers of 1024, as K, M and G of --limit-rate are. \
         The summary's rate counts the bytes that this run moved.",
    ],
    sections: &[
        Section {
            title: "PASSWORDS",
            text: &[
                "A server with --auth asks for a user and a password. The client looks for them in \
                 the file of --auth, else in the file of ROPEWALK_AUTH, else in the file of all \
                 hosts, else it asks at the terminal, which does not show the password. It asks \
                 only where standard error is a terminal. The password itself is never sent.",
                "The first two files have one line, user:password. A file that others may read or \
                 change is refused; the file of all hosts is then not used, with a warning.",
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
                     while the client checks what is there, or waits for an MD5; saving.",
                ),
                ("bytes, size, percent", "Bytes that are there, of the file, and their share."),
                ("rate, left", "Bytes per second, and seconds to the last byte, or null."),
                ("streams, resent", "Open streams, and blocks that were asked for again."),
                ("kept, checked", "Bytes of an earlier run, and how many of them are checked."),
                ("hashed", "Bytes that are in the MD5, or null."),
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
                ("OFILE.part", "What has arrived so far; readable for its owner alone."),
                (
                    "OFILE.part.journal",
                    "Which ranges of it can be trusted. Both files are removed when the fetch \
                     succeeds, when the MD5 differs, and when the file changes on the server.",
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
                "SIGINT, SIGTERM and SIGHUP end the fetch and keep what has arrived. A second one \
                 does not wait.",
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
