//! Fuzzes the messages of a stream; the target itself is shared with the mutation test.

#![no_main]

#[path = "../../tests/mutation/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::wire(data));
