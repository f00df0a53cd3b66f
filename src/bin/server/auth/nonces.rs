//! The server's nonces (RFC 7616, section 3.3). Only this server can make them, they expire,
//! and each count of a nonce is accepted once. A nonce takes memory only after a request
//! with a right password has used it, so strangers cannot fill the table.

#![forbid(unsafe_code)]

use ropewalk::hash::{from_hex, hex, hmac_sha256, same_secretly};
use ropewalk::sys::random;
use ropewalk::sys::sync::lock;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a nonce is accepted.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// The most nonces whose counts are kept. When full, the server forgets the oldest nonce,
/// and accepts no older nonce either. So no count is accepted twice.
pub(crate) const MAX_NONCES: usize = 4096;

/// How far a count may be behind the highest count of its nonce. The requests of a client
/// with several connections arrive out of order.
pub(crate) const WINDOW: u32 = 128;

/// The parts of a nonce, in bytes: a random salt; the serial number and the time of issue,
/// both masked; and an authentication tag of all that.
const SALT: usize = 8;
const BODY: usize = 16;
const TAG: usize = 16;

/// Whether a nonce and a count are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The nonce is valid and the count is new. The count is used up now.
    Fresh,
    /// The nonce is too old, unknown or forgotten, or the count was used before. The client
    /// gets a new nonce.
    Stale,
}

/// The nonces of one server.
pub(crate) struct Nonces {
    tag_key: [u8; 32],
    mask_key: [u8; 32],
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The serial number of the last nonce that was issued.
    issued: u64,
    /// Nonces up to this one are forgotten.
    forgotten: u64,
    used: BTreeMap<u64, Counts>,
}

