//! The HTTP clients of others, if they are installed: they get the right file, whole, by ranges,
//! and resumed.

use crate::support::harness::{Scratch, content, wait_until};
use crate::support::http::Http;
use crate::support::site::Site;
use crate::support::system::signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// How much of the file is there before a client resumes it. aria2c counts whole pieces.
const BEGUN: usize = 1 << 20;

/// A server with one file.
struct Setup {
    server: Site,
    bytes: Vec<u8>,
    url: String,
    out: String,
}

impl Setup {
    /// `None`, and a message, if the tool is not installed.
    fn new(tool: &str) -> Option<Setup> {
        Setup::with(tool, &[])
    }

    fn with(tool: &str, options: &[&str]) -> Option<Setup> {
        let asked = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().unwrap();
        if !asked.status.success() {
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
        let server = Site::start(options);
        let bytes = content(5_000_003);
        let path = server.file("a file.bin", &bytes);
        let url = format!("http://{}{}", server.address, path.replace(' ', "%20"));
        let out = server.folder.join("out").into_os_string().into_string().unwrap();
        Some(Setup { server, bytes, url, out })
    }

    /// Writes a beginning that differs from the file's, so that the test can recognise it in the
    /// end.
    fn begun(&self) {
        fs::write(&self.out, [0; BEGUN]).unwrap();
    }

    /// Demands that the beginning is unchanged, and that the rest of the file follows it.
    #[track_caller]
    fn resumed(&self) {
        self.got(&[&[0; BEGUN][..], &self.bytes[BEGUN..]].concat());
    }

    /// The command of the tool, in the server's folder.
    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool);
        command
            .args(arguments)
            .env_remove("http_proxy")
            .env("no_proxy", "*")
            .current_dir(&self.server.folder)
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, tool: &str, arguments: &[&str]) {
        let ran = self.command(tool, arguments).output().unwrap();
        assert!(ran.status.success(), "{tool} {arguments:?}: {ran:?}");
    }

    #[track_caller]
    fn got(&self, expected: &[u8]) {
        assert!(fs::read(&self.out).unwrap() == expected, "the output differs");
        fs::remove_file(&self.out).unwrap();
    }
}

#[test]
fn curl_gets_a_file_a_part_and_the_rest() {
    let Some(setup) = Setup::new("curl") else { return };
    let (url, out) = (setup.url.as_str(), setup.out.as_str());
    setup.run("curl", &["-fsS", "-o", out, url]);
    setup.got(&setup.bytes);
    setup.run("curl", &["-fsS", "-r", "1000-1999", "-o", out, url]);
    setup.got(&setup.bytes[1000..2000]);
    setup.begun();
    setup.run("curl", &["-fsS", "-C", "-", "-o", out, url]);
    setup.resumed();
}

#[test]
fn curl_gets_nothing_new_when_there_is_nothing() {
    let Some(setup) = Setup::new("curl") else { return };
    let (url, out) = (setup.url.as_str(), setup.out.as_str());
    let tags = setup.server.folder.join("tags");
    let tags = tags.to_str().unwrap();
    setup.run("curl", &["-fsS", "--etag-save", tags, "-R", "-o", out, url]);
    setup.run("curl", &["-fsS", "--etag-compare", tags, "-o", "/dev/full", url]);
    setup.run("curl", &["-fsS", "-z", out, "-o", "/dev/full", url]);
    setup.got(&setup.bytes);
}

#[test]
fn curl_saves_under_the_name_that_it_is_told() {
    let Some(setup) = Setup::new("curl") else { return };
    let folder = setup.server.folder.join("elsewhere");
    fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    setup.run("curl", &["-fsS", "-OJ", "--output-dir", folder, setup.url.as_str()]);
    assert!(fs::read(format!("{folder}/a file.bin")).unwrap() == setup.bytes);
}

#[test]
fn wget_gets_a_file_and_the_rest_of_one() {
    let Some(setup) = Setup::new("wget") else { return };
    let (url, out) = (setup.url.as_str(), setup.out.as_str());
    setup.run("wget", &["-q", "-O", out, url]);
    setup.got(&setup.bytes);
    setup.begun();
    setup.run("wget", &["-q", "-c", "-O", out, url]);
    setup.resumed();
    // Nothing is left to fetch, and that is no failure.
    fs::write(out, &setup.bytes).unwrap();
    setup.run("wget", &["-q", "-c", "-O", out, url]);
    setup.got(&setup.bytes);
}

#[test]
fn aria2c_gets_a_file_over_four_connections_and_the_rest_of_one() {
    let Some(setup) = Setup::new("aria2c") else { return };
    let options = ["-q", "-x4", "-s4", "-k1M", "-o", "out", setup.url.as_str()];
    setup.run("aria2c", &options);
    setup.got(&setup.bytes);
    setup.begun();
    setup.run("aria2c", &[&["-c"], &options[..]].concat());
    setup.resumed();
}

#[test]
fn axel_gets_a_file_over_four_connections() {
    let Some(setup) = Setup::new("axel") else { return };
    setup.run("axel", &["-q", "-n", "4", "-o", setup.out.as_str(), setup.url.as_str()]);
    setup.got(&setup.bytes);
}

