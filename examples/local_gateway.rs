//! A `guest-gateway` in this process, in front of a simulated Genesys Cloud, for development.

use std::error::Error;

use guest_gateway::{Gateway, config::Config};
use guest_suite::api::Clock;

/// Starts the gateway with the consent policy of `CONSENT_POLICY`, or `purpose-scoped`.
pub(crate) async fn start(origin: &str) -> Result<Gateway, Box<dyn Error>> {
    let policy = std::env::var("CONSENT_POLICY").unwrap_or_else(|_| "purpose-scoped".to_owned());
    let folder = std::env::temp_dir().join(format!("local-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let config = Config::parse(&format!(
        r#"
        listen.address = "127.0.0.1:0"
        store = {{ path = {:?}, keys = {:?} }}
        genesys = {{ simulator = true, origin = "{origin}" }}
        sessions = {{ allowed_origins = ["{origin}"], policy = "{policy}" }}
        channel = [{{ id = "web" }}]
        [[client]]
        id = "backend"
        secret = "change-me"
        scopes = ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite"]
        "#,
        path("store.db"),
        path("store.keys")
    ))?;
    Ok(Gateway::start(config, Clock::system()).await?)
}
