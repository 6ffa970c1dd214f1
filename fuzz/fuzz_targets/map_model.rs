#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tagomatic_fuzz::map_model::run(input));
