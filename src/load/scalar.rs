//! Scalars as text, and text as scalars, by the rules of the reference.

use crate::units::{Bytes, Duration};
use crate::yaml::{Node, Value};

/// The text of a scalar where the format wants a string: `1.50` is `1.5`, `1e3` is `1000`, nothing is nothing. `None`
/// for lists and mappings.
pub(super) fn text(node: &Node) -> Option<String> {
    Some(match &node.value {
        Value::Null => String::new(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Float(f) => float(*f),
        Value::Time(s) | Value::String(s) => s.clone(),
        Value::Seq(_) | Value::Map(_) => return None,
    })
}

/// A float as Go's `%v` writes it: shortest digits, an exponent below -4 and from 6 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(e) if value != 0.0 && !(-4..6).contains(&e) => {
            format!("{digits}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
        }
        _ => format!("{value}"),
    }
}

/// A boolean, or a word of YAML 1.1 for one.
pub(super) fn boolean(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(b) => Some(*b),
        Value::String(s) => match s.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number, written as one, as a float, whose fraction is cut off, or in a string.
pub(super) fn integer(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Int(n) => Some(*n),
        Value::Float(f) if f.abs() < 9e15 => Some(f.trunc() as i64),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}

/// A number, or a string that says one.
pub(super) fn number(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Int(n) => Some(*n as f64),
        Value::Uint(n) => Some(*n as f64),
        Value::Float(f) => Some(*f),
        Value::String(s) => s.parse().ok().filter(|f: &f64| f.is_finite()),
        _ => None,
    }
}

/// A size, as a number of bytes or with a unit. The second is the fault.
pub(super) fn bytes(node: &Node) -> Result<Bytes, String> {
    match &node.value {
        Value::String(s) => s.parse().map_err(|e: crate::units::UnitError| e.message),
        Value::Float(f) if f.fract() != 0.0 => Err("a size is a whole number of bytes".to_owned()),
        _ => integer(node).map(Bytes).ok_or_else(|| "a size is a whole number of bytes".to_owned()),
    }
}

/// A length of time.
pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    match &node.value {
        Value::String(s) => s.parse().map_err(|e: crate::units::UnitError| e.message),
        _ => Err("a duration is a string with units".to_owned()),
    }
}

/// A file mode: the digits of a string are octal, a number is what it is (`0400` in YAML is 256).
pub(super) fn mode(node: &Node) -> Option<u32> {
    match &node.value {
        Value::String(s) => u32::from_str_radix(s.strip_prefix("0o").unwrap_or(s), 8).ok(),
        _ => integer(node).and_then(|n| u32::try_from(n).ok()),
    }
}

/// A number of devices; -1 is all of them.
pub(super) fn count(node: &Node) -> Option<i64> {
    match &node.value {
        Value::String(s) if s.eq_ignore_ascii_case("all") => Some(-1),
        _ => integer(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_go_prints_them() {
        for (value, text) in [
            (1.5, "1.5"),
            (1.0, "1"),
            (1e3, "1000"),
            (123_456_789.0, "1.23456789e+08"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (0.0, "0"),
            (-0.0, "-0"),
        ] {
            assert_eq!(float(value), text);
        }
    }
}
