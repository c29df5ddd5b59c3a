//! Which names a topic may have, and which two are too alike (Kafka: `Topic.validate`, `Topic.hasCollision`).

use super::request::AdminError;
use crate::base::error_code::ErrorCode;

const MAX_LENGTH: usize = 249;

/// Checks a name: it becomes part of a folder's name and of a path in the store.
pub fn check(name: &str) -> Result<(), AdminError> {
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name == "." || name == ".." {
        format!("\"{name}\" has a meaning of its own in paths")
    } else if name.len() > MAX_LENGTH {
        format!(
            "it has {} characters, more than {MAX_LENGTH}",
            name.chars().count()
        )
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        let shown = name.escape_debug();
        format!("\"{shown}\" has characters other than ASCII letters, digits, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(AdminError::new(
        ErrorCode::InvalidTopicException,
        format!("The topic's name is not valid: {reason}."),
    ))
}

/// The form in which names that differ only in `.` and `_` are the same; metric names cannot tell them apart.
pub fn folded(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_data_directory_are_refused() {
        let long = "a".repeat(250);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\0b",
            "ä",
            "a b",
            "a\n",
            long.as_str(),
        ] {
            let error = check(name).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidTopicException, "{name:?}");
            assert!(!error.message.unwrap().contains('\0'));
        }
        for name in ["a", "...", "a.b_c-D9", &long[..249]] {
            assert_eq!(check(name), Ok(()));
        }
    }

    #[test]
    fn dots_and_underscores_are_alike() {
        assert_eq!(folded("a.b_c"), folded("a_b.c"));
        assert_ne!(folded("a.b"), folded("a-b"));
    }
}
