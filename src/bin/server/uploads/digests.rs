//! The digests that a client sends with an upload: `Repr-Digest` and `Content-Digest` (RFC 9530).
//! Both are of the bytes of the body, since a PUT brings a whole file.

#![forbid(unsafe_code)]

use ropewalk::codec::http::{Headers, Refusal, Status};
use ropewalk::codec::repr_digest;
use ropewalk::hash::{Md5, Sha256};

/// The fields.
const FIELDS: [&str; 2] = ["Repr-Digest", "Content-Digest"];

/// The digests of a body that comes, and what they have to be.
#[derive(Default)]
pub(crate) struct Digests {
    md5: Option<(Md5, Vec<[u8; 16]>)>,
    sha256: Option<(Sha256, Vec<[u8; 32]>)>,
}

impl Digests {
    /// The digests that these fields have.
    ///
    /// # Errors
    /// 400 for a field that is malformed, or has no digest that the server knows: then the client
    /// believes that its bytes are checked, and they are not.
    pub(crate) fn from_fields(fields: &Headers) -> Result<Digests, Refusal> {
        let refusal = |words| Refusal::new(Status::BAD_REQUEST, words);
        let mut digests = Digests::default();
        for value in FIELDS.into_iter().filter_map(|name| fields.joined(name)) {
            let md5 = repr_digest::parse_md5(&value);
            let sha256 = repr_digest::parse_sha256(&value);
            let (Ok(md5), Ok(sha256)) = (md5, sha256) else {
                return Err(refusal("a digest field is malformed"));
            };
            if md5.is_none() && sha256.is_none() {
                return Err(refusal("of digests, the server knows md5 and sha-256 only"));
            }
            if let Some(md5) = md5 {
                digests.md5.get_or_insert_default().1.push(md5);
            }
            if let Some(sha256) = sha256 {
                digests.sha256.get_or_insert_default().1.push(sha256);
            }
        }
        Ok(digests)
    }

    /// Adds the next bytes of the body.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some((sha256, _)) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Whether the body has all the digests that the client has sent.
    pub(crate) fn match_body(self) -> bool {
        let md5 = self.md5.is_none_or(|(md5, expected)| {
            let found = md5.finish();
            expected.iter().all(|digest| *digest == found)
        });
        let sha256 = self.sha256.is_none_or(|(sha256, expected)| {
            let found = sha256.finish();
            expected.iter().all(|digest| *digest == found)
        });
        md5 && sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "md5=:kAFQmDzST7DWlj99KOF/cg==:";
    const SHA256: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

    /// Whether a body that comes in two pieces has the digests of these fields.
    fn matches(fields: &[(&str, &str)], body: [&[u8]; 2]) -> bool {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.push(*name, *value));
        let mut digests = Digests::from_fields(&headers).unwrap();
        body.iter().for_each(|piece| digests.update(piece));
        digests.match_body()
    }

    #[test]
    fn every_digest_of_every_field_has_to_be_right() {
        let both = format!("{MD5}, {SHA256}");
        for fields in [
            &[][..],
            &[("Repr-Digest", MD5)],
            &[("Repr-Digest", SHA256)],
            &[("Content-Digest", &both)],
            &[("Repr-Digest", MD5), ("Content-Digest", SHA256)],
            &[("Repr-Digest", "sha-512=:AAAA:"), ("Repr-Digest", MD5)],
        ] {
            assert!(matches(fields, [b"a", b"bc"]), "{fields:?}");
            assert_eq!(matches(fields, [b"a", b"bd"]), fields.is_empty(), "{fields:?}");
        }
        let nothing = "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:";
        assert!(!matches(&[("Repr-Digest", MD5), ("Content-Digest", nothing)], [b"a", b"bc"]));
    }

    #[test]
    fn a_digest_that_cannot_be_checked_is_refused() {
        for value in ["sha-512=:AAAA:", "md5=:AAAA:", "x y", "", "md5"] {
            let mut headers = Headers::new();
            headers.push("Repr-Digest", value);
            let refused = Digests::from_fields(&headers).map(drop).unwrap_err();
            assert_eq!(refused.status, Status::BAD_REQUEST, "{value}");
        }
    }
}
