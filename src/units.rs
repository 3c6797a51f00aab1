//! Durations and byte sizes as Compose writes them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A length of time in whole nanoseconds, written as Go writes it (`1m30s`, `24h0m0s`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub i64);

impl Duration {
    /// This many seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// The length as the standard library's type; a negative one counts as none.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

/// Why a duration or a size can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnitError {
    /// What happened, with the text.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
}

/// Go's units (`ns`, `us`, `ms`, `s`, `m`, `h`) and `d`, `w`, in any order and with fractions: `1h30m`, `1.5s`, `-5s`,
/// `2d`. A number needs its unit, except for `0`.
impl FromStr for Duration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |what: &str| UnitError {
            message: format!("`{text}` is no duration: {what}"),
            help: "write numbers with units from w, d, h, m, s, ms, us, ns, without blanks: 1m30s",
        };
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(error("it is empty"));
        }
        // Whole parts are exact, fractions are floats, as in the reference.
        let mut total = 0_i64;
        while !rest.is_empty() {
            let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
            let (digits, tail) = rest.split_at(number);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
                return Err(error(if number == 0 { "a number is missing" } else { "a number has one point at most" }));
            }
            let unit = tail.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or("");
            let nanoseconds: i64 = match unit {
                "ns" => 1,
                // Both letters look like a micro sign.
                "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                "w" => 604_800_000_000_000,
                "" => return Err(error(&format!("a unit is missing after {digits}"))),
                unit => return Err(error(&format!("`{unit}` is no unit"))),
            };
            let whole = if whole.is_empty() { Ok(0) } else { whole.parse::<i64>() };
            let part = format!("0.{fraction}0").parse::<f64>().map_or(0, |f| (f * nanoseconds as f64) as i64);
            let sum = whole.ok().and_then(|n| n.checked_mul(nanoseconds)).and_then(|n| n.checked_add(part)).and_then(|n| total.checked_add(n));
            total = sum.ok_or_else(|| error("it is too long"))?;
            rest = &tail[unit.len()..];
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// As Go's `time.Duration.String`: `1m30s`, `1.5s`, `250ms`, `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, ns) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let fraction = |whole: u64, unit: u64| {
            let digits = format!("{:0width$}", whole % unit, width = unit.ilog10() as usize);
            let digits = digits.trim_end_matches('0');
            if digits.is_empty() { format!("{}", whole / unit) } else { format!("{}.{digits}", whole / unit) }
        };
        match ns {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{sign}{ns}ns"),
            1_000..1_000_000 => write!(f, "{sign}{}µs", fraction(ns, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{sign}{}ms", fraction(ns, 1_000_000)),
            _ => {
                let minutes = ns / 60_000_000_000;
                f.write_str(sign)?;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", fraction(ns % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A size in bytes, written as a decimal string (`"67108864"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub i64);

impl Bytes {
    /// Whether it is nought, which the format treats like "not given".
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

/// `64m`, `1.5gb`, `512`, `1 GiB`: every suffix (`b`, `k`, `m`, `g`, `t`, `p`, alone or with `b` or `ib`, in any case)
/// counts in powers of 1024. `-1`, "no limit", is taken as text too, so that it can come from a variable.
impl FromStr for Bytes {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |what: &str| UnitError {
            message: format!("`{text}` is no size: {what}"),
            help: "write a number and a unit: 512m, 1.5g, 64k, or bytes alone",
        };
        if text == "-1" {
            return Ok(Self(-1));
        }
        let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
            return Err(error("a number is missing"));
        };
        let (number, suffix) = text.split_at(last + 1);
        let number = number.strip_suffix(' ').unwrap_or(number);
        let power = match suffix.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => return Err(error(&format!("`{suffix}` is no unit"))),
        };
        // As in Go, one underscore may stand between two digits.
        let is_digit = |at: usize| number.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        let apart = |at: usize| at > 0 && is_digit(at - 1) && is_digit(at + 1);
        let grouped = number.contains('_') && number.match_indices('_').all(|(at, _)| apart(at));
        let size = match if grouped { number.replace('_', "").parse() } else { number.parse::<f64>() } {
            Ok(n) if n >= 0.0 => n * 1024_f64.powi(power),
            Ok(_) => return Err(error("it is negative")),
            Err(_) => return Err(error(&format!("`{number}` is no number"))),
        };
        // The float next below 2^63.
        if size < 9_223_372_036_854_775_808.0 { Ok(Self(size as i64)) } else { Err(error("it is too large")) }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From seconds and nanoseconds since 1970.
    pub fn from_parts(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// Reads RFC 3339: `2026-11-22T04:05:56.197916832Z`, `2026-11-22T04:05:56+01:00`. Digits beyond nanoseconds are
    /// dropped.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let number = |s: Option<&str>| s.filter(|s| s.bytes().all(|b| b.is_ascii_digit())).and_then(|s| s.parse::<i64>().ok());
        if !text.is_ascii() || text.len() < 20 || &text[4..5] != "-" || &text[7..8] != "-" || &text[13..14] != ":" || &text[16..17] != ":" {
            return None;
        }
        let (y, m, d) = (number(text.get(..4))?, number(text.get(5..7))?, number(text.get(8..10))?);
        let (hour, minute, second) = (number(text.get(11..13))?, number(text.get(14..16))?, number(text.get(17..19))?);
        if !matches!(text.as_bytes()[10], b'T' | b't' | b' ')
            || !(1..=12).contains(&m)
            || !(1..=31).contains(&d)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let rest = &text[19..];
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(tail) => tail.split_at(tail.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", rest),
        };
        let nanos = number(Some(&format!("{fraction:0<9}")[..9]))?;
        let offset = match zone {
            "Z" | "z" => 0,
            _ if zone.len() == 6 && &zone[3..4] == ":" => {
                let minutes = number(zone.get(1..3))? * 60 + number(zone.get(4..6))?;
                if zone.starts_with('-') {
                    -minutes
                } else if zone.starts_with('+') {
                    minutes
                } else {
                    return None;
                }
            }
            _ => return None,
        };
        let seconds = ((days_from_civil(y, m, d) * 24 + hour) * 60 + minute - offset) * 60 + second;
        Some(Self::from_parts(seconds, nanos))
    }
}

/// How long ago, roughly, in the words that engines use: `Less than a second`, `3 minutes`, `About an hour`, `2 weeks`.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.0.saturating_sub(then.0).max(0) / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = hours / 24;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if days < 14 => format!("{days} days"),
        () if days < 60 => format!("{} weeks", days / 7),
        () if days < 730 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    }
}

/// RFC 3339 in UTC with all nine digits, as engines print it: `2026-11-22T04:05:56.197916832Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (y, m, d) = civil_from_days(days);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{nanos:09}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (86_400_000_000_000, "24h0m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
            (-2_000_000_000, "-2s"),
        ] {
            assert_eq!(Duration(ns).to_string(), text);
        }
    }

    #[test]
    fn durations_are_read_with_days_and_weeks() {
        for (text, ns) in [
            ("0", 0),
            ("1h5m30s500ms", 3_930_500_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1d12h", 129_600_000_000_000),
            ("1w", 604_800_000_000_000),
            ("100us", 100_000),
            ("100\u{b5}s", 100_000),
            ("100\u{3bc}s", 100_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("30s1m", 90_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration(ns)), "{text}");
        }
        for text in [
            "",
            "-",
            "10",
            "1m30",
            "1h 5m",
            "5 s",
            "5S",
            "1e3s",
            "1y",
            "s",
            ".s",
            "1..5s",
            "1.2.3s",
            "300000h10000000h",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        for (text, bytes) in [
            ("100", 100),
            ("100b", 100),
            ("1K", 1024),
            ("10mib", 10_485_760),
            ("10 M", 10_485_760),
            ("1.5g", 1_610_612_736),
            (".5g", 536_870_912),
            ("1.g", 1_073_741_824),
            ("1e3", 1000),
            ("1.9", 1),
            ("1TB", 1_099_511_627_776),
            ("1p", 1_125_899_906_842_624),
            ("5 ", 5),
            ("-1", -1),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "g", "abc", "0x10", "10mm", "1Ki", "10bytes", "1,5g", "1 g b", "-2", "1e400", "9999999p", " 5", "1\u{212a}"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn timestamps_read_back_as_they_were_written() {
        let t = Timestamp::parse_rfc3339("2026-11-22T04:05:56.197916832Z").unwrap();
        assert_eq!(t, Timestamp(1_795_320_356_197_916_832));
        assert_eq!(t.to_string(), "2026-11-22T04:05:56.197916832Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22T05:05:56.197916832+01:00"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("1970-01-01T00:00:00Z"), Some(Timestamp(0)));
        assert_eq!(Timestamp::parse_rfc3339("2026-13-22T04:05:56Z"), None);
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}
