//! Tries the states of a history: all if they are few, otherwise a random choice.

use crate::check::{Expected, OTHER_BOOT, empty, lay};
use crate::disk::Change;
use crate::history::{History, Step};
use crate::promise::{JOURNAL, OUT, PART, Promise, counting, records};
use crate::states::State;
use crate::support::harness::{Scratch, run};
use crate::testing::Random;
use crate::world::World;
use ropewalk::transfer::store::journal::Subject;
use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// How many random states of one cut are tried in a row.
const OF_A_CUT: usize = 8;

/// How many states are kept, of which a real client goes on from some.
const KEPT: usize = 200;

/// A number from the environment.
pub(crate) fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// The counts of what was tried of a history.
#[derive(Default)]
pub(crate) struct Figures {
    states: usize,
    /// In how many of these states bytes were durable and not yet under their name.
    promised: usize,
    cuts_tried_whole: usize,
    /// In how many of these states a client refuses to overwrite what it finds.
    refused: usize,
    resumed: usize,
}

/// Tries states of a history that fetched the file of `world`.
pub(crate) struct Explorer<'a> {
    pub(crate) test: &'a str,
    pub(crate) world: &'a World,
    pub(crate) history: &'a History,
    pub(crate) seed: u64,
    /// If a cut has no more states than this, all of them are tried.
    pub(crate) all: u64,
    /// After how many steps the first cut is. Another history has tried the cuts before.
    pub(crate) from: usize,
    /// The usual number of states that a real client goes on from.
    pub(crate) resumed: u64,
}

