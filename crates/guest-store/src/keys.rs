//! The keys of a store.

use audit::Signer;
use genesys_api::entropy;

use crate::SealKey;

/// The keys of a store. Keep them apart from its file and its backups.
#[derive(Debug)]
pub struct Keys {
    /// Seals secrets, documents and bodies.
    pub seal: SealKey,
    /// Signs the log. Its name is the name of the log.
    pub signer: Signer,
}

impl Keys {
    /// Random keys, for a store in memory. A later process cannot open what they seal.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            seal: SealKey::new(&entropy::bytes()),
            signer: Signer::from_seed("guest-store/memory", &entropy::bytes())
                .expect("the name and the length of the seed are valid"),
        }
    }
}
