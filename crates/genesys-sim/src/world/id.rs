//! Ids of sockets and sessions.

/// Id of one socket of a world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(pub(super) u64);

/// Id of one session. A token whose session has ended gets a new one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SessionKey(pub(crate) u64);
