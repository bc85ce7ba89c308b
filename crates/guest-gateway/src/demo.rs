//! The whole road, walked as a remote client of a real gateway. A step is ticked only for its effect.

mod crm;
mod proof;
mod report;
mod road;
mod servers;

pub use self::report::{Report, Told, Unverified};
pub use self::road::walk;
pub use self::servers::Servers;
