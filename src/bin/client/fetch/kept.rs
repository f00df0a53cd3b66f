//! What a fetch that has failed leaves behind, and how to go on with it.

#![forbid(unsafe_code)]

use ropewalk::codec::amount;
use ropewalk::error::Error;
use ropewalk::transfer::output::Output;

/// Adds to `error` how much of the file is there already, and the command that goes on
/// with it; where there is nothing, nothing.
pub(crate) fn add(error: Error, output: &Output, command: &str) -> Error {
    match output.kept() {
        None => error,
        Some((bytes, size)) => {
            let (percent, shown) = (amount::percent(bytes, size), output.shown_part());
            error.advise(format_args!("{shown} keeps {percent}%; to go on: {command}"))
        }
    }
}
