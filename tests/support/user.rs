//! A user that owns nothing.

use crate::support::harness::program_path;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The usual name and number of the user that owns nothing.
pub(crate) const NOBODY: (&str, u32) = ("nobody", 65534);

/// Whether the test runs as root, and that user can start the programs.
pub(crate) fn can_be_tried() -> bool {
    let mut command = Command::new(program_path("sender"));
    command.arg("-V").uid(NOBODY.1).stdout(Stdio::null()).stderr(Stdio::null());
    let possible = command.status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("not tried: needs root, and a repository that everybody can read");
    }
    possible
}

/// Gives that user a file or a folder.
pub(crate) fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
}
