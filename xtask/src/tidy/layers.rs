//! The layer table: the packages that each package may depend on. A new edge needs a change here, which review sees.
//! ARCHITECTURE.md gives the reasons.

use super::Finding;
use super::manifests::Manifest;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Layer {
    /// L0: types without side effects.
    Vocabulary,
    /// L1: the HTTP client.
    Http,
    /// L2: the steps.
    Step,
    /// L3
    Store,
    /// L4: our contract, above the conversation
    Contract,
    /// L5
    Composition,
    /// L6: the terminal client.
    Terminal,
    /// L7
    Server,
    /// Beside the layers: the simulator.
    Simulator,
    /// Beside the layers: reports of tests.
    Report,
    /// Beside the layers: end-to-end tests, examples and tasks.
    Tooling,
}

struct Row {
    name: &'static str,
    layer: Layer,
    /// The packages of the workspace that it may name in `[dependencies]` and `[build-dependencies]`.
    allowed: &'static [&'static str],
}

const fn row(name: &'static str, layer: Layer, allowed: &'static [&'static str]) -> Row {
    Row { name, layer, allowed }
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("genesys-api", Layer::Vocabulary, &[]),
    row("genesys-http", Layer::Http, &["genesys-api"]),
    row("genesys-auth", Layer::Step, &["genesys-api", "genesys-http"]),
    row("guest-payload", Layer::Step, &["genesys-api"]),
    row("token-window", Layer::Step, &["genesys-api"]),
    row("ws-transport", Layer::Step, &["genesys-api", "genesys-http"]),
    row("webhook", Layer::Step, &["genesys-api", "genesys-http"]),
    row("session-metrics", Layer::Step, &["genesys-api"]),
    row("audit", Layer::Step, &["genesys-api"]),
    row("web-messaging", Layer::Step, &["genesys-api"]),
    row("guest-conversation", Layer::Store, &[
        "genesys-api", "genesys-http", "token-window", "ws-transport", "web-messaging",
    ]),
    row("guest-sessions", Layer::Contract, &[
        "genesys-api", "genesys-http", "genesys-auth", "guest-payload", "token-window", "ws-transport", "webhook",
        "session-metrics", "audit", "web-messaging", "guest-conversation",
    ]),
    // TLS to PostgreSQL
    row("guest-store", Layer::Store, &["genesys-api", "genesys-http", "genesys-auth", "audit"]),
    row("guest-suite", Layer::Composition, &[
        "genesys-api", "genesys-http", "genesys-auth", "guest-payload", "token-window", "ws-transport", "webhook",
        "session-metrics", "audit", "guest-store", "web-messaging", "guest-conversation", "guest-sessions",
    ]),
    row("guest-chat", Layer::Terminal, &[
        "genesys-api", "genesys-http", "ws-transport", "web-messaging", "guest-conversation",
    ]),
    row("guest-gateway", Layer::Server, &[
        "genesys-api", "genesys-http", "genesys-auth", "guest-payload", "token-window", "ws-transport", "webhook",
        "session-metrics", "audit", "guest-store", "guest-suite", "genesys-sim", "web-messaging", "guest-conversation",
        "guest-sessions", "guest-chat",
    ]),
    row("genesys-sim", Layer::Simulator, &["genesys-api", "genesys-http"]),
    row("end-to-end", Layer::Tooling, &[
        "genesys-api", "genesys-sim", "audit", "guest-conversation", "guest-sessions", "guest-store", "web-messaging",
        // the relay between the two sides of a simulation
        "ws-transport", "guest-gateway",
    ]),
    row("left-out", Layer::Report, &[]),
    row("test-postgres", Layer::Tooling, &["left-out"]),
    // all of its dependencies are for its examples and tests
    row("examples", Layer::Tooling, &[]),
    // its generators use the parsers that ship
    row("xtask", Layer::Tooling, &["guest-payload"]),
];

/// Peers in tests from L2 upward: an accept loop, the simulator, or a server of the database.
const PEERS_IN_TESTS: [&str; 3] = ["genesys-http", "genesys-sim", "test-postgres"];

/// A dependency that only some packages may name.
struct Guarded {
    name: &'static str,
    users: &'static [&'static str],
}

const SERVERS_AND_CLIENT: &[&str] = &["genesys-http", "guest-gateway", "genesys-sim"];

