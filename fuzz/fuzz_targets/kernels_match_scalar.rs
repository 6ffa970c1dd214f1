#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tagomatic_fuzz::kernels_match_scalar::run(input));
