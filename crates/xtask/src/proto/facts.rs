//! What clients and servers of other versions rely on, one line each, so that a change of the contract is a change of
//! lines that people can read.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

/// Facts by what they are about, for example `field a.v1.Host 3` with the value `name string`.
pub(super) type Facts = BTreeMap<String, String>;

/// The facts of all files but those of protobuf itself.
pub(super) fn of(set: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    for file in set.file.iter().filter(|file| !is_foreign(file.name())) {
        for message in &file.message_type {
            add_message(&mut facts, file.package(), message);
        }
        for enumeration in &file.enum_type {
            add_enum(&mut facts, file.package(), enumeration);
        }
        for service in &file.service {
            add_service(&mut facts, file.package(), service);
        }
    }
    facts
}

/// Files that come with protobuf.
pub(super) fn is_foreign(file: &str) -> bool {
    file.starts_with("google/")
}

fn add_message(facts: &mut Facts, scope: &str, message: &DescriptorProto) {
    // Maps are told by their field.
    if message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
    {
        return;
    }
    let name = format!("{scope}.{}", message.name());
    facts.insert(format!("message {name}"), String::new());
    for field in &message.field {
        let key = format!("field {name} {}", field.number());
        facts.insert(
            key,
            format!(
                "{} {}{}",
                field.name(),
                type_of(message, field),
                choice(message, field)
            ),
        );
    }
    // Ends are exclusive here, and inclusive in enums.
    let ranges = message
        .reserved_range
        .iter()
        .map(|range| range.start()..=range.end() - 1);
    reserve(facts, &name, ranges, &message.reserved_name);
    for nested in &message.nested_type {
        add_message(facts, &name, nested);
    }
    for nested in &message.enum_type {
        add_enum(facts, &name, nested);
    }
}

fn add_enum(facts: &mut Facts, scope: &str, enumeration: &EnumDescriptorProto) {
    let name = format!("{scope}.{}", enumeration.name());
    facts.insert(format!("enum {name}"), String::new());
    for value in &enumeration.value {
        facts.insert(
            format!("value {name} {}", value.number()),
            value.name().to_owned(),
        );
    }
    let ranges = enumeration
        .reserved_range
        .iter()
        .map(|range| range.start()..=range.end());
    reserve(facts, &name, ranges, &enumeration.reserved_name);
}

fn add_service(facts: &mut Facts, scope: &str, service: &ServiceDescriptorProto) {
    let name = format!("{scope}.{}", service.name());
    facts.insert(format!("service {name}"), String::new());
    for method in &service.method {
        let stream = |streaming| if streaming { "stream " } else { "" };
        let signature = format!(
            "{}{} returns {}{}",
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.'),
        );
        facts.insert(format!("rpc {name} {}", method.name()), signature);
    }
}

fn reserve(
    facts: &mut Facts,
    name: &str,
    ranges: impl Iterator<Item = std::ops::RangeInclusive<i32>>,
    names: &[String],
) {
    for range in ranges {
        facts.insert(
            format!("reserved {name} {} to {}", range.start(), range.end()),
            String::new(),
        );
    }
    for reserved in names {
        facts.insert(format!("reserved {name} {reserved}"), String::new());
    }
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let plain = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_ascii_lowercase(),
    };
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && plain.rsplit('.').next() == Some(nested.name())
    });
    match entry {
        Some(entry) => {
            let parts: Vec<String> = entry.field.iter().map(|part| type_of(entry, part)).collect();
            format!("map<{}>", parts.join(", "))
        }
        None if field.label() == Label::Repeated => format!("repeated {plain}"),
        None if field.proto3_optional() => format!("optional {plain}"),
        None => plain,
    }
}

/// The oneof that the field is part of.
fn choice(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let index = field.oneof_index.filter(|_| !field.proto3_optional());
    index
        .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
        .map(|choice| format!(" in {}", choice.name()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_thing_that_others_rely_on_is_a_fact() {
        let set = sample::one(
            r#"
            import "google/protobuf/timestamp.proto";
            service HostService { rpc Watch(A) returns (stream B); }
            message A {
                reserved 4, 7 to 9;
                reserved "old";
                string name = 1;
                optional int64 size = 2;
                repeated B bs = 3;
                map<string, B> by_name = 5;
                oneof which { google.protobuf.Timestamp at = 6; Mode mode = 10; }
                enum Mode { MODE_UNSPECIFIED = 0; reserved 2 to 3; }
            }
            message B {}
            "#,
        );
        let lines: Vec<String> = of(&set)
            .into_iter()
            .map(|(key, value)| format!("{key} {value}").trim_end().to_owned())
            .collect();
        assert_eq!(
            lines,
            [
                "enum a.v1.A.Mode",
                "field a.v1.A 1 name string",
                "field a.v1.A 10 mode a.v1.A.Mode in which",
                "field a.v1.A 2 size optional int64",
                "field a.v1.A 3 bs repeated a.v1.B",
                "field a.v1.A 5 by_name map<string, a.v1.B>",
                "field a.v1.A 6 at google.protobuf.Timestamp in which",
                "message a.v1.A",
                "message a.v1.B",
                "reserved a.v1.A 4 to 4",
                "reserved a.v1.A 7 to 9",
                "reserved a.v1.A old",
                "reserved a.v1.A.Mode 2 to 3",
                "rpc a.v1.HostService Watch a.v1.A returns stream a.v1.B",
                "service a.v1.HostService",
                "value a.v1.A.Mode 0 MODE_UNSPECIFIED",
            ]
        );
    }
}
