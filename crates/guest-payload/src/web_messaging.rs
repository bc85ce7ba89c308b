//! Genesys Cloud's contract: what of a session goes into a guest's messages there.

use std::collections::BTreeMap;

use crate::LawfulAttributes;

/// The custom attributes of `message.channel.metadata.customAttributes`, a map of texts.
///
/// They obey Genesys' limit of 2,048 bytes (error 4013), since [`Attributes`](crate::Attributes) does.
#[must_use]
pub fn custom_attributes(attributes: &LawfulAttributes) -> BTreeMap<String, String> {
    attributes
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Purpose};

    #[test]
    fn only_what_is_lawful_goes_there() {
        let mut attributes = Attributes::new();
        attributes.insert("source", "web").unwrap();
        attributes.insert("marketing.segment", "gold").unwrap();
        attributes.insert("analytics.page", "/").unwrap();
        let lawful = LawfulAttributes::keep(attributes, |purpose| purpose == Purpose::Analytics);
        let custom: Vec<_> = custom_attributes(&lawful).into_iter().collect();
        let expected =
            [("analytics.page", "/"), ("source", "web")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(custom, expected);
    }
}
