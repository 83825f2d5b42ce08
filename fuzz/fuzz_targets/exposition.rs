//! Feeds bytes to the judge `exposition` of `judges.rs`.
#![no_main]

#[path = "../judges.rs"]
mod judges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| judges::exposition(data));
