//! The threads of a sink's dialled streams: as many as are wanted.

#![forbid(unsafe_code)]

use super::search::Search;
use super::work::Work;
use crate::error::{Error, Result};
use crate::transfer::link::dialler::Dialler;
use crate::transfer::link::keepers::Keepers;
use std::io;
use std::thread::Scope;

/// The streams' threads, and how many there should be.
pub(super) struct Pool<'scope, W: Work> {
    work: &'scope W,
    dialler: &'scope Dialler,
    keepers: Keepers<'scope>,
    search: Search,
}

impl<'scope, W: Work> Pool<'scope, W> {
    /// Starts as many streams as a transfer begins with.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        work: &'scope W,
        dialler: &'scope Dialler,
    ) -> Result<Pool<'scope, W>> {
        let (search, keepers) = (Search::begin(work, dialler.first_streams()), Keepers::default());
        let mut pool = Pool { work, dialler, keepers, search };
        pool.fill(scope).map_err(|error| Error::system("thread", &error))?;
        Ok(pool)
    }

    /// Takes a reading, and starts or ends streams where that is to help. To be called
    /// several times a second.
    pub(super) fn adjust<'env>(&mut self, scope: &'scope Scope<'scope, 'env>) {
        if self.search.go_on(self.work, self.dialler) && self.fill(scope).is_err() {
            self.search.stop_at(self.work, self.keepers.most());
        }
    }

    fn fill<'env>(&mut self, scope: &'scope Scope<'scope, 'env>) -> io::Result<()> {
        let (work, dialler) = (self.work, self.dialler);
        self.keepers.fill(scope, work.health().streams(), move |number| {
            work.guarded(|| dialler.keep(number, work));
        })
    }
}
