#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gunmetal_fuzz::frame(data));
