//! `receive`: a receiver of webhook deliveries.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::IntoResponse as _;
use axum::routing::post;
use clap::Args;
use genesys_api::wire::sanitize;
use genesys_api::{Clock, rfc3339};
use genesys_http::server::{Limits, Server, TowerToHyperService};
use http::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use webhook::{KeyError, ReplayCache, ReplayError, Verified, Verifier, VerifyingKey};

use super::{Failure, Interrupt, note, print_line};
use crate::private_file;

const SECRET: &str = "GUEST_GATEWAY_WEBHOOK_SECRET";
/// Largest delivery, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// Ids that are remembered, each for two days.
const IDS: usize = 10_000;
const RETENTION: Duration = Duration::from_secs(2 * 86_400);

/// Receive the deliveries of a webhook, verify and print them
///
/// A valid delivery is answered with 204 and printed as one block. One that is repeated is answered with 200, a refused one
/// with 401: its line has the reason. The secret is never printed. Register http://127.0.0.1:9000/ as the target of a webhook
/// of a gateway on this machine, whose `allow_networks` has "127.0.0.0/8".
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The address to listen on, by plain HTTP; port 0 selects a free one
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    key: KeySource,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct KeySource {
    /// The secret of the webhook (whsec_…) or the public key of its sender (whpk_…). Other users of this machine can see
    /// it in the list of processes: give a secret by --secret-file, or in the environment variable
    /// GUEST_GATEWAY_WEBHOOK_SECRET
    #[arg(long, value_parser = redacted)]
    secret: Option<SecretString>,
    /// A file with the secret, which only its owner may access; a second line may have the secret before a rotation
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a parser of an argument")]
fn redacted(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

struct Receiver {
    verifier: Verifier,
    clock: Clock,
    received: Mutex<ReplayCache>,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let receiver = Receiver {
        verifier: Verifier::new(options.key.read()?),
        clock: Clock::system(),
        received: Mutex::new(ReplayCache::new(IDS, RETENTION)),
    };
    let mut interrupt = Interrupt::listen()?;
    let address = options.listen;
    let server = Server::bind(address, None, Limits::default())
        .await
        .map_err(|error| {
            Failure::usage(format!(
                "cannot listen on {address}: {error}; use another --listen"
            ))
        })?;
    print_line(&format!(
        "Receiving at http://{}/. Ctrl-C stops it.",
        server.local_addr()
    ));
    let routes = Router::new()
        .fallback_service(post(receive).with_state(Arc::new(receiver)))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    let stop = async move { interrupt.received().await };
    server.serve(TowerToHyperService::new(routes), stop).await;
    Ok(())
}

impl KeySource {
    /// One key, or those of a rotation.
    fn read(&self) -> Result<Vec<VerifyingKey>, Failure> {
        let text: SecretString = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => {
                if !secret.expose_secret().starts_with("whpk_") {
                    note("warning: other users of this machine can see --secret, use --secret-file");
                }
                secret.clone()
            }
            (None, Some(path)) => private_file::read(path)
                .map_err(|error| {
                    Failure::usage(format!("cannot read the secret {}: {error}", path.display()))
                })?
                .into(),
            (None, None) => std::env::var(SECRET)
                .map_err(|_| {
                    let sources =
                        format!("give --secret-file FILE, or set the environment variable {SECRET}");
                    Failure::usage(format!("cannot verify without a secret: {sources}"))
                })?
                .into(),
        };
        let keys: Result<Vec<VerifyingKey>, KeyError> =
            text.expose_secret().split_whitespace().map(str::parse).collect();
        match keys {
            Ok(keys) if keys.is_empty() => Err(Failure::usage(KeyError::Empty)),
            keys => keys.map_err(Failure::usage),
        }
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> StatusCode {
    let now = receiver.clock.now().utc;
    let body = match body {
        Ok(body) => body,
        Err(error) => {
            let status = error.into_response().status();
            let reason = match status {
                StatusCode::PAYLOAD_TOO_LARGE => "the body has more than 256 KiB",
                _ => "the body is incomplete",
            };
            print_line(&format!("{} refused: {reason}\n", rfc3339(now)));
            return status;
        }
    };
    let delivery = match receiver.verifier.verify(&headers, &body, now) {
        Ok(delivery) => delivery,
        Err(error) => {
            print_line(&format!(
                "{} refused, {} bytes: {error}\n",
                rfc3339(now),
                body.len()
            ));
            return StatusCode::UNAUTHORIZED;
        }
    };
    let mut received = receiver.received.lock().unwrap_or_else(PoisonError::into_inner);
    match received.begin(delivery.id, now) {
        Ok(()) => {
            print_line(&block(&delivery, &uri, &body));
            received.complete(delivery.id);
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            print_line(&format!("{} {}: {error}\n", rfc3339(now), delivery.id));
            match error {
                ReplayError::Processed => StatusCode::OK,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            }
        }
    }
}

/// A delivery as lines, with an empty one at the end.
fn block(delivery: &Verified<'_>, uri: &Uri, body: &[u8]) -> String {
    let (time, path) = (rfc3339(delivery.timestamp), uri.path());
    let mut block = format!("{time} {} at {path}, valid signature\n", delivery.id);
    match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
            for line in pretty.lines() {
                // JSON escapes some control characters only
                let _ = writeln!(block, "  {}", line.replace(char::is_control, " "));
            }
        }
        Err(_) => {
            let _ = writeln!(block, "  not JSON: {}", sanitize(&String::from_utf8_lossy(body)));
        }
    }
    block
}
