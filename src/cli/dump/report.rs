//! The lines that a dump writes: things with fields, and problems, as text or as JSON.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use serde::ser::{SerializeMap, Serializer as _};
use serde_json::Value;

/// Why a dump of a file ended early.
#[derive(Debug)]
pub(super) enum DumpError {
    /// The file cannot be read, or not as what its name says; in words for a person.
    Input(String),
    /// The output cannot be written.
    Output(io::Error),
}

impl DumpError {
    pub(super) fn input(error: impl Display) -> Self {
        Self::Input(error.to_string())
    }

    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Input(reason) => io::Error::other(reason),
            Self::Output(error) => error,
        }
    }
}

/// A field of a line.
pub(super) type Field<'a> = (&'a str, Value);

/// Where the lines about one file go.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    errors: &'a mut dyn Write,
    file: String,
    json: bool,
    problems: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write, errors: &'a mut dyn Write, file: &Path, json: bool) -> Self {
        Self {
            out,
            errors,
            file: file.display().to_string(),
            json,
            problems: 0,
        }
    }

    pub(super) fn problems(&self) -> u64 {
        self.problems
    }

    /// Names the file, where not every line does.
    pub(super) fn begin(&mut self) -> Result<(), DumpError> {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "{}", self.file).map_err(DumpError::Output)
    }

    /// Writes a line about a thing of this kind.
    pub(super) fn line(&mut self, kind: &str, fields: &[Field<'_>]) -> Result<(), DumpError> {
        let written = if self.json {
            self.write_json(kind, fields)
        } else {
            self.write_text(kind, fields)
        };
        written.map_err(DumpError::Output)
    }

    /// Writes down what is wrong, and where in the file.
    pub(super) fn problem(&mut self, position: Option<u64>, what: impl Display) -> Result<(), DumpError> {
        self.problems += 1;
        let written = if self.json {
            let mut fields: Vec<Field<'_>> = Vec::new();
            fields.extend(position.map(|position| ("position", position.into())));
            fields.push(("problem", what.to_string().into()));
            self.write_json("problem", &fields)
        } else {
            // What came before it must be seen before it.
            self.out.flush().and_then(|()| match position {
                Some(position) => writeln!(self.errors, "{}: at byte {position}: {what}", self.file),
                None => writeln!(self.errors, "{}: {what}", self.file),
            })
        };
        written.map_err(DumpError::Output)
    }

    fn write_json(&mut self, kind: &str, fields: &[Field<'_>]) -> io::Result<()> {
        let mut serializer = serde_json::Serializer::new(&mut self.out);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", &self.file)?;
        map.serialize_entry("type", kind)?;
        for (name, value) in fields {
            map.serialize_entry(name, value)?;
        }
        map.end()?;
        writeln!(self.out)
    }

    fn write_text(&mut self, kind: &str, fields: &[Field<'_>]) -> io::Result<()> {
        // Records stand below their batch.
        let indent = if kind == "record" { "    " } else { "  " };
        write!(self.out, "{indent}{kind}")?;
        for (name, value) in fields {
            match value {
                Value::String(text) if is_plain(text) => write!(self.out, " {name}: {text}")?,
                value => write!(self.out, " {name}: {value}")?,
            }
        }
        writeln!(self.out)
    }
}

/// Words that need no quotes to be told from what stands around them, and from no value.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text != "null"
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
