//! Tables of why nothing fits, kept while nothing changes: a thousand machines may wait for the same kind of host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metal3_rpc::v1::Rejections;

use super::super::allocate::Wish;
use super::super::selector::Matcher;

/// Kinds of wishes remembered.
const REMEMBERED: usize = 64;

/// All that a table depends on besides the hosts.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    namespace: String,
    selector: Matcher,
    failure_domain: String,
    reuse_key: String,
}

#[derive(Default)]
pub(super) struct Tables(Mutex<HashMap<Kind, (u64, Arc<Rejections>)>>);

impl Tables {
    /// The table for a wish at a version of the hosts, made anew when the one known is of another version.
    pub(super) fn of(
        &self,
        namespace: &str,
        wish: &Wish,
        version: u64,
        make: impl FnOnce() -> Rejections,
    ) -> Arc<Rejections> {
        let kind = Kind {
            namespace: namespace.to_owned(),
            selector: wish.selector.clone(),
            failure_domain: wish.failure_domain.clone(),
            reuse_key: wish.reuse_key.clone(),
        };
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, table)) = tables.get(&kind)
            && *known == version
        {
            return Arc::clone(table);
        }
        // Made under the lock, so that those who come meanwhile wait for it instead of making it as well.
        let table = Arc::new(make());
        if tables.len() >= REMEMBERED {
            tables.clear();
        }
        tables.insert(kind, (version, Arc::clone(&table)));
        table
    }
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::Consumer;

    use super::*;

    #[test]
    fn a_table_is_made_once_for_each_kind_of_wish_and_version() {
        let tables = Tables::default();
        let wish = |domain: &str| Wish {
            consumer: Consumer::default(),
            selector: Matcher::default(),
            failure_domain: domain.into(),
            failure_domain_required: true,
            reuse_key: String::new(),
        };
        let mut made = 0;
        let mut ask = |domain: &str, version| {
            tables.of("ns", &wish(domain), version, || {
                made += 1;
                Rejections {
                    candidates: made,
                    ..Default::default()
                }
            })
        };
        let asked = [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("b", 1)];
        let answers = asked.map(|(domain, version)| ask(domain, version).candidates);
        assert_eq!(answers, [1, 1, 2, 3, 2]);
    }
}
