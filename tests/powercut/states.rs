//! The states in which a disk can be after a power cut: all of them, or a random choice.

use crate::disk::{Content, Dress, Names};
use crate::history::{Cut, Pending};
use crate::sectors::SECTOR;
use crate::testing::Random;
use std::sync::Arc;

/// One state of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) names: Names,
    pub(crate) files: Vec<Content>,
    /// The modes and mtimes of all; empty where they do not count.
    pub(crate) dress: Vec<Dress>,
    /// Whether a sector holds what the disk held before, which may be anything.
    pub(crate) is_dirty: bool,
}

/// How the random choice for one file is made.
#[derive(Clone, Copy)]
enum Way {
    /// The first so many changes are on the disk.
    Prefix(usize),
    /// Each change is on the disk or not.
    Changes,
    /// Each sector is chosen independently.
    Sectors,
}

impl Pending {
    /// How many choices there are: first for the size, then for each changed sector. A sector holds
    /// what was there, or what a change made of it. If nothing was stored, it may hold what the
    /// disk held before.
    fn dice(&self) -> Vec<usize> {
        let junk = |sector| usize::from(self.base.sectors.get(sector).is_none());
        let sectors = self.sectors.iter().map(|(at, versions)| 1 + versions.len() + junk(*at));
        std::iter::once(1 + self.sizes.len()).chain(sectors).collect()
    }

    /// The content that these choices make, and whether old bytes of the disk are visible.
    fn content(&self, choices: &[usize]) -> (Content, bool) {
        let mut content = self.base.clone();
        // If the size does not include a cut of the file, that cut has freed no sector either.
        let mut sized = None;
        if let Some(choice) = choices[0].checked_sub(1) {
            sized = Some(self.sizes[choice].0);
            content.size = self.sizes[choice].1;
        }
        let mut is_dirty = false;
        let end = content.size.div_ceil(SECTOR);
        for ((at, versions), choice) in self.sectors.iter().zip(&choices[1..]) {
            is_dirty |= *choice > versions.len() && *at < end;
            let chosen = match choice.checked_sub(1) {
                None => continue,
                Some(version)
                    if versions.get(version).is_some_and(|(change, value)| {
                        value.is_none() && self.shrinks.contains(change) && sized < Some(*change)
                    }) =>
                {
                    continue;
                }
                Some(version) => versions.get(version).map_or_else(
                    || Some(Arc::new(std::array::from_fn(|i| (*at as usize * 7 + i * 31) as u8))),
                    |(_, value)| value.clone(),
                ),
            };
            content.sectors.set(*at, chosen);
        }
        content.sectors.truncate(end);
        (content, is_dirty)
    }

    /// Has a size that a write gave the file only together with the bytes up to there.
    fn in_order(&self, choices: &mut [usize]) {
        let Some(sized) = choices[0].checked_sub(1) else { return };
        let (change, size) = self.sizes[sized];
        // What has its size beforehand may lack its bytes.
        let ahead = self.sizes[..=sized].iter().filter(|(change, _)| self.ahead.contains(change));
        let ahead = ahead.map(|(_, size)| *size).chain([self.base.size]).max().unwrap_or(0);
        for ((at, versions), choice) in self.sectors.iter().zip(&mut choices[1..]) {
            let is_new = at * SECTOR + SECTOR > ahead && at * SECTOR < size;
            let due = versions.partition_point(|(version, _)| *version <= change);
            if is_new && !(due..=versions.len()).contains(choice) {
                *choice = due;
            }
        }
    }

