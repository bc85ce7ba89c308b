//! The command line as a process: start, output, interrupt.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use genesys_api::Clock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::page::soon;

/// Longest real time of a command. The demo takes longest.
const DEADLINE: Duration = Duration::from_secs(180);

/// The program, as built from the sources as they are.
///
/// Cargo neither builds a binary for tests of other packages nor names its path, so it is built here unless
/// it is newer than all of its sources.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(2).unwrap();
        let path = folder.join(format!("guest-gateway{}", std::env::consts::EXE_SUFFIX));
        if !is_fresh(&path) {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = std::process::Command::new(cargo);
            build.args(["build", "--quiet", "--package", "guest-gateway", "--target-dir"]);
            build.arg(folder.parent().unwrap());
            let profile = folder.file_name().unwrap();
            if profile != "debug" {
                build.arg("--profile").arg(profile);
            }
            assert!(build.status().unwrap().success(), "guest-gateway cannot be built");
        }
        path
    })
}

/// Whether the binary is newer than the sources that cargo lists beside it.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let built = changed(program);
    let Ok(list) = std::fs::read_to_string(program.with_extension("d")) else {
        return false;
    };
    let Some((_, sources)) = list.split_once(": ") else {
        return false;
    };
    let mut sources = sources.split_whitespace().map(Path::new);
    built.is_some() && sources.all(|source| changed(source).is_some_and(|changed| Some(changed) <= built))
}

/// A command of the program that runs.
pub(crate) struct Process {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: JoinHandle<String>,
}

/// Result of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Output on stdout that was not read before.
    pub(crate) out: String,
    pub(crate) err: String,
    /// From the interrupt, or from the wait, to the end.
    pub(crate) took: Duration,
}

/// A command of the program, without variables of this process's environment that change its output.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) async fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    Process::start(command(arguments)).ended().await
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let err = tokio::spawn(async move {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).await.unwrap();
            String::from_utf8(text).unwrap()
        });
        Self { child, out, err }
    }

    /// The next line of stdout.
    pub(crate) async fn line(&mut self) -> String {
        let line = soon(self.out.next_line()).await.unwrap();
        line.expect("the command ended before its next line")
    }

    /// The next line of stdout, which is JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Presses Ctrl-C, and waits for the end.
    pub(crate) async fn interrupt(self) -> Ended {
        self.signal("INT");
        soon(self.ended()).await
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Closes the pipe of stdout, and waits for the end.
    pub(crate) async fn without_reader(mut self) -> (Option<i32>, String) {
        drop(self.out);
        let status = soon(self.child.wait()).await.unwrap();
        (status.code(), self.err.await.unwrap())
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let clock = Clock::system();
        let started = clock.now().instant;
        let mut out = String::new();
        let end = async {
            while let Some(line) = self.out.next_line().await.unwrap() {
                out.push_str(&line);
                out.push('\n');
            }
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(DEADLINE, end)
            .await
            .expect("the command did not end within three minutes");
        let took = clock.now().instant - started;
        Ended {
            code: status.code(),
            out,
            err: self.err.await.unwrap(),
            took,
        }
    }
}

impl Ended {
    /// The last line of stderr, which has the error of a failed command.
    pub(crate) fn error_line(&self) -> &str {
        self.err.trim_end().lines().last().unwrap_or_default()
    }
}
