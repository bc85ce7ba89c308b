//! An upload by the one HTTP client, to a storage on a loopback socket.

use bytes::Bytes;
use genesys_http::{CallErrorKind, Client, Tls};
use guest_conversation::attachments::{AttachmentEvent, File, Stage};
use guest_conversation::{Event, OutgoingMessage, SessionEvent};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use web_messaging::rest::Upload;

use crate::connection::{Site, configured};
use crate::files::{granted, session_with_files, uploaded};
use crate::virtual_peer::{agent_message, web_messaging};

/// Uploads three bytes to a storage that answers `status`. Returns the request and the result.
async fn upload(status: &str) -> (String, Result<(), genesys_http::CallError>) {
    let storage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a%20b/c?sig=5ec2e7", storage.local_addr().unwrap());
    let upload = Upload::new(
        &SecretString::from(url),
        [("x-amz-tagging", "organizationId=1&originPlatform=PureCloud")],
        "image/png",
        Bytes::from_static(b"png"),
    )
    .unwrap();
    let client = Client::builder(Tls::system().unwrap()).build();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 20\r\n\r\n<Signature>5ec2e7</>");
    let serve = async {
        let (mut stream, _) = storage.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\npng") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    tokio::join!(serve, client.call(&upload, upload.host(), None))
}

#[tokio::test]
async fn upload_sends_the_granted_headers() {
    let (seen, outcome) = upload("200 OK").await;
    outcome.unwrap();
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("PUT /a%20b/c?sig=5ec2e7 HTTP/1.1"));
    let headers: Vec<_> = lines.collect();
    for header in [
        "x-amz-tagging: organizationId=1&originPlatform=PureCloud",
        "content-type: image/png",
        "content-length: 3",
    ] {
        assert!(headers.contains(&header), "{header} in {seen}");
    }
    assert!(!seen.to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn upload_refusal_names_the_status_and_no_secret() {
    let (_, outcome) = upload("403 Forbidden").await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Refused);
    assert_eq!(error.problem().unwrap().status, 403);
    assert!(!format!("{error} {error:?}").contains("5ec2e7"));
}

#[tokio::test]
async fn connection_uploads_beside_its_socket_and_drops_deleted_files() {
    let site = Site::new().await;
    let storage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = site.open(web_messaging());
    let mut guest = site.accept().await;
    guest.receive().await;
    guest.transmit(&session_with_files(true)).await;
    configured(&mut connection).await;
    let handle = connection.handle();
    let file = || File::new("cat.png", Bytes::from_static(b"png"));
    let url = format!("http://{}/k", storage.local_addr().unwrap());
    for ending in ["deleted", "stored"] {
        let id = handle.attach(file()).unwrap();
        let asked = guest.receive().await;
        assert_eq!(
            (&asked["action"], &asked["attachmentId"]),
            (&"onAttachment".into(), &id.as_str().into())
        );
        guest.transmit(&granted(&asked["attachmentId"], &url)).await;
        let (mut stream, _) = storage.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\npng") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
        // the socket goes on meanwhile
        guest.transmit(&agent_message(ending, "go on")).await;
        assert!(matches!(connection.next_event().await, Some(Event::Message(_))));
        assert_eq!(
            handle.with(|guest, _| guest.attachment(&id)),
            Some(Stage::Uploading)
        );
        if ending == "deleted" {
            handle.with(|guest, _| guest.delete_attachment(&id)).unwrap();
            let Some(Event::Session(SessionEvent::Attachment(notice))) = connection.next_event().await else {
                panic!("no event");
            };
            assert!(matches!(*notice, AttachmentEvent::Deleted(_)));
            assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0, "it hung up");
            continue;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        guest.transmit(&uploaded(&asked["attachmentId"])).await;
        let Some(Event::Session(SessionEvent::Attachment(notice))) = connection.next_event().await else {
            panic!("no event");
        };
        assert!(matches!(*notice, AttachmentEvent::Uploaded(..)));
        let message = OutgoingMessage::Text {
            text: "look".into(),
            attachments: vec![id.to_string().into()],
        };
        handle.send_message(&message).unwrap();
        let message = guest.receive().await;
        assert_eq!(message["message"]["content"][0]["attachment"]["id"], id.as_str());
    }
}
