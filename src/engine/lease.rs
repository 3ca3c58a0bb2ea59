//! Paths a task may write, and what a writing tool is about to write.

use serde_json::Value;

/// Why a path cannot stand in a plan; the text completes "the path …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathMistake {
    #[error("is empty; name a file such as src/app.ts or a folder such as src/api/")]
    Empty,
    #[error("is absolute; give it relative to the project's folder")]
    Absolute,
    #[error("leads out of the project; give a path inside it, without ..")]
    Outside,
    #[error("contains a NUL, a backslash or a wildcard; name files, or a folder with a trailing /")]
    Characters,
    #[error("belongs to git or to the orchestrator's own state, which no task may write")]
    Reserved,
    #[error("is longer than 1,024 bytes")]
    TooLong,
}

/// Brings a path of a plan into its one spelling: `./src//a.ts` is `src/a.ts`, `src/api/**` is `src/api/`.
///
/// A trailing slash means everything below that folder.
///
/// # Errors
/// See [`PathMistake`].
pub fn normalize(path: &str) -> Result<String, PathMistake> {
    if path.len() > 1024 {
        return Err(PathMistake::TooLong);
    }
    if path.starts_with('/') || path.as_bytes().get(1) == Some(&b':') {
        return Err(PathMistake::Absolute);
    }
    let (path, folder) = match path.strip_suffix("/**").or_else(|| path.strip_suffix('/')) {
        Some(folder) => (folder, true),
        None => (path, false),
    };
    if path.chars().any(|c| matches!(c, '\0' | '\\' | '*' | '?' | '\n')) {
        return Err(PathMistake::Characters);
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(PathMistake::Outside),
            part => parts.push(part),
        }
    }
    match parts.as_slice() {
        [] => return Err(PathMistake::Empty),
        [".git", ..] | [".opencode", "orchestrator", ..] | [".opencode", "todo.md"] => {
            return Err(PathMistake::Reserved);
        }
        _ => {}
    }
    let joined = parts.join("/");
    Ok(if folder { format!("{joined}/") } else { joined })
}

/// Whether the lease entry covers the path: it is the path, or a folder above it.
pub(crate) fn covers(entry: &str, path: &str) -> bool {
    entry == path || (entry.ends_with('/') && path.starts_with(entry))
}

/// Whether two lease entries share a path.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// The paths that a call of one of the host's writing tools would write, as the model spelled them.
///
/// `None` when the tool writes no files. An empty list means that the arguments name no path: the call cannot be
/// placed in a lease, and is refused.
#[must_use]
pub fn paths_written(tool: &str, args: &Value) -> Option<Vec<String>> {
    let text = |key: &str| args.get(key).and_then(Value::as_str);
    match tool {
        "edit" | "write" | "multiedit" => {
            Some(text("filePath").or_else(|| text("path")).map(str::to_owned).into_iter().collect())
        }
        "patch" | "apply_patch" => {
            let patch =
                text("patchText").or_else(|| text("patch")).or_else(|| text("input")).unwrap_or_default();
            Some(patch.lines().filter_map(patched_path).map(str::to_owned).collect())
        }
        _ => None,
    }
}

fn patched_path(line: &str) -> Option<&str> {
    ["*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:"]
        .iter()
        .find_map(|marker| line.trim_start().strip_prefix(marker))
        .map(str::trim)
        .filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_spelling_per_path() {
        let cases = [
            ("src/a.ts", Ok("src/a.ts")),
            ("./src//a.ts", Ok("src/a.ts")),
            ("src/api/**", Ok("src/api/")),
            ("src/api/", Ok("src/api/")),
            (".opencode/plugin/x.ts", Ok(".opencode/plugin/x.ts")),
            ("", Err(PathMistake::Empty)),
            ("./", Err(PathMistake::Empty)),
            ("/etc/passwd", Err(PathMistake::Absolute)),
            ("C:\\x", Err(PathMistake::Absolute)),
            ("a/../../b", Err(PathMistake::Outside)),
            ("src/*.ts", Err(PathMistake::Characters)),
            (".git/hooks/x", Err(PathMistake::Reserved)),
            (".opencode/orchestrator/journal.db", Err(PathMistake::Reserved)),
        ];
        for (path, expected) in cases {
            assert_eq!(normalize(path), expected.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn folders_cover_what_is_below_and_nothing_beside() {
        assert!(covers("src/", "src/a.ts") && covers("src/a.ts", "src/a.ts"));
        assert!(!covers("src", "src/a.ts") && !covers("src/", "srcs/a.ts"));
        assert!(overlap("src/", "src/a/") && !overlap("src/a.ts", "src/b.ts"));
    }

    #[test]
    fn every_file_of_a_patch_is_seen() {
        let patch = "*** Begin Patch\n*** Update File: a.ts\n*** Move to: b.ts\n*** Add File: c.ts\n+x\n*** End Patch";
        let paths = paths_written("apply_patch", &json!({ "patchText": patch }));
        assert_eq!(paths, Some(vec!["a.ts".into(), "b.ts".into(), "c.ts".into()]));
        assert_eq!(paths_written("edit", &json!({})), Some(vec![]));
        assert_eq!(paths_written("read", &json!({"filePath": "a"})), None);
    }
}
