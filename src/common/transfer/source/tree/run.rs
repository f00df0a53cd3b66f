//! A run: the names of a folder that come first after a certain one, in order. A folder with
//! more names than a run holds is read once for each run.

#![forbid(unsafe_code)]

use super::has_vanished;
use crate::codec::entry::FIXED_SIZE;
use crate::codec::name::MAX_COMPONENT;
use crate::codec::wire::PageEnd;
use crate::sys::dir::Dir;
use crate::transfer::source::wait_blocks::WaitBlocks;
use std::cmp::Ordering;
use std::io;

/// How much a run holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Names.
    pub(super) names: usize,
    /// Bytes of all names together.
    pub(super) bytes: usize,
    /// Bytes of names up to which a run is not worth keeping: reading again takes no longer
    /// than looking at the entries.
    pub(super) small: usize,
}

/// The limits of a transfer.
pub(super) const LIMITS: Limits = Limits { names: 65_536, bytes: 4 << 20, small: 64 << 10 };

/// Where a name is in the bytes of a run.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length: u8,
}

impl Place {
    fn end(self) -> usize {
        self.start as usize + usize::from(self.length)
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end()]
    }
}

/// Names of a folder, strictly rising.
#[derive(Debug)]
pub(super) struct Run {
    /// The names come after this one, which need not exist.
    after: Vec<u8>,
    bytes: Vec<u8>,
    names: Vec<Place>,
    /// What follows the last one. Names are missing where the folder could not be read to its
    /// end, or a name is too long.
    end: PageEnd,
}

/// Names to look at.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) names: Vec<Vec<u8>>,
    /// What follows the last one.
    pub(super) end: PageEnd,
}

impl Run {
    /// Reads the folder, which must not have been read before. Calls `grow` once, as soon as
    /// the run is no longer small.
    ///
    /// # Errors
    /// No name can be read; the folder has vanished.
    pub(super) fn read(
        dir: &Dir,
        after: &[u8],
        limits: Limits,
        waits: &mut WaitBlocks<'_>,
        mut grow: impl FnMut(&mut WaitBlocks<'_>),
    ) -> io::Result<Run> {
        let mut run = Run {
            after: after.to_vec(),
            bytes: Vec::new(),
            names: Vec::new(),
            end: PageEnd::Whole,
        };
        // The last name that the run still has room for, once it has been full.
        let mut bound: Option<Vec<u8>> = None;
        let (mut is_small, mut any, mut failed, mut too_long) = (true, false, false, false);
        let mut entries = dir.entries();
        loop {
            let name = match entries.next_name() {
                Ok(Some(name)) => name,
                Ok(None) => break,
                // An empty folder was removed: nothing of what was read is there.
                Err(error) if !any || has_vanished(&error) => return Err(error),
                Err(_) => {
                    failed = true;
                    break;
                }
            };
            any = true;
            waits.send_if_due();
            // First, so that the folder's last run knows of each such name.
            let Some(place) = place(run.bytes.len(), name) else {
                too_long = true;
                continue;
            };
            if name <= after || bound.as_ref().is_some_and(|bound| name > bound.as_slice()) {
                continue;
            }
            run.bytes.extend_from_slice(name);
            run.names.push(place);
            if is_small && run.bytes.len() > limits.small {
                is_small = false;
                grow(waits);
            }
            if run.names.len() >= 2 * limits.names || run.bytes.len() >= limits.bytes / 2 * 3 {
                bound = run.cut(limits).or(bound);
            }
        }
        bound = run.cut(limits).or(bound);
        run.sort();
        run.bytes.shrink_to_fit();
        run.names.shrink_to_fit();
        run.end = match (failed, bound, too_long) {
            // The next run might be read without an error, and hide that names are missing.
            (true, _, _) => PageEnd::Partial,
            (false, Some(_), _) => PageEnd::More,
            (false, None, true) => PageEnd::Partial,
            (false, None, false) => PageEnd::Whole,
        };
        Ok(run)
    }

    fn compare(bytes: &[u8], one: Place, other: Place) -> Ordering {
        one.of(bytes).cmp(other.of(bytes))
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.names.sort_unstable_by(|one, other| Run::compare(bytes, *one, *other));
    }

    /// Drops the last names where there are more than the limits allow. Returns the last one
    /// that is left; `None` if nothing was dropped.
    fn cut(&mut self, limits: Limits) -> Option<Vec<u8>> {
        let mut kept = self.names.len();
        if kept > limits.names {
            kept = limits.names;
            let bytes = &self.bytes;
            let order = |one: &Place, other: &Place| Run::compare(bytes, *one, *other);
            self.names.select_nth_unstable_by(kept - 1, order);
        }
        let length = |place: &Place| usize::from(place.length);
        if self.names[..kept].iter().map(length).sum::<usize>() > limits.bytes {
            self.sort();
            let mut total = 0;
            let fits = |place: &&Place| {
                total += length(place);
                total <= limits.bytes
            };
            kept = self.names[..kept].iter().take_while(fits).count();
        }
        if kept == self.names.len() {
            return None;
        }
        let bytes = &self.bytes;
        let last = self.names[kept.saturating_sub(1)].of(bytes).to_vec();
        self.names.truncate(kept);
        self.compact();
        Some(last)
    }

    /// Moves the bytes of the names together.
    fn compact(&mut self) {
        self.names.sort_unstable_by_key(|place| place.start);
        let mut end = 0;
        for place in &mut self.names {
            self.bytes.copy_within(place.start as usize..place.end(), end);
            place.start = end as u32;
            end += usize::from(place.length);
        }
        self.bytes.truncate(end);
    }

    /// Where the first name after `after` is.
    fn position(&self, after: &[u8]) -> usize {
        self.names.partition_point(|place| place.of(&self.bytes) <= after)
    }

    /// Whether the run knows what comes after `after`.
    pub(super) fn serves(&self, after: &[u8]) -> bool {
        self.after.as_slice() <= after
            && (self.end != PageEnd::More || self.position(after) < self.names.len())
    }

    /// The first names after `after` whose entries fit into `room` bytes, at least one of them.
    /// Also whether the run has names behind these.
    pub(super) fn batch(&self, after: &[u8], room: usize) -> (Batch, bool) {
        let rest = &self.names[self.position(after)..];
        let mut total = 0;
        let fits = |place: &&Place| {
            let is_first = total == 0;
            total += FIXED_SIZE + usize::from(place.length);
            is_first || total <= room
        };
        let names: Vec<_> =
            rest.iter().take_while(fits).map(|place| place.of(&self.bytes).to_vec()).collect();
        let has_rest = names.len() < rest.len();
        let end = if has_rest { PageEnd::More } else { self.end };
        (Batch { names, end }, has_rest)
    }
}

/// Where `name` will be in a run that has so many bytes; `None` if it is too long. A few file
/// systems have longer names.
fn place(start: usize, name: &[u8]) -> Option<Place> {
    if name.len() > MAX_COMPONENT {
        return None;
    }
    Some(Place { start: u32::try_from(start).ok()?, length: u8::try_from(name.len()).ok()? })
}
