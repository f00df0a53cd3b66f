//! The hint at the end of an error: how much of the file is kept, and how to continue.

#![forbid(unsafe_code)]

use ropewalk::codec::amount;
use ropewalk::error::Error;
use ropewalk::transfer::store::output::Output;

/// Adds to `error` the share of the file that is kept and `command`, which continues the
/// fetch. Adds nothing where nothing is kept.
pub(crate) fn add(error: Error, output: &Output, command: &str) -> Error {
    match output.kept() {
        None => error,
        Some((bytes, size)) => {
            let (percent, shown) = (amount::percent(bytes, size), output.shown_part());
            error.advise(format_args!("{shown} keeps {percent}%; to continue: {command}"))
        }
    }
}
