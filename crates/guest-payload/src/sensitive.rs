//! Categories of sensitive data, and the names of attributes that suggest one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Purpose;

/// A category of sensitive data, which needs a basis of its own beside that of its purpose.
///
/// The categories are those of Art. 9 GDPR and of the state laws of the United States, without criminal records.
/// Genetic data counts as health.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Category {
    /// Health, treatment, disability, genetic data.
    Health,
    /// Measurements of the body that identify a person.
    Biometric,
    /// A location that is more precise than a town.
    PreciseLocation,
    /// Data about children of the guest.
    Children,
    /// Religious or philosophical belief.
    Faith,
    /// Sexual orientation, sex life, gender identity.
    Orientation,
    /// Membership of a trade union.
    Union,
    /// Citizenship and immigration status.
    Immigration,
    /// Ethnic origin.
    Ethnicity,
    /// Political opinion.
    Politics,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 10] = [
        Self::Health,
        Self::Biometric,
        Self::PreciseLocation,
        Self::Children,
        Self::Faith,
        Self::Orientation,
        Self::Union,
        Self::Immigration,
        Self::Ethnicity,
        Self::Politics,
    ];

    /// The name, as in `precise-location`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Biometric => "biometric",
            Self::PreciseLocation => "precise-location",
            Self::Children => "children",
            Self::Faith => "faith",
            Self::Orientation => "orientation",
            Self::Union => "union",
            Self::Immigration => "immigration",
            Self::Ethnicity => "ethnicity",
            Self::Politics => "politics",
        }
    }

    /// The category that the name of an attribute suggests, by English words in it. Our choice of words.
    ///
    /// A word of six letters or more is also found inside another, as in `hasdiabetes`.
    #[must_use]
    pub fn suggested_by(name: &str) -> Option<Self> {
        let words = words(name);
        let whole = words.concat();
        let has =
            |word: &str| words.iter().any(|own| own == word) || (word.len() >= 6 && whole.contains(word));
        let suggests = |category: &Self| category.vocabulary().iter().any(|word| has(word));
        Self::ALL.into_iter().find(suggests)
    }

    const fn vocabulary(self) -> &'static [&'static str] {
        match self {
            Self::Health => &[
                "allergies",
                "allergy",
                "blood",
                "bmi",
                "cancer",
                "condition",
                "dna",
                "diabetes",
                "diagnoses",
                "diagnosis",
                "disabilities",
                "disability",
                "disabled",
                "disease",
                "doctor",
                "genetic",
                "health",
                "healthcare",
                "hiv",
                "hospital",
                "illness",
                "medical",
                "medication",
                "medicine",
                "patient",
                "pregnancy",
                "pregnant",
                "prescription",
                "symptom",
                "symptoms",
                "therapy",
                "treatment",
            ],
            Self::Biometric => &[
                "biometric",
                "biometrics",
                "faceid",
                "faceprint",
                "fingerprint",
                "iris",
                "retina",
                "voiceprint",
            ],
            Self::PreciseLocation => &[
                "coordinates",
                "geo",
                "geolocation",
                "gps",
                "lat",
                "latitude",
                "lng",
                "longitude",
            ],
            Self::Children => &[
                "baby",
                "child",
                "childname",
                "children",
                "daughter",
                "kid",
                "kids",
                "minor",
                "pupil",
                "son",
            ],
            Self::Faith => &[
                "belief",
                "church",
                "denomination",
                "faith",
                "mosque",
                "religion",
                "religious",
                "synagogue",
            ],
            Self::Orientation => &[
                "gay",
                "gender",
                "lgbt",
                "orientation",
                "sexual",
                "sexuality",
                "transgender",
            ],
            Self::Union => &["union", "unionmember", "tradeunion"],
            Self::Immigration => &["asylum", "citizenship", "immigrant", "immigration", "refugee"],
            Self::Ethnicity => &["ethnic", "ethnicity", "race", "racial"],
            Self::Politics => &["political", "politics", "vote", "voter"],
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The lower-case words of a name: `hasDiabetes` and `has_diabetes` have two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (was_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if let Some(word) = words.last_mut()
            && c.is_alphanumeric()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The form of an attribute's name in which it is compared with declared ones: letters and digits, in lower case, without the
/// prefixes of purposes.
pub(crate) fn declared_name(name: &str) -> String {
    let mut name = name;
    while let Some((_, rest)) = Purpose::split_prefix(name).filter(|(_, rest)| !rest.is_empty()) {
        name = rest;
    }
    words(name).concat()
}

/// An attribute whose name suggests sensitive data, and which the policy does not declare.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize, thiserror::Error)]
#[error(
    "the attribute {attribute:?} suggests {category} data, and the policy does not declare it: declare it in [attributes] as \
     {category} or ordinary"
)]
#[non_exhaustive]
pub struct AttributeWarning {
    /// The name of the attribute.
    pub attribute: String,
    /// The category that it suggests.
    pub category: Category,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_suggest_categories() {
        for (name, category) in [
            ("diagnosis", Some(Category::Health)),
            ("marketing.hasDiabetes", Some(Category::Health)),
            ("hasdiabetes", Some(Category::Health)),
            ("MEDICATION_LIST", Some(Category::Health)),
            ("face-id-fingerprint", Some(Category::Biometric)),
            ("geo.lat", Some(Category::PreciseLocation)),
            ("flat", None),
            ("childName", Some(Category::Children)),
            ("religion", Some(Category::Faith)),
            ("sexualOrientation", Some(Category::Orientation)),
            ("trade_union", Some(Category::Union)),
            ("citizenshipStatus", Some(Category::Immigration)),
            ("race", Some(Category::Ethnicity)),
            ("trace", None),
            ("voter_id", Some(Category::Politics)),
            ("source", None),
            ("marketing.segment", None),
            ("analytics.page", None),
            ("", None),
        ] {
            assert_eq!(Category::suggested_by(name), category, "{name}");
        }
    }

    #[test]
    fn declared_name_has_no_purpose_case_and_separators() {
        for (name, declared) in [
            ("Diagnosis", "diagnosis"),
            ("marketing.Diagnosis", "diagnosis"),
            ("Marketing.diagnosis", "diagnosis"),
            ("marketing.marketing.diagnosis", "diagnosis"),
            ("marketing .diagnosis", "diagnosis"),
            ("ANALYTICS-marketing_Diagnosis", "diagnosis"),
            ("marketing", "marketing"),
            ("marketing.marketing", "marketing"),
            ("health.diagnosis", "healthdiagnosis"),
            ("blood-type", "bloodtype"),
            ("personalization.Blood_Type", "bloodtype"),
            ("bloodType", "bloodtype"),
            ("marketing.", ""),
            ("Größe", "größe"),
        ] {
            assert_eq!(declared_name(name), declared);
        }
    }
}
