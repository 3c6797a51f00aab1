//! YAML as Compose files are written in it.
//!
//! The parser stands behind one file, so that it can be exchanged; everything above sees only [`Node`].

mod node;

pub use node::{Entry, Mapping, Node, Tag, Value};
