//! Suggestions for misspelled names.

/// Returns the name that is spelled almost like `text`.
pub(crate) fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text: String = text
        .chars()
        .take(LONGEST)
        .collect::<String>()
        .to_ascii_lowercase();
    let most = (text.chars().count() / 3).clamp(1, 3);
    let distances = names
        .into_iter()
        .map(|name| (strsim::osa_distance(&text, &name.to_ascii_lowercase()), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= most).then_some(name)
}

/// Returns a suggestion as the end of a message, or an empty text.
pub(crate) fn did_you_mean<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(text, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Adds a suggestion to serde's message about an unknown field or variant.
pub(super) fn with_suggestion(message: &str) -> String {
    let is_unknown = ["unknown field", "unknown variant"]
        .iter()
        .any(|start| message.starts_with(start));
    let mut names = message.split('`').skip(1).step_by(2);
    let suggestion = match names.next() {
        Some(unknown) if is_unknown => did_you_mean(unknown, names),
        _ => String::new(),
    };
    format!("{message}{suggestion}")
}

/// Characters of a text that are compared.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_name_is_suggested_and_another_word_is_not() {
        for (text, expected) in [
            ("idle_timout", Some("idle_timeout")),
            ("Retention", Some("retention")),
            ("limits", Some("limit")),
            ("no_such_setting", None),
            ("", None),
        ] {
            assert_eq!(
                nearest(text, ["idle_timeout", "retention", "limit"]),
                expected,
                "{text}"
            );
        }
        let message = "unknown field `addressx`, expected `address` or `key`";
        assert_eq!(
            with_suggestion(message),
            format!("{message}; did you mean `address`?")
        );
        let other = "invalid type: string `a`, expected `b`";
        assert_eq!(with_suggestion(other), other);
    }
}
