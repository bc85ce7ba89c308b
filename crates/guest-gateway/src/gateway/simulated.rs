//! The simulator in place of Genesys Cloud, if the configuration asks for it.

use genesys_api::{Clock, Host};

use super::StartError;
use crate::config::Config;
#[cfg(feature = "sim")]
use crate::demo_page;
use crate::simulator::Simulator;

/// Starts the simulator of Genesys Cloud, with the bot of the demo shop if the configuration has it.
#[cfg(feature = "sim")]
pub(super) async fn start_simulator(
    config: &Config,
    public: &Host,
    clock: &Clock,
) -> Result<Simulator, StartError> {
    let mut simulated = genesys_sim::Config {
        clock: clock.clone(),
        ..genesys_sim::Config::plain()
    };
    if config.spa.as_ref().is_some_and(|spa| spa.demo_page) {
        let page = format!("{public}{}", demo_page::PATH);
        let script = genesys_sim::Script::demo_shop(page.trim_end_matches('/'));
        let script = script.map_err(StartError::to("write the script of the demo shop"))?;
        simulated.rules.agent = genesys_sim::Agent::Scripts(vec![script]);
    }
    let simulator = Simulator::start(simulated).await;
    simulator.map_err(StartError::to("start the simulator of Genesys Cloud"))
}

#[cfg(not(feature = "sim"))]
pub(super) async fn start_simulator(_: &Config, _: &Host, _: &Clock) -> Result<Simulator, StartError> {
    let start_error = StartError::to("start the simulator of Genesys Cloud");
    Err(start_error(crate::simulator::NOT_BUILT_IN))
}
