//! What people see in a browser: a folder in the order that they choose, a file with the command
//! that fetches it, the content of a file, and errors.

use crate::support::http::Reply;
use crate::support::site::Site;
use std::fs::{self, File};
use std::time::{Duration, UNIX_EPOCH};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const SHOWN: &str = "text/plain; charset=utf-8";

fn server() -> Site {
    let server = Site::start(&["--root", ".", "--index"]);
    fs::create_dir(server.folder.join("sub")).unwrap();
    server
}

/// The links to the entries of a folder, in their order.
fn entries(page: &Reply) -> Vec<&str> {
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    let rows = page.text().split("<th scope=\"row\"><a href=\"").skip(1);
    rows.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_person_sorts_by_links() {
    let server = server();
    for (name, size, time) in [("file10", 1, 3), ("file9", 2, 1), ("B", 3, 2)] {
        let path = server.sparse(name, size);
        let time = UNIX_EPOCH + Duration::from_secs(time);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let mut client = server.connect();
    for (query, expected) in [
        ("", ["sub/", "B", "file9", "file10"]),
        ("?sort=-name", ["sub/", "file10", "file9", "B"]),
        ("?sort=size", ["sub/", "file10", "file9", "B"]),
        ("?sort=-size", ["sub/", "B", "file9", "file10"]),
        ("?sort=date", ["sub/", "file9", "B", "file10"]),
        ("?sort=-date", ["sub/", "file10", "B", "file9"]),
        ("?sort=%00", ["sub/", "B", "file9", "file10"]),
    ] {
        let page = client.ask("GET", &format!("/{query}"), &[BROWSER]);
        assert_eq!(entries(&page), expected, "{query}");
    }
    // A program gets the whole listing, whatever the query says.
    let plain = client.ask("GET", "/?sort=-size&q=x&after=f1.1.B", &[]);
    assert_eq!(plain.body, client.ask("GET", "/", &[]).body);
}

#[test]
fn a_person_searches_in_all_pages_of_a_folder() {
    let server = server();
    ["a+B.txt", "\u{c4}.txt", "other"].iter().for_each(|name| drop(server.file(name, b"")));
    let mut client = server.connect();
    for (query, expected) in [
        ("?q=.TXT", &["a%2BB.txt", "%C3%84.txt"][..]),
        ("?q=A%2Bb", &["a%2BB.txt"]),
        ("?q=%C3%A4", &["%C3%84.txt"]),
        ("?q=u", &["sub/"]),
        ("?q=nothing", &[]),
        ("?q=", &["sub/", "a%2BB.txt", "other", "%C3%84.txt"]),
    ] {
        let page = client.ask("GET", &format!("/{query}"), &[BROWSER]);
        assert_eq!(entries(&page), expected, "{query}");
    }
}

#[test]
fn a_file_is_shown_only_on_request_and_can_run_no_script() {
    let server = server();
    for name in ["a.html", "a.svg", "a.pdf", "a.iso"] {
        server.file(name, b"<script>alert(1)</script>");
    }
    let mut client = server.connect();
    for (name, shown, sandboxed) in [
        ("a.html", SHOWN, true),
        ("a.svg", "image/svg+xml", true),
        ("a.pdf", "application/pdf", false),
    ] {
        let saved = client.ask("GET", &format!("/{name}"), &[BROWSER]);
        assert!(saved.field("content-disposition").starts_with("attachment; "), "{name}");
        assert_eq!(saved.find("content-security-policy"), None);
        let reply = client.ask("GET", &format!("/{name}?view"), &[BROWSER]);
        assert_eq!((reply.status, reply.field("content-type")), (200, shown));
        assert_eq!(reply.field("content-disposition"), format!("inline; filename=\"{name}\""));
        assert_eq!(reply.field("x-content-type-options"), "nosniff");
        let policy = reply.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert_eq!(policy.ends_with("; sandbox"), sandboxed, "{policy}");
        assert!(!policy.contains("script"), "{policy}");
    }
    let reply = client.ask("GET", "/a.iso?view", &[BROWSER]);
    assert!(reply.field("content-disposition").starts_with("attachment; "));
    assert_eq!(reply.field("content-type"), "application/octet-stream");
}

#[test]
fn the_page_of_a_file_has_the_command_that_fetches_it() {
    let server = server();
    let name = "it's \"a\" $(id);<b>&.txt";
    server.file(&format!("sub/{name}"), b"x");
    let link = "it%27s%20%22a%22%20%24%28id%29%3B%3Cb%3E%26.txt";
    let folder = server.ask("GET", "/sub/", &[BROWSER]);
    assert!(folder.text().contains(&format!(" data-c href=\"{link}?get\">")), "{}", folder.text());
    let get = |host: &str| {
        let mut client = server.connect();
        let field = if host.is_empty() { String::new() } else { format!("Host: {host}\r\n") };
        let version = if host.is_empty() { "1.0" } else { "1.1" };
        client.send(format!("GET /sub/{link}?get HTTP/{version}\r\n{field}\r\n"));
        let reply = client.receive_for("GET");
        assert_eq!((reply.status, reply.field("content-type")), (200, "text/html; charset=utf-8"));
        let rest = reply.text().split("<code id=\"command\">").nth(1).unwrap();
        rest.split("</code>").next().unwrap().to_string()
    };
    assert_eq!(get("box:8080"), format!("./client http://box:8080/sub/{link}"));
    assert_eq!(get("[::1]:80"), format!("./client &#39;http://[::1]:80/sub/{link}&#39;"));
    // Without a valid Host, the page names the server's own address.
    let own = format!("./client http://{}/sub/{link}", server.address);
    for host in ["\"><script>", "$(id)", "a b", "a/../b", ""] {
        assert_eq!(get(host), own, "{host}");
    }
}

#[test]
fn errors_are_pages_for_people_and_json_for_programs() {
    let server = server();
    let mut client = server.connect();
    for (method, target) in [("GET", "/nothing"), ("GET", "/%zz"), ("HEAD", "/nothing")] {
        let page = client.ask(method, target, &[BROWSER]);
        let json = client.ask(method, target, &["Accept: */*"]);
        assert_eq!((page.status, json.field("content-type")), (json.status, "application/json"));
        assert_eq!(page.field("content-type"), "text/html; charset=utf-8");
        assert!(page.field("content-security-policy").starts_with("default-src 'none'; "));
    }
    let page = client.ask("GET", "/<script>", &[BROWSER]);
    assert!(page.text().contains("<h1>404 Not Found</h1>\n<p>No such file.</p>"));
    assert_eq!(page.text().matches("<script").count(), 1);
    let page = client.ask("DELETE", "/nothing", &[BROWSER]);
    assert_eq!((page.status, page.field("content-type")), (405, "application/json"));
}

#[test]
fn robots_txt_has_rules_unless_the_folder_has_its_own() {
    let server = server();
    let rules = server.ask("GET", "/robots.txt", &[]);
    assert_eq!((rules.status, rules.field("content-type")), (200, "text/plain"));
    assert_eq!(rules.text(), "User-agent: *\nDisallow: /*?\n");
    assert_eq!(server.ask("GET", "/sub/robots.txt", &[]).status, 404);
    server.file("robots.txt", b"own");
    assert_eq!(server.ask("GET", "/robots.txt", &[]).text(), "own");
    let without = Site::start(&["--root", "."]);
    assert_eq!(without.ask("GET", "/robots.txt", &[]).status, 404);
}
