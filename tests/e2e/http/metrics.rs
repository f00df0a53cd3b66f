//! `--metrics`: the format, and that the samples follow what the server does.

use crate::support::exit::SYSTEM;
use crate::support::harness::{Scratch, Server, content, run};
use crate::support::http::{Http, Reply};
use crate::support::peers::tree;
use crate::support::site::Site;
use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and labels, spelled as in the text.
type Samples = BTreeMap<String, f64>;

fn serving() -> Site {
    Site::start(&["--metrics", "127.0.0.1:0"])
}

fn ask(server: &Site, method: &str, target: &str) -> Reply {
    Http::connect(server.metrics.unwrap()).ask(method, target, &[])
}

fn samples(server: &Site) -> Samples {
    let reply = ask(server, "GET", "/-/metrics");
    assert_eq!((reply.status, reply.field("content-type")), (200, "text/plain; version=0.0.4"));
    parse(reply.text())
}

/// Parses the text format with the checks of Prometheus. HELP and TYPE come before the samples of
/// their family, no sample comes twice, and names and labels are valid.
fn parse(text: &str) -> Samples {
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let (mut samples, mut family) = (Samples::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap();
            assert!(!words.is_empty() && !words.contains('\\'), "{line}");
            assert!(helped.insert(name.to_string()), "{line}: twice");
            family = name.to_string();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(typed.insert(name.to_string(), kind).is_none(), "{line}: twice");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            assert_eq!(bare, family, "{line}: outside of its family");
            assert!(typed.contains_key(bare), "{line}: no type");
            assert!(bare.starts_with("ropewalk_"), "{line}");
            assert!(bare.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            if let Some(labels) = name.strip_prefix(bare).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|l| l.strip_suffix("\"}")).unwrap();
                let (label, value) = labels.split_once("=\"").unwrap();
                assert!(label.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
                assert!(!value.contains(['"', '\\', '\n']), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(name.to_string(), value).is_none(), "{line}: twice");
        }
    }
    samples
}

#[test]
fn a_server_that_has_done_nothing_counts_nothing() {
    let server = serving();
    for (name, value) in samples(&server) {
        let constant = ["ropewalk_build_info", "ropewalk_start_time_seconds"];
        if constant.iter().any(|own| name.starts_with(own)) {
            assert!(value >= 1.0, "{name}");
        } else {
            assert_eq!(value, 0.0, "{name}");
        }
    }
}

#[test]
fn a_transfer_moves_the_numbers() {
    let mut server = serving();
    let bytes = content(3_000_000);
    let path = server.file("file", &bytes);
    let output = server.scratch.path("out");
    run(&mut server.scratch.client(server.address, 4, path, output)).succeeded();
    server.log_line(); // the transfer has ended, and is counted
    let now = samples(&server);
    assert_eq!(now["ropewalk_transfers_total{outcome=\"complete\"}"], 1.0);
    assert_eq!(now["ropewalk_transfers_total{outcome=\"failed\"}"], 0.0);
    assert!(now["ropewalk_transfer_bytes_total"] >= 3_000_000.0, "{now:?}");
    assert!((1.0..=4.0).contains(&now["ropewalk_stream_peak_total"]), "{now:?}");
    assert!(now["ropewalk_transfer_seconds_total"] > 0.0, "{now:?}");
    for name in ["ropewalk_transfers_active", "ropewalk_streams_active"] {
        assert_eq!(now[name], 0.0, "{name}");
    }
}

#[test]
fn files_of_a_folder_are_counted() {
    let scratch = Scratch::new("metrics-tree");
    let mut server = Server::start(&scratch, &["--metrics", "127.0.0.1:0"]);
    scratch.make_dir("top");
    for name in ["one", "two", "three"] {
        scratch.write(format!("top/{name}"), name.as_bytes());
    }
    let session = tree::ask(&server, "top", 1);
    let mut stream = session.open();
    assert_eq!(stream.fetch_all(&session).len(), 3);
    stream.finish();
    server.next_log_line();
    let mut http = Http::connect(server.metrics.unwrap());
    let text = http.ask("GET", "/-/metrics", &[]);
    assert!(text.text().contains("\nropewalk_files_total 3\n"), "{}", text.text());
    assert!(text.text().contains("\nropewalk_transfer_bytes_total 11\n"), "{}", text.text());
}

