//! hyper on rustls with nothing around it: the baseline of every figure.

use std::convert::Infallible;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use genesys_api::Host;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::process::{Outcome, answer};

/// The files that a bare server finds in its folder.
pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const KEY: &str = "key.pem";
pub(crate) const SESSION: &str = "session.json";

/// Answers each request with the same body. Prints its address on stdout and, on request, the number of accepted
/// connections.
pub(crate) fn serve(runtime: &Runtime, folder: &Path) -> Outcome<()> {
    let identity = |name: &str| fs::read(folder.join(name));
    let certificate = CertificateDer::from_pem_slice(&identity(CERTIFICATE)?)?;
    let key = PrivateKeyDer::from_pem_slice(&identity(KEY)?)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let tls = TlsAcceptor::from(Arc::new(config));
    let session = Bytes::from(fs::read(folder.join(SESSION))?);
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    runtime.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection(tcp, tls.clone(), session.clone()));
        }
    });
    answer(|_| Ok(accepted.load(Ordering::Relaxed).to_string()))
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, session: Bytes) -> Outcome<()> {
    tcp.set_nodelay(true)?;
    let stream = tls.accept(tcp).await?;
    let service = service_fn(|request| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(reply(request, session).await) }
    });
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn reply(request: Request<Incoming>, session: Bytes) -> Response<Full<Bytes>> {
    let is_login = request.uri().path() == "/oauth/token";
    let read = request.into_body().collect().await.is_ok();
    let (status, body) = match (read, is_login) {
        (true, true) => (StatusCode::OK, Bytes::from_static(TOKEN)),
        (true, false) => (StatusCode::CREATED, session),
        (false, _) => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const TOKEN: &[u8] = br#"{"access_token":"bench","token_type":"bearer","expires_in":3600,"scope":"webmessaging:guest webmessaging:guest:write webhooks:readwrite"}"#;

/// One connection of a bare client.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// Opens a connection that trusts `ca`.
pub(crate) async fn connect(host: &Host, ca: &str) -> Outcome<Sender> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = SocketAddr::new(host.name().parse()?, host.port());
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::new(config));
    let stream = tls.connect(ServerName::from(address.ip()), tcp).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Posts `body` and reads the whole answer.
pub(crate) async fn post(
    sender: &mut Sender,
    path: &'static str,
    bearer: &HeaderValue,
    body: Bytes,
) -> Outcome<Response<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
    headers.insert(AUTHORIZATION, bearer.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}
