//! The crate from outside: its socket client on a virtual clock, and on loopback sockets against the server's end.

#[cfg(test)]
mod boundary_values;
#[cfg(test)]
#[cfg(feature = "client")]
mod conversation;
#[cfg(test)]
#[cfg(feature = "client")]
mod delivery;
#[cfg(test)]
#[cfg(feature = "client")]
mod moved_session;
#[cfg(test)]
#[cfg(feature = "client")]
mod peer;
#[cfg(test)]
mod schemas;
#[cfg(test)]
#[cfg(feature = "client")]
mod server;
