//! A webhook receiver with bare hyper: verifies each delivery.
//!
//! `WEBHOOK_SECRET` is the secret that the gateway returned when the webhook was registered.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program reads the clock and prints"
)]

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use webhook::{Secret, Verifier};

type BoxError = Box<dyn Error + Send + Sync>;

const MAX_BODY: usize = 64 * 1024;

async fn receive(
    verifier: Arc<Verifier>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    let status = match verifier.verify(&head.headers, &body, OffsetDateTime::now_utc()) {
        Ok(delivery) => {
            println!("{}: {}", delivery.id, String::from_utf8_lossy(&body));
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            println!("refused: {error}");
            StatusCode::UNAUTHORIZED
        }
    };
    Ok(Response::builder().status(status).body(Empty::new())?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret: Secret = std::env::var("WEBHOOK_SECRET")?.parse()?;
    let verifier = Arc::new(Verifier::new([secret]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/webhooks", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        let verifier = Arc::clone(&verifier);
        let service = service_fn(move |request| receive(Arc::clone(&verifier), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(tcp), service));
    }
}
