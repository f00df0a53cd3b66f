//! `WWW-Authenticate: Digest` (RFC 7616, section 3.3), read and written. The caller makes the
//! nonce.

#![forbid(unsafe_code)]

use super::params::{Scheme, parse_schemes, quote};
use super::{Algorithm, DigestError};
use crate::codec::http::trim_ows;

/// A server's challenge. `qop` is always `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The realm of the password, for a person to read.
    pub realm: Vec<u8>,
    /// The server's nonce. Never empty.
    pub nonce: Vec<u8>,
    /// The text that the client sends back unchanged.
    pub opaque: Option<Vec<u8>>,
    /// The hash function.
    pub algorithm: Algorithm,
    /// Whether only the nonce was too old: the client tries again with the same password.
    pub stale: bool,
}

impl Challenge {
    /// The value of a `WWW-Authenticate` field. A server that offers both algorithms
    /// sends a field for each, the better one first.
    ///
    /// # Errors
    ///
    /// An empty nonce; a control character or too many bytes in a parameter.
    pub fn format(&self) -> Result<Vec<u8>, DigestError> {
        if self.nonce.is_empty() {
            return Err(DigestError::new("an empty nonce"));
        }
        let mut out = [
            &b"Digest realm="[..],
            &quote(&self.realm)?,
            b", nonce=",
            &quote(&self.nonce)?,
            b", qop=\"auth\", algorithm=",
            self.algorithm.name().as_bytes(),
        ]
        .concat();
        if let Some(opaque) = &self.opaque {
            out.extend_from_slice(b", opaque=");
            out.extend_from_slice(&quote(opaque)?);
        }
        if self.stale {
            out.extend_from_slice(b", stale=true");
        }
        Ok(out)
    }

    /// A supported challenge; `None` for another scheme, an unknown algorithm, or a `qop` without
    /// `auth`.
    fn from_scheme(scheme: &Scheme) -> Result<Option<Challenge>, DigestError> {
        if !scheme.is_digest() {
            return Ok(None);
        }
        let algorithm = scheme.get("algorithm").unwrap_or(b"MD5");
        let qop = scheme.get("qop").unwrap_or_default();
        let auth = qop.split(|&b| b == b',').any(|q| trim_ows(q).eq_ignore_ascii_case(b"auth"));
        let (Some(algorithm), true) = (Algorithm::from_name(algorithm), auth) else {
            return Ok(None);
        };
        let nonce = scheme.need("nonce", "a challenge without a nonce")?.to_vec();
        if nonce.is_empty() {
            return Err(DigestError::new("an empty nonce"));
        }
        Ok(Some(Challenge {
            realm: scheme.need("realm", "a challenge without a realm")?.to_vec(),
            nonce,
            opaque: scheme.get("opaque").map(<[u8]>::to_vec),
            algorithm,
            stale: scheme.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        }))
    }
}

/// The challenges in the value of a `WWW-Authenticate` field, or in several fields joined to one.
/// Unsupported challenges are skipped.
///
/// # Errors
///
/// Broken grammar (RFC 9110, section 11), a limit, a parameter that comes twice, or a
/// Digest challenge without realm or nonce.
pub fn parse_challenges(value: &[u8]) -> Result<Vec<Challenge>, DigestError> {
    let schemes = parse_schemes(value)?;
    schemes.iter().filter_map(|scheme| Challenge::from_scheme(scheme).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616, section 3.9.1, both fields joined.
    const EXAMPLE: &[u8] = b"Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
        Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    fn challenge() -> Challenge {
        Challenge {
            realm: b"rope \"walk\"".to_vec(),
            nonce: b"n/1==".to_vec(),
            opaque: None,
            algorithm: Algorithm::Sha256,
            stale: false,
        }
    }

    #[test]
    fn a_challenge_is_written() {
        assert_eq!(
            challenge().format().unwrap(),
            b"Digest realm=\"rope \\\"walk\\\"\", nonce=\"n/1==\", qop=\"auth\", algorithm=SHA-256"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let all = [
            challenge(),
            Challenge { stale: true, opaque: Some(b"o".to_vec()), ..challenge() },
            Challenge { algorithm: Algorithm::Md5, ..challenge() },
        ];
        let fields: Vec<Vec<u8>> = all.iter().map(|one| one.format().unwrap()).collect();
        assert_eq!(parse_challenges(&fields.join(&b", "[..])).unwrap(), all);
    }

    #[test]
    fn the_standard_s_example_has_two() {
        let both = parse_challenges(EXAMPLE).unwrap();
        let algorithms: Vec<Algorithm> = both.iter().map(|one| one.algorithm).collect();
        assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
        assert_eq!(both[0].realm, b"http-auth@example.org");
        assert_eq!(both[1].opaque.as_ref().unwrap().len(), 44);
        assert!(!both[0].stale);
    }

    #[test]
    fn unsupported_challenges_are_skipped() {
        for value in [
            "",
            "Basic realm=\"x\"",
            "Digest realm=x, nonce=y, qop=auth, algorithm=SHA-512-256",
            "Digest realm=x, nonce=y, qop=auth, algorithm=MD5-sess",
            "Digest realm=x, nonce=y",
            "Digest realm=x, nonce=y, qop=auth-int",
        ] {
            assert_eq!(parse_challenges(value.as_bytes()), Ok(Vec::new()), "{value}");
        }
    }

    #[test]
    fn without_an_algorithm_it_is_md5() {
        let found =
            parse_challenges(b"Basic realm=x, Digest realm=x, nonce=y, qop=\"auth\"").unwrap();
        assert_eq!(found[0].algorithm, Algorithm::Md5);
    }

    #[test]
    fn a_challenge_has_a_realm_and_a_nonce() {
        for value in [
            "Digest qop=auth, nonce=x",
            "Digest qop=auth, realm=x",
            "Digest qop=auth, realm=x, nonce=\"\"",
        ] {
            assert!(parse_challenges(value.as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn an_error_says_in_words_what_is_wrong() {
        assert_eq!(parse_challenges(b"=").unwrap_err().to_string(), "not a token");
    }

    #[test]
    fn a_value_that_would_break_the_field_is_not_written() {
        assert!(Challenge { realm: b"a\r\nb".to_vec(), ..challenge() }.format().is_err());
        assert!(Challenge { nonce: Vec::new(), ..challenge() }.format().is_err());
    }
}
