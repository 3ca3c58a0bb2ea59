//! The exports of the addon, read from their sources.

use std::fs;
use std::path::Path;

/// Breaks when a panic in some export could take the host down.
#[test]
fn every_exported_function_catches_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bindings");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        for (index, _) in source.match_indices("#[napi") {
            let rest = &source[index..];
            let attribute = &rest[..rest.find(")]\n").or_else(|| rest.find("]\n")).unwrap()];
            count += 1;
            assert!(
                attribute.contains("catch_unwind"),
                "{}: {} lacks catch_unwind",
                path.display(),
                rest.lines().find(|line| line.contains("fn ")).unwrap_or(attribute)
            );
        }
    }
    assert!(count >= 15, "only {count} exports were found; has the place of the bindings changed?");
}
