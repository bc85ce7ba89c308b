//! The tunnel through a proxy: RFC 9110 section 9.3.6.

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
use crate::place::Place;

/// Upper bound of the head of a proxy's answer, in bytes: the least that hyper takes.
const HEAD_LIMIT: usize = 8 * 1024;

pub(crate) type Refusal = (ProxyFailure, Option<Box<dyn StdError + Send + Sync>>);

/// Has the proxy at the other end of `tcp` connect it to `place`.
pub(crate) async fn dig(tcp: TcpStream, hop: &Hop, place: &Place) -> Result<TcpStream, Refusal> {
    let unfit = |error: hyper::Error| {
        let failure = match error.is_parse() {
            true => ProxyFailure::NoProxy,
            false => ProxyFailure::Closed,
        };
        (failure, Some(error.into()))
    };
    let authority = place.to_string();
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
        .map_err(|error| (ProxyFailure::NoProxy, Some(error.into())))?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(tcp))
        .await
        .map_err(unfit)?;
    let response = {
        let mut answer = pin!(sender.send_request(request));
        tokio::select! {
            biased;
            response = &mut answer => response,
            // it may end in the very moment in which it has brought the answer
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error),
            },
        }
    }
    .map_err(unfit)?;
    // hyper takes no other success of CONNECT for a tunnel
    if response.status() != StatusCode::OK {
        return Err((ProxyFailure::Refused(response.status().as_u16()), None));
    }
    let parts = connection.into_parts();
    // neither TLS nor HTTP lets a server speak first: these bytes would be the proxy's own
    if !parts.read_buf.is_empty() {
        return Err((ProxyFailure::NoProxy, None));
    }
    Ok(parts.io.into_inner())
}
