//! Names of signals.

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

/// Number of a signal by name (`TERM`, `SIGTERM`, `RTMIN+3`) or number, as Linux has them; none if there is no such one.
pub fn number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT",
        "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |rest: &str, sign: char| if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse::<i32>().ok() };
    let from_min = || bare.strip_prefix("RTMIN").and_then(|rest| real_time(rest, '+')).map(|n| 34 + n);
    let from_max = || bare.strip_prefix("RTMAX").and_then(|rest| real_time(rest, '-')).map(|n| 64 - n);
    let by_name = || NAMES.iter().position(|n| *n == bare).and_then(|i| i32::try_from(i + 1).ok());
    bare.parse().ok().or_else(from_min).or_else(from_max).or_else(by_name).filter(|n| (1..=64).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let known = [("TERM", 15), ("sigkill", 9), ("SIGSYS", 31), ("10", 10), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("RTMAX", 64)];
        for (name, expected) in known {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        for name in ["", "NOPE", "0", "65", "RTMIN+40", "RTMIN-1", "-9"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
