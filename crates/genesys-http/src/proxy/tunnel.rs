//! The tunnel through a proxy (RFC 9110 section 9.3.6).

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Hop, ProxyFailure};
use crate::client::PRODUCT;
use crate::endpoint::Endpoint;

/// Longest head of a proxy's response, in bytes: the minimum of hyper.
const HEAD_LIMIT: usize = 8 * 1024;

pub(crate) type Refusal = (ProxyFailure, Option<Box<dyn StdError + Send + Sync>>);

/// Asks the proxy at the other end of `tcp` for a tunnel to `endpoint`.
pub(crate) async fn open_tunnel(
    tcp: TcpStream,
    hop: &Hop,
    endpoint: &Endpoint,
) -> Result<TcpStream, Refusal> {
    let to_refusal = |error: hyper::Error| {
        let failure = match error.is_parse() {
            true => ProxyFailure::NotProxy,
            false => ProxyFailure::Closed,
        };
        (failure, Some(error.into()))
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
        .map_err(|error| (ProxyFailure::NotProxy, Some(error.into())))?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(tcp))
        .await
        .map_err(to_refusal)?;
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
    .map_err(to_refusal)?;
    // hyper accepts no other success of CONNECT as a tunnel
    if response.status() != StatusCode::OK {
        return Err((ProxyFailure::Refused(response.status().as_u16()), None));
    }
    let parts = connection.into_parts();
    // in TLS and HTTP the client sends first: these bytes are the proxy's own
    if !parts.read_buf.is_empty() {
        return Err((ProxyFailure::NotProxy, None));
    }
    Ok(parts.io.into_inner())
}
