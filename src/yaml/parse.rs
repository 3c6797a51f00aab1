//! Text → [`Node`] trees. The only file that knows the parser, `granit_parser`.

use super::Node;
use super::build::{Builder, MAX_DEPTH, Properties, Scalar, WrittenTag};
use super::context::Context;
use super::fault::{Fault, explain};
use super::repair::{APOSTROPHE, cut, mend};
use super::slips;
use crate::diag::{self, Diagnostic, SourceId};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, options};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// How many errors of syntax are looked for; behind each the text is read again.
const MAX_FAULTS: usize = 50;
/// How many bytes are read again, at most, to mend what the reference reads though it is no YAML.
const MAX_REREADING: usize = 64 << 20;

/// What a text holds, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The documents that could be read, in order; those with an error of syntax are left out. Text without content
    /// gives none.
    pub documents: Vec<Node>,
    /// Errors of the text, and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// Entries that came by a merge key and don't count, because something nearer has the same key: the place of the key
    /// that counts, then key and value of the one that doesn't.
    pub hidden: Vec<(diag::Span, diag::Span, diag::Span)>,
}

/// Reads `text` (without byte order mark; see [`strip_bom`](super::strip_bom)) as a stream of YAML documents. Every
/// error is a diagnostic with a place in `source`. After an error of syntax the reading goes on behind it, to find the
/// others; other errors (a duplicate key, an unknown alias) let the document stand.
pub fn parse(source: SourceId, text: &str) -> Parsed {
    let mut changed: Option<String> = None;
    let mut faults = Vec::new();
    // What lies before has been cut out; an error there is our doing.
    let mut behind = 0;
    let mut rounds = (MAX_REREADING / text.len().max(1)).clamp(MAX_FAULTS, 10_000);
    let builder = loop {
        rounds -= 1;
        match read(source, text, changed.as_deref().unwrap_or(text), behind, rounds > 0, &mut faults) {
            Reading::Whole(builder) => break builder,
            Reading::Mended(better) => changed = Some(better),
            Reading::Cut { text, end } => (changed, behind) = (Some(text), end),
        }
    };
    // A document runs to where the next one begins.
    let number = |at: usize| builder.starts.partition_point(|start| *start <= at).saturating_sub(1);
    let broken: BTreeSet<usize> = faults.iter().filter_map(|d| d.span).map(|span| number(span.start as usize)).collect();
    let documents = builder.documents.into_iter().filter(|(number, _)| !broken.contains(number)).map(|(_, node)| node).collect();
    let mut diagnostics = slips::join(faults, source, text);
    // The anchor may stand in what was cut out.
    diagnostics.extend(builder.diagnostics.into_iter().filter(|d| !(behind > 0 && d.code == "unknown-anchor")));
    slips::find_anchors(&mut diagnostics, source, text);
    diagnostics.sort_by_key(|d| d.span.map(|s| s.start));
    if builder.left_out > 0 {
        diagnostics.push(Diagnostic::error("more-findings", format!("{} more findings in this file are left out", builder.left_out)));
    }
    Parsed { documents, diagnostics, hidden: builder.hidden }
}

enum Reading {
    /// To the end.
    Whole(Box<Builder>),
    /// To a deviation that this text of the same length doesn't have.
    Mended(String),
    /// To an error whose lines, up to `end`, are blank in this text of the same length.
    Cut { text: String, end: usize },
}

