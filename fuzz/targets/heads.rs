//! The fuzzer's entry to [`wsgateway_fuzz::heads`]; see `hack/fuzz`.
#![no_main]
#![allow(unsafe_code, reason = "the macro exports C functions for libFuzzer")]
#![allow(missing_docs, reason = "the macro's functions have none")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsgateway_fuzz::heads(data));
