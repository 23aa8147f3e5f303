//! The fields of requests, as the descriptor of the contract has them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use metal3_rpc::DESCRIPTOR;
use metal3_rpc::call::Call;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

struct Contract {
    /// By full name.
    messages: BTreeMap<String, DescriptorProto>,
    /// The type of the request of each call.
    requests: BTreeMap<String, String>,
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let mut contract = Contract {
        messages: BTreeMap::new(),
        requests: BTreeMap::new(),
    };
    let set = FileDescriptorSet::decode(DESCRIPTOR).expect("the contract");
    for file in set.file {
        for message in &file.message_type {
            contract.add(&format!(".{}", file.package()), message);
        }
        for method in file.service.iter().flat_map(|service| &service.method) {
            let request = method.input_type().to_owned();
            contract.requests.insert(method.name().to_owned(), request);
        }
    }
    contract
});

impl Contract {
    fn add(&mut self, outer: &str, message: &DescriptorProto) {
        let name = format!("{outer}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        self.messages.insert(name, message.clone());
    }
}

/// Whether the request of a call has this field, or choice of fields.
pub(crate) fn has(call: Call, path: &str) -> bool {
    let mut message = CONTRACT.requests.get(call.name());
    for part in path.split('.') {
        let Some(inside) = message.and_then(|name| CONTRACT.messages.get(name)) else {
            return false;
        };
        let field = inside.field.iter().find(|field| field.name() == part);
        if field.is_none() && !inside.oneof_decl.iter().any(|choice| choice.name() == part) {
            return false;
        }
        message = field.and_then(|field| field.type_name.as_ref());
    }
    true
}
