//! The command line, for people and for scripts.

mod audit;
mod chat;
mod configuration;
mod consent;
mod doctor;
mod help;
mod interrupt;
mod load;
mod output;
mod pages;
mod policy;
mod receive;
mod running;
mod sim;
mod store;
mod webhook;

use std::path::{Path, PathBuf};

use genesys_http::{Client, Tls};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::api::Api;
use crate::process::{Process, command};

/// The API client of the example configuration.
pub(crate) const EXAMPLE_CLIENT: (&str, &str) = (
    "your_service_account_client_id",
    "your_service_account_client_secret",
);
/// The channel of the example configuration.
pub(crate) const EXAMPLE_CHANNEL: &str = "your_web_messaging_channel_config_id";

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The configuration that ships, but with any free port, and with its files in a folder of its own.
pub(crate) struct Example {
    pub(crate) folder: TempDir,
    pub(crate) text: String,
}

impl Example {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(root().join("gateway.example.toml")).unwrap();
        let mut example = Self { folder, text };
        example.change("\"127.0.0.1:8080\"", "\"127.0.0.1:0\"");
        example.change("\"127.0.0.1:9090\"", "\"127.0.0.2:0\"");
        for name in ["guest-gateway.db", "guest-gateway.keys"] {
            let path = example.path(name).display().to_string();
            example.change(&format!("{name:?}"), &format!("{path:?}"));
        }
        example
    }

    /// Replaces a text that occurs once.
    pub(crate) fn change(&mut self, old: &str, new: &str) {
        assert_eq!(self.text.matches(old).count(), 1, "{old}");
        self.text = self.text.replace(old, new);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file, and gives its path as an argument.
    pub(crate) fn write(&self) -> String {
        let path = self.path("gateway.toml");
        std::fs::write(&path, &self.text).unwrap();
        path.display().to_string()
    }

    /// Serves it, and waits until it is ready.
    pub(crate) async fn serve(&self) -> Serving {
        Self::serve_by(command(["serve", "--json", "--config", &self.write()])).await
    }

    /// Serves it by this command, and waits until it is ready.
    pub(crate) async fn serve_by(command: Command) -> Serving {
        let mut process = Process::start(command);
        let ready = process.json().await;
        assert_eq!(ready["event"], "ready");
        Serving {
            url: ready["http"].as_str().unwrap().to_owned(),
            ready,
            process,
        }
    }
}

/// A gateway that serves.
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) ready: Value,
}

impl Serving {
    /// The API client of the example.
    pub(crate) async fn api(&self, tls: Tls) -> Api {
        let http = Client::builder(tls).build();
        Api::at(http, self.url.clone(), EXAMPLE_CLIENT).await
    }

    /// A guest's session, which it creates.
    async fn session(&self) -> Value {
        let api = self.api(Tls::system().unwrap()).await;
        let mut guest = crate::api::guest();
        guest["channelConfigurationId"] = EXAMPLE_CHANNEL.into();
        api.create(&guest).await
    }
}
