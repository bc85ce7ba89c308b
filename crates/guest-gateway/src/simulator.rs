//! The simulator of Genesys Cloud, or its replacement in a program without the feature `sim`.

#[cfg(feature = "sim")]
pub(crate) use genesys_sim::Simulator;

/// The error of a program without the feature `sim`.
pub(crate) const NOT_BUILT_IN: &str = "this program is built without the simulator: build it with the feature `sim`, or \
                                       give the address of a simulator that runs";

/// A type without values, because there is no simulator.
#[cfg(not(feature = "sim"))]
#[derive(Debug)]
pub(crate) enum Simulator {}

#[cfg(not(feature = "sim"))]
impl Simulator {
    pub(crate) fn host(&self) -> &genesys_api::Host {
        match *self {}
    }

    pub(crate) fn deployment_id(&self) -> &genesys_api::DeploymentId {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "the signature of the simulator")]
    pub(crate) async fn stop(self) {
        match self {}
    }
}
