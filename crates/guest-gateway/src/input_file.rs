//! Files of an operator: the configuration, policies, secrets, keys and certificates.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use guest_payload::PolicyFile;

/// Largest file in bytes. Our choice: all are small, and a policy has this limit.
const MAX_BYTES: usize = PolicyFile::MAX_BYTES;

/// Opens a file.
///
/// # Errors
/// If it is not a regular file: a pipe or a device may never end. Those of the system.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // before it is opened: a pipe without a writer blocks
    if !path.metadata()?.is_file() {
        return Err(invalid("it is not a regular file, name one".to_owned()));
    }
    File::open(path)
}

/// Reads a file of at most 1 MiB. Nothing beyond it is read.
///
/// # Errors
/// As [`open`], and if it is larger.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_opened(open(path)?)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`], and if it is not UTF-8: the line.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    text(read(path)?)
}

/// As [`read_text`], of an opened file.
pub(crate) fn read_opened_text(file: File) -> io::Result<String> {
    text(read_opened(file)?)
}

fn read_opened(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > MAX_BYTES {
        true => Err(invalid(format!(
            "at most {MAX_BYTES} bytes are allowed, shorten it or name another file"
        ))),
        false => Ok(bytes),
    }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        invalid(format!("line {line} is not UTF-8, save the file as UTF-8"))
    })
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink("/dev/zero", path("zero")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        File::create(path("sparse")).unwrap().set_len(1 << 36).unwrap();
        std::fs::write(path("latin"), b"id = \"x\"\n\nabout = \"caf\xe9\"\n").unwrap();
        for (name, expected) in [
            ("zero", "it is not a regular file, name one"),
            ("folder", "it is not a regular file, name one"),
            (
                "sparse",
                "at most 1048576 bytes are allowed, shorten it or name another file",
            ),
            ("latin", "line 3 is not UTF-8, save the file as UTF-8"),
            ("missing", "No such file"),
        ] {
            let error = read_text(&path(name)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        std::fs::write(path("target"), "\n".repeat(MAX_BYTES)).unwrap();
        symlink(path("target"), path("link")).unwrap();
        assert_eq!(read(&path("link")).unwrap().len(), MAX_BYTES);
    }
}
