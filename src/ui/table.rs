//! Tables, and formats that users write themselves.

use console::measure_text_width;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How wide columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Width that a column has at least, its gap included.
    pub least: usize,
    /// Spaces between columns.
    pub gap: usize,
}

impl Columns {
    /// Tables of containers: `ps`.
    pub const CONTAINERS: Self = Self { least: 10, gap: 3 };
    /// Tables of other things: `ls`, `images`.
    pub const THINGS: Self = Self { least: 20, gap: 3 };
    /// Tables of processes: `top`.
    pub const PROCESSES: Self = Self { least: 4, gap: 2 };
}

/// `rows` as lines with aligned columns. The last cell of a row is not padded.
pub fn table(rows: &[Vec<String>], columns: Columns) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| measure_text_width(cell) + columns.gap).max().unwrap_or(0).max(columns.least))
        .collect();
    let mut text = String::new();
    for row in rows {
        for (c, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if c + 1 < row.len() {
                let missing = widths[c] - measure_text_width(cell);
                let _ = write!(text, "{:missing$}", "");
            }
        }
        text.push('\n');
    }
    text
}

/// JSON on one line as Go's encoder writes it: `<`, `>` and `&` are escaped.
pub fn json_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    // These characters can only stand inside strings.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// One thing that a format is applied to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Its fields by name, in alphabetical order.
    pub fields: Map<String, Value>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A format that a user wrote: the part of Go's templates that people use for tables.
///
/// Text with `{{.Field}}`, `{{.Label "key"}}`, `{{json .}}`, `{{json .Field}}`, `{{upper .Field}}`, `{{lower .Field}}`;
/// `\t` and `\n` in text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Function, String),
    Label(String),
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Plain,
    Json,
    Upper,
    Lower,
}

impl Template {
    /// Reads a format.
    ///
    /// # Errors
    /// What can't be understood, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                pieces.push(Piece::Text(unescape(&rest[..open])));
            }
            let inner = &rest[open + 2..];
            let close = inner.find("}}").ok_or_else(|| format!("`{{{{` without `}}}}` in {text:?}"))?;
            pieces.push(action(inner[..close].trim_matches('-').trim())?);
            rest = &inner[close + 2..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(unescape(rest)));
        }
        Ok(Self { pieces })
    }

    /// The text for one thing.
    ///
    /// # Errors
    /// A field that things of this kind don't have.
    pub fn apply(&self, row: &Row) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(t) => text.push_str(t),
                Piece::Label(key) => text.push_str(row.labels.get(key).map_or("", String::as_str)),
                Piece::Whole => text.push_str(&json_line(&Value::Object(row.fields.clone()))),
                Piece::Field(function, name) => {
                    let value = row.fields.get(name).ok_or_else(|| {
                        format!(
                            "there is no field `.{name}`; the fields are {}",
                            row.fields.keys().map(|k| format!(".{k}")).collect::<Vec<_>>().join(" ")
                        )
                    })?;
                    let plain = match value {
                        Value::String(s) => s.clone(),
                        other => other.to_string(),
                    };
                    text.push_str(&match function {
                        Function::Plain => plain,
                        Function::Json => json_line(value),
                        Function::Upper => plain.to_uppercase(),
                        Function::Lower => plain.to_lowercase(),
                    });
                }
            }
        }
        Ok(text)
    }

    /// The headline of a table in this format.
    pub fn headline(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(t) => t.clone(),
                Piece::Label(key) => key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ").to_uppercase(),
                Piece::Whole => String::new(),
                Piece::Field(_, name) => heading(name),
            })
            .collect()
    }
}

/// Headline of a field: `CreatedAt` is `CREATED AT`.
fn heading(name: &str) -> String {
    match name {
        "ID" => "CONTAINER ID".to_owned(),
        "RunningFor" => "CREATED".to_owned(),
        _ => {
            let mut text = String::new();
            let mut before = ' ';
            for c in name.chars() {
                if c.is_uppercase() && before.is_lowercase() {
                    text.push(' ');
                }
                text.extend(c.to_uppercase());
                before = c;
            }
            text
        }
    }
}

