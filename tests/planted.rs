//! The faults that the fuzzer and the simulation plant (`src/base/planted.rs`) are in no binary but theirs.
#![cfg(not(feature = "planted"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

fn names(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(&path, found);
        } else if !path.ends_with("base/planted.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let calls = text.split("planted!(").skip(1);
            found.extend(calls.map(|rest| rest.split('"').nth(1).unwrap().to_owned()));
        }
    }
}

#[test]
fn no_planted_fault_is_in_the_binary() {
    let mut planted = Vec::new();
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut planted);
    assert!(planted.len() > 30, "{planted:?}");
    let binary = std::fs::read(env!("CARGO_BIN_EXE_barnabas")).unwrap();
    let binary = String::from_utf8_lossy(&binary);
    // What else stands in a decoder is found so.
    assert!(binary.contains("a block is longer than the frame allows"));
    for name in planted {
        assert!(!binary.contains(&name), "{name} is in the binary");
    }
}
