//! Receivers in programs that receive webhooks in production: web servers of languages, and proxies.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use genesys_http::Tls;
use guest_suite::webhook::Failure;

use super::sender::Expected::{self, Delivered, Failed, Paused, Retried};
use super::sender::Sender;
use left_out::{Missing, leave_out};

/// A program that gets a SIGTERM when it is dropped: nginx has a process that would outlive a SIGKILL.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Program {
    /// Starts a program that reads its source from stdin.
    fn interpreter(program: &str) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().map(Self)
    }

    /// Runs a source that prints its port.
    fn interpret(&mut self, source: &str) -> SocketAddr {
        let mut input = self.0.stdin.take().unwrap();
        input.write_all(source.as_bytes()).unwrap();
        drop(input);
        let mut port = String::new();
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        output.read_line(&mut port).unwrap();
        format!("127.0.0.1:{}", port.trim()).parse().unwrap()
    }

    /// Starts a program that serves the socket at its stdin, which listens already: no port can be taken by another process.
    fn serve(command: &mut Command, listener: TcpListener) -> io::Result<Self> {
        let listener = OwnedFd::from(listener);
        command.stdin(listener).stdout(Stdio::null()).spawn().map(Self)
    }
}

/// The source of a web server, which prints its port and answers 200 to each POST.
const PYTHON: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

const NODE: &str = r#"
const server = require("node:http").createServer((request, response) => {
    request.resume().on("end", () => response.end("ok"));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"#;

async fn expect(program: &str, address: SocketAddr, expected: Expected) {
    let sender = Sender::new(Tls::system().unwrap());
    for _ in 0..3 {
        assert_eq!(sender.deliver("http", address).await, expected, "{program}");
    }
}

#[tokio::test]
async fn receiver_of_common_web_server_accepts_deliveries() {
    for (program, source, install) in [
        ("python3", PYTHON, "apt-get install python3"),
        ("node", NODE, "apt-get install nodejs"),
    ] {
        match Program::interpreter(program) {
            Ok(mut running) => expect(program, running.interpret(source), Delivered(200)).await,
            Err(_) => leave_out(
                "receiver_of_common_web_server_accepts_deliveries",
                Missing { program, install },
            ),
        }
    }
}

const NGINX: Missing = Missing {
    program: "/usr/sbin/nginx",
    install: "apt-get install nginx-light",
};

#[tokio::test]
async fn receiver_behind_nginx_has_its_outcome() {
    for (directive, expected) in [
        ("return 200 ok;", Delivered(200)),
        ("return 444;", Failed(Failure::Closed)),
        ("return 301 https://crm.example/;", Retried(301)),
        // nothing listens at port 1
        ("proxy_pass http://127.0.0.1:1;", Paused(502, 30)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             server {{ listen {address}; location / {{ {directive} }} }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(NGINX.program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .args(["-e", "errors"]);
        // the number of the socket at stdin
        let Ok(_running) = Program::serve(command.env("NGINX", "0;"), listener) else {
            return leave_out("receiver_behind_nginx_has_its_outcome", NGINX);
        };
        expect(directive, address, expected).await;
    }
}

const HAPROXY: Missing = Missing {
    program: "/usr/sbin/haproxy",
    install: "apt-get install haproxy",
};

#[tokio::test]
async fn receiver_behind_haproxy_has_its_outcome() {
    for (directive, expected) in [
        (
            "http-request return status 200 content-type text/plain string ok",
            Delivered(200),
        ),
        ("http-request reject", Failed(Failure::Closed)),
        ("http-request deny deny_status 410", Expected::Disabled),
        ("server down 127.0.0.1:1", Retried(503)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "defaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n retries 0\n\
             listen receiver\n bind fd@0\n {directive}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(HAPROXY.program);
        let Ok(_running) = Program::serve(command.args(["-db", "-f"]).arg(file), listener) else {
            return leave_out("receiver_behind_haproxy_has_its_outcome", HAPROXY);
        };
        expect(directive, address, expected).await;
    }
}
