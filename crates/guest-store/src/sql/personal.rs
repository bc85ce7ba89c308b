//! The personal data of a session, sealed under its subject key.

use secrecy::ExposeSecret as _;

use super::error::SqlError;
use super::values::{Value, encode};
use crate::seal::Aead;
use crate::{Session, StoreError, StoreErrorKind};

/// The part of a row that identifies or describes the guest.
#[derive(Default)]
pub(crate) struct Personal {
    pub(crate) id: String,
    pub(crate) guest: String,
    pub(crate) genesys_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) document: Vec<u8>,
}

/// Associated data of the sealed data: the plain columns of the row.
pub(crate) fn aad<'a>(columns: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    encode(AAD, columns)
}

pub(crate) const AAD: &str = "sessions/personal";

/// Four texts, each after its length as a little-endian `u32`, then the document. The last text is `+` and the refresh
/// token, or empty without one.
pub(crate) fn seal(session: &Session, aad: &[u8]) -> Result<Vec<u8>, SqlError> {
    let refresh = session.secrets.refresh_token.as_ref();
    let refresh = refresh.map_or(String::new(), |token| format!("+{}", token.expose_secret()));
    let texts = [
        session.id.as_str(),
        session.guest.as_str(),
        session.secrets.genesys_token.expose_secret(),
        &refresh,
    ];
    let size = texts.iter().map(|text| 4 + text.len()).sum::<usize>() + session.document.len();
    let mut plain = Vec::with_capacity(size);
    for text in texts {
        let length = u32::try_from(text.len());
        let length = length.map_err(|error| StoreError::new(StoreErrorKind::Invalid, error))?;
        plain.extend_from_slice(&length.to_le_bytes());
        plain.extend_from_slice(text.as_bytes());
    }
    plain.extend_from_slice(&session.document);
    Ok(Aead::of_subject(&session.secrets.subject_key).seal(aad, &plain))
}

/// Opens the sealed data. A wrong key, other columns, or bytes that [`seal`] did not make, give `None`.
pub(crate) fn open(subject_key: &[u8; 32], aad: &[u8], sealed: Vec<u8>) -> Option<Personal> {
    let plain = Aead::of_subject(subject_key).open(aad, sealed)?;
    let mut rest = plain.as_slice();
    let mut text = || {
        let (length, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rest = after;
        String::from_utf8(text.to_vec()).ok()
    };
    Some(Personal {
        id: text()?,
        guest: text()?,
        genesys_token: text()?,
        refresh_token: text()?.strip_prefix('+').map(str::to_owned),
        document: rest.to_vec(),
    })
}
