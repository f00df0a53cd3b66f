//! A limit on the bytes per second of everything that the server sends: each transfer
//! and each download gets the same share, and another one whenever one comes or goes.

#![forbid(unsafe_code)]

use ropewalk::app::job;
use ropewalk::codec::json::Value;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::rate::Rate;
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// Those who share the limit.
pub(crate) struct Shares {
    /// In bytes per second.
    limit: Option<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    holders: HashMap<u64, Holder>,
}

enum Holder {
    /// A worker, told over its lifeline.
    Sender(UnixStream),
    /// A connection of this process.
    Download(Arc<Rate>),
}

/// A share. It is given back when this is dropped.
pub(crate) struct Share {
    owner: Arc<Shares>,
    number: u64,
}

impl Shares {
    /// At most `limit` bytes per second; without one everything here does nothing.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Shares> {
        Arc::new(Shares { limit, state: Mutex::default() })
    }

    /// What one more would get now, to begin with.
    pub(crate) fn next(&self) -> Option<u64> {
        let limit = self.limit?;
        Some(share(limit, lock(&self.state).holders.len() + 1))
    }

    /// Has a sender share, from its lifeline on.
    pub(crate) fn add_sender(
        self: &Arc<Shares>,
        lifeline: &UnixStream,
    ) -> io::Result<Option<Share>> {
        if self.limit.is_none() {
            return Ok(None);
        }
        let lifeline = lifeline.try_clone()?;
        // A sender that was stopped reads nothing, and must not hold up this process.
        lifeline.set_nonblocking(true)?;
        Ok(Some(self.add(Holder::Sender(lifeline))))
    }

    /// Has a download share.
    pub(crate) fn add_download(self: &Arc<Shares>) -> Option<(Arc<Rate>, Share)> {
        let rate = Arc::new(Rate::new(self.next()?));
        Some((rate.clone(), self.add(Holder::Download(rate))))
    }

    fn add(self: &Arc<Shares>, holder: Holder) -> Share {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        state.holders.insert(number, holder);
        self.divide(&state);
        Share { owner: self.clone(), number }
    }

    fn divide(&self, state: &State) {
        let Some(limit) = self.limit else { return };
        let share = share(limit, state.holders.len());
        for holder in state.holders.values() {
            match holder {
                // One that has ended has no use for it.
                Holder::Sender(lifeline) => {
                    let word = Value::object([("rate", Value::from_u64(share))]);
                    let _ = job::say(lifeline, &word);
                }
                Holder::Download(rate) => rate.change(share),
            }
        }
    }
}

fn share(limit: u64, holders: usize) -> u64 {
    (limit / (holders as u64).max(1)).max(1)
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = lock(&self.owner.state);
        state.holders.remove(&self.number);
        self.owner.divide(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::codec::json;
    use std::io::{BufRead, BufReader};

    fn told(lifeline: &mut BufReader<UnixStream>) -> u64 {
        let mut line = String::new();
        lifeline.read_line(&mut line).unwrap();
        json::parse(line.as_bytes()).unwrap().get("rate").and_then(Value::as_u64).unwrap()
    }

    #[test]
    fn each_gets_the_same_and_more_when_one_goes() {
        let shares = Shares::new(Some(900));
        assert_eq!(shares.next(), Some(900));
        let (here, there) = UnixStream::pair().unwrap();
        let mut there = BufReader::new(there);
        let first = shares.add_sender(&here).unwrap().unwrap();
        assert_eq!(told(&mut there), 900);
        let (_rate, second) = shares.add_download().unwrap();
        assert_eq!(told(&mut there), 450);
        assert_eq!(shares.next(), Some(300));
        drop(second);
        assert_eq!(told(&mut there), 900);
        drop(first);
        assert_eq!(shares.next(), Some(900));
    }

    #[test]
    fn a_sender_that_does_not_listen_holds_up_nobody() {
        let shares = Shares::new(Some(900));
        let (here, _there) = UnixStream::pair().unwrap();
        let _first = shares.add_sender(&here).unwrap().unwrap();
        (0..5000).for_each(|_| drop(shares.add_download()));
    }

    #[test]
    fn without_a_limit_nobody_has_a_share() {
        let shares = Shares::new(None);
        assert_eq!(shares.next(), None);
        assert!(shares.add_download().is_none());
    }
}
