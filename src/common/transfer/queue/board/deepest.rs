//! Files that wait to be asked for: the deepest first, and those of one depth in their order.

#![forbid(unsafe_code)]

use super::entries::FileId;
use std::collections::VecDeque;

/// The files that wait.
#[derive(Debug, Default)]
pub(super) struct Deepest {
    /// Those of each depth.
    files: Vec<VecDeque<FileId>>,
}

impl Deepest {
    /// `file` waits behind all others of its depth.
    pub(super) fn push(&mut self, depth: u16, file: FileId) {
        self.of_depth(depth).push_back(file);
    }

    /// `file` waits before all others of its depth.
    pub(super) fn push_front(&mut self, depth: u16, file: FileId) {
        self.of_depth(depth).push_front(file);
    }

    /// The file that is the next.
    pub(super) fn first(&self) -> Option<FileId> {
        self.files.iter().rev().find_map(|files| files.front().copied())
    }

    /// Takes the file that is the next.
    pub(super) fn pop_first(&mut self) -> Option<FileId> {
        self.files.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// `file`, which is of this depth, waits no longer.
    pub(super) fn remove(&mut self, depth: u16, file: FileId) {
        self.of_depth(depth).retain(|other| *other != file);
    }

    /// Whether no file waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// How many files wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.iter().map(VecDeque::len).sum()
    }

    fn of_depth(&mut self, depth: u16) -> &mut VecDeque<FileId> {
        let depth = usize::from(depth);
        if self.files.len() <= depth {
            self.files.resize_with(depth + 1, VecDeque::new);
        }
        &mut self.files[depth]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_file_is_the_next_and_one_that_is_given_back_comes_before_its_like() {
        let mut files = Deepest::default();
        for (depth, file) in [(0, 1), (2, 2), (2, 3), (1, 4)] {
            files.push(depth, FileId(file));
        }
        assert_eq!((files.pop_first(), files.first()), (Some(FileId(2)), Some(FileId(3))));
        files.push_front(2, FileId(2));
        files.remove(1, FileId(4));
        let order: Vec<u64> = std::iter::from_fn(|| files.pop_first()).map(|file| file.0).collect();
        assert_eq!(order, [2, 3, 1]);
        assert!(files.is_empty());
    }
}
