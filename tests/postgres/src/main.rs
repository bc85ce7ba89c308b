//! Starts a throw-away PostgreSQL server, prints the connection string of a database, and stops the server at the end of
//! standard input.

use std::io::{self, Write as _};
use std::process::ExitCode;

use test_postgres::{Cluster, Missing};

fn main() -> io::Result<ExitCode> {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(Missing { program, install }) => {
            writeln!(io::stderr(), "cannot find {program}: run `{install}`")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    writeln!(io::stdout(), "{}", cluster.create_database())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(ExitCode::SUCCESS)
}
