//! Tries states of a history of a folder, chosen at random.

use super::expected::{Expected, Facts, facts_of};
use super::site::Site;
use crate::check::{empty, lay};
use crate::explore::{setting, steps};
use crate::history::History;
use crate::states::State;
use crate::testing::Random;
use crate::world::states_folder;
use std::path::Path;

/// How many random states of one cut are tried in a row.
const OF_A_CUT: usize = 4;

/// Tries states of a history that made OUT of the source, with these options.
pub(crate) struct Explorer<'a> {
    pub(crate) test: &'a str,
    pub(crate) site: &'a Site,
    pub(crate) history: &'a History,
    pub(crate) old: Facts,
    pub(crate) options: &'a [&'a str],
    pub(crate) seed: u64,
}

impl Explorer<'_> {
    /// Tries them.
    #[track_caller]
    pub(crate) fn explore(&self) {
        let (site, history) = (self.site, self.history);
        let deletes = self.options.contains(&"--delete");
        let states = states_folder(&site.scratch);
        let expected = Expected::new(site, history, self.old.clone(), deletes, states.clone());
        for length in 0..=history.steps.len() {
            let state = history.state_within_boot(length);
            if let Err(wrong) = expected.look(&state, &expected.promise(length), false) {
                let wrong = format!("a kill without a power cut: {wrong}");
                self.fails(&expected, length, &state, &wrong);
            }
        }
        let mut random = Random::from_seed(self.seed);
        let mut found = Vec::new();
        let (mut tried, mut with_journal) = (0, 0);
        let count = setting("POWERCUT_STATES", 250).div_ceil(OF_A_CUT as u64);
        let mut lengths: Vec<usize> =
            (0..count).map(|_| random.below(history.steps.len() + 1)).collect();
        lengths.sort_unstable();
        let mut cuts = history.cuts();
        for length in lengths {
            let (cut, promise) = (cuts.at(length), expected.promise(length));
            for _ in 0..OF_A_CUT {
                // Without syncs, all depends on the order in which a file system writes.
                let state = match history.has_unsynced_run() {
                    true => cut.in_order_by_chance(&mut random),
                    false => cut.dressed_by_chance(&mut random),
                };
                match expected.look(&state, &promise, true) {
                    Ok(counted) => with_journal += usize::from(counted > 0),
                    Err(wrong) => self.fails(&expected, length, &state, &wrong),
                }
                tried += 1;
                found.push((length, state));
            }
            while found.len() > 100 {
                found.swap_remove(random.below(found.len()));
            }
        }
        let resumed = setting("POWERCUT_RESUMED", 6);
        for _ in 0..resumed {
            let (length, state) = &found[random.below(found.len())];
            self.resume(&expected, *length, state);
        }
        let _ = std::fs::remove_dir_all(&states);
        eprintln!(
            "{}: seed {}: {} steps, {tried} states, {with_journal} with bytes that count, \
             {resumed} resumed",
            self.test,
            self.seed,
            history.steps.len()
        );
    }

    /// Lets the programs go on from the state.
    #[track_caller]
    fn resume(&self, expected: &Expected<'_>, length: usize, state: &State) {
        let folder = self.site.scratch.path(format!("resumed-{}", self.test));
        empty(&folder);
        lay(self.history, state, &folder, true);
        let (success, said) = self.site.transfer(&folder, self.options, false, |_| {});
        let wrong = match expected.is_equal(&folder) {
            _ if !success => Some(format!("the next run fails: {said}")),
            Err(wrong) => Some(format!("after the next run: {wrong} ({said})")),
            Ok(()) => None,
        };
        if let Some(wrong) = wrong {
            self.fails(expected, length, state, &wrong);
        }
    }

    #[track_caller]
    fn fails(&self, expected: &Expected<'_>, length: usize, state: &State, wrong: &str) -> ! {
        let Explorer { test, seed, history, .. } = self;
        panic!(
            "{test}: {wrong}\nROPEWALK_SEED={seed}, after {length} steps\n{}\n{}",
            expected.shown(state),
            steps(history, length)
        );
    }
}

/// What is at OUT in a folder now; nothing if it is missing.
pub(crate) fn before(folder: &Path) -> Facts {
    let out = folder.join(super::site::OUT);
    if out.exists() { facts_of(&out) } else { Facts::new() }
}
