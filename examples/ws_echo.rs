//! `ws-transport` against an echo service. The first connection is cut, and the socket reconnects.
//!
//! `ECHO_URL` names another service. Without it one starts on loopback.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::env;
use std::error::Error;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use ws_transport::OriginPolicy;
use ws_transport::client::{Event, Settings, WebSocket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = match env::var("ECHO_URL") {
        Ok(url) => url,
        Err(_) => start_echo().await?,
    };
    let policy = OriginPolicy::new(["https://shop.example"])?;
    let origin = policy.admit(["https://shop.example"])?;
    let mut socket = WebSocket::open(Settings::new(url.parse()?, origin)?);
    let mut remaining = 3;
    while let Some(event) = socket.next_event().await {
        match event {
            Event::Open => socket.send(format!("message {remaining}"))?,
            Event::Text(text) => {
                println!("received: {text}");
                remaining -= 1;
                if remaining == 0 {
                    break;
                }
                socket.send(format!("message {remaining}"))?;
            }
            event => println!("{event:?}"),
        }
    }
    socket.close().await;
    Ok(())
}

/// Starts a service that cuts its first connection and echoes on the next one.
async fn start_echo() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/echo", listener.local_addr()?);
    tokio::spawn(async move {
        drop(listener.accept().await?.0);
        let mut socket = tokio_tungstenite::accept_async(listener.accept().await?.0).await?;
        while let Some(message) = socket.next().await {
            socket.send(message?).await?;
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    Ok(url)
}
