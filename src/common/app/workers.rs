//! The paths of the worker programs: beside the program that starts them, after `make`, or in
//! `../libexec/ropewalk`, after `make install`.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use crate::sys::process;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The prefix of the names of installed programs.
const INSTALLED: &[u8] = b"ropewalk-";

/// Finds the worker `name`. Resolves links in this program's own path first.
pub fn find(name: &str) -> Result<PathBuf> {
    // Without /proc, the path that exec got is the same.
    let own = std::env::current_exe().or_else(|_| process::executed_as().canonicalize());
    let own = own.map_err(|error| Error::system("/proc/self/exe", &error))?;
    let folders = folders(&own);
    let mut places = folders.iter().map(|folder| folder.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| {
        let [first, second] =
            folders.each_ref().map(|folder| escape(folder.as_os_str().as_bytes()));
        Error::new(ExitCode::System, format!("{name}: not found in {first} or {second}"))
    })
}

/// The folders where the workers of the program `own` may be, the likelier one first.
fn folders(own: &Path) -> [PathBuf; 2] {
    let beside = own.parent().unwrap_or(Path::new("/"));
    let mut folders = [beside.to_owned(), beside.join("../libexec/ropewalk")];
    // The folder of an installed program is in PATH: any program there may be called `sender`.
    if own.file_name().is_some_and(|name| name.as_bytes().starts_with(INSTALLED)) {
        folders.reverse();
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_installed_program_looks_in_libexec_first() {
        let [first, second] = ["/opt/bin", "/opt/bin/../libexec/ropewalk"].map(PathBuf::from);
        assert_eq!(folders(Path::new("/opt/bin/server")), [first.clone(), second.clone()]);
        assert_eq!(folders(Path::new("/opt/bin/ropewalk-server")), [second, first]);
    }
}
