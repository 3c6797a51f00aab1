//! What an unquoted scalar means: the typing of Go's yaml.v3, which the reference reads Compose files with.
//!
//! Of YAML 1.1 come octal `0644`, `_` in numbers and dates; of YAML 1.2 come `0o17` and that `yes` and `22:22` are
//! strings.

use super::Value;

/// The value of the plain scalar `text`.
pub fn resolve(text: &str) -> Value {
    typed(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The value of the plain scalar `text`, unless it is a string.
fn typed(text: &str) -> Option<Value> {
    match text.as_bytes().first() {
        // Only a number that begins with a digit may hold underscores.
        Some(b'.') if is_float(text) => float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if is_timestamp(text) {
                return Some(Value::Time(text.to_owned()));
            }
            let without;
            let digits = if text.contains('_') {
                without = text.replace('_', "");
                &without
            } else {
                text
            };
            integer(digits).or_else(|| is_float(digits).then(|| float(digits)).flatten()).or_else(|| word(text))
        }
        _ => word(text),
    }
}

/// A [`Value::Time`] as the reference writes it (RFC 3339): a date is its midnight, what has no zone is of UTC.
pub fn format_time(text: &str) -> String {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "0:0:0"));
    let two = |separator: &str, parts: &str| parts.split(separator).map(|p| format!("{p:0>2}")).collect::<Vec<_>>().join(separator);
    let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let zone = if matches!(zone, "" | "+00:00" | "-00:00") { "Z" } else { zone };
    format!("{}T{}{fraction}{zone}", two("-", date), two(":", clock))
}

/// Whether `text`, written without quotes, would be read back as this string.
pub fn is_plain_string(text: &str) -> bool {
    typed(text).is_none()
}

/// Whether a YAML 1.1 reader would take `text` for a boolean or a number of base 60 where we see a string. The emitter
/// quotes such strings for the sake of other readers.
pub fn is_old_typed(text: &str) -> bool {
    matches!(text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") || is_base60(text)
}

/// A float in Go's shortest form: `1`, `0.5`, `1.5e+06`, `1e-05`; never with a trailing `.0`, with an exponent from a
/// million on and below a ten-thousandth.
pub fn format_float(float: f64) -> String {
    let shortest = format!("{float:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return match shortest.as_str() {
            "inf" => ".inf".to_owned(),
            "-inf" => "-.inf".to_owned(),
            _ => ".nan".to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{float}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn word(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// `text` as a float; `None` if it is too large for one.
fn float(text: &str) -> Option<Value> {
    text.parse().ok().filter(|f: &f64| f.is_finite()).map(Value::Float)
}

/// Decimal, `0x`, `0b`, `0o` and octal with a leading 0, with sign. `None` if it isn't one or doesn't fit 64 bits.
fn integer(text: &str) -> Option<Value> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match body.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &body[2..]),
        [b'0', b'b' | b'B', ..] => (2, &body[2..]),
        [b'0', b'o' | b'O', ..] => (8, &body[2..]),
        [b'0', _, ..] => (8, &body[1..]),
        _ => (10, body),
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match i64::try_from(if negative { -i128::from(magnitude) } else { i128::from(magnitude) }) {
        Ok(n) => Some(Value::Int(n)),
        Err(_) if text.starts_with(['-', '+']) => None,
        Err(_) => Some(Value::Uint(magnitude)),
    }
}

/// Drops a run of digits; `None` if there is none.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// `[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?`
fn is_float(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rest = match body.strip_prefix('.') {
        Some(fraction) => digits(fraction),
        None => digits(body).map(|rest| match rest.strip_prefix('.') {
            Some(fraction) => digits(fraction).unwrap_or(fraction),
            None => rest,
        }),
    };
    rest.is_some_and(|rest| match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)) == Some(""),
        None => rest.is_empty(),
    })
}

