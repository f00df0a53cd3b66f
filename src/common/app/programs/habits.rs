//! Options of other programs (rsync, scp, wget, curl, aria2, darkhttpd and so on), with the
//! advice that a user of one gets.

#![forbid(unsafe_code)]

use super::super::options::Habit;

const fn habit(spellings: &'static str, instead: &'static str) -> Habit {
    Habit { spellings, instead }
}

const NO_ENCRYPTION: &str = "ropewalk does not encrypt; client -e ssh does";

/// For the client.
pub(super) const CLIENT: &[Habit] = &[
    habit(
        "-r -R -a --recursive --archive --mirror -m",
        "a folder is fetched with everything in it, modes and times too, without an option",
    ),
    habit(
        "--delete-after --delete-before --delete-during --delete-excluded",
        "--delete deletes at the end what the server's folder does not have",
    ),
    habit(
        "-c -C --continue --continue-at --resume",
        "the same command continues an interrupted fetch by itself",
    ),
    habit(
        "-P --partial --append",
        "a partial file is always kept, and a port is part of the address: host:8080",
    ),
    habit("-p --port", "the port is part of the address: host:8080"),
    habit("--preserve --times --perms -t -g", "times and modes are kept without an option"),
    habit("--filter --files-from", "--exclude and --include say which entries are fetched"),
    habit("-W --whole-file", "--whole fetches what an older file has already"),
    habit("--numeric-ids", "--owner keeps owners by number"),
    habit("-z --compress --compressed", "ropewalk does not compress; send a compressed file"),
    habit(
        "--bwlimit --max-download-limit --max-overall-download-limit -l",
        "--limit-rate RATE limits the rate, such as --limit-rate 2M",
    ),
    habit(
        "-o -O --output --output-document --remote-name --out -d --dir --directory-prefix",
        "the output file or folder is the last argument",
    ),
    habit(
        "-j -N -s --threads --connections --split --max-connection-per-server --num-connections",
        "--streams N sets the number of streams",
    ),
    habit(
        "-u --user --password --http-user --http-password --password-file",
        "--auth FILE names a file with the line user:password",
    ),
    habit(
        "-T --timeout --max-time",
        "--connect-timeout and --retry-for limit how long the client waits",
    ),
    habit("--tries --retry --retries", "--retry-for SECONDS sets how long the client tries"),
    habit("--silent --no-verbose --no-progress-meter -nv", "--quiet prints errors only"),
    habit("--no-check -k --insecure --no-check-certificate --cacert --ssl --tls", NO_ENCRYPTION),
    habit("-i -F", "-e 'ssh -i FILE' gives ssh its options"),
    habit("--rsync-path", "--remote-server PATH names the program on the other machine"),
    habit("-L --location", "ropewalk follows no redirects"),
    habit("-f --force --overwrite --clobber", "an older output file is always replaced"),
    habit("--upload --upload-file", "--push sends FILE to a server that takes uploads"),
];

/// For the server.
pub(super) const SERVER: &[Habit] = &[
    habit("-p -P --port", "the port is the last argument"),
    habit("-d --dir --directory --chroot --path", "--root DIR names the folder to serve"),
    habit("-b --address --addr --host --listen --interface", "--bind ADDR sets the address"),
    habit(
        "-D --daemon --detach --background",
        "the server stays in the foreground; packaging/ has a unit for systemd",
    ),
    habit("-c --config", "ropewalk has no configuration file"),
    habit(
        "--password --passwords --htpasswd --basic-auth",
        "--auth FILE names the file of passwords",
    ),
    habit("--tls --ssl --cert --key --https", NO_ENCRYPTION),
    habit("--bwlimit --rate", "--limit-rate RATE limits the rate"),
    habit(
        "-r --recursive",
        "every folder can be fetched; --index shows folders to browsers and other tools",
    ),
    habit("-w --upload --uploads --allow-upload", "--writable DIR names the folder for uploads"),
    habit("--access-log --logfile --log-file", "--log FILE names the file of the log"),
    habit("-t -j --threads --streams --workers", "--max-streams N limits the streams per transfer"),
];
