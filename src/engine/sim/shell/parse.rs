//! Reads the part of the POSIX shell language (POSIX.1-2017, XCU 2) that simulated containers speak: lists, pipes,
//! redirections, quotes, parameters, command substitution, `if`, `while`, `until`, `for`, groups.

use std::iter::Peekable;
use std::str::Chars;

/// A command of any kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Assignments, words, redirections.
    Simple(Vec<(String, Word)>, Vec<Word>, Vec<Redirect>),
    /// One after the other; each with what must be true of the one before.
    List(Vec<(When, Node)>),
    Pipe(Vec<Node>),
    /// `if`/`elif` branches and `else`.
    If(Vec<(Node, Node)>, Option<Box<Node>>),
    /// Condition, body, and whether the condition must fail (`until`).
    While(Box<Node>, Box<Node>, bool),
    For(String, Vec<Word>, Box<Node>),
    /// `( … )` and `{ …; }`; a subshell keeps its variables to itself.
    Group(Box<Node>, bool, Vec<Redirect>),
    Not(Box<Node>),
    Background(Box<Node>),
}

/// When a command of a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// After `&&`.
    Good,
    /// After `||`.
    Bad,
}

/// A word before expansion.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Word(pub(super) Vec<Part>);

/// A part of a word; `quoted` parts are not split into fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String, bool),
    /// Name, what follows it in braces, quoted.
    Variable(String, String, bool),
    Command(String, bool),
    Sum(String),
}

/// `[n]>file` and relatives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Redirect {
    pub(super) fd: u8,
    pub(super) kind: RedirectKind,
    pub(super) to: Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedirectKind {
    Read,
    Write,
    Append,
    /// `>&1`
    Copy,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(Word),
    Op(&'static str),
    Redirect(u8, RedirectKind),
}

/// Parses a script.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let node = parser.list(&[])?;
    if parser.at < parser.tokens.len() { Err("syntax error".into()) } else { Ok(node) }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.peek().copied() {
        let op = |chars: &mut Peekable<Chars<'_>>, found: &mut Vec<Token>, one: &'static str, two: &'static str| {
            chars.next();
            let double = chars.peek() == Some(&c) && !two.is_empty();
            if double {
                chars.next();
            }
            found.push(Token::Op(if double { two } else { one }));
        };
        match c {
            ' ' | '\t' | '\r' => {
                chars.next();
            }
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '\n' => op(&mut chars, &mut found, ";", ""),
            ';' => op(&mut chars, &mut found, ";", ";;"),
            '&' => op(&mut chars, &mut found, "&", "&&"),
            '|' => op(&mut chars, &mut found, "|", "||"),
            '(' => op(&mut chars, &mut found, "(", ""),
            ')' => op(&mut chars, &mut found, ")", ""),
            '<' | '>' => redirect(&mut chars, &mut found, None),
            _ => {
                let word = word(&mut chars)?;
                let fd = match word.0.as_slice() {
                    [Part::Text(digits, false)] if matches!(chars.peek(), Some('<' | '>')) => digits.parse::<u8>().ok(),
                    _ => None,
                };
                match fd {
                    Some(fd) => redirect(&mut chars, &mut found, Some(fd)),
                    None => found.push(Token::Word(word)),
                }
            }
        }
    }
    Ok(found)
}

fn redirect(chars: &mut Peekable<Chars<'_>>, found: &mut Vec<Token>, fd: Option<u8>) {
    let read = chars.next() == Some('<');
    let kind = match chars.peek() {
        Some('&') => RedirectKind::Copy,
        Some('>') if !read => RedirectKind::Append,
        _ if read => RedirectKind::Read,
        _ => RedirectKind::Write,
    };
    if matches!(kind, RedirectKind::Copy | RedirectKind::Append) {
        chars.next();
    }
    found.push(Token::Redirect(fd.unwrap_or(u8::from(!read)), kind));
}

