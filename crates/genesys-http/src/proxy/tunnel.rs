//! The tunnel through a proxy (RFC 9110 section 9.3.6).

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Hop;
use crate::client::PRODUCT;
use crate::endpoint::Endpoint;
use crate::{Error, ErrorKind};

/// Longest head of a proxy's response, in bytes: the minimum of hyper.
const HEAD_LIMIT: usize = 8 * 1024;

/// Requests a tunnel to `endpoint` from the proxy at the other end of `tcp`.
pub(crate) async fn open_tunnel(tcp: TcpStream, hop: &Hop, endpoint: &Endpoint) -> Result<TcpStream, Error> {
    let proxy = &hop.endpoint;
    let not_proxy = || {
        format!(
            "the response of {proxy} on the way to {endpoint} is not that of an HTTP proxy: check the proxy's address"
        )
    };
    let failed = |error: hyper::Error| match error.is_parse() {
        true => Error::caused(ErrorKind::Proxy, not_proxy(), error),
        false => {
            let message = format!(
                "the proxy {proxy} closed the connection to {endpoint} without a response: check that it allows CONNECT"
            );
            Error::caused(ErrorKind::Connect, message, error)
        }
    };
    let authority = endpoint.to_string();
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(HOST, &authority)
        .header(USER_AGENT, PRODUCT);
    if let Some(credentials) = &hop.credentials {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::caused(ErrorKind::Proxy, not_proxy(), error))?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(tcp))
        .await
        .map_err(failed)?;
    let response = {
        let mut response = pin!(sender.send_request(request));
        tokio::select! {
            biased;
            response = &mut response => response,
            // the connection may close at the same time as the response arrives
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => match ended {
                Ok(()) => response.await,
                Err(error) => Err(error),
            },
        }
    }
    .map_err(failed)?;
    // hyper accepts no other success of CONNECT as a tunnel
    match response.status().as_u16() {
        200 => {}
        407 => {
            let message = format!(
                "the proxy {proxy} rejected the credentials for {endpoint} (407): put user name and password into the \
                 proxy's URL"
            );
            return Err(Error::new(ErrorKind::Proxy, message));
        }
        // retryable, as the same failure of the host itself
        status @ 500.. => {
            let message = format!(
                "the proxy {proxy} cannot reach {endpoint} ({status}): check the host, and the proxy's own network"
            );
            return Err(Error::new(ErrorKind::Connect, message));
        }
        status => {
            let message = format!(
                "the proxy {proxy} refused to connect to {endpoint} ({status}): allow this host and port there, or add \
                 the host to NO_PROXY"
            );
            return Err(Error::new(ErrorKind::Proxy, message));
        }
    }
    let parts = connection.into_parts();
    // in TLS and HTTP the client sends first: these bytes are the proxy's own
    if !parts.read_buf.is_empty() {
        return Err(Error::new(ErrorKind::Proxy, not_proxy()));
    }
    Ok(parts.io.into_inner())
}
