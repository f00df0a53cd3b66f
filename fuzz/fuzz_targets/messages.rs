//! Fuzzes the bodies of a POST and of its reply; the target itself is shared with tests/corpus_fuzz.

#![no_main]

#[path = "../../tests/corpus_fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::messages(data));
