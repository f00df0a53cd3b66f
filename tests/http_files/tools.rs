//! Other people's clients, where they are installed: they get the right file, whole, in
//! parts, and resumed.

use crate::harness::{Server, content};
use std::fs;
use std::process::{Command, Stdio};

/// A server with one file, of which `out` holds the first part.
struct Setup {
    server: Server,
    bytes: Vec<u8>,
    url: String,
    out: String,
}

impl Setup {
    /// `None`, and a word about it, where the tool is not installed.
    fn new(tool: &str) -> Option<Setup> {
        let asked = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().unwrap();
        if !asked.status.success() {
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
        let server = Server::start(&[]);
        let bytes = content(5_000_003);
        let path = server.file("a file.bin", &bytes);
        let url = format!("http://{}{}", server.address, path.replace(' ', "%20"));
        let out = server.folder.join("out").into_os_string().into_string().unwrap();
        Some(Setup { server, bytes, url, out })
    }

    fn begun(&self) {
        fs::write(&self.out, &self.bytes[..1_234_567]).unwrap();
    }

    /// Runs the tool in the server's folder.
    #[track_caller]
    fn run(&self, tool: &str, arguments: &[&str]) {
        let ran = Command::new(tool)
            .args(arguments)
            .env_remove("http_proxy")
            .env("no_proxy", "*")
            .current_dir(&self.server.folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{tool} {arguments:?}: {ran:?}");
    }

    #[track_caller]
    fn got(&self, expected: &[u8]) {
        assert!(fs::read(&self.out).unwrap() == expected, "what came differs");
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
    setup.got(&setup.bytes);
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
    setup.got(&setup.bytes);
}

#[test]
fn aria2c_gets_a_file_over_four_connections() {
    let Some(setup) = Setup::new("aria2c") else { return };
    let folder = setup.server.folder.to_str().unwrap();
    let options = ["-q", "-x4", "-s4", "-k1M", "--allow-overwrite=true", "-d", folder, "-o", "out"];
    setup.run("aria2c", &[&options[..], &[setup.url.as_str()]].concat());
    setup.got(&setup.bytes);
}

#[test]
fn axel_gets_a_file_over_four_connections() {
    let Some(setup) = Setup::new("axel") else { return };
    setup.run("axel", &["-q", "-n", "4", "-o", setup.out.as_str(), setup.url.as_str()]);
    setup.got(&setup.bytes);
}

#[test]
fn lftp_gets_a_file_over_four_connections() {
    let Some(setup) = Setup::new("lftp") else { return };
    let command = format!("pget -n 4 {} -o {}", setup.url, setup.out);
    setup.run("lftp", &["-c", &command]);
    setup.got(&setup.bytes);
}
