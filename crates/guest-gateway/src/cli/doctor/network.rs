//! The hosts of Genesys Cloud, the clock, and the deployments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, DeploymentId, Host, Hosts, Problem, error_chain, json};
use genesys_auth::{Credentials, TokenRequest};
use genesys_http::{CallErrorKind, Client, Error, ErrorKind, TlsFault};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::task::JoinSet;
use tokio::time::timeout;
use web_messaging::rest::deployment::{Published, ReadConfiguration, ReadDomains};
use ws_transport::Origin;

use super::Check;
use crate::cli::counted;
use crate::config::{Config, Organization};
use crate::gateway::genesys_tls;

const CLIENT_ID: &str = "GENESYS_CLIENT_ID";
const CLIENT_SECRET: &str = "GENESYS_CLIENT_SECRET";
/// Longest time of a step: the resolution of a name, a connection, a response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest difference between this clock and that of a host. Our choice: `Date` has seconds, and an answer takes some.
const MAX_SKEW: time::Duration = time::Duration::seconds(30);

pub(super) async fn check(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for organization in config.organizations() {
        checks.extend(
            check_organization(config, &organization)
                .await
                .into_iter()
                .map(|check| {
                    let table = format!("[{}]", organization.table);
                    let subject = match organization.is_only() {
                        true => check.subject,
                        false => format!("{}: {}", organization.name, check.subject),
                    };
                    let fix = check.fix.map(|fix| fix.replace("[genesys]", &table));
                    Check {
                        subject,
                        fix,
                        ..check
                    }
                }),
        );
    }
    checks
}

async fn check_organization(config: &Config, organization: &Organization<'_>) -> Vec<Check> {
    let genesys = organization.genesys;
    let Some(hosts) = genesys.hosts() else {
        let detail = "the gateway starts it, so no host is checked";
        return vec![Check::passed("genesys", "simulator", detail)];
    };
    let (tls, proxy) = match (genesys_tls(organization), genesys.proxy()) {
        (Ok(tls), Ok(proxy)) => (tls, proxy),
        (Err(error), _) => {
            let fix = "correct `extra_ca`, `client_certificate` and `client_key` of [genesys]";
            return vec![Check::failed(
                "tls",
                "certificate authorities",
                error_chain(&error),
                fix,
            )];
        }
        (_, Err(error)) => {
            let fix = "correct `proxy` of [genesys], or the variables of the environment";
            return vec![Check::failed("proxy", "genesys", error, fix)];
        }
    };
    let has_proxy = proxy.is_some();
    let http = Client::builder(tls)
        .clock(Clock::system())
        .connect_timeout(TIMEOUT)
        .deadline(TIMEOUT);
    let http = http.proxy(proxy).build();

    let mut running = JoinSet::new();
    for (host, services) in by_host(&hosts) {
        let http = http.clone();
        running.spawn(async move { check_host(&http, &host, &services, has_proxy).await });
    }
    let mut results = running.join_all().await;
    results.sort_by(|one, other| one.host.cmp(&other.host));
    let (clock, cdn) = (clock(&results), hosts.cdn.to_string());
    let is_cdn_up = results.iter().any(|result| result.host == cdn && result.is_up);
    let mut checks: Vec<Check> = results.into_iter().flat_map(|result| result.checks).collect();
    checks.push(clock);
    let deployments: BTreeSet<&DeploymentId> = config
        .channel
        .iter()
        .filter(|channel| organization.has(channel))
        .filter_map(|channel| channel.deployment.as_ref())
        .collect();
    if !is_cdn_up {
        let fix = "correct the connection to the host of the public files first";
        let unchecked = |id: &&DeploymentId| Check::failed("deployment", id, "not checked", fix);
        checks.extend(deployments.iter().map(unchecked));
    }
    checks.extend(api_client(&http, &hosts, deployments.first().copied()).await);
    let mut running = JoinSet::new();
    for deployment in deployments.into_iter().filter(|_| is_cdn_up) {
        let (http, cdn, deployment, origins) = (
            http.clone(),
            hosts.cdn.clone(),
            deployment.clone(),
            origins(config, organization),
        );
        running.spawn(async move { check_deployment(&http, &cdn, &deployment, &origins).await });
    }
    checks.extend(running.join_all().await.into_iter().flatten());
    checks
}

