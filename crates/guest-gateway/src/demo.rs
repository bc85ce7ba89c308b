//! A scenario of the whole product: a remote client of a real gateway. Each step is checked by its effect.

mod checks;
mod crm;
mod report;
mod scenario;
mod servers;

pub use self::report::{CheckFailed, OutputFormat, Report};
pub use self::scenario::run;
pub use self::servers::Servers;
