//! The man page of `server`, with its log, its metrics and its index.

#![forbid(unsafe_code)]

use super::{Page, Section};
use ropewalk::app::programs::SERVER;
use ropewalk::error::ExitCode;

/// The page.
pub(super) const PAGE: Page = Page {
    program: &SERVER,
    description: &[
        "Sends files over many TCP streams at once to ropewalk-client and to the classic client. \
         Any HTTP client, such as curl, wget or a browser, gets them over one connection. The \
         server sends only regular files. With --writable it takes files too. A name without a leading slash starts at the folder that \
         the server was started in, or at the folder of --root.",
        "Each transfer has its own sender process and its own port. Where the client cannot reach \
         that port, the streams go through the server's port. When the server is ready, it prints \
         a line with its address on standard output, and further lines with the address of \
         --metrics and the folder of --writable.",
        "A GET never mixes two states of a file. If a file is rewritten or cut while it is sent, \
         the connection ends before the last byte, so that the client knows. A file that is \
         appended to, renamed, replaced or deleted meanwhile is sent whole.",
        "With --stdio the server listens nowhere. It serves one client over standard input and \
         output, as client -e ssh starts it. It ends when standard input does, or brings nothing \
         for 90 s. Further connections of the same user join its session through a Unix \
         socket with an abstract name. It logs errors only, unless --log or --verbose is given. \
         With --push too, the client may write and delete what this user may, beneath --root and \
         --writable; modes, owners and links are kept as the client has them.",
        "Nothing is encrypted. Without --root the server sends every file that it can read. \
         Without --auth it sends files to everybody who can connect to it.",
    ],
    sections: &[INDEX, UPLOADS, PUSHES, LOG, METRICS, SIGNALS, ENVIRONMENT, FILES],
    exits: &[ExitCode::Success, ExitCode::System, ExitCode::Usage],
    see_also: &[("ropewalk-client", 1), ("ropewalk-sender", 1)],
};

const INDEX: Section = Section {
    title: "INDEX",
    text: &[
        "With --index the server answers a GET of a folder with a list of its entries, in the form \
         that the Accept field asks for. Entries are folders, and the files that the server would \
         send. It redirects the name of a folder without a slash at its end to the name with one.",
    ],
    entries: &[
        (
            "text/html",
            "If Accept names it, as browsers do: a page for people, with up to 10,000 entries and a \
             link to the next page. Errors are pages too.",
        ),
        (
            "application/json",
            "If Accept prefers it: one object with all entries, folders first, in the byte order of \
             their names.",
        ),
        (
            "anything else",
            "For curl, wget, rclone and lftp: plain HTML with all entries. Its only links are the \
             entries and the folder above.",
        ),
        (
            "entries, complete",
            "In the JSON object: an array with an object for each entry, and the value true, since \
             no entry is left out.",
        ),
        (
            "name, path, type, size, mtime",
            "In each entry: its name; a relative URL; file or folder; the bytes of a file; the time \
             of its last change, in seconds since 1970.",
        ),
        (
            "?sort=name, ?sort=size, ?sort=date",
            "The order of the page; a minus before the word, as in ?sort=-size, reverses it.",
        ),
        ("?q=TEXT", "Only names that contain TEXT, in upper or lower case."),
        ("?after=PLACE", "The page after the entry PLACE, as links to the next page have it."),
        (
            "FILE?view",
            "The browser shows text, a picture or a PDF, and does not save it. Its \
             Content-Security-Policy lets nothing in it run.",
        ),
        ("FILE?get", "A page with the ropewalk command that fetches FILE."),
        (
            "/robots.txt",
            "Asks robots to leave out queries, unless the server has a file of this name.",
        ),
    ],
};

const UPLOADS: Section = Section {
    title: "UPLOADS",
    text: &[
        "With --writable the server takes files by HTTP PUT, as curl -T, wget --method=PUT and the \
         pages of --index send them. The name of the file is a name as in a GET. It must be beneath \
         DIR, and its folder must exist. The server tells where clients may write in a line on \
         standard output, after its address.",
        "A file comes under a name that begins with .ropewalk-, which is never listed or served. It \
         gets its own name when it is whole, checked and on the disk. So that name is always the \
         old file or the whole new one. A link is replaced and never followed; of a file with \
         several names only this name changes. A new file gets the mode that touch(1) gives it \
         there, a replaced one keeps its permission bits. What a killed server left goes after 7 \
         days, when the next file comes into that folder.",
        "If-None-Match: * allows only a new file, and If-Match only the state with this ETag. A \
         Repr-Digest or Content-Digest with md5 or sha-256 is checked. The body needs a \
         Content-Length. A client that sends Expect: 100-continue hears of a refusal \
         before it sends the file.",
    ],
    entries: &[
        ("201, 204", "The file is in place and on the disk; 204 if it replaced something."),
        ("400", "Content-Range, a digest that does not match or is unknown, a name too long."),
        (
            "403",
            "The name is not beneath DIR, or is one that the server needs for files on their way: \
             .ropewalk- and 32 hexadecimal digits, or what ends in .part; or the server has no \
             right to write there.",
        ),
        ("409", "The folder does not exist; a folder, a FIFO, a socket or a device has the name."),
        ("411", "No Content-Length, as from curl -T -."),
        ("412", "A condition does not hold."),
        ("413", "The file is larger than --max-upload, or than any file can be there."),
        (
            "507",
            "Too little space. What others have announced counts, and --keep-free percent stay \
             free, of bytes and of files.",
        ),
    ],
};

