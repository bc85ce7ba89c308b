//! The driver: sends attempts with the workspace's HTTP client.

use std::time::Duration;

use bytes::Bytes;
use genesys_http::{Client, ClientBuilder, ErrorKind};

use crate::{Attempt, Failure, Outcome, Schedule, Target};

/// Deadline of an attempt. Standard Webhooks recommends 15 to 30 s.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a response body that are read. The rest is dropped with the connection.
const RESPONSE_START: usize = 4 * 1024;

/// Sends one attempt at a time. [`EndpointHealth`](crate::EndpointHealth) decides what follows, and a store persists it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    client: Client,
    schedule: Schedule,
}

impl Dispatcher {
    /// A dispatcher with its own client: 15 s per attempt, at most 4 KiB of a response, no redirects.
    ///
    /// Give the builder [`Egress::PublicOnly`](genesys_http::Egress::PublicOnly). Otherwise a subscriber can make this
    /// process send requests into its private network.
    #[must_use]
    pub fn new(client: ClientBuilder) -> Self {
        Self {
            client: client.deadline(TIMEOUT).body_limit(RESPONSE_START).build(),
            schedule: Schedule::default(),
        }
    }

    /// Sets the schedule of [`schedule`](Self::schedule).
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// Takes the settings of the client of another dispatcher: see [`Client::replace_settings`]. All clones change.
    pub fn replace_settings(&self, other: &Self) {
        self.client.replace_settings(&other.client);
    }

    /// The schedule of its deliveries, for [`EndpointHealth::handle_outcome`](crate::EndpointHealth::handle_outcome).
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether all addresses of the target's host are blocked, so that nothing would be delivered. A host that cannot be
    /// resolved now is not blocked: that passes.
    pub async fn blocks(&self, target: &Target) -> bool {
        self.client.blocks(target.uri()).await
    }

    /// Signs the message for the current time and sends it. If a reused connection closes before a byte of the response
    /// arrives, it is sent once more: such a connection was most likely closed as idle.
    ///
    /// A complete header section decides the outcome. A body that is long, slow, cut or malformed does not change it.
    pub async fn deliver(&self, attempt: &Attempt<'_>) -> Outcome {
        self.deliver_and_read(attempt).await.0
    }

