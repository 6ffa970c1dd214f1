#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tagomatic_fuzz::load_model_after_valid_header::run(input));
