//! The server's rule for the rotation of refresh tokens.

/// The refresh tokens of one session: the current one, and the one that it replaced.
///
/// The server stores it with the session. `H` is the stored form of a token: a hash that compares in constant time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefreshTokenFamily<H> {
    /// The token that can be used next.
    pub current: H,
    /// The token that was replaced last.
    pub previous: Option<H>,
    /// Number of rotations so far.
    pub generation: u64,
}

impl<H> RefreshTokenFamily<H> {
    /// Rotates to `next` if the current token is presented. `is_presented` compares a stored token with it.
    ///
    /// A replaced token changes nothing, and neither does an unknown one.
    pub fn handle_presented(&mut self, is_presented: impl Fn(&H) -> bool, next: H) -> Presented {
        if self.previous.as_ref().is_some_and(&is_presented) {
            return Presented::Reused;
        }
        if !is_presented(&self.current) {
            return Presented::Unknown;
        }
        self.previous = Some(std::mem::replace(&mut self.current, next));
        self.generation += 1;
        Presented::Current
    }
}

/// The kind of a presented refresh token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Presented {
    /// The current token. The family has been rotated: issue the next token.
    Current,
    /// The token before the current one: stolen, or sent again after a lost reply. Write it to the audit log.
    Reused,
    /// No token of this family, or one that was replaced earlier.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_token_works_once() {
        let mut family = RefreshTokenFamily {
            current: 1,
            previous: None,
            generation: 0,
        };
        let mut present = |token, next| {
            let presented = family.handle_presented(|stored| *stored == token, next);
            (presented, family)
        };
        let rotated = RefreshTokenFamily {
            current: 2,
            previous: Some(1),
            generation: 1,
        };
        assert_eq!(present(1, 2), (Presented::Current, rotated));
        assert_eq!(present(1, 3), (Presented::Reused, rotated));
        assert_eq!(present(9, 3), (Presented::Unknown, rotated));
        assert_eq!(present(2, 3).0, Presented::Current);
        assert_eq!(present(1, 4).0, Presented::Unknown);
        assert_eq!(present(2, 4).0, Presented::Reused);
    }
}