/// The different hosts, each with the names of its services.
fn by_host(hosts: &Hosts) -> Vec<(Host, Vec<&'static str>)> {
    let mut found: BTreeMap<String, (Host, Vec<&'static str>)> = BTreeMap::new();
    for (service, host) in [
        ("login", &hosts.login),
        ("api", &hosts.api),
        ("messaging", &hosts.messaging),
        ("cdn", &hosts.cdn),
    ] {
        let entry = found
            .entry(host.to_string())
            .or_insert((host.clone(), Vec::new()));
        entry.1.push(service);
    }
    found.into_values().collect()
}

/// The checks of a host.
struct HostResult {
    host: String,
    checks: Vec<Check>,
    /// Whether it accepts connections.
    is_up: bool,
    /// The local time minus that of the host, if it answered with one.
    skew: Option<time::Duration>,
}

async fn check_host(http: &Client, host: &Host, services: &[&str], has_proxy: bool) -> HostResult {
    let mut result = HostResult {
        host: host.to_string(),
        checks: Vec::new(),
        is_up: false,
        skew: None,
    };
    let resolved = if has_proxy {
        Check::passed("dns", host.name(), "left to the proxy")
    } else {
        resolve(host).await
    };
    let is_resolved = resolved.ok;
    result.checks.push(resolved);
    if !is_resolved {
        return result;
    }
    let check = if host.is_secure() { "tls" } else { "connection" };
    match http.connect(host).await {
        Ok(_) if host.is_secure() => {
            let detail = "connected, the certificate is trusted";
            result.checks.push(Check::passed(check, host, detail));
        }
        Ok(_) => result
            .checks
            .push(Check::passed(check, host, "connected, without TLS")),
        Err(error) => {
            result.checks.push(failed(check, host, &error));
            return result;
        }
    }
    result.is_up = true;
    if services.contains(&"login") {
        result.checks.push(match http.send(token_request(host)).await {
            Ok(response) => {
                result.skew = skew(&response, http.clock().now().utc);
                login(host, &response)
            }
            Err(error) => failed("login", host, &error),
        });
    }
    result
}

/// A token request without credentials, which a login host refuses by a body of RFC 6749.
fn token_request(host: &Host) -> Request<Bytes> {
    let mut request = json::request(Method::POST, host, "/oauth/token");
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    *request.body_mut() = Bytes::from_static(b"grant_type=client_credentials");
    request
}

fn login(host: &Host, response: &Response<Bytes>) -> Check {
    let (status, problem) = (response.status().as_u16(), Problem::read(response));
    match (status, &*problem.code) {
        (400 | 401, "invalid_client" | "invalid_request") | (429, _) => {
            Check::passed("login", host, "answers as a login host")
        }
        (500.., _) => {
            let detail = format!("fails with status {status}");
            let fix = "try again later; if it lasts, see the status page of Genesys Cloud, or check the proxy before the host";
            Check::failed("login", host, detail, fix)
        }
        _ => {
            let detail = format!("answers with status {status}, which a login host does not");
            let fix = "correct the region, `login` or `host` in [genesys]";
            Check::failed("login", host, detail, fix)
        }
    }
}

async fn resolve(host: &Host) -> Check {
    let name = host.name().trim_matches(['[', ']']);
    if name.parse::<IpAddr>().is_ok() {
        return Check::passed("dns", name, "is an address");
    }
    let fix = "correct the host or the region in [genesys], and check the name server of this machine";
    match timeout(TIMEOUT, tokio::net::lookup_host((name, host.port()))).await {
        Err(_) => Check::failed("dns", name, format!("no answer within {TIMEOUT:?}"), fix),
        Ok(Err(error)) => Check::failed("dns", name, error, fix),
        Ok(Ok(addresses)) => match addresses.count() {
            0 => Check::failed("dns", name, "has no address", fix),
            count => Check::passed("dns", name, counted(count, "address", "addresses")),
        },
    }
}

fn failed(check: &'static str, host: &Host, error: &Error) -> Check {
    let fix = match error.kind() {
        ErrorKind::Connect | ErrorKind::Timeout => {
            "check that the service runs, that the firewall lets this machine reach it, and `proxy` of [genesys]"
        }
        ErrorKind::Tls => tls_fix(error.tls_fault()),
        ErrorKind::Proxy => "correct `proxy` of [genesys], or the variables of the environment",
        _ => {
            "check that the host and the port in [genesys] are those of an HTTP service, and write https:// if it uses TLS"
        }
    };
    Check::failed(check, host, error_chain(error), fix)
}

fn tls_fix(fault: Option<&TlsFault>) -> &'static str {
    match fault {
        Some(TlsFault::NotTls) => {
            "correct the port in [genesys], or write http:// if the service uses no TLS, such as a simulator"
        }
        Some(TlsFault::UnknownIssuer | TlsFault::AuthorityKey | TlsFault::SelfSignedAuthority) => {
            "give the certificate authority of the TLS proxy or the simulator as `extra_ca` of [genesys]"
        }
        Some(TlsFault::ClientCertificateRequired | TlsFault::ClientCertificateRefused { .. }) => {
            "correct `client_certificate` and `client_key` of [genesys]"
        }
        Some(TlsFault::NotYetValid { .. }) => "synchronize the clock of this machine, then check again",
        Some(TlsFault::WrongName { .. } | TlsFault::WrongServer) => "correct the host in [genesys]",
        Some(TlsFault::Version { .. }) => "upgrade that service, or lower `min_tls_version` of [genesys]",
        _ => "follow the message: the fault is on the side of that host",
    }
}

