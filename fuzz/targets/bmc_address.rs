//! BMC addresses: what is accepted is clean, and means the same when it is written out again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_bmc::Bmc;

fuzz_target!(|text: &str| {
    let Ok(bmc) = text.parse::<Bmc>() else { return };
    let host = bmc.host.trim_matches(['[', ']']);
    assert!(
        host.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || ".-:".contains(letter)),
        "{bmc:?}"
    );
    assert!(bmc.path.is_empty() || bmc.path.starts_with('/'), "{bmc:?}");
    for verify in [true, false] {
        assert!(!bmc.driver_info(verify).is_empty());
    }
    let port = bmc
        .port
        .as_ref()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let query = bmc
        .privilege_level
        .as_ref()
        .map(|level| format!("?privilegelevel={level}"))
        .unwrap_or_default();
    let written = format!("{}://{}{port}{}{query}", bmc.scheme, bmc.host, bmc.path);
    assert_eq!(written.parse::<Bmc>().as_ref(), Ok(&bmc), "{written}");
});
