//! The listing of a folder, page by page.

#![forbid(unsafe_code)]

use super::found::{Found, Look};
use super::runs::Key;
use super::{Refusal, Tree};
use crate::codec::wire::PageEnd;
use crate::sys::volume;
use crate::transfer::source::identity::{Identity, Tag};
use crate::transfer::source::wait_blocks::WaitBlocks;

/// A part of a folder's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The identity of the folder that was listed.
    pub folder: Tag,
    /// The entries, strictly rising in the byte order of their names. A page without any is a
    /// folder's last one.
    pub entries: Vec<Found>,
    /// What follows them.
    pub end: PageEnd,
}

impl Tree {
    /// The entries of a folder that come after the name `after`, as many as fit into `room`
    /// bytes of the wire, and at least one. An empty `folder` is the top; an empty `after` is
    /// the beginning. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The folder is gone, may not be read, is a file or a link, or is not entered.
    pub fn page(
        &self,
        folder: &[u8],
        after: &[u8],
        room: usize,
        waits: &mut WaitBlocks<'_>,
    ) -> Result<Page, Refusal> {
        let entered = self.enter(folder)?;
        let status = entered.status()?;
        let key = Key { name: folder.to_vec(), device: status.device, inode: status.inode };
        let identity = Identity::of_status(&status, volume::keeps_inodes(&entered));
        let mut page =
            Page { folder: identity.folder_tag(), entries: Vec::new(), end: PageEnd::More };
        let mut look = Look::new(&entered, &status);
        let (mut after, mut used) = (after.to_vec(), 0);
        loop {
            let batch = self.runs.batch(&key, || entered.list(), &after, room, waits)?;
            for name in &batch.names {
                waits.send_if_due();
                let Some(found) = look.at(name) else { continue };
                let size = found.entry().encoded_size();
                if !page.entries.is_empty() && used + size > room {
                    return Ok(page);
                }
                used += size;
                page.entries.push(found);
            }
            page.end = batch.end;
            match batch.names.last() {
                // Every name has vanished, and there are more.
                Some(last) if page.entries.is_empty() && batch.end == PageEnd::More => {
                    after.clone_from(last);
                }
                _ => return Ok(page),
            }
        }
    }
}
