//! History: the messages of one session, for whoever holds its JWT.

use bytes::Bytes;
use genesys_api::Now;
use http::{Request, Response, StatusCode};

use super::{Problem, authorization, json, parameter, tell_usage};
use crate::world::{HistoryRefusal, JwtError, World};

/// Genesys' default.
const PAGE_SIZE: usize = 25;

/// Largest page. The Java SDK asks for that many; that more is refused is an inference.
const LARGEST_PAGE: usize = 100;

/// `GET /api/v2/webmessaging/messages?pageSize&pageNumber`, newest first.
pub(super) fn page(
    world: &mut World,
    request: &Request<Bytes>,
    now: Now,
) -> Result<Response<Bytes>, Problem> {
    let jwt = authorization(request, "Bearer").ok_or_else(Problem::not_authenticated)?;
    let size = number(request, "pageSize", PAGE_SIZE)?;
    if size > LARGEST_PAGE {
        return Err(Problem::bad_request("pageSize is larger than 100."));
    }
    let number = number(request, "pageNumber", 1)?;
    match world.history(jwt, (size, number), now) {
        Ok((page, usage)) => {
            let mut response = json(StatusCode::OK, &page);
            if let Some(usage) = usage {
                tell_usage(&mut response, usage);
            }
            Ok(response)
        }
        Err(HistoryRefusal::Jwt(JwtError::Expired)) => Err(Problem::credentials_expired()),
        Err(HistoryRefusal::Jwt(JwtError::Invalid)) => Err(Problem::bad_credentials()),
        Err(HistoryRefusal::TooMany(usage)) => {
            world.counters.rate_limited += 1;
            Err(Problem::too_many(
                "web.messaging",
                "get.history.rate.per.minute",
                usage,
            ))
        }
    }
}

fn number(request: &Request<Bytes>, name: &str, default: usize) -> Result<usize, Problem> {
    match parameter(request.uri().query().unwrap_or_default(), name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Problem::bad_request(format!("{name} is not a positive number."))),
    }
}
