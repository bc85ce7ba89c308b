//! Everything that is logged during a test, at every level.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::rows;

/// Captured logs. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    text: Arc<Mutex<Vec<u8>>>,
    on: Arc<AtomicBool>,
}

impl Logs {
    /// Starts to capture the logs of all threads, since the store has its own threads. Tests that run
    /// at the same time are captured too, which is harmless.
    pub(super) fn listen() -> Self {
        let logs = Self::installed();
        logs.on.store(true, Ordering::Relaxed);
        // both logging crates are captured
        tracing::trace!("the test captures");
        log::trace!("the test captures others");
        assert!(logs.contains("the test captures\n") && logs.contains("the test captures others"));
        logs.clone()
    }

    /// Installs the subscriber of this process: these logs, switched off, and the rows that stores load.
    pub(crate) fn installed() -> &'static Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        LOGS.get_or_init(|| {
            let logs = Self::default();
            let on = Arc::clone(&logs.on);
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_span_events(FmtSpan::FULL)
                .with_writer({
                    let logs = logs.clone();
                    move || logs.clone()
                })
                .with_filter(dynamic_filter_fn(move |_, _| on.load(Ordering::Relaxed)))
                .with_filter(LevelFilter::TRACE);
            tracing::subscriber::set_global_default(
                tracing_subscriber::registry().with(layer).with(rows::layer()),
            )
            .expect("no other test captures the logs of the whole process");
            log::set_boxed_logger(Box::new(logs.clone())).expect("as above");
            log::set_max_level(log::LevelFilter::Trace);
            logs
        })
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.text()).contains(text)
    }

    /// Stops capturing, and returns the logs.
    pub(super) fn take(&self) -> Vec<u8> {
        self.on.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.text())
    }

    fn text(&self) -> MutexGuard<'_, Vec<u8>> {
        self.text.lock().unwrap()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// rustls and tungstenite log through the crate `log`, which the gateway's program does not print.
///
/// At the level trace tungstenite logs every frame with token and text, and only that logger can prevent
/// this. A program that uses the suite with a logger of `log` must disable that level, as this one does.
impl log::Log for Logs {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let frames = metadata.target().starts_with("tungstenite") && metadata.level() == log::Level::Trace;
        self.on.load(Ordering::Relaxed) && !frames
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}: {}\n", record.level(), record.target(), record.args());
            self.text().extend_from_slice(line.as_bytes());
        }
    }

    fn flush(&self) {}
}
