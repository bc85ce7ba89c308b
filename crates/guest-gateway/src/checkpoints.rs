//! Publication of the audit log's checkpoints outside the store: in a file, and at a URL.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, error_chain, json};
use genesys_http::Client;
use guest_store::Store;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use serde::Deserialize;
use url::{Position, Url};

use crate::config::{duration, hours, parsed_option};

/// `[audit]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// The file to which each checkpoint is appended, with an empty line after it.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// The URL that receives each checkpoint by POST.
    #[serde(deserialize_with = "parsed_option")]
    pub(crate) checkpoint_url: Option<CheckpointUrl>,
    /// Time between two checkpoints.
    #[serde(deserialize_with = "duration")]
    pub(crate) checkpoint_interval: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            checkpoint_file: None,
            checkpoint_url: None,
            checkpoint_interval: hours::<1>() / 60,
        }
    }
}

impl Audit {
    /// Signs and publishes the log until it is dropped. Failures are logged. The next checkpoint covers the entries of one
    /// that was not published.
    pub(crate) async fn publish(self, store: Arc<dyn Store>, http: Client) {
        if self.checkpoint_file.is_none() && self.checkpoint_url.is_none() {
            return;
        }
        let (mut appended, mut sent) = (None, None);
        loop {
            match store.checkpoint().await {
                Ok(checkpoint) => {
                    let size = Some(checkpoint.size);
                    if appended != size {
                        self.append(&checkpoint.note).await;
                        appended = size;
                    }
                    if sent != size && self.send(checkpoint.note, &http).await {
                        sent = size;
                    }
                }
                Err(error) => tracing::error!("cannot sign the audit log: {}", error_chain(&error)),
            }
            http.clock().sleep(self.checkpoint_interval).await;
        }
    }

    /// Sends a note to the URL, with the retries of the client. Returns whether it is there.
    async fn send(&self, note: String, http: &Client) -> bool {
        let Some(url) = &self.checkpoint_url else {
            return true;
        };
        let sent = http.call(&PublishedNote { url, note }, &url.host, None).await;
        if let Err(error) = &sent {
            tracing::error!(
                "cannot publish a checkpoint, trying again later: {}",
                error_chain(error)
            );
        }
        sent.is_ok()
    }

    /// Appends a note to the file, and syncs it.
    pub(crate) async fn append(&self, note: &str) {
        let Some(path) = self.checkpoint_file.clone() else {
            return;
        };
        let (name, text) = (path.display().to_string(), format!("{note}\n"));
        let append = move || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        let appended = tokio::task::spawn_blocking(append).await;
        if let Err(error) = appended.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::error!("cannot append a checkpoint to {name}: {error}");
        }
    }
}

/// The URL of a server that keeps checkpoints: `https`, or `http` on loopback.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointUrl {
    host: Host,
    path: String,
}

impl FromStr for CheckpointUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: String| format!("invalid checkpoint_url: {why}");
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        let host = url[..Position::BeforePath].parse();
        Ok(Self {
            host: host.map_err(|error: genesys_api::HostError| invalid(error.to_string()))?,
            path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        })
    }
}

/// The POST of a note. A server that gets the same note twice has it once.
struct PublishedNote<'a> {
    url: &'a CheckpointUrl,
    note: String,
}

impl Call for PublishedNote<'_> {
    type Reply = ();
    const IDEMPOTENT: bool = true;

    fn request(&self, host: &Host) -> Request<Bytes> {
        let mut request = json::request(Method::POST, host, &self.url.path);
        let media = HeaderValue::from_static("text/plain; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, media);
        *request.body_mut() = Bytes::from(self.note.clone());
        request
    }

    fn reply(&self, response: Response<Bytes>) -> Result<(), ReplyError> {
        json::accepted(response).map(drop)
    }
}
