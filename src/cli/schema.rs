//! `schema`.

use super::{Session, args};
use crate::exit::Exit;
use crate::load::keys;

/// Prints what is known of the format: a JSON schema, or a document.
pub fn run(session: &Session, args: &args::Schema) -> Exit {
    let text = if args.markdown { keys::reference() } else { format!("{:#}\n", keys::schema()) };
    match session.stdout.write_now(text.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Failure,
    }
}
