//! Links of files. A link grants access to its file, so it is shown only on request.

use std::collections::VecDeque;

use secrecy::SecretString;

/// Links kept. The oldest is dropped first.
const CAPACITY: usize = 32;

/// The links of the shown files, numbered from 1 over the whole chat.
#[derive(Debug, Default)]
pub(super) struct Links {
    dropped: usize,
    links: VecDeque<SecretString>,
}

impl Links {
    /// Adds a link and returns its number.
    pub(super) fn add(&mut self, link: SecretString) -> usize {
        if self.links.len() == CAPACITY {
            self.links.pop_front();
            self.dropped += 1;
        }
        self.links.push_back(link);
        self.dropped + self.links.len()
    }

    pub(super) fn open(&self, number: usize) -> Option<&SecretString> {
        self.links.get(number.checked_sub(self.dropped + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn link_keeps_its_number_until_it_is_dropped() {
        let mut links = Links::default();
        for number in 1..=CAPACITY + 2 {
            assert_eq!(links.add(SecretString::from(format!("canary{number}"))), number);
        }
        for (number, found) in [
            (0, false),
            (2, false),
            (3, true),
            (CAPACITY + 2, true),
            (CAPACITY + 3, false),
        ] {
            let link = links.open(number).map(|link| link.expose_secret().to_owned());
            assert_eq!(link, found.then(|| format!("canary{number}")));
        }
        assert!(!format!("{links:?}").contains("canary"));
    }
}
