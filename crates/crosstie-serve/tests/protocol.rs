//! The generated code is what its protocol file says.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use prost::Message;

/// A file of this crate, and what generating anew gives for it.
fn generated() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(["inference.proto"], [root.join("proto")]).unwrap();
    let bytes = descriptors.encode_to_vec();
    tonic_prost_build::configure()
        .out_dir(directory.path())
        .codec_path("crate::grpc::codec::Codec")
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)
        .unwrap();
    vec![
        (root.join("src/grpc/generated.rs"), std::fs::read(directory.path().join("inference.rs")).unwrap()),
        (root.join("src/grpc/descriptors.bin"), bytes),
    ]
}

#[test]
fn generated_code_is_what_the_protocol_file_says() {
    for (path, expected) in generated() {
        if std::env::var_os("CROSSTIE_WRITE_GENERATED").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read(&path).unwrap();
        assert!(
            found == expected,
            "{} differs from proto/inference.proto; CROSSTIE_WRITE_GENERATED=1 cargo test --workspace --test protocol \
             writes it anew",
            path.display()
        );
    }
}
