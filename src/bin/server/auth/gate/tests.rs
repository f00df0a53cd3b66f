//! Requests as they come over the wire, to the decision; and both sides together.

#![forbid(unsafe_code)]

use super::super::nonces::LIFETIME;
use super::*;
use client::login::Login;
use ropewalk::codec::digest_auth::parse_challenges;
use ropewalk::codec::http::{Method, ResponseHead};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;

// Both sides are tested together, and a client's side belongs to the client.
#[path = "../../../client"]
mod client {
    #[allow(dead_code)] // where a client finds its password
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
    let name = format!("ropewalk-gate-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let passwords = Passwords::read(&path, realm).unwrap();
    fs::remove_file(path).unwrap();
    passwords
}

fn gate(name: &str) -> Gate {
    Gate::new(passwords(name, "ann:secret\nbob:other\n", REALM), false).unwrap()
}

/// The gate of the standard's example.
fn example(name: &str, password: &str, md5: bool) -> Gate {
    let text = format!("Mufasa:{password}\n");
    Gate::new(passwords(name, &text, b"http-auth@example.org"), md5).unwrap()
}

fn request(line: &str, fields: &[&str]) -> RequestHead {
    let fields: String = fields.iter().map(|field| format!("Authorization: {field}\r\n")).collect();
    let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    RequestHead::parse(text.as_bytes()).unwrap().unwrap().1
}

/// Credentials of a client that was given a nonce by this gate.
fn credentials(gate: &Gate, user: &str, password: &str, now: Instant) -> Credentials {
    let challenge = parse_challenges(&gate.challenges(false, now).unwrap()[0]).unwrap().remove(0);
    let who = (user.as_bytes(), password.as_bytes());
    Credentials::answer(&challenge, who, (b"GET", b"/file"), 1, b"c")
}

fn decide(gate: &Gate, line: &str, credentials: &Credentials, now: Instant) -> Decision {
    let field = String::from_utf8(credentials.format().unwrap()).unwrap();
    gate.decide(&request(line, &[&field]), now)
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
fn the_standard_s_examples_are_right_though_their_nonce_is_not_ours() {
    let stale = Decision::Challenge { stale: true };
    let gate = example("rfc", "Circle of Life", true);
    for proof in [STANDARD_SHA256, STANDARD_MD5] {
        let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert_eq!(gate.decide(&head, Instant::now()), stale);
        let other = request("POST /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert!(is_failure(&gate.decide(&other, Instant::now())));
    }
}

#[test]
fn the_standard_s_examples_are_wrong_with_another_password() {
    let gate = example("rfc-wrong", "Circle of life", true);
    for proof in [STANDARD_SHA256, STANDARD_MD5] {
        let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {proof}")]);
        assert!(is_failure(&gate.decide(&head, Instant::now())));
    }
}

#[test]
fn md5_is_for_those_who_ask_for_it() {
    let gate = example("md5", "Circle of Life", false);
    let head = request("GET /dir/index.html", &[&format!("{STANDARD}, {STANDARD_MD5}")]);
    assert!(is_failure(&gate.decide(&head, Instant::now())));
    let fields = gate.challenges(false, Instant::now()).unwrap();
    assert_eq!(fields.len(), 1);
    assert!(fields[0].ends_with(b"algorithm=SHA-256"));
    let both = example("md5-both", "x", true).challenges(true, Instant::now()).unwrap();
    assert!(both[0].ends_with(b"algorithm=SHA-256, stale=true"));
    assert!(both[1].ends_with(b"algorithm=MD5, stale=true"));
}

#[test]
fn a_request_without_credentials_is_no_failure() {
    let head = request("GET /file", &[]);
    let decision = gate("without").decide(&head, Instant::now());
    assert_eq!(decision, Decision::Challenge { stale: false });
}

#[test]
fn who_knows_a_password_is_let_in() {
    let (gate, now) = (gate("right"), Instant::now());
    for (user, password) in [("ann", "secret"), ("bob", "other")] {
        let right = credentials(&gate, user, password, now);
        let allowed = Decision::Allowed(user.as_bytes().to_vec());
        assert_eq!(decide(&gate, "GET /file", &right, now), allowed);
    }
}

#[test]
fn who_does_not_is_not() {
    let (gate, now) = (gate("wrong"), Instant::now());
    for (user, password) in [("ann", "other"), ("eve", "secret"), ("", ""), ("ann", "secret ")] {
        let wrong = credentials(&gate, user, password, now);
        assert!(is_failure(&decide(&gate, "GET /file", &wrong, now)), "{user}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let (gate, now) = (gate("alike"), Instant::now());
    let reason = |user: &str| {
        let wrong = credentials(&gate, user, "x", now);
        match decide(&gate, "GET /file", &wrong, now) {
            Decision::Failure { reason, delay } => (reason.replace(user, "U"), delay),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason("ann"), reason("eve"));
}

#[test]
fn a_proof_is_for_its_own_request() {
    let (gate, now) = (gate("own"), Instant::now());
    let right = credentials(&gate, "ann", "secret", now);
    for line in ["GET /other", "POST /file", "GET file", "GET /file?", "GET /fil%65"] {
        assert!(is_failure(&decide(&gate, line, &right, now)), "{line}");
    }
    assert!(matches!(decide(&gate, "GET /file", &right, now), Decision::Allowed(_)));
}

#[test]
fn a_request_that_is_played_again_is_not_let_in() {
    let (gate, now) = (gate("replay"), Instant::now());
    let right = credentials(&gate, "ann", "secret", now);
    assert!(matches!(decide(&gate, "GET /file", &right, now), Decision::Allowed(_)));
    assert_eq!(decide(&gate, "GET /file", &right, now), Decision::Challenge { stale: true });
}

#[test]
fn an_old_nonce_is_stale_for_who_knows_the_password_and_a_failure_for_others() {
    let (gate, now) = (gate("old"), Instant::now());
    let later = now + LIFETIME + Duration::from_secs(1);
    let right = credentials(&gate, "ann", "secret", now);
    assert_eq!(decide(&gate, "GET /file", &right, later), Decision::Challenge { stale: true });
    let wrong = credentials(&gate, "ann", "x", now);
    assert!(is_failure(&decide(&gate, "GET /file", &wrong, later)));
}

#[test]
fn broken_credentials_are_failures() {
    let gate = gate("broken");
    let now = Instant::now();
    for field in ["", "Basic YW5uOnNlY3JldA==", "Digest", "Digest username=ann", "x y z"] {
        assert!(is_failure(&gate.decide(&request("GET /file", &[field]), now)), "{field}");
    }
    let right = credentials(&gate, "ann", "secret", now);
    let field = String::from_utf8(right.format().unwrap()).unwrap();
    assert!(is_failure(&gate.decide(&request("GET /file", &[&field, &field]), now)));
    let other = Credentials { realm: b"other".to_vec(), ..right };
    assert!(is_failure(&decide(&gate, "GET /file", &other, now)));
}

#[test]
fn a_name_in_the_log_cannot_break_its_line() {
    let (gate, now) = (gate("log"), Instant::now());
    let long = "\u{9b}2J".repeat(100);
    match decide(&gate, "GET /file", &credentials(&gate, &long, "x", now), now) {
        Decision::Failure { reason, .. } => {
            assert!(reason.len() < 150 && !reason.contains('\u{9b}'), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_passwords_hold_from_their_coming_on() {
    let (gate, now) = (gate("replace"), Instant::now());
    gate.replace(passwords("replaced", "ann:newer\n", REALM));
    let old = credentials(&gate, "ann", "secret", now);
    assert!(is_failure(&decide(&gate, "GET /file", &old, now)));
    let new = credentials(&gate, "ann", "newer", now);
    assert!(matches!(decide(&gate, "GET /file", &new, now), Decision::Allowed(_)));
}

/// The answer to a request that is not let in.
fn unauthorized(gate: &Gate, stale: bool, now: Instant) -> ResponseHead {
    let mut text = b"HTTP/1.1 401 Unauthorized\r\n".to_vec();
    for field in gate.challenges(stale, now).unwrap() {
        text.extend_from_slice(&[b"WWW-Authenticate: ", &field[..], b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    ResponseHead::parse(&text).unwrap().unwrap().1
}

/// One request of a client, asked again as often as it wants; how often it was sent.
fn ask(gate: &Gate, login: &Login, now: Instant) -> Result<usize, String> {
    let mut attempt = login.attempt();
    for count in 1.. {
        let field = attempt.authorization(&Method::Get, b"/file").unwrap();
        let fields: Vec<&str> = field.as_deref().into_iter().collect();
        let stale = match gate.decide(&request("GET /file", &fields), now) {
            Decision::Allowed(_) => return Ok(count),
            Decision::Challenge { stale } => stale,
            Decision::Failure { .. } => false,
        };
        let reply = unauthorized(gate, stale, now);
        attempt.refused(&reply).map_err(|error| error.to_string())?;
    }
    unreachable!()
}

#[test]
fn a_client_asks_twice_and_then_once() {
    let (gate, now) = (gate("client"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&gate, &login, now), Ok(2));
    for _ in 0..500 {
        assert_eq!(ask(&gate, &login, now), Ok(1));
    }
}

#[test]
fn a_client_whose_nonce_is_stale_asks_again_by_itself() {
    let (gate, now) = (gate("stale"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&gate, &login, now), Ok(2));
    let later = now + LIFETIME + Duration::from_secs(1);
    assert_eq!(ask(&gate, &login, later), Ok(2));
    assert_eq!(ask(&gate, &login, later), Ok(1));
}

#[test]
fn a_client_with_a_wrong_password_gives_up() {
    let (gate, now) = (gate("give-up"), Instant::now());
    let login = Login::new(b"ann", b"x", false);
    let words = "the server does not know this user or this password";
    assert_eq!(ask(&gate, &login, now), Err(words.into()));
}

#[test]
fn two_connections_share_a_nonce_in_any_order() {
    let (gate, now) = (gate("shared"), Instant::now());
    let login = Login::new(b"ann", b"secret", false);
    assert_eq!(ask(&gate, &login, now), Ok(2));
    // In step, so that none falls further behind than the window.
    let step = std::sync::Barrier::new(4);
    let each = || -> Vec<_> {
        let one = |_| {
            step.wait();
            ask(&gate, &login, now)
        };
        (0..200).map(one).collect()
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(each)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all, vec![Ok(1); 800]);
}
