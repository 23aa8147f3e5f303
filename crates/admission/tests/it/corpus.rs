//! Bad input as users give it: `tests/corpus`. bmo's tests apply the same files to a real API server, with and without the
//! webhook.

use std::path::Path;

use metal3_admission::{Host, review};
use serde_json::Value;

#[test]
fn every_bad_object_is_refused_with_the_reason_that_its_file_tells() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let errors = review::<Host>(&case["object"], None).errors.join("\n");
        let refused = case["refused"].as_str().unwrap();
        assert!(
            errors.contains(refused),
            "{}: {refused:?} is missing in {errors:?}",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 25, "{count}");
}
