//! `gen docs`: pages made from tables in the code.

use std::collections::BTreeMap;

/// Where the pages go, from the repository's root.
pub(crate) const OUT: &str = "docs";

/// The pages by name.
pub(crate) fn generate() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([(
        "host-states.md".to_owned(),
        metal3_host_core::transitions::markdown().into_bytes(),
    )])
}
