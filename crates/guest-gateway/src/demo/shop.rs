//! The demo shop: a gateway of its own over plain HTTP, because a browser does not trust the CA of the demo. Its clock is
//! that of the system, because the scenario moves the other one.

use std::path::Path;

use genesys_api::{Clock, entropy};
use tempfile::TempDir;

use super::report::Checked;
use crate::Gateway;
use crate::config::Config;

#[derive(Debug)]
pub(crate) struct Shop {
    gateway: Gateway,
    _folder: TempDir,
}

impl Shop {
    pub(crate) async fn start() -> Checked<Self> {
        let folder = tempfile::Builder::new().prefix("guest-suite-shop-").tempdir()?;
        let config = Config::parse(&configuration(folder.path()))?;
        let gateway = Gateway::start(config, Clock::system()).await?;
        Ok(Self {
            gateway,
            _folder: folder,
        })
    }

    /// Returns the address of the page.
    pub(crate) fn url(&self) -> String {
        self.gateway.demo_page_url().unwrap_or_default()
    }

    /// Stops the gateway and removes its files.
    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
    }
}

fn configuration(folder: &Path) -> String {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    format!(
        r#"[listen]
address = "127.0.0.1:0"
[store]
path = {store}
keys = {keys}
[genesys]
simulator = true
[sessions]
allowed_origins = []
policy = "purpose-scoped"
[spa]
client = "shop"
demo_page = true
[[client]]
id = "shop"
secret = "{secret}"
scopes = ["webmessaging:guest:write"]
[[channel]]
id = "shop"
"#,
        store = path("gateway.db"),
        keys = path("gateway.keys"),
        // nobody needs it: the page is the only client
        secret = entropy::uuid(),
    )
}
