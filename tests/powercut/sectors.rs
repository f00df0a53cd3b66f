//! The sectors of a file that store something.

use std::ops::Range;
use std::sync::Arc;

/// The unit that a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR: u64 = 512;

/// The bytes of one sector.
pub(crate) type Sector = Arc<[u8; SECTOR as usize]>;

/// The stored sectors by number. The last place is never empty, so equal sectors are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sectors(Vec<Option<Sector>>);

impl Sectors {
    /// How many sectors are stored.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Sector> {
        self.0.get(number as usize)?.as_ref()
    }

    /// The sector to write to; `None` where nothing is stored.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Sector> {
        self.0.get_mut(number as usize)?.as_mut()
    }

    /// The sector has this content now; without one it stores nothing.
    pub(crate) fn set(&mut self, number: u64, sector: Option<Sector>) {
        let at = number as usize;
        if at < self.0.len() {
            self.0[at] = sector;
            self.trim();
        } else if sector.is_some() {
            self.0.resize(at, None);
            self.0.push(sector);
        }
    }

    /// Sectors from this one on store nothing now.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.0.truncate(end as usize);
        self.trim();
    }

    /// The stored sectors, each with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Sector)> {
        self.range(0..self.0.len() as u64)
    }

    /// The stored sectors of a range, each with its number.
    pub(crate) fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, &Sector)> {
        let end = (numbers.end as usize).min(self.0.len());
        let start = (numbers.start as usize).min(end);
        let places = self.0[start..end].iter().zip(start as u64..);
        places.filter_map(|(sector, number)| Some((number, sector.as_ref()?)))
    }

    fn trim(&mut self) {
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
    }
}

#[test]
fn sectors_are_equal_however_they_came_about() {
    let mut sectors = Sectors::default();
    let sector: Sector = Arc::new([1; 512]);
    for number in [5, 1, 9] {
        sectors.set(number, Some(sector.clone()));
    }
    sectors.set(20, None);
    sectors.set(9, None);
    let numbers = |sectors: &Sectors| sectors.iter().map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!((numbers(&sectors), sectors.count()), (vec![1, 5], 2));
    assert_eq!(sectors.range(2..100).map(|(number, _)| number).collect::<Vec<_>>(), [5]);
    sectors.truncate(5);
    let mut other = Sectors::default();
    other.set(1, Some(sector));
    assert_eq!(sectors, other);
}
