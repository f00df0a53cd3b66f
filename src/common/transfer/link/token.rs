//! Session tokens. A stream shows the token to prove that it belongs to a transfer.

#![forbid(unsafe_code)]

use crate::hash::{from_hex, hex};
use crate::sys::random;
use std::io;

/// Bytes of a token.
pub const TOKEN_SIZE: usize = 16;

/// A secret that two programs share for one transfer. It has no `Debug`, so that no log shows it.
#[derive(Clone, Copy)]
pub struct Token([u8; TOKEN_SIZE]);

impl Token {
    /// A new token, from the kernel's random source.
    pub fn random() -> io::Result<Token> {
        let mut bytes = [0; TOKEN_SIZE];
        random::fill(&mut bytes)?;
        Ok(Token(bytes))
    }

    /// The token with these bytes, from a job.
    pub fn from_bytes(bytes: [u8; TOKEN_SIZE]) -> Token {
        Token(bytes)
    }

    /// The token with these 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Token> {
        from_hex(text)?.try_into().ok().map(Token)
    }

    /// The token as 32 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// The token's bytes, for a hello.
    pub fn bytes(&self) -> [u8; TOKEN_SIZE] {
        self.0
    }

    /// Whether `shown` is this token. Takes the same time for every wrong token, so that it cannot
    /// be guessed byte by byte.
    pub fn is(&self, shown: &[u8; TOKEN_SIZE]) -> bool {
        let pairs = self.0.iter().zip(shown);
        let difference = pairs.fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_after_its_digits_are_read() {
        let token = Token::random().unwrap();
        let digits = token.to_hex();
        assert_eq!(digits.len(), 32);
        assert!(Token::from_hex(&digits).unwrap().is(&token.bytes()));
    }

    #[test]
    fn every_other_token_is_wrong() {
        let token = Token::random().unwrap();
        for bit in 0..TOKEN_SIZE * 8 {
            let mut other = token.bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!token.is(&other), "bit {bit}");
        }
    }

    #[test]
    fn digits_of_another_length_are_no_token() {
        assert!(Token::from_hex(&"0".repeat(30)).is_none());
        assert!(Token::from_hex(&"0".repeat(34)).is_none());
        assert!(Token::from_hex("").is_none());
    }

    #[test]
    fn two_equal_differences_do_not_cancel_each_other() {
        let token = Token::random().unwrap();
        let mut shown = token.bytes();
        shown[0] ^= 1;
        shown[9] ^= 1;
        assert!(!token.is(&shown));
    }
}
