//! Complete files: durable in groups, then in place; each told of once.

#![forbid(unsafe_code)]

use super::*;
use crate::sys::sync::lock;
use std::sync::Mutex;
use std::time::Duration;

type Told = Arc<Mutex<Vec<(usize, bool)>>>;

/// A lander, and what it tells: tickets, and whether the file is in place.
fn lander(scratch: &Scratch) -> (Arc<Lander<usize>>, Told) {
    let told = Told::default();
    let heard = told.clone();
    let tell = move |ticket, put: io::Result<()>| lock(&heard).push((ticket, put.is_ok()));
    (Arc::new(Lander::new(scratch.tree.clone(), Box::new(tell))), told)
}

fn tickets(told: &Told) -> Vec<(usize, bool)> {
    let mut told = lock(told).clone();
    told.sort_unstable();
    told
}

#[test]
fn without_sync_a_file_is_in_place_at_once() {
    let scratch = Scratch::new();
    let (lander, told) = lander(&scratch);
    lander.land(scratch.write("f", "x", &plain()).unwrap(), 7);
    assert_eq!((scratch.read("f").as_str(), tickets(&told)), ("x", vec![(7, true)]));
    lander.end();
    lander.run().unwrap();
}

#[test]
fn with_sync_a_file_waits_for_its_group() {
    let scratch = Scratch::with(true);
    let (lander, told) = lander(&scratch);
    for ticket in 0..100 {
        let complete = scratch.write(&format!("f{ticket}"), "x", &plain()).unwrap();
        lander.land(complete, ticket);
    }
    assert!(lander.waiting() == 100 && tickets(&told).is_empty() && !scratch.at("f0").exists());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| lander.run());
        while lander.waiting() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        lander.end();
        running.join().unwrap().unwrap();
    });
    assert_eq!(tickets(&told), (0..100).map(|ticket| (ticket, true)).collect::<Vec<_>>());
    assert_eq!(scratch.names().len(), 100);
}

#[test]
fn an_orderly_end_lands_everything_that_is_complete() {
    let scratch = Scratch::with(true);
    let (lander, told) = lander(&scratch);
    for ticket in 0..10 {
        let complete = scratch.write(&format!("f{ticket}"), "x", &plain()).unwrap();
        lander.land(complete, ticket);
    }
    lander.end();
    lander.run().unwrap();
    assert_eq!(tickets(&told), (0..10).map(|ticket| (ticket, true)).collect::<Vec<_>>());
    // What comes too late is told of as well, and its name stays as it was.
    lander.land(scratch.write("late", "x", &plain()).unwrap(), 10);
    assert_eq!(tickets(&told).last(), Some(&(10, false)));
    assert!(!scratch.at("late").exists());
}

#[test]
fn a_file_that_cannot_be_put_in_place_stops_no_other() {
    let scratch = Scratch::with(true);
    let (lander, told) = lander(&scratch);
    for (ticket, name) in ["a", "b", "c"].into_iter().enumerate() {
        lander.land(scratch.write(name, "new", &plain()).unwrap(), ticket);
    }
    fs::write(scratch.at("b"), "appeared").unwrap();
    lander.end();
    lander.run().unwrap();
    assert_eq!(tickets(&told), [(0, true), (1, false), (2, true)]);
    assert_eq!(
        (scratch.names(), scratch.read("b").as_str()),
        (vec!["a".into(), "b".into(), "c".into()], "appeared")
    );
}

#[test]
fn a_failed_sync_puts_nothing_in_place() {
    let scratch = Scratch::with(true);
    let (lander, told) = lander(&scratch);
    let mut complete = scratch.write("f", "x", &plain()).unwrap();
    complete.volume = Arc::new(Volume::broken(&scratch.tree.root.dir).unwrap());
    lander.land(complete, 0);
    std::thread::scope(|scope| {
        assert!(scope.spawn(|| lander.run()).join().unwrap().is_err());
    });
    lander.land(scratch.write("g", "x", &plain()).unwrap(), 1);
    assert_eq!(tickets(&told), [(0, false), (1, false)]);
    assert!(!scratch.at("f").exists() && !scratch.at("g").exists());
}

#[test]
fn at_most_ten_thousand_files_wait() {
    let scratch = Scratch::with(true);
    let (lander, told) = lander(&scratch);
    let complete = |ticket: usize| scratch.write(&ticket.to_string(), "", &plain()).unwrap();
    (0..MAX_WAITING).for_each(|ticket| lander.land(complete(ticket), ticket));
    std::thread::scope(|scope| {
        let one_more = scope.spawn(|| lander.land(complete(MAX_WAITING), MAX_WAITING));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!one_more.is_finished() && lander.waiting() == MAX_WAITING);
        let running = scope.spawn(|| lander.run());
        one_more.join().unwrap();
        lander.end();
        running.join().unwrap().unwrap();
    });
    assert_eq!(tickets(&told).len(), MAX_WAITING + 1);
}

#[test]
fn a_large_file_loses_its_journal_when_it_has_landed() {
    let scratch = Scratch::with(true);
    let (lander, _) = lander(&scratch);
    let large = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    assert!(!large.found && scratch.names().len() == 2);
    let complete = scratch.tree.complete(large.file, 1 << 20, &plain()).unwrap();
    assert_eq!(scratch.names().len(), 2);
    lander.land(complete, 0);
    lander.end();
    lander.run().unwrap();
    assert_eq!((scratch.names(), scratch.look("f").unwrap().size), (vec!["f".into()], 1 << 20));
}