#[test]
fn a_transfer_without_a_stream_counts_as_active_and_then_as_failed() {
    let mut server = Site::start(&["--metrics", "127.0.0.1:0", "--idle-timeout", "1"]);
    let path = server.file("file", b"x");
    server.post(&path, "{\"threads\": 1, \"protocol\": 2}");
    // On a slow machine the transfer may already have ended.
    let now = samples(&server);
    let failed = "ropewalk_transfers_total{outcome=\"failed\"}";
    assert_eq!(now["ropewalk_transfers_active"] + now[failed], 1.0, "{now:?}");
    server.log_line();
    let now = samples(&server);
    assert_eq!((now["ropewalk_transfers_active"], now[failed]), (0.0, 1.0));
}

#[test]
fn gets_and_errors_are_counted() {
    let mut server = serving();
    let path = server.file("file", &content(1000));
    let mut client = server.connect();
    client.ask("GET", &path, &["Range: bytes=0-99"]);
    server.log_line();
    for _ in 0..3 {
        client.ask("GET", "/nothing", &[]);
    }
    client.ask("GET", &path, &["Range: bytes=1000-"]);
    client.ask("HEAD", &path, &[]);
    client.ask("GET", &path, &["If-None-Match: *"]);
    let now = samples(&server);
    assert_eq!(now["ropewalk_downloads_total{outcome=\"complete\"}"], 1.0);
    assert_eq!(now["ropewalk_download_bytes_total"], 100.0);
    assert_eq!(now["ropewalk_downloads_active"], 0.0);
    assert_eq!(now["ropewalk_errors_total{status=\"404\"}"], 3.0);
    assert_eq!(now["ropewalk_errors_total{status=\"416\"}"], 1.0);
    assert_eq!(now.keys().filter(|name| name.contains("status=")).count(), 2, "{now:?}");
}

#[test]
fn a_get_under_way_is_counted() {
    let server = serving();
    let path = server.sparse("file", 1 << 40);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.head();
    assert_eq!(samples(&server)["ropewalk_downloads_active"], 1.0);
}

#[test]
fn each_port_serves_its_own_only() {
    let server = serving();
    let path = server.file("file", b"x");
    assert_eq!(ask(&server, "GET", &path).status, 404);
    assert_eq!(ask(&server, "POST", "/-/metrics").status, 405);
    let head = ask(&server, "HEAD", "/-/metrics");
    assert_eq!((head.status, head.field("connection")), (200, "close"));
    assert_eq!(server.ask("GET", "/-/metrics", &[]).status, 404);
}

#[test]
fn the_name_of_the_metrics_is_an_ordinary_name_at_the_control_port() {
    let server = Site::start(&["--root", ".", "--metrics", "127.0.0.1:0"]);
    std::fs::create_dir(server.folder.join("-")).unwrap();
    server.file("-/metrics", b"mine");
    assert_eq!(server.ask("GET", "/-/metrics", &[]).text(), "mine");
    assert!(samples(&server).contains_key("ropewalk_transfers_active"));
}

#[test]
fn connections_to_the_metrics_shut_out_no_client() {
    let server = Site::start(&["--metrics", "127.0.0.1:0", "--max-connections", "2"]);
    let path = server.file("file", b"x");
    let address = server.metrics.unwrap();
    let strangers: Vec<Http> = (0..50).map(|_| Http::connect(address)).collect();
    assert_eq!(server.ask("GET", &path, &[]).text(), "x");
    drop(strangers);
    assert!(!samples(&server).is_empty());
}

#[test]
fn a_taken_address_for_metrics_ends_the_server_at_its_start() {
    let server = serving();
    let taken = server.metrics.unwrap().to_string();
    let mut other = server.scratch.program("server");
    let outcome = run(other.args(["-q", "--bind", "127.0.0.1", "--metrics", &taken, "0"]));
    outcome.failed(SYSTEM, "server", "--metrics: Address already in use");
}