/// One `{{…}}`.
fn action(text: &str) -> Result<Piece, String> {
    let unknown = || format!("`{{{{{text}}}}}` is not understood: known are {{{{.Field}}}}, {{{{.Label \"key\"}}}} and {{{{json .}}}}");
    let field = |word: &str| word.strip_prefix('.').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric())).map(str::to_owned);
    let (head, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(h, r)| (h, r.trim()));
    match (head, rest) {
        (".Label", quoted) => {
            let key = ['"', '`'].iter().find_map(|q| quoted.strip_prefix(*q)?.strip_suffix(*q)).ok_or_else(unknown)?;
            Ok(Piece::Label(key.to_owned()))
        }
        ("json", ".") => Ok(Piece::Whole),
        ("json", word) => field(word).map(|n| Piece::Field(Function::Json, n)).ok_or_else(unknown),
        ("upper", word) => field(word).map(|n| Piece::Field(Function::Upper, n)).ok_or_else(unknown),
        ("lower", word) => field(word).map(|n| Piece::Field(Function::Lower, n)).ok_or_else(unknown),
        (word, "") => field(word).map(|n| Piece::Field(Function::Plain, n)).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// `\t` and `\n` as users type them.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// `rows` in a format: `table`-formats with a headline and aligned at tabs, others line by line.
///
/// # Errors
/// What can't be understood, in words.
pub fn formatted(rows: &[Row], format: &str, columns: Columns) -> Result<String, String> {
    match format.strip_prefix("table") {
        Some(rest) => {
            let template = Template::parse(rest.trim_start())?;
            let mut lines = vec![template.headline()];
            for row in rows {
                lines.push(template.apply(row)?);
            }
            let cells: Vec<Vec<String>> = lines.iter().map(|l| l.split('\t').map(str::to_owned).collect()).collect();
            Ok(table(&cells, columns))
        }
        None => {
            let template = Template::parse(format)?;
            let mut text = String::new();
            for row in rows {
                text.push_str(&template.apply(row)?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Row {
        let Value::Object(fields) = value else { panic!("an object") };
        Row { fields, labels: BTreeMap::from([("com.example.tier".to_owned(), "front".to_owned())]) }
    }

    #[test]
    fn columns_have_their_least_width_and_the_last_is_not_padded() {
        let rows = [vec!["NAME".to_owned(), "STATE".into(), "X".into()], vec!["a-long-name-1".into(), "up".into(), "é".into()]];
        assert_eq!(table(&rows, Columns::CONTAINERS), "NAME            STATE     X\na-long-name-1   up        é\n");
    }

    #[test]
    fn formats_of_users() {
        let rows = [row(json!({"ExitCode": 0, "Name": "p-web-1", "Ports": "80->80/tcp", "State": "running"}))];
        let out = |format: &str| formatted(&rows, format, Columns::CONTAINERS);
        assert_eq!(out("table {{.Name}}\\t{{.State}}").as_deref(), Ok("NAME      STATE\np-web-1   running\n"));
        assert_eq!(out("{{ .Name }}:{{.ExitCode}} {{.Label \"com.example.tier\"}}{{.Label \"no\"}}").as_deref(), Ok("p-web-1:0 front\n"));
        assert_eq!(out("{{json .Ports}} {{upper .State}}").as_deref(), Ok("\"80-\\u003e80/tcp\" RUNNING\n"));
        assert_eq!(out("{{json .}}").as_deref(), Ok("{\"ExitCode\":0,\"Name\":\"p-web-1\",\"Ports\":\"80-\\u003e80/tcp\",\"State\":\"running\"}\n"));
        assert_eq!(out("table {{.Label \"com.example.tier\"}}\t{{.ExitCode}}").as_deref(), Ok("TIER      EXIT CODE\nfront     0\n"));
        assert!(out("{{.Nme}}").unwrap_err().contains(".Name"));
        assert!(out("{{range .Publishers}}").unwrap_err().contains("not understood"));
        assert!(out("{{.Name").is_err());
    }
}
