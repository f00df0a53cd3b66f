//! The board's promises: each file lands once, folders finish from the bottom up, nothing is lost
//! with a stream, and no bound is exceeded.

mod bounds;
mod random;
mod waits;

use super::entries::*;
use super::*;

const ANSWER_TIME: Duration = Duration::from_secs(1000);

/// What all of these tests call a small file: up to so many bytes.
const SMALL: u64 = 100;

fn board() -> Board<u32> {
    Board::new(0, SMALL)
}

fn ask() -> Ask {
    Ask {
        requests: MAX_CLAIMS,
        names: 32 << 10,
        content: 1 << 20,
        idle: false,
        answer_time: ANSWER_TIME,
    }
}

fn idle() -> Ask {
    Ask { idle: true, ..ask() }
}

/// A claim in short: `list a/b`, `list a/b after c`, `file a/b`, `open a/b`, `part a/b 0..10`.
/// What another stream owes too has `again` in front.
fn short(claim: &Claim<u32>) -> String {
    let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
    let mark = |again: &bool| if *again { "again " } else { "" };
    match claim {
        Claim::List { folder, after: None, again, .. } => {
            format!("{}list {}", mark(again), text(folder.path()))
        }
        Claim::List { folder, after: Some(after), again, .. } => {
            let (path, after) = (text(folder.path()), text(after.to_vec()));
            format!("{}list {path} after {after}", mark(again))
        }
        Claim::Small { file, again } => format!("{}file {}", mark(again), text(file.path())),
        Claim::Part { file, range, again, .. } => {
            format!("{}part {} {range:?}", mark(again), text(file.path()))
        }
        Claim::Open { file } => format!("open {}", text(file.path())),
    }
}

fn work(claimed: Claimed<u32>) -> Vec<Claim<u32>> {
    match claimed {
        Claimed::Work(claims) => claims,
        Claimed::Later(_) | Claimed::Over => Vec::new(),
    }
}

fn claim(board: &Board<u32>, stream: StreamId) -> Vec<String> {
    work(board.claim(stream, &ask())).iter().map(short).collect()
}

/// What an idle stream gets when all that others owe is late.
fn claim_late(board: &Board<u32>, stream: StreamId) -> Vec<String> {
    let ask = Ask { answer_time: Duration::ZERO, ..idle() };
    work(board.claim_at(stream, &ask, Instant::now() + ANSWER_TIME)).iter().map(short).collect()
}

/// An entry of a page: `d/` is a folder, `l@` a link, `f` a file of 10 bytes, `f=1000` a file of
/// 1000. `f!` is a file that is there already, and `f-` is left out.
fn found(text: &str) -> (Kind, Option<Found<u32>>) {
    let (name, kind, what) = if let Some(name) = text.strip_suffix('/') {
        (name, Kind::Folder, Some(What::Folder))
    } else if let Some(name) = text.strip_suffix('@') {
        (name, Kind::Made, Some(What::Made))
    } else if let Some(name) = text.strip_suffix('!') {
        (name, Kind::File, Some(What::Nothing(Fate::Same)))
    } else if let Some(name) = text.strip_suffix('-') {
        (name, Kind::LeftOut, None)
    } else {
        let (name, size) = text.split_once('=').unwrap_or((text, "10"));
        (name, Kind::File, Some(What::File(size.parse().unwrap())))
    };
    let name: Box<[u8]> = name.as_bytes().into();
    (kind, what.map(|what| Found { name, meta: 0, what }))
}

fn names(texts: &[&str]) -> Vec<(String, Kind)> {
    let bare = |text: &str| text.trim_end_matches(['/', '@', '!', '-']).to_string();
    let name = |text: &&str| bare(text.split('=').next().unwrap_or(text));
    texts.iter().map(|text| (name(text), found(text).0)).collect()
}

/// `stream` brings the page that it owes first. How many of its entries were kept.
fn bring_page(board: &Board<u32>, stream: StreamId, texts: &[&str], end: PageEnd) -> Taken {
    let names = names(texts);
    let names: Vec<(&[u8], Kind)> = names.iter().map(|(n, k)| (n.as_bytes(), *k)).collect();
    let taken = board.take_page(stream, &names, end);
    if let Taken::Entries(count) = taken {
        let all = texts[..count].iter().filter_map(|text| found(text).1).collect();
        assert_eq!(board.page(stream, all, end), []);
    }
    taken
}

/// A board whose top has these entries, all of them known.
fn listed(texts: &[&str]) -> Board<u32> {
    let board = board();
    assert_eq!(claim(&board, 9), ["list "]);
    assert_eq!(bring_page(&board, 9, texts, PageEnd::Whole), Taken::Entries(texts.len()));
    board
}

