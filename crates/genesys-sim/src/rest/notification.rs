//! Notification channels, as servers make and fill them.

use bytes::Bytes;
use genesys_api::Now;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::Problem;
use super::platform::{admit, answer};
use crate::world::{Oddity, World};

/// Most topics in one request. A channel has no more.
const MOST_TOPICS: usize = 1_000;

/// `POST /api/v2/notifications/channels`
pub(super) fn create(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = admit(world, request, now)?;
    Ok(answer(&world.create_channel(now), usage))
}

/// `/api/v2/notifications/channels/{id}/subscriptions`: POST adds, PUT replaces, GET lists, DELETE clears.
pub(super) fn subscriptions(
    world: &mut World,
    id: &str,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let usage = admit(world, request, now)?;
    let body = match *request.method() {
        Method::DELETE => {
            world.subscribe(id, &[], true, now)?;
            json!({})
        }
        Method::GET => world.subscriptions(id)?,
        _ => {
            let topics = topics(world, request.body(), now)?;
            world.subscribe(id, &topics, request.method() == Method::PUT, now)?
        }
    };
    Ok(answer(&body, usage))
}

fn topics(world: &mut World, body: &[u8], now: Now) -> Result<Vec<String>, Problem> {
    const FORM: &str = r#"The body has to be [{"id":"…"}], of at most 1000 topics."#;
    let items: Vec<Value> = serde_json::from_slice(body).map_err(|_| Problem::bad_request(FORM))?;
    if items.len() > MOST_TOPICS {
        return Err(Problem::bad_request(FORM));
    }
    let mut topics = Vec::with_capacity(items.len());
    for item in &items {
        let object = item.as_object().ok_or_else(|| Problem::bad_request(FORM))?;
        for name in object.keys().filter(|name| *name != "id") {
            let place = format!("subscriptions.{name}");
            world.complaints.add(Oddity::UnknownField, &place, now.utc);
        }
        let id = object.get("id").and_then(Value::as_str);
        topics.push(id.ok_or_else(|| Problem::bad_request(FORM))?.to_owned());
    }
    Ok(topics)
}
