//! The cases: bytes, and the reaction that RFC 6455 requires.

use super::peer::FrameWriter;

/// Bytes that a peer writes, and the right answer.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Of RFC 6455.
    pub(super) section: &'static str,
    pub(super) bytes: fn(&FrameWriter<'_>) -> Vec<u8>,
    /// Number of times that the message is received.
    pub(super) received: usize,
    pub(super) pongs: &'static [&'static [u8]],
    pub(super) then: Then,
}

/// State of the connection afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// The end sends a close frame with this code (1005: with none) and ends the connection.
    Closes(u16),
    StaysOpen,
    /// The peer closes TCP in its direction, whereupon the end does.
    Ends,
}

const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIN: u8 = 0x80;

const fn received(name: &'static str, section: &'static str, bytes: fn(&FrameWriter<'_>) -> Vec<u8>) -> Case {
    Case {
        name,
        section,
        bytes,
        received: 1,
        pongs: &[],
        then: Then::StaysOpen,
    }
}

const fn answered(
    name: &'static str,
    section: &'static str,
    bytes: fn(&FrameWriter<'_>) -> Vec<u8>,
    pongs: &'static [&'static [u8]],
) -> Case {
    Case {
        pongs,
        ..received(name, section, bytes)
    }
}

const fn closed(
    name: &'static str,
    section: &'static str,
    bytes: fn(&FrameWriter<'_>) -> Vec<u8>,
    code: u16,
) -> Case {
    Case {
        received: 0,
        then: Then::Closes(code),
        ..received(name, section, bytes)
    }
}

/// The message in fragments that end before these bytes.
fn fragments(writer: &FrameWriter<'_>, at: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let message = writer.message.as_bytes();
    let ends: Vec<usize> = at.into_iter().chain([message.len()]).collect();
    let starts = [0].into_iter().chain(ends.iter().copied());
    starts
        .zip(&ends)
        .enumerate()
        .map(|(number, (start, &end))| {
            let first = if number == 0 { TEXT } else { CONTINUATION };
            let fin = if number + 1 == ends.len() { FIN } else { 0 };
            writer.frame(first | fin, &message[start..end])
        })
        .collect()
}

/// The byte in the middle of the message's `ü`.
fn within_a_character(writer: &FrameWriter<'_>) -> usize {
    writer.message.find('ü').unwrap() + 1
}

fn close(writer: &FrameWriter<'_>, code: u16) -> Vec<u8> {
    writer.frame(CLOSE, &code.to_be_bytes())
}

/// The message in a binary frame.
pub(super) const fn binary(then: Then) -> Case {
    Case {
        then,
        ..closed(
            "a binary message",
            "5.6",
            |writer| writer.frame(FIN | BINARY, writer.message.as_bytes()),
            0,
        )
    }
}

pub(super) const CASES: &[Case] = &[
    received("one frame", "5.6", |writer| {
        writer.frame(FIN | TEXT, writer.message.as_bytes())
    }),
    received("three fragments", "5.4", |writer| {
        fragments(writer, [1, 3]).concat()
    }),
    received("empty fragments", "5.4", |writer| {
        fragments(writer, [0, 2, 2, 2, writer.message.len()]).concat()
    }),
    received("fragments of a byte", "5.4", |writer| {
        fragments(writer, 1..writer.message.len()).concat()
    }),
    received("a character across fragments", "5.6", |writer| {
        fragments(writer, [within_a_character(writer)]).concat()
    }),
    answered(
        "a ping between fragments",
        "5.4, 5.5.2",
        |writer| fragments(writer, [2]).join(&writer.frame(PING, b"between")[..]),
        &[b"between"],
    ),
    answered(
        "a ping inside a character",
        "5.4",
        |writer| fragments(writer, [within_a_character(writer)]).join(&writer.frame(PING, b"")[..]),
        &[b""],
    ),
    answered(
        "a ping of 125 bytes",
        "5.5",
        |writer| {
            [
                writer.frame(PING, &[7; 125]),
                writer.frame(FIN | TEXT, writer.message.as_bytes()),
            ]
            .concat()
        },
        &[&[7; 125]],
    ),
    received("a pong that nobody asked for", "5.5.3", |writer| {
        [
            writer.frame(PONG, b"hm"),
            writer.frame(FIN | TEXT, writer.message.as_bytes()),
        ]
        .concat()
    }),
    // section 5.2 requires the shortest form; the library accepts longer ones, which is harmless: the length is
    // the same
    received("a length in eight bytes", "5.2", |writer| {
        let length = writer.message.len() as u64;
        [writer.frame_header(length), writer.message.as_bytes().to_vec()].concat()
    }),
    // section 5.5.3 allows a reply to the last one only
    Case {
        received: 0,
        ..answered(
            "two pings at once",
            "5.5.3",
            |writer| [writer.frame(PING, b"one"), writer.frame(PING, b"two")].concat(),
            &[b"one", b"two"],
        )
    },
    Case {
        then: Then::Ends,
        ..received("TCP half-closed after a message", "7.1.1", |writer| {
            writer.frame(FIN | TEXT, writer.message.as_bytes())
        })
    },
    Case {
        received: 0,
        then: Then::Ends,
        ..received("TCP half-closed within a message", "7.1.5", |writer| {
            fragments(writer, [2]).swap_remove(0)
        })
    },
    Case {
        received: 0,
        then: Then::Ends,
        ..received("TCP half-closed within a frame", "7.1.5", |writer| {
            let mut frame = writer.frame(FIN | TEXT, writer.message.as_bytes());
            frame.pop();
            frame
        })
    },
    closed("a close", "5.5.1", |writer| close(writer, 1000), 1000),
    closed(
        "a close with a reason",
        "5.5.1",
        |writer| writer.frame(CLOSE, b"\x03\xe9going"),
        1001,
    ),
    closed(
        "a close without a code",
        "5.5.1, 7.1.5",
        |writer| writer.frame(CLOSE, b""),
        1005,
    ),
    closed(
        "a close between fragments",
        "5.4",
        |writer| fragments(writer, [2]).join(&close(writer, 1000)[..]),
        1000,
    ),
    closed(
        "a message after a close",
        "5.5.1",
        |writer| {
            [
                close(writer, 1000),
                writer.frame(FIN | TEXT, writer.message.as_bytes()),
            ]
            .concat()
        },
        1000,
    ),
    closed(
        "an application's close code",
        "7.4.2",
        |writer| close(writer, 4999),
        4999,
    ),
    closed(
        "a library's close code",
        "7.4.2",
        |writer| close(writer, 3000),
        3000,
    ),
    closed("close code 0", "7.4.2", |writer| close(writer, 0), 1002),
    closed("close code 999", "7.4.2", |writer| close(writer, 999), 1002),
    closed("close code 1004", "7.4.1", |writer| close(writer, 1004), 1002),
    closed("close code 1005", "7.4.1", |writer| close(writer, 1005), 1002),
    closed("close code 1006", "7.4.1", |writer| close(writer, 1006), 1002),
    closed("close code 1015", "7.4.1", |writer| close(writer, 1015), 1002),
    closed("close code 1016", "7.4.2", |writer| close(writer, 1016), 1002),
    closed("close code 2999", "7.4.2", |writer| close(writer, 2999), 1002),
    closed("close code 5000", "7.4.2", |writer| close(writer, 5000), 1002),
    closed(
        "half a close code",
        "5.5.1",
        |writer| writer.frame(CLOSE, &[3]),
        1002,
    ),
    closed(
        "a close reason that is not UTF-8",
        "5.5.1",
        |writer| writer.frame(CLOSE, b"\x03\xe8\xff"),
        1007,
    ),
    closed(
        "text that is not UTF-8",
        "8.1",
        |writer| writer.frame(FIN | TEXT, b"gr\xfcn"),
        1007,
    ),
    closed(
        "text that ends within a character",
        "8.1",
        |writer| writer.frame(FIN | TEXT, b"gr\xc3"),
        1007,
    ),
    closed(
        "text that holds a surrogate",
        "8.1",
        |writer| writer.frame(FIN | TEXT, b"\xed\xa0\x80"),
        1007,
    ),
    closed(
        "text that is longer than it need be",
        "8.1",
        |writer| writer.frame(FIN | TEXT, b"\xc0\xaf"),
        1007,
    ),
    closed(
        "fragments that make no character",
        "8.1",
        |writer| {
            [
                writer.frame(TEXT, b"gr\xc3"),
                writer.frame(FIN | CONTINUATION, b"n"),
            ]
            .concat()
        },
        1007,
    ),
    closed(
        "fragments that end within a character",
        "8.1",
        |writer| {
            [
                writer.frame(TEXT, b"gr"),
                writer.frame(FIN | CONTINUATION, b"\xc3"),
            ]
            .concat()
        },
        1007,
    ),
    closed(
        "a frame masked wrongly",
        "5.1",
        |writer| writer.frame_with_wrong_mask(FIN | TEXT, writer.message.as_bytes()),
        1002,
    ),
    closed(
        "a ping masked wrongly",
        "5.1",
        |writer| writer.frame_with_wrong_mask(PING, b"hm"),
        1002,
    ),
    closed(
        "a ping of 126 bytes",
        "5.5",
        |writer| writer.frame(PING, &[7; 126]),
        1002,
    ),
    closed(
        "a close of 126 bytes",
        "5.5",
        |writer| writer.frame(CLOSE, &[3; 126]),
        1002,
    ),
    closed(
        "a ping in fragments",
        "5.5",
        |writer| writer.frame(PING & !FIN, b"hm"),
        1002,
    ),
    closed(
        "a close in fragments",
        "5.5",
        |writer| writer.frame(CLOSE & !FIN, &[3, 0xe8]),
        1002,
    ),
    closed(
        "the first reserved bit",
        "5.2",
        |writer| writer.frame(FIN | 0x40 | TEXT, b"hm"),
        1002,
    ),
    closed(
        "the second reserved bit",
        "5.2",
        |writer| writer.frame(FIN | 0x20 | TEXT, b"hm"),
        1002,
    ),
    closed(
        "the third reserved bit, on a ping",
        "5.2",
        |writer| writer.frame(PING | 0x10, b"hm"),
        1002,
    ),
    closed(
        "a reserved opcode of data",
        "5.2",
        |writer| writer.frame(FIN | 0x03, b"hm"),
        1002,
    ),
    closed(
        "the last reserved opcode of data",
        "5.2",
        |writer| writer.frame(FIN | 0x07, b"hm"),
        1002,
    ),
    closed(
        "a reserved opcode of control",
        "5.2",
        |writer| writer.frame(FIN | 0x0b, b"hm"),
        1002,
    ),
    closed(
        "the last reserved opcode of control",
        "5.2",
        |writer| writer.frame(FIN | 0x0f, b"hm"),
        1002,
    ),
    closed(
        "a continuation of nothing",
        "5.4",
        |writer| writer.frame(FIN | CONTINUATION, b"hm"),
        1002,
    ),
    closed(
        "a message within a message",
        "5.4",
        |writer| [writer.frame(TEXT, b"hm"), writer.frame(FIN | TEXT, b"hm")].concat(),
        1002,
    ),
    closed(
        "a binary message within a message",
        "5.4",
        |writer| [writer.frame(TEXT, b"hm"), writer.frame(FIN | BINARY, b"hm")].concat(),
        1002,
    ),
    // a length beyond the limit is refused before any payload is read
    closed(
        "a frame frame_header beyond the limit",
        "7.4.1, 10.4",
        |writer| writer.frame_header(writer.limit as u64 + 1),
        1009,
    ),
    closed(
        "a frame frame_header at 4 EiB",
        "7.4.1, 10.4",
        |writer| writer.frame_header(1 << 62),
        1009,
    ),
    // section 5.2 requires the highest bit of a length to be 0; the limit of the length is checked first
    closed(
        "a frame frame_header with the highest bit",
        "5.2, 7.4.1",
        |writer| writer.frame_header(u64::MAX),
        1009,
    ),
    closed(
        "fragments beyond the limit in sum",
        "5.4, 10.4",
        |writer| {
            let half = vec![b'x'; writer.limit / 2 + 1];
            [writer.frame(TEXT, &half), writer.frame(FIN | CONTINUATION, &half)].concat()
        },
        1009,
    ),
];