/// Tests may name these, because a real server in a test needs them.
const GUARDED: &[Guarded] = &[
    Guarded {
        name: "axum",
        users: &["guest-gateway", "genesys-sim"],
    },
    Guarded {
        name: "hyper",
        users: SERVERS_AND_CLIENT,
    },
    Guarded {
        name: "hyper-util",
        users: SERVERS_AND_CLIENT,
    },
    Guarded {
        name: "rusqlite",
        users: &["guest-store"],
    },
    Guarded {
        name: "rustls",
        users: SERVERS_AND_CLIENT,
    },
    Guarded {
        name: "rustls-platform-verifier",
        users: &["genesys-http"],
    },
    Guarded {
        name: "tokio-postgres",
        users: &["guest-store"],
    },
    Guarded {
        name: "tokio-rustls",
        users: SERVERS_AND_CLIENT,
    },
    Guarded {
        name: "tokio-tungstenite",
        users: &["ws-transport", "genesys-sim"],
    },
    Guarded {
        name: "tower-http",
        users: &["guest-gateway", "genesys-sim"],
    },
    Guarded {
        name: "tungstenite",
        users: &["ws-transport", "genesys-sim"],
    },
];

pub(crate) fn check(manifests: &[Manifest], findings: &mut Vec<Finding>) {
    for manifest in manifests {
        match TABLE.iter().find(|row| row.name == manifest.package.name) {
            Some(row) => edges(row, manifest, findings),
            None => findings.push(Finding {
                path: manifest.path.clone(),
                line: 1,
                wrong: format!("`{}` has no layer", manifest.package.name),
                remedy: "give it a row in xtask/src/tidy/layers.rs and a line in ARCHITECTURE.md".to_owned(),
            }),
        }
        guarded(manifest, findings);
        sockets(manifest, findings);
    }
}

/// Finds rows without a package.
pub(crate) fn check_table(manifests: &[Manifest], findings: &mut Vec<Finding>) {
    for row in TABLE {
        if !manifests.iter().any(|manifest| manifest.package.name == row.name) {
            findings.push(Finding {
                path: "xtask/src/tidy/layers.rs".to_owned(),
                line: 1,
                wrong: format!("`{}` is not a package of the workspace", row.name),
                remedy: "delete its row".to_owned(),
            });
        }
    }
}

fn edges(row: &Row, manifest: &Manifest, findings: &mut Vec<Finding>) {
    for dependency in &manifest.package.dependencies {
        let Some(other) = TABLE.iter().find(|other| other.name == dependency.name) else {
            continue;
        };
        if row.allowed.contains(&other.name)
            || dependency.is_for_tests() && is_allowed_in_tests(row, other.name)
        {
            continue;
        }
        let (wrong, remedy) = if row.layer == Layer::Step && other.layer == Layer::Step {
            (
                format!("step `{}` depends on step `{}`", row.name, other.name),
                "join them in guest-suite, or move the shared type into genesys-api",
            )
        } else {
            (
                format!(
                    "`{}` ({:?}) may not depend on `{}` ({:?})",
                    row.name, row.layer, other.name, other.layer
                ),
                "drop the dependency, or add the edge to the table in xtask/src/tidy/layers.rs with its reason",
            )
        };
        findings.push(Finding {
            path: manifest.path.clone(),
            line: manifest.line_of(&dependency.name),
            wrong,
            remedy: remedy.to_owned(),
        });
    }
}

/// Whether `[dev-dependencies]` may name a package beyond the table. Tests depend on no other step either.
fn is_allowed_in_tests(row: &Row, other: &str) -> bool {
    // a crate names itself to switch on a feature that only its tests need
    row.name == other
        || match row.layer {
            Layer::Vocabulary | Layer::Http => false,
            Layer::Report | Layer::Tooling => row.name == "end-to-end" || row.name == "examples",
            Layer::Step
            | Layer::Store
            | Layer::Contract
            | Layer::Composition
            | Layer::Terminal
            | Layer::Server
            | Layer::Simulator => PEERS_IN_TESTS.contains(&other),
        }
}

fn guarded(manifest: &Manifest, findings: &mut Vec<Finding>) {
    for dependency in &manifest.package.dependencies {
        let Some(guarded) = GUARDED.iter().find(|guarded| guarded.name == dependency.name) else {
            continue;
        };
        if !dependency.is_for_tests() && !guarded.users.contains(&manifest.package.name.as_str()) {
            findings.push(Finding {
                path: manifest.path.clone(),
                line: manifest.line_of(&dependency.name),
                wrong: format!(
                    "`{}` may not depend on `{}`",
                    manifest.package.name, dependency.name
                ),
                remedy: format!("use it through {}", guarded.users.join(" or ")),
            });
        }
    }
}

