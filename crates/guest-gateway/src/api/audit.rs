//! `/api/v2/audit`: entries, checkpoints and proofs of the whole log, for auditors.

use audit::{Actor, Draft};
use axum::response::{IntoResponse, Response};
use genesys_api::{SessionId, error_chain};
use guest_payload::iso27560::Record;
use guest_sessions::{AuditLines, AuditQuery, ConsentRecords, DetailCode, ProofQuery};
use guest_suite::direct::stored_sessions;
use guest_suite::store::{LogLines, LogTree, Store, StoreErrorKind};
use guest_suite::{Error, SessionInfo};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::request::{Call, Caller};
use super::{App, Refusal, json_answer};
use crate::config::AUDIT;

pub(super) async fn entries(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let query = AuditQuery::parse(query(&call))?;
    let store = log_read(&call.app, &caller, "entries").await?;
    let (from, limit) = (query.from.unwrap_or(0), query.bounded_limit());
    let page = LogLines::read(store, from, limit, query.since).await;
    let page = page.map_err(refused)?;
    let lines = page.lines.iter().map(|line| serde_json::from_slice(line));
    let lines: Result<Vec<&RawValue>, _> = lines.collect();
    let lines = lines.map_err(|_| refused(StoreErrorKind::Corrupt))?;
    let (next, more) = (page.next, page.more);
    Ok(json_answer(StatusCode::OK, &AuditLines { lines, next, more }))
}

pub(super) async fn checkpoint(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { size, .. } = ProofQuery::parse(query(&call))?;
    let store = log_read(&call.app, &caller, "checkpoint").await?;
    let checkpoint = LogTree::checkpoint(store, size).await.map_err(refused)?;
    Ok(text_answer(checkpoint.note))
}

pub(super) async fn proof(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { entry, size, .. } = ProofQuery::parse(query(&call))?;
    let entry = entry.ok_or_else(|| missing("entry"))?;
    let store = log_read(&call.app, &caller, "proof").await?;
    let tree = call.app.direct.audit_log().monitor().tree();
    let proof = tree.prove_entry(store, entry, size).await.map_err(refused)?;
    Ok(text_answer(proof.to_string()))
}

pub(super) async fn consistency(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { old, size, .. } = ProofQuery::parse(query(&call))?;
    let old = old.ok_or_else(|| missing("old"))?;
    let store = log_read(&call.app, &caller, "consistency").await?;
    let tree = call.app.direct.audit_log().monitor().tree();
    let proof = tree.prove_prefix(store, old, size).await.map_err(refused)?;
    Ok(text_answer(proof.to_string()))
}

/// Logs a read of the log of all owners, and returns its store. Identical reads within a minute are one entry.
async fn log_read<'a>(app: &'a App, caller: &Caller, what: &str) -> Result<&'a dyn Store, Refusal> {
    let direct = &app.direct;
    let logged = direct.audit_log().log_read(&caller.client, what).await;
    logged.map_err(Error::from)?;
    Ok(&**direct.store())
}

pub(super) async fn consent_records(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let (mut after, mut receipts) = (None, false);
    for (name, value) in form_urlencoded::parse(query(&call).as_bytes()) {
        match &*name {
            "after" => after = Some(parse_session("after", &value)?),
            _ => receipts = value.parse().map_err(|_| invalid("receipts", "true or false"))?,
        }
    }
    let (direct, controller) = (&call.app.direct, &call.app.controller);
    let policy = &direct.rules().policy;
    let entry = Draft::new(caller.now.utc, Actor::client(caller.client), "consent.exported");
    let logged = direct.audit_log().log_repeated(entry).await;
    logged.map_err(Error::from)?;
    let sessions = stored_sessions(&**direct.store(), after, caller.now.utc).await?;
    let record = |session: &SessionInfo| {
        let id = session.id.as_str();
        let record = Record::new(id, &session.guest_id, &session.consent, policy, controller);
        if receipts { record.into_receipt(id) } else { record }
    };
    let records = sessions.iter().map(record).collect();
    let next = sessions.last().map(|last| last.id.clone());
    Ok(json_answer(StatusCode::OK, &ConsentRecords { records, next }))
}

/// Parses a parameter that is the id of a session.
fn parse_session(parameter: &str, value: &str) -> Result<SessionId, Refusal> {
    value
        .parse()
        .map_err(|_| invalid(parameter, "the id of a session"))
}

fn invalid(parameter: &str, expected: &str) -> Refusal {
    let detail = DetailCode::FieldValue;
    let message = format!("invalid {parameter}: send {expected}");
    Refusal::new(detail.error_code(), message).detail(detail.as_str(), parameter)
}

fn query(call: &Call) -> &str {
    call.request.uri().query().unwrap_or_default()
}

fn missing(parameter: &str) -> Refusal {
    let message = format!("invalid query: the parameter {parameter} is missing");
    Refusal::new(DetailCode::FieldMissing.error_code(), message)
        .detail(DetailCode::FieldMissing.as_str(), parameter)
}

/// A refusal that names an altered entry: an auditor has to know which one it is.
fn refused(error: impl Into<Error>) -> Refusal {
    let error = error.into();
    let altered = matches!(&error, Error::Store(store) if store.kind() == StoreErrorKind::Corrupt);
    let text = error_chain(&error);
    let refusal = Refusal::from(error);
    match altered {
        true => refusal.message(text),
        false => refusal,
    }
}

fn text_answer(text: String) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
