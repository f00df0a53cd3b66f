//! The file or the folder that is pushed: opened once, before the first request.

#![forbid(unsafe_code)]

use crate::config::STANDARD_INPUT;
use crate::destination::base_name;
use ropewalk::codec::message::offer::FolderState;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::{file, random};
use ropewalk::transfer::source::identity::Identity;
use ropewalk::transfer::source::tree::state_of;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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
    /// Standard input, which is read once.
    Pipe {
        input: File,
        /// No other push has it.
        tag: Vec<u8>,
    },
    /// A folder and everything below it.
    Folder {
        folder: File,
        /// What it was when it was opened.
        state: FolderState,
    },
}

impl Source {
    /// Opens what is at `path`, which may be a link; `-` is standard input. A picture is to go to
    /// `trace`.
    ///
    /// # Errors
    /// The picture would replace the file.     /// It cannot be read, or is neither a file nor a folder.
    pub(crate) fn open(path: &Path, trace: Option<&Path>) -> Result<Source> {
        if path.as_os_str() == STANDARD_INPUT {
            return Source::standard_input().map_err(|error| Error::system("-", &error));
        }
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
            return Err(error.advise("what a pipe or a device gives is pushed as -"));
        }
        if trace
            .and_then(|trace| trace.metadata().ok())
            .is_some_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
        {
            return Err(Error::usage("--trace: must not be the file that is pushed"));
        }
        let name = base_name(path.as_os_str().as_bytes()).ok();
        let name = name.map(|name| name.as_bytes().to_vec());
        Ok(Source::File { identity: Identity::of(&opened, &found), file: opened, name })
    }

    fn standard_input() -> io::Result<Source> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut tag = [0; 16];
        random::fill(&mut tag)?;
        Ok(Source::Pipe { input, tag: hex(&tag).into_bytes() })
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Source::File { identity, .. } => Some(identity.version.size),
            Source::Pipe { .. } | Source::Folder { .. } => None,
        }
    }

    /// Whether the same command can go on where a push ended.
    pub(crate) fn can_go_on(&self) -> bool {
        !matches!(self, Source::Pipe { .. })
    }
}
