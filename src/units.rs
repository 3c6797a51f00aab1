//! Durations and byte sizes as Compose writes them.

use serde::{Serialize, Serializer};
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

/// Go's units and `d`, `w`: `1h30m`, `1.5s`, `-5s`, `2d`, `0`.
impl FromStr for Duration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        Err(UnitError { message: format!("invalid duration {text:?}"), help: "write it like 1m30s" })
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

/// A size in bytes, written as a decimal string (`"67108864"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub i64);

impl Bytes {
    /// Whether it is nought, which the format treats like "not given".
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

/// `64m`, `1.5gb`, `512`, `1 GiB`: all suffixes count in powers of 1024.
impl FromStr for Bytes {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        Err(UnitError { message: format!("invalid size {text:?}"), help: "write it like 512m" })
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
