//! Checks beside the client: a moved clock, a reused refresh token, an altered log.

use audit::Fault;
use audit::files::verify_file;
use bytes::Bytes;
use genesys_auth::{Authenticator, AuthorizedError, Credentials};
use guest_sessions::client::RefreshSession;
use guest_suite::GuestSession;
use http::Request;
use secrecy::SecretString;
use serde_json::json;

use super::report::{CheckFailed, ensure, failed};
use super::servers::{CLIENT, Servers};

/// Advances the clock of simulator and gateway by the simulator's control.
pub(super) async fn advance(servers: &Servers, by: time::Duration) -> Result<(), CheckFailed> {
    let body = json!({ "advance": format!("{}s", by.whole_seconds()) });
    let request = Request::post(format!("{}/sim/clock", servers.simulator.http_url()))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))?;
    let response = servers.control().send(request).await?;
    let status = response.status();
    ensure(status.is_success(), format!("cannot advance the clock: {status}"))
}

/// Checks that the refresh token that a rotation has used is refused.
pub(super) async fn old_refresh_token_is_refused(
    servers: &Servers,
    session: &GuestSession,
    old: &SecretString,
) -> Result<String, CheckFailed> {
    let (id, secret) = CLIENT;
    let credentials = Credentials::new(id.parse()?, secret.into())?;
    let client = Authenticator::new(servers.http(), servers.gateway.host().clone(), credentials, None);
    let call = RefreshSession {
        id: session.id(),
        refresh_token: old,
    };
    match client.call(&call, servers.gateway.host()).await {
        Ok(_) => Err(failed("the old refresh token was accepted again")),
        Err(AuthorizedError::Call(error)) => match error.problem() {
            Some(problem) if problem.code == "refresh.token.used" => {
                Ok(format!("{} {}", problem.status, problem.code))
            }
            _ => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Exports the log, verifies it, and checks that verification fails for a copy with one altered byte.
pub(super) async fn audit(servers: &Servers, session: &GuestSession) -> Result<String, CheckFailed> {
    let trail = session.audit_trail().await?;
    for action in [
        "session.created",
        "token.rotated",
        "token.reuse_detected",
        "consent.withdrawn",
        "session.ended",
    ] {
        let is_recorded = trail.iter().any(|entry| entry.draft.action == action);
        let missing = format!("the audit trail of the session has no {action}");
        ensure(is_recorded, missing)?;
    }
    let store = &**servers.gateway.store();
    let genuine = servers.folder.path().join("audit.jsonl");
    let altered = servers.folder.path().join("altered.jsonl");
    guest_store::export(store, &genuine).await?;
    let report = verify_file(&genuine, store.verifier_key(), None)?;
    let (bytes, seq) = alter(std::fs::read(&genuine)?)?;
    std::fs::write(&altered, bytes)?;
    let Err(failure) = verify_file(&altered, store.verifier_key(), None) else {
        return Err(failed("verification passed for the altered copy"));
    };
    match failure.failure().map(audit::Failure::first) {
        Some(fault @ Fault::EntryAltered { seq: found, .. }) if *found == seq => Ok(format!(
            "{} entries verified against {} signed checkpoints, alteration detected: {fault}",
            report.entries, report.checkpoints
        )),
        _ => Err(failure.into()),
    }
}

/// Alters one letter of the entry about the withdrawn consent. Returns the log and the entry's number.
fn alter(mut log: Vec<u8>) -> Result<(Vec<u8>, u64), CheckFailed> {
    let action = b"consent.withdrawn";
    let at = log.windows(action.len()).position(|window| window == action);
    let at = at.ok_or_else(|| failed("the log has no entry about the withdrawn consent"))?;
    let entries_before = log[..at]
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{\"leaf\""))
        .count();
    log[at] ^= 1;
    // the last of these lines is the entry itself
    Ok((log, entries_before as u64 - 1))
}
