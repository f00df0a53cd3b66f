//! `--writable`: what all uploads share. `put.rs` answers the requests.

#![forbid(unsafe_code)]

pub(crate) mod digests;
pub(crate) mod file;
pub(crate) mod landing;
mod leftovers;
pub(crate) mod rules;
pub(crate) mod space;
pub(crate) mod target;
pub(crate) mod writable;

use file::Incoming;
use landing::{judge, refusal};
use leftovers::Leftovers;
use ropewalk::codec::http::{Headers, Refusal, Response, Status};
use ropewalk::codec::message::receiver_job::TreeLimits;
use ropewalk::codec::text::escape;
use ropewalk::error::Result as Started;
use ropewalk::sys::process;
use ropewalk::sys::sync::lock;
use rules::Rules;
use space::Space;
use std::path::Path;
use std::sync::{Arc, Mutex};
use writable::Writable;

/// Everything that uploads share.
pub(crate) struct Uploads {
    rules: Rules,
    writable: Writable,
    space: Space,
    leftovers: Leftovers,
    /// Held while conditions are judged and a file gets its name, so that of two uploads with one
    /// condition the second one sees the file of the first.
    landing: Arc<Mutex<()>>,
    /// The bits of a mode that no entry of a folder gets.
    umask: u32,
}

impl Uploads {
    /// Takes uploads by these rules. Names start at `root`; without one, they are those of this
    /// machine.
    ///
    /// # Errors
    /// The folder is not within the root.
    pub(crate) fn open(rules: Rules, root: Option<&Path>) -> Started<Uploads> {
        Ok(Uploads {
            writable: match &rules.folder {
                Some(folder) => Writable::open(root, folder)?,
                None => Writable::everywhere(),
            },
            space: Space::new(rules.keep_free),
            leftovers: Leftovers::default(),
            landing: Arc::default(),
            umask: process::creation_mask(),
            rules,
        })
    }

    /// Refuses a file of the server itself that clients could replace.
    ///
    /// # Errors
    /// It is beneath the folder.
    pub(crate) fn check_outside(&self, what: &str, path: &Path) -> Started<()> {
        self.writable.check_outside(what, path)
    }

    /// What the user allows.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What a client that pushes a folder may have done.
    pub(crate) fn tree_limits(&self) -> TreeLimits {
        let is_exact = self.rules.is_exact;
        TreeLimits {
            max_size: self.rules.max_size,
            max_entries: self.rules.max_files,
            umask: if is_exact { 0 } else { (self.umask & 0o777) as u16 },
            any_link: is_exact,
        }
    }

    /// The room for uploads.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Held while a file gets its name.
    pub(crate) fn landing(&self) -> &Arc<Mutex<()>> {
        &self.landing
    }

    /// Where clients may write, and who they are, as the server says it at its start.
    pub(crate) fn announcement(&self) -> String {
        let who = match self.rules.by_anyone {
            true => "EVERYBODY who can connect",
            false => "every user of --auth",
        };
        let folder = self.writable.path().unwrap_or(Path::new("/"));
        format!("writable by {who}: {}", escape(folder.as_os_str().as_encoded_bytes()))
    }

    /// Whether a client may put files into the folder that it names so.
    pub(crate) fn takes_files_in(&self, folder: &[u8]) -> bool {
        self.writable.takes_files_in(folder)
    }

    /// Makes the file for an upload of `size` bytes to `path`, in a request with these fields.
    ///
    /// # Errors
    /// 403 where nothing may be written; 409 where something is in the way; 412 where a condition
    /// does not hold; 413 and 507 for a file that is too large.
    pub(crate) fn begin(
        &self,
        path: &[u8],
        size: u64,
        fields: &Headers,
    ) -> Result<Incoming<'_>, Refusal> {
        let place = self.writable.place(path)?;
        judge(&place, fields)?;
        if size > self.rules.max_size {
            let words = "the file is larger than this server takes";
            return Err(Refusal::new(Status::CONTENT_TOO_LARGE, words));
        }
        self.leftovers.visit(&place.folder);
        Incoming::create(place, size, &self.space).map_err(refusal)
    }

    /// Puts the whole file in place. The answer is the response.
    ///
    /// # Errors
    /// As of [`Uploads::begin`]; 500 where the system does not do it.
    pub(crate) fn land(
        &self,
        incoming: &mut Incoming<'_>,
        fields: &Headers,
    ) -> Result<Response, Refusal> {
        landing::complete(incoming, fields)?;
        let landed = {
            let _landing = lock(&self.landing);
            landing::rename(incoming, fields)?
        };
        landing::sync_name(incoming)?;
        Ok(landed.response())
    }
}
