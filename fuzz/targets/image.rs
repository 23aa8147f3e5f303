//! Images, one field a line: what is admitted can be fetched and checked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_admission::{DataImage, Host, HostClaim, review};
use serde_json::json;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut image = json!({"url": lines.next().unwrap_or_default()});
    for field in ["checksum", "checksumType", "format"] {
        if let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            image[field] = json!(line);
        }
    }
    let metadata = json!({"name": "a", "namespace": "b"});
    let host = json!({"metadata": metadata, "spec": {"online": true, "image": image}});
    let claim = json!({"metadata": metadata, "spec": {"poweredOn": true, "image": image}});
    let errors = review::<Host>(&host, None).errors;
    assert_eq!(errors, review::<HostClaim>(&claim, None).errors);
    let url = image["url"].as_str().unwrap_or_default();
    let data = json!({"metadata": metadata, "spec": {"url": url}});
    let fetched = review::<DataImage>(&data, None).errors.is_empty();
    assert!(fetched || !errors.is_empty());
    if fetched {
        let (scheme, rest) = url.split_once("://").expect("a scheme");
        assert!(
            ["http", "https", "ftp", "gopher", "oci"].contains(&scheme.to_lowercase().as_str()),
            "{url}"
        );
        assert!(!rest.is_empty() && !url.chars().any(char::is_control), "{url}");
    }
});
