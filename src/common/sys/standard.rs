//! Standard input, output and error of a program that was started without some of them.

use std::ffi::CStr;

/// The replacement of a missing descriptor, if there is one.
const NULL: &CStr = c"/dev/null";

/// The C library runs it before `main`. Rust's own start also opens /dev/null for missing
/// descriptors, but aborts in a root without /dev/null.
#[used]
// SAFETY: the section holds pointers to functions, which the C library calls in turn, with
// arguments or without (an `extern "C"` function may be given more than it takes). The
// function needs nothing of Rust's runtime.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill;

/// Opens the missing descriptors, as far as possible.
extern "C" fn fill() {
    for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: takes numbers only and touches no memory.
        let missing = unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
        if missing && !open_null(number) && !open_pipe(number) {
            return tell(number);
        }
    }
}

/// Opens /dev/null as `number`, the lowest free number, in the wrong direction: what is read from a
/// closed input, or written to a closed output, fails with EBADF. Rust's standard streams treat that
/// as the end and as success.
fn open_null(number: libc::c_int) -> bool {
    let direction = if number == libc::STDIN_FILENO { libc::O_WRONLY } else { libc::O_RDONLY };
    // SAFETY: the path is a string that ends with a zero, and lives for ever.
    let opened = unsafe { libc::open(NULL.as_ptr(), direction) };
    opened >= 0 && moved(opened, number)
}

/// Makes `number` the reading end of a pipe whose other end is closed. Input is at its end.
/// Output fails with EBADF.
fn open_pipe(number: libc::c_int) -> bool {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
        return false;
    }
    let [read, write] = ends;
    // The other end may have this number itself: then dup2(2) closes it.
    let done = moved(read, number);
    if write != number {
        // SAFETY: pipe has just returned this descriptor, and nothing else owns it.
        unsafe { libc::close(write) };
    }
    done
}

/// Gives descriptor `own` this number.
fn moved(own: libc::c_int, number: libc::c_int) -> bool {
    // SAFETY: both calls take numbers only. `own` is this module's and nothing else owns it;
    // `number` was free, or is the other end of its pipe.
    unsafe { own == number || (libc::dup2(own, number) == number && libc::close(own) == 0) }
}

/// Prints that descriptor `number` is missing and cannot be opened. Rust's start then aborts.
fn tell(number: libc::c_int) {
    let text: &[u8] = match number {
        libc::STDIN_FILENO => b"standard input is closed and cannot be opened\n",
        libc::STDOUT_FILENO => b"standard output is closed and cannot be opened\n",
        _ => return, // standard error itself: an error has no place to go
    };
    // SAFETY: `text` is readable for its length. Where standard error is closed the call fails.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}