/// Lands all that waits. What it was: files, and folders with a slash.
fn land(board: &Board<u32>) -> Vec<String> {
    let landing = board.take_landing();
    let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
    let files: Vec<FileId> = landing.files.iter().map(|file| file.id).collect();
    let folders: Vec<FolderId> = landing.folders.iter().map(|done| done.folder.id).collect();
    let mut all: Vec<String> = landing.files.iter().map(|file| text(file.path())).collect();
    all.extend(landing.folders.iter().map(|done| text(done.folder.path()) + "/"));
    board.landed(&files, &folders);
    all
}

fn write(board: &Board<u32>, stream: StreamId) {
    assert!(board.take_file(stream));
    board.written(stream);
}

#[test]
fn a_tree_is_listed_fetched_landed_and_finished() {
    let board = listed(&["a/", "b", "c@"]);
    assert_eq!(claim(&board, 0), ["list a", "file b"]);
    assert_eq!(bring_page(&board, 0, &["x"], PageEnd::Whole), Taken::Entries(1));
    assert_eq!(claim(&board, 1), ["file a/x"]);
    write(&board, 0);
    assert_eq!(land(&board), ["c", "b"]);
    write(&board, 1);
    assert_eq!(land(&board), ["a/x"]);
    assert_eq!(board.end(), None);
    assert_eq!(land(&board), ["a/", "/"]);
    assert_eq!(board.end(), Some(End::Complete));
    assert!(matches!(board.claim(0, &ask()), Claimed::Over));
    let progress = board.progress();
    assert_eq!((progress.files_known, progress.files_done, progress.is_listed), (3, 3, true));
    assert_eq!((progress.bytes_known, progress.bytes_done, progress.repeats), (20, 20, 0));
}

#[test]
fn an_empty_tree_ends_when_its_top_has_landed() {
    let board = listed(&[]);
    assert_eq!(land(&board), ["/"]);
    assert_eq!(board.end(), Some(End::Complete));
}

#[test]
fn the_deepest_comes_first() {
    let board = listed(&["a/", "b/", "c"]);
    assert_eq!(work(board.claim(0, &Ask { requests: 1, ..ask() })).len(), 1);
    bring_page(&board, 0, &["d/", "e"], PageEnd::Whole);
    assert_eq!(claim(&board, 0), ["list a/d", "list b", "file a/e", "file c"]);
}

#[test]
fn a_page_with_more_behind_it_is_followed_by_the_next() {
    let board = board();
    claim(&board, 0);
    bring_page(&board, 0, &["a!", "b-"], PageEnd::More);
    assert_eq!(claim(&board, 0), ["list  after b"]);
    assert!(!board.progress().is_listed);
    bring_page(&board, 0, &[], PageEnd::Whole);
    assert_eq!(land(&board), ["/"]);
    assert_eq!(board.progress().same, 1);
}

#[test]
fn names_that_do_not_rise_are_wrong_and_asked_for_again() {
    for (texts, end) in [
        (&["a", "a"][..], PageEnd::Whole),
        (&["b", "a"], PageEnd::Whole),
        (&[], PageEnd::More),
        (&["A"], PageEnd::Whole),
    ] {
        let board = board();
        claim(&board, 0);
        bring_page(&board, 0, &["B"], PageEnd::More);
        claim(&board, 0);
        assert_eq!(bring_page(&board, 0, texts, end), Taken::Wrong);
        board.release(0);
        assert_eq!(claim(&board, 1), ["list  after B", "file B"]);
    }
}

#[test]
fn what_a_broken_stream_owed_is_anybodys() {
    let board = listed(&["a/", "b", "c", "d"]);
    assert_eq!(claim(&board, 0), ["list a", "file b", "file c", "file d"]);
    write(&board, 0);
    assert!(board.take_file(0));
    board.release(0);
    assert_eq!(claim(&board, 1), ["list a", "file c", "file d"]);
    assert_eq!(board.progress().repeats, 3);
}

#[test]
fn a_page_in_the_hand_of_a_broken_stream_is_asked_for_again() {
    let board = board();
    claim(&board, 0);
    assert_eq!(board.take_page(0, &[(b"a", Kind::File)], PageEnd::Whole), Taken::Entries(1));
    board.release(0);
    assert_eq!(board.page(0, Vec::new(), PageEnd::Whole), []);
    assert_eq!(claim(&board, 1), ["list "]);
}

#[test]
fn a_damaged_file_is_asked_for_again() {
    let board = listed(&["a"]);
    claim(&board, 0);
    assert!(board.take_file(0));
    board.put_back(0);
    assert_eq!(claim(&board, 1), ["file a"]);
    assert!(!board.take_file(0));
}

