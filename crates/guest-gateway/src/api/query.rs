//! The names in a request's query.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use guest_sessions::{DetailCode, Operation};

use super::Refusal;

/// Longest name that a refusal repeats, in characters.
const MAX_NAME: usize = 64;

/// Passes a request on if the operation has each parameter of its query, and none is repeated.
pub(super) async fn check(
    State(operation): State<Operation>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    check_names(operation.query(), request.uri().query().unwrap_or_default())?;
    Ok(next.run(request).await)
}

fn check_names(known: &[&str], query: &str) -> Result<(), Refusal> {
    let mut given = Vec::new();
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let Some(parameter) = known.iter().find(|known| **known == name) else {
            let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
            let allowed = match known {
                [] => "send none here".to_owned(),
                known => format!("the parameters here are {}", known.join(", ")),
            };
            let message = format!("invalid query: the parameter {name:?} is unknown: {allowed}");
            return Err(refusal(DetailCode::FieldUnknown, message, &name));
        };
        if given.contains(parameter) {
            let message = format!("invalid query: the parameter {parameter:?} is repeated: send it once");
            return Err(refusal(DetailCode::FieldDuplicate, message, parameter));
        }
        given.push(parameter);
    }
    Ok(())
}

fn refusal(detail: DetailCode, message: String, name: &str) -> Refusal {
    Refusal::new(detail.error_code(), message).detail(detail.as_str(), name)
}
