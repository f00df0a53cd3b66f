//! The command that fetches a file from this server with ropewalk's client. It names the
//! server as the browser's request does.

#![forbid(unsafe_code)]

use crate::target;
use ropewalk::codec::http::{Refusal, RequestHead};
use ropewalk::codec::shell;
use std::ffi::OsStr;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

/// The client's name where it is not installed, and where it is.
const CLIENTS: [&str; 2] = ["./client", "ropewalk-client"];

/// The URL of the target's path at the host that the request names, or at `local` if the
/// request has no valid host.
///
/// # Errors
/// 400 for a malformed percent-encoding.
pub(super) fn url(head: &RequestHead, local: SocketAddr) -> Result<String, Refusal> {
    let host = head.headers.get_only("Host").and_then(checked);
    let host = host.map_or_else(|| local.to_string(), str::to_string);
    let path = target::reference(&head.target)?;
    Ok(format!("http://{host}/{}", path.trim_start_matches('/')))
}

/// The command that fetches the file at the URL.
pub(super) fn fetch(url: &str) -> String {
    shell::command([client(std::env::args_os().next().as_deref()), url])
}

/// The beginning of the commands for the files beneath the URL; `None` where a shell needs
/// quotes around the URL.
pub(super) fn beginning(url: &str) -> Option<String> {
    let command = fetch(url);
    command.ends_with(&format!(" {url}")).then_some(command)
}

/// The name of the client where the server has this name.
fn client(server: Option<&OsStr>) -> &'static str {
    let name = server.and_then(|server| Path::new(server).file_name());
    let installed = name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"ropewalk-"));
    CLIENTS[usize::from(installed)]
}

/// The value of a Host field (RFC 9110, section 7.2), if it has nothing in it but a name or
/// an address, and perhaps a port.
fn checked(value: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(value).ok()?;
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(is_name) {
        return None;
    }
    match port.strip_prefix(':') {
        None => port.is_empty().then_some(host),
        Some(digits) => {
            let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
            (digits_only && digits.parse::<u16>().ok()? > 0).then_some(host)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::codec::http::{Headers, Method, Version};

    fn url_of(target: &[u8], host: &str) -> String {
        let mut headers = Headers::new();
        headers.push("Host", host);
        let (method, version) = (Method::Get, Version::Http11);
        let head = RequestHead { method, target: target.to_vec(), version, headers };
        url(&head, "192.0.2.1:8080".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in ["a", "box:8080", "192.0.2.7:1", "[::1]", "[2001:db8::1]:65535", "a_b.c-d"] {
            assert_eq!(checked(host.as_bytes()), Some(host));
        }
        for host in [
            "", ":80", "a:", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "a/b", "a'", "a\"", "a;id",
            "$(id)", "-o", "[::1", "[::1]x", "[a]", "[]", "a@b", "a#b", "a?b", "\u{e4}", "`id`",
        ] {
            assert_eq!(checked(host.as_bytes()), None, "{host}");
        }
        assert_eq!(checked(b"\xff"), None);
    }

    #[test]
    fn a_command_names_the_host_and_the_encoded_path() {
        let url = url_of(b"/a b/it's?get", "box:8080");
        assert_eq!(url, "http://box:8080/a%20b/it%27s");
        assert_eq!(fetch(&url), "./client http://box:8080/a%20b/it%27s");
        assert_eq!(url_of(b"//evil/x", "$(id)"), "http://192.0.2.1:8080/evil/x");
        assert_eq!(url_of(b"/\xff\n$(id);`id`", "b"), "http://b/%FF%0A%24%28id%29%3B%60id%60");
    }

    #[test]
    fn a_url_that_needs_quotes_gets_them_and_is_no_beginning() {
        let url = url_of(b"/x/", "[::1]:80");
        assert_eq!(fetch(&url), "./client 'http://[::1]:80/x/'");
        assert_eq!(beginning(&url), None);
        let url = url_of(b"/x/", "box");
        assert_eq!(beginning(&url).as_deref(), Some("./client http://box/x/"));
    }

    #[test]
    fn an_installed_server_names_an_installed_client() {
        for (server, expected) in [
            (Some("/usr/bin/ropewalk-server"), "ropewalk-client"),
            (Some("./server"), "./client"),
            (None, "./client"),
        ] {
            assert_eq!(client(server.map(OsStr::new)), expected);
        }
    }
}