#[test]
fn an_idle_stream_asks_again_for_what_is_late() {
    let board = listed(&["a/", "b"]);
    claim(&board, 0);
    assert_eq!(claim_late(&board, 1), ["again list a", "again file b"]);
    // The first answer counts, the other is discarded.
    write(&board, 1);
    assert!(!board.take_file(0));
    assert_eq!(bring_page(&board, 0, &[], PageEnd::Whole), Taken::Entries(0));
    assert_eq!(bring_page(&board, 1, &[], PageEnd::Whole), Taken::Discard);
    assert_eq!(land(&board), ["b", "a/"]);
}

#[test]
fn what_is_not_late_yet_is_not_asked_for_again() {
    let board = listed(&["a"]);
    claim(&board, 0);
    match board.claim(1, &idle()) {
        Claimed::Later(Some(delay)) => assert!(delay <= ANSWER_TIME * 2),
        _ => panic!("not to wait"),
    }
}

#[test]
fn a_stream_that_is_not_idle_and_the_late_one_itself_do_not_ask_again() {
    let board = listed(&["a"]);
    claim(&board, 0);
    assert!(claim_late(&board, 0).is_empty());
    let busy = Ask { answer_time: Duration::ZERO, ..ask() };
    assert!(work(board.claim_at(1, &busy, Instant::now() + ANSWER_TIME)).is_empty());
}

#[test]
fn copies_are_bounded() {
    let board = listed(&["a"]);
    claim(&board, 0);
    for stream in 1..crate::transfer::queue::MAX_COPIES {
        assert_eq!(claim_late(&board, stream), ["again file a"]);
    }
    assert!(claim_late(&board, 8).is_empty());
}

#[test]
fn a_copy_that_breaks_leaves_the_other() {
    let board = listed(&["a"]);
    claim(&board, 0);
    claim_late(&board, 1);
    board.release(0);
    assert!(claim(&board, 2).is_empty());
    write(&board, 1);
    assert_eq!(land(&board), ["a"]);
}

#[test]
fn an_answer_of_before_a_repeat_is_discarded() {
    let board = listed(&["a"]);
    claim(&board, 0);
    claim_late(&board, 1);
    assert!(board.take_file(1));
    board.put_back(1);
    assert_eq!(claim(&board, 2), ["file a"]);
    assert!(!board.take_file(0));
    write(&board, 2);
    assert_eq!(land(&board), ["a"]);
}

/// A queue for a large file of 1000 bytes, in pieces of 400.
fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(1000, 400, &crate::transfer::queue::ranges::RangeSet::new()))
}

/// The file that a stream has to open.
fn opening(board: &Board<u32>, stream: StreamId) -> FileId {
    match work(board.claim(stream, &ask())).pop() {
        Some(Claim::Open { file }) => file.id,
        _ => panic!("nothing to open"),
    }
}

#[test]
fn a_large_file_is_opened_fetched_in_parts_and_completed_once() {
    let board = listed(&["a=1000"]);
    let (id, queue) = (opening(&board, 0), queue());
    assert!(claim(&board, 1).is_empty());
    assert!(board.opened(id, queue.clone()));
    assert_eq!(claim(&board, 0), ["part a 0..400", "part a 400..800", "part a 800..1000"]);
    for range in [0..400, 400..800, 800..1000] {
        queue.take(0, range.clone());
        queue.finish(range, false);
    }
    assert_eq!(board.progress().bytes_done, 1000);
    assert_eq!([board.complete(id), board.complete(id)], [true, false]);
    assert_eq!(board.progress().bytes_done, 1000);
    assert_eq!(land(&board), ["a"]);
}

#[test]
fn streams_take_one_large_file_after_the_other_and_different_ones_at_high_speed() {
    let parts = |pause: Duration| {
        let board = listed(&["a=1000", "b=1000"]);
        let (begun, part) = (Instant::now(), 10 << 20);
        for id in [0, 1].map(|stream| opening(&board, stream)) {
            let queue = Queue::new(part * 100, part as u32, &Default::default());
            board.opened(id, Arc::new(queue));
        }
        let one = Ask { requests: 1, ..ask() };
        let claim = |turn: u32| short(&work(board.claim_at(1, &one, begun + pause * turn))[0]);
        // "part a 0..10485760"
        (0..10).map(|turn| claim(turn).remove(5)).collect::<String>()
    };
    assert_eq!(parts(Duration::from_millis(60)), "aaaaaaaaaa");
    assert_eq!(parts(Duration::from_millis(10)), "aaabbbbbbb");
}

#[test]
fn a_broken_stream_gives_back_parts_and_what_it_opens() {
    let board = listed(&["a=1000", "b=1000"]);
    let a = opening(&board, 0);
    board.opened(a, queue());
    // Parts first, then the next file to open.
    assert_eq!(claim(&board, 0).last().unwrap(), "open b");
    board.release(0);
    let again = claim(&board, 1);
    assert_eq!(again[0], "part a 0..400");
    assert_eq!(again[3], "open b");
}

