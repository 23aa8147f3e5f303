//! What can be wrong with the fields of a request, found in the descriptor. Each is the bytes of one field that, behind a
//! right request, replace what was there.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::wire::{block, number, text};

/// Longer than any word may be.
const OVERLONG: usize = 5000;
/// More than any list may have.
const MANY: usize = 1001;
/// Fields that name something, or a part of it.
const NAMES: [&str; 13] = [
    "namespace",
    "namespaces",
    "name",
    "kind",
    "api_version",
    "key",
    "reuse_key",
    "cluster_name",
    "label_keys",
    "annotation_keys",
    "label_prefixes",
    "match_labels",
    "seen_revision",
];

pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Contract<'a> {
    /// By full name.
    messages: BTreeMap<String, &'a DescriptorProto>,
    /// Calls, and the types of their requests.
    requests: BTreeMap<&'a str, &'a str>,
}

impl<'a> Contract<'a> {
    pub(super) fn of(set: &'a FileDescriptorSet) -> Self {
        let mut contract = Self {
            messages: BTreeMap::new(),
            requests: BTreeMap::new(),
        };
        for file in &set.file {
            for message in &file.message_type {
                contract.add(&format!(".{}", file.package()), message);
            }
            for method in file.service.iter().flat_map(|service| &service.method) {
                contract.requests.insert(method.name(), method.input_type());
            }
        }
        contract
    }

    fn add(&mut self, outer: &str, message: &'a DescriptorProto) {
        let name = format!("{outer}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        self.messages.insert(name, message);
    }

    pub(super) fn calls(&self) -> Vec<&'a str> {
        self.requests.keys().copied().collect()
    }

    pub(super) fn wrongs(&self, call: &str) -> Vec<Wrong> {
        self.within(self.requests[call])
    }

    fn within(&self, message: &str) -> Vec<Wrong> {
        if message == ".google.protobuf.Timestamp" {
            return [
                ("an endless time", number(1, i64::MAX)),
                ("negative nanoseconds", number(2, -1)),
            ]
            .map(|(what, bytes)| wrong(what, bytes))
            .into();
        }
        let fields = &self.messages[message].field;
        fields.iter().flat_map(|field| self.of_field(field)).collect()
    }

    fn of_field(&self, field: &FieldDescriptorProto) -> Vec<Wrong> {
        let id = field.number().try_into().unwrap();
        let (mut wrongs, one) = match field.r#type() {
            Type::String => (texts(id, field.name()), text(id, "a")),
            Type::Enum => {
                let unknown = [99, -1].map(|value| wrong("an unknown value", number(id, value)));
                (unknown.into(), number(id, 1))
            }
            Type::Int32 | Type::Int64 => (vec![wrong("a negative number", number(id, -1))], number(id, 1)),
            Type::Message => {
                let nested = self.within(field.type_name()).into_iter();
                let nested = nested.map(|inner| Wrong {
                    what: format!("in it {}", inner.what),
                    bytes: block(id, &inner.bytes),
                });
                (nested.collect(), block(id, &[]))
            }
            Type::Bool => (Vec::new(), number(id, 1)),
            other => panic!(
                "field {} has type {other:?}: say here what can be wrong with it",
                field.name()
            ),
        };
        let map = field.r#type() == Type::Message
            && self.messages[field.type_name()]
                .options
                .as_ref()
                .is_some_and(|options| options.map_entry());
        // The entries of a map would be one and the same.
        if field.label() == Label::Repeated && !map {
            wrongs.push(wrong("too many entries", one.repeat(MANY)));
        }
        for wrong in &mut wrongs {
            wrong.what = format!("{}: {}", field.name(), wrong.what);
        }
        wrongs
    }
}

fn texts(id: u32, name: &str) -> Vec<Wrong> {
    let mut wrongs = vec![
        wrong("an overlong text", text(id, &"a".repeat(OVERLONG))),
        wrong("two lines", text(id, "a\nb")),
        wrong("a zero", text(id, "a\0")),
        wrong("no UTF-8", block(id, &[0xff, 0xfe])),
    ];
    if NAMES.contains(&name) {
        for malformed in ["a b", "../a%2f", "ä"] {
            wrongs.push(wrong(malformed, text(id, malformed)));
        }
    }
    wrongs
}

fn wrong(what: &str, bytes: Vec<u8>) -> Wrong {
    Wrong {
        what: what.to_owned(),
        bytes,
    }
}
