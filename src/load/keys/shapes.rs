//! Shapes that many keys share.

use super::{Format, Kinds, List, MapOf, Names, Scalar, Shape};

pub(super) const fn scalar(kinds: Kinds, format: Format) -> Shape {
    Shape::Scalar(Scalar { kinds, format })
}

/// A string that must say `format`.
pub(super) const fn text(format: Format) -> Shape {
    scalar(Kinds::STRING, format)
}

/// A whole number of these bounds, or a string that says one.
pub(super) const fn int(min: i64, max: i64) -> Shape {
    scalar(Kinds::INT.or(Kinds::STRING), Format::Int(min, max))
}

/// A string that is one of these words.
pub(super) const fn one_of(words: &'static [&'static str]) -> Shape {
    text(Format::OneOf(words))
}

/// A list.
pub(super) const fn list(item: &'static Shape) -> Shape {
    Shape::List(List { item, unique: false })
}

/// A mapping with keys of the user's choice.
pub(super) const fn map(value: &'static Shape) -> Shape {
    Shape::Map(MapOf { value, names: Names::Any })
}

/// A mapping with keys of the user's choice, none of them empty.
const fn keyed(value: &'static Shape) -> Shape {
    Shape::Map(MapOf { value, names: Names::NotEmpty })
}

/// A mapping with names of resources for keys.
pub(super) const fn named(value: &'static Shape) -> Shape {
    Shape::Map(MapOf { value, names: Names::Resource })
}

pub(super) const TEXT: Shape = text(Format::Text);
pub(super) const BOOL: Shape = scalar(Kinds::BOOL.or(Kinds::STRING), Format::Bool);
pub(super) const STRICT_BOOL: Shape = scalar(Kinds::BOOL, Format::Bool);
pub(super) const BOOL_OR_TEXT: Shape = scalar(Kinds::BOOL.or(Kinds::STRING), Format::Text);
pub(super) const INT: Shape = int(i64::MIN, i64::MAX);
pub(super) const STRICT_INT: Shape = scalar(Kinds::INT, Format::Int(i64::MIN, i64::MAX));
/// Any number; its fraction is cut off, with a warning.
pub(super) const NUMBER: Shape = scalar(Kinds::NUMBER.or(Kinds::STRING), Format::Int(i64::MIN, i64::MAX));
pub(super) const STRICT_NUMBER: Shape = scalar(Kinds::NUMBER, Format::Int(i64::MIN, i64::MAX));
pub(super) const FLOAT: Shape = scalar(Kinds::NUMBER.or(Kinds::STRING), Format::Float);
pub(super) const BYTES: Shape = scalar(Kinds::NUMBER.or(Kinds::STRING), Format::Bytes(i64::MIN));
pub(super) const SIZE: Shape = scalar(Kinds::NUMBER.or(Kinds::STRING), Format::Bytes(0));
pub(super) const BYTES_TEXT: Shape = text(Format::Bytes(i64::MIN));
pub(super) const DURATION: Shape = text(Format::Duration);
pub(super) const MODE: Shape = scalar(Kinds::NUMBER.or(Kinds::STRING), Format::Mode);
pub(super) const TEXT_OR_NUMBER: Shape = scalar(Kinds::STRING.or(Kinds::NUMBER), Format::Text);
pub(super) const ANY_SCALAR: Shape = scalar(Kinds::STRING.or(Kinds::NUMBER).or(Kinds::BOOL), Format::Text);

const NULLABLE_SCALAR: Shape = Shape::Either(&[Shape::Null, ANY_SCALAR]);

/// A list of strings.
pub(super) const TEXTS: Shape = list(&TEXT);
/// A list of strings of which no two are equal.
pub(super) const UNIQUE_TEXTS: Shape = Shape::List(List { item: &TEXT, unique: true });
/// One string or several.
pub(super) const TEXT_OR_TEXTS: Shape = Shape::Either(&[TEXT, UNIQUE_TEXTS]);
/// `KEY: value` or `- KEY=value`.
pub(super) const KEY_VALUES: Shape = Shape::Either(&[keyed(&NULLABLE_SCALAR), UNIQUE_TEXTS]);
/// As [`KEY_VALUES`], with strings only.
pub(super) const KEY_TEXTS: Shape = Shape::Either(&[keyed(&TEXT), UNIQUE_TEXTS]);
/// Options that are handed on as they are.
pub(super) const OPTIONS: Shape = map(&TEXT_OR_NUMBER);
/// A command: a string, a list, or nothing.
pub(super) const COMMAND: Shape = Shape::Either(&[Shape::Null, TEXT, TEXTS]);
/// `host: ip`, `host: [ip, ip]` or `- host=ip`.
pub(super) const HOSTS: Shape = Shape::Either(&[keyed(&Shape::Either(&[TEXT, TEXTS])), UNIQUE_TEXTS]);
