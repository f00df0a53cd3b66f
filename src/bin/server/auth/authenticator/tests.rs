//! From a request's bytes to a decision; and the client's login against the authenticator.

#![forbid(unsafe_code)]

use super::super::nonces::LIFETIME;
use super::*;
use client::login::Login;
use ropewalk::codec::digest_auth::parse_challenges;
use ropewalk::codec::http::{Method, ResponseHead};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;

// The client's half of the login, which is part of another program.
#[path = "../../../client"]
mod client {
    #[allow(dead_code)] // how the client finds its password
    pub(super) mod login;
}

/// RFC 7616, section 3.9.1, without the algorithm and the proof.
const STANDARD: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
    uri=\"/dir/index.html\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
    nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
    opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
const STANDARD_SHA256: &str = "algorithm=SHA-256, \
    response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"";
const STANDARD_MD5: &str = "algorithm=MD5, response=\"8ca523f5e9506fed4657c9700eebdbec\"";

fn passwords(name: &str, text: &str, realm: &[u8]) -> Passwords {
    use std::io::Write;
    let name = format!("ropewalk-authenticator-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let passwords = Passwords::read(&path, realm).unwrap();
    fs::remove_file(path).unwrap();
    passwords
}

fn authenticator(name: &str) -> Authenticator {
    Authenticator::new(passwords(name, "ann:secret\nbob:other\n", REALM), false).unwrap()
}

/// The authenticator of the RFC's example.
fn example(name: &str, password: &str, md5: bool) -> Authenticator {
    let text = format!("Mufasa:{password}\n");
    Authenticator::new(passwords(name, &text, b"http-auth@example.org"), md5).unwrap()
}

fn request(line: &str, fields: &[&str]) -> RequestHead {
    let fields: String = fields.iter().map(|field| format!("Authorization: {field}\r\n")).collect();
    let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    RequestHead::parse(text.as_bytes()).unwrap().unwrap().1
}

/// The credentials of a client that has a nonce of this authenticator.
fn credentials(
    authenticator: &Authenticator,
    user: &str,
    password: &str,
    now: Instant,
) -> Credentials {
    let challenge =
        parse_challenges(&authenticator.challenges(false, now).unwrap()[0]).unwrap().remove(0);
    let who = (user.as_bytes(), password.as_bytes());
    Credentials::answer(&challenge, who, (b"GET", b"/file"), 1, b"c")
}

fn decide(
    authenticator: &Authenticator,
    line: &str,
    credentials: &Credentials,
    now: Instant,
) -> Decision {
    let field = String::from_utf8(credentials.format().unwrap()).unwrap();
    authenticator.decide(&request(line, &[&field]), now)
}

fn is_failure(decision: &Decision) -> bool {
    match decision {
        Decision::Failure { delay, reason } => {
            assert!(*delay <= Duration::from_secs(1));
            assert!(!reason.contains("secret"));
            true
        }
        _ => false,
    }
}

#[test]
fn the_rfc_s_examples_are_right_except_for_their_nonce() {
    let stale = Decision::Challenge { stale: true };
    let authenticator = example("rfc", "Circle of Life", true);
    for proof in [STANDARD_SHA256, STANDARD_MD5] {
        let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert_eq!(authenticator.decide(&head, Instant::now()), stale);
        let other = request("POST /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert!(is_failure(&authenticator.decide(&other, Instant::now())));
    }
}

#[test]
fn the_rfc_s_examples_fail_with_another_password() {
    let authenticator = example("rfc-wrong", "Circle of life", true);
    for proof in [STANDARD_SHA256, STANDARD_MD5] {
        let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert!(is_failure(&authenticator.decide(&head, Instant::now())));
    }
}

#[test]
fn md5_is_offered_and_accepted_only_on_request() {
    let authenticator = example("md5", "Circle of Life", false);
    let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {STANDARD_MD5}")]);
    assert!(is_failure(&authenticator.decide(&head, Instant::now())));
    let fields = authenticator.challenges(false, Instant::now()).unwrap();
    assert_eq!(fields.len(), 1);
    assert!(fields[0].ends_with(b"algorithm=SHA-256"));
    let both = example("md5-both", "x", true).challenges(true, Instant::now()).unwrap();
    assert!(both[0].ends_with(b"algorithm=SHA-256, stale=true"));
    assert!(both[1].ends_with(b"algorithm=MD5, stale=true"));
}

#[test]
fn a_request_without_credentials_is_no_failure() {
    let head = request("GET /file", &[]);
    let decision = authenticator("without").decide(&head, Instant::now());
    assert_eq!(decision, Decision::Challenge { stale: false });
}

#[test]
fn a_right_password_is_accepted() {
    let (authenticator, now) = (authenticator("right"), Instant::now());
    for (user, password) in [("ann", "secret"), ("bob", "other")] {
        let right = credentials(&authenticator, user, password, now);
        let allowed = Decision::Allowed(user.as_bytes().to_vec());
        assert_eq!(decide(&authenticator, "GET /file", &right, now), allowed);
    }
}

#[test]
fn a_wrong_user_or_password_is_refused() {
    let (authenticator, now) = (authenticator("wrong"), Instant::now());
    for (user, password) in [("ann", "other"), ("eve", "secret"), ("", ""), ("ann", "secret ")] {
        let wrong = credentials(&authenticator, user, password, now);
        assert!(is_failure(&decide(&authenticator, "GET /file", &wrong, now)), "{user}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let (authenticator, now) = (authenticator("alike"), Instant::now());
    let reason = |user: &str| {
        let wrong = credentials(&authenticator, user, "x", now);
        match decide(&authenticator, "GET /file", &wrong, now) {
            Decision::Failure { reason, delay } => (reason.replace(user, "U"), delay),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason("ann"), reason("eve"));
}

#[test]
fn credentials_are_valid_for_their_own_request_only() {
    let (authenticator, now) = (authenticator("own"), Instant::now());
    let right = credentials(&authenticator, "ann", "secret", now);
    for line in ["GET /other", "POST /file", "GET file", "GET /file?", "GET /fil%65"] {
        assert!(is_failure(&decide(&authenticator, line, &right, now)), "{line}");
    }
    assert!(matches!(decide(&authenticator, "GET /file", &right, now), Decision::Allowed(_)));
}

#[test]
fn a_replayed_request_is_refused() {
    let (authenticator, now) = (authenticator("replay"), Instant::now());
    let right = credentials(&authenticator, "ann", "secret", now);
    assert!(matches!(decide(&authenticator, "GET /file", &right, now), Decision::Allowed(_)));
    assert_eq!(
        decide(&authenticator, "GET /file", &right, now),
        Decision::Challenge { stale: true }
    );
}

#[test]
fn an_old_nonce_is_stale_with_the_right_password_and_a_failure_with_a_wrong_one() {
    let (authenticator, now) = (authenticator("old"), Instant::now());
    let later = now + LIFETIME + Duration::from_secs(1);
    let right = credentials(&authenticator, "ann", "secret", now);
    assert_eq!(
        decide(&authenticator, "GET /file", &right, later),
        Decision::Challenge { stale: true }
    );
    let wrong = credentials(&authenticator, "ann", "x", now);
    assert!(is_failure(&decide(&authenticator, "GET /file", &wrong, later)));
}

#[test]
fn broken_credentials_are_failures() {
    let authenticator = authenticator("broken");
    let now = Instant::now();
    for field in ["", "Basic YW5uOnNlY3JldA==", "Digest", "Digest username=ann", "x y z"] {
        assert!(is_failure(&authenticator.decide(&request("GET /file", &[field]), now)), "{field}");
    }
    let right = credentials(&authenticator, "ann", "secret", now);
    let field = String::from_utf8(right.format().unwrap()).unwrap();
    assert!(is_failure(&authenticator.decide(&request("GET /file", &[&field, &field]), now)));
    let other = Credentials { realm: b"other".to_vec(), ..right };
    assert!(is_failure(&decide(&authenticator, "GET /file", &other, now)));
}

#[test]
fn a_name_in_the_log_cannot_break_its_line() {
    let (authenticator, now) = (authenticator("log"), Instant::now());
    let long = "\u{9b}2J".repeat(100);
    match decide(&authenticator, "GET /file", &credentials(&authenticator, &long, "x", now), now) {
        Decision::Failure { reason, .. } => {
            assert!(reason.len() < 150 && !reason.contains('\u{9b}'), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_passwords_replace_the_old_ones_at_once() {
    let (authenticator, now) = (authenticator("replace"), Instant::now());
    authenticator.replace(passwords("replaced", "ann:newer\n", REALM));
    let old = credentials(&authenticator, "ann", "secret", now);
    assert!(is_failure(&decide(&authenticator, "GET /file", &old, now)));
    let new = credentials(&authenticator, "ann", "newer", now);
    assert!(matches!(decide(&authenticator, "GET /file", &new, now), Decision::Allowed(_)));
}

/// The answer to a refused request.
fn unauthorized(authenticator: &Authenticator, stale: bool, now: Instant) -> ResponseHead {
    let mut text = b"HTTP/1.1 401 Unauthorized\r\n".to_vec();
    for field in authenticator.challenges(stale, now).unwrap() {
        text.extend_from_slice(&[b"WWW-Authenticate: ", &field[..], b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    ResponseHead::parse(&text).unwrap().unwrap().1
}

/// Sends a client's request as often as the client wants; returns how often.
fn ask(authenticator: &Authenticator, login: &Login, now: Instant) -> Result<usize, String> {
    let mut attempt = login.attempt();
    for count in 1.. {
        let field = attempt.authorization(&Method::Get, b"/file").unwrap();
        let fields: Vec<&str> = field.as_deref().into_iter().collect();
        let stale = match authenticator.decide(&request("GET /file", &fields), now) {
            Decision::Allowed(_) => return Ok(count),
            Decision::Challenge { stale } => stale,
            Decision::Failure { .. } => false,
        };
        let reply = unauthorized(authenticator, stale, now);
        attempt.refused(&reply).map_err(|error| error.to_string())?;
    }
    unreachable!()
}

#[test]
fn the_first_request_is_sent_twice_and_each_later_one_once() {
    let (authenticator, now) = (authenticator("client"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&authenticator, &login, now), Ok(2));
    for _ in 0..500 {
        assert_eq!(ask(&authenticator, &login, now), Ok(1));
    }
}

#[test]
fn a_client_with_a_stale_nonce_sends_its_request_again() {
    let (authenticator, now) = (authenticator("stale"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&authenticator, &login, now), Ok(2));
    let later = now + LIFETIME + Duration::from_secs(1);
    assert_eq!(ask(&authenticator, &login, later), Ok(2));
    assert_eq!(ask(&authenticator, &login, later), Ok(1));
}

#[test]
fn a_client_with_a_wrong_password_gives_up() {
    let (authenticator, now) = (authenticator("give-up"), Instant::now());
    let login = Login::new(b"ann", b"x", false);
    let words = "the server does not know this user or this password";
    assert_eq!(ask(&authenticator, &login, now), Err(words.into()));
}

#[test]
fn two_connections_share_a_nonce_in_any_order() {
    let (authenticator, now) = (authenticator("shared"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&authenticator, &login, now), Ok(2));
    // In step, so that no thread falls further behind than the window.
    let step = std::sync::Barrier::new(4);
    let each = || -> Vec<_> {
        let one = |_| {
            step.wait();
            ask(&authenticator, &login, now)
        };
        (0..200).map(one).collect()
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(each)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all, vec![Ok(1); 800]);
}
