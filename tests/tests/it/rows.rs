//! Session rows that are loaded from the store, counted in its trace.

use std::io;
use std::sync::{Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::api::{Api, guest};
use crate::page::Page;
use crate::secrets::logs::Logs;
use crate::world::{CLIENT, World};

static TRACE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Trace;

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
        trace.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records the trace of every store of this process.
pub(crate) fn layer<S: Subscriber + for<'s> LookupSpan<'s>>() -> impl Layer<S> {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| Trace);
    layer.with_filter(Targets::new().with_target("guest_store", LevelFilter::TRACE))
}

fn rows_loaded(session: &str) -> usize {
    let trace = TRACE.lock().unwrap();
    let trace = std::str::from_utf8(&trace).unwrap();
    let loaded = |line: &&str| line.contains("a session is read") && line.contains(session);
    trace.lines().filter(loaded).count()
}

#[tokio::test]
async fn socket_opening_loads_session_row_once() {
    Logs::installed();
    let world = World::start().await;
    let session = Api::of(&world, CLIENT).await.create(&guest()).await;
    let id = session["id"].as_str().unwrap();
    let page = Page::of(&session).await;
    assert_eq!(rows_loaded(id), 1, "the first socket");
    let second = Page::of(&session).await;
    assert_eq!(rows_loaded(id), 2, "another socket of the session");
    second.leave().await;
    page.leave().await;
}
