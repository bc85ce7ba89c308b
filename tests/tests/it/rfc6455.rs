//! RFC 6455 in the client, the gateway and the simulator, against a peer that writes bytes by hand.

mod cases;
mod client;
mod peer;
mod servers;

use genesys_http::{Client, Tls};

use self::cases::{CASES, Case, Then};
use self::peer::{Peer, Sent, text};
use crate::page::soon;

/// One end of a socket under test, with the peer on the other side of it.
struct Endpoint {
    peer: Peer,
    /// Messages that this end accepts.
    message: String,
    /// Longest message that it takes, in bytes.
    limit: usize,
}

/// Frames that an end sent after the bytes of a case.
#[derive(Debug, Default, Eq, PartialEq)]
struct Answer {
    texts: usize,
    pongs: Vec<Vec<u8>>,
    /// The close code, if a close frame came: 1005 for one without a code.
    closed: Option<u16>,
    /// It ended the connection.
    ended: bool,
}

impl Endpoint {
    /// Sends the bytes of a case and a probe, and receives all frames.
    async fn run(&mut self, case: &Case) -> Answer {
        const PROBE: &[u8] = b"still there?";
        let bytes = (case.bytes)(&self.peer.writer(&self.message, self.limit));
        self.peer.write(&bytes).await;
        match case.then {
            Then::StaysOpen => {
                let ping = self.peer.writer(&self.message, self.limit).frame(0x89, PROBE);
                self.peer.write(&ping).await;
            }
            Then::Ends => self.peer.shut_down().await,
            Then::Closes(_) => {}
        }
        let mut answer = Answer::default();
        loop {
            match soon(self.peer.receive()).await {
                Some(Sent::Pong(payload)) if payload == PROBE => return answer,
                Some(Sent::Pong(payload)) => answer.pongs.push(payload),
                Some(Sent::Text(_)) => answer.texts += 1,
                Some(Sent::Close(code)) => {
                    answer.closed = Some(code);
                    self.peer.shut_down().await;
                }
                None => {
                    answer.ended = true;
                    return answer;
                }
            }
        }
    }
}

impl Case {
    /// The answer that is right, its `texts` apart.
    fn expected(&self) -> Answer {
        Answer {
            texts: 0,
            pongs: self.pongs.iter().map(|payload| payload.to_vec()).collect(),
            closed: match self.then {
                Then::Closes(code) => Some(code),
                Then::StaysOpen | Then::Ends => None,
            },
            ended: !matches!(self.then, Then::StaysOpen),
        }
    }
}

#[tokio::test]
async fn gateway_socket_conforms_to_rfc_6455() {
    for case in CASES {
        let mut end = servers::gateway().await;
        let answer = end.run(case).await;
        let expected = Answer {
            texts: case.received,
            ..case.expected()
        };
        assert_eq!(answer, expected, "{} ({})", case.name, case.section);
    }
}

#[tokio::test]
async fn simulator_socket_conforms_to_rfc_6455() {
    let simulator = servers::simulator().await;
    for case in CASES {
        let mut end = servers::guest_of(&simulator).await;
        let answer = end.run(case).await;
        let expected = Answer {
            texts: case.received,
            ..case.expected()
        };
        assert_eq!(answer, expected, "{} ({})", case.name, case.section);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn client_socket_conforms_to_rfc_6455() {
    let http = Client::builder(Tls::system().unwrap()).build();
    for case in CASES {
        let (mut end, mut connection) = client::connected(&http).await;
        let answer = end.run(case).await;
        // frames that it sends by itself, such as a close, are not compared
        let answer = Answer { texts: 0, ..answer };
        assert_eq!(answer, case.expected(), "{} ({})", case.name, case.section);
        for _ in 0..case.received {
            assert_eq!(client::received(&mut connection).await, text(), "{}", case.name);
        }
    }
}

/// Neither contract has binary frames. Each end has an answer of its own: RFC 6455 section 7.4.1 leaves it to them.
#[tokio::test]
async fn binary_messages_are_not_read_as_text() {
    let mut end = servers::gateway().await;
    let answer = end.run(&cases::binary(Then::Closes(1003))).await;
    assert_eq!((answer.closed, answer.texts), (Some(1003), 0));

    let simulator = servers::simulator().await;
    let mut end = servers::guest_of(&simulator).await;
    let answer = end.run(&cases::binary(Then::StaysOpen)).await;
    assert_eq!(
        (answer.closed, answer.texts),
        (None, 1),
        "it refuses a frame that is not JSON"
    );
    simulator.stop().await;

    let http = Client::builder(Tls::system().unwrap()).build();
    let (mut end, mut connection) = client::connected(&http).await;
    let answer = end.run(&cases::binary(Then::StaysOpen)).await;
    assert!(!answer.ended);
    let bytes = end.peer.writer("", 0).frame(0x81, end.message.as_bytes());
    end.peer.write(&bytes).await;
    assert_eq!(
        client::received(&mut connection).await,
        text(),
        "and nothing before it"
    );
}
