//! `version`.

use super::{Session, args};
use crate::exit::Exit;

/// Prints the version.
pub fn run(session: &Session, args: &args::Version) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    let text = match (args.short, args.format.as_str()) {
        (true, _) => format!("{version}\n"),
        (false, "json") => format!("{}\n", serde_json::json!({ "version": version })),
        (false, "pretty" | "") => format!("Consort version {version}\n"),
        (false, other) => {
            let _ = session.stderr.write_now(format!("error: unknown format {other:?}: `pretty` or `json`\n").as_bytes());
            return Exit::Failure;
        }
    };
    let _ = session.stdout.write_now(text.as_bytes());
    Exit::Success
}