#[test]
fn small_files_leave_room_for_parts_of_large_ones() {
    let names: Vec<String> = (100..200).map(|n| n.to_string()).collect();
    let mut texts: Vec<&str> = names.iter().map(String::as_str).collect();
    texts.push("a=1000");
    let board = listed(&texts);
    let id = match work(board.claim(0, &Ask { requests: 2, ..ask() })).pop() {
        Some(Claim::Open { file }) => file.id,
        _ => panic!("nothing to open"),
    };
    board.opened(id, queue());
    let claims = claim(&board, 1);
    assert_eq!(claims.iter().filter(|claim| claim.starts_with("part")).count(), 3);
    assert_eq!(claims.iter().filter(|claim| claim.starts_with("file")).count(), 32);
}

#[test]
fn a_late_part_is_asked_for_again_by_an_idle_stream() {
    let board = listed(&["a=1000"]);
    board.opened(opening(&board, 0), queue());
    claim(&board, 0);
    assert_eq!(claim_late(&board, 1)[0], "again part a 0..400");
}

#[test]
fn a_file_that_changes_is_asked_for_anew_three_times() {
    let board = listed(&["a"]);
    for size in [1000, 20, 30] {
        let claims = work(board.claim(0, &ask()));
        let id = match &claims[0] {
            Claim::Small { file, .. } | Claim::Open { file } => file.id,
            _ => panic!("no file"),
        };
        board.take_file(0);
        assert!(!board.change(id, size, 7));
        assert!(!board.change(id, size, 7), "a file of before counts twice");
        assert_eq!(board.progress().bytes_known, size);
    }
    let claims = work(board.claim(0, &ask()));
    let Claim::Small { file, .. } = &claims[0] else { panic!("no file") };
    assert_eq!((file.meta, file.changes), (7, 3));
    assert!(board.change(file.id, 40, 8));
    assert_eq!(land(&board), ["/"]);
    let progress = board.progress();
    assert_eq!((progress.refused, progress.files_known, progress.bytes_known), (1, 0, 0));
}

#[test]
fn a_file_that_leaves_ends_its_queue_and_its_folder() {
    let board = listed(&["a=1000", "b"]);
    let (id, queue) = (opening(&board, 0), queue());
    board.opened(id, queue.clone());
    assert!(board.leave(id, Fate::Gone));
    assert!(!board.leave(id, Fate::Gone));
    assert_eq!(queue.end(), Some(End::Aborted));
    assert!(board.take_file(0));
    assert_eq!(board.progress().refused, 0);
    board.written(0);
    assert_eq!(land(&board), ["b"]);
    assert_eq!(land(&board), ["/"]);
}

#[test]
fn a_file_that_cannot_be_put_in_place_is_not_done() {
    let board = listed(&["a"]);
    claim(&board, 0);
    write(&board, 0);
    let landing = board.take_landing();
    board.not_landed(landing.files[0].id, Fate::Refused);
    let progress = board.progress();
    assert_eq!((progress.files_done, progress.bytes_done, progress.refused), (0, 0, 1));
    assert_eq!(land(&board), ["/"]);
}

#[test]
fn a_folder_whose_listing_breaks_is_finished_and_not_whole() {
    for (end, refused, whole) in
        [(PageEnd::Whole, 0, true), (PageEnd::Broken, 1, false), (PageEnd::Gone, 0, false)]
    {
        let board = listed(&["a/"]);
        claim(&board, 0);
        bring_page(&board, 0, &["x!"], end);
        let landing = board.take_landing();
        let states: Vec<bool> = landing.folders.iter().map(|done| done.is_whole).collect();
        assert_eq!(states, [whole, true]);
        assert_eq!(board.progress().refused, refused);
    }
}

#[test]
fn after_the_abort_nothing_is_claimed_and_what_is_written_lands() {
    let board = listed(&["a", "b", "c=1000"]);
    claim(&board, 0);
    write(&board, 0);
    board.abort();
    assert!(matches!(board.claim(0, &ask()), Claimed::Over));
    assert!(board.wait_to_land(u64::MAX, Instant::now() + ANSWER_TIME));
    assert_eq!(land(&board), ["a"]);
    assert!(!board.wait_to_land(u64::MAX, Instant::now() + ANSWER_TIME));
    assert_eq!(board.end(), Some(End::Aborted));
}

#[test]
fn deleted_entries_are_counted() {
    let board = board();
    board.deleted(3, 1);
    board.deleted(2, 0);
    let progress = board.progress();
    assert_eq!((progress.deleted, progress.refused), (5, 1));
}
