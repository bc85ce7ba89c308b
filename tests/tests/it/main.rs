//! Journeys across gateway and simulator, on real sockets.

mod world;