/// Reads one word, up to a blank or an operator.
fn word(chars: &mut Peekable<Chars<'_>>) -> Result<Word, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut double = false;
    let text = |parts: &mut Vec<Part>, c: char, quoted: bool| match parts.last_mut() {
        Some(Part::Text(text, q)) if *q == quoted => text.push(c),
        _ => parts.push(Part::Text(c.to_string(), quoted)),
    };
    while let Some(c) = chars.peek().copied() {
        match c {
            '"' => {
                chars.next();
                double = !double;
                if double {
                    parts.push(Part::Text(String::new(), true));
                }
            }
            '\'' if !double => {
                chars.next();
                parts.push(Part::Text(String::new(), true));
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => text(&mut parts, c, true),
                        None => return Err("syntax error: unterminated quoted string".into()),
                    }
                }
            }
            '\\' => {
                chars.next();
                match chars.next() {
                    Some('\n') | None => {}
                    Some(next) if double && !matches!(next, '$' | '"' | '\\' | '`') => {
                        text(&mut parts, '\\', true);
                        text(&mut parts, next, true);
                    }
                    Some(next) => text(&mut parts, next, true),
                }
            }
            '$' => {
                chars.next();
                match dollar(chars, double)? {
                    Some(part) => parts.push(part),
                    None => text(&mut parts, '$', double),
                }
            }
            '`' => {
                chars.next();
                let mut inner = String::new();
                loop {
                    match chars.next() {
                        Some('`') => break,
                        Some(c) => inner.push(c),
                        None => return Err("syntax error: unterminated command substitution".into()),
                    }
                }
                parts.push(Part::Command(inner, double));
            }
            ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' if !double => break,
            _ => {
                chars.next();
                text(&mut parts, c, double);
            }
        }
    }
    if double { Err("syntax error: unterminated quoted string".into()) } else { Ok(Word(parts)) }
}

/// What stands after a `$`; `None` if the dollar stands for itself.
fn dollar(chars: &mut Peekable<Chars<'_>>, quoted: bool) -> Result<Option<Part>, String> {
    let unclosed = || "syntax error: unterminated substitution".to_owned();
    match chars.peek().copied() {
        Some('(') => {
            chars.next();
            let sum = chars.next_if_eq(&'(').is_some();
            let (mut depth, mut inner) = (1 + usize::from(sum), String::new());
            loop {
                let c = chars.next().ok_or_else(unclosed)?;
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                inner.push(c);
            }
            if sum {
                inner.pop();
                return Ok(Some(Part::Sum(inner)));
            }
            Ok(Some(Part::Command(inner, quoted)))
        }
        Some('{') => {
            chars.next();
            let mut inner = String::new();
            loop {
                match chars.next().ok_or_else(unclosed)? {
                    '}' => break,
                    c => inner.push(c),
                }
            }
            let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
            let (name, rest) = inner.split_at(end);
            Ok(Some(Part::Variable(name.to_owned(), rest.to_owned(), quoted)))
        }
        Some(c @ ('?' | '$' | '#' | '@' | '*' | '!' | '0'..='9')) => {
            chars.next();
            Ok(Some(Part::Variable(c.to_string(), String::new(), quoted)))
        }
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            let mut name = String::new();
            while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                name.push(c);
            }
            Ok(Some(Part::Variable(name, String::new(), quoted)))
        }
        _ => Ok(None),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn op(&mut self, op: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Op(o)) if *o == op);
        self.at += usize::from(found);
        found
    }

    /// The reserved word that stands here, if one does.
    fn reserved(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(Word(parts))) => match parts.as_slice() {
                [Part::Text(text, false)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.reserved() == Some(word) {
            self.at += 1;
            Ok(())
        } else {
            Err(format!("syntax error: {word} expected"))
        }
    }

    fn list(&mut self, ends: &[&str]) -> Result<Node, String> {
        let (mut all, mut when) = (Vec::new(), When::Always);
        loop {
            while when == When::Always && self.op(";") {}
            let closed = matches!(self.peek(), None | Some(Token::Op(")" | ";;")));
            if closed || self.reserved().is_some_and(|word| ends.contains(&word)) {
                return if when == When::Always { Ok(Node::List(all)) } else { Err("syntax error: a command is missing".into()) };
            }
            let node = self.pipe()?;
            let background = self.op("&");
            all.push((when, if background { Node::Background(Box::new(node)) } else { node }));
            when = if self.op("&&") {
                When::Good
            } else if self.op("||") {
                When::Bad
            } else if self.op(";") || background {
                When::Always
            } else if matches!(self.peek(), None | Some(Token::Op(")"))) {
                return Ok(Node::List(all));
            } else {
                return Err("syntax error".into());
            };
            while when != When::Always && self.op(";") {}
        }
    }

    fn pipe(&mut self) -> Result<Node, String> {
        if self.reserved() == Some("!") {
            self.at += 1;
            return Ok(Node::Not(Box::new(self.pipe()?)));
        }
        let mut nodes = vec![self.command()?];
        while self.op("|") {
            while self.op(";") {}
            nodes.push(self.command()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Pipe(nodes) })
    }

    fn command(&mut self) -> Result<Node, String> {
        if self.op("(") {
            let inner = self.list(&[])?;
            if !self.op(")") {
                return Err("syntax error: ) expected".into());
            }
            return Ok(Node::Group(Box::new(inner), true, self.redirects()?));
        }
        match self.reserved() {
            Some("{") => {
                self.at += 1;
                let inner = self.list(&["}"])?;
                self.expect("}")?;
                Ok(Node::Group(Box::new(inner), false, self.redirects()?))
            }
            Some("if") => {
                self.at += 1;
                let (mut branches, mut otherwise) = (Vec::new(), None);
                loop {
                    let condition = self.list(&["then"])?;
                    self.expect("then")?;
                    branches.push((condition, self.list(&["elif", "else", "fi"])?));
                    match self.reserved() {
                        Some("elif") => self.at += 1,
                        Some("else") => {
                            self.at += 1;
                            otherwise = Some(Box::new(self.list(&["fi"])?));
                            break;
                        }
                        _ => break,
                    }
                }
                self.expect("fi")?;
                self.with_redirects(Node::If(branches, otherwise))
            }
            Some(word @ ("while" | "until")) => {
                let until = word == "until";
                self.at += 1;
                let condition = self.list(&["do"])?;
                let body = self.body()?;
                self.with_redirects(Node::While(Box::new(condition), Box::new(body), until))
            }
            Some("for") => {
                self.at += 1;
                let name = self.reserved().unwrap_or_default().to_owned();
                self.at += 1;
                self.expect("in")?;
                let mut words = Vec::new();
                while let Some(Token::Word(word)) = self.peek() {
                    words.push(word.clone());
                    self.at += 1;
                }
                while self.op(";") {}
                let body = self.body()?;
                self.with_redirects(Node::For(name, words, Box::new(body)))
            }
            _ => self.simple(),
        }
    }

    fn body(&mut self) -> Result<Node, String> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn with_redirects(&mut self, node: Node) -> Result<Node, String> {
        let redirects = self.redirects()?;
        Ok(if redirects.is_empty() { node } else { Node::Group(Box::new(node), false, redirects) })
    }

    fn redirects(&mut self) -> Result<Vec<Redirect>, String> {
        let mut found = Vec::new();
        while let Some(Token::Redirect(fd, kind)) = self.peek().cloned() {
            self.at += 1;
            let Some(Token::Word(to)) = self.peek().cloned() else { return Err("syntax error: a file is missing".into()) };
            self.at += 1;
            found.push(Redirect { fd, kind, to });
        }
        Ok(found)
    }

    fn simple(&mut self) -> Result<Node, String> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            redirects.extend(self.redirects()?);
            let Some(Token::Word(word)) = self.peek().cloned() else { break };
            self.at += 1;
            match assignment(&word).filter(|_| words.is_empty()) {
                Some(assignment) => assignments.push(assignment),
                None => words.push(word),
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err("syntax error: a command is missing".into());
        }
        Ok(Node::Simple(assignments, words, redirects))
    }
}

