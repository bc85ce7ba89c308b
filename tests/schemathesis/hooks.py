"""The reasons for which a request may be refused although it fits the schema: a schema cannot say them."""

import os
import re

import schemathesis

REASONS = [re.compile(reason) for reason in [
    # which resources exist
    r"404 not.found: cannot find the (session or webhook|guest): ",
    r"404 not.found: invalid size \d+: no checkpoint has this number of entries",
    r"404 not.found: invalid (entry|old) \d+: the checkpoint has another number of entries",
    r"400 invalid.value: invalid channelConfigurationId: .* is not configured",
    # the credentials of a guest, a browser or an API client
    r"401 bad.credentials: invalid access token: it is not this session's",
    r"401 bad.credentials: invalid credential of the browser's session",
    r"403 origin.not.allowed: invalid Origin header: ",
    r"401 session.required: cannot find the session of this browser",
    r"401 invalid_client: invalid client: ",
    r"400 invalid_request: invalid credentials: sent in more than one way",
    r"400 invalid.value: invalid refreshToken: it is not this session's",
    # the state of a session, a webhook, a key, a page
    r"409 action.unavailable: cannot use the sign-in: the guest is not signed in",
    r"422 sign.in.refused: cannot sign the guest in or out at Genesys Cloud",
    r"422 idempotency.key.reused: ",
    r"400 invalid.value: invalid after: give `next` of the page before",
    r"409 webhook.(name.in.use|rotation.limit): ",
    r"429 too.many.requests: cannot sign in: ",
    # a choice may be in the header Sec-GPC
    r"400 bad.request: the body is empty: ",
    # the clock, the list of regions, and a length in the normal form
    r"400 invalid.value: .*(verifiedAt|consentTimestamp).* future",
    r"400 invalid.value: .*invalid region ",
    # the order of two numbers
    r"400 invalid.value: .*age: invalid age \"\d+-\d+\"",
    r"400 invalid.value: .*invalid URL: \d+ bytes in its normal form",
]]


REMOVALS = {"endSession", "removeWebhook"}
KEPT = {os.environ["SESSION"], os.environ["WEBHOOK"]}


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """The prepared session and webhook stay, also where their ids were learned from answers."""
    operation = case.operation.definition.raw["operationId"]
    if operation in REMOVALS and case.path_parameters.get("id") in KEPT:
        case.path_parameters["id"] = "01900000-0000-7000-8000-000000000000"


@schemathesis.check
def refused(_context, response, case):
    """A request that fits the schema is refused for a listed reason only."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    error = response.json()
    code, message = error.get("code", error.get("error")), error.get("message", error.get("error_description"))
    text = f"{response.status_code} {code}: {message}"
    if not any(reason.match(text) for reason in REASONS):
        raise AssertionError(f"a request that fits the schema is refused: {text}")
