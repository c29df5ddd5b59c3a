//! Paths of nodes: which are valid, and the keys under which a tree keeps them.
//!
//! A key is the parent's path, a zero byte and the name, so that the children of a node lie together in their order.

/// True for an absolute path without empty, `.` or `..` parts, a trailing slash or control characters.
pub fn is_valid(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    !path.chars().any(char::is_control)
        && rest
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The parent of a valid path; `None` for the root.
pub fn parent(path: &str) -> Option<&str> {
    if path == "/" {
        return None;
    }
    match path.rsplit_once('/')? {
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}

/// The last part of a path.
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The key of a path.
pub fn key(path: &str) -> String {
    match parent(path) {
        None => String::new(),
        Some(parent) => format!("{parent}\0{}", name(path)),
    }
}

/// The path of a key; `None` for what is no key.
pub fn of_key(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("/".to_owned());
    }
    let (parent, name) = key.split_once('\0')?;
    let path = if parent == "/" {
        format!("/{name}")
    } else {
        format!("{parent}/{name}")
    };
    is_valid(&path).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_absolute_paths_are_valid() {
        for path in ["/", "/a", "/a/b", "/config/brokers/<default>", "/a/b.c", "/a/..."] {
            assert!(is_valid(path), "{path}");
            assert_eq!(of_key(&key(path)).as_deref(), Some(path));
        }
        for path in [
            "", "a", "//", "/a/", "/a//b", "/a/./b", "/a/../b", "/a\0b", "/a\nb",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(parent("/"), None);
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(name("/a/b"), "b");
    }
}
