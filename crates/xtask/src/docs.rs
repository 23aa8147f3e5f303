//! `gen docs`: pages made from tables in the code and from the schemas of the charts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::values;

/// Where the pages go, from the repository's root.
pub(crate) const OUT: &str = "docs";

/// The pages by name.
pub(crate) fn generate(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let states = metal3_host_core::transitions::markdown();
    Ok(BTreeMap::from([
        ("host-states.md".to_owned(), states.into_bytes()),
        ("values.md".to_owned(), values::markdown(root)?.into_bytes()),
    ]))
}
