//! Tests of the model: small histories, and every state in which each can leave a disk.

use crate::disk::{Change, Content, Dress, Naming};
use crate::history::{File, History, Step, Synced};
use crate::testing::Random;
use std::collections::BTreeSet;

const THREAD: u32 = 1;

/// A history of these steps and one file `f`, which is empty and on the disk.
fn history(steps: Vec<Step>) -> History {
    let names = [("f".to_string(), 0)].into();
    History { files: vec![File::default()], names, steps }
}

fn write(offset: u64, byte: u8, length: usize) -> Step {
    Step::Change(0, Change::write(offset, vec![byte; length]))
}

fn sync(what: Synced) -> [Step; 2] {
    [Step::SyncBegins(THREAD, what), Step::SyncEnds(THREAD, true)]
}

/// Each state after all steps, as text: every name, with the runs of equal bytes in its file. `j`
/// is what the disk held before.
fn states(history: &History) -> BTreeSet<String> {
    let cut = history.cut(history.steps.len());
    let state = |number| {
        let state = cut.state(number);
        let shown =
            state.names.iter().map(|(name, file)| format!("{name}:{}", shown(&state.files[*file])));
        shown.collect::<Vec<_>>().join(" ")
    };
    (0..cut.count().unwrap()).map(state).collect()
}

fn shown(content: &Content) -> String {
    let sectors = content.bytes();
    let sectors = sectors.chunks(512).map(|sector| match sector[0] {
        first if sector.iter().any(|byte| *byte != first) => "j".to_string(),
        0 => "0".to_string(),
        byte => char::from(byte).to_string(),
    });
    sectors.collect()
}

#[track_caller]
fn assert_states(steps: Vec<Step>, expected: &[&str]) {
    let expected = expected.iter().map(|state| state.to_string()).collect();
    assert_eq!(states(&history(steps)), expected);
}

#[test]
fn a_write_is_torn_between_sectors_and_its_size_may_be_there_alone() {
    let all = ["f:", "f:00", "f:0a", "f:0j", "f:a0", "f:aa", "f:aj", "f:j0", "f:ja", "f:jj"];
    assert_states(vec![write(0, b'a', 1024)], &all);
}

#[test]
fn synced_bytes_stay_and_a_rename_leaves_the_old_or_the_new_file() {
    let mut steps = vec![write(0, b'a', 1024)];
    steps.extend(sync(Synced::File(0)));
    assert_states(steps.clone(), &["f:aa"]);
    steps.push(write(0, b'b', 1024));
    assert_states(steps, &["f:aa", "f:ab", "f:ba", "f:bb"]);
}

