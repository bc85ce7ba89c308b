//! The keys of a gateway, for sealing secrets, signing the audit log, and signing the tokens of API clients.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use audit::Pseudonym;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use genesys_api::entropy;
use guest_store::SealKey;

use crate::private_file;

/// The name of the audit log in checkpoints.
const LOG: &str = "guest-gateway/audit";

pub(crate) struct Keys {
    seal: [u8; 32],
    /// The seal key that replaces `seal` while `store rekey` runs.
    next_seal: Option<[u8; 32]>,
    sign: [u8; 32],
    pub(crate) tokens: [u8; 32],
}

impl Keys {
    /// Reads the file, or creates it, readable by its owner only. A file that others can read is refused.
    ///
    /// It is refused also after an interrupted `store rekey`, when either of two seal keys may be that of the store.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match Self::open_to_rekey(path) {
            Ok(keys) if keys.next_seal.is_some() => Err(invalid(
                "`store rekey` was interrupted: run `guest-gateway store rekey` again, which completes it",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = Self {
                    seal: entropy::bytes(),
                    next_seal: None,
                    sign: entropy::bytes(),
                    tokens: entropy::bytes(),
                };
                keys.write(path)?;
                Ok(keys)
            }
            opened => opened,
        }
    }

    /// Reads the file, also after an interrupted `store rekey`.
    pub(crate) fn open_to_rekey(path: &Path) -> io::Result<Self> {
        let keys = Self::parse(&private_file::read(path)?);
        keys.ok_or_else(|| {
            invalid("damaged key file: restore it from its backup, the store cannot be read without it")
        })
    }

    /// The new seal key of an interrupted `store rekey`.
    pub(crate) fn next_seal(&self) -> Option<SealKey> {
        self.next_seal.as_ref().map(SealKey::new)
    }

    /// Adds a new seal key to the file, unless `store rekey` was interrupted and it has one. Returns that key.
    pub(crate) fn begin_rekey(&mut self, path: &Path) -> io::Result<SealKey> {
        let next = self.next_seal.unwrap_or_else(entropy::bytes);
        self.next_seal = Some(next);
        self.replace(path)?;
        Ok(SealKey::new(&next))
    }

    /// Removes the new seal key from the file, of a store that is under the old one.
    pub(crate) fn cancel_rekey(&mut self, path: &Path) -> io::Result<()> {
        match self.next_seal.take() {
            Some(_) => self.replace(path),
            None => Ok(()),
        }
    }

    /// Removes the old seal key from the file.
    pub(crate) fn finish_rekey(&mut self, path: &Path) -> io::Result<()> {
        self.seal = self.next_seal.take().unwrap_or(self.seal);
        self.replace(path)
    }

    /// The keys of the store under the new seal key.
    pub(crate) fn for_rekeyed_store(&self) -> guest_store::Keys {
        guest_store::Keys {
            seal: SealKey::new(&self.next_seal.unwrap_or(self.seal)),
            ..self.for_store()
        }
    }

    pub(crate) fn for_store(&self) -> guest_store::Keys {
        let signer = audit::Signer::from_seed(LOG, &self.sign).expect("the log's name is a valid one");
        guest_store::Keys {
            seal: SealKey::new(&self.seal),
            signer,
        }
    }

    /// The key of fingerprints in the audit log.
    pub(crate) fn for_fingerprints(&self) -> [u8; 32] {
        *Pseudonym::of(&self.tokens, "fingerprints").as_bytes()
    }

    /// The key of the access tokens of pages.
    pub(crate) fn for_pages(&self) -> [u8; 32] {
        *Pseudonym::of(&self.tokens, "access tokens of pages").as_bytes()
    }

    /// Writes a new file.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = private_file::create(path)?;
        writeln!(
            file,
            "# Keys of a guest-gateway. Keep them secret and apart from backups of the store."
        )?;
        let mut write = |name, key| writeln!(file, "{name} {}", STANDARD.encode(key));
        write("seal", self.seal)?;
        if let Some(next) = self.next_seal {
            write("next-seal", next)?;
        }
        write("sign", self.sign)?;
        write("tokens", self.tokens)?;
        file.sync_all()?;
        sync_directory(path)
    }

    /// Replaces the file, whole or not at all.
    fn replace(&self, path: &Path) -> io::Result<()> {
        // a link stays, and its target is replaced
        let path = path.canonicalize()?;
        let partial = path.with_added_extension("partial");
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write(&partial)?;
        let (old, new) = (path.metadata()?, partial.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(&partial, Some(old.uid()), Some(old.gid()))?;
        }
        fs::rename(&partial, &path)?;
        sync_directory(&path)
    }

    fn parse(text: &str) -> Option<Self> {
        let key = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            STANDARD.decode(line.trim()).ok()?.try_into().ok()
        };
        let next_seal = match key("next-seal") {
            None if text.contains("next-seal") => return None,
            next_seal => next_seal,
        };
        Some(Self {
            seal: key("seal")?,
            next_seal,
            sign: key("sign")?,
            tokens: key("tokens")?,
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Makes the name of a file durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// The keyed fingerprint of a secret, for the audit log.
pub(crate) fn fingerprint(key: &[u8; 32], secret: &str) -> String {
    Pseudonym::of(key, secret).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

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
    fn interrupted_rekey_is_completed_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let created = Keys::open(&path).unwrap();
        let mut keys = Keys::open_to_rekey(&path).unwrap();
        keys.begin_rekey(&path).unwrap();
        let refused = Keys::open(&path).err().unwrap().to_string();
        assert!(refused.contains("guest-gateway store rekey"), "{refused}");
        let mut again = Keys::open_to_rekey(&path).unwrap();
        again.begin_rekey(&path).unwrap();
        assert_eq!((again.seal, again.next_seal), (created.seal, keys.next_seal));
        again.finish_rekey(&path).unwrap();
        let read = Keys::open(&path).unwrap();
        assert_eq!((Some(read.seal), read.next_seal), (keys.next_seal, None));
        assert_eq!((read.sign, read.tokens), (created.sign, created.tokens));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn canceled_rekey_leaves_the_old_key_and_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        Keys::open(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        // only root gives a file away
        let owner = chown(&path, Some(65_534), Some(65_534)).is_ok();
        let mut keys = Keys::open_to_rekey(&path).unwrap();
        keys.begin_rekey(&path).unwrap();
        keys.cancel_rekey(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let file = fs::metadata(&path).unwrap();
        assert_eq!(owner, (file.uid(), file.gid()) == (65_534, 65_534));
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
