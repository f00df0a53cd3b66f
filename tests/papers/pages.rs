//! The texts of the man pages beyond the tables of options: descriptions, files, signals.
//! pages/server.rs has the server's page.

#![forbid(unsafe_code)]

mod server;

use ropewalk::app::options::Program;
use ropewalk::app::programs::{CLIENT, RECEIVER, SENDER};
use ropewalk::error::ExitCode;

/// One page.
pub(super) struct Page {
    /// The program of the page.
    pub(super) program: &'static Program,
    /// Paragraphs.
    pub(super) description: &'static [&'static str],
    /// Sections between OPTIONS and EXIT STATUS.
    pub(super) sections: &'static [Section],
    /// The exit codes of the program.
    pub(super) exits: &'static [ExitCode],
    /// Other pages, each with its section of the manual.
    pub(super) see_also: &'static [(&'static str, u8)],
}

/// A section of a page.
pub(super) struct Section {
    /// Its heading.
    pub(super) title: &'static str,
    /// Paragraphs.
    pub(super) text: &'static [&'static str],
    /// Names, each with its text.
    pub(super) entries: &'static [(&'static str, &'static str)],
}

/// All pages.
pub(super) static ALL: [Page; 4] = [server::PAGE, CLIENT_PAGE, SENDER_PAGE, RECEIVER_PAGE];

