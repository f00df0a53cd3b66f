//! `Authorization: Digest` (RFC 7616, section 3.4), read and written, and the check of its proof.
//! The caller checks the nonce.

#![forbid(unsafe_code)]

use super::params::{parse_schemes, quote, quote_uri};
use super::{Algorithm, Challenge, DigestError, Proof, key};
use crate::hash::same_secretly;

/// A client's answer to a challenge. `qop` is always `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name. Every text here is hostile: escape it before you show it.
    pub username: Vec<u8>,
    /// The realm of the challenge.
    pub realm: Vec<u8>,
    /// The nonce of the challenge.
    pub nonce: Vec<u8>,
    /// The request's target, as the client sent it. The server compares it with the request line.
    pub uri: Vec<u8>,
    /// The hash function.
    pub algorithm: Algorithm,
    /// How many requests the client has made with this nonce, including this one.
    pub nc: u32,
    /// The client's own nonce. Never empty.
    pub cnonce: Vec<u8>,
    /// The `opaque` text of the challenge.
    pub opaque: Option<Vec<u8>>,
    /// The proof, in lower-case hexadecimal.
    pub response: String,
}

impl Credentials {
    /// Answers a challenge for a request. `nc` counts the requests with this nonce, from 1.
    /// `cnonce` is random; the caller makes it.
    pub fn answer(
        challenge: &Challenge,
        (username, password): (&[u8], &[u8]),
        (method, uri): (&[u8], &[u8]),
        nc: u32,
        cnonce: &[u8],
    ) -> Credentials {
        let Challenge { realm, nonce, opaque, algorithm, .. } = challenge;
        let mut credentials = Credentials {
            username: username.to_vec(),
            realm: realm.clone(),
            nonce: nonce.clone(),
            uri: uri.to_vec(),
            algorithm: *algorithm,
            nc,
            cnonce: cnonce.to_vec(),
            opaque: opaque.clone(),
            response: String::new(),
        };
        let key = key(*algorithm, username, realm, password);
        credentials.response = credentials.proof(method).response(&key);
        credentials
    }

    /// Reads the value of an `Authorization` field.
    ///
    /// # Errors
    ///
    /// Broken grammar (RFC 9110, section 11), a limit, a parameter that is missing or comes
    /// twice; another scheme; `qop` other than `auth`; an unknown algorithm; a user's name that
    /// is hashed or in RFC 8187's form (ropewalk's server offers neither); a count or a proof
    /// that is not hexadecimal or has the wrong length.
    pub fn parse(value: &[u8]) -> Result<Credentials, DigestError> {
        let schemes = parse_schemes(value)?;
        let [scheme] = schemes.as_slice() else {
            return Err(DigestError::new("not exactly one scheme"));
        };
        if !scheme.is_digest() {
            return Err(DigestError::new("not Digest authentication"));
        }
        if scheme.get("userhash").is_some_and(|hashed| !hashed.eq_ignore_ascii_case(b"false")) {
            return Err(DigestError::new("a hashed user name"));
        }
        if !scheme.need("qop", "no qop")?.eq_ignore_ascii_case(b"auth") {
            return Err(DigestError::new("an unknown qop"));
        }
        let algorithm = Algorithm::from_name(scheme.get("algorithm").unwrap_or(b"MD5"))
            .ok_or(DigestError::new("an unknown algorithm"))?;
        let nc = parse_count(scheme.need("nc", "no nc")?).ok_or(DigestError::new("a broken nc"))?;
        let response = parse_response(scheme.need("response", "no response")?, algorithm)
            .ok_or(DigestError::new("a broken response"))?;
        let cnonce = scheme.need("cnonce", "no cnonce")?.to_vec();
        if cnonce.is_empty() {
            return Err(DigestError::new("an empty cnonce"));
        }
        Ok(Credentials {
            username: scheme.need("username", "no username")?.to_vec(),
            realm: scheme.need("realm", "no realm")?.to_vec(),
            nonce: scheme.need("nonce", "no nonce")?.to_vec(),
            uri: scheme.need("uri", "no uri")?.to_vec(),
            algorithm,
            nc,
            cnonce,
            opaque: scheme.get("opaque").map(<[u8]>::to_vec),
            response,
        })
    }

    /// The value of an `Authorization` field.
    ///
    /// # Errors
    ///
    /// A control character or too many bytes in a parameter.
    pub fn format(&self) -> Result<Vec<u8>, DigestError> {
        let mut out = b"Digest".to_vec();
        let strings = [
            (&b" username="[..], Some(self.username.as_slice())),
            (b", realm=", Some(&self.realm)),
            (b", nonce=", Some(&self.nonce)),
            (b", cnonce=", Some(&self.cnonce)),
            (b", response=", Some(self.response.as_bytes())),
            (b", opaque=", self.opaque.as_deref()),
        ];
        for (name, value) in strings {
            if let Some(value) = value {
                out.extend_from_slice(name);
                out.extend_from_slice(&quote(value)?);
            }
        }
        out.extend_from_slice(b", uri=");
        out.extend_from_slice(&quote_uri(&self.uri)?);
        let rest = format!(", qop=auth, nc={:08x}, algorithm={}", self.nc, self.algorithm.name());
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }

