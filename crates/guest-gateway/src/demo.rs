//! A scenario of the whole product: a remote client of a real gateway. Each step is checked by its effect.

mod crm;
mod report;
mod scenario;
mod servers;
mod shop;

pub(crate) use self::scenario::run;
pub(crate) use self::servers::Servers;
pub(crate) use self::shop::Shop;
