//! A call of the HostService: which one, about which host, and the bytes of its request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_fuzz::{call, host, judge};

fuzz_target!(|data: &[u8]| {
    if let [number, first, second, message @ ..] = data {
        judge(call(*number), message, &host(*first, *second));
    }
});
