//! Tests of the table: which session makes room, what senders are told, and what is counted.

#![forbid(unsafe_code)]

use super::*;
use ropewalk::codec::json;
use ropewalk::codec::message::rate::NewRate;
use std::io::{BufRead, BufReader, Read};

const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_secs(60);

fn table(transfers: usize, per_origin: usize, rate: Option<u64>) -> Arc<Table> {
    Table::new(Limits { transfers, per_origin, patience: PATIENCE }, rate)
}

fn admit(table: &Arc<Table>, address: &str, now: Instant) -> Result<TransferEntry, &'static str> {
    table.admit(address.parse().unwrap(), now).map_err(|refused| refused.reason)
}

/// A session that began at `now`, its sender's end of the lifeline, and its token.
fn session(table: &Arc<Table>, now: Instant) -> (TransferEntry, UnixStream, Token) {
    let (here, there) = UnixStream::pair().unwrap();
    let (entry, token) = (admit(table, "192.0.2.1", now).unwrap(), Token::random().unwrap());
    entry.has_sender(&here, Some(token), now).unwrap();
    (entry, there, token)
}

/// Has the transfer move something.
fn moves(entry: &TransferEntry, bytes: u64, now: Instant) {
    entry.reached(&Tally { bytes, streams: 1, ..Tally::default() }, now);
}

fn ended(mut sender: &UnixStream) -> bool {
    sender.set_nonblocking(true).unwrap();
    matches!(sender.read(&mut [0]), Ok(0))
}

/// The rates that a sender was told, from the next one on.
fn told<const COUNT: usize>(lifeline: &mut BufReader<UnixStream>) -> [u64; COUNT] {
    lifeline.get_ref().set_read_timeout(Some(LATER)).unwrap();
    [(); COUNT].map(|()| {
        let mut line = String::new();
        lifeline.read_line(&mut line).unwrap();
        NewRate::from_json(&json::parse(line.as_bytes()).unwrap()).unwrap().rate
    })
}

#[test]
fn a_silent_session_is_ended_for_another_transfer() {
    let (table, start) = (table(2, 9, None), Instant::now());
    let (first, first_sender, _) = session(&table, start);
    let (second, second_sender, _) = session(&table, start);
    moves(&first, 1, start + TICK);
    moves(&second, 1, start + 2 * TICK);
    let late = start + PATIENCE + 2 * TICK;
    let third = admit(&table, "192.0.2.3", late);
    assert!(third.is_ok());
    assert_eq!([&first_sender, &second_sender].map(ended), [true, false]);
    assert_eq!([&first, &second].map(TransferEntry::was_evicted), [true, false]);
    // Nothing that the first one still reports changes that, nor does its end.
    moves(&first, 2, late);
    drop(first);
    assert_eq!(admit(&table, "192.0.2.3", late).err(), Some("too many transfers"));
}

#[test]
fn an_ipv6_network_has_the_places_of_one_address() {
    let (table, now) = (table(9, 2, None), Instant::now());
    let own = ["2001:db8:0:1::1", "2001:db8:0:1::2"].map(|own| admit(&table, own, now));
    let refused = admit(&table, "2001:db8:0:1::3", now);
    assert_eq!(refused.err(), Some("too many transfers for your address"));
    assert!(admit(&table, "2001:db8:0:2::1", now).is_ok());
    drop(own);
    assert!(admit(&table, "2001:db8:0:1::3", now).is_ok());
}

#[test]
fn for_one_transfer_one_session_goes_at_most() {
    let (full, start) = (table(2, 9, None), Instant::now());
    let late = start + 2 * PATIENCE;
    let (_first, first, _) = session(&full, start);
    let (_second, second, _) = session(&full, start);
    let third = admit(&full, "192.0.2.1", late).unwrap();
    third.make_room(late);
    assert_eq!([&first, &second].map(ended), [true, false]);
    let roomy = table(9, 9, None);
    let (_first, first, _) = session(&roomy, start);
    admit(&roomy, "192.0.2.1", late).unwrap().make_room(late);
    assert!(ended(&first));
}

#[test]
fn a_session_is_found_by_its_token_while_it_lasts() {
    let (table, start) = (table(3, 9, None), Instant::now());
    let [first, second, third] = [(); 3].map(|()| session(&table, start));
    let found = || [&first, &second, &third].map(|(.., t)| table.session(&t.bytes()).is_some());
    assert_eq!(found(), [true; 3]);
    assert!(table.session(&[0; 16]).is_none());
    second.0.end(Outcome::Complete, TICK);
    moves(&third.0, 1, start + TICK);
    assert_eq!(found(), [true, false, true]);
    // There is one free place, and then the first session goes.
    let late = start + PATIENCE + TICK;
    let _more = [(); 2].map(|()| admit(&table, "192.0.2.1", late).unwrap());
    assert_eq!(found(), [false, false, true]);
}

#[test]
fn the_end_of_the_server_waits_for_transfers_that_were_evicted_too() {
    let (table, start) = (table(1, 9, None), Instant::now());
    let (first, _sender, _) = session(&table, start);
    drop(admit(&table, "192.0.2.1", start + 2 * PATIENCE).unwrap());
    let _download = table.add_download([192, 0, 2, 1].into(), start);
    table.stop();
    assert_eq!(admit(&table, "192.0.2.1", start).err(), Some("the server is stopping"));
    let begun = Instant::now();
    table.wait_until_logged(TICK);
    assert!(begun.elapsed() >= TICK);
    drop(first);
    table.wait_until_logged(Duration::from_secs(1000));
}

