//! The keys of a gateway, for sealing secrets, signing the audit log, and signing the tokens of API clients.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use audit::Pseudonym;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_api::entropy;

/// The name of the audit log in checkpoints.
const LOG: &str = "guest-gateway/audit";

pub(crate) struct Keys {
    seal: [u8; 32],
    sign: [u8; 32],
    pub(crate) tokens: [u8; 32],
}

impl Keys {
    /// Reads the file, or creates it, readable by its owner only. A file that others can read is refused.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match read_private(path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                let message =
                    "damaged key file: restore it from its backup, the store cannot be read without it";
                io::Error::new(io::ErrorKind::InvalidData, message)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn for_store(&self) -> guest_store::Keys {
        let signer = audit::Signer::from_seed(LOG, &self.sign).expect("the log's name is a valid one");
        guest_store::Keys {
            seal: guest_store::SealKey::new(&self.seal),
            signer,
        }
    }

    /// The key of fingerprints in the audit log.
    pub(crate) fn for_fingerprints(&self) -> [u8; 32] {
        *Pseudonym::of(&self.tokens, "fingerprints").as_bytes()
    }

    fn create(path: &Path) -> io::Result<Self> {
        let keys = Self {
            seal: entropy::bytes(),
            sign: entropy::bytes(),
            tokens: entropy::bytes(),
        };
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(
            file,
            "# Keys of a guest-gateway. Keep them secret and apart from backups of the store."
        )?;
        for (name, key) in [
            ("seal", &keys.seal),
            ("sign", &keys.sign),
            ("tokens", &keys.tokens),
        ] {
            writeln!(file, "{name} {}", STANDARD.encode(key))?;
        }
        file.sync_all()?;
        Ok(keys)
    }

    fn parse(text: &str) -> Option<Self> {
        let key = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            STANDARD.decode(line.trim()).ok()?.try_into().ok()
        };
        Some(Self {
            seal: key("seal")?,
            sign: key("sign")?,
            tokens: key("tokens")?,
        })
    }
}

/// Reads a file that only its owner may read.
fn read_private(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        let name = path.display();
        let message = format!("invalid permissions of {name}: others can access it; run `chmod 600 {name}`");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn key_file_is_created_once_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let created = Keys::open(&path).unwrap();
        let read = Keys::open(&path).unwrap();
        assert_eq!(
            (created.seal, created.sign, created.tokens),
            (read.seal, read.sign, read.tokens)
        );
        assert!(created.seal != created.sign && created.sign != created.tokens);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "seal x\n").unwrap();
        assert!(Keys::open(&path).err().unwrap().to_string().contains("damaged"));
    }

    #[test]
    fn key_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(Keys::open(&path).is_ok());
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Keys::open(&path).err().unwrap().to_string();
            assert!(
                error.ends_with(&format!("run `chmod 600 {}`", path.display())),
                "{error}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(Keys::open(&path).is_ok());
    }
}
