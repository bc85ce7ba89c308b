//! Bytes that the store does not interpret.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// Bytes that the store does not interpret. They are sealed at rest and absent from debug output.
#[derive(Clone, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Opaque(pub Bytes);

impl<T: Into<Bytes>> From<T> for Opaque {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Opaque {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}
