#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| prefect_guard_fuzz::manifest(bytes));
