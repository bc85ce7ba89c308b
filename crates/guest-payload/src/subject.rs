//! Subjects of rules.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{Category, Purpose};

/// The subject of a rule: a purpose, a category of sensitive data, or serving the guest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// The use of data for a purpose.
    Purpose(Purpose),
    /// The use of sensitive data, for any purpose.
    Sensitive(Category),
    /// Serving the guest, which needs no choice.
    Functional,
}

impl Subject {
    /// Number of subjects.
    pub(crate) const COUNT: usize = Purpose::ALL.len() + Category::ALL.len() + 1;

    /// Every subject, in the order of their indexes.
    pub fn all() -> impl Iterator<Item = Self> {
        let purposes = Purpose::ALL.into_iter().map(Self::Purpose);
        let categories = Category::ALL.into_iter().map(Self::Sensitive);
        purposes.chain(categories).chain([Self::Functional])
    }

    /// The name, as in `marketing`, `health` or `functional`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purpose(purpose) => purpose.as_str(),
            Self::Sensitive(category) => category.as_str(),
            Self::Functional => "functional",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Purpose(purpose) => purpose as usize,
            Self::Sensitive(category) => Purpose::ALL.len() + category as usize,
            Self::Functional => Self::COUNT - 1,
        }
    }

    /// The subject in a sentence, as in `health data`.
    pub(crate) fn description(self) -> String {
        match self {
            Self::Purpose(purpose) => purpose.to_string(),
            Self::Sensitive(category) => format!("{category} data"),
            Self::Functional => "serving the guest".to_owned(),
        }
    }
}

impl From<Purpose> for Subject {
    fn from(purpose: Purpose) -> Self {
        Self::Purpose(purpose)
    }
}

impl From<Category> for Subject {
    fn from(category: Category) -> Self {
        Self::Sensitive(category)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_their_indexes() {
        for (index, subject) in Subject::all().enumerate() {
            assert_eq!(subject.index(), index);
        }
        assert_eq!(Subject::all().count(), Subject::COUNT);
    }
}