impl Nonces {
    /// No nonces yet, and new random keys.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new() -> io::Result<Nonces> {
        let (mut tag_key, mut mask_key) = ([0; 32], [0; 32]);
        random::fill(&mut tag_key)?;
        random::fill(&mut mask_key)?;
        Ok(Nonces { tag_key, mask_key, start: Instant::now(), state: Mutex::default() })
    }

    /// A new nonce, issued at `now`.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn issue(&self, now: Instant) -> io::Result<String> {
        let mut nonce = [0; SALT + BODY + TAG];
        let (salt, rest) = nonce.split_at_mut(SALT);
        let (body, tag) = rest.split_at_mut(BODY);
        random::fill(salt)?;
        let serial = {
            let mut state = lock(&self.state);
            state.issued += 1;
            state.issued
        };
        let (left, right) = body.split_at_mut(8);
        left.copy_from_slice(&serial.to_be_bytes());
        right.copy_from_slice(&self.milliseconds(now).to_be_bytes());
        // Masked, since clients need not know how many nonces there are and when they were made.
        self.mask(salt, body);
        let full = hmac_sha256(&self.tag_key, &[salt, body]);
        for (to, from) in tag.iter_mut().zip(full) {
            *to = from;
        }
        Ok(hex(&nonce))
    }

    /// Accepts a nonce and a count that came at `now` with the proof of a right password, and
    /// marks the count as used.
    pub(crate) fn accept(&self, nonce: &[u8], count: u32, now: Instant) -> Freshness {
        let Some((serial, issued)) = self.open(nonce) else { return Freshness::Stale };
        let age = self.milliseconds(now).saturating_sub(issued);
        if u128::from(age) > LIFETIME.as_millis() {
            return Freshness::Stale;
        }
        let mut state = lock(&self.state);
        if serial <= state.forgotten {
            return Freshness::Stale;
        }
        let freshness = state.used.entry(serial).or_default().accept(count);
        if state.used.len() > MAX_NONCES {
            if let Some((oldest, _)) = state.used.pop_first() {
                state.forgotten = oldest;
            }
        }
        freshness
    }

    /// The serial number and the time of issue of a nonce; `None` if another server made it.
    fn open(&self, nonce: &[u8]) -> Option<(u64, u64)> {
        let nonce = from_hex(std::str::from_utf8(nonce).ok()?)?;
        let (salt, rest) = nonce.split_at_checked(SALT)?;
        let (body, tag) = rest.split_at_checked(BODY)?;
        let full = hmac_sha256(&self.tag_key, &[salt, body]);
        if !same_secretly(full.get(..TAG)?, tag) {
            return None;
        }
        let mut body: [u8; BODY] = body.try_into().ok()?;
        self.mask(salt, &mut body);
        let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
        Some((number(body.get(..8)?)?, number(body.get(8..)?)?))
    }

    /// Masks a body, or unmasks it.
    fn mask(&self, salt: &[u8], body: &mut [u8]) {
        let mask = hmac_sha256(&self.mask_key, &[salt]);
        for (byte, mask) in body.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The used counts of a nonce.
#[derive(Default)]
struct Counts {
    highest: u32,
    /// Bit n: whether `highest - n` was used.
    used: u128,
}

impl Counts {
    fn accept(&mut self, count: u32) -> Freshness {
        if count == 0 {
            return Freshness::Stale;
        }
        if count > self.highest {
            let step = count - self.highest;
            self.used = self.used.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            return Freshness::Fresh;
        }
        let behind = self.highest - count;
        if behind >= WINDOW || self.used & (1 << behind) != 0 {
            return Freshness::Stale;
        }
        self.used |= 1 << behind;
        Freshness::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> (Nonces, Instant) {
        (Nonces::new().unwrap(), Instant::now())
    }

    fn take(nonces: &Nonces, nonce: &str, count: u32, now: Instant) -> bool {
        nonces.accept(nonce.as_bytes(), count, now) == Freshness::Fresh
    }

    #[test]
    fn a_nonce_is_good_until_its_time_is_over() {
        let (nonces, now) = nonces();
        let nonce = nonces.issue(now).unwrap();
        assert!(take(&nonces, &nonce, 1, now));
        assert!(take(&nonces, &nonce, 2, now + LIFETIME));
        assert!(!take(&nonces, &nonce, 3, now + LIFETIME + Duration::from_millis(2)));
    }

    #[test]
    fn two_nonces_differ_and_share_no_beginning() {
        let (nonces, now) = nonces();
        let (first, second) = (nonces.issue(now).unwrap(), nonces.issue(now).unwrap());
        assert_ne!(first[..16], second[..16]);
        assert_ne!(first[16..48], second[16..48]);
    }

    #[test]
    fn a_nonce_of_another_server_is_not_good() {
        let (nonces, now) = nonces();
        let other = Nonces::new().unwrap().issue(now).unwrap();
        assert!(!take(&nonces, &other, 1, now));
    }

    #[test]
    fn a_nonce_that_was_changed_anywhere_is_not_good() {
        let (nonces, now) = nonces();
        let nonce = nonces.issue(now).unwrap();
        for place in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(nonces.accept(&bytes, 1, now), Freshness::Stale, "{place}");
        }
        for other in ["", "00", &nonce[2..], &format!("{nonce}00"), "é"] {
            assert!(!take(&nonces, other, 1, now));
        }
        assert!(take(&nonces, &nonce, 1, now));
    }

    #[test]
    fn a_count_is_good_once() {
        let (nonces, now) = nonces();
        let nonce = nonces.issue(now).unwrap();
        for count in [2, 1, 5, 4, 3] {
            assert!(take(&nonces, &nonce, count, now));
        }
        for count in 0..=5 {
            assert!(!take(&nonces, &nonce, count, now));
        }
    }

    #[test]
    fn the_limit_of_the_window_is_exact() {
        let (nonces, now) = nonces();
        let nonce = nonces.issue(now).unwrap();
        assert!(take(&nonces, &nonce, 1000, now));
        assert!(take(&nonces, &nonce, 1000 - WINDOW + 1, now));
        assert!(!take(&nonces, &nonce, 1000 - WINDOW, now));
        assert!(take(&nonces, &nonce, u32::MAX, now));
        assert!(!take(&nonces, &nonce, u32::MAX, now));
        assert!(take(&nonces, &nonce, u32::MAX - 1, now));
        assert!(!take(&nonces, &nonce, 1001, now));
    }

    #[test]
    fn every_order_of_counts_gives_each_one_use() {
        let mut counts = Counts::default();
        let mut used = std::collections::BTreeSet::new();
        let mut state = 1u32;
        // Miri takes a thousand times as long for a step.
        let asked = if cfg!(miri) { 2_000 } else { 100_000 };
        for _ in 0..asked {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let count = counts.highest.saturating_sub(200) + (state >> 16) % 204;
            if counts.accept(count) == Freshness::Fresh {
                assert!(used.insert(count), "{count} twice");
            }
        }
        assert!(used.len() > asked / 100);
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes Miri longer than a quarter of an hour")]
    fn the_limit_of_nonces_is_exact_and_none_becomes_good_again() {
        let (nonces, now) = nonces();
        let early = nonces.issue(now).unwrap();
        let all: Vec<String> = (0..=MAX_NONCES).map(|_| nonces.issue(now).unwrap()).collect();
        let late = nonces.issue(now).unwrap();
        for nonce in &all[..MAX_NONCES] {
            assert!(take(&nonces, nonce, 1, now));
        }
        assert!(take(&nonces, &all[0], 2, now));
        assert!(take(&nonces, &all[MAX_NONCES], 1, now));
        assert!(!take(&nonces, &all[0], 3, now), "the oldest is forgotten");
        assert!(!take(&nonces, &early, 1, now), "and so is one that is older and unused");
        assert!(take(&nonces, &all[1], 2, now));
        assert!(take(&nonces, &late, 1, now));
        assert_eq!(lock(&nonces.state).used.len(), MAX_NONCES);
    }

    #[test]
    fn what_strangers_send_takes_no_memory() {
        let (nonces, now) = nonces();
        for _ in 0..100 {
            nonces.issue(now).unwrap();
            nonces.accept(&[b'0'; 80], 1, now);
        }
        assert!(lock(&nonces.state).used.is_empty());
    }
}
