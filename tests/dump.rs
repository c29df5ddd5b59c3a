//! `barnabas dump` as a process: its exit codes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

/// Exit code and standard error of a dump of these golden files.
fn dump(files: &[&str]) -> (i32, String) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/");
    let output = Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .arg("dump")
        .args(files.iter().map(|file| format!("{golden}{file}")))
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn exits_with_1_when_something_is_wrong() {
    let sound = "clean/g-gzip-0/00000000000000000000.log";
    let torn = "torn/before/g-gzip-0/00000000000000000000.log";
    assert_eq!(dump(&[sound]), (0, String::new()));
    let (code, errors) = dump(&[torn, sound]);
    assert_eq!(code, 1);
    assert!(errors.contains("the log ends with 40 zero bytes"), "{errors}");
    let (code, errors) = dump(&["clean/g-gzip-0/expected.json", sound]);
    assert_eq!((code, errors.lines().count()), (1, 1), "{errors}");
    assert_eq!(dump(&["nothing/00000000000000000000.log"]).0, 1);
}
