//! The one table of the Compose format: every key of every object, what its value may be, how short forms become long
//! ones, how files merge, and whether Consort acts on it.
//!
//! Every pass walks a tree and this table side by side; no pass knows a key by its name if the table can say it.

mod deploy;
mod reference;
mod resource;
mod schema;
mod service;
mod shapes;

pub use reference::reference;
pub use resource::{INCLUDE_ENTRY, ROOT};
pub use schema::schema;
pub use service::SERVICE;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Anything at all.
    Any,
    /// `null`.
    Null,
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    List(List),
    /// A mapping with the keys of the table.
    Object(&'static Object),
    /// A mapping whose keys the user chooses.
    Map(MapOf),
    /// One of several; no two of them take the same kind of YAML value.
    Either(&'static [Shape]),
}

/// A scalar: the kinds of YAML scalar that are taken, and what they must say.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    /// Kinds of YAML scalar.
    pub kinds: Kinds,
    /// What it must say.
    pub format: Format,
}

/// A set of kinds of YAML scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// A string.
    pub const STRING: Self = Self(1);
    /// `true` or `false`.
    pub const BOOL: Self = Self(2);
    /// A whole number, also one that is written like `3.0`.
    pub const INT: Self = Self(4);
    /// A whole number that is written as one.
    pub const WHOLE: Self = Self(16);
    /// Any number.
    pub const NUMBER: Self = Self(4 | 8);

    /// Both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a scalar must say, however it is written.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// Anything.
    Text,
    /// `true`, `false`, or a YAML 1.1 word for them.
    Bool,
    /// A whole number within these bounds, both included.
    Int(i64, i64),
    /// A number.
    Float,
    /// `1m30s`.
    Duration,
    /// `64m`, no less than this many bytes.
    Bytes(i64),
    /// A file mode: an octal string, or a number.
    Mode,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A name that the function takes; the text says which those are.
    Name(fn(&str) -> bool, &'static str),
    /// A number, or `all`.
    Count,
    /// An IP address.
    Address,
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Each item.
    pub item: &'static Shape,
    /// Whether no two items may be equal.
    pub unique: bool,
}

/// A mapping whose keys the user chooses.
#[derive(Clone, Copy, Debug)]
pub struct MapOf {
    /// Each value.
    pub value: &'static Shape,
    /// What the keys may be.
    pub names: Names,
}

/// What the keys of a [`MapOf`] may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Anything.
    Any,
    /// Anything but nothing.
    NotEmpty,
    /// `[a-zA-Z0-9._-]+`.
    Resource,
}

/// A mapping with known keys.
#[derive(Debug)]
pub struct Object {
    /// What messages call it: `a service`.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Keys that must be there once files are merged.
    pub required: &'static [&'static str],
    /// What becomes of other keys.
    pub others: Others,
}

/// What becomes of keys that an [`Object`] doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They are refused.
    Refused,
    /// `x-…` is taken, the rest refused.
    Extensions,
    /// The reference never looks, so files may have any: `x-…` is taken, the rest warned about.
    Overlooked,
}

impl Object {
    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        // Most differ in length or in the last letter, which is seen without a call.
        let last = *name.as_bytes().last()?;
        self.keys.iter().find(|k| k.name.len() == name.len() && k.name.as_bytes().last() == Some(&last) && k.name == name)
    }
}

/// One key of an object.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub shape: Shape,
    /// How other ways of writing it become the canonical one.
    pub form: Form,
    /// How a later file changes what an earlier one says.
    pub merge: Merge,
    /// Whether it is acted on.
    pub status: Status,
    /// One sentence on what it means.
    pub doc: &'static str,
}

