//! The arithmetic of Digest authentication (RFC 7616, section 3.4.1) with `qop=auth`: from a
//! password to the proof of knowing it.

#![forbid(unsafe_code)]

use crate::hash::{Md5, Sha256, hex};

/// A hash function that a challenge names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, the default of a field without an algorithm; for old clients.
    Md5,
    /// `SHA-256`.
    Sha256,
}

impl Algorithm {
    /// The name in a field.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// The algorithm with this name, without regard to case; `None` for an unsupported one, such
    /// as those that end in `-sess`.
    pub fn from_name(name: &[u8]) -> Option<Algorithm> {
        let all = [Algorithm::Md5, Algorithm::Sha256];
        all.into_iter().find(|own| own.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The length of a proof, in hexadecimal digits.
    pub fn digits(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 => 64,
        }
    }

    /// The hash of the parts, joined by colons, in hexadecimal: RFC 7616's `H` and, with a secret
    /// first, its `KD`.
    fn of(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b":"[..]);
        match self {
            Algorithm::Md5 => {
                let mut hash = Md5::new();
                hash.update(&text);
                hex(&hash.finish())
            }
            Algorithm::Sha256 => {
                let mut hash = Sha256::new();
                hash.update(&text);
                hex(&hash.finish())
            }
        }
    }
}

/// The key of a password in one realm: RFC 7616's `H(A1)`, in lower-case hexadecimal. A server
/// may store it instead of the password; it is just as secret.
pub fn key(algorithm: Algorithm, username: &[u8], realm: &[u8], password: &[u8]) -> String {
    algorithm.of(&[username, realm, password])
}

/// The inputs of a proof, except the password.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The server's nonce.
    pub nonce: &'a [u8],
    /// How many requests the client has made with this nonce, including this one.
    pub nc: u32,
    /// The client's own nonce.
    pub cnonce: &'a [u8],
    /// The request's method.
    pub method: &'a [u8],
    /// The request's target, as it was sent.
    pub uri: &'a [u8],
}

impl Proof<'_> {
    /// The proof, `response` in the field, in lower-case hexadecimal. `key` is the result of
    /// [`key`].
    pub fn response(&self, key: &str) -> String {
        let request = self.algorithm.of(&[self.method, self.uri]);
        let nc = format!("{:08x}", self.nc);
        self.algorithm.of(&[
            key.as_bytes(),
            self.nonce,
            nc.as_bytes(),
            self.cnonce,
            b"auth",
            request.as_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616, section 3.9.1.
    fn example(algorithm: Algorithm) -> String {
        let proof = Proof {
            algorithm,
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            nc: 1,
            cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        proof.response(&key(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life"))
    }

    #[test]
    fn the_standard_s_example_with_md5() {
        assert_eq!(example(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
    }

    #[test]
    fn the_standard_s_example_with_sha_256() {
        assert_eq!(
            example(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn the_older_standard_s_example() {
        let proof = Proof {
            algorithm: Algorithm::Md5,
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            nc: 1,
            cnonce: b"0a4f113b",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        let key = key(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        assert_eq!(key, "939e7578ed9e3c518a452acee763bce9");
        assert_eq!(proof.response(&key), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn algorithms_are_found_by_their_names() {
        assert_eq!(Algorithm::from_name(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_name(b"SHA-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::from_name(b"SHA-256-sess"), None);
        assert_eq!(Algorithm::from_name(b""), None);
    }

    #[test]
    fn a_proof_has_as_many_digits_as_its_algorithm_says() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            assert_eq!(example(algorithm).len(), algorithm.digits());
        }
    }
}