impl Explorer<'_> {
    /// Tries them.
    #[track_caller]
    pub(crate) fn explore(&self) {
        let (world, history) = (self.world, self.history);
        let old = history.names.get(OUT).map(|out| history.files[*out].content.bytes());
        let folder = world.states_folder();
        let subject = self.subject();
        let expected = Expected { history, subject, bytes: &world.bytes, old, folder };
        let mut random = Random::from_seed(self.seed);
        let mut figures = Figures::default();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut large = Vec::new();
        let mut cuts = history.cuts();
        for length in self.from..=history.steps.len() {
            self.within_boot(&expected, length);
            let (cut, promise) = (cuts.at(length), history.promise(length));
            match cut.count().filter(|count| *count <= self.all) {
                None => large.push(length),
                Some(count) => {
                    figures.cuts_tried_whole += 1;
                    for number in 0..count {
                        let state = cut.state(number);
                        let at = (length, &promise);
                        self.try_state(&expected, at, &state, &mut seen, &mut figures);
                        if random.below(count as usize) < 2 && found.len() < KEPT {
                            found.push((length, state));
                        }
                    }
                }
            }
        }
        assert!(large.is_empty() || self.all < u64::MAX, "too many states");
        // A random choice often finds the same state again.
        let tries = setting("POWERCUT_STATES", 250) as usize;
        let count = if large.is_empty() { 0 } else { tries.div_ceil(OF_A_CUT) };
        let mut lengths: Vec<usize> =
            (0..count).map(|_| large[random.below(large.len())]).collect();
        lengths.sort_unstable();
        for length in lengths {
            let (cut, promise) = (cuts.at(length), history.promise(length));
            for _ in 0..OF_A_CUT {
                let state = cut.by_chance(&mut random);
                self.try_state(&expected, (length, &promise), &state, &mut seen, &mut figures);
                found.push((length, state));
            }
            // No more states than are needed: each is as large as the file.
            while found.len() > KEPT {
                found.swap_remove(random.below(found.len()));
            }
        }
        for _ in 0..setting("POWERCUT_RESUMED", self.resumed) {
            let (length, state) = &found[random.below(found.len())];
            self.resume(&expected, *length, state);
            figures.resumed += 1;
        }
        fs::remove_dir_all(&expected.folder).unwrap();
        let Figures { states, promised, cuts_tried_whole, refused, resumed } = figures;
        eprintln!(
            "{}: seed {}: {} steps, {states} states, {promised} with something durable, all \
             states of {cuts_tried_whole} cuts, {refused} refused, {resumed} resumed",
            self.test,
            self.seed,
            history.steps.len()
        );
    }

    #[track_caller]
    fn try_state(
        &self,
        expected: &Expected<'_>,
        (length, promise): (usize, &Promise),
        state: &State,
        seen: &mut HashSet<u64>,
        figures: &mut Figures,
    ) {
        let mut hasher = DefaultHasher::new();
        (state, promise).hash(&mut hasher);
        if !seen.insert(hasher.finish()) {
            return;
        }
        figures.states += 1;
        figures.promised += usize::from(!promise.durable.is_empty());
        match expected.look(state, promise) {
            Err(wrong) => self.fails(length, state, &wrong),
            Ok(None) => figures.refused += 1,
            Ok(Some(_)) => {}
        }
    }

    /// Tries a kill without a power cut after so many steps.
    #[track_caller]
    fn within_boot(&self, expected: &Expected<'_>, length: usize) {
        let State { names, files, .. } = self.history.state_within_boot(length);
        let journal = names.get(JOURNAL).map(|file| files[*file].bytes()).unwrap_or_default();
        let is_there = names.get(PART).is_some_and(|part| files[*part].size > 0);
        let recorded = match records(&journal) {
            Some((header, records)) if is_there && header.etag == expected.subject.etag => {
                if header.boot == OTHER_BOOT {
                    return; // the journal does not yet belong to this boot
                }
                counting(&records, u64::MAX)
            }
            _ => Vec::new(),
        };
        let state = State { names, files, dress: Vec::new(), is_dirty: false };
        if let Err(wrong) = expected.look_within_boot(&state, &recorded) {
            self.fails(length, &state, &format!("a kill without a power cut: {wrong}"));
        }
    }

    /// Lets a real client go on from the state.
    #[track_caller]
    fn resume(&self, expected: &Expected<'_>, length: usize, state: &State) {
        let folder = self.world.scratch.path(format!("resumed-{}", self.test));
        let promise = self.history.promise(length);
        let Some(counted) = expected.look(state, &promise).unwrap() else { return };
        empty(&folder);
        lay(self.history, state, &folder, true);
        // The MD5 would hide a wrong byte that counts.
        let mut client = self.world.client(&folder);
        let outcome = run(client.args(["--verify", "crc32c", "--progress=json"]));
        let said = format!("\"resumed\":{counted},");
        if !outcome.status.success() || !outcome.err.contains(&said) {
            self.fails(length, state, &format!("{counted} bytes count, but: {outcome:?}"));
        }
        if fs::read(folder.join(OUT)).unwrap() != self.world.bytes {
            self.fails(length, state, "a client that goes on makes a wrong file of it");
        }
        if Scratch::names(Path::new(&folder)) != [OUT] {
            self.fails(length, state, "a client that goes on leaves something");
        }
    }

    /// The file that the last run fetched.
    fn subject(&self) -> Subject {
        let header = self.history.steps.iter().rev().find_map(|step| match step {
            Step::Change(_, Change::Write(0, written)) => Some(records(&written.bytes)?.0),
            _ => None,
        });
        let header = header.expect("no journal was begun");
        Subject { name: header.name, etag: header.etag, size: header.size }
    }

    #[track_caller]
    fn fails(&self, length: usize, state: &State, wrong: &str) -> ! {
        let shown = steps(self.history, length);
        let names: Vec<String> = state
            .names
            .iter()
            .map(|(name, file)| {
                let content = &state.files[*file];
                format!("{name}: {} bytes, {} sectors", content.size, content.sectors.count())
            })
            .collect();
        let (test, seed) = (self.test, self.seed);
        let (promise, journal) = (self.history.promise(length), state.names.get(JOURNAL));
        let journal = journal.map(|file| records(&state.files[*file].bytes()));
        panic!(
            "{test}: {wrong}\nROPEWALK_SEED={seed}, after {length} steps\nstate: {names:?}\n\
             journal: {journal:?}\npromised: {promise:?}\n{shown}"
        );
    }
}

/// The steps of a history, one a line, with a mark after the first `length`.
pub(crate) fn steps(history: &History, length: usize) -> String {
    let mut shown = String::new();
    for (at, step) in history.steps.iter().enumerate() {
        let step = match step {
            Step::Change(file, Change::Write(offset, written)) if written.bytes.len() > 200 => {
                format!("Change({file}, Write({offset}, {} bytes))", written.bytes.len())
            }
            step => format!("{step:?}"),
        };
        let mark = if at + 1 == length { ">>> the power is cut here" } else { "" };
        shown += &format!("{at:4} {step} {mark}\n");
    }
    shown
}
