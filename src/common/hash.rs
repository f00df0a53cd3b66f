//! Checksums: bytes in, digests out. Nothing here does I/O or knows what a
//! file is. `unsafe` only in the files that use a processor's own instructions.
