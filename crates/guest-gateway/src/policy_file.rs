//! Policy files of an operator.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use guest_payload::PolicyFile;

/// Reads and parses a policy file of at most [`PolicyFile::MAX_BYTES`]. Nothing beyond them is read.
///
/// # Errors
/// If it is not a regular file, is too large, or is invalid: the path, and the line of the first error.
pub(crate) fn read(path: &Path) -> Result<PolicyFile, String> {
    let name = path.display();
    let unread = |reason: String| format!("{name}: cannot read the policy: {reason}");
    let system = |error: std::io::Error| unread(error.to_string());
    // before it is opened: a pipe without a writer blocks
    if !path.metadata().map_err(system)?.is_file() {
        return Err(unread("it is not a regular file, name one".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(system)?;
    file.take(PolicyFile::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(system)?;
    if bytes.len() > PolicyFile::MAX_BYTES {
        let max = PolicyFile::MAX_BYTES;
        return Err(unread(format!("at most {max} bytes are allowed, remove rules")));
    }
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{name}: line {line}: invalid UTF-8: save the file as UTF-8")
    })?;
    PolicyFile::parse(text).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn policy_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink("/dev/zero", path("zero.toml")).unwrap();
        std::fs::create_dir(path("folder.toml")).unwrap();
        File::create(path("sparse.toml"))
            .unwrap()
            .set_len(1 << 36)
            .unwrap();
        std::fs::write(path("latin.toml"), b"id = \"x\"\n\nabout = \"caf\xe9\"\n").unwrap();
        std::fs::write(path("unknown.toml"), "\nnovelty = 1\n").unwrap();
        for (name, expected) in [
            (
                "zero",
                "cannot read the policy: it is not a regular file, name one",
            ),
            (
                "folder",
                "cannot read the policy: it is not a regular file, name one",
            ),
            (
                "sparse",
                "cannot read the policy: at most 1048576 bytes are allowed, remove rules",
            ),
            ("latin", "line 3: invalid UTF-8: save the file as UTF-8"),
            ("unknown", "line 2: unknown field `novelty`"),
            ("missing", "cannot read the policy: No such file"),
        ] {
            let error = read(&path(&format!("{name}.toml"))).unwrap_err();
            assert!(error.contains(&format!("{name}.toml: {expected}")), "{error}");
        }

        let shipped = include_str!("../../guest-payload/policies/purpose-scoped.toml");
        let largest = format!("{shipped}{}", "\n".repeat(PolicyFile::MAX_BYTES - shipped.len()));
        std::fs::write(path("target.toml"), largest).unwrap();
        symlink(path("target.toml"), path("link.toml")).unwrap();
        assert_eq!(read(&path("link.toml")).unwrap().policy.id, "purpose-scoped");
    }
}
