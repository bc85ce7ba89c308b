//! History: the messages of one session, for the holder of its JWT.

use bytes::Bytes;
use http::Response;

use super::Problem;
use super::response::{Call, ok, with_usage};

/// Genesys' default.
const PAGE_SIZE: usize = 25;

/// Largest page. The Java SDK requests this size. That a larger one is refused is an inference.
const MAX_PAGE_SIZE: usize = 100;

/// `GET /api/v2/webmessaging/messages?pageSize&pageNumber`, newest first.
pub(super) fn page(call: &mut Call<'_>, _: &[&str]) -> Result<Response<Bytes>, Problem> {
    let jwt = call.bearer().ok_or_else(Problem::not_authenticated)?;
    let size = number(call, "pageSize", PAGE_SIZE)?;
    if size > MAX_PAGE_SIZE {
        return Err(Problem::bad_request("pageSize is larger than 100."));
    }
    let number = number(call, "pageNumber", 1)?;
    let (page, usage) = call.world.history_page(jwt, (size, number), call.now)?;
    Ok(with_usage(ok(&page), usage))
}

fn number(call: &Call<'_>, name: &str, default: usize) -> Result<usize, Problem> {
    let Some(text) = call.query(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::bad_request(format!("{name} is not a positive number.")))
}
