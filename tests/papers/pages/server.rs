//! The page of `server`: its log, its numbers and its index, beside what every page has.

#![forbid(unsafe_code)]

use super::{Page, Section};
use ropewalk::app::programs::SERVER;
use ropewalk::error::ExitCode;

/// The page.
pub(super) const PAGE: Page = Page {
    program: &SERVER,
    description: &[
        "Sends files over many TCP streams at once to ropewalk-client and to the classic client, \
         and over one connection to any HTTP client such as curl, wget or a browser. Only regular \
         files are sent. A name without a leading slash starts at the folder that the server was \
         started in, or at the folder of --root.",
        "Each transfer is carried by a ropewalk-sender of its own, on a port of its own, or \
         through the server's port where the client cannot reach that one. When the server is \
         ready it prints a line with its address on standard output, and a second line with the \
         address of --metrics.",
        "A GET never mixes two states of a file. When a file is rewritten or cut while it is \
         sent, the connection ends before the last byte, so the client knows. A file that is \
         appended to, renamed, replaced or deleted meanwhile is sent whole.",
        "Nothing is encrypted. Without --root the server sends every file that it can read, and \
         without --auth to everybody who can connect to it.",
    ],
    sections: &[INDEX, LOG, METRICS, SIGNALS, ENVIRONMENT, FILES],
    exits: &[ExitCode::Success, ExitCode::System, ExitCode::Usage],
    see_also: &[("ropewalk-client", 1), ("ropewalk-sender", 1)],
};

const INDEX: Section = Section {
    title: "INDEX",
    text: &[
        "With --index a GET of a folder gets a list of its entries, in the form that the Accept \
         field asks for. Entries are folders, and the files that the server would send. A name \
         without its last slash is redirected to the name with it.",
    ],
    entries: &[
        (
            "text/html",
            "Accept names it, as browsers do: a page for people, with up to 10,000 entries and a \
             link to the next page. Errors are pages too.",
        ),
        (
            "application/json",
            "Accept prefers it: one object with all entries, folders first, then by the bytes of \
             the name.",
        ),
        (
            "anything else",
            "As curl, wget, rclone and lftp ask: plain HTML with all entries. Its only links are \
             the entries and the folder above.",
        ),
        (
            "entries, complete",
            "Of the JSON object: an array with an object for each entry; and true, since no entry \
             is left out.",
        ),
        (
            "name, path, type, size, mtime",
            "Of an entry: its name; a relative URL; file or folder; the bytes of a file; the time \
             of its last change, in seconds since 1970.",
        ),
        (
            "?sort=name, ?sort=size, ?sort=date",
            "The order of the page; a minus before the word, as in ?sort=-size, reverses it.",
        ),
        ("?q=TEXT", "Only names that have TEXT in them, in upper or lower case."),
        ("?after=PLACE", "The page after that entry. Links to the next page have it."),
        (
            "FILE?view",
            "Text, a picture or a PDF is shown in the browser, and not saved. Its \
             Content-Security-Policy lets nothing in it run.",
        ),
        ("FILE?get", "A page with the ropewalk command that fetches FILE."),
        ("/robots.txt", "Asks robots to leave out queries, where no file of this name is served."),
    ],
};

const LOG: Section = Section {
    title: "LOG",
    text: &[
        "The log goes to standard error, or to the file of --log, which the server creates with \
         mode 0640. Each line begins with the time in UTC, as RFC 3339 has it. Where standard \
         error is the journal of systemd, which has its own time stamps, the time is left out. \
         -q leaves only errors; -v adds what each worker gave up to confine itself.",
        "Names are escaped. No line has a password or a token. Refused requests take at most 100 \
         lines at once, and 10 lines a second after that; a line then counts the refusals that \
         were left out. To rotate the file, rename it and send SIGUSR1. FILE may be a pipe with a \
         reader: the log never blocks, so a full pipe loses lines.",
    ],
    entries: &[
        (
            "PEER NAME N bytes of SIZE over N streams in N s: OUTCOME",
            "The end of a transfer. PEER is address:port, with port 0 for a client that the proxy of \
             --trust-proxy names. OUTCOME is complete, or the error.",
        ),
        (
            "PEER GET NAME N bytes of SIZE in N s: OUTCOME",
            "The end of a download. OUTCOME is complete, or the error, such as the file changed.",
        ),
        (
            "PEER METHOD NAME refused: STATUS: REASON (CAUSE)",
            "A request that was refused. The cause, such as Permission denied, stands only in \
             the log: the peer gets 404, and no such file.",
        ),
        ("PEER: REASON", "A login that failed. This is an error, so -q does not leave it out."),
        ("N more requests refused: too many for the log", "Lines that were left out."),
    ],
};

const METRICS: Section = Section {
    title: "METRICS",
    text: &[
        "With --metrics the server answers GET /-/metrics at that address, in the text format of \
         Prometheus. No password is asked for. All names begin with ropewalk_.",
    ],
    entries: &[
        (
            "transfers_total{outcome}",
            "Transfers that have ended: complete, changed (the file changed), or failed.",
        ),
        ("transfers_active, streams_active", "Transfers under way, and their open streams."),
        (
            "transfer_bytes_total",
            "Bytes of files that transfers have sent, those under way included.",
        ),
        ("transfer_seconds_total", "Total duration of the transfers that have ended."),
        (
            "stream_peak_total",
            "Sum, over ended transfers, of the most streams that each had open at once.",
        ),
        (
            "downloads_total{outcome}",
            "GETs that have ended and had a body, with the same outcomes.",
        ),
        ("downloads_active", "GETs under way."),
        ("download_bytes_total", "Bytes that GETs have received, counted when they end."),
        ("download_seconds_total", "Total duration of the GETs that have ended."),
        ("errors_total{status}", "Responses with a status from 400 on."),
        ("start_time_seconds", "When the server was started, in seconds since 1970."),
        ("build_info{version}", "Always 1; the label has the version."),
    ],
};

const SIGNALS: Section = Section {
    title: "SIGNALS",
    text: &[],
    entries: &[
        (
            "SIGINT, SIGTERM",
            "End the server and all transfers. A second signal does not wait for them.",
        ),
        ("SIGHUP", "With --auth: reads the passwords again. Without --auth: as SIGTERM."),
        ("SIGUSR1", "With --log: opens the file anew. Without --log: nothing."),
    ],
};

const ENVIRONMENT: Section = Section {
    title: "ENVIRONMENT",
    text: &[],
    entries: &[
        (
            "LISTEN_PID, LISTEN_FDS",
            "When LISTEN_PID is the number of the server's own process, it listens on the sockets \
             that it was started with, LISTEN_FDS of them from descriptor 3 on, as \
             systemd.socket(5) hands them over. They have to be TCP sockets that listen already. \
             Leave out the port and --bind then.",
        ),
        ("JOURNAL_STREAM", "How systemd names the journal: see LOG."),
    ],
};

const FILES: Section = Section {
    title: "FILES",
    text: &[],
    entries: &[
        (
            "../libexec/ropewalk/sender",
            "The worker, from the folder of ropewalk-server on. The server takes a worker beside \
             it only where there is none here.",
        ),
        (
            "the file of --auth",
            "A line user:password for each user. Only its owner may have access to it.",
        ),
    ],
};