    /// As [`deliver`](Self::deliver). Returns also the first 4 KiB of the response, as far as they arrive within a second.
    pub async fn deliver_and_read(&self, attempt: &Attempt<'_>) -> (Outcome, Bytes) {
        let clock = self.client.clock();
        match self.client.send_for_head(attempt.request(clock.now().utc)).await {
            Ok(response) => {
                let outcome = Outcome::answered(response.status(), response.headers(), clock.now().utc);
                (outcome, response.into_body())
            }
            Err(error) => {
                let failure = match error.kind() {
                    ErrorKind::Blocked => Failure::Blocked,
                    ErrorKind::Connect => Failure::Connect,
                    ErrorKind::Protocol => Failure::Protocol,
                    ErrorKind::Timeout => Failure::Timeout,
                    ErrorKind::Tls => Failure::Tls,
                    _ => Failure::Closed,
                };
                (Outcome::Failed(failure), Bytes::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use genesys_api::Clock;
    use genesys_http::server::{Limits, Server};
    use genesys_http::{Egress, Tls};
    use http::header::{LOCATION, RETRY_AFTER};
    use http::{HeaderMap, Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{CustomHeaders, EndpointHealth, MessageId, NextStep, Secret, Verifier};

    const BODY: &[u8] = br#"{"type":"webmessaging.guestsession.created"}"#;

    struct Received {
        path: String,
        headers: HeaderMap,
        body: Bytes,
    }

    /// A receiver that reports requests, and responds by path.
    async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<Received>) {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(loopback, None, Limits::default()).await.unwrap();
        let address = server.local_addr();
        let (sender, received) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let (head, body) = request.into_parts();
                let path = head.uri.path().to_owned();
                let body = body.collect().await.unwrap().to_bytes();
                sender
                    .send(Received {
                        path: path.clone(),
                        headers: head.headers,
                        body,
                    })
                    .unwrap();
                Ok::<_, Infallible>(respond(&path).await)
            }
        });
        tokio::spawn(server.serve(service, std::future::pending()));
        (address, received)
    }

    async fn respond(path: &str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = match path {
            "/silent" => std::future::pending().await,
            "/moved" => StatusCode::PERMANENT_REDIRECT,
            "/gone" => StatusCode::GONE,
            "/busy" => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::NO_CONTENT,
        };
        match path {
            "/moved" => drop(response.headers_mut().insert(LOCATION, "/ok".parse().unwrap())),
            "/busy" => drop(response.headers_mut().insert(RETRY_AFTER, 120.into())),
            _ => {}
        }
        response
    }

    struct Sender {
        dispatcher: Dispatcher,
        clock: Clock,
        secret: Secret,
        headers: CustomHeaders,
    }

    impl Sender {
        fn new(egress: Egress) -> Self {
            let clock = Clock::system();
            let client = Client::builder(Tls::system().unwrap());
            Self {
                dispatcher: Dispatcher::new(client.egress(egress).clock(clock.clone())),
                clock,
                secret: Secret::generate([5; 32]),
                headers: CustomHeaders::parse([("X-Source", "GenesysWebMessaging")]).unwrap(),
            }
        }

        fn to_loopback() -> Self {
            Self::new(Egress::PublicOnly {
                allow: vec!["127.0.0.0/8".parse().unwrap()],
            })
        }

        async fn deliver(&self, receiver: SocketAddr, path: &str) -> Outcome {
            let attempt = Attempt {
                id: &MessageId::generate([6; 16]),
                target: &format!("http://{receiver}{path}").parse().unwrap(),
                headers: &self.headers,
                secret: &self.secret,
                old_secrets: &[],
                body: Bytes::from_static(BODY),
            };
            self.dispatcher.deliver(&attempt).await
        }
    }

    fn next_step(outcome: &Outcome, sender: &Sender) -> NextStep {
        EndpointHealth::default().handle_outcome(
            sender.dispatcher.schedule(),
            1,
            outcome,
            sender.clock.now().utc,
            0,
        )
    }

    #[tokio::test]
    async fn delivery_verifies_at_receiver() {
        let (address, mut received) = receiver().await;
        let sender = Sender::to_loopback();
        // a late attempt is signed for its own time
        sender.clock.advance(Duration::from_secs(3 * 86_400));
        let outcome = sender.deliver(address, "/ok").await;
        assert_eq!(next_step(&outcome, &sender), NextStep::Delivered);

        let delivery = received.recv().await.unwrap();
        let verifier = Verifier::new([sender.secret.clone()]);
        let verified = verifier
            .verify(&delivery.headers, &delivery.body, sender.clock.now().utc)
            .unwrap();
        assert_eq!(verified.id, MessageId::generate([6; 16]).as_str());
        assert_eq!(delivery.body, BODY);
        assert_eq!(delivery.headers["x-source"], "GenesysWebMessaging");
        assert_eq!(delivery.headers["content-type"], "application/json");
        assert_eq!(delivery.headers.get_all("content-type").iter().count(), 1);
    }

    #[tokio::test]
    async fn redirect_is_not_followed() {
        let (address, mut received) = receiver().await;
        let sender = Sender::to_loopback();
        let outcome = sender.deliver(address, "/moved").await;
        assert!(matches!(next_step(&outcome, &sender), NextStep::RetryAt { .. }));
        assert_eq!(received.recv().await.unwrap().path, "/moved");
        assert!(
            received.try_recv().is_err(),
            "no request arrived at the redirect target"
        );
    }

    #[tokio::test]
    async fn outcome_reflects_status_and_retry_after() {
        let (address, _received) = receiver().await;
        let sender = Sender::to_loopback();
        let gone = sender.deliver(address, "/gone").await;
        assert!(matches!(next_step(&gone, &sender), NextStep::DisableEndpoint(_)));
        let busy = sender.deliver(address, "/busy").await;
        assert_eq!(
            busy,
            Outcome::Answered {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(Duration::from_secs(120))
            }
        );
    }

    #[tokio::test]
    async fn attempt_times_out_after_15_seconds() {
        let (address, mut received) = receiver().await;
        let sender = Sender::to_loopback();
        let attempt = sender.deliver(address, "/silent");
        let advance = async {
            received.recv().await.unwrap();
            sender.clock.advance(TIMEOUT);
        };
        let (outcome, ()) = tokio::join!(attempt, advance);
        assert_eq!(outcome, Outcome::Failed(Failure::Timeout));
    }

    #[tokio::test]
    async fn private_address_is_blocked() {
        let (address, mut received) = receiver().await;
        let sender = Sender::new(Egress::PublicOnly { allow: Vec::new() });
        assert_eq!(
            sender.deliver(address, "/ok").await,
            Outcome::Failed(Failure::Blocked)
        );
        assert!(received.try_recv().is_err());
    }

    #[tokio::test]
    async fn target_is_blocked_if_no_address_of_it_is_allowed() {
        let (closed, open) = (
            Sender::new(Egress::PublicOnly { allow: Vec::new() }),
            Sender::to_loopback(),
        );
        for (target, expected) in [
            ("http://127.0.0.1:9/crm", true),
            ("https://[::1]/crm", true),
            ("https://10.1.2.3/crm", true),
            ("https://169.254.169.254/crm", true),
            ("https://localhost/crm", true),
            ("https://93.184.215.14/crm", false),
            // a name that does not resolve now (RFC 6761)
            ("https://crm.invalid/crm", false),
        ] {
            let blocked = closed.dispatcher.blocks(&target.parse().unwrap()).await;
            assert_eq!(blocked, expected, "{target}");
        }
        let allowed = "http://127.0.0.1:9/crm".parse().unwrap();
        assert!(!open.dispatcher.blocks(&allowed).await);
    }

    #[tokio::test]
    async fn closed_port_is_connect_failure() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let sender = Sender::to_loopback();
        assert_eq!(
            sender.deliver(address, "/ok").await,
            Outcome::Failed(Failure::Connect)
        );
    }
}
