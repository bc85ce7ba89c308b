//! Values of parameters and columns, in the types that both databases have.

use crate::StoreErrorKind;

use super::error::SqlError;

/// A value of a parameter or a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    /// UTF-8, unless another program wrote it.
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// A type that can be a parameter.
pub(crate) trait ToValue {
    fn to_value(&self) -> Value<'_>;
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self.as_bytes())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self.as_bytes())
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

/// The parameters of a statement, `?1` first.
pub(crate) trait Params {
    fn len(&self) -> usize;
    fn value(&self, index: usize) -> Value<'_>;
}

impl Params for () {
    fn len(&self) -> usize {
        0
    }

    fn value(&self, _: usize) -> Value<'_> {
        Value::Null
    }
}

impl<T: ToValue, const N: usize> Params for [T; N] {
    fn len(&self) -> usize {
        N
    }

    fn value(&self, index: usize) -> Value<'_> {
        self[index].to_value()
    }
}

impl<T: ToValue> Params for &[T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn value(&self, index: usize) -> Value<'_> {
        self[index].to_value()
    }
}

/// Parameters of different types.
macro_rules! params {
    ($($value:expr),+ $(,)?) => {
        &[$(&$value as &dyn $crate::sql::values::ToValue),+] as &[&dyn $crate::sql::values::ToValue]
    };
}
pub(crate) use params;

/// Bytes of most rows. Our choice.
const ENCODED: usize = 1_024;

/// Values after the name of what they are, in a form that no other values have.
pub(crate) fn encode<'a>(name: &str, values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENCODED);
    bytes.extend_from_slice(name.as_bytes());
    for value in values {
        let (kind, value) = match value {
            Value::Null => (0, &[][..]),
            Value::Integer(number) => {
                bytes.push(1);
                bytes.extend_from_slice(&number.to_be_bytes());
                continue;
            }
            Value::Real(number) => {
                bytes.push(2);
                bytes.extend_from_slice(&number.to_be_bytes());
                continue;
            }
            Value::Text(text) => (3, text),
            Value::Blob(blob) => (4, blob),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// A row of a result.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    #[cfg(feature = "postgres")]
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// The value of a column.
    ///
    /// # Errors
    /// `Corrupt` if the column has another type.
    pub(crate) fn get<T: Column>(&self, column: usize) -> Result<T, SqlError> {
        T::read(self.value(column)?).ok_or_else(|| SqlError::wrong_type(column))
    }

    pub(crate) fn value(&self, column: usize) -> Result<Value<'_>, SqlError> {
        match self {
            Self::Sqlite(row) => Ok(row.get_ref(column)?.into()),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => crate::postgres::value(row, column),
        }
    }
}

/// A type of a column.
pub(crate) trait Column: Sized {
    fn read(value: Value<'_>) -> Option<Self>;
}

impl Column for i64 {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl Column for bool {
    fn read(value: Value<'_>) -> Option<Self> {
        i64::read(value).map(|number| number != 0)
    }
}

impl Column for String {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(std::str::from_utf8(text).ok()?.to_owned()),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> Column for [u8; N] {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::read(value).map(Some),
        }
    }
}

impl<'a> From<rusqlite::types::ValueRef<'a>> for Value<'a> {
    fn from(value: rusqlite::types::ValueRef<'a>) -> Self {
        use rusqlite::types::ValueRef;
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(text) => Self::Text(text),
            ValueRef::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Real(number) => ValueRef::Real(number),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

impl SqlError {
    fn wrong_type(column: usize) -> Self {
        let source = format!("column {column} of a row has a value of another type");
        crate::StoreError::new(StoreErrorKind::Corrupt, source).into()
    }
}
