//! The `main` of all four programs: arguments in, one error line and an exit code out.

#![forbid(unsafe_code)]

use super::options::{Arguments, Program, Request};
use super::terminal::{self, prompt};
use crate::error::{Error, ExitCode, Result};
use std::ffi::OsString;

/// Runs a program: parses its command line, calls `run`, prints the error if there is one, and
/// returns the exit code.
pub fn main(
    program: &'static Program,
    run: impl FnOnce(Arguments) -> Result<ExitCode>,
) -> std::process::ExitCode {
    let mut arguments = std::env::args_os();
    terminal::set_program_name(arguments.next().as_deref(), program.name);
    std::panic::set_hook(Box::new(|panic| {
        terminal::complain(format_args!("internal error: {panic}").to_string().replace('\n', " "));
    }));
    let words: Vec<OsString> = arguments.collect();
    let has_words = !words.is_empty();
    let print = |text: String| {
        terminal::print(text.as_bytes())
            .map(|()| ExitCode::Success)
            .map_err(|error| Error::system("standard output", &error))
    };
    let outcome = match program.parse(words) {
        Ok(Request::Run(arguments)) => run(arguments),
        Ok(Request::Help) => {
            print(program.help(terminal::program_name(), terminal::output_columns()))
        }
        Ok(Request::Version) => print(format!("ropewalk {} {}\n", program.name, crate::VERSION)),
        Err(error) => Err(error),
    };
    // The thread that asked may not have come so far.
    prompt::leave();
    outcome
        .unwrap_or_else(|error| {
            match error.code() {
                ExitCode::Usage if !has_words => {
                    terminal::explain(&program.brief(terminal::program_name(), terminal::columns()))
                }
                _ => terminal::complain(&error),
            }
            error.code()
        })
        .into()
}
