//! A `guest-gateway` in this process, in front of a simulated Genesys Cloud, for development.

use std::env;
use std::error::Error;

use guest_gateway::{Gateway, config::Config};
use guest_suite::RemoteConfig;
use guest_suite::api::Clock;
use guest_suite::auth::Credentials;

/// Starts the gateway with the consent policy of `CONSENT_POLICY`, or `purpose-scoped`.
pub(crate) async fn start(page: &str) -> Result<(RemoteConfig, Option<Gateway>), Box<dyn Error>> {
    let policy = env::var("CONSENT_POLICY").unwrap_or_else(|_| "purpose-scoped".to_owned());
    let folder = env::temp_dir().join(format!("local-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let config = Config::parse(&format!(
        r#"
        listen.address = "127.0.0.1:0"
        store = {{ path = {:?}, keys = {:?} }}
        genesys = {{ simulator = true, origin = "{page}" }}
        sessions = {{ allowed_origins = ["{page}"], policy = "{policy}" }}
        channel = [{{ id = "web" }}]
        [[client]]
        id = "backend"
        secret = "change-me"
        scopes = ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite"]
        "#,
        path("store.db"),
        path("store.keys")
    ))?;
    let gateway = Gateway::start(config, Clock::system()).await?;
    let simulator = gateway.simulator_url().unwrap_or_default();
    println!("SIMULATED: no GATEWAY is set, so a simulator stands for Genesys Cloud: {simulator}");
    let credentials = Credentials::new("backend".parse()?, "change-me".into())?;
    let remote = RemoteConfig::new(gateway.host().clone(), credentials)?;
    Ok((remote, Some(gateway)))
}