/// The local time minus the `Date` of a response.
fn skew(response: &Response<Bytes>, now: OffsetDateTime) -> Option<time::Duration> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    Some(now - OffsetDateTime::parse(date, &Rfc2822).ok()?)
}

/// The check of the clock, by the time of the login host.
fn clock(results: &[HostResult]) -> Check {
    let mut skews = results
        .iter()
        .filter_map(|result| Some((result.skew?, &result.host)));
    let Some((skew, host)) = skews.next() else {
        let (detail, fix) = (
            "the login host did not answer with a time",
            "correct the connection to it first",
        );
        return Check::failed("clock", "this machine", detail, fix);
    };
    let direction = if skew.is_negative() { "behind" } else { "ahead of" };
    let detail = format!("{} s {direction} {host}", skew.whole_seconds().abs());
    if skew.abs() > MAX_SKEW {
        let fix = "synchronize the clock, for example with `timedatectl set-ntp true`";
        return Check::failed("clock", "this machine", detail, fix);
    }
    Check::passed("clock", "this machine", detail)
}

/// The origins of connections to Genesys.
fn origins(config: &Config, organization: &Organization<'_>) -> Vec<Origin> {
    match &organization.genesys.origin {
        Some(origin) => vec![origin.clone()],
        None => config.sessions.allowed_origins.origins().to_vec(),
    }
}

