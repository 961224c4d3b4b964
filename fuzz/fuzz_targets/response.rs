//! Responses of HTTP/1.1, whole and in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tenfold::fuzzed::response(input));
