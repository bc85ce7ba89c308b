//! The servers of the demo: a simulator, a gateway and a CRM, all on loopback, under one throw-away CA.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use genesys_api::Clock;
use genesys_http::server::Identity;
use genesys_http::{Client, Tls};
use genesys_sim::Simulator;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::crm::Crm;
use super::report::Checked;
use crate::Gateway;
use crate::config::Config;
use crate::private_file;

pub(super) const CLIENT: (&str, &str) = ("demo-client", "demo-secret-that-is-thrown-away");
pub(super) const CHANNEL: &str = "demo-channel";
const CA: &str = "ca.pem";
pub(super) const ORIGIN: &str = "https://shop.example";

#[derive(Debug)]
pub(crate) struct Servers {
    simulator: Simulator,
    pub(super) gateway: Gateway,
    pub(super) crm: Crm,
    /// The clock of simulator and gateway.
    pub(super) clock: Clock,
    /// A client of the gateway on the clock of the demo.
    pub(super) http: Client,
    pub(super) folder: TempDir,
}

impl Servers {
    pub(crate) async fn start() -> Checked<Self> {
        let clock = Clock::system();
        let folder = tempfile::Builder::new().prefix("guest-suite-demo-").tempdir()?;
        let pki = genesys_sim::throwaway_ca(&genesys_sim::LOOPBACK)?;
        std::fs::write(folder.path().join(CA), &pki.ca_pem)?;
        std::fs::write(folder.path().join("gateway.pem"), &pki.cert_pem)?;
        let key = pki.key_pem.expose_secret();
        private_file::create(&folder.path().join("gateway.key"))?.write_all(key.as_bytes())?;
        let tls = Tls::only_ca(pki.ca_pem.as_bytes())?;
        let identity = Identity::from_pem(pki.cert_pem.as_bytes(), pki.key_pem.expose_secret().as_bytes())?;
        let crm = Crm::start(identity, clock.clone()).await?;
        let mut simulated = genesys_sim::Config {
            clock: clock.clone(),
            tls: genesys_sim::Tls::Given(pki),
            ..genesys_sim::Config::default()
        };
        simulated.rules.allowed_domains = Some(vec!["shop.example".to_owned()]);
        let simulator = Simulator::start(simulated).await?;
        let configuration = configuration(folder.path(), &simulator);
        private_file::create(&folder.path().join("gateway.toml"))?.write_all(configuration.as_bytes())?;
        let gateway = Gateway::start(Config::parse(&configuration)?, clock.clone()).await?;
        let http = Client::builder(tls).clock(clock.clone()).build();
        Ok(Self {
            simulator,
            gateway,
            crm,
            clock,
            http,
            folder,
        })
    }

    /// Returns the addresses, the path of the CA, and commands to try.
    pub(crate) fn hints(&self) -> String {
        let (gateway, simulator) = (self.gateway.host(), self.simulator.host());
        let ca = self.folder.path().join(CA).display().to_string();
        let (id, secret) = CLIENT;
        format!(
            "\ngateway    {gateway}\nsimulator  {simulator}   (SIMULATED Genesys Cloud)\nCRM        {crm}\n\
             CA         {ca}\nconfig     {config}\n\n\
             TOKEN=$(curl -s --cacert {ca} -u {id}:{secret} -d grant_type=client_credentials {gateway}/oauth/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
             curl --cacert {ca} -H \"Authorization: Bearer $TOKEN\" {gateway}/api/v2/webmessaging/guest-sessions/metrics\n\
             curl --cacert {ca} -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \
             -d '{{\"channelConfigurationId\":\"{CHANNEL}\",\"guestAttributes\":{{\"region\":\"EU\"}},\"consent\":{{\"marketing\":true,\"personalization\":true}}}}' \
             {gateway}/api/v2/webmessaging/guest-sessions\n\
             curl --cacert {ca} -d '{{\"advance\":\"14m\"}}' {simulator}/sim/clock\n",
            crm = self.crm.url(),
            config = self.folder.path().join("gateway.toml").display(),
        )
    }

    /// Stops the servers and removes the temporary folder.
    pub(crate) async fn stop(self) {
        tokio::join!(self.gateway.stop(), self.simulator.stop());
        self.crm.task.abort();
    }

    /// Waits until the outbox is empty. An answered delivery is removed with a short delay.
    pub(super) async fn deliveries_done(&self) -> Checked<()> {
        while self.gateway.store().stats().await?.outbox_pending > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn configuration(folder: &Path, simulator: &Simulator) -> String {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let (id, secret) = CLIENT;
    format!(
        r#"[listen]
address = "127.0.0.1:0"
certificate = {certificate}
key = {key}
[store]
path = {store}
keys = {keys}
[genesys]
host = "{simulator}"
extra_ca = {ca}
[sessions]
allowed_origins = ["{ORIGIN}"]
[webhooks]
allow_networks = ["127.0.0.0/8"]
[[client]]
id = "{id}"
secret = "{secret}"
scopes = ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite"]
[[channel]]
id = "{CHANNEL}"
deployment = "{deployment}"
"#,
        certificate = path("gateway.pem"),
        key = path("gateway.key"),
        store = path("gateway.db"),
        keys = path("gateway.keys"),
        ca = path(CA),
        simulator = simulator.host(),
        deployment = simulator.deployment_id(),
    )
}
