//! The kinds of receivers, each with its outcome.

use std::time::Duration;

use guest_suite::webhook::Failure;

use super::receiver::Step::{
    self, Advance, Close, Hold, ReadHead, ReadRequest, Reset, Send, SendEndlessly, ShutdownWrite,
};
use super::sender::Expected::{self, Delivered, Disabled, Failed, Paused, Retried};

/// Name, steps on each connection, outcome.
pub(crate) type Row = (&'static str, &'static [Step], Expected);

/// Longer than any deadline of a delivery.
const LONG: Duration = Duration::from_secs(16);
/// Longer than the wait for the start of a body.
const LATE: Duration = Duration::from_secs(2);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Receivers over plain TCP whose header section is complete.
pub(crate) const ANSWERING: &[Row] = &[
    ("complete body", &[ReadRequest, Send(OK), Hold], Delivered(200)),
    (
        "no body",
        &[ReadRequest, Send("HTTP/1.1 204 No Content\r\n\r\n"), Hold],
        Delivered(204),
    ),
    (
        "accepted, empty body",
        &[
            ReadRequest,
            Send("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"),
            Hold,
        ],
        Delivered(202),
    ),
    (
        "endless chunks",
        &[ReadRequest, Send(CHUNKED), SendEndlessly("4\r\nlong\r\n")],
        Delivered(200),
    ),
    (
        "endless body until close",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
            SendEndlessly("long"),
        ],
        Delivered(200),
    ),
    (
        "body of a terabyte",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n"),
            SendEndlessly("long"),
        ],
        Delivered(200),
    ),
    (
        "cut body",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
            Close,
        ],
        Delivered(200),
    ),
    (
        "cut chunk",
        &[ReadRequest, Send(CHUNKED), Send("64\r\nhalf"), Close],
        Delivered(200),
    ),
    (
        "malformed chunk",
        &[ReadRequest, Send(CHUNKED), Send("zz\r\n"), Hold],
        Delivered(200),
    ),
    (
        "body that never ends",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow"),
            Advance(LATE),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "body that never begins",
        &[ReadRequest, Send(CHUNKED), Advance(LATE), Hold],
        Delivered(200),
    ),
    (
        "body until close",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"),
            Close,
        ],
        Delivered(200),
    ),
    (
        "body ended by a reset",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
            Reset,
        ],
        Delivered(200),
    ),
    (
        "body longer than its length",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "body shorter than its length",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"),
            ShutdownWrite,
            Hold,
        ],
        Delivered(200),
    ),
    (
        "two lengths",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok"),
            Hold,
        ],
        Failed(Failure::Protocol),
    ),
    (
        "204 with a body",
        &[
            ReadRequest,
            Send("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok"),
            Hold,
        ],
        Delivered(204),
    ),
    (
        "205 with a body",
        &[
            ReadRequest,
            Send("HTTP/1.1 205 Reset Content\r\ncontent-length: 2\r\n\r\nok"),
            Hold,
        ],
        Delivered(205),
    ),
    (
        "trailers",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"),
            Send("2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "malformed trailers",
        &[
            ReadRequest,
            Send(CHUNKED),
            Send("2\r\nok\r\n0\r\n\0\r\n\r\n"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "gzip that was not requested",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "100 Continue",
        &[
            ReadHead,
            Send("HTTP/1.1 100 Continue\r\n\r\n"),
            ReadRequest,
            Send(OK),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "102 and 103",
        &[
            ReadRequest,
            Send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
            Send(OK),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "100 Continue, then close",
        &[ReadRequest, Send("HTTP/1.1 100 Continue\r\n\r\n"), Close],
        Failed(Failure::Closed),
    ),
    (
        "100 Continue, then silence",
        &[
            ReadRequest,
            Send("HTTP/1.1 100 Continue\r\n\r\n"),
            Advance(LONG),
            Hold,
        ],
        Failed(Failure::Timeout),
    ),
    (
        "101 Switching Protocols",
        &[
            ReadRequest,
            Send("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            Hold,
        ],
        Retried(101),
    ),
    (
        "answer before the body is read",
        &[ReadHead, Send(OK), Hold],
        Delivered(200),
    ),
    (
        "HTTP/1.0",
        &[ReadRequest, Send("HTTP/1.0 200 OK\r\n\r\nok"), Close],
        Delivered(200),
    ),
    (
        "HTTP/1.0 with keep-alive",
        &[
            ReadRequest,
            Send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "no reason phrase",
        &[
            ReadRequest,
            Send("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
            Hold,
        ],
        Delivered(200),
    ),
    (
        "bare line feeds",
        &[ReadRequest, Send("HTTP/1.1 200 OK\ncontent-length: 0\n\n"), Hold],
        Delivered(200),
    ),
];

/// Receivers over plain TCP that do not accept a delivery, or send no complete header section.
pub(crate) const REFUSING: &[Row] = &[
    (
        "301",
        &[
            ReadRequest,
            Send("HTTP/1.1 301 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"),
            Hold,
        ],
        Retried(301),
    ),
    (
        "307 with a cut body",
        &[
            ReadRequest,
            Send("HTTP/1.1 307 Moved\r\nlocation: /other\r\ncontent-length: 9\r\n\r\n"),
            Close,
        ],
        Retried(307),
    ),
    (
        "404",
        &[
            ReadRequest,
            Send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            Hold,
        ],
        Retried(404),
    ),
    (
        "410 with a cut body",
        &[
            ReadRequest,
            Send("HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\n"),
            Close,
        ],
        Disabled,
    ),
    (
        "410 with an endless body",
        &[
            ReadRequest,
            Send("HTTP/1.1 410 Gone\r\n\r\n"),
            SendEndlessly("gone"),
        ],
        Disabled,
    ),
    (
        "429 for an hour with a cut body",
        &[
            ReadRequest,
            Send("HTTP/1.1 429 Busy\r\nretry-after: 3600\r\ncontent-length: 9\r\n\r\n"),
            Close,
        ],
        Paused(429, 3_600),
    ),
    (
        "503 for a minute with an endless body",
        &[
            ReadRequest,
            Send("HTTP/1.1 503 Busy\r\nretry-after: 60\r\n\r\n"),
            SendEndlessly("busy"),
        ],
        Paused(503, 60),
    ),
    (
        "500",
        &[ReadRequest, Send("HTTP/1.1 500 Error\r\n\r\n"), Close],
        Retried(500),
    ),
    (
        "reset after the status line",
        &[ReadRequest, Send("HTTP/1.1 200 OK\r\n"), Reset],
        Failed(Failure::Closed),
    ),
    (
        "reset in the middle of the headers",
        &[ReadRequest, Send("HTTP/1.1 200 OK\r\ncontent-le"), Reset],
        Failed(Failure::Closed),
    ),
    (
        "close in the middle of the status line",
        &[ReadRequest, Send("HTTP/1.1 2"), Close],
        Failed(Failure::Closed),
    ),
    (
        "headers that never end",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\nx-a: 1\r\n"),
            Advance(LONG),
            Hold,
        ],
        Failed(Failure::Timeout),
    ),
    (
        "endless headers",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\n"),
            SendEndlessly("x-long: long\r\n"),
        ],
        Failed(Failure::Protocol),
    ),
    (
        "close without an answer",
        &[ReadRequest, Close],
        Failed(Failure::Closed),
    ),
    ("close before the request", &[Close], Failed(Failure::Closed)),
    (
        "half-close without an answer",
        &[ReadRequest, ShutdownWrite, Hold],
        Failed(Failure::Closed),
    ),
    (
        "half-close after the answer",
        &[ReadRequest, Send(OK), ShutdownWrite, Hold],
        Delivered(200),
    ),
    (
        "silence",
        &[ReadRequest, Advance(LONG), Hold],
        Failed(Failure::Timeout),
    ),
    (
        "slow accept",
        &[Advance(Duration::from_secs(8)), ReadRequest, Send(OK), Hold],
        Delivered(200),
    ),
    (
        "another protocol",
        &[ReadRequest, Send("500 unrecognized command\r\n"), Hold],
        Failed(Failure::Protocol),
    ),
];

/// Receivers over TLS, with a certificate that the sender trusts.
pub(crate) const OVER_TLS: &[Row] = &[
    ("TLS", &[ReadRequest, Send(OK), Hold], Delivered(200)),
    (
        "TLS, body until close without close_notify",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"),
            Close,
        ],
        Delivered(200),
    ),
    (
        "TLS, cut body without close_notify",
        &[
            ReadRequest,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"),
            Close,
        ],
        Delivered(200),
    ),
    (
        "TLS, close without an answer",
        &[ReadRequest, Close],
        Failed(Failure::Closed),
    ),
];
