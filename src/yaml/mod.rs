//! YAML as Compose files are written in it.
//!
//! The parser stands behind one file, so that it can be exchanged; everything above sees only [`Node`].

mod build;
mod context;
mod emit;
mod fault;
mod lines;
mod node;
mod order;
mod parse;
mod quotes;
mod repair;
mod scalar;
mod slips;
#[cfg(test)]
mod tests;

pub use build::MAX_DEPTH;
pub use emit::{emit, emit_entry, unquoted};
pub use node::{Entry, Mapping, Node, Tag, Value};
pub use order::natural;
pub use parse::{Parsed, parse};
pub use scalar::{format_float, format_time, is_old_typed, is_plain_string, resolve};

/// `text` without a leading byte order mark. Spans count from here, so do this before the text enters a
/// [`SourceMap`](crate::diag::SourceMap).
pub fn strip_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