const CLIENT_PAGE: Page = Page {
    program: &CLIENT,
    description: &[
        "Fetches a file or a folder from ropewalk-server, or a file from a classic server, over 1 to \
         255 TCP streams. \
         A URL names the server and the file; its path is percent-decoded, and its port is 80 \
         unless it has one. A query and a fragment are ignored. In the other form the address is \
         host:port, IPv4:port or [IPv6]:port. A link-local address names its interface, as in \
         [fe80::1%eth0]:8080. The client tries all addresses of a name, IPv6 and IPv4 in turn: \
         the next address after 250 ms without an answer, or at once after a failure (RFC \
         8305).",
        "With auto the client begins with a few streams, and opens more streams as long as they \
         raise the rate. A file never gets more streams than it has blocks. --trace draws what \
         each stream did.",
        "Each block has a CRC32C, and the client asks for a damaged block again. The file gets its \
         own name only when it is complete and on the disk, and when its MD5 is the server's. Until \
         then an older file of that name stays as it was. The client follows a symbolic link and \
         replaces its target. An OFILE that is a folder, or ends in a slash, means the file's own \
         name in that folder; the folder must exist. Without OFILE the file gets its own name in \
         this folder.",
        "The file gets the mtime that it has on the server, unless the server is a classic one. \
         If OFILE has the size and the mtime of the file on the server, the client says that it \
         is up to date, fetches nothing, and its exit code is 0. Times also count as equal if one \
         of them is the other cut to 100 ns, 1 us, 10 ms, 1 s or 2 s, as file systems do. \
         --restart fetches the file all the same.",
        "If OFILE is an older version of the file, the client fetches only what differs. It sends \
         hashes of OFILE's blocks of 64 KiB, and the server sends no block that is the same. The \
         bytes have to be at the same place in both files. The MD5 covers the whole file all the \
         same. Where an earlier fetch of another version was interrupted, its OFILE.part takes \
         the place of OFILE, unless OFILE has more bytes. --whole fetches every byte, and so do \
         --restart and a classic server.",
        "With OFILE - the file goes to standard output, in order, while it arrives. The names \
         /dev/stdout and /dev/fd/N mean that descriptor. The client keeps nothing then, and only \
         its exit code tells that the MD5 differs.",
        "The same command continues a fetch that a signal, a lost network, a full disk or a crash \
         has interrupted. It fetches the missing ranges, and checks the others meanwhile. If the \
         file has changed on the server, the client says so and starts over; what is the same it \
         does not fetch again.",
        "Before a byte moves, the client refuses an output that it cannot replace: a mount point, \
         an immutable file, or the file of another user in a folder with the sticky bit. \
         Write into such a file with OFILE - and a redirection.",
        "Where the file system has no locks, modes, times or preallocation (NFS without lockd, FAT, \
         exFAT, FUSE), the client prints a warning and continues.",
        "The client opens a broken or stalled stream again. If it loses the server, it asks for \
         another session for as long as --retry-for allows, and continues. Without \
         --connect-timeout it waits for a reply without limit, and says so every 10 s.",
        "Sizes and rates are in KiB, MiB and GiB, powers of 1024; so are K, M and G of \
         --limit-rate.",
    ],
    sections: &[
        Section {
            title: "SUMMARY",
            text: &[
                "After a fetch the client prints a line: the size, the time, the rate, the most \
                 streams that were open at once, and md5 ok. With -v the line has the digits of \
                 the MD5. It goes to standard output, or to standard error with OFILE -. The rate \
                 counts the bytes that this run moved. These notes are added where they apply:",
            ],
            entries: &[
                (
                    "now, after a rate",
                    "A part of the file was here; the rate counts the bytes that came over the \
                     network in this run.",
                ),
                ("resumed at N%", "An earlier run had left this share of the file."),
                (
                    "SIZE the same",
                    "An older file had these bytes, and the server did not send them. --whole \
                     fetches them too.",
                ),
                ("through the control port", "The streams could not use the data port."),
                ("N damaged blocks asked for again", "The CRC32C of these blocks was wrong."),
                ("N reconnects", "The client opened this many streams again."),
                (
                    "SIZE late, asked for again",
                    "The streams of these bytes were too slow. Less than 1% of the file is not \
                     mentioned.",
                ),
                (
                    "the MD5 was the slowest step",
                    "After the last byte the MD5 took 0.2 s or more, and a tenth of the time.",
                ),
            ],
        },
        Section {
            title: "THROUGH ANOTHER PROGRAM",
            text: &[
                "With --rsh COMMAND no server has to run on the other machine, and no port has to be \
                 open. COMMAND connects its standard input and output to a program there: ssh, \
                 docker exec -i, kubectl exec -i. It is split in words, with quotes, and no shell \
                 runs here. %h in it is replaced by the host; without %h the host comes behind it. \
                 Then follow the words of --remote-server, --stdio, and --push for a push. \
                 [user@]host:path in place of a URL means ssh, unless a port follows the colon; \
                 in the last place, behind a file or a folder, it means a push. A path without a \
                 leading slash begins at the home folder there.",
                "Each stream is a connection of its own. If COMMAND is ssh, it gets -T -x -a -o \
                 ServerAliveInterval=30, and all connections but the first also -o BatchMode=yes \
                 -o ControlPath=none. Only the first may ask for a password. At most 8 connections \
                 log in at once, and none after two failed logins: then the streams that are there \
                 bring the file. One more connection asks for the MD5; a push needs none. Each line that COMMAND writes to its standard error \
                 is shown once, and none with --quiet.",
            ],
            entries: &[],
        },
        Section {
            title: "PASSWORDS",
            text: &[
                "A server with --auth asks for a user and a password. The client takes them from \
                 the file of --auth, else from the file of ROPEWALK_AUTH, else from the file of all \
                 hosts. If none has them and standard error is a terminal, it asks there, three \
                 times at most. The client never sends the password itself.",
                "The first two files have one line, user:password. The client refuses a file that \
                 others may read or change. It ignores such a file of all hosts, with a warning.",
            ],
            entries: &[],
        },
        Section {
            title: "FOLDERS",
            text: &[
                "Where FILE is a folder on the server, its content becomes the content of OFILE: \
                 files, folders, symbolic links, modes and modification times. The client makes \
                 OFILE if it is missing. An OFILE that ends in /, /. or /.. means the folder's own \
                 name in OFILE. The same command goes on after an interruption, and brings OFILE \
                 up to date later. A file that has the size and the time of the server's is not \
                 fetched. Of a changed file of more than 1 MiB, only what differs is fetched.",
                "Each file gets its name only when it is whole and on the disk. Until then it is \
                 called .ropewalk- and 32 hexadecimal digits; such names are never fetched. FIFOs, \
                 sockets and devices are skipped. Symbolic links are made and never followed. \
                 Set-id bits are kept only with --owner.",
                "What cannot be fetched or put in place is named on standard error, the rest is \
                 fetched, and the exit code is 8. A file, a link or an empty folder is replaced by \
                 what the server has; a folder with entries is not.",
                "--delete removes, at the end, what the server's folder does not have. It removes \
                 nothing that --exclude names, nothing in a folder that could not be listed whole, \
                 and nothing after an error here. It refuses to remove more than half of what was \
                 here, or anything if the server's folder is empty; the exit code is 9 then. \
                 --max-delete N takes the place of that rule.",
                "Patterns match whole names at any depth. * is any text in a name, ? one byte, \
                 [a-z] one of a set, ** any folders. A pattern that begins with / matches at the \
                 top only, and one that ends in / matches folders only. The first pattern that \
                 matches decides. An excluded folder is not even listed.",
                "The summary has the files and bytes that were put in place, and how many entries \
                 were the same, were skipped and were deleted.",
            ],
            entries: &[],
        },
        Section {
            title: "PROGRESS OBJECTS",
            text: &["With --progress json each line on standard error is a JSON object."],
            entries: &[
                ("event", "start (first), progress, message, or end (last, also of a failure)."),
                ("version, server, file, output", "Only in start; names are escaped."),
                ("seconds", "Time since the start."),
                (
                    "phase",
                    "asking; moving; lost, while the client asks for another session; checking, \
                     while no byte arrives and the client checks the bytes of an earlier run, \
                     makes the MD5, or waits for the server's MD5; saving.",
                ),
                ("bytes, size, percent", "Bytes that are here, bytes of the file, and the share."),
                (
                    "rate, left",
                    "Bytes per second that arrive, and seconds to the last byte; left is null while \
                     it is unknown.",
                ),
                ("streams, resent", "Open streams, and blocks that the client asked for again."),
                ("kept, checked", "Bytes of an earlier run, and how many of them are checked."),
                ("same", "Bytes that an older file had, so that the server did not send them."),
                ("hashed", "Bytes that the client's MD5 covers; null if it makes none."),
                (
                    "files, files_known",
                    "Only of a folder: files and links that are in place, and those that are known \
                     so far. size is null until the listing is complete.",
                ),
                (
                    "listing_complete",
                    "Only of a folder: whether all of it is listed, so that no more becomes known.",
                ),
                (
                    "files_same, skipped, deleted, refused",
                    "Only of a folder: entries that were here already, that are of other types, that \
                     were deleted, and that could not be had.",
                ),
                (
                    "code, text",
                    "Only in end: the exit code, and the summary or the error. A message has a text \
                     too.",
                ),
                (
                    "md5, resumed",
                    "Only in end, after success: the MD5 or null, and bytes of an earlier run.",
                ),
                (
                    "up_to_date",
                    "Only in end, after success: true if the file was there already, so that no \
                     byte moved.",
                ),
            ],
        },
        Section {
            title: "FILES",
            text: &[],
            entries: &[
                (
                    "OFILE.part",
                    "The bytes that have arrived, readable only by their owner. The client refuses a \
                     file of this name from another program, unless the file is empty or --restart \
                     is given. If the name is too long, it is .ropewalk- and 32 hex digits.",
                ),
                (
                    "OFILE.part.journal",
                    "The ranges of OFILE.part that can be trusted. The client removes both files \
                     when the fetch succeeds and when the MD5 differs. When the file changes on \
                     the server, they stay for the next fetch, unless they have less than 64 KiB \
                     or --whole is given. The client refuses any other file of this name.",
                ),
                (
                    "~/.config/ropewalk/auth",
                    "The file of all hosts, which only its owner may read: a line host[:port] \
                     user:password for each server. The first line for the server counts. A line \
                     may be empty or begin with #.",
                ),
                (
                    "../libexec/ropewalk/receiver",
                    "The worker; the path begins at the folder of ropewalk-client. If this file is \
                     missing, the client takes the receiver beside itself.",
                ),
            ],
        },
        Section {
            title: "ENVIRONMENT",
            text: &[],
            entries: &[
                ("ROPEWALK_AUTH", "The name of a file with the line user:password."),
                ("XDG_CONFIG_HOME", "The folder in place of ~/.config."),
                ("NO_COLOR, TERM", "With NO_COLOR, or if TERM is dumb, nothing is in color."),
            ],
        },
        Section {
            title: "SIGNALS",
            text: &[
                "SIGINT, SIGTERM and SIGHUP end the fetch and keep what has arrived. The client ends \
                 its session on the server, so that it does not count against the server's limits. \
                 A second signal ends the client without these steps.",
            ],
            entries: &[],
        },
    ],
    exits: &ExitCode::ALL,
    see_also: &[("ropewalk-server", 1), ("ropewalk-receiver", 1)],
};

const BY_HAND: &str = "Started by hand, it speaks the classic protocol, takes the arguments of the \
                       classic program, and prints nothing on success.";

const SENDER_PAGE: Page = Page {
    program: &SENDER,
    description: &[
        "The worker that ropewalk-server starts for each transfer. It listens on the port, serves \
         the given number of streams, block_size bytes each, and ends. It also ends after 30 s \
         without a stream.",
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
        "The worker that ropewalk-client starts for each fetch. It writes the bytes of each stream \
         to a part file, and does not join these files.",
        BY_HAND,
        "It is installed as receiver in PREFIX/libexec/ropewalk, not in a folder of PATH.",
    ],
    sections: &[Section {
        title: "FILES",
        text: &[],
        entries: &[("0.prt, 1.prt, ...", "The bytes of each stream, in the given folder.")],
    }],
    exits: &ExitCode::ALL,
    see_also: &[("ropewalk-client", 1), ("ropewalk-sender", 1)],
};
