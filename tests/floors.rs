//! Imports go strictly downward: a room may name only rooms on lower floors, and those of its own floor that the
//! table of exceptions gives a reason for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::path::Path;

/// Room and floor.
const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("wire", 1),
    ("records", 1),
    ("config", 1),
    ("metrics", 1),
    ("storage", 2),
    ("store", 2),
    ("security", 2),
    ("metadata", 3),
    ("peer", 3),
    ("quota", 3),
    ("replica", 4),
    ("acl", 4),
    ("coordinator", 5),
    ("group", 6),
    ("transaction", 6),
    ("controller", 6),
    ("api", 7),
    ("net", 8),
    ("web", 8),
    ("lifecycle", 8),
    ("cli", 9),
];

/// Edges within a floor: from, to, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, floor)| *floor)
}

fn visit(directory: &Path, room: &str, wrong: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, room, wrong);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                for (at, _) in line.match_indices("crate::") {
                    let rest = &line[at + "crate::".len()..];
                    let names: Vec<&str> = match rest.strip_prefix('{') {
                        Some(list) => list
                            .split(',')
                            .map(|item| item.trim().split("::").next().unwrap())
                            .collect(),
                        None => vec![
                            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                                .next()
                                .unwrap(),
                        ],
                    };
                    for target in names {
                        let allowed = target == room
                            || floor(target).is_none()
                            || floor(target) < floor(room)
                            || EXCEPTIONS
                                .iter()
                                .any(|(from, to, _)| *from == room && *to == target);
                        if !allowed {
                            wrong.push(format!(
                                "{}:{}: {room} names {target}",
                                path.display(),
                                number + 1
                            ));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn imports_go_downward() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut rooms = 0;
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let room = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                floor(&room).is_some(),
                "src/{room} has no floor in tests/floors.rs"
            );
            visit(&path, &room, &mut wrong);
            rooms += 1;
        }
    }
    assert!(rooms > 3);
    assert!(
        wrong.is_empty(),
        "imports that do not go downward:\n{}",
        wrong.join("\n")
    );
}

/// What only base/ may name: lints see methods and types, this sees the rest.
const BYPASSES: &[&str] = &[
    "tokio::net",
    "tokio::fs",
    "tokio::time",
    "std::fs",
    "std::time::Instant",
    "SystemTime",
    "std::net::Tcp",
    "thread::spawn",
    "RandomState",
];

fn sources(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_seams_are_not_bypassed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let relative = path.strip_prefix(&source).unwrap();
        let name = relative.to_str().unwrap();
        // Tests, and what tests share, may read the repository's own files.
        if relative.starts_with("base") || name.ends_with("_test.rs") || name.ends_with("/testing.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            for bypass in BYPASSES.iter().filter(|bypass| line.contains(*bypass)) {
                wrong.push(format!("{}:{}: names {bypass}", relative.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "seams bypassed:\n{}", wrong.join("\n"));
}
