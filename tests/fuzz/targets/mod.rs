//! The decoders of bytes from outside, each with the inputs it starts from and the faults that are planted in it.
//!
//! Not here: the pages of the embedded store's file, which redb reads and checksums itself (what it hands out is).

mod indexes;
mod json;
mod log;
mod records;
mod text;
mod wire;

use std::path::{Path, PathBuf};

use super::Target;

/// A target of bytes that need no mending, and where no codec is at work.
const PLAIN: Target = Target {
    name: "",
    seeds: Vec::new(),
    mend: |_, _| {},
    words: &[],
    run: |_| {},
    codec_bytes: |_| 0,
    planted: &[],
};

/// The files of the golden directories that are wanted, the longest left out.
fn golden(what: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    fn visit(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut paths = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        &mut paths,
    );
    paths.sort();
    let mut contents: Vec<Vec<u8>> = paths
        .into_iter()
        .filter(|path| what(path))
        .map(|path| std::fs::read(path).unwrap())
        .filter(|bytes| !bytes.is_empty() && bytes.len() < 64 * 1024)
        .collect();
    contents.sort();
    contents.dedup();
    assert!(!contents.is_empty());
    contents
}

fn named(name: &'static str) -> Vec<Vec<u8>> {
    golden(|path| path.file_name().is_some_and(|file| file == name))
}

fn with_extension(extension: &'static str) -> Vec<Vec<u8>> {
    golden(|path| path.extension().is_some_and(|found| found == extension))
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn all() -> Vec<Target> {
    [
        wire::targets(),
        records::targets(),
        text::targets(),
        indexes::targets(),
        log::targets(),
        json::targets(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
