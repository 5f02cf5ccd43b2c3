//! [`blip2_fuzzing::configurations`], without end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blip2_fuzzing::configurations(data));
