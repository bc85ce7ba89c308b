//! Publication of the audit log's checkpoints outside the store: in a file, and at a URL.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Call, Host, ReplyError, error_chain, json};
use genesys_http::Client;
use guest_store::Store;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use crate::config::{Store as StoreFiles, duration, hours, parsed_option, show};

/// `[audit]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// The file to which each checkpoint is appended, with an empty line after it.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// The URL that receives each checkpoint by POST.
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) checkpoint_url: Option<CheckpointUrl>,
    /// Time between two checkpoints.
    #[serde(deserialize_with = "duration", serialize_with = "show::span")]
    pub(crate) checkpoint_interval: Duration,
    /// Whether the last checkpoint could not be written. Clones share it.
    #[serde(skip)]
    failing: Arc<Failing>,
}

#[derive(Debug, Default)]
struct Failing {
    file: AtomicBool,
    url: AtomicBool,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            checkpoint_file: None,
            checkpoint_url: None,
            checkpoint_interval: hours::<1>() / 60,
            failing: Arc::default(),
        }
    }
}

impl Audit {
    /// Checks that the file can be appended to, and that it is not one of the gateway's own. A file that does not exist is
    /// created and removed.
    ///
    /// # Errors
    /// The reason, and what to do.
    pub(crate) fn check_file(&self, store: &StoreFiles) -> Result<(), String> {
        let Some(path) = &self.checkpoint_file else {
            return Ok(());
        };
        let invalid =
            |reason: &str| format!("invalid [audit] `checkpoint_file` {}: {reason}", path.display());
        let beside = |suffix: &str| {
            let mut name = store.path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let own = ["", "-wal", "-shm", "-journal", ".lock"].map(beside);
        if own.iter().chain([&store.keys]).any(|own| is_same(own, path)) {
            return Err(invalid("the store or its key file uses it, give another file"));
        }
        let is_new = match path.metadata() {
            Ok(found) if !found.is_file() => return Err(invalid("not a regular file, give the path of one")),
            found => found.is_err(),
        };
        open_for_append(path).map_err(|error| {
            invalid(&format!(
                "cannot append to it: {error}; create its folder, and permit this user to write there"
            ))
        })?;
        if is_new {
            // fails only if another process removed it
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

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
                    if appended != size && self.append(&checkpoint.note).await {
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

    /// Returns the warnings about checkpoints that could not be written, for `/health`.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let targets = [
            (
                &self.failing.file,
                "cannot write checkpoints to `checkpoint_file`: see the gateway's log",
            ),
            (
                &self.failing.url,
                "cannot send checkpoints to `checkpoint_url`: see the gateway's log",
            ),
        ];
        let failing = targets
            .into_iter()
            .filter(|(is_failing, _)| is_failing.load(Ordering::Relaxed));
        failing.map(|(_, warning)| warning).collect()
    }

    /// Sends a note to the URL, with the retries of the client. Returns whether it is there.
    async fn send(&self, note: String, http: &Client) -> bool {
        let Some(url) = &self.checkpoint_url else {
            return true;
        };
        let sent = http.call(&PublishedNote { url, note }, &url.host, None).await;
        self.failing.url.store(sent.is_err(), Ordering::Relaxed);
        if let Err(error) = &sent {
            tracing::error!(
                "cannot publish a checkpoint, trying again later: {}",
                error_chain(error)
            );
        }
        sent.is_ok()
    }

    /// Appends a note to the file, and syncs it. Returns whether it is there. A part of a note is cut off again.
    pub(crate) async fn append(&self, note: &str) -> bool {
        let Some(path) = self.checkpoint_file.clone() else {
            return true;
        };
        let (name, text) = (path.display().to_string(), format!("{note}\n"));
        let append = move || -> io::Result<()> {
            let mut file = open_for_append(&path)?;
            let end = file.metadata()?.len();
            if let Err(error) = file.write_all(text.as_bytes()) {
                file.set_len(end)?;
                return Err(error);
            }
            file.sync_all()
        };
        let appended = tokio::task::spawn_blocking(append).await;
        let appended = appended.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        self.failing.file.store(appended.is_err(), Ordering::Relaxed);
        if let Err(error) = &appended {
            tracing::error!(
                "cannot append a checkpoint to {name}, trying again later: {error}; check the disk, the folder and the \
                 permissions"
            );
        }
        appended.is_ok()
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// Whether two paths lead to one file, also one that does not exist yet.
fn is_same(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    let [one, other] = [one, other].map(|path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok();
        folder.zip(path.file_name().map(ToOwned::to_owned))
    });
    one.is_some() && one == other
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
        // a password or a token in the query is not repeated
        let shown = match text.contains('@') {
            true => String::new(),
            false => format!(" {:?}", text.split(['?', '#']).next().unwrap_or_default()),
        };
        let invalid = |why: String| format!("invalid checkpoint_url{shown}: {why}");
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        let host = url[..Position::BeforePath].parse();
        Ok(Self {
            host: host.map_err(|error: genesys_api::HostError| invalid(error.to_string()))?,
            path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        })
    }
}

/// The URL without the values of its query, which may be secret.
impl fmt::Display for CheckpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let query = if query.is_empty() { "" } else { "?[redacted]" };
        write!(f, "{}{path}{query}", self.host)
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
