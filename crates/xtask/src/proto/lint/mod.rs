//! How the contract is written, by the names of buf's rules. What is wrong is told with the place and the rule.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

use super::facts::is_foreign;

/// Numbers of fields in the descriptors, of which the path of a location is made.
mod part {
    pub(super) const FILE_MESSAGES: i32 = 4;
    pub(super) const FILE_ENUMS: i32 = 5;
    pub(super) const FILE_SERVICES: i32 = 6;
    pub(super) const MESSAGE_FIELDS: i32 = 2;
    pub(super) const MESSAGE_MESSAGES: i32 = 3;
    pub(super) const MESSAGE_ENUMS: i32 = 4;
    pub(super) const MESSAGE_CHOICES: i32 = 8;
    pub(super) const ENUM_VALUES: i32 = 2;
    pub(super) const SERVICE_METHODS: i32 = 2;
}

/// Everything that breaks a rule.
pub(super) fn check(set: &FileDescriptorSet) -> Vec<String> {
    let mut found = Vec::new();
    for file in set.file.iter().filter(|file| !is_foreign(file.name())) {
        let mut linter = Linter::new(file);
        linter.file(set);
        found.append(&mut linter.found);
    }
    found.extend(shared_messages(set));
    found
}

struct Linter<'a> {
    file: &'a FileDescriptorProto,
    /// Places that have a comment.
    explained: BTreeSet<&'a [i32]>,
    /// Types that the file uses.
    used: BTreeSet<&'a str>,
    found: Vec<String>,
}

