//! Tests that are left out because the machine lacks a program that no registry of packages has.
//!
//! A line on standard error names the test and the command that installs the program. It is repeated at the end of a run
//! of the whole workspace, by `xtask/tests/left_out.rs`. With `CI` set, a missing program fails the test.

mod report;

pub use report::{Missing, leave_out, target};
