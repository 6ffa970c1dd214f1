#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tagomatic_fuzz::train_step_numerics::run(input));
