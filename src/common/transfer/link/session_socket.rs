//! The names of the Unix sockets of a session that has no port. A name is a hash of the session's
//! token: everybody on the machine can see the names (/proc/net/unix), and the token is a secret.

#![forbid(unsafe_code)]

use crate::hash::hex;
use crate::hash::sha256::Sha256;

/// The socket that the streams of the session go to.
pub fn for_streams(token: &[u8; 16]) -> Vec<u8> {
    name(b"streams", token)
}

/// The socket that requests to the server of the session go to.
pub fn for_http(token: &[u8; 16]) -> Vec<u8> {
    name(b"http", token)
}

fn name(purpose: &[u8], token: &[u8; 16]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"ropewalk session ");
    hash.update(purpose);
    hash.update(token);
    format!("ropewalk-{}", hex(&hash.finish_half())).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_and_each_purpose_has_a_name_of_its_own_without_the_token() {
        let names =
            [for_streams(&[1; 16]), for_http(&[1; 16]), for_streams(&[2; 16]), for_http(&[2; 16])];
        for (at, one) in names.iter().enumerate() {
            assert!(names[at + 1..].iter().all(|other| other != one));
            assert!(!String::from_utf8_lossy(one).contains("01010101"));
        }
    }
}