    fn by_chance(&self, random: &mut Random) -> Vec<usize> {
        let way = match random.below(6) {
            0 => Way::Prefix(0),
            1 => Way::Prefix(self.changes),
            2 => Way::Prefix(random.below(self.changes + 1)),
            3 | 4 => Way::Changes,
            _ => Way::Sectors,
        };
        let share = 1 + random.below(15);
        let there: Vec<bool> = (0..self.changes)
            .map(|change| match way {
                Way::Prefix(length) => change < length,
                Way::Changes | Way::Sectors => random.below(16) < share,
            })
            .collect();
        let last = |versions: &mut dyn DoubleEndedIterator<Item = usize>, count: usize| {
            versions.rev().position(|change| there[change]).map_or(0, |back| count - back)
        };
        let by_sector = matches!(way, Way::Sectors);
        let holes = random.below(3) == 0;
        let dice = self.dice();
        let mut choices = Vec::with_capacity(dice.len());
        choices.push(match random.below(4) {
            0 => random.below(dice[0]),
            _ => last(&mut self.sizes.iter().map(|(change, _)| *change), self.sizes.len()),
        });
        for (versions, die) in self.sectors.values().zip(&dice[1..]) {
            choices.push(if by_sector || (holes && random.below(8) == 0) {
                random.below(*die)
            } else {
                last(&mut versions.iter().map(|(change, _)| *change), versions.len())
            });
        }
        choices
    }
}

impl Cut {
    /// How many states there are; `None` if a u64 cannot count them.
    pub(crate) fn count(&self) -> Option<u64> {
        let mut dice = vec![2; self.namings.len()];
        self.files.iter().for_each(|file| dice.extend(file.dice()));
        dice.iter().try_fold(1u64, |count, die| count.checked_mul(*die as u64))
    }

    /// State `number` of all states.
    pub(crate) fn state(&self, mut number: u64) -> State {
        let mut roll = |die: usize| {
            let choice = number % die as u64;
            number /= die as u64;
            choice as usize
        };
        let names: Vec<bool> = self.namings.iter().map(|_| roll(2) == 1).collect();
        let files = self.files.iter().map(|file| {
            let choices: Vec<usize> = file.dice().into_iter().map(&mut roll).collect();
            file.content(&choices)
        });
        let files = files.collect();
        self.together(&names, files)
    }

    /// A random state. Often the changes of a file reach the disk as on a real one: a prefix of the
    /// changes, or whole changes.
    pub(crate) fn by_chance(&self, random: &mut Random) -> State {
        self.chosen(random, false)
    }

    /// The same of a file system that writes appended bytes before the size that they give, with
    /// modes and mtimes.
    pub(crate) fn in_order_by_chance(&self, random: &mut Random) -> State {
        self.dressed(self.chosen(random, true), random)
    }

    /// A random state with modes and mtimes.
    pub(crate) fn dressed_by_chance(&self, random: &mut Random) -> State {
        self.dressed(self.chosen(random, false), random)
    }

    /// Adds modes and mtimes: what is not certain is there or not.
    fn dressed(&self, mut state: State, random: &mut Random) -> State {
        let share = random.below(17);
        state.dress.clone_from(&self.dress);
        for (file, dress) in &self.dressings {
            if random.below(16) < share {
                state.dress[*file].change(*dress);
            }
        }
        state
    }

    fn chosen(&self, random: &mut Random, in_order: bool) -> State {
        let file = |file: &Pending, random: &mut Random| {
            let mut choices = file.by_chance(random);
            if in_order {
                file.in_order(&mut choices);
            }
            file.content(&choices)
        };
        let files = self.files.iter().map(|pending| file(pending, random)).collect();
        let prefix = random.below(self.namings.len() + 1);
        let in_order = random.below(2) == 0;
        let names: Vec<bool> = (0..self.namings.len())
            .map(|at| if in_order { at < prefix } else { random.below(2) == 0 })
            .collect();
        self.together(&names, files)
    }

    fn together(&self, names: &[bool], files: Vec<(Content, bool)>) -> State {
        let is_dirty = files.iter().any(|(_, is_dirty)| *is_dirty);
        let files = files.into_iter().map(|(content, _)| content).collect();
        State { names: self.names(names), files, dress: Vec::new(), is_dirty }
    }

    fn names(&self, there: &[bool]) -> Names {
        let mut names = self.names.clone();
        for (naming, there) in self.namings.iter().zip(there) {
            if *there {
                naming.apply(&mut names);
            }
        }
        names
    }
}
