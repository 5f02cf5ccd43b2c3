//! [`blip2_fuzzing::recipes`], without end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blip2_fuzzing::recipes(data));
