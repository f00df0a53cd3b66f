//! A random tree, fetched by streams that come and go in random order, with everything that can
//! happen to a request. The oracle is the tree.

#![forbid(unsafe_code)]

use super::*;
use crate::testing::Random;
use crate::transfer::queue::ranges::RangeSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The size of a large file's claims.
const PIECE: u32 = 60;

const STREAMS: usize = 4;

/// What the source has at a path.
#[derive(Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(u64),
    Link,
    Same,
    LeftOut,
}

/// A source, by path; and for each folder its entries.
#[derive(Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    entries: BTreeMap<String, BTreeMap<String, Node>>,
}

impl Tree {
    fn random(random: &mut Random) -> Tree {
        let mut tree = Tree::default();
        let mut folders = vec![String::new()];
        tree.entries.insert(String::new(), BTreeMap::new());
        let breadth = 1 + random.below(30);
        let share = 1 + random.below(5);
        while let Some(folder) = folders.pop() {
            for _ in 0..random.below(breadth) {
                let name = format!("{:03}", random.below(1000));
                let node = match random.below(10) {
                    0 => Node::Link,
                    1 => Node::Same,
                    2 => Node::LeftOut,
                    3 => Node::File(SMALL + random.below(400) as u64),
                    kind if kind < 4 + share && tree.nodes.len() < 400 => Node::Folder,
                    _ => Node::File(random.below(SMALL as usize) as u64),
                };
                let path = join(&folder, &name);
                if tree.nodes.contains_key(&path) {
                    continue;
                }
                tree.nodes.insert(path.clone(), node);
                tree.entries.get_mut(&folder).unwrap().insert(name, node);
                if node == Node::Folder {
                    tree.entries.insert(path.clone(), BTreeMap::new());
                    folders.push(path);
                }
            }
        }
        tree
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a stream has taken: a file, or a page of a folder with these entries kept.
enum Hand {
    File(Arc<File<u32>>),
    Page(String, Vec<(String, Node)>, PageEnd),
}

/// A run: the board, what is under way on each stream, and what has come of each path.
struct Run {
    random: Random,
    tree: Tree,
    board: Board<u32>,
    limits: Limits,
    asked: Vec<VecDeque<Claim<u32>>>,
    hands: Vec<Option<Hand>>,
    now: Instant,
    /// Whether requests go wrong.
    is_rough: bool,
    landed: BTreeSet<String>,
    left: BTreeSet<String>,
    listed: BTreeSet<String>,
    finished: BTreeSet<String>,
}

impl Run {
    fn new() -> Run {
        let mut random = Random::new();
        let tree = Tree::random(&mut random);
        let limits = Limits {
            held: 5 + random.below(60),
            share: 1 + random.below(4),
            landing: 1 + random.below(20),
            lists: 1 + random.below(8),
            list_bytes: super::super::MAX_PAGE * (1 + random.below(4) as u32),
            waiting: 1 + random.below(10),
            large: 1 + random.below(4),
        };
        Run {
            random,
            tree,
            board: Board::with_limits(0, SMALL, limits),
            limits,
            asked: (0..STREAMS).map(|_| VecDeque::new()).collect(),
            hands: (0..STREAMS).map(|_| None).collect(),
            now: Instant::now(),
            is_rough: true,
            landed: BTreeSet::new(),
            left: BTreeSet::new(),
            listed: BTreeSet::new(),
            finished: BTreeSet::new(),
        }
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.is_rough && self.random.below(one_in) == 0
    }

    /// One step of one stream or of the lander. Whether anything was done.
    fn step(&mut self) -> bool {
        self.now += Duration::from_millis(self.random.below(30) as u64);
        let stream = self.random.below(STREAMS);
        match self.random.below(10) {
            0..3 => self.claim(stream),
            3..9 => self.answer(stream),
            _ => self.land(),
        }
    }

    fn claim(&mut self, stream: usize) -> bool {
        let ask = Ask {
            requests: 1 + self.random.below(MAX_CLAIMS),
            names: self.random.below(200),
            content: self.random.below(1000) as u64,
            idle: self.asked[stream].is_empty() && self.hands[stream].is_none(),
            answer_time: Duration::from_millis(self.random.below(50) as u64),
        };
        let Claimed::Work(claims) = self.board.claim_at(stream, &ask, self.now) else {
            return false;
        };
        assert!(!claims.is_empty() && claims.len() <= ask.requests);
        for claim in claims {
            match claim {
                Claim::Open { file } if self.chance(20) => {
                    self.leave(&file, Fate::Refused);
                }
                Claim::Open { file } => {
                    let queue = Queue::new(file.size, PIECE, &RangeSet::new());
                    assert!(self.board.opened(file.id, Arc::new(queue)));
                }
                claim => self.asked[stream].push_back(claim),
            }
        }
        true
    }

    fn release(&mut self, stream: usize) {
        self.board.release(stream);
        self.asked[stream].clear();
        self.hands[stream] = None;
    }

    fn answer(&mut self, stream: usize) -> bool {
        if self.chance(60) {
            self.release(stream);
            return true;
        }
        match self.hands[stream].take() {
            Some(Hand::File(file)) => {
                self.bring_file(stream, &file);
                return true;
            }
            Some(Hand::Page(path, kept, end)) => {
                self.bring_page(stream, &path, &kept, end);
                return true;
            }
            None => {}
        }
        match self.asked[stream].pop_front() {
            None => return false,
            Some(Claim::List { folder, after, .. }) => self.take_page(stream, &folder, after),
            Some(Claim::Small { file, .. }) => {
                if self.board.take_file(stream) {
                    self.hands[stream] = Some(Hand::File(file));
                }
            }
            Some(Claim::Part { file, queue, range, .. }) => {
                self.bring_part(stream, &file, &queue, range);
            }
            Some(Claim::Open { .. }) => panic!("opened at once"),
        }
        true
    }

    fn take_page(&mut self, stream: usize, folder: &Folder<u32>, after: Option<Arc<[u8]>>) {
        let path = text(&folder.path());
        let most = 1 + self.random.below(20);
        let after = after.map(|after| text(&after)).unwrap_or_default();
        let mut page: Vec<(String, Node)> = self.tree.entries[&path]
            .range(after.clone()..)
            .filter(|(name, _)| **name != after)
            .map(|(name, node)| (name.clone(), *node))
            .collect();
        let end = if page.len() > most { PageEnd::More } else { PageEnd::Whole };
        page.truncate(most);
        let kind = |node| match node {
            Node::Folder => Kind::Folder,
            Node::Link => Kind::Made,
            Node::LeftOut => Kind::LeftOut,
            Node::File(_) | Node::Same => Kind::File,
        };
        let names: Vec<_> =
            page.iter().map(|(name, node)| (name.as_bytes(), kind(*node))).collect();
        match self.board.take_page(stream, &names, end) {
            Taken::Entries(count) => {
                page.truncate(count);
                self.hands[stream] = Some(Hand::Page(path, page, end));
            }
            Taken::Discard => {}
            Taken::Wrong => panic!("a good page is wrong"),
        }
    }

    fn bring_page(&mut self, stream: usize, path: &str, kept: &[(String, Node)], end: PageEnd) {
        if self.chance(15) {
            return self.board.put_back(stream);
        }
        let found = kept.iter().filter_map(|(name, node)| {
            let what = match *node {
                Node::Folder => What::Folder,
                Node::File(size) => What::File(size),
                Node::Link => What::Made,
                Node::Same => What::Nothing(Fate::Same),
                Node::LeftOut => return None,
            };
            Some(Found { name: name.as_bytes().into(), meta: 0, what })
        });
        for (name, _) in kept {
            assert!(self.listed.insert(join(path, name)), "{name} was kept twice");
        }
        assert_eq!(self.board.page(stream, found.collect(), end), []);
    }

    fn bring_file(&mut self, stream: usize, file: &File<u32>) {
        match self.random.below(if self.is_rough { 20 } else { 1 }) {
            1 => self.board.put_back(stream),
            2 => self.leave(file, Fate::Refused),
            3 => self.leave(file, Fate::Gone),
            4 => self.change(file),
            _ => self.board.written(stream),
        }
    }

    fn bring_part(&mut self, stream: usize, file: &File<u32>, queue: &Queue, range: Range<u64>) {
        if self.chance(15) {
            queue.reject(stream, range);
            return self.board.wake();
        }
        if self.chance(50) {
            return self.leave(file, Fate::Refused);
        }
        if self.chance(50) {
            return self.change(file);
        }
        for part in queue.take(stream, range) {
            queue.finish(part, false);
        }
        if queue.end() == Some(End::Complete) {
            self.board.complete(file.id);
        }
    }

    fn leave(&mut self, file: &File<u32>, fate: Fate) {
        if self.board.leave(file.id, fate) {
            assert!(self.left.insert(text(&file.path())));
        }
    }

    fn change(&mut self, file: &File<u32>) {
        let size = self.random.below(300) as u64;
        if self.board.change(file.id, size, file.meta + 1) {
            assert_eq!(file.changes, MAX_CHANGES);
            assert!(self.left.insert(text(&file.path())));
        }
    }

    fn land(&mut self) -> bool {
        let landing = self.board.take_landing();
        for file in &landing.files {
            let path = text(&file.path());
            if self.chance(20) {
                self.board.not_landed(file.id, Fate::Refused);
                assert!(self.left.insert(path));
            } else {
                assert!(self.landed.insert(path.clone()), "{path} lands twice");
                self.board.landed(&[file.id], &[]);
            }
        }
        for done in &landing.folders {
            assert!(done.is_whole);
            self.finish(&text(&done.folder.path()));
            self.board.landed(&[], &[done.folder.id]);
        }
        !landing.files.is_empty() || !landing.folders.is_empty()
    }

    /// Everything in a folder has come to its end before the folder.
    fn finish(&mut self, path: &str) {
        for (name, node) in &self.tree.entries[path] {
            let entry = join(path, name);
            assert!(self.listed.contains(&entry));
            match node {
                Node::Folder => assert!(self.finished.contains(&entry)),
                Node::File(_) | Node::Link => {
                    assert!(self.landed.contains(&entry) != self.left.contains(&entry));
                }
                Node::Same | Node::LeftOut => {}
            }
        }
        assert!(self.finished.insert(path.to_string()), "{path} is finished twice");
    }

    /// Every count is that of what is there, and no bound is exceeded.
    fn check(&self) {
        let state = lock(&self.board.state);
        state.check();
        let limits = &self.limits;
        let deep = usize::from(MAX_DEPTH) * limits.share;
        assert!(state.held() <= limits.held + deep);
        assert!(state.landing_soon() <= limits.landing);
        assert!(state.asked_lists <= limits.lists);
        assert!(state.asked_bytes <= limits.list_bytes);
        assert!(state.open.len() <= limits.large);
        let progress = state.progress();
        assert!(progress.bytes_done <= progress.bytes_known);
        assert!(progress.files_done <= progress.files_known);
    }

    fn run(mut self) {
        for _ in 0..self.random.below(3000) {
            self.step();
            self.check();
        }
        self.is_rough = false;
        let mut idle = 0;
        while self.board.end().is_none() {
            idle = if self.step() { 0 } else { idle + 1 };
            assert!(idle < 1000, "nothing moves any more");
        }
        self.check();
        assert_eq!(self.board.end(), Some(End::Complete));
        assert_eq!(self.finished.len(), self.tree.entries.len());
        let progress = self.board.progress();
        let same = self.tree.nodes.values().filter(|node| **node == Node::Same).count();
        assert_eq!(progress.same, same as u64);
        assert_eq!(progress.files_done, self.landed.len() as u64);
        assert_eq!(
            (progress.files_done, progress.bytes_done),
            (progress.files_known, progress.bytes_known)
        );
        assert_eq!(progress.bytes_landed, progress.bytes_done);
        assert!(progress.is_listed);
    }
}

#[test]
fn a_random_tree_lands_once_within_all_bounds_and_ends() {
    for _ in 0..100 {
        Run::new().run();
    }
}
