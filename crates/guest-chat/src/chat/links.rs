//! The links of files, which are shown only when asked for: whoever has one reads the file.

use std::collections::VecDeque;

use secrecy::SecretString;

/// How many links are remembered; beyond, the oldest is forgotten.
const MOST: usize = 32;

/// The links of the files that were shown, numbered from 1 over the whole chat.
#[derive(Debug, Default)]
pub(super) struct Links {
    forgotten: usize,
    links: VecDeque<SecretString>,
}

impl Links {
    /// Remembers a link, and gives its number.
    pub(super) fn add(&mut self, link: SecretString) -> usize {
        if self.links.len() == MOST {
            self.links.pop_front();
            self.forgotten += 1;
        }
        self.links.push_back(link);
        self.forgotten + self.links.len()
    }

    pub(super) fn open(&self, number: usize) -> Option<&SecretString> {
        self.links.get(number.checked_sub(self.forgotten + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_link_keeps_its_number_until_it_is_forgotten() {
        let mut links = Links::default();
        for number in 1..=MOST + 2 {
            assert_eq!(links.add(SecretString::from(format!("canary{number}"))), number);
        }
        for (number, found) in [
            (0, false),
            (2, false),
            (3, true),
            (MOST + 2, true),
            (MOST + 3, false),
        ] {
            let link = links.open(number).map(|link| link.expose_secret().to_owned());
            assert_eq!(link, found.then(|| format!("canary{number}")));
        }
        assert!(!format!("{links:?}").contains("canary"));
    }
}
