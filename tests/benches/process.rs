//! A child process that is measured from outside.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A child process that writes lines. Dropping this value ends it.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output. Blocks until it arrives.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => Err("a measured process ended too early".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Sends a request, and waits for the reply.
    pub(crate) fn ask(&mut self, question: &str) -> Outcome<String> {
        writeln!(self.stdin, "{question}")?;
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers the parent's requests until the parent exits.
pub(crate) fn answer(mut reply: impl FnMut(&str) -> Outcome<String>) -> Outcome<()> {
    for question in io::stdin().lines() {
        let answer = reply(&question?)?;
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}
