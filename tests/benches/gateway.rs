//! The gateway under measurement: the release binary in a process of its own, with TLS on both sides.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use genesys_api::{Clock, DeploymentId, Host};
use genesys_auth::Credentials;
use genesys_http::{Client, Tls};
use genesys_sim::Pki;
use guest_payload::{Age, Attributes, Choice, Consent, Evidence, Signals};
use guest_suite::{GuestSessions, NewGuest, RemoteConfig};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Outcome, Process};

/// The API client.
pub(crate) const CLIENT: (&str, &str) = ("bench-client", "bench-secret-that-is-thrown-away");
/// The channel.
pub(crate) const CHANNEL: &str = "bench-channel";
/// The allowed page.
pub(crate) const ORIGIN: &str = "https://shop.example";

pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) host: Host,
    _folder: TempDir,
}

impl Gateway {
    /// Starts `guest-gateway serve` in front of `genesys`.
    pub(crate) fn start(pki: &Pki, genesys: &Host, deployment: &DeploymentId) -> Outcome<Self> {
        Self::start_binary(&binary()?, pki, genesys, deployment)
    }

    /// Starts the gateway of another revision, if the variable `GUEST_GATEWAY_BEFORE` has the path of its binary.
    pub(crate) fn start_earlier(
        pki: &Pki,
        genesys: &Host,
        deployment: &DeploymentId,
    ) -> Outcome<Option<Self>> {
        match std::env::var_os("GUEST_GATEWAY_BEFORE") {
            Some(binary) => Self::start_binary(Path::new(&binary), pki, genesys, deployment).map(Some),
            None => Ok(None),
        }
    }

    fn start_binary(binary: &Path, pki: &Pki, genesys: &Host, deployment: &DeploymentId) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.pem"), &pki.ca_pem)?;
        fs::write(folder.path().join("cert.pem"), &pki.cert_pem)?;
        fs::write(folder.path().join("key.pem"), pki.key_pem.expose_secret())?;
        fs::write(
            folder.path().join("gateway.toml"),
            configuration(genesys, deployment),
        )?;
        let log = folder.path().join("gateway.log");
        let mut command = Command::new(binary);
        command
            .current_dir(folder.path())
            .args(["serve", "--json", "--config", "gateway.toml"])
            .stderr(File::create(&log)?);
        let mut process = Process::start(&mut command)?;
        let ready = process
            .line()
            .map_err(|error| format!("{error}: {}", fs::read_to_string(&log).unwrap_or_default()))?;
        let ready: Value = serde_json::from_str(&ready)?;
        let host = ready["http"].as_str().ok_or("the gateway printed no address")?;
        Ok(Self {
            process,
            host: host.parse()?,
            _folder: folder,
        })
    }
}

/// The suite as a remote client of the `guest-sessions` server at `host`.
pub(crate) fn suite(host: &Host, pki: &Pki) -> Outcome<GuestSessions> {
    let (id, secret) = CLIENT;
    Ok(GuestSessions::remote(RemoteConfig {
        http: Client::builder(Tls::only_ca(pki.ca_pem.as_bytes())?).build(),
        host: host.clone(),
        credentials: Credentials::new(id.parse()?, secret.into())?,
    }))
}

/// A guest who agrees to everything.
pub(crate) fn guest() -> Outcome<NewGuest> {
    let mut attributes = Attributes::default();
    attributes.insert("source", "web")?;
    Ok(NewGuest {
        channel: CHANNEL.parse()?,
        guest: None,
        jurisdictions: "EU".parse()?,
        age: Age::UNKNOWN,
        consent: Consent::together([Choice::Granted; 3], Evidence::at(Clock::system().now().utc)),
        signals: Signals::default(),
        attributes,
    })
}

/// The release binary, built if it is not up to date.
fn binary() -> Outcome<PathBuf> {
    // a bench runs from target/release/deps
    let bench = std::env::current_exe()?;
    let release = bench.ancestors().nth(2).ok_or("no target folder")?;
    let target = release.parent().ok_or("no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    // with cargo's variables of a bench, ring and its dependents would be built again
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    let built = build
        .args(["build", "--quiet", "--release", "--package", "guest-gateway"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err("guest-gateway does not build".into());
    }
    Ok(release.join("guest-gateway"))
}

fn configuration(genesys: &Host, deployment: &DeploymentId) -> String {
    let (id, secret) = CLIENT;
    format!(
        r#"[listen]
address = "127.0.0.1:0"
certificate = "cert.pem"
key = "key.pem"
requests_per_minute = 1_000_000

[store]
path = "gateway.db"
keys = "gateway.keys"

[genesys]
host = "{genesys}"
extra_ca = "ca.pem"
# the simulator has no limit, and guests would wait for the default one
connections_per_minute = 1_000_000

[sessions]
allowed_origins = ["{ORIGIN}"]

[[client]]
id = "{id}"
secret = "{secret}"
scopes = ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite"]

[[channel]]
id = "{CHANNEL}"
deployment = "{deployment}"
"#
    )
}
