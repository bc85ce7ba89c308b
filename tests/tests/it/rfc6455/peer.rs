//! The peer that writes and reads frames by hand: RFC 6455 section 5.2.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The message of all cases: `ü` is two bytes in UTF-8.
pub(super) fn text() -> &'static str {
    "grün"
}

/// The end of the peer. The other end is under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

/// A raw connection after the handshake.
pub(super) struct Peer {
    pub(super) tcp: TcpStream,
    pub(super) role: Role,
}

/// Writes the frames of a case.
pub(super) struct FrameWriter<'a> {
    role: Role,
    pub(super) message: &'a str,
    pub(super) limit: usize,
}

/// A frame that the end under test sent.
#[derive(Debug)]
pub(super) enum Sent {
    Close(u16),
    Pong(Vec<u8>),
    Text(String),
}

impl Peer {
    pub(super) fn writer<'a>(&self, message: &'a str, limit: usize) -> FrameWriter<'a> {
        FrameWriter {
            role: self.role,
            message,
            limit,
        }
    }

    /// Writes as much as the other end reads: it may have closed.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes).await;
    }

    /// Closes its own direction of TCP.
    pub(super) async fn shut_down(&mut self) {
        let _ = self.tcp.shutdown().await;
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) async fn receive(&mut self) -> Option<Sent> {
        let first = self.tcp.read_u8().await.ok()?;
        let second = self.tcp.read_u8().await.unwrap();
        let masked = second & 0x80 != 0;
        assert_eq!(
            masked,
            self.role == Role::Server,
            "RFC 6455 section 5.1: who masks"
        );
        let length = match second & 0x7f {
            126 => usize::from(self.tcp.read_u16().await.unwrap()),
            127 => panic!("a frame of more than 64 KiB"),
            length => usize::from(length),
        };
        let mut mask = [0; 4];
        if masked {
            self.tcp.read_exact(&mut mask).await.unwrap();
        }
        let mut payload = vec![0; length];
        self.tcp.read_exact(&mut payload).await.unwrap();
        for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= mask;
        }
        Some(match first {
            0x81 => Sent::Text(String::from_utf8(payload).unwrap()),
            0x88 => Sent::Close(match payload[..] {
                [] => 1005,
                [high, low, ..] => u16::from_be_bytes([high, low]),
                [_] => panic!("half a close code"),
            }),
            0x8a => Sent::Pong(payload),
            other => panic!("an unexpected frame {other:#x}"),
        })
    }
}

impl FrameWriter<'_> {
    /// A frame as the peer has to write it; `first` holds FIN, reserved bits and opcode.
    pub(super) fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        self.write(first, payload, self.role == Role::Client)
    }

    /// A frame with the wrong masking for its sender.
    pub(super) fn frame_with_wrong_mask(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        self.write(first, payload, self.role == Role::Server)
    }

    /// A text frame of this many bytes, of which none follow. The mask is 0.
    pub(super) fn frame_header(&self, length: u64) -> Vec<u8> {
        let masked = self.role == Role::Client;
        let mut bytes = vec![0x81, 127 | u8::from(masked) << 7];
        bytes.extend(length.to_be_bytes());
        bytes.extend(if masked { &[0; 4][..] } else { &[] });
        bytes
    }

    fn write(&self, first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let bit = u8::from(masked) << 7;
        let mut bytes = vec![first];
        match payload.len() {
            length @ ..126 => bytes.push(bit | length as u8),
            length @ ..0x1_0000 => {
                bytes.push(bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend(MASK);
            let mask = MASK.into_iter().cycle();
            bytes.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend(payload);
        }
        bytes
    }
}
