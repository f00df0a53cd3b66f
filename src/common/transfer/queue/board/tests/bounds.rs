//! What no tree, however large, exceeds.

#![forbid(unsafe_code)]

use super::*;

/// So many names in order, with `suffix` behind each.
fn many(count: usize, suffix: &str) -> Vec<String> {
    (0..count).map(|number| format!("{number:06}{suffix}")).collect()
}

fn bring(board: &Board<u32>, stream: StreamId, texts: &[String], end: PageEnd) -> Taken {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    bring_page(board, stream, &texts, end)
}

#[test]
fn entries_for_which_there_is_no_room_are_dropped_and_listed_again() {
    let limits = Limits { held: 100, share: 10, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    assert_eq!(bring(&board, 0, &many(500, ""), PageEnd::Whole), Taken::Entries(99));
    // No list while there is no room.
    let first = claim(&board, 0);
    assert_eq!((first.len(), &first[0][..]), (MAX_CLAIMS, "file 000000"));
    (0..64).for_each(|_| write(&board, 0));
    assert_eq!(claim(&board, 0).len(), 35);
    (0..16).for_each(|_| write(&board, 0));
    assert_eq!(claim(&board, 1)[0], "list  after 000098");
}

#[test]
fn folders_that_wait_leave_room_for_deeper_ones() {
    let limits = Limits { waiting: 50, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    assert_eq!(bring(&board, 0, &many(500, "/"), PageEnd::Whole), Taken::Entries(50));
    assert_eq!(claim(&board, 0).len(), 16);
    // 34 wait at their depth; at the next one there is room for all 50.
    assert_eq!(bring(&board, 0, &many(500, "/"), PageEnd::Whole), Taken::Entries(50));
    assert_eq!(bring(&board, 0, &many(500, "/"), PageEnd::Whole), Taken::Entries(0));
    assert_eq!(claim(&board, 0)[0], "list 000000/000000");
}

#[test]
fn without_any_room_the_deepest_folder_is_listed_all_the_same() {
    let limits = Limits { held: 20, share: 3, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    bring(&board, 0, &many(500, "/"), PageEnd::Whole);
    for depth in 1..=200 {
        assert_eq!(claim(&board, 0).len(), 1, "at depth {depth}");
        assert!(claim(&board, 1).is_empty());
        assert_eq!(bring(&board, 0, &many(500, "/"), PageEnd::Whole), Taken::Entries(3));
    }
    assert!(lock(&board.state).held() <= 20 + 3 * 200);
}

#[test]
fn list_requests_under_way_are_bounded() {
    let names = many(130, "/");
    let board = listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let lists: usize = (0..50).map(|stream| claim(&board, stream).len()).sum();
    assert_eq!(lists, 128);
    let state = lock(&board.state);
    assert_eq!((state.asked_lists, state.asked_bytes), (128, 4 << 20));
}

#[test]
fn no_page_is_asked_for_that_would_find_no_room() {
    let limits = Limits { held: 1010, share: 10, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    bring(&board, 0, &many(100, "/"), PageEnd::Whole);
    for _ in 0..30 {
        claim(&board, 0);
        bring(&board, 0, &many(100, "!"), PageEnd::Whole);
    }
    // Pages usually have 100 entries: nine of them have room beside 101 folders.
    board.release(0);
    assert_eq!(claim(&board, 1).len(), 9);
}

#[test]
fn few_list_requests_ask_for_whole_pages() {
    let board = board();
    let claims = work(board.claim(0, &ask()));
    assert!(matches!(claims[0], Claim::List { bytes: MAX_PAGE, .. }));
}

#[test]
fn what_waits_for_its_sync_holds_requests_back() {
    let limits = Limits { landing: 30, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    bring(&board, 0, &many(100, ""), PageEnd::Whole);
    assert_eq!(claim(&board, 0).len(), 30);
    (0..30).for_each(|_| write(&board, 0));
    assert!(claim(&board, 1).is_empty());
    assert_eq!(land(&board).len(), 30);
    assert_eq!(claim(&board, 1).len(), 30);
}

#[test]
fn links_wait_for_room_to_land() {
    let limits = Limits { landing: 30, ..Limits::default() };
    let board = Board::with_limits(0, SMALL, limits);
    claim(&board, 0);
    assert_eq!(bring(&board, 0, &many(100, "@"), PageEnd::Whole), Taken::Entries(30));
    assert!(claim(&board, 0).is_empty());
    land(&board);
    assert_eq!(claim(&board, 0), ["list  after 000029"]);
}

#[test]
fn at_most_four_large_files_are_open() {
    let names = many(10, "=1000");
    let board = listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let open: usize = (0..10).map(|stream| claim(&board, stream).len()).sum();
    assert_eq!(open, 4);
}

#[test]
fn a_claim_takes_no_more_than_the_stream_can() {
    let names = many(100, "");
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let count = |ask: Ask| work(listed(&texts).claim(0, &ask)).len();
    assert_eq!(count(ask()), MAX_CLAIMS);
    assert_eq!(count(Ask { requests: 3, ..ask() }), 3);
    assert_eq!(count(Ask { names: 24, ..ask() }), 4);
    assert_eq!(count(Ask { content: 25, ..ask() }), 3);
    assert_eq!(count(Ask { names: 5, ..ask() }), 0);
    // An idle stream gets a request of any size.
    assert_eq!(count(Ask { names: 5, ..idle() }), 1);
    assert_eq!(count(Ask { requests: 0, ..idle() }), 0);
}

#[test]
fn a_path_that_is_too_long_or_too_deep_is_refused_and_answered() {
    let name = "n".repeat(255);
    let board = board();
    for depth in 0..15 {
        let claims = claim(&board, 0);
        assert_eq!(claims.len(), 1, "at depth {depth}");
        bring_page(&board, 0, &[&format!("{name}/")], PageEnd::Whole);
    }
    claim(&board, 0);
    let found = |name: &str, what| Found { name: name.as_bytes().into(), meta: 0, what };
    let (fits, beyond) = (&name[..255], format!("{name}x"));
    assert_eq!(15 * 256 + fits.len(), MAX_PATH);
    let names = [(fits.as_bytes(), Kind::File), (beyond.as_bytes(), Kind::File)];
    assert_eq!(board.take_page(0, &names, PageEnd::Whole), Taken::Entries(2));
    let all = vec![found(fits, What::File(1)), found(&beyond, What::File(1))];
    let refused = board.page(0, all, PageEnd::Whole);
    assert_eq!(refused, [(beyond.as_bytes().into(), Beyond::Path)]);
    assert_eq!(board.progress().refused, 1);
    let claims = work(board.claim(0, &ask()));
    let Claim::Small { file, .. } = &claims[0] else { panic!("no file") };
    assert_eq!((file.path().len(), file.path_size()), (MAX_PATH, MAX_PATH));
}

#[test]
fn a_folder_below_the_deepest_is_refused() {
    let board = board();
    for _ in 0..MAX_DEPTH {
        claim(&board, 0);
        assert_eq!(bring_page(&board, 0, &["d/"], PageEnd::Whole), Taken::Entries(1));
    }
    claim(&board, 0);
    let names = [(&b"d"[..], Kind::Folder), (b"e", Kind::File)];
    assert_eq!(board.take_page(0, &names, PageEnd::Whole), Taken::Entries(2));
    let all = ["d/", "e"].map(|text| found(text).1.unwrap()).into_iter().collect();
    let refused = board.page(0, all, PageEnd::Whole);
    assert_eq!(refused, [(b"d"[..].into(), Beyond::Depth)]);
    claim(&board, 0);
    write(&board, 0);
    assert_eq!(land(&board).len(), 1);
    assert_eq!(land(&board).len(), 257);
}
