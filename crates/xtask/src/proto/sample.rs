//! Small contracts for tests.

use std::collections::BTreeMap;

use prost_types::FileDescriptorSet;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

struct Texts(BTreeMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self
            .0
            .get(name)
            .ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, text)
    }
}

/// Compiles files, each a path and a text.
pub(super) fn compiled(files: &[(&str, &str)]) -> FileDescriptorSet {
    let texts = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), format!("syntax = \"proto3\";\n{text}")));
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts.collect()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(files.iter().map(|(path, _)| path)).unwrap();
    compiler.file_descriptor_set()
}

/// One file of the package `a.v1`.
pub(super) fn one(text: &str) -> FileDescriptorSet {
    compiled(&[("a/v1/a.proto", &format!("package a.v1;\n{text}"))])
}
