//! Agreement of `webhook` with the libraries of Standard Webhooks in Rust, Python and JavaScript, in both directions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

use genesys_api::Clock;
use guest_suite::webhook::{MessageId, Secret, Verifier, sign};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::tutorial::{python, succeeds};
use left_out::{Missing, leave_out, target};

const BODIES: usize = 1_000;
const SEED: u64 = 1;

/// A delivery that was signed by `webhook`.
struct Delivery {
    secret: Secret,
    headers: HeaderMap,
    body: String,
}

impl Delivery {
    /// Deliveries of random secrets and bodies, which end with a space. They are sent now, because the other libraries
    /// read the clock of the machine.
    fn random() -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(SEED);
        let now = Clock::system().now().utc;
        let delivery = |_| {
            let secret: Vec<u8> = (0..random.usize(24..=64)).map(|_| random.u8(..)).collect();
            let secret = Secret::from_bytes(&secret).unwrap();
            let id = MessageId::generate(random.u128(..).to_be_bytes());
            let longest = [10, 100, 5_000][random.usize(..3)];
            let length = random.usize(..longest);
            let mut body: String = (0..length).map(|_| random.char(..)).collect();
            body.push(' ');
            let headers = sign(&secret, &[], &id, now, body.as_bytes())
                .into_iter()
                .collect();
            Self {
                secret,
                headers,
                body,
            }
        };
        (0..BODIES).map(delivery).collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether `webhook` accepts the delivery with a signature of another library.
    fn verifies(&self, signature: &str) -> bool {
        let mut headers = self.headers.clone();
        headers.insert("webhook-signature", HeaderValue::from_str(signature).unwrap());
        let verifier = Verifier::new([self.secret.clone()]);
        let verified = verifier.verify(&headers, self.body.as_bytes(), Clock::system().now().utc);
        verified.is_ok()
    }

    /// The delivery for a program.
    fn to_json(&self) -> Value {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: BTreeMap<_, _> = names.map(|name| (name, self.header(name))).into();
        json!({ "secret": self.secret.expose(), "headers": headers, "body": self.body })
    }

    /// Checks the answer of another library: whether the delivery verifies, whether it verifies without its last character,
    /// and the library's own signature of it.
    fn check(&self, verifies: bool, cut_verifies: bool, signature: &str) {
        assert!(verifies, "{:?}", self.body);
        assert!(!cut_verifies, "{:?}", self.body);
        assert_eq!(signature, self.header("webhook-signature"));
        assert!(self.verifies(signature));
    }
}

#[test]
fn signatures_agree_with_the_rust_library() {
    for delivery in Delivery::random() {
        let (body, headers) = (&delivery.body, &delivery.headers);
        let library = Webhook::new(delivery.secret.expose()).unwrap();
        let verifies = |body: &str| library.verify(body.as_bytes(), headers).is_ok();
        let timestamp = delivery.header("webhook-timestamp").parse().unwrap();
        let signature = library.sign(delivery.header("webhook-id"), timestamp, body.as_bytes());
        delivery.check(
            verifies(body),
            verifies(&body[..body.len() - 1]),
            &signature.unwrap(),
        );
    }
}

/// Runs a program that answers each line of its input with a line.
fn check_program(program: &mut Command) {
    let deliveries = Delivery::random();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("deliveries");
    let lines = deliveries
        .iter()
        .map(|delivery| delivery.to_json().to_string() + "\n");
    fs::write(&input, lines.collect::<String>()).unwrap();
    let output = program.stdin(File::open(&input).unwrap()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), BODIES);
    for (delivery, answer) in deliveries.iter().zip(answers.lines()) {
        let (verifies, cut_verifies, signature) =
            serde_json::from_str::<(bool, bool, String)>(answer).unwrap();
        delivery.check(verifies, cut_verifies, &signature);
    }
}

const PYTHON: &str = r#"
import json, sys
from datetime import datetime, timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

def verifies(library, body, headers):
    try:
        library.verify(body, headers, json_parse=False)
        return True
    except WebhookVerificationError:
        return False

for line in sys.stdin.buffer:
    delivery = json.loads(line)
    library, body, headers = Webhook(delivery["secret"]), delivery["body"], delivery["headers"]
    time = datetime.fromtimestamp(int(headers["webhook-timestamp"]), timezone.utc)
    signature = library.sign(headers["webhook-id"], time, body)
    print(json.dumps([verifies(library, body, headers), verifies(library, body[:-1], headers), signature]))
"#;

const PYTHON_PACKAGE: &str = "standardwebhooks==1.1.0";

#[test]
fn signatures_agree_with_the_python_library() {
    const TEST: &str = "signatures_agree_with_the_python_library";
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return leave_out(TEST, missing),
    };
    let folder = target().join("standard-webhooks/python").join(PYTHON_PACKAGE);
    if !folder.exists() {
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ];
        let mut install = Command::new(python);
        install.args(pip).arg(PYTHON_PACKAGE).arg("--target").arg(&folder);
        if !succeeds(&mut install) {
            let program = "standardwebhooks of PyPI";
            let install =
                "python3 -m pip install standardwebhooks, which needs a registry of Python packages";
            return leave_out(TEST, Missing { program, install });
        }
    }
    check_program(
        Command::new(python)
            .args(["-c", PYTHON])
            .env("PYTHONPATH", folder),
    );
}

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const verifies = (library, body, headers) => {
    try {
        library.verify(body, headers, { jsonParse: false });
        return true;
    } catch {
        return false;
    }
};
for (const line of require("node:fs").readFileSync(0, "utf8").trimEnd().split("\n")) {
    const { secret, body, headers } = JSON.parse(line);
    const library = new Webhook(secret);
    const time = new Date(1000 * headers["webhook-timestamp"]);
    const signature = library.sign(headers["webhook-id"], time, body);
    console.log(JSON.stringify([
        verifies(library, body, headers), verifies(library, body.slice(0, -1), headers), signature,
    ]));
}
"#;

const NODE_PACKAGE: &str = "standardwebhooks@1.1.1";

#[test]
fn signatures_agree_with_the_javascript_library() {
    let folder = target().join("standard-webhooks/node").join(NODE_PACKAGE);
    if !folder.join("node_modules/standardwebhooks").exists() {
        fs::create_dir_all(&folder).unwrap();
        let options = [
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            NODE_PACKAGE,
            "--prefix",
        ];
        if !succeeds(Command::new("npm").args(options).arg(&folder)) {
            let program = "standardwebhooks of npm";
            let install = "npm install standardwebhooks, which needs npm and a registry of its packages";
            let missing = Missing { program, install };
            return leave_out("signatures_agree_with_the_javascript_library", missing);
        }
    }
    check_program(Command::new("node").args(["-e", NODE]).current_dir(folder));
}