async fn check_deployment(
    http: &Client,
    cdn: &Host,
    deployment: &DeploymentId,
    origins: &[Origin],
) -> Vec<Check> {
    let (configuration, domains) = (ReadConfiguration { deployment }, ReadDomains { deployment });
    let (configuration, domains) = tokio::join!(
        http.call(&configuration, cdn, None),
        http.call(&domains, cdn, None)
    );
    let configuration = match configuration {
        Ok(configuration) => configuration,
        Err(error) => {
            let fix = "compare the id with that of the messenger deployment in Genesys Cloud, which has to be active, and \
                       check the region";
            return vec![Check::failed("deployment", deployment, error_chain(&error), fix)];
        }
    };
    if configuration.inactive {
        let fix = "activate the messenger deployment in Genesys Cloud";
        return vec![Check::failed("deployment", deployment, "is not active", fix)];
    }
    let mut checks = vec![Check::passed("deployment", deployment, "is active")];
    let domains = match domains {
        Ok(domains) => domains,
        Err(error) => {
            let fix = "check that this machine reaches the host of the public files";
            checks.push(Check::failed("origin", deployment, error_chain(&error), fix));
            return checks;
        }
    };
    let published = Published {
        configuration: Some(configuration),
        domains: Some(domains),
    };
    checks.extend(origins.iter().map(|origin| match published.admit(origin) {
        Ok(_) => Check::passed("origin", origin, format!("deployment {deployment} allows it")),
        Err(error) => {
            let fix = "add the domain to those of the messenger deployment, or give an allowed one as `origin` of [genesys]";
            Check::failed("origin", origin, error, fix)
        }
    }));
    checks
}

/// The API client of Genesys Cloud that the environment gives, and its roles.
async fn api_client(http: &Client, hosts: &Hosts, deployment: Option<&DeploymentId>) -> Vec<Check> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (id, secret) = match (variable(CLIENT_ID), variable(CLIENT_SECRET)) {
        (Some(id), Some(secret)) => (id, SecretString::from(secret)),
        (None, None) => return Vec::new(),
        (None, _) | (_, None) => {
            let detail = "one of the two variables is missing";
            let fix = format!("set {CLIENT_ID} and {CLIENT_SECRET}, or neither");
            return vec![Check::failed("genesys client", "environment", detail, fix)];
        }
    };
    let fix = format!(
        "compare {CLIENT_ID} and {CLIENT_SECRET} with the OAuth client in Genesys Cloud, and check the region"
    );
    let credentials = id.parse().and_then(|id| Credentials::new(id, secret));
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(error) => return vec![Check::failed("genesys client", "environment", error, fix)],
    };
    let request = TokenRequest {
        credentials: &credentials,
        scopes: None,
    };
    let token = match http.call(&request, &hosts.login, None).await {
        Ok(response) => response.access_token,
        Err(error) => {
            let fix = match error.kind() {
                CallErrorKind::Refused => fix,
                _ => "correct the connection to the login host first".to_owned(),
            };
            return vec![Check::failed("genesys client", id, error_chain(&error), fix)];
        }
    };
    let mut checks = vec![Check::passed("genesys client", &id, "gets a token")];
    checks.extend(match deployment {
        Some(deployment) => roles(http, &hosts.api, &id, &token, deployment).await,
        None => None,
    });
    checks
}

/// Checks that the roles of a client permit to read a deployment.
async fn roles(
    http: &Client,
    api: &Host,
    id: &str,
    token: &SecretString,
    deployment: &DeploymentId,
) -> Option<Check> {
    let mut request = json::get(api, &format!("/api/v2/webdeployments/deployments/{deployment}"));
    let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    Some(match http.send(request).await {
        Err(error) => failed("roles", api, &error),
        Ok(response) => match response.status() {
            StatusCode::OK => Check::passed("roles", id, format!("may read deployment {deployment}")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let detail = format!(
                    "may not read deployment {deployment}: status {}",
                    response.status().as_u16()
                );
                let fix = "give the OAuth client a role with the permission webDeployments:deployment:view";
                Check::failed("roles", id, detail, fix)
            }
            status => {
                let detail = format!("cannot read deployment {deployment}: status {}", status.as_u16());
                let fix =
                    "compare the id and the region with those of the messenger deployment in Genesys Cloud";
                Check::failed("roles", id, detail, fix)
            }
        },
    })
}
