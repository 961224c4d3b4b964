//! Templates of journeys, and what servers say that is filled into them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tenfold::fuzzed::template(input));
