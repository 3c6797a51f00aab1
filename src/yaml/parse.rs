//! Text → [`Node`] trees. The only file that knows the parser, `granit_parser`.

use super::Node;
use super::build::{Builder, MAX_DEPTH, Properties, Scalar, WrittenTag};
use super::fault::{Context, Fault, explain};
use super::repair::{APOSTROPHE, mend};
use crate::diag::{Diagnostic, SourceId};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, options};
use std::borrow::Cow;
use std::ops::Range;

/// How many deviations of one text are put up with. Each costs another reading of it.
const MAX_REPAIRS: usize = 64;

/// What a text holds, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The documents that could be read, in order; those with an error of syntax are left out. Text without content
    /// gives none.
    pub documents: Vec<Node>,
    /// Errors of the text, and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads `text` (without byte order mark; see [`strip_bom`](super::strip_bom)) as a stream of YAML documents. Every
/// error is a diagnostic with a place in `source`. After an error of syntax the reading goes on with the next
/// document; other errors (a duplicate key, an unknown alias) let the document stand.
pub fn parse(source: SourceId, text: &str) -> Parsed {
    let mut mended: Option<String> = None;
    for repairs_left in (0..=MAX_REPAIRS).rev() {
        match read(source, text, mended.as_deref().unwrap_or(text), repairs_left > 0) {
            Ok(parsed) => return parsed,
            Err(better) => mended = Some(better),
        }
    }
    Parsed::default() // Not reached: the last round doesn't mend.
}

/// One reading. The error is a text of the same length in which the first deviation is mended.
fn read(source: SourceId, original: &str, text: &str, may_mend: bool) -> Result<Parsed, String> {
    let options = options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        // One more than the builder takes, so that the limit is reported by it.
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(source);
    let mended = !std::ptr::eq(original, text);
    while let Some(event) = parser.next() {
        match event {
            Ok((event, span)) => feed(&mut builder, text, mended, event, &span),
            Err(error) => {
                let context = Context { source, text, original, at: place(&error, text), last: builder.last.clone(), bracket: builder.innermost() };
                let fault = classify(&error);
                if may_mend && let Some(better) = mend(&fault, &context) {
                    return Err(better);
                }
                builder.diagnostics.push(explain(&fault, &context));
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
    Ok(Parsed { documents: builder.documents, diagnostics: builder.diagnostics })
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
        Event::SequenceStart(_, anchor, tag) => builder.open(false, properties(anchor, tag), range.start),
        Event::MappingStart(_, anchor, tag) => builder.open(true, properties(anchor, tag), range.start),
        Event::SequenceEnd | Event::MappingEnd => builder.close(&range),
        Event::Anchor(id, name) => builder.anchor(id, &name),
        Event::Alias(id) => builder.alias(id, &range),
        Event::UnresolvedAlias(name) => builder.alias_by_name(&name, &range),
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
        ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::UnexpectedEofFlowSequence => Fault::Separator { close: ']' },
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::UnexpectedEofFlowMapping => Fault::Separator { close: '}' },
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
        ErrorKind::UndeclaredTagHandle => Fault::Tag,
        ErrorKind::RecursionLimitExceeded => Fault::TooDeep,
        ErrorKind::BlockEntryInFlowCollection => Fault::DashInBrackets,
        ErrorKind::BlockSequenceEntryNotAllowed => Fault::DashAfterKey,
        kind => Fault::Other(kind.to_string()),
    }
}
