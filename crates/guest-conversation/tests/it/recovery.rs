//! The driver reads the history over HTTP beside the socket.

use std::time::Duration;

use genesys_api::rfc3339;
use guest_conversation::{ConnectionEvent, DeliveryStatus, Event, GuestMachine as _, WebMessaging};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::connection::{Site, configured};
use crate::virtual_peer::{session_response, web_messaging};

/// Answers one request with `body`, and returns its head.
async fn answer(listener: &TcpListener, status: &str, body: String) -> String {
    let mut stream = listener.accept().await.unwrap().0;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let length = body.len();
    let response =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn history_decides_deliveries_after_a_lost_connection() {
    let site = Site::new().await;
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", api.local_addr().unwrap());
    let contract = WebMessaging {
        api: Some(host.parse().unwrap()),
        ..web_messaging()
    };
    let mut connection = site.open(contract);
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let id = connection.send("did it arrive?").unwrap();
    guest.receive().await;
    drop(guest);
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Reconnecting { .. }))
    ));
    site.clock.advance(Duration::from_secs(1));
    let mut guest = site.accept().await;
    guest.receive().await;
    guest.transmit(&session_response(false)).await;
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Restored(_)))
    ));
    assert_eq!(
        connection.with(|guest, _| guest.engine().delivery(id)),
        Some(DeliveryStatus::Sending)
    );
    site.clock.advance(Duration::from_secs(3));
    let at = rfc3339(site.clock.now().utc);
    for attempt in ["expired", "good"] {
        assert_eq!(guest.receive().await["action"], "getJwt");
        let exp = site.clock.now().utc.unix_timestamp() + 60;
        guest
            .transmit(&json!({"type": "response", "class": "JwtResponse", "code": 200,
                "body": {"jwt": attempt, "exp": exp}}))
            .await;
        let entities = json!([
            {"id": "a1", "type": "Text", "text": "yes", "direction": "Outbound", "channel": {"time": at}},
            {"id": "g1", "type": "Text", "text": "did it arrive?", "direction": "Inbound",
                "channel": {"time": at, "messageId": "m1"}},
        ]);
        let (status, body) = match attempt {
            "expired" => ("401 Unauthorized", json!({})),
            _ => (
                "200 OK",
                json!({"entities": entities, "pageNumber": 1, "pageCount": 1}),
            ),
        };
        let head = answer(&api, status, body.to_string()).await.to_lowercase();
        assert!(
            head.starts_with("get /api/v2/webmessaging/messages?pagesize=50&pagenumber=1 "),
            "{head}"
        );
        assert!(
            head.contains(&format!("authorization: bearer {attempt}\r\n")),
            "{head}"
        );
        assert!(head.contains("origin: https://shop.example\r\n"), "{head}");
    }
    assert!(
        matches!(connection.next_event().await, Some(Event::Delivery { id: known, status: DeliveryStatus::Delivered { .. } }) if known == id)
    );
    assert!(matches!(connection.next_event().await, Some(Event::Message(message)) if message.text == "yes"));
    assert!(matches!(
        connection.with(|guest, _| guest.engine().delivery(id)),
        Some(DeliveryStatus::Delivered { .. })
    ));
}
