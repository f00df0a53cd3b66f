//! The file or the folder that is pushed: opened once, before the first request.

#![forbid(unsafe_code)]

use crate::destination::base_name;
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::file;
use ropewalk::transfer::source::identity::Identity;
use ropewalk::transfer::source::tree::state_of;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is pushed.
pub(crate) enum Source {
    /// A file.
    File {
        file: File,
        /// What it was when it was opened.
        identity: Identity,
        /// Its own name, for a folder as OFILE.
        name: Option<Vec<u8>>,
    },
    /// A folder and everything below it.
    Folder {
        folder: File,
        /// What it was when it was opened.
        state: FolderState,
    },
}

impl Source {
    /// Opens what is at `path`, which may be a link.
    ///
    /// # Errors
    /// It cannot be read, or is neither a file nor a folder.
    pub(crate) fn open(path: &Path) -> Result<Source> {
        let shown = escape(path.as_os_str().as_bytes());
        let failed = |error| Error::system(&shown, &error);
        let opened = file::open_without_blocking(path).map_err(failed)?;
        let found = opened.metadata().map_err(failed)?;
        if found.is_dir() {
            let state = state_of(opened.as_fd()).map_err(failed)?;
            return Ok(Source::Folder { folder: opened, state });
        }
        if !found.is_file() {
            let error = Error::new(ExitCode::System, format!("{shown}: is no file and no folder"));
            return Err(error.advise("its size must be known: write it to a file, and push that"));
        }
        let name = base_name(path.as_os_str().as_bytes()).ok();
        let name = name.map(|name| name.as_bytes().to_vec());
        Ok(Source::File { identity: Identity::of(&opened, &found), file: opened, name })
    }
}