/// `[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?`
fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !body.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let (body, fraction) = body.split_once('.').unwrap_or((body, ""));
    let loose = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut parts = body.split(':');
    let first = parts.next().is_some_and(loose);
    let mut rest = parts.peekable();
    first && loose(fraction) && rest.peek().is_some() && rest.all(|s| matches!(s.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']))
}

/// `2026-11-22`, `2026-11-22T10:00:00Z`, `2026-11-22t1:2:3.5+01:00`, `2026-11-22 10:00:00`: a zone with `T`, none with
/// a blank; months, days and the clock may have one digit.
fn is_timestamp(text: &str) -> bool {
    if text.len() < 8 || !text.bytes().take(4).all(|b| b.is_ascii_digit()) || text.as_bytes()[4] != b'-' {
        return false;
    }
    let (date, clock) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[5..at], Some(text.split_at(at).1)),
        None => (&text[5..], None),
    };
    let number = |s: &str, range: std::ops::RangeInclusive<u32>| {
        (1..=2).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()) && s.parse().is_ok_and(|n| range.contains(&n))
    };
    let Some((month, day)) = date.split_once('-') else { return false };
    let (year, short) = (text[..4].parse::<u32>().unwrap_or(0), month.trim_start_matches('0'));
    let days = match short {
        "2" if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        "2" => 28,
        "4" | "6" | "9" | "11" => 30,
        _ => 31,
    };
    if !number(month, 1..=12) || !number(day, 1..=days) {
        return false;
    }
    let Some(clock) = clock else { return true };
    let (separator, clock) = clock.split_at(1);
    let (clock, zone) = match clock.find(['Z', '+', '-']) {
        Some(at) => (&clock[..at], Some(&clock[at..])),
        None => (clock, None),
    };
    let zone_fits = match zone {
        None => separator == " ",
        Some(zone) => {
            let offset = |s: &str| s.len() == 5 && s.bytes().enumerate().all(|(i, b)| if i == 2 { b == b':' } else { b.is_ascii_digit() });
            separator != " " && (zone == "Z" || !zone.starts_with('Z') && zone.get(1..).is_some_and(offset))
        }
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
    zone_fits && parts.next().is_none() && number(hour, 0..=23) && number(minute, 0..=59) && number(second, 0..=59) && digits(fraction) == Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_versions_of_yaml() {
        for (text, value) in [
            ("0644", 420),
            ("-0644", -420),
            ("0o17", 15),
            ("0X1f", 31),
            ("-0b11", -3),
            ("1_000", 1000),
            ("0_7", 7),
            ("+1", 1),
            ("-0", 0),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(resolve(text), Value::Int(value), "{text}");
        }
        for (text, value) in [
            ("08", 8.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1e1_0", 1e10),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("-9223372036854775809", -9_223_372_036_854_775_809.0),
            ("+9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(resolve(text), Value::Float(value), "{text}");
        }
        assert_eq!(resolve("18446744073709551615"), Value::Uint(u64::MAX));
    }

    #[test]
    fn words_that_only_look_typed_are_strings() {
        for text in [
            "yes",
            "on",
            "tRue",
            "nULL",
            "22:22",
            "1:30:00",
            "0x",
            "0x1g",
            "0b",
            "0o8x",
            "_1",
            "1.2.3",
            "1.5e",
            "e3",
            "1e400",
            ".5_0",
            ".",
            "-",
            "+",
            "--1",
            "-0x-1",
            "0x+1",
            "=",
            "<<",
            "nan",
            "inf",
            "2026-13-01",
            "2026-11-31",
            "2025-02-29",
        ] {
            assert_eq!(resolve(text), Value::String(text.into()));
        }
        assert!(is_old_typed("yes") && is_old_typed("22:22") && is_old_typed("1:30.5") && !is_old_typed("22:77") && !is_old_typed("8080"));
    }

    #[test]
    fn dates_and_times() {
        for text in ["2026-11-22", "2001-1-1", "2024-02-29", "2026-11-22T10:00:00Z", "2026-11-22t1:2:3.25+01:00", "2026-11-22 10:00:00"] {
            assert_eq!(resolve(text), Value::Time(text.into()));
        }
        for (text, written) in [
            ("2026-1-2", "2026-01-02T00:00:00Z"),
            ("2026-11-22t1:2:3.250+01:00", "2026-11-22T01:02:03.25+01:00"),
            ("2026-11-22 10:00:00", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:00+00:00", "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(format_time(text), written);
        }
        for text in ["2026-11-22T10:00:00", "2026-11-22 10:00:00Z", "2026-11-22T10:00", "2026-11-22T10:00:00+0100", "2026-11-é2"] {
            assert_eq!(resolve(text), Value::String(text.into()));
        }
    }
}
