//! What journeys share beyond one test. The journeys themselves live in `tests/`.

pub mod simulation;