/// One reading. Errors of syntax go to `faults`, those before `behind` are left out.
fn read(source: SourceId, original: &str, text: &str, behind: usize, may_change: bool, faults: &mut Vec<Diagnostic>) -> Reading {
    let options = options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        // One more than the builder takes, so that the limit is reported by it.
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(source, text);
    let mended = !std::ptr::eq(original, text);
    while let Some(event) = parser.next() {
        match event {
            Ok((event, span)) => feed(&mut builder, text, mended, event, &span),
            Err(error) => {
                let context = Context {
                    source,
                    text,
                    original,
                    at: place(&error, text),
                    last: builder.last.clone(),
                    bracket: builder.innermost(),
                    in_brackets: builder.in_brackets(),
                };
                let fault = match classify(&error) {
                    Fault::NoKey | Fault::NoItem if context.is_indented_by_tab() => Fault::Tab,
                    fault => fault,
                };
                if may_change && let Some(better) = mend(&fault, &context) {
                    return Reading::Mended(better);
                }
                if context.at >= behind && !context.follows_failed_alias() {
                    faults.push(explain(&fault, &context));
                    if may_change
                        && faults.len() < MAX_FAULTS
                        && let Some((text, end)) = cut(&fault, &context)
                    {
                        return Reading::Cut { text, end };
                    }
                }
                builder.abandon();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
        if builder.halted {
            break;
        }
    }
    Reading::Whole(Box::new(builder))
}

fn feed(builder: &mut Builder, text: &str, mended: bool, event: Event<'_>, span: &Span) {
    let range = span.byte_range().unwrap_or_default();
    let properties = |anchor, tag: Option<Cow<'_, granit_parser::Tag>>| Properties { anchor, tag: tag.map(|tag| written(&tag, span, &range)) };
    match event {
        Event::Scalar(content, style, anchor, tag) => {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            let content = match content {
                c if mended && style == ScalarStyle::DoubleQuoted && c.contains(APOSTROPHE) => Cow::Owned(c.replace(APOSTROPHE, "'")),
                c => c,
            };
            // Without a line break at the end of the text the reference sees none in the value either.
            let content = if block && range.end == text.len() { unbroken(content, text) } else { content };
            // The range of a block scalar runs to the next token.
            let written = text.get(range.clone()).unwrap_or_default();
            let end = if block { range.start + written.trim_end().len() } else { range.end };
            let properties = properties(anchor, tag);
            builder.scalar(Scalar { text: content, plain: style == ScalarStyle::Plain }, &properties, range.start..end);
        }
        Event::SequenceStart(style, anchor, tag) => builder.open(false, style == StructureStyle::Flow, properties(anchor, tag), range.start),
        Event::MappingStart(style, anchor, tag) => builder.open(true, style == StructureStyle::Flow, properties(anchor, tag), range.start),
        Event::SequenceEnd | Event::MappingEnd => builder.close(&range),
        Event::Anchor(id, name) => builder.anchor(id, &name),
        Event::Alias(id) => builder.alias(id, &range),
        Event::UnresolvedAlias(name) => builder.alias_by_name(&name, &range),
        Event::DocumentStart(..) => builder.document_start(range.start),
        Event::DocumentEnd => builder.document_end(),
        _ => {}
    }
}

/// The content of a block scalar whose last line is the unfinished last line of the text.
fn unbroken<'t>(content: Cow<'t, str>, text: &str) -> Cow<'t, str> {
    let last = text.rsplit(['\n', '\r']).next().unwrap_or("");
    match content.strip_suffix('\n') {
        Some(shorter) if !last.trim().is_empty() => Cow::Owned(shorter.to_owned()),
        _ => content,
    }
}

fn written(tag: &granit_parser::Tag, span: &Span, node: &Range<usize>) -> WrittenTag {
    let name = match tag.suffix_in_namespace("tag:yaml.org,2002:") {
        Some(core) => format!("!!{core}"),
        None => format!("{}{}", tag.handle(), tag.suffix()),
    };
    WrittenTag { name, range: span.tag_span().and_then(|s| s.byte_range()).unwrap_or_else(|| node.clone()) }
}

fn place(error: &ScanError, text: &str) -> usize {
    let mut at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn classify(error: &ScanError) -> Fault {
    match error.kind() {
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => Fault::Tab,
        ErrorKind::UnexpectedCharacter { character } => Fault::Start(*character),
        ErrorKind::MappingValueNotAllowed => Fault::Colon,
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => Fault::NoColon,
        ErrorKind::ExpectedBlockMappingKey => Fault::NoKey,
        ErrorKind::ExpectedBlockSequenceEntry => Fault::NoItem,
        ErrorKind::InvalidQuotedScalarIndent | ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => Fault::UnclosedQuote,
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => Fault::AfterQuote,
        ErrorKind::UnclosedFlowCollection { open } => Fault::Unclosed(*open),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => Fault::Mismatched { open: *open, close: *close },
        ErrorKind::MisplacedFlowCollectionEnd => Fault::Misplaced,
        ErrorKind::ExpectedFlowSequenceSeparator => Fault::Separator { close: ']' },
        ErrorKind::ExpectedFlowMappingSeparator => Fault::Separator { close: '}' },
        ErrorKind::MissingAnchorOrAliasName => Fault::NoName,
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate => Fault::Escape,
        ErrorKind::CommentNotSeparated => Fault::CommentAttached,
        ErrorKind::CommentInterceptedScalar => Fault::CommentInside,
        ErrorKind::UndeclaredTagHandle | ErrorKind::InvalidTagTerminator | ErrorKind::UnclosedVerbatimTag => Fault::Tag,
        ErrorKind::InvalidBlockScalarHeader => Fault::BlockHeader,
        ErrorKind::BomInsideDocument => Fault::Start('\u{feff}'),
        ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofBlockMapping
        | ErrorKind::UnexpectedEofBlockSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedNodeContent => Fault::NoValue,
        ErrorKind::RecursionLimitExceeded => Fault::TooDeep,
        ErrorKind::BlockEntryInFlowCollection => Fault::DashInBrackets,
        ErrorKind::BlockSequenceEntryNotAllowed => Fault::DashAfterKey,
        ErrorKind::MappingKeyNotAllowed => Fault::Start('?'),
        kind => Fault::Other(kind.to_string()),
    }
}
