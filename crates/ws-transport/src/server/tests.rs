//! The server's end of a socket, with a client of tungstenite.

use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::*;

/// The lengths of the writes to a socket.
#[derive(Default)]
struct Writes(Vec<usize>);

impl AsyncWrite for Writes {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.push(bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn frames_that_are_sent_together_leave_in_one_write() {
    let stream = tokio::io::join(tokio::io::empty(), Writes::default());
    let mut socket = accept(stream, Limits::default()).await;
    socket.send_all(["a delivery", "the reply"]).await.unwrap();
    socket.send("alone").await.unwrap();
    let writes = &socket.stream.get_ref().stream.writer().0;
    // a header has two bytes
    assert_eq!(writes[..], [2 + 10 + 2 + 9, 2 + 5]);
}

/// A server's socket, and tungstenite's client.
async fn pair() -> (ServerSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let client = WebSocketStream::from_raw_socket(far, Role::Client, None);
    tokio::join!(accept(near, Limits::default()), client)
}

#[tokio::test]
async fn socket_error_names_the_violated_rule() {
    let long = Message::text("x".repeat(64 * 1024 + 1));
    for (text, message, code) in [
        (
            "invalid frame: binary; send text frames only",
            Message::binary(vec![1, 2, 3]),
            1003,
        ),
        ("invalid message: too large; send smaller ones", long, 1009),
    ] {
        let (mut socket, mut client) = pair().await;
        let client = tokio::spawn(async move {
            let _ = client.send(message).await;
            client.next().await
        });
        let error = loop {
            match socket.next().await {
                Ok(Incoming::Alive) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.to_string().as_str(), error.close_code()),
            (text, Some(code))
        );
        socket.close(code, &error.to_string()).await;
        let Some(Ok(Message::Close(Some(frame)))) = client.await.unwrap() else {
            panic!()
        };
        assert_eq!(u16::from(frame.code), code);
    }
}

#[tokio::test]
async fn socket_answers_pings_and_accepts_pongs() {
    let (mut socket, mut client) = pair().await;
    socket.ping().await.unwrap();
    let client = tokio::spawn(async move {
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        client.send(Message::Ping("are you there".into())).await.unwrap();
        loop {
            if let Some(Ok(Message::Pong(pong))) = client.next().await {
                assert_eq!(&pong[..], b"are you there");
                return client;
            }
        }
    });
    assert!(matches!(socket.next().await, Ok(Incoming::Alive)));
    assert!(matches!(socket.next().await, Ok(Incoming::Alive)));
    let reading = tokio::spawn(async move {
        let last = socket.next().await;
        (last.is_err() || matches!(last, Ok(Incoming::Closed(_))), socket)
    });
    drop(client.await.unwrap());
    assert!(reading.await.unwrap().0);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn socket_gives_a_slow_client_the_write_timeout_for_each_frame() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut socket = accept(near, Limits::default()).await;
    let reading = tokio::spawn(async move {
        // a header has four bytes
        let mut frame = [0; 1004];
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            far.read_exact(&mut frame).await.unwrap();
        }
        far
    });
    socket.send_all(vec!["x".repeat(1000); 10]).await.unwrap();
    let _far = reading.await.unwrap();
    let started = Instant::now();
    let stuck = socket.send_all(vec!["x".repeat(1000); 10]).await.unwrap_err();
    assert!(matches!(stuck, SocketError::Slow), "{stuck:?}");
    // the first timeout fills the buffer of 64 bytes
    assert_eq!(started.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn socket_reports_a_client_that_does_not_read() {
    let (near, _far) = tokio::io::duplex(1024);
    let mut socket = accept(near, Limits::default()).await;
    let error = socket.send("x".repeat(64 * 1024)).await.unwrap_err();
    assert!(matches!(error, SocketError::Slow), "{error:?}");
    let mut flood = std::iter::repeat_with(|| "x".repeat(64 * 1024)).take(100);
    let error = socket.send_all(&mut flood).await.unwrap_err();
    assert!(matches!(error, SocketError::Slow), "{error:?}");
    assert!(!format!("{error:?}").contains("xxx"));
}
