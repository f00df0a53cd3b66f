//! The client's side of Digest authentication (RFC 7616): answers a server's challenges for
//! all connections of the client. It sends nothing itself.

#![forbid(unsafe_code)]

mod sources;

pub(crate) use sources::{Ask, Sources};

use ropewalk::codec::digest_auth::{Algorithm, Challenge, Credentials, parse_challenges};
use ropewalk::codec::http::{Method, ResponseHead};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::random;
use ropewalk::sys::sync::lock;
use sources::Secret;
use std::sync::Mutex;

/// How often one request is sent again because its nonce was stale. Once is enough with a
/// sane server.
pub(crate) const MAX_STALE: u8 = 3;

/// How often the client asks a person for a user and a password.
pub(crate) const MAX_ASKED: u8 = 3;

/// The sources of the user and the password, and the server's last challenge.
pub(crate) struct Login {
    sources: Sources,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secret: Option<Secret>,
    /// Advice for the user when the server refuses the secret.
    advice: String,
    /// How often the client has asked a person.
    asked: u8,
    challenge: Option<Challenge>,
    /// How many requests used the nonce of the challenge.
    count: u32,
}

impl Login {
    /// A login with this user. `md5` allows MD5 where a server offers nothing better.
    #[cfg(test)]
    pub(crate) fn new(user: &[u8], password: &[u8], md5: bool) -> Login {
        let secret = Secret { user: user.to_vec(), password: password.to_vec() };
        let state = State { secret: Some(secret), ..State::default() };
        Login { sources: Sources { md5, ..Sources::default() }, state: Mutex::new(state) }
    }

    /// A login that reads `sources` when a server asks for a password. It reads the file of the
    /// command line at once, so that its errors come first.
    ///
    /// # Errors
    /// The file of the command line: it cannot be read, others may read or change it, or it
    /// has not exactly one line `user:password`.
    pub(crate) fn find(sources: Sources) -> Result<Login> {
        let login = Login { sources, state: Mutex::default() };
        if login.sources.option.is_some() {
            login.keep(login.sources.find()?);
        }
        Ok(login)
    }

    /// Looks for a user and a password, if there are none yet. `false` if there are none.
    fn find_secret(&self) -> Result<bool> {
        if lock(&self.state).secret.is_some() {
            return Ok(true);
        }
        Ok(self.keep(self.sources.find()?))
    }

    /// Asks a person again after a wrong password, at most [`MAX_ASKED`] times in all. `false`
    /// if there is no new answer.
    fn ask_again(&self) -> Result<bool> {
        let asked = lock(&self.state).asked;
        if asked == 0 || asked >= MAX_ASKED {
            return Ok(false);
        }
        Ok(self.keep(self.sources.ask(true)?))
    }

    fn keep(&self, found: Option<(Secret, String)>) -> bool {
        let Some((secret, advice)) = found else { return false };
        let mut state = lock(&self.state);
        let is_answer = self.sources.option.is_none() && self.sources.variable.is_none();
        state.asked += u8::from(is_answer);
        (state.secret, state.advice) = (Some(secret), advice);
        true
    }

    /// Begins a request.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        Attempt { login: self, answered: false, stale: 0 }
    }
}

/// One request, which may be sent more than once.
pub(crate) struct Attempt<'a> {
    login: &'a Login,
    /// Whether the last sending had credentials.
    answered: bool,
    stale: u8,
}

