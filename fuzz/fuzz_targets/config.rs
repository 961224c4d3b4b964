//! Profiles, experiments, target files and what is set besides.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tenfold::fuzzed::config(input));
