//! Feeds bytes to the judge `client_list` of `judges.rs`.
#![no_main]

#[path = "../judges.rs"]
mod judges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| judges::client_list(data));
