//! The golden frames of the contract, read and written by the types of this crate.

#[cfg(test)]
mod golden;
