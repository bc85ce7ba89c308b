//! Integration tests: the state machine on a virtual clock, and its driver on loopback sockets.

#[cfg(test)]
mod attributes;
#[cfg(test)]
#[cfg(feature = "client")]
mod connection;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod files;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod history;
#[cfg(test)]
mod history_pages;
#[cfg(test)]
mod history_peer;
#[cfg(test)]
mod inbound;
#[cfg(test)]
mod journey;
#[cfg(test)]
#[cfg(feature = "client")]
mod limiter;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pacing;
#[cfg(test)]
mod reconnect;
#[cfg(test)]
#[cfg(feature = "client")]
mod recovery;
#[cfg(test)]
mod request;
#[cfg(test)]
mod server_error;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod skew;
#[cfg(test)]
mod states;
#[cfg(test)]
mod timeline;
#[cfg(test)]
#[cfg(feature = "client")]
mod tls;
#[cfg(test)]
#[cfg(feature = "client")]
mod upload;
#[cfg(test)]
mod virtual_peer;
