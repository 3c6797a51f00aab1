//! The order of keys in YAML: numbers inside of them count as numbers.

use std::cmp::Ordering;

/// Compares keys as Go's yaml.v3 sorts them, so that `a2` comes before `a10`: letters after everything else, digits by the
/// number that they make.
pub fn natural(a: &str, b: &str) -> Ordering {
    let mut after_digit = false;
    for ((at, l), r) in a.char_indices().zip(b.chars()) {
        if l == r {
            after_digit = l.is_numeric();
            continue;
        }
        return match (l.is_alphabetic(), r.is_alphabetic()) {
            (true, true) => l.cmp(&r),
            // A letter ends a number; elsewhere it comes last.
            (true, false) => {
                if after_digit {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if after_digit {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            // What stands before is the same in both.
            (false, false) => numbers(&a[..at], &a[at..], &b[at..]).then(l.cmp(&r)),
        };
    }
    a.len().cmp(&b.len())
}

/// Compares the numbers that begin in `before` and go on in `left` and `right`.
fn numbers(before: &str, left: &str, right: &str) -> Ordering {
    let digit = |c: char| c.to_digit(10).map(u64::from);
    // A zero behind another digit is part of a number and no leading zero.
    let inside = (left.starts_with('0') || right.starts_with('0')) && before.chars().rev().map_while(digit).any(|d| d != 0);
    let read = |text: &str| {
        let digits = text.chars().map_while(digit);
        digits.fold((u64::from(inside), 0_usize), |(n, len), d| (n.wrapping_mul(10).wrapping_add(d), len + 1))
    };
    read(left).cmp(&read(right))
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_in_keys_count_as_numbers() {
        for keys in [
            ["a", "a2", "a10"],
            ["a-b", "a.b", "a/b"],
            ["a/b", "a_b", "a2"],
            ["1", "A", "a"],
            ["a10", "aB", "ab"],
            ["web_1", "web2", "web10"],
            ["b1", "b01", "b001"],
            ["x100", "x101", "x1000"],
            ["1a", "1-", "11"],
        ] {
            let mut sorted = keys;
            sorted.reverse();
            sorted.sort_by(|a, b| natural(a, b));
            assert_eq!(sorted, keys);
        }
    }
}