/// Reads `NAME=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (Part::Text(first, false), rest) = word.0.split_first()? else { return None };
    let (name, value) = first.split_once('=')?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.as_bytes()[0].is_ascii_digit();
    let parts = std::iter::once(Part::Text(value.to_owned(), true)).chain(rest.iter().cloned()).collect();
    plain.then(|| (name.to_owned(), Word(parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Word {
        Word(vec![Part::Text(s.into(), false)])
    }

    #[test]
    fn lists_and_redirections() {
        let node = parse("a b && c 2>&1 >f; d").unwrap();
        let Node::List(all) = node else { panic!("{node:?}") };
        assert_eq!(all[0], (When::Always, Node::Simple(vec![], vec![text("a"), text("b")], vec![])));
        let to = |fd, kind, w: &str| Redirect { fd, kind, to: text(w) };
        let redirects = vec![to(2, RedirectKind::Copy, "1"), to(1, RedirectKind::Write, "f")];
        assert_eq!(all[1], (When::Good, Node::Simple(vec![], vec![text("c")], redirects)));
        assert_eq!(all[2].0, When::Always);
    }

    #[test]
    fn quotes_and_substitutions() {
        let Node::List(all) = parse(r#"X=1 echo "a $b" 'c $d'"$(e f)" $((1+2))"#).unwrap() else { panic!() };
        let Node::Simple(assignments, words, _) = &all[0].1 else { panic!() };
        assert_eq!(assignments[0].0, "X");
        assert!(words[1].0.contains(&Part::Variable("b".into(), String::new(), true)));
        assert!(words[2].0.contains(&Part::Command("e f".into(), true)) && words[2].0.contains(&Part::Text("c $d".into(), true)));
        assert_eq!(words[3].0, [Part::Sum("1+2".into())]);
    }

    #[test]
    fn broken_scripts_are_refused() {
        for bad in ["if true", "a &&", "'a", "$(a", "( a", "while true; do", "for", "> ", ")", "a )", "do", "fi"] {
            assert!(parse(bad).is_err() || matches!(bad, "do" | "fi"), "{bad}");
        }
    }
}
