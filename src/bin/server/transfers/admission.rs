//! How many transfers there may be, in all and for one address, and which session makes
//! room for another transfer. Decides, and changes nothing.

#![forbid(unsafe_code)]

use super::row::{Row, Rows, Stage};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Limits on the number of transfers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// All transfers.
    pub(crate) transfers: usize,
    /// Transfers of one origin (`origin.rs`).
    pub(crate) per_origin: usize,
    /// At a limit, a session that has moved nothing for longer may have to go.
    pub(crate) patience: Duration,
}

/// What to do with a transfer that asks to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// There is room.
    Admit,
    /// There is room when the session with this id goes.
    Replace(u64),
    /// There is no room, for this reason.
    Refuse(&'static str),
}

/// Whether one more transfer of `origin` is admitted. At a limit the session goes that has
/// moved nothing for longest. At the limit of an origin only its own sessions go.
pub(super) fn admit(rows: &Rows, limits: &Limits, origin: IpAddr, now: Instant) -> Decision {
    let placed = || rows.values().filter(|row| row.has_place());
    let own = placed().filter(|row| row.origin == origin).count();
    let (of, reason) = if own >= limits.per_origin {
        (Some(origin), "too many transfers for your address")
    } else if placed().count() >= limits.transfers {
        (None, "too many transfers")
    } else {
        return Decision::Admit;
    };
    match longest_silent(rows, of, limits.patience, now) {
        Some(id) => Decision::Replace(id),
        None => Decision::Refuse(reason),
    }
}

/// The session that has moved nothing for longest, if that is longer than `patience`; only
/// of this origin, if there is one. Of two with the same silence, the older session.
pub(super) fn longest_silent(
    rows: &Rows,
    origin: Option<IpAddr>,
    patience: Duration,
    now: Instant,
) -> Option<u64> {
    let may_go = |row: &Row| {
        matches!(row.stage, Stage::Session { .. })
            && origin.is_none_or(|origin| origin == row.origin)
            && row.silence(now) > patience
    };
    let silent = rows.iter().filter(|(_, row)| may_go(row));
    silent.min_by_key(|(id, row)| (row.moved_at, **id)).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{Sort, row, rows};
    use super::*;
    use crate::testing::Random;

    const PATIENCE: Duration = Duration::from_secs(30);
    const FULL: Decision = Decision::Refuse("too many transfers");
    const OWN_FULL: Decision = Decision::Refuse("too many transfers for your address");

    /// What rows there are: each with its sort, its host and its silence in seconds.
    type Given<'a> = &'a [(Sort, u8, u64)];

    /// The decision about one more transfer of host 1.
    fn decide(given: Given<'_>, transfers: usize, per_origin: usize) -> Decision {
        let start = Instant::now();
        let now = start + Duration::from_secs(1000);
        let given = given
            .iter()
            .map(|(sort, host, silence)| row(*sort, *host, now - Duration::from_secs(*silence)));
        let limits = Limits { transfers, per_origin, patience: PATIENCE };
        admit(&rows(given), &limits, [192, 0, 2, 1].into(), now)
    }

    #[test]
    fn one_more_transfer_is_admitted_replaces_another_or_is_refused() {
        use Decision::{Admit, Replace};
        use Sort::{Classic, Download, Ended, Evicted, Preparing, Session};
        let cases: [(&str, Given<'_>, usize, usize, Decision); 12] = [
            ("an empty table", &[], 1, 1, Admit),
            ("below both limits", &[(Session, 1, 99)], 2, 2, Admit),
            ("full, and all move", &[(Session, 2, 30)], 1, 9, FULL),
            ("full, and one is silent", &[(Session, 2, 31)], 1, 9, Replace(1)),
            ("the longest silence", &[(Session, 2, 40), (Session, 3, 50)], 2, 9, Replace(2)),
            ("the same silence", &[(Session, 2, 40), (Session, 3, 40)], 2, 9, Replace(1)),
            ("own limit, another is silent", &[(Session, 2, 99), (Session, 1, 9)], 9, 1, OWN_FULL),
            ("own limit, own is silent", &[(Session, 2, 99), (Session, 1, 31)], 9, 1, Replace(2)),
            ("both limits", &[(Session, 2, 99), (Session, 1, 9)], 2, 1, OWN_FULL),
            ("no session goes", &[(Classic, 2, 999), (Preparing, 3, 999)], 2, 9, FULL),
            ("downloads have no place", &[(Download, 1, 0), (Download, 1, 99)], 1, 1, Admit),
            ("nor has what ends", &[(Evicted, 1, 99), (Ended, 1, 99)], 1, 1, Admit),
        ];
        for (case, given, transfers, per_origin, expected) in cases {
            assert_eq!(decide(given, transfers, per_origin), expected, "{case}");
        }
    }

    #[test]
    fn no_sequence_of_arrivals_exceeds_a_limit_or_evicts_a_transfer_that_moves() {
        let (mut random, mut now) = (Random::new(), Instant::now());
        let limits = Limits { transfers: 12, per_origin: 5, patience: PATIENCE };
        let (mut rows, mut decisions) = (Rows::new(), [0; 3]);
        for id in 1..5000 {
            now += Duration::from_secs(random.below(6) as u64);
            let known = rows.keys().nth(random.below(16)).copied().unwrap_or(0);
            match (random.below(8), rows.get_mut(&known)) {
                (0, Some(_)) => drop(rows.remove(&known)),
                (1..4, Some(row)) => row.reached(id, now),
                _ => {
                    let host = 1 + random.below(4) as u8;
                    let sort = if random.below(4) == 0 { Sort::Classic } else { Sort::Session };
                    let kind = arrive(&mut rows, &limits, (id, host, sort), now);
                    decisions[kind] += 1;
                }
            }
            let placed = |host: u8| {
                let own = |row: &&Row| row.has_place() && row.origin == ip(host);
                rows.values().filter(own).count()
            };
            let placed = [1, 2, 3, 4].map(placed);
            assert!(placed.iter().all(|own| *own <= limits.per_origin), "{placed:?}");
            assert!(placed.iter().sum::<usize>() <= limits.transfers, "{placed:?}");
        }
        assert!(decisions.iter().all(|count| *count > 20), "{decisions:?}");
    }

    fn ip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    /// One more transfer arrives, and what was decided about it is done. The answer numbers
    /// the decision.
    fn arrive(
        rows: &mut Rows,
        limits: &Limits,
        (id, host, sort): (u64, u8, Sort),
        now: Instant,
    ) -> usize {
        let silences = |own: bool| {
            let goes = |row: &&Row| {
                matches!(row.stage, Stage::Session { .. }) && (!own || row.origin == ip(host))
            };
            rows.values().filter(goes).map(|row| row.silence(now)).max().unwrap_or_default()
        };
        let (any, own) = (silences(false), silences(true));
        let decision = admit(rows, limits, ip(host), now);
        match decision {
            Decision::Admit => {}
            Decision::Replace(victim) => {
                let victim = rows.get_mut(&victim).unwrap();
                let silence = victim.silence(now);
                assert!(silence > limits.patience && (silence == any || silence == own));
                victim.evict();
            }
            Decision::Refuse(reason) => {
                let longest = if reason.ends_with("address") { own } else { any };
                assert!(longest <= limits.patience, "{reason}");
                return 2;
            }
        }
        rows.insert(id, row(sort, host, now));
        usize::from(decision != Decision::Admit)
    }
}