/// Only the HTTP client and the two servers open sockets.
fn sockets(manifest: &Manifest, findings: &mut Vec<Finding>) {
    if SERVERS_AND_CLIENT.contains(&manifest.package.name.as_str()) {
        return;
    }
    for dependency in &manifest.package.dependencies {
        let opens_sockets = dependency
            .features
            .iter()
            .any(|feature| feature == "net" || feature == "full");
        if dependency.name == "tokio" && opens_sockets && !dependency.is_for_tests() {
            findings.push(Finding {
                path: manifest.path.clone(),
                line: manifest.line_of(&dependency.name),
                wrong: format!("`{}` can open sockets", manifest.package.name),
                remedy: "name the needed features of tokio, without `net`, and connect through genesys-http"
                    .to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifests::tests::manifest;
    use super::*;

    fn found(name: &str, dependencies: &[&str]) -> Vec<String> {
        let mut findings = Vec::new();
        check(&[manifest(name, dependencies)], &mut findings);
        findings.into_iter().map(|finding| finding.wrong).collect()
    }

    #[test]
    fn step_depends_on_no_other_step() {
        assert_eq!(
            found("webhook", &["audit"]),
            ["step `webhook` depends on step `audit`"]
        );
        assert_eq!(found("webhook", &["build audit"]).len(), 1);
        assert_eq!(found("webhook", &["dev audit"]).len(), 1, "nor in its tests");
        assert_eq!(
            found("webhook", &["genesys-api", "genesys-http", "serde"]),
            [""; 0]
        );
    }

    #[test]
    fn edge_outside_the_table_is_refused() {
        for (name, dependency) in [
            ("genesys-api", "genesys-http"),
            ("genesys-http", "genesys-auth"),
            ("guest-payload", "genesys-http"),
            ("guest-store", "webhook"),
            ("guest-store", "guest-suite"),
            ("guest-suite", "guest-gateway"),
            ("guest-suite", "genesys-sim"),
            ("genesys-sim", "guest-payload"),
            ("genesys-sim", "dev guest-suite"),
            ("genesys-http", "dev genesys-sim"),
            ("end-to-end", "guest-suite"),
            ("xtask", "genesys-api"),
            ("xtask", "dev genesys-api"),
        ] {
            assert_eq!(found(name, &[dependency]).len(), 1, "{name} -> {dependency}");
        }
    }

    #[test]
    fn tests_may_depend_on_a_real_peer() {
        assert_eq!(
            found("token-window", &["dev genesys-http", "dev genesys-sim"]),
            [""; 0]
        );
        assert_eq!(found("guest-suite", &["dev genesys-sim"]), [""; 0]);
        assert_eq!(found("genesys-http", &["dev genesys-http+server"]), [""; 0]);
        assert_eq!(
            found(
                "end-to-end",
                &["dev guest-gateway", "dev genesys-sim", "dev audit"]
            ),
            [""; 0]
        );
    }

    #[test]
    fn package_without_a_layer_is_refused() {
        assert_eq!(found("guest-cache", &[]), ["`guest-cache` has no layer"]);
    }

    #[test]
    fn row_without_a_package_is_refused() {
        let mut manifests: Vec<_> = TABLE.iter().map(|row| manifest(row.name, &[])).collect();
        let mut findings = Vec::new();
        check_table(&manifests, &mut findings);
        assert_eq!(findings, []);
        manifests.retain(|manifest| manifest.package.name != "audit");
        check_table(&manifests, &mut findings);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn guarded_dependency_is_refused_elsewhere() {
        for (name, dependency) in [
            ("webhook", "hyper"),
            ("guest-suite", "hyper-util"),
            ("ws-transport", "tokio-rustls"),
            ("ws-transport", "rustls"),
            ("guest-gateway", "rustls-platform-verifier"),
            ("guest-gateway", "tokio-tungstenite"),
            ("guest-suite", "axum"),
            ("guest-gateway", "rusqlite"),
            ("audit", "build rusqlite"),
        ] {
            assert_eq!(found(name, &[dependency]).len(), 1, "{name} -> {dependency}");
        }
        for (name, dependency) in [
            ("genesys-http", "rustls"),
            ("guest-gateway", "hyper"),
            ("genesys-sim", "tokio-tungstenite"),
            ("ws-transport", "tokio-tungstenite"),
            ("guest-store", "rusqlite"),
            ("webhook", "dev hyper"),
        ] {
            assert_eq!(found(name, &[dependency]), [""; 0], "{name} -> {dependency}");
        }
    }

    #[test]
    fn sockets_are_refused_outside_client_and_servers() {
        assert_eq!(
            found("ws-transport", &["tokio+rt+net"]),
            ["`ws-transport` can open sockets"]
        );
        assert_eq!(found("guest-suite", &["tokio+full"]).len(), 1);
        assert_eq!(
            found("guest-suite", &["tokio+rt+time", "dev tokio+full"]),
            [""; 0]
        );
        assert_eq!(found("genesys-http", &["tokio+net"]), [""; 0]);
    }

    #[test]
    fn table_points_downward() {
        for row in TABLE {
            for name in row.allowed {
                let other = TABLE.iter().find(|other| other.name == *name).unwrap();
                let is_demo = row.layer == Layer::Server && other.layer == Layer::Simulator;
                assert!(
                    other.layer < row.layer || is_demo,
                    "{} -> {name} points upward",
                    row.name
                );
            }
            if row.layer == Layer::Simulator {
                assert_eq!(
                    row.allowed,
                    ["genesys-api", "genesys-http"],
                    "the simulator shares nothing with the client"
                );
            }
        }
    }
}
