//! A URL in place of address, streams and file, as a browser or an index page shows it.

use crate::support::harness::{Scratch, Server, run};
use crate::support::http::Http;
use std::fs;
use std::process::Command;

/// A client in its own folder with these arguments, which prints only how it ended.
fn client(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = scratch.program("client");
    command.args(words).arg("--progress=none").current_dir(scratch.folder());
    command
}

#[test]
fn a_url_of_an_index_page_is_enough() {
    let scratch = Scratch::new("url-index");
    let here = scratch.make_dir("here");
    let name = "it's 100% <b>\u{fc}?#&.iso";
    scratch.make_dir("served");
    fs::write(scratch.path("served").join(name), b"bytes").unwrap();
    let server = Server::start(&scratch, &["--index", "--root", "served"]);
    let mut http = Http::connect(server.address);
    http.send("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n");
    let page = http.receive();
    let page = page.text();
    // Only the link of the file has a percent sign.
    let link = page.split("href=\"").filter_map(|rest| rest.split('"').next());
    let link = link.filter(|link| link.contains('%')).last().unwrap_or_else(|| panic!("{page}"));
    let mut client = client(&scratch, &[&format!("http://{}/{link}", server.address)]);
    let said = run(client.current_dir(&here)).succeeded();
    assert!(said.starts_with("5 bytes in "), "{said}");
    assert_eq!(fs::read(here.join(name)).unwrap(), b"bytes");
}

#[test]
fn a_url_may_lack_its_scheme_and_have_a_query_and_a_fragment_and_an_output() {
    let scratch = Scratch::new("url-forms");
    let server = Server::start(&scratch, &["--root", "."]);
    scratch.write("a file", b"bytes");
    scratch.make_dir("folder");
    let at = server.address;
    for (words, output) in [
        (&[&format!("{at}/a%20file"), "out-1"][..], "out-1"),
        (&[&format!("http://{at}/a%20file?download=1"), "out-2"], "out-2"),
        (&[&format!("HTTP://{at}/a%20file#top"), "folder/"], "folder/a file"),
        (&[&format!("{at}/a file"), "out-3", "--streams", "2"], "out-3"),
    ] {
        run(&mut client(&scratch, words)).succeeded();
        assert_eq!(fs::read(scratch.path(output)).unwrap(), b"bytes", "{words:?}");
    }
    let said = run(&mut client(&scratch, &[&format!("http://{at}/a%20file"), "-"]));
    assert_eq!(said.succeeded(), "bytes");
}

#[test]
fn the_classic_form_wins_where_it_fits() {
    let scratch = Scratch::new("url-classic");
    let server = Server::start(&scratch, &["--root", "."]);
    scratch.write("100%25 ?#", b"bytes");
    let at = server.address.to_string();
    run(&mut client(&scratch, &[&at, "auto", "100%25 ?#", "out"])).succeeded();
    assert_eq!(fs::read(scratch.path("out")).unwrap(), b"bytes");
}

#[test]
fn a_url_may_have_an_ipv6_address_and_no_port() {
    let scratch = Scratch::new("url-ipv6");
    let mut client = client(&scratch, &["http://[::1]/file"]);
    let outcome = run(client.args(["--connect-timeout", "1"]));
    // Whether or not a server listens there, the client asked it.
    assert!(outcome.err.starts_with("client: [::1]:80: "), "{outcome:?}");
}
