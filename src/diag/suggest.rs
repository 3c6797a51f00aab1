//! "Did you mean": the nearest known word.

/// Bytes of the longest word that is compared: the time it takes grows with its length times that of each candidate.
const LONGEST: usize = 200;

/// The candidate nearest to `word`, if it is near enough to be meant: at most a third of the letters differ, or it is the
/// only one that begins or ends with the word.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    if word.len() > LONGEST {
        return None;
    }
    let word = plain(word);
    let length = word.chars().count();
    // One letter is no misspelling of another.
    let limit = if length < 2 { 0 } else { length.max(3) / 3 };
    let candidates: Vec<(String, &str)> = candidates.into_iter().map(|c| (plain(c), c)).collect();
    let alike = candidates.iter().filter(|(plain, _)| plain.chars().count().abs_diff(length) <= limit);
    let nearest = alike.map(|(plain, c)| (distance(&word, plain), *c)).filter(|(d, _)| *d <= limit).min_by_key(|(d, _)| *d);
    let part = |plain: &str| plain.starts_with(&word) || plain.strip_suffix(&word).is_some_and(|rest| rest.ends_with('_'));
    let mut parts = candidates.iter().filter(|(plain, _)| length > 2 && part(plain));
    match (nearest, parts.next(), parts.next()) {
        (Some((_, near)), ..) => Some(near),
        (None, Some((_, only)), None) => Some(only),
        _ => None,
    }
}

/// Damerau-Levenshtein distance with adjacent transpositions (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let change = last[j] + usize::from(a[i] != b[j]);
            let mut best = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_only() {
        let keys = ["image", "environment", "depends_on", "ports"];
        assert_eq!(did_you_mean("imgae", keys), Some("image"));
        assert_eq!(did_you_mean("enviroment", keys), Some("environment"));
        assert_eq!(did_you_mean("depends-on", keys), Some("depends_on"));
        assert_eq!(did_you_mean("port", keys), Some("ports"));
        assert_eq!(did_you_mean("banana", keys), None);
        assert_eq!(did_you_mean("healthy", ["service_started", "service_healthy"]), Some("service_healthy"));
        assert_eq!(did_you_mean("service", ["service_started", "service_healthy"]), None);
        assert_eq!(did_you_mean("proto", ["protocol", "mode"]), Some("protocol"));
    }
}
