//! The field `Prefer` (RFC 7240): how long a client wants to wait for an answer.

#![forbid(unsafe_code)]

use super::structured::{Item, member};
use std::time::Duration;

/// The value that asks for `202 Accepted` where the answer takes longer than this (sections 4.1 and
/// 4.3).
pub fn accepted_after(limit: Duration) -> String {
    format!("respond-async, wait={}", limit.as_secs())
}

/// How long the answer may take, if the client prefers `202 Accepted` then. An invalid value prefers
/// nothing.
pub fn wait(value: &[u8]) -> Option<Duration> {
    match (member(value, "respond-async"), member(value, "wait")) {
        (Ok(Some(_)), Ok(Some(Item::Integer(seconds)))) => {
            u32::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_with_an_answer_that_may_come_later() {
        let limit = Duration::from_secs(20);
        assert_eq!(accepted_after(limit), "respond-async, wait=20");
        assert_eq!(wait(accepted_after(limit).as_bytes()), Some(limit));
        assert_eq!(wait(b"wait=0, respond-async"), Some(Duration::ZERO));
        for value in
            ["", "wait=20", "respond-async", "respond-async, wait", "wait=-1, respond-async"]
        {
            assert_eq!(wait(value.as_bytes()), None, "{value}");
        }
        for value in
            ["respond-async, wait=1.5", "respond-async, wait=99999999999", "respond-async,"]
        {
            assert_eq!(wait(value.as_bytes()), None, "{value}");
        }
    }
}
