//! How much a run may delete. Pure functions: an unmounted source lists as empty, and a wrong
//! folder has other names.

#![forbid(unsafe_code)]

/// What a run would delete, and of how much. Excluded names do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// The entries of the source below its folder.
    pub source: u64,
    /// The entries here below OFILE before the run.
    pub before: u64,
    /// Those of them that would be deleted.
    pub doomed: u64,
}

/// Which rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing if the source is empty, and at most half.
    Half,
    /// At most this many entries (`--max-delete`).
    AtMost(u64),
}

/// Why nothing is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The source has no entry.
    EmptySource,
    /// More than half of what was there.
    MoreThanHalf,
    /// More than the user allows.
    MoreThanAllowed,
}

/// Whether a run may delete what it would.
///
/// # Errors
/// The rule that refuses it; then the run deletes nothing.
pub fn check(limit: Limit, census: Census) -> Result<(), Excess> {
    match limit {
        _ if census.doomed == 0 => Ok(()),
        Limit::AtMost(most) if census.doomed > most => Err(Excess::MoreThanAllowed),
        Limit::AtMost(_) => Ok(()),
        Limit::Half if census.source == 0 => Err(Excess::EmptySource),
        Limit::Half if census.doomed > census.before / 2 => Err(Excess::MoreThanHalf),
        Limit::Half => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(source: u64, before: u64, doomed: u64) -> Result<(), Excess> {
        check(Limit::Half, Census { source, before, doomed })
    }

    #[test]
    fn an_empty_source_deletes_nothing() {
        assert_eq!(half(0, 1000, 1), Err(Excess::EmptySource));
        assert_eq!(half(0, 1000, 0), Ok(()));
    }

    #[test]
    fn half_may_go_and_more_may_not() {
        assert_eq!(half(1, 10, 5), Ok(()));
        assert_eq!(half(1, 10, 6), Err(Excess::MoreThanHalf));
        assert_eq!(half(1, 11, 5), Ok(()));
        assert_eq!(half(1, 11, 6), Err(Excess::MoreThanHalf));
        assert_eq!(half(1, 1, 1), Err(Excess::MoreThanHalf));
        assert_eq!(half(9, u64::MAX, u64::MAX), Err(Excess::MoreThanHalf));
    }

    #[test]
    fn a_number_of_the_user_replaces_the_rule() {
        let most =
            |most, doomed| check(Limit::AtMost(most), Census { source: 0, before: 9, doomed });
        assert_eq!(most(3, 3), Ok(()));
        assert_eq!(most(3, 4), Err(Excess::MoreThanAllowed));
        assert_eq!(most(0, 1), Err(Excess::MoreThanAllowed));
        assert_eq!(most(u64::MAX, 9), Ok(()));
    }
}
