//! Libraries of the tests that replace functions of the C library, to play a disk that is not
//! available otherwise. They do not work for programs of another machine.

use crate::support::harness::Scratch;
use std::process::Command;

/// Makes the command load a library of this C source.
pub(crate) fn preload(scratch: &Scratch, source: &str, command: &mut Command) {
    let (source, library) = (scratch.write("own.c", source.as_bytes()), scratch.path("own.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().unwrap().success(), "the linker of these tests is a C compiler");
    command.env("LD_PRELOAD", library);
}