impl<'a> Linter<'a> {
    fn new(file: &'a FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let explained = locations
            .filter(|location| {
                let comments = [&location.leading_comments, &location.trailing_comments];
                comments
                    .iter()
                    .any(|comment| comment.as_ref().is_some_and(|text| !text.trim().is_empty()))
            })
            .map(|location| location.path.as_slice())
            .collect();
        Self {
            file,
            explained,
            used: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    fn must(&mut self, kept: bool, rule: &str, what: &str) {
        if !kept {
            self.found.push(format!("{}: {what}: {rule}", self.file.name()));
        }
    }

    fn explained(&mut self, path: &[i32], rule: &str, what: &str) {
        let explained = self.explained.contains(path);
        self.must(explained, rule, what);
    }

    fn file(&mut self, set: &FileDescriptorSet) {
        let file = self.file;
        let package = file.package();
        self.must(file.syntax() == "proto3", "SYNTAX_PROTO3", "syntax");
        let parts: Vec<&str> = package.split('.').collect();
        let lower = parts.iter().all(|part| is_lower(part) && !part.is_empty());
        self.must(lower, "PACKAGE_LOWER_SNAKE_CASE", package);
        self.must(
            parts.last().is_some_and(|last| is_version(last)),
            "PACKAGE_VERSION_SUFFIX",
            package,
        );
        let folder = file.name().rsplit_once('/').map_or("", |(folder, _)| folder);
        self.must(
            folder == package.replace('.', "/"),
            "PACKAGE_DIRECTORY_MATCH",
            package,
        );
        for (index, message) in (0..).zip(&file.message_type) {
            self.message(package, message, &[part::FILE_MESSAGES, index]);
        }
        for (index, enumeration) in (0..).zip(&file.enum_type) {
            self.enumeration(package, enumeration, &[part::FILE_ENUMS, index]);
        }
        for (index, service) in (0..).zip(&file.service) {
            self.service(service, &[part::FILE_SERVICES, index]);
        }
        self.imports(set);
    }

    fn message(&mut self, scope: &str, message: &'a DescriptorProto, path: &[i32]) {
        let name = format!("{scope}.{}", message.name());
        self.must(is_pascal(message.name()), "MESSAGE_PASCAL_CASE", &name);
        self.explained(path, "COMMENT_MESSAGE", &name);
        for (index, field) in (0..).zip(&message.field) {
            let what = format!("{name}.{}", field.name());
            self.must(is_lower(field.name()), "FIELD_LOWER_SNAKE_CASE", &what);
            self.explained(&below(path, part::MESSAGE_FIELDS, index), "COMMENT_FIELD", &what);
            self.used.insert(field.type_name());
        }
        for (index, choice) in (0..).zip(&message.oneof_decl) {
            // An optional field is a choice of one, with a name that the compiler makes.
            if message
                .field
                .iter()
                .any(|field| field.proto3_optional() && field.oneof_index == Some(index))
            {
                continue;
            }
            let what = format!("{name}.{}", choice.name());
            self.must(is_lower(choice.name()), "ONEOF_LOWER_SNAKE_CASE", &what);
            self.explained(&below(path, part::MESSAGE_CHOICES, index), "COMMENT_ONEOF", &what);
        }
        for (index, nested) in (0..).zip(&message.nested_type) {
            if nested.options.as_ref().is_some_and(|options| options.map_entry()) {
                self.used
                    .extend(nested.field.iter().map(|field| field.type_name()));
            } else {
                self.message(&name, nested, &below(path, part::MESSAGE_MESSAGES, index));
            }
        }
        for (index, nested) in (0..).zip(&message.enum_type) {
            self.enumeration(&name, nested, &below(path, part::MESSAGE_ENUMS, index));
        }
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptorProto, path: &[i32]) {
        let name = format!("{scope}.{}", enumeration.name());
        self.must(is_pascal(enumeration.name()), "ENUM_PASCAL_CASE", &name);
        self.explained(path, "COMMENT_ENUM", &name);
        let prefix = format!("{}_", upper(enumeration.name()));
        for (index, value) in (0..).zip(&enumeration.value) {
            let what = format!("{name}.{}", value.name());
            self.must(is_upper(value.name()), "ENUM_VALUE_UPPER_SNAKE_CASE", &what);
            self.must(value.name().starts_with(&prefix), "ENUM_VALUE_PREFIX", &what);
            if value.number() == 0 {
                // It means "not said"; more is told only where it stands for something.
                self.must(
                    value.name().ends_with("_UNSPECIFIED"),
                    "ENUM_ZERO_VALUE_SUFFIX",
                    &what,
                );
            } else {
                self.explained(
                    &below(path, part::ENUM_VALUES, index),
                    "COMMENT_ENUM_VALUE",
                    &what,
                );
            }
        }
    }

    fn service(&mut self, service: &'a ServiceDescriptorProto, path: &[i32]) {
        let name = service.name();
        self.must(is_pascal(name), "SERVICE_PASCAL_CASE", name);
        self.must(name.ends_with("Service"), "SERVICE_SUFFIX", name);
        self.explained(path, "COMMENT_SERVICE", name);
        for (index, method) in (0..).zip(&service.method) {
            let what = format!("{name}.{}", method.name());
            self.must(is_pascal(method.name()), "RPC_PASCAL_CASE", &what);
            self.explained(&below(path, part::SERVICE_METHODS, index), "COMMENT_RPC", &what);
            for (type_name, suffix, rule) in [
                (method.input_type(), "Request", "RPC_REQUEST_STANDARD_NAME"),
                (method.output_type(), "Response", "RPC_RESPONSE_STANDARD_NAME"),
            ] {
                let standard = type_name.rsplit('.').next() == Some(&format!("{}{suffix}", method.name()));
                self.must(standard, rule, &what);
                self.used.insert(type_name);
            }
        }
    }

    fn imports(&mut self, set: &FileDescriptorSet) {
        let file = self.file;
        let public = !file.public_dependency.is_empty() || !file.weak_dependency.is_empty();
        self.must(!public, "IMPORT_NO_PUBLIC_OR_WEAK", file.name());
        for import in &file.dependency {
            let provided = set
                .file
                .iter()
                .find(|other| other.name() == import)
                .map(provided)
                .unwrap_or_default();
            let used = provided.iter().any(|name| self.used.contains(name.as_str()));
            self.must(used, "IMPORT_USED", import);
        }
    }
}

/// The full names of the types of a file.
fn provided(file: &FileDescriptorProto) -> Vec<String> {
    fn collect(scope: &str, message: &DescriptorProto, names: &mut Vec<String>) {
        let name = format!("{scope}.{}", message.name());
        names.extend(
            message
                .enum_type
                .iter()
                .map(|nested| format!("{name}.{}", nested.name())),
        );
        for nested in &message.nested_type {
            collect(&name, nested, names);
        }
        names.push(name);
    }
    let scope = format!(".{}", file.package());
    let mut names: Vec<String> = file
        .enum_type
        .iter()
        .map(|enumeration| format!("{scope}.{}", enumeration.name()))
        .collect();
    for message in &file.message_type {
        collect(&scope, message, &mut names);
    }
    names
}

/// Messages that several calls take or give: what is added for one would be added for all.
fn shared_messages(set: &FileDescriptorSet) -> Vec<String> {
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in set.file.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            for type_name in [method.input_type(), method.output_type()] {
                let user = format!("{}.{}", service.name(), method.name());
                users.entry(type_name).or_default().push(user);
            }
        }
    }
    users
        .into_iter()
        .filter(|(_, users)| users.len() > 1)
        .map(|(name, users)| {
            format!(
                "{} of {}: RPC_REQUEST_RESPONSE_UNIQUE",
                name.trim_start_matches('.'),
                users.join(" and ")
            )
        })
        .collect()
}

fn below(path: &[i32], part: i32, index: i32) -> Vec<i32> {
    [path, &[part, index]].concat()
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// lower_snake_case; a digit does not begin a word, or the name in JSON would not lead back.
fn is_lower(name: &str) -> bool {
    name.split('_').all(|word| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

fn is_upper(name: &str) -> bool {
    name.split('_')
        .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()))
}

/// `v1`, `v1beta2`, …
fn is_version(name: &str) -> bool {
    let Some(rest) = name.strip_prefix('v') else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let stages = ["alpha", "beta"];
    number(rest)
        || stages
            .iter()
            .filter_map(|stage| rest.split_once(stage))
            .any(|(major, minor)| number(major) && number(minor))
}

/// UPPER_SNAKE_CASE of a PascalCase name.
fn upper(name: &str) -> String {
    let mut upper = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(letter.to_ascii_uppercase());
    }
    upper
}

#[cfg(test)]
mod tests;
