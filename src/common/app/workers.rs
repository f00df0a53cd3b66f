//! Where the worker programs are: beside the program that starts them, as make
//! leaves them, or in `../libexec/ropewalk`, where `make install` puts them.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use crate::sys::process;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Finds the worker `name`, with links in this program's own path resolved first.
pub fn find(name: &str) -> Result<PathBuf> {
    // Where there is no /proc, what exec was given says the same.
    let own = std::env::current_exe().or_else(|_| process::executed_as().canonicalize());
    let own = own.map_err(|error| Error::system("/proc/self/exe", &error))?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let places = [folder.join(name), folder.join("../libexec/ropewalk").join(name)];
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        let folder = escape(folder.as_os_str().as_bytes());
        let text = format!("{name}: not found in {folder} or {folder}/../libexec/ropewalk");
        Error::new(ExitCode::System, text)
    })
}
