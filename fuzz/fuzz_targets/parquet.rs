//! [`blip2_fuzzing::parquet`], without end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blip2_fuzzing::parquet(data));
