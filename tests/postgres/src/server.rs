//! The processes of a running server.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::account::Account;
use crate::folder::Folder;

/// Starts the server. When its own standard input ends, which is when the test process ends, it stops the server and
/// removes the folder. After a line on standard input it only reaps the server: the next one would take a zombie for a
/// running server.
///
/// Both signals: the shell starts the server with SIGQUIT ignored, until the server has its own handlers.
const GUARD: &str = r#"
folder=$1
shift
"$@" 2>&1 &
exec >&-
if read -r _; then
  wait
  exit
fi
kill -TERM $!
kill -QUIT $!
wait
cd /
rm -rf "$folder"
"#;

/// Longest real time until the server is ready, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const READY: &str = "database system is ready to accept connections";
/// Lines of the log that the report of a failed start has.
const LOG_LINES: usize = 40;

#[derive(Debug)]
pub(crate) struct Server {
    guard: Child,
    postmaster: Pid,
    /// Ends with the last process of the server.
    log: JoinHandle<VecDeque<String>>,
}

impl Server {
    /// Starts a server, and returns when it accepts connections.
    pub(crate) fn start(
        account: &Account,
        postgres: &Path,
        folder: &Folder,
        address: Option<IpAddr>,
    ) -> Self {
        let address = address.map_or(String::new(), |address| address.to_string());
        let mut guard = account
            .command(Path::new("/bin/sh"), folder.path())
            .args(["-c", GUARD, "guard"])
            .arg(folder.path())
            .arg(postgres)
            .arg("-D")
            .arg(folder.data())
            .args(["-p", "5432", "-c"])
            .arg(format!("listen_addresses={address}"))
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            // a killed server leaves nothing in /dev/shm
            .args(["-c", "dynamic_shared_memory_type=mmap"])
            // a signal for the group of the tests does not reach it
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("every system has a shell");
        let output = guard.stdout.take().expect("the output is piped");
        let (ready, is_ready) = sync_channel(1);
        let log = thread::spawn(move || read_log(output, &ready));
        if is_ready.recv_timeout(DEADLINE).is_err() {
            drop(guard.stdin.take());
            let lines = log.join().expect("reading the log does not panic");
            panic!(
                "{} did not become ready: {:#?}",
                postgres.display(),
                Vec::from(lines)
            );
        }
        let postmaster = fs::read_to_string(folder.data().join("postmaster.pid"))
            .ok()
            .and_then(|lines| lines.lines().next()?.parse().ok())
            .map(Pid::from_raw)
            .expect("a running server has written its process id");
        Self {
            guard,
            postmaster,
            log,
        }
    }

    /// Kills all processes of the server.
    pub(crate) fn kill(self) {
        let children = children(self.postmaster);
        for process in std::iter::once(self.postmaster).chain(children) {
            // a process may have ended
            let _ = kill(process, Signal::SIGKILL);
        }
        self.wait();
    }

    /// Disconnects all clients and shuts down with a checkpoint.
    pub(crate) fn stop_fast(self) {
        kill(self.postmaster, Signal::SIGINT).expect("the server runs");
        self.wait();
    }

    /// Waits until the last process of the server has ended, and dismisses the guard.
    fn wait(mut self) {
        self.log.join().expect("reading the log does not panic");
        let mut stdin = self.guard.stdin.take().expect("the input is piped");
        stdin.write_all(b"stopped\n").expect("the guard reads");
        self.guard.wait().expect("the guard is a child");
    }
}

/// Reads the log to its end, and returns its last lines.
fn read_log(output: ChildStdout, ready: &SyncSender<()>) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.ends_with(READY) {
            // nobody listens when it gets ready again after the end of one of its processes
            let _ = ready.try_send(());
        }
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    lines
}

/// The children of a process, as far as the operating system lists them. Those of a killed server end by themselves too,
/// as soon as they wait for something.
fn children(process: Pid) -> Vec<Pid> {
    fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(Pid::from_raw)
        .collect()
}