const PUSHES: Section = Section {
    title: "PUSHES",
    text: &[
        "With --writable the server also takes files and folders from ropewalk-client --push, over \
         many streams. The rules for names are those of uploads. An interrupted push goes on by the \
         same command for 7 days. A file gets its name when its MD5 is the client's, and it is on \
         the disk.",
        "In a folder that is pushed, entries get the client's modes and mtimes, without set-id bits \
         and what the server's umask takes away. Owners need --allow-owner, and deletions \
         --allow-delete. A symbolic link that is absolute, leads out of the folder, or has .. behind \
         another name is not made, and counts as skipped. A file above --max-upload is refused \
         alone; more entries than --max-files end the push.",
        "A second push to one name is refused with 409 while the first one has streams. The push of \
         a client that has gone makes way after 2 s.",
    ],
    entries: &[],
};

const LOG: Section = Section {
    title: "LOG",
    text: &[
        "The log goes to standard error, or to the file of --log, which the server creates with \
         mode 0640. Each line begins with the time in UTC, in the form of RFC 3339. Lines for the \
         journal of systemd have no time, since the journal adds it. -q leaves only errors; -v adds \
         the rights that each worker gave up.",
        "Names are escaped. No line has a password or a token. Refused requests take at most 100 \
         lines at once, and 10 lines per second after that; another line then counts the rest. To \
         rotate the file, rename it and send SIGUSR1. FILE may be a pipe with a reader: the log \
         never blocks, so a full pipe loses lines.",
    ],
    entries: &[
        (
            "PEER NAME N bytes of SIZE over N streams in N s: OUTCOME",
            "The end of a transfer. PEER is address:port. The port is 0 for a client that the proxy \
             of --trust-proxy names. OUTCOME is complete, or the error.",
        ),
        (
            "PEER GET NAME N bytes of SIZE in N s: OUTCOME",
            "The end of a download. OUTCOME is complete, or the error, such as the file changed.",
        ),
        (
            "PEER PUT NAME N bytes of SIZE in N s: OUTCOME",
            "The end of an upload. OUTCOME is complete when the file is in place and on the disk, \
             or the error.",
        ),
        (
            "PEER PUSH NAME N bytes of SIZE over N streams in N s: OUTCOME",
            "The end of a push of a file. Of a folder it has the number of files, and no SIZE.",
        ),
        (
            "PEER METHOD NAME refused: STATUS: REASON (CAUSE)",
            "A refused request. The cause, such as Permission denied, stands only in the log: the \
             peer gets 404, no such file.",
        ),
        ("PEER: REASON", "A failed login. It is an error, so -q does not leave it out."),
        (
            "N more requests refused: too many for the log",
            "The number of lines that were left out.",
        ),
    ],
};

const METRICS: Section = Section {
    title: "METRICS",
    text: &[
        "With --metrics the server answers GET /-/metrics at that address, in the text format of \
         Prometheus, without a password. All names begin with ropewalk_.",
    ],
    entries: &[
        (
            "transfers_total{outcome}",
            "Transfers that have ended: complete, changed (the file changed), or failed.",
        ),
        ("transfers_active, streams_active", "Transfers under way, and their open streams."),
        (
            "transfer_bytes_total",
            "Bytes of files that all transfers have sent, with those under way.",
        ),
        (
            "files_total",
            "Files of folders that all transfers have sent, with those under way; a file without \
             bytes is not counted.",
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
        (
            "uploads_total{outcome}",
            "PUTs that have ended after their head was accepted: complete or failed.",
        ),
        ("uploads_active", "PUTs under way."),
        ("upload_bytes_total", "Bytes that PUTs have brought, counted when they end."),
        ("upload_seconds_total", "Total duration of the PUTs that have ended."),
        (
            "pushes_total{outcome}",
            "Pushes that have ended: complete (perhaps without some entries), changed, or failed.",
        ),
        ("pushes_active", "Pushes under way."),
        ("push_bytes_total, push_files_total", "What pushes have brought, with those under way."),
        ("push_seconds_total", "Total duration of the pushes that have ended."),
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
            "If LISTEN_PID is the process number of the server, it listens on LISTEN_FDS inherited \
             sockets from descriptor 3 on, as systemd.socket(5) hands them over. They must be TCP \
             sockets that listen already. Leave out the port and --bind then.",
        ),
        (
            "JOURNAL_STREAM",
            "Set by systemd: the server knows by it that the log goes to the journal.",
        ),
    ],
};

const FILES: Section = Section {
    title: "FILES",
    text: &[],
    entries: &[
        (
            "../libexec/ropewalk/sender",
            "The worker; the path begins at the folder of ropewalk-server. If this file is missing, \
             the server takes the sender beside itself.",
        ),
        (
            "the file of --auth",
            "A line user:password for each user. Only the owner of the file may have access to it.",
        ),
    ],
};
