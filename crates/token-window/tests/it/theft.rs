//! A stolen refresh token: once the client and the thief have each used a token that they received after the theft, the
//! family is revoked.

use proptest::prelude::*;
use secrecy::SecretString;
use token_window::IdempotencyKey;

use crate::{Random, Reply, Server};

/// One of two parties that use the same family.
#[derive(Debug)]
struct Party {
    refresh: SecretString,
    access: Option<SecretString>,
    /// The key of the next rotation. It stays until the rotation succeeds.
    key: Option<IdempotencyKey>,
    sends_keys: bool,
    /// Whether the tokens were received after the theft.
    received: bool,
    /// Whether such tokens were presented.
    presented: bool,
}

impl Party {
    fn refresh(&mut self, server: &mut Server, random: &mut Random, is_reply_lost: bool) {
        self.presented |= self.received;
        if self.sends_keys && self.key.is_none() {
            self.key = Some(random.key());
        }
        let reply = server.refresh(&self.refresh, self.key.as_ref());
        if let (Reply::Issued { access, refresh }, false) = (reply, is_reply_lost) {
            (self.refresh, self.access, self.key) = (refresh, Some(access), None);
            self.received = true;
        }
    }

    fn open(&mut self, server: &mut Server) {
        if let Some(access) = &self.access {
            self.presented |= self.received;
            server.open(access);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn family_is_revoked_once_client_and_thief_have_used_their_tokens(
        seed in any::<u64>(),
        earlier in 0_u32..6,
        client_sends_keys in any::<bool>(),
        thief_sends_keys in any::<bool>(),
        steps in proptest::collection::vec((any::<bool>(), 0_u8..4, any::<bool>()), 1..40),
    ) {
        let mut random = Random(seed);
        let mut server = Server::new(&mut random);
        let Reply::Issued { access, refresh } = server.issue() else {
            panic!("a new session has tokens");
        };
        let mut client = Party {
            refresh,
            access: Some(access),
            key: None,
            sends_keys: client_sends_keys,
            received: false,
            presented: false,
        };
        for _ in 0..earlier {
            client.refresh(&mut server, &mut random, false);
        }
        client.received = false;
        client.presented = false;
        let mut thief = Party {
            refresh: client.refresh.clone(),
            access: None,
            key: None,
            sends_keys: thief_sends_keys,
            received: false,
            presented: false,
        };
        for (is_thief, what, is_reply_lost) in steps {
            let party = match is_thief {
                true => &mut thief,
                false => &mut client,
            };
            match what {
                0 => party.open(&mut server),
                _ => party.refresh(&mut server, &mut random, is_reply_lost && what == 1),
            }
            if client.presented && thief.presented {
                prop_assert!(server.revoked, "{server:?}");
            }
        }
    }

    #[test]
    fn other_texts_never_revoke(seed in any::<u64>(), texts in proptest::collection::vec(".{0,80}", 1..20)) {
        let mut random = Random(seed);
        let mut server = Server::new(&mut random);
        let mut other = Server::new(&mut random);
        for text in texts {
            server.refresh(&text.as_str().into(), None);
            server.open(&text.as_str().into());
            let Reply::Issued { access, refresh } = other.issue() else {
                panic!("the other session is live");
            };
            server.refresh(&refresh, None);
            server.refresh(&access, None);
            server.open(&access);
            other.refresh(&refresh, None);
        }
        prop_assert!(!server.revoked);
        prop_assert_eq!(server.family.current().generation(), 1);
    }
}
