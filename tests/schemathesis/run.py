"""Starts a gateway with the simulator on loopback, prepares its resources, and runs schemathesis against its document.

Arguments: the program `guest-gateway`, then further arguments for schemathesis. `cargo xtask ci contract` runs it.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
SCOPES = ["webmessaging:guest", "webmessaging:guest:write", "webhooks:readwrite", "audit:read", "guests:manage"]
GATEWAY = """
[listen]
address = "127.0.0.1:0"
requests_per_minute = 1000000
[store]
path = "gateway.db"
keys = "gateway.keys"
[genesys]
simulator = true
[sessions]
allowed_origins = ["https://shop.example"]
policy = "purpose-scoped"
[webhooks]
allow_networks = ["127.0.0.0/8"]
[spa]
client = "app"
requests_per_minute = 1000000
sessions_per_minute = 1000000
[[client]]
id = "app"
secret = "secret-of-the-test"
scopes = %s
[[channel]]
id = "web"
"""


def call(method, url, token=None, body=None, form=None):
    """Sends a request, and returns the JSON of its answer."""
    headers, data = {}, None
    if token:
        headers["authorization"] = f"Bearer {token}"
    if body is not None:
        headers["content-type"], data = "application/json", json.dumps(body).encode()
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: {error.code} {error.read().decode()}")


def prepare(url):
    """Creates a session, a webhook and a guest. Returns the environment that names them."""
    grant = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "secret-of-the-test"}
    token = call("POST", f"{url}/oauth/token", form=grant)["access_token"]
    session = {"channelConfigurationId": "web", "guestAttributes": {"region": "DE", "source": "test"}, "consent": {}}
    session = call("POST", f"{url}/api/v2/webmessaging/guest-sessions", token, session)
    webhook = {
        "name": "test",
        # nothing listens at the port of discard
        "uri": "http://127.0.0.1:9/",
        "eventFilters": [{"predicate": {"type": "event", "values": ["webmessaging.guestsession.created"]}}],
    }
    webhook = call("POST", f"{url}/api/v2/webhooks", token, webhook)
    return {"TOKEN": token, "SESSION": session["id"], "WEBHOOK": webhook["id"]}


def main():
    program, arguments = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "gateway.toml")
        config.write_text(GATEWAY % json.dumps(SCOPES))
        command = [program, "serve", "--json", "--config", config]
        environment = {**os.environ, "RUST_LOG": "error"}
        gateway = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environment)
        try:
            url = json.loads(gateway.stdout.readline())["http"]
            hooks = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
            environment = {**os.environ, **prepare(url), **hooks}
            st = pathlib.Path(sys.executable).with_name("st")
            command = [st, "--config-file", HERE / "schemathesis.toml", "run", f"{url}/openapi.json", *arguments]
            ended = subprocess.run(command, cwd=folder, env=environment)
            session = f"{url}/api/v2/webmessaging/guest-sessions/{environment['SESSION']}"
            # also a gateway that has ended is found here
            found = call("GET", session, environment["TOKEN"])
            if found["state"] == "ended":
                sys.exit("the session has ended, so that its operations were hardly tested")
            sys.exit(ended.returncode)
        finally:
            gateway.terminate()
            gateway.wait(30)


if __name__ == "__main__":
    main()
