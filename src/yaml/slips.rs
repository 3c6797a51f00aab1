//! Slips that show in several errors, or in an error far from them: one finding for each, at its cause.

use crate::diag::{Diagnostic, SourceId, Span};
use std::ops::Range;

/// The errors of syntax of one text, with those of one cause joined.
pub(super) fn join(mut faults: Vec<Diagnostic>, source: SourceId, text: &str) -> Vec<Diagnostic> {
    if !faults.is_empty()
        && let Some(conflict) = conflict(source, text)
    {
        return vec![conflict];
    }
    let mut templates = 0;
    faults.retain(|fault| {
        templates += usize::from(fault.code == "template");
        fault.code != "template" || templates == 1
    });
    faults
}

/// The marks that a version control system leaves in a file whose two sides it couldn't merge.
fn conflict(source: SourceId, text: &str) -> Option<Diagnostic> {
    let mut marks: Vec<(Range<usize>, &str)> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let what = ["<<<<<<<", "=======", ">>>>>>>"].into_iter().find(|mark| {
            let rest = content.strip_prefix(mark);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        marks.extend(what.map(|what| (start..start + content.len(), what)));
        start += line.len();
    }
    let [(first, "<<<<<<<"), rest @ ..] = &marks[..] else { return None };
    let span = |range: &Range<usize>| Span::new(source, range.start, range.end);
    let mut conflict = Diagnostic::error("yaml-syntax", "the marks of a merge conflict stand in the file")
        .at(span(first))
        .help("keep one of the two sides, and remove the lines with the marks");
    conflict.related = rest
        .iter()
        .take_while(|(_, what)| *what != "<<<<<<<")
        .map(|(range, what)| (span(range), if *what == "=======" { "the other side begins here" } else { "and ends here" }.to_owned()))
        .collect();
    Some(conflict)
}

/// An alias whose anchor stands behind it gets told where.
pub(super) fn find_anchors(findings: &mut [Diagnostic], source: SourceId, text: &str) {
    for finding in findings.iter_mut().filter(|f| f.code == "unknown-anchor") {
        let Some(span) = finding.span else { continue };
        let Some(name) = text.get(span.start as usize + 1..span.end as usize).filter(|name| !name.is_empty()) else { continue };
        let ends = |end: usize| text[end..].starts_with(|c: char| c.is_whitespace() || ",[]{}".contains(c)) || end == text.len();
        let anchor = text.match_indices('&').map(|(at, _)| at + 1).find(|at| text[*at..].starts_with(name) && ends(at + name.len()));
        if let Some(at) = anchor.filter(|at| *at > span.start as usize) {
            finding.related = vec![(Span::new(source, at - 1, at + name.len()), "the anchor stands behind it".to_owned())];
            finding.help = Some("move the value with the anchor above the alias".to_owned());
        }
    }
}
