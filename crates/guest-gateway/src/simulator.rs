//! The simulator of Genesys Cloud, for programs that are built with it and without.

#[cfg(feature = "sim")]
pub(crate) use genesys_sim::Simulator;

/// The reason for which a program without the feature `sim` refuses to start a simulator.
pub(crate) const NOT_BUILT_IN: &str = "this program is built without the simulator: build it with the feature `sim`, or \
                                       give the address of a simulator that runs";

/// A simulator that a program without the feature `sim` cannot have.
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

    pub(crate) fn http_url(&self) -> String {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as the one with the feature")]
    pub(crate) async fn stop(self) {
        match self {}
    }
}
