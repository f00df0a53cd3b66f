//! A fetch of a folder into a folder. What is complete stays, so the same command goes on, and
//! brings the folder up to date later.

#![forbid(unsafe_code)]

use super::Fetch;
use super::offered::Offered;
use super::receiver::Received;
use super::transfer::Transfer;
use crate::config::StreamCount;
use crate::control::{Server, TreeOffer};
use crate::session_guard::SessionGuard;
use crate::summary::FetchedTree;
use ropewalk::codec::message::receiver_job::TreeJob;
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// The mode of a folder while entries come.
const PRIVATE_MODE: u32 = 0o700;

/// Fetches the content of the server's folder into `path`.
pub(super) fn run(
    fetch: &Fetch<'_>,
    path: &Path,
    server: &Server,
    offer: &TreeOffer,
    guard: &SessionGuard,
) -> Result<FetchedTree> {
    let shown = escape(path.as_os_str().as_bytes());
    let is_dry = fetch.config.tree.options.dry_run;
    let folder = open(path, is_dry).map_err(|error| explain(&error, &shown, is_dry))?;
    fetch.progress.begin_tree();
    let transfer = Transfer { fetch, server, offer: Offered::Tree(offer), guard };
    let job = transfer.tree_job(job(&transfer, offer, folder.is_some()), &shown);
    let files: Vec<_> = folder.iter().map(AsFd::as_fd).collect();
    let Received { tally, mended, .. } =
        transfer.run(&job, &files).map_err(|error| with_hint(error, fetch))?;
    fetch.progress.saving(tally.bytes);
    Ok(FetchedTree {
        tree: fetch.progress.tree(),
        bytes: tally.bytes,
        same_bytes: tally.same,
        time: fetch.begun.elapsed(),
        streams: tally.streams,
        is_checked: fetch.config.tree.verify != Verify::None,
        is_dry: fetch.config.tree.options.dry_run,
        is_push: false,
        is_forgotten: false,
        mended,
    })
}

/// Opens the folder, and makes it if it is missing. `None` if it is missing in a dry run.
fn open(path: &Path, is_dry: bool) -> io::Result<Option<File>> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match open_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_dry => {
            allow_reading(path).map_err(|_| error)?;
            open_folder(path).map(Some)
        }
        Err(error) if is_missing(&error) && is_dry => Ok(None),
        Err(error) if is_missing(&error) => make(path).map(Some),
        opened => opened.map(Some),
    }
}

/// Makes the folder, and opens it. Another client may make it at the same time.
fn make(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(PRIVATE_MODE).create(path) {
        // A link that leads nowhere exists too, and cannot be opened.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            open_folder(path).map_err(|_| error)
        }
        made => made.and_then(|()| open_folder(path)),
    }
}

/// Gives the owner of a folder every right in it. An earlier run may have taken the rights away,
/// since the server's folder has none; this run sets the mode at its end.
fn allow_reading(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode | PRIVATE_MODE))
}

fn open_folder(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)
}

fn explain(error: &io::Error, shown: &str, is_dry: bool) -> Error {
    match error.raw_os_error() {
        Some(libc::EACCES) if is_dry => {
            let text = format!("{shown}: this folder, with which to compare, cannot be read");
            Error::new(ExitCode::System, text)
                .advise("a dry run changes no mode: chmod u+rwx the folder, or leave out --dry-run")
        }
        Some(libc::ENOTDIR) => {
            let text = format!("{shown}: is not a folder, and the server has a folder");
            Error::new(ExitCode::System, text)
        }
        _ => Error::system(shown, error),
    }
}

fn job(transfer: &Transfer<'_>, offer: &TreeOffer, has_folder: bool) -> TreeJob {
    let config = transfer.fetch.config;
    TreeJob {
        streams: transfer.streams(),
        top: offer.folder,
        has_folder,
        sync: config.start_options.sync,
        grows: config.streams == StreamCount::Auto,
        verify: config.tree.verify,
        options: config.tree.options.clone(),
        limits: None,
    }
}

/// Adds how to go on. After a signal the main thread adds it.
fn with_hint(error: Error, fetch: &Fetch<'_>) -> Error {
    match fetch.interrupt.error() {
        Some(interrupted) => interrupted,
        None => error.advise(format_args!("to continue: {}", fetch.config.command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_that_another_client_makes_meanwhile_is_taken() {
        let path = std::env::temp_dir().join(format!("ropewalk-made-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        assert!(make(&path).is_ok());
        let link = path.join("link");
        symlink("nowhere", &link).unwrap();
        assert_eq!(make(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_dry_run_names_the_folder_that_it_cannot_read_and_says_what_to_do() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let error = explain(&denied, "photos", true);
        assert_eq!(error.code(), ExitCode::System);
        let words = error.to_string();
        assert!(words.starts_with("photos: this folder, with which to compare"), "{words}");
        assert!(words.contains("chmod u+rwx") && words.contains("--dry-run"), "{words}");
        let words = explain(&denied, "photos", false).to_string();
        assert_eq!(words, "photos: Permission denied");
    }
}
