//! The actions of guests with their fields, for the strict parser of `genesys-sim`.

use std::error::Error;
use std::fmt::Write;

use super::ACTIONS;
use super::facts::{Actions, Sources};

pub(crate) fn generate(sources: &Sources) -> Result<String, Box<dyn Error>> {
    let Actions { mut actions } = sources.toml(ACTIONS)?;
    actions.sort_by(|one, other| one.name.cmp(&other.name));
    let mut code = format!(
        "/// Every action with the fields that it may have. Arrays are transparent; `*` stands for any path below.\n\
         pub(crate) const ACTIONS: [(&str, &[&str]); {}] = [",
        actions.len()
    );
    for action in &mut actions {
        action.fields.sort_by(|one, other| one.path.cmp(&other.path));
        let paths: Vec<&str> = action.fields.iter().map(|field| field.path.as_str()).collect();
        write!(code, "({:?}, &{paths:?}),", action.name)?;
    }
    code.push_str("];\n");
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_is_a_row_of_its_fields_in_order() {
        let spec = "[[action]]\nname = \"getJwt\"\nanswer = \"JwtResponse\"\nmeaning = \"a token\"\n\
                    provenance = \"official\"\nsource = \"here\"\nfields = [{ path = \"b\" }, { path = \"a.*\" }]\n";
        let code = generate(&Sources::of([(ACTIONS, spec)])).unwrap();
        assert!(code.ends_with("[(\"getJwt\", &[\"a.*\", \"b\"]),];\n"), "{code}");
    }
}
