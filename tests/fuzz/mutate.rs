//! Changes to texts that look like Compose files, by bytes, words, lines and blocks.

/// A source of numbers that gives the same ones for the same seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// Numbers that belong to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// One of `items`.
    pub fn one<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// What has a meaning somewhere.
const WORDS: [&str; 94] = [
    ":",
    ": ",
    "- ",
    "#",
    " #",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    "    ",
    "&a ",
    "*a",
    "<<: *a\n",
    "<<: [*a, *a]\n",
    "!reset ",
    "!override ",
    "!!str ",
    "!!binary ",
    "! ",
    "|",
    "|-\n",
    ">+2\n",
    "'",
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    ",",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "@",
    "`",
    "~",
    "null",
    "true",
    "yes",
    "0x1f",
    "0o17",
    "1e999",
    "-0",
    ".inf",
    ".nan",
    "12:30",
    "2026-11-22",
    "99999999999999999999",
    "-9223372036854775808",
    "$",
    "$$",
    "${",
    "${A",
    "${A}",
    "${A:-",
    "${A:?",
    "${A:+b}",
    "${E-x}",
    "$A",
    "é",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{1f600}",
    "\u{202e}",
    "\u{301}",
    "\0",
    "\u{7f}",
    "\u{1b}[2J",
    "=",
    "export ",
    "A=1\n",
    "1-65535",
    "127.0.0.1:80:80/udp",
    "[::1]:1-5:1-5",
    "./a:/b:ro,z",
    "1h2m3s",
    "1.5gb",
    "services:\n",
    "extends:\n",
    "  service: a\n",
    "  file: compose.yaml\n",
    "include: [compose.yaml]\n",
    "depends_on: [a]\n",
    "ports: [\"1-3:1-3\"]\n",
    "\n==== .env\n",
    "\n==== a.yaml\n",
    "x-a: &a\n",
    "profiles: [p]\n",
    "..",
];

/// The nearest place at or before `at` where `text` can be cut.
fn cut(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn somewhere(text: &str, dice: &mut Dice) -> usize {
    cut(text, dice.below(text.len() + 1))
}

/// `text` after one to four changes; `donor` lends lines.
pub fn mutate(text: &str, donor: &str, dice: &mut Dice) -> String {
    let mut text = text.to_owned();
    for _ in 0..=dice.below(4) {
        text = once(&text, donor, dice);
    }
    text
}

fn once(text: &str, donor: &str, dice: &mut Dice) -> String {
    match dice.below(14) {
        0 => {
            let at = somewhere(text, dice);
            format!("{}{}{}", &text[..at], dice.one(&WORDS), &text[at..])
        }
        1 => {
            let (a, b) = (somewhere(text, dice), somewhere(text, dice));
            let (a, b) = (a.min(b), a.max(b).min(cut(text, a.min(b) + 12)));
            format!("{}{}", &text[..a], &text[b.max(a)..])
        }
        2 => {
            let bytes: Vec<char> = text.chars().collect();
            let at = dice.below(bytes.len());
            let other = char::from_u32(u32::try_from(dice.below(0x3000)).unwrap_or(65)).unwrap_or('x');
            bytes.iter().enumerate().map(|(i, c)| if i == at { other } else { *c }).collect()
        }
        3 => {
            // A word repeated, up to a few thousand times.
            let (at, word, times) = (somewhere(text, dice), dice.one(&WORDS), 1 << dice.below(12));
            format!("{}{}{}", &text[..at], word.repeat(times), &text[at..])
        }
        4 => words(text, dice),
        kind => lines(kind, text, donor, dice),
    }
}

/// Puts one word of the text, or one that has a meaning, in the place of another.
fn words(text: &str, dice: &mut Dice) -> String {
    let words: Vec<&str> = text.split_inclusive([' ', '\n', ':', ',', '"', '\'']).collect();
    let at = dice.below(words.len());
    let other = if dice.below(2) == 0 { dice.one(&WORDS) } else { words.get(dice.below(words.len())).copied().unwrap_or("") };
    words.iter().enumerate().map(|(i, word)| if i == at { other } else { word }).collect()
}

/// A line and what is indented deeper behind it.
fn block(lines: &[&str], at: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let own = lines.get(at).map_or(0, |l| indent(l));
    let inside = lines.iter().skip(at + 1).take_while(|l| indent(l) > own || l.trim().is_empty()).count();
    at + 1 + inside
}

fn lines(kind: usize, text: &str, donor: &str, dice: &mut Dice) -> String {
    let mut all: Vec<&str> = text.split_inclusive('\n').collect();
    if all.is_empty() {
        return donor.to_owned();
    }
    let at = dice.below(all.len());
    let end = block(&all, at).min(all.len());
    let to = dice.below(all.len());
    match kind {
        // A node twice, taken out, moved.
        5 => {
            let copy: Vec<&str> = all[at..end].to_vec();
            all.splice(at..at, copy);
        }
        6 => {
            all.drain(at..end);
        }
        7 => {
            let moved: Vec<&str> = all.drain(at..end).collect();
            let to = to.min(all.len());
            all.splice(to..to, moved);
        }
        8 => {
            // A node of another text.
            let others: Vec<&str> = if donor.is_empty() { all.clone() } else { donor.split_inclusive('\n').collect() };
            let from = dice.below(others.len());
            let until = block(&others, from).min(others.len());
            all.splice(at..at, others.get(from..until).unwrap_or_default().iter().copied());
        }
        9 | 10 => {
            // Deeper or flatter.
            let inner: Vec<String> = all[at..end].iter().map(|l| if kind == 9 { format!("  {l}") } else { l.replacen("  ", "", 1) }).collect();
            return [&all[..at].concat(), &inner.concat(), &all[end..].concat()].map(String::as_str).concat();
        }
        11 => all.swap(at, to),
        12 => {
            // A line without its break or its colon.
            let line = all[at].trim_end_matches('\n').replace(": ", " ");
            return [all[..at].concat(), line, all[at + 1..].concat()].concat();
        }
        _ => {
            // An anchor at a value and an alias of it elsewhere.
            let with = |line: &str, what: &str| line.replacen(": ", &format!(": {what} "), 1).replacen(":\n", &format!(": {what}\n"), 1);
            let (first, second) = (at.min(to), at.max(to));
            let (a, b) = (with(all[first], "&z"), with(all[second], "*z"));
            let mut owned: Vec<String> = all.iter().map(|l| (*l).to_owned()).collect();
            owned[first] = a;
            owned[second] = b;
            return owned.concat();
        }
    }
    all.concat()
}
