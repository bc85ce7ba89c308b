//! `/api/v2/audit`: entries, checkpoints and proofs of the whole log, for auditors.

use axum::response::{IntoResponse, Response};
use genesys_api::error_chain;
use guest_sessions::{AuditLines, AuditQuery, DetailCode, ProofQuery};
use guest_suite::Error;
use guest_suite::store::StoreErrorKind;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::request::Call;
use super::{Refusal, json_answer};
use crate::config::AUDIT;

pub(super) async fn entries(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let query = AuditQuery::parse(query(&call))?;
    let page = call.app.direct.audit_log(&caller.client, query).await;
    let page = page.map_err(refused)?;
    let lines = page.lines.iter().map(|line| serde_json::from_slice(line));
    let lines: Result<Vec<&RawValue>, _> = lines.collect();
    let lines = lines.map_err(|_| refused(StoreErrorKind::Corrupt.into()))?;
    let (next, more) = (page.next, page.more);
    Ok(json_answer(StatusCode::OK, &AuditLines { lines, next, more }))
}

pub(super) async fn checkpoint(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { size, .. } = ProofQuery::parse(query(&call))?;
    let note = call.app.direct.audit_checkpoint(&caller.client, size).await;
    note.map(text_answer).map_err(refused)
}

pub(super) async fn proof(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { entry, size, .. } = ProofQuery::parse(query(&call))?;
    let entry = entry.ok_or_else(|| missing("entry"))?;
    let proof = call.app.direct.prove_entry(&caller.client, entry, size).await;
    proof.map(|proof| text_answer(proof.to_string())).map_err(refused)
}

pub(super) async fn consistency(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(AUDIT).await?;
    let ProofQuery { old, size, .. } = ProofQuery::parse(query(&call))?;
    let old = old.ok_or_else(|| missing("old"))?;
    let proof = call.app.direct.prove_prefix(&caller.client, old, size).await;
    proof.map(|proof| text_answer(proof.to_string())).map_err(refused)
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
fn refused(error: Error) -> Refusal {
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
