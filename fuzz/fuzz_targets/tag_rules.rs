#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tagomatic_fuzz::tag_rules::run(input));
