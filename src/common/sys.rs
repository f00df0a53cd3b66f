//! Safe functions over libc: the only layer that makes system calls of its own.