/// How a value becomes canonical. Parts of it follow their own keys afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is canonical as written.
    AsIs,
    /// A list of `KEY=VALUE` becomes a mapping.
    KeyValues,
    /// As [`Form::KeyValues`], but every item needs its `=`, except one that is this word.
    Pairs(&'static str),
    /// As [`Form::KeyValues`], with the rules for environment variables.
    Environment,
    /// A list of names becomes a mapping of nothings.
    Names,
    /// A list of services becomes a mapping of conditions.
    DependsOn,
    /// One string becomes a list of one.
    List,
    /// As [`Form::List`], but one string stays as written where expressions do.
    OneOrMore,
    /// A string is split into words.
    Words,
    /// A string becomes `["CMD-SHELL", …]`.
    Test,
    /// A string becomes a mapping with this one key.
    Under(&'static str),
    /// Items that are strings become mappings with this one key.
    ItemsUnder(&'static str),
    /// `path` becomes `{path: …, required: true}`.
    EnvFiles,
    /// Short ports become long ones; a range becomes several.
    Ports,
    /// Short mounts become long ones.
    Mounts,
    /// Short devices become long ones.
    Devices,
    /// `all` becomes a request for all.
    Gpus,
    /// A mapping or `host:ip` becomes a list of `host=ip`.
    Hosts,
    /// `{name: x}` becomes `true`, and `name: x` beside it.
    External,
    /// A boolean becomes its word.
    Stringify,
}

/// How a later value changes an earlier one. `!reset` and `!override` go before all of these; a `null` changes nothing
/// unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Mappings key by key, lists one after the other, anything else is replaced.
    Deep,
    /// Replaced, by `null` too.
    Replace,
    /// Key by key, and `null` replaces too: it asks for the value of the environment.
    Values,
    /// Lists one after the other; an item takes the place of an earlier one with the same identity.
    Unique(Identity),
    /// Lists one after the other, without items that are there already.
    Missing,
    /// Options merge if the driver stays the same.
    Logging,
}

/// What makes two items of a list the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The whole item.
    Text,
    /// What stands before `=`.
    BeforeEquals,
    /// `target`.
    Target,
    /// `target`, which is this folder and `source` where it isn't said.
    TargetIn(&'static str),
    /// Address, published port, port, protocol.
    Port,
    /// `path`.
    Path,
    /// `subnet`; the items are merged.
    Subnet,
}

/// Whether a key is acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Honoured,
    /// It isn't; everything else goes on. The text says why, after "… is ignored: ".
    Ignored(&'static str),
    /// It isn't, and going on would be wrong. The text says why, after "… can't be honoured: ".
    Refused(&'static str),
}

/// A key that is canonical as written, merges [`Merge::Deep`]ly and is acted on.
const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, form: Form::AsIs, merge: Merge::Deep, status: Status::Honoured, doc }
}

impl Key {
    const fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    const fn merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    const fn unique(self, identity: Identity) -> Self {
        self.merge(Merge::Unique(identity))
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }

    const fn refused(mut self, why: &'static str) -> Self {
        self.status = Status::Refused(why);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn every_object(shape: &Shape, seen: &mut BTreeSet<*const Object>, visit: &mut dyn FnMut(&'static Object)) {
        match shape {
            Shape::Object(object) if seen.insert(std::ptr::from_ref(*object)) => {
                visit(object);
                object.keys.iter().for_each(|k| every_object(&k.shape, seen, visit));
            }
            Shape::List(list) => every_object(list.item, seen, visit),
            Shape::Map(map) => every_object(map.value, seen, visit),
            Shape::Either(shapes) => shapes.iter().for_each(|s| every_object(s, seen, visit)),
            _ => {}
        }
    }

    #[test]
    fn the_table_is_well_formed() {
        let mut keys = 0;
        every_object(&Shape::Object(&ROOT), &mut BTreeSet::new(), &mut |object| {
            let names: BTreeSet<_> = object.keys.iter().map(|k| k.name).collect();
            assert_eq!(names.len(), object.keys.len(), "{} names a key twice", object.what);
            for required in object.required {
                assert!(names.contains(required), "{} requires {required}, which it does not have", object.what);
            }
            for key in object.keys {
                assert!(key.doc.ends_with('.') && key.doc.len() > 4, "{} of {} wants a sentence", key.name, object.what);
            }
            keys += object.keys.len();
        });
        assert!(keys > 250, "only {keys} keys");
    }
}
