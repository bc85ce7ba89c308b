//! Policy files of an operator.

use std::path::Path;

use guest_payload::PolicyFile;

use crate::input_file;

/// Reads and parses a policy file.
///
/// # Errors
/// As [`input_file::read_text`], or if it is invalid: the path, and the line of the first error.
pub(crate) fn read(path: &Path) -> Result<PolicyFile, String> {
    let name = path.display();
    let text =
        input_file::read_text(path).map_err(|error| format!("{name}: cannot read the policy: {error}"))?;
    PolicyFile::parse(&text).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_file_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("/dev/zero", path("zero.toml")).unwrap();
        std::fs::write(path("unknown.toml"), "\nnovelty = 1\n").unwrap();
        for (name, expected) in [
            (
                "zero",
                "cannot read the policy: it is not a regular file, name one",
            ),
            ("unknown", "line 2: unknown field `novelty`"),
        ] {
            let error = read(&path(&format!("{name}.toml"))).unwrap_err();
            assert!(error.contains(&format!("{name}.toml: {expected}")), "{error}");
        }
        let shipped = include_str!("../../guest-payload/policies/purpose-scoped.toml");
        let largest = format!("{shipped}{}", "\n".repeat(PolicyFile::MAX_BYTES - shipped.len()));
        std::fs::write(path("largest.toml"), largest).unwrap();
        assert_eq!(read(&path("largest.toml")).unwrap().policy.id, "purpose-scoped");
    }
}
