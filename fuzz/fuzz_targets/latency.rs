//! Feeds bytes to the judge `latency` of `judges.rs`.
#![no_main]

#[path = "../judges.rs"]
mod judges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| judges::latency(data));