#[test]
fn each_gets_the_same_rate_and_more_when_one_goes() {
    let (table, now) = (table(9, 9, Some(900)), Instant::now());
    assert_eq!(table.next_rate(now), Some(900));
    let (first, sender, _) = session(&table, now);
    let mut sender = BufReader::new(sender);
    let second = table.add_download([192, 0, 2, 1].into(), now);
    assert_eq!(told(&mut sender), [900, 450]);
    assert_eq!(table.next_rate(now), Some(300));
    drop(second);
    assert_eq!(told(&mut sender), [900]);
    first.end(Outcome::Complete, TICK);
    assert_eq!(table.next_rate(now), Some(900));
}

#[test]
fn a_sender_that_does_not_listen_holds_up_nobody() {
    let (table, now) = (table(9, 9, Some(900)), Instant::now());
    let (_first, _sender, _) = session(&table, now);
    (0..5000).for_each(|_| drop(table.add_download([192, 0, 2, 1].into(), now)));
}

#[test]
fn without_a_limit_nobody_is_told_a_rate() {
    let (table, now) = (table(9, 9, None), Instant::now());
    let (first, mut sender, _) = session(&table, now);
    let download = table.add_download([192, 0, 2, 1].into(), now);
    assert_eq!((table.next_rate(now), download.piece(1 << 40)), (None, 1 << 40));
    download.take(1 << 40);
    drop((first, download));
    assert_eq!(sender.read(&mut [0; 64]).unwrap(), 0);
}

#[test]
fn a_silent_transfer_leaves_most_of_its_share_until_it_moves_again() {
    let (table, start) = (table(9, 9, Some(1_600_000)), Instant::now());
    let (silent, hears, _) = session(&table, start);
    let (active, active_hears, _) = session(&table, start);
    let (mut hears, mut active_hears) = (BufReader::new(hears), BufReader::new(active_hears));
    moves(&active, 1, start + LATER);
    assert_eq!(told(&mut hears), [1_600_000, 800_000, 100_000]);
    assert_eq!(told(&mut active_hears), [800_000, 1_500_000]);
    moves(&silent, 1, start + LATER);
    assert_eq!((told(&mut hears), told(&mut active_hears)), ([800_000], [800_000]));
}

#[test]
fn a_download_that_takes_nothing_is_silent_too() {
    let (table, start) = (table(9, 9, Some(1_600_000)), Instant::now());
    let _silent = table.add_download([192, 0, 2, 1].into(), start);
    let (active, hears, _) = session(&table, start);
    moves(&active, 1, start + LATER);
    assert_eq!(told(&mut BufReader::new(hears)), [800_000, 1_500_000]);
}

/// Reports of a transfer: so many bytes in all, and so many open streams.
fn report(entry: &TransferEntry, bytes: u64, streams: u64) {
    entry.reached(&Tally { bytes, streams, ..Tally::default() }, Instant::now());
}

#[test]
fn what_is_under_way_counts_its_bytes_at_once() {
    let (table, start) = (table(9, 9, None), Instant::now());
    let _prepared = admit(&table, "192.0.2.1", start).unwrap();
    let ((first, ..), (second, ..)) = (session(&table, start), session(&table, start));
    report(&first, 10, 4);
    report(&first, 30, 3);
    report(&second, 5, 1);
    let now = table.totals().transfers;
    assert_eq!((now.active, now.bytes, now.streams), (2, 35, 4));
    first.end(Outcome::Complete, TICK);
    first.end(Outcome::Failed, TICK); // it has ended already
    drop((first, second));
    let end = table.totals().transfers;
    assert_eq!((end.active, end.bytes, end.streams), (0, 35, 0));
    assert_eq!((end.ended, end.stream_peaks, end.time), ([1, 0, 0], 4, TICK));
}

#[test]
fn transfers_and_downloads_are_counted_apart() {
    let (table, now) = (table(9, 9, None), Instant::now());
    let download = table.add_download([192, 0, 2, 1].into(), now);
    assert_eq!((table.totals().transfers.active, table.totals().downloads.active), (0, 1));
    download.end(7, Outcome::Failed, TICK);
    let totals = table.totals();
    assert_eq!((totals.transfers.ended, totals.downloads.ended), ([0; 3], [0, 0, 1]));
    assert_eq!((totals.downloads.active, totals.downloads.bytes), (0, 7));
}

#[test]
fn a_session_that_holds_its_name_ends_for_another_one_when_it_has_moved_nothing_for_long() {
    let (table, start) = (table(9, 9, None), Instant::now());
    let patience = Some(Patience { without_stream: TICK, at_all: LATER });
    let (entry, sender, token) = session(&table, start);
    moves(&entry, 1, start);
    table.end_session(&token.bytes(), patience, start + LATER - TICK);
    assert!(!ended(&sender), "it has a stream, which may be slow");
    moves(&entry, 2, start + LATER);
    table.end_session(&token.bytes(), patience, start + LATER + TICK);
    assert!(!ended(&sender), "it has moved something");
    table.end_session(&token.bytes(), patience, start + 2 * LATER);
    assert!(ended(&sender));
    let (_entry, sender, token) = session(&table, start);
    table.end_session(&token.bytes(), patience, start + TICK);
    assert!(ended(&sender), "it has no stream");
}
