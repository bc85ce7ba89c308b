//! Comparison of the tables, indexes and triggers of a file with those of this version.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::schema;
use crate::sql::error::SqlError;
use crate::{StoreError, StoreErrorKind};

/// Fails unless the file has the tables, indexes and triggers of this version and no others. The source names the first
/// difference.
pub(super) fn refuse_differences(connection: &Connection) -> Result<(), SqlError> {
    match differences(connection)?.into_iter().next() {
        Some(difference) => Err(StoreError::new(StoreErrorKind::SchemaDiffers, difference).into()),
        None => Ok(()),
    }
}

/// The differences, one text each.
pub(super) fn differences(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let empty = Connection::open_in_memory()?;
    schema::create_tables(&empty)?;
    let (known, found) = (objects(&empty)?, objects(connection)?);
    let mut differences = Vec::new();
    for (name, definition) in &known {
        match found.get(name) {
            None => differences.push(format!("{name} is missing")),
            Some(found) if found != definition => {
                differences.push(format!("{name} differs from that of this version"));
            }
            Some(_) => {}
        }
    }
    let foreign = found.keys().filter(|name| !known.contains_key(*name));
    differences.extend(foreign.map(|name| format!("{name} is not of this version")));
    Ok(differences)
}

/// The definitions by kind and name, such as `trigger entries_no_update`.
fn objects(connection: &Connection) -> Result<BTreeMap<String, String>, SqlError> {
    // the reserved names are of what SQLite itself makes
    let mut objects = connection.prepare(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
         WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    // a migrated table has its columns in another order and other comments
    let mut columns = connection.prepare(
        "SELECT group_concat(line, char(10)) FROM (
             SELECT format('%s %s %d %s %d %d', name, type, \"notnull\", dflt_value, pk, hidden) AS line
             FROM pragma_table_xinfo(?1)
             UNION ALL
             SELECT format('%s -> %s %s %s', \"from\", \"table\", \"to\", on_delete)
             FROM pragma_foreign_key_list(?1)
             ORDER BY line)",
    )?;
    let mut found = BTreeMap::new();
    let mut rows = objects.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        let definition = match &*kind {
            "table" => columns.query_row([&name], |row| row.get::<_, Option<String>>(0))?,
            _ => None,
        };
        let (table, sql): (String, String) = (row.get(2)?, row.get(3)?);
        let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let definition = definition.unwrap_or_else(|| format!("{table}: {words}"));
        found.insert(format!("{kind} {name}"), definition);
    }
    Ok(found)
}
