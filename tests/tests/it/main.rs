//! Journeys across gateway and simulator, on real sockets.

#[cfg(test)]
mod api;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod page;
#[cfg(test)]
mod world;
