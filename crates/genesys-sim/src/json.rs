//! JSON objects with optional fields.

use serde_json::Value;

/// Removes the fields of an object that are `null`.
pub(crate) fn without_null(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}