    /// Whether the proof was made with the password of this [`key`], for a request with this
    /// method. Takes the same time for every wrong proof. The caller checks realm, nonce, `nc`
    /// and `uri`.
    pub fn proves(&self, key: &str, method: &[u8]) -> bool {
        same_secretly(self.proof(method).response(key).as_bytes(), self.response.as_bytes())
    }

    fn proof<'a>(&'a self, method: &'a [u8]) -> Proof<'a> {
        Proof {
            algorithm: self.algorithm,
            nonce: &self.nonce,
            nc: self.nc,
            cnonce: &self.cnonce,
            method,
            uri: &self.uri,
        }
    }
}

/// A count of exactly eight hexadecimal digits.
fn parse_count(text: &[u8]) -> Option<u32> {
    if text.len() != 8 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// A proof: lower-case hexadecimal digits, of the algorithm's length.
fn parse_response(text: &[u8], algorithm: Algorithm) -> Option<String> {
    let right = text.len() == algorithm.digits()
        && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if right { String::from_utf8(text.to_vec()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::parse_challenges;
    use super::*;

    /// RFC 7616, section 3.9.1.
    const EXAMPLE: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", algorithm=SHA-256, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    fn example() -> Credentials {
        Credentials::parse(EXAMPLE.as_bytes()).unwrap()
    }

    fn example_key(password: &[u8]) -> String {
        key(Algorithm::Sha256, b"Mufasa", b"http-auth@example.org", password)
    }

    #[test]
    fn the_standard_s_example_proves_its_password() {
        assert!(example().proves(&example_key(b"Circle of Life"), b"GET"));
    }

    #[test]
    fn nothing_else_is_proved() {
        assert!(!example().proves(&example_key(b"Circle Of Life"), b"GET"));
        assert!(!example().proves(&example_key(b"Circle of Life"), b"POST"));
        let right = example_key(b"Circle of Life");
        assert!(!Credentials { nc: 2, ..example() }.proves(&right, b"GET"));
        assert!(!Credentials { uri: b"/".to_vec(), ..example() }.proves(&right, b"GET"));
        assert!(!Credentials { nonce: b"n".to_vec(), ..example() }.proves(&right, b"GET"));
        assert!(!Credentials { cnonce: b"c".to_vec(), ..example() }.proves(&right, b"GET"));
    }

    #[test]
    fn an_answer_reads_back_and_proves_the_password() {
        let field = b"Digest realm=\"r\\\"x\", nonce=\"n\", qop=\"auth\", opaque=\"o\"";
        let challenge = parse_challenges(field).unwrap().remove(0);
        let user = "us\"er\u{e9}".as_bytes();
        let sent = Credentials::answer(&challenge, (user, b"pw"), (b"GET", b"/a b"), 255, b"c");
        let read = Credentials::parse(&sent.format().unwrap()).unwrap();
        assert_eq!(read, sent);
        assert!(read.proves(&key(Algorithm::Md5, user, b"r\"x", b"pw"), b"GET"));
    }

    #[test]
    fn the_fields_of_curl_are_read() {
        let field = "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"/x\",cnonce=\"ZjQ=\",\
            nc=0000000a,algorithm=MD5,response=\"0123456789abcdef0123456789abcdef\",qop=\"auth\"";
        let read = Credentials::parse(field.as_bytes()).unwrap();
        assert_eq!((read.algorithm, read.nc, read.opaque), (Algorithm::Md5, 10, None));
    }

    #[test]
    fn every_parameter_but_two_is_needed() {
        for name in ["username", "realm", "uri", "nonce", "nc", "cnonce", "qop", "response"] {
            let field = EXAMPLE.replacen(&format!("{name}="), &format!("x-{name}="), 1);
            assert!(Credentials::parse(field.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn forms_that_no_challenge_offers_are_refused() {
        for (from, to) in [
            ("Digest ", "Basic "),
            ("Digest ", "Basic x, Digest "),
            ("qop=auth", "qop=auth-int"),
            ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
            ("algorithm=SHA-256", "algorithm=MD5"),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=+0000001"),
            ("nc=00000001", "nc=000000001"),
            ("nc=00000001", "nc=00000001, userhash=true"),
            ("nc=00000001", "nc=00000001, nc=00000001"),
            ("response=\"75", "response=\"7F"),
            ("response=\"75", "response=\"7"),
            ("username=", "username*="),
            ("cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"", "cnonce=\"\""),
        ] {
            assert!(EXAMPLE.contains(from));
            let field = EXAMPLE.replacen(from, to, 1);
            assert!(Credentials::parse(field.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_value_that_would_break_the_field_is_not_written() {
        assert!(Credentials { username: b"a\nb".to_vec(), ..example() }.format().is_err());
    }
}
