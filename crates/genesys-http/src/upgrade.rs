//! An HTTP/1.1 upgrade: a connection that leaves HTTP after one request.

use std::pin::pin;

use bytes::Bytes;
use genesys_api::Host;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::client::HEAD_LIMIT;
use crate::endpoint::Endpoint;
use crate::{Client, Error, Stream};

impl Client {
    /// Sends `request` on a connection of its own and waits for the head of the response.
    ///
    /// No deadline applies after the connect timeout: the caller sets one.
    ///
    /// # Errors
    /// As [`Client::connect`], or if the response is not HTTP/1.1.
    pub async fn upgrade(&self, host: &Host, mut request: Request<()>) -> Result<Upgrade, Error> {
        let endpoint = Endpoint::of_host(host)?;
        // a server expects the origin form (RFC 9112 section 3.2.1)
        if let Some(path) = request.uri().path_and_query() {
            *request.uri_mut() = Uri::from(path.clone());
        }
        let stream = TokioIo::new(self.connect(host).await?);
        let failed = |error: hyper::Error| Error::of_exchange(error, &endpoint, true);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(stream)
            .await
            .map_err(failed)?;
        let mut connection = pin!(connection.with_upgrades());
        let mut exchange = pin!(async {
            let mut response = sender
                .send_request(request.map(|()| Empty::<Bytes>::new()))
                .await?;
            let upgraded = match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => Some(hyper::upgrade::on(&mut response).await?),
                _ => None,
            };
            Ok((response.map(drop), upgraded))
        });
        let mut is_open = true;
        let (response, upgraded) = loop {
            tokio::select! {
                biased;
                answered = &mut exchange => break answered.map_err(failed)?,
                // its error, if any, reaches the exchange too
                _ = &mut connection, if is_open => is_open = false,
            }
        };
        let connection = upgraded.and_then(|upgraded| {
            let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
            Some((parts.io.into_inner(), parts.read_buf))
        });
        Ok(Upgrade { response, connection })
    }
}

/// The response to an upgrade request.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair with names")]
pub struct Upgrade {
    /// Head of the response.
    pub response: Response<()>,
    /// After status 101, the connection and the bytes that were read after the head.
    pub connection: Option<(Stream, Bytes)>,
}