#[test]
fn axel_goes_on_where_it_was_interrupted() {
    // The rate is so low that the fetch cannot end before the signal.
    let Some(slow) = Setup::with("axel", &["--limit-rate", "64K"]) else { return };
    let setup = Setup::new("axel").unwrap();
    let out = setup.out.as_str();
    let arguments = |url| ["-q", "-n", "4", "-o", out, url];
    let mut begun = setup.command("axel", &arguments(&slow.url)).spawn().unwrap();
    let some_byte = wait_until("the first bytes", || {
        fs::read(out).unwrap_or_default().iter().position(|&byte| byte != 0)
    });
    signal(begun.id(), libc::SIGINT);
    begun.wait().unwrap();
    // Changes a byte that axel already has, so that the test can recognise it in the end.
    let mut changed = fs::read(out).unwrap();
    changed[some_byte] ^= 0xff;
    fs::write(out, changed).unwrap();
    setup.run("axel", &arguments(&setup.url));
    let mut expected = setup.bytes.clone();
    expected[some_byte] ^= 0xff;
    setup.got(&expected);
}

#[test]
fn lftp_gets_a_file_over_four_connections_and_the_rest_of_one() {
    let Some(setup) = Setup::new("lftp") else { return };
    let command = |option| format!("pget {option} -n 4 {} -o {}", setup.url, setup.out);
    setup.run("lftp", &["-c", &command("")]);
    setup.got(&setup.bytes);
    setup.begun();
    let (size, half) = (setup.bytes.len(), setup.bytes.len() / 2);
    let status =
        format!("size={size}\n0.pos={BEGUN}\n0.limit={half}\n1.pos={half}\n1.limit={size}\n");
    setup.server.file("out.lftp-pget-status", status.as_bytes());
    setup.run("lftp", &["-c", &command("-c")]);
    setup.resumed();
}

/// A server of a folder with `count` files, and beside it a folder with one file.
fn with_tree(tool: &str, count: usize) -> Option<(Setup, String)> {
    let options = ["-q", "--root", ".", "--index", "--metrics", "127.0.0.1:0"];
    let setup = Setup::with(tool, &options)?;
    let folder = &setup.server.folder;
    fs::create_dir_all(folder.join("tree/a b")).unwrap();
    setup.server.file("tree/a b/<&>#1", b"odd");
    Scratch::fill(&folder.join("tree"), (0..count).map(|at| at.to_string()), b"x");
    let url = format!("http://{}/tree/", setup.server.address);
    Some((setup, url))
}

/// Demands that the tree is complete, and that each file came once.
#[track_caller]
fn mirrored(copy: &Path, count: usize) {
    assert_eq!(fs::read(copy.join("a b/<&>#1")).unwrap(), b"odd");
    let files = fs::read_dir(copy).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.filter(|name| name.to_str().unwrap().parse::<usize>().is_ok());
    assert_eq!(files.count(), count);
}

#[test]
fn wget_mirrors_a_huge_folder_and_asks_for_it_once() {
    let Some((setup, url)) = with_tree("wget", 10_500) else { return };
    let copy = setup.server.folder.join("copy");
    let into = copy.to_str().unwrap();
    setup.run("wget", &["-q", "-m", "-np", "-nH", "--cut-dirs=1", "-P", into, &url]);
    mirrored(&copy, 10_500);
    // Each file and each folder once.
    let metrics = Http::connect(setup.server.metrics.unwrap()).ask("GET", "/-/metrics", &[]);
    let expected = format!("ropewalk_downloads_total{{outcome=\"complete\"}} {}\n", 2 + 10_501);
    assert!(metrics.text().contains(&expected), "{}", metrics.text());
}

#[test]
fn rclone_copies_a_huge_folder() {
    let Some((setup, url)) = with_tree("rclone", 10_500) else { return };
    let copy = setup.server.folder.join("copy");
    let into = copy.to_str().unwrap();
    setup.run("rclone", &["--config=", "copy", "--http-url", &url, ":http:", into]);
    mirrored(&copy, 10_500);
}

#[test]
fn lftp_mirrors_a_folder() {
    let Some((setup, url)) = with_tree("lftp", 100) else { return };
    let copy = setup.server.folder.join("copy");
    setup.run("lftp", &["-c", &format!("mirror {url} {}", copy.to_str().unwrap())]);
    mirrored(&copy, 100);
}

#[test]
fn the_wget_of_busybox_follows_the_redirection_of_a_folder() {
    let Some((setup, url)) = with_tree("busybox", 3) else { return };
    let url = url.trim_end_matches('/');
    setup.run("busybox", &["wget", "-q", "-O", setup.out.as_str(), url]);
    assert!(fs::read_to_string(&setup.out).unwrap().contains("href=\"a%20b/\""));
}

#[test]
fn wget_mirrors_a_folder_by_its_index() {
    let Some(setup) = Setup::with("wget", &["--root", ".", "--index"]) else { return };
    let folder = &setup.server.folder;
    fs::create_dir_all(folder.join("tree/a b/c")).unwrap();
    setup.server.file("tree/a b/<&>#1", b"odd");
    setup.server.file("tree/a b/c/deep", b"deep");
    let url = format!("http://{}/tree/", setup.server.address);
    let elsewhere = folder.join("elsewhere");
    let into = elsewhere.to_str().unwrap();
    setup.run("wget", &["-q", "-r", "-np", "-nH", "--cut-dirs=1", "-P", into, &url]);
    assert_eq!(fs::read(elsewhere.join("a b/<&>#1")).unwrap(), b"odd");
    assert_eq!(fs::read(elsewhere.join("a b/c/deep")).unwrap(), b"deep");
}