#[test]
fn a_later_write_may_be_there_without_an_earlier_one() {
    let mut steps = vec![Step::Change(0, Change::Size(1024))];
    steps.extend(sync(Synced::File(0)));
    steps.extend([write(0, b'a', 512), write(512, b'b', 512), write(0, b'c', 512)]);
    let first = ["0", "a", "c", "j"];
    let all = first.iter().flat_map(|first| ["0", "b", "j"].map(|last| format!("f:{first}{last}")));
    let all: Vec<String> = all.collect();
    assert_states(steps, &all.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_sync_covers_the_writes_before_it_began() {
    let mut steps = vec![Step::Change(0, Change::Size(1024)), write(0, b'a', 512)];
    let [begins, ends] = sync(Synced::File(0));
    steps.extend([begins.clone(), write(512, b'b', 512), ends]);
    assert_states(steps.clone(), &["f:a0", "f:ab", "f:aj"]);
    *steps.last_mut().unwrap() = Step::SyncEnds(THREAD, false);
    assert_eq!(states(&history(steps.clone())).len(), 10, "one that failed says nothing");
    steps.pop();
    assert_eq!(states(&history(steps)).len(), 10, "nor does one that is under way");
}

#[test]
fn a_hole_may_be_there_or_not() {
    let mut steps = vec![write(0, b'a', 1536)];
    steps.extend(sync(Synced::All));
    steps.push(Step::Change(0, Change::Punch(512..1024)));
    assert_states(steps.clone(), &["f:aaa", "f:a0a"]);
    steps.push(Step::Change(0, Change::Size(512)));
    assert_states(steps, &["f:aaa", "f:a0a", "f:a"]);
}

#[test]
fn space_that_is_allocated_is_a_size() {
    let steps = vec![Step::Change(0, Change::Reserve(512))];
    assert_states(steps, &["f:", "f:0"]);
}

#[test]
fn a_name_may_be_lost_or_kept_independently_of_the_data() {
    let mut steps = vec![write(0, b'a', 512)];
    steps.extend(sync(Synced::File(0)));
    steps.push(Step::Name(Naming::Move("f".into(), "g".into(), 0)));
    steps.push(Step::Name(Naming::Add("h".into(), 0)));
    assert_states(steps.clone(), &["f:a", "g:a", "f:a h:a", "g:a h:a"]);
    steps.extend(sync(Synced::Folder(String::new())));
    steps.push(Step::Name(Naming::Remove("g".into())));
    assert_states(steps, &["h:a", "g:a h:a"]);
}

#[test]
fn a_renamed_file_may_be_without_the_data_that_was_not_synced() {
    let steps = vec![write(0, b'a', 512), Step::Name(Naming::Move("f".into(), "g".into(), 0))];
    assert_states(steps, &["f:", "f:0", "f:a", "f:j", "g:", "g:0", "g:a", "g:j"]);
}

#[test]
fn a_random_choice_finds_only_possible_states_and_all_of_a_few() {
    let mut steps = vec![write(0, b'a', 512), write(512, b'b', 100), write(0, b'c', 512)];
    steps.push(Step::Name(Naming::Remove("f".into())));
    let history = history(steps);
    let cut = history.cut(4);
    let all: BTreeSet<String> =
        (0..cut.count().unwrap()).map(|number| format!("{:?}", cut.state(number))).collect();
    let mut random = Random::from_seed(7);
    let found: BTreeSet<String> =
        (0..20_000).map(|_| format!("{:?}", cut.by_chance(&mut random))).collect();
    assert_eq!(found, all);
}

#[test]
fn where_bytes_are_written_before_their_size_no_appended_byte_is_missing() {
    let found = |steps: Vec<Step>| -> BTreeSet<String> {
        let history = history(steps);
        let cut = history.cut(history.steps.len());
        let mut random = Random::from_seed(7);
        (0..2000).map(|_| shown(&cut.in_order_by_chance(&mut random).files[0])).collect()
    };
    let appended = found(vec![write(0, b'a', 512), write(512, b'b', 512)]);
    assert_eq!(appended, ["", "a", "ab"].map(String::from).into());
    // A size that was set beforehand may be there alone.
    let sized = found(vec![Step::Change(0, Change::Size(1024)), write(0, b'a', 1024)]);
    assert!(["", "00", "0a", "aa"].iter().all(|state| sized.contains(*state)), "{sized:?}");
}

#[test]
fn a_sync_of_a_folder_covers_its_own_names_only() {
    let add = |name: &str| Step::Name(Naming::Add(name.into(), 0));
    let mut steps = vec![add("d/x"), add("y")];
    steps.extend(sync(Synced::Folder("d".into())));
    assert_states(steps, &["d/x: f:", "d/x: f: y:"]);
}

#[test]
fn a_cut_that_follows_another_one_is_the_same_as_one_made_from_the_start() {
    let mut steps = vec![write(0, b'a', 1500), Step::Change(0, Change::Reserve(4096))];
    steps.extend(sync(Synced::Data(0)));
    steps.push(Step::Name(Naming::Add("g".into(), 0)));
    steps.extend([write(512, b'b', 1024), Step::Change(0, Change::Size(700))]);
    steps.extend(sync(Synced::Folder(String::new())));
    steps.push(Step::Dress(0, Dress { mode: Some(0o640), mtime: None }));
    steps.extend(sync(Synced::All));
    steps.push(write(100, b'c', 900));
    let history = history(steps);
    let mut cuts = history.cuts();
    for length in (0..=history.steps.len()).chain([3, 9]) {
        assert_eq!(*cuts.at(length), history.cut(length), "{length}");
    }
}

#[test]
fn only_a_sync_of_more_than_the_bytes_covers_an_mtime() {
    let dress = Dress { mode: None, mtime: Some((5, 6)) };
    for (what, expected) in
        [(Synced::Data(0), None), (Synced::File(0), Some((5, 6))), (Synced::All, Some((5, 6)))]
    {
        let mut steps = vec![Step::Dress(0, dress)];
        steps.extend(sync(what.clone()));
        assert_eq!(history(steps).cut(3).dress[0].mtime, expected, "{what:?}");
    }
}