impl Attempt<'_> {
    /// The value of the `Authorization` field, good for one sending. `None` before the first
    /// challenge.
    ///
    /// # Errors
    /// The target is too long or has control characters, the user's name is not UTF-8, or
    /// there are no random bytes.
    pub(crate) fn authorization(
        &mut self,
        method: &Method,
        target: &[u8],
    ) -> Result<Option<String>> {
        let login = self.login;
        let (challenge, secret, count) = {
            let mut state = lock(&login.state);
            let (Some(challenge), Some(secret)) = (state.challenge.clone(), state.secret.clone())
            else {
                return Ok(None);
            };
            state.count = state.count.saturating_add(1);
            (challenge, secret, state.count)
        };
        let mut cnonce = [0; 16];
        random::fill(&mut cnonce).map_err(|error| Error::system("random bytes", &error))?;
        let credentials = Credentials::answer(
            &challenge,
            (&secret.user, &secret.password),
            (method.as_bytes(), target),
            count,
            hex(&cnonce).as_bytes(),
        );
        self.answered = true;
        let cannot = |reason: &str| {
            Error::new(ExitCode::Refused, format!("the password cannot be used: {reason}"))
        };
        let field = credentials.format().map_err(|error| cannot(error.reason()))?;
        String::from_utf8(field).map(Some).map_err(|_| cannot("the name is not UTF-8"))
    }

    /// Takes the reply 401. `true` if the request shall be sent again with a new
    /// `Authorization`; `false` where there is no password to send.
    ///
    /// # Errors
    /// The password is wrong or cannot be read, or the server asks for a login of another
    /// kind.
    pub(crate) fn refused(&mut self, head: &ResponseHead) -> Result<bool> {
        let refused = |reason: &str| Error::new(ExitCode::Refused, reason);
        let field = head.headers.joined("WWW-Authenticate").unwrap_or_default();
        let all = parse_challenges(&field)
            .map_err(|error| Error::protocol(format!("WWW-Authenticate: {}", error.reason())))?;
        let best = all.iter().find(|challenge| challenge.algorithm == Algorithm::Sha256);
        let Some(challenge) = best.or(all.first()) else {
            let has_one = lock(&self.login.state).secret.is_some();
            let error =
                refused("the server asks for a kind of login that this client does not know");
            return if has_one { Err(error) } else { Ok(false) };
        };
        if challenge.algorithm == Algorithm::Md5 && !self.login.sources.md5 {
            let error = refused("the server takes the password by MD5 only");
            return Err(error.advise("--auth-md5 allows that"));
        }
        if !self.login.find_secret()? {
            return Ok(false);
        }
        if self.answered {
            self.stale += 1;
            if !challenge.stale || self.stale > MAX_STALE {
                if !self.login.ask_again()? {
                    let error = refused("the server does not know this user or this password");
                    return Err(match lock(&self.login.state).advice.as_str() {
                        "" => error,
                        advice => error.advise(advice),
                    });
                }
                self.stale = 0;
            }
        }
        let mut state = lock(&self.login.state);
        (state.challenge, state.count) = (Some(challenge.clone()), 0);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(fields: &[&str]) -> ResponseHead {
        let fields: String =
            fields.iter().map(|field| format!("WWW-Authenticate: {field}\r\n")).collect();
        let text = format!("HTTP/1.1 401 Unauthorized\r\n{fields}\r\n");
        ResponseHead::parse(text.as_bytes()).unwrap().unwrap().1
    }

    const MD5: &str = "Digest realm=\"r\", nonce=\"m\", qop=\"auth\"";
    const SHA256: &str = "Digest realm=\"r\", nonce=\"s\", qop=\"auth\", algorithm=SHA-256";
    const STALE: &str =
        "Digest realm=\"r\", nonce=\"s\", qop=\"auth\", algorithm=SHA-256, stale=true";

    fn credentials(attempt: &mut Attempt<'_>) -> Credentials {
        let field = attempt.authorization(&Method::Get, b"/x").unwrap().unwrap();
        Credentials::parse(field.as_bytes()).unwrap()
    }

    #[test]
    fn no_password_is_sent_before_a_challenge() {
        let login = Login::new(b"u", b"p", false);
        assert_eq!(login.attempt().authorization(&Method::Get, b"/x").unwrap(), None);
    }

    #[test]
    fn the_better_algorithm_is_chosen_in_any_order() {
        for fields in [[MD5, SHA256], [SHA256, MD5]] {
            let login = Login::new(b"u", b"p", false);
            let mut attempt = login.attempt();
            attempt.refused(&reply(&fields)).unwrap();
            assert_eq!(credentials(&mut attempt).algorithm, Algorithm::Sha256);
        }
    }

    #[test]
    fn a_server_that_has_only_md5_gets_it_where_that_is_allowed() {
        let only = reply(&["Basic realm=\"r\"", MD5]);
        let refused = Login::new(b"u", b"p", false).attempt().refused(&only).unwrap_err();
        assert!(refused.to_string().contains("--auth-md5"), "{refused}");
        let login = Login::new(b"u", b"p", true);
        let mut attempt = login.attempt();
        attempt.refused(&only).unwrap();
        assert_eq!(credentials(&mut attempt).algorithm, Algorithm::Md5);
    }

    #[test]
    fn requests_are_counted_over_all_connections() {
        let login = Login::new(b"u", b"p", false);
        login.attempt().refused(&reply(&[SHA256])).unwrap();
        let counts: Vec<u32> = (0..3).map(|_| credentials(&mut login.attempt()).nc).collect();
        assert_eq!(counts, [1, 2, 3]);
        login.attempt().refused(&reply(&[SHA256])).unwrap();
        assert_eq!(credentials(&mut login.attempt()).nc, 1);
    }

    #[test]
    fn a_password_that_was_refused_is_not_sent_again() {
        let login = Login::new(b"u", b"p", false);
        let mut attempt = login.attempt();
        attempt.refused(&reply(&[SHA256])).unwrap();
        credentials(&mut attempt);
        assert_eq!(attempt.refused(&reply(&[SHA256])).unwrap_err().code(), ExitCode::Refused);
    }

    #[test]
    fn a_person_is_asked_after_a_challenge_and_three_times_at_most() {
        use std::sync::Arc;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let own = asked.clone();
        let ask: Ask = Box::new(move |again| {
            lock(&own).push(again);
            Ok(Some((b"ann".to_vec(), format!("wrong {}", lock(&own).len()).into_bytes())))
        });
        let login = Login::find(Sources { ask: Some(ask), ..Sources::default() }).unwrap();
        let mut attempt = login.attempt();
        assert_eq!(attempt.authorization(&Method::Get, b"/x").unwrap(), None);
        assert!(lock(&asked).is_empty());
        for _ in 0..MAX_ASKED {
            assert!(attempt.refused(&reply(&[SHA256])).unwrap());
            credentials(&mut attempt);
        }
        assert!(attempt.refused(&reply(&[SHA256])).is_err());
        assert_eq!(*lock(&asked), [false, true, true]);
    }

    #[test]
    fn without_a_password_the_server_s_reply_stands() {
        let silent: Ask = Box::new(|_| Ok(None));
        for ask in [None, Some(silent)] {
            let login = Login::find(Sources { ask, ..Sources::default() }).unwrap();
            assert!(!login.attempt().refused(&reply(&[SHA256])).unwrap());
        }
    }

    #[test]
    fn the_limit_of_stale_answers_is_exact() {
        let login = Login::new(b"u", b"p", false);
        let mut attempt = login.attempt();
        attempt.refused(&reply(&[SHA256])).unwrap();
        for _ in 0..MAX_STALE {
            credentials(&mut attempt);
            attempt.refused(&reply(&[STALE])).unwrap();
        }
        credentials(&mut attempt);
        assert!(attempt.refused(&reply(&[STALE])).is_err());
    }

    #[test]
    fn a_login_of_another_kind_is_refused() {
        for fields in [&[][..], &["Basic realm=\"r\""], &["Digest realm="]] {
            let login = Login::new(b"u", b"p", false);
            assert!(login.attempt().refused(&reply(fields)).is_err());
        }
    }

    #[test]
    fn a_name_or_target_that_no_field_can_carry_is_an_error() {
        let login = Login::new(b"u\xff", b"p", false);
        let mut attempt = login.attempt();
        attempt.refused(&reply(&[SHA256])).unwrap();
        assert!(attempt.authorization(&Method::Get, b"/x").is_err());
        let login = Login::new(b"u", b"p", false);
        let mut attempt = login.attempt();
        attempt.refused(&reply(&[SHA256])).unwrap();
        assert!(attempt.authorization(&Method::Get, b"/\x01").is_err());
    }
}
