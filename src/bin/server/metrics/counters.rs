//! What the server counts besides transfers and downloads: when it was started, and error
//! responses. Knows no format.

#![forbid(unsafe_code)]

use ropewalk::codec::http::Status;
use ropewalk::sys::sync::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts error responses. Under a lock, since not every processor has atomics of 64 bits.
pub(crate) struct Counters {
    /// When the server was started, in seconds since 1970.
    pub(super) started: f64,
    errors: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    /// Counts from now on.
    pub(crate) fn new() -> Arc<Counters> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Counters { started: started.as_secs_f64(), errors: Mutex::default() })
    }

    /// Counts a response, if its status is one of an error.
    pub(crate) fn answered(&self, status: Status) {
        if status.code() >= 400 {
            *lock(&self.errors).entry(status.code()).or_default() += 1;
        }
    }

    /// How many responses had a status of 400 or more, by status.
    pub(super) fn errors(&self) -> BTreeMap<u16, u64> {
        lock(&self.errors).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_of_errors_are_counted() {
        let counters = Counters::new();
        for status in [Status::OK, Status::NOT_MODIFIED, Status::NOT_FOUND, Status::NOT_FOUND] {
            counters.answered(status);
        }
        assert_eq!(counters.errors(), BTreeMap::from([(404, 2)]));
    }
}
