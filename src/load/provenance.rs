//! Where each part of the merged document was written.

use crate::diag::{KeyPath, Segment, Span};
use crate::yaml::{Entry, Node, Value};

/// Places of the keys and values of the merged document, in canonical form: `services.web.ports[0]` has a place, however
/// the port was written, and so has each dependency that a link or a shared namespace makes.
#[derive(Clone, Debug)]
pub struct Provenance {
    root: Node,
}

/// What stands at a path: the entry of a mapping, or the item of a list.
#[derive(Clone, Copy)]
enum Place<'a> {
    Entry(&'a Entry),
    Item(&'a Node),
}

impl<'a> Place<'a> {
    fn node(self) -> &'a Node {
        match self {
            Self::Entry(entry) => &entry.value,
            Self::Item(node) => node,
        }
    }

    fn key(self) -> Span {
        match self {
            Self::Entry(entry) => entry.key_span,
            Self::Item(node) => node.span,
        }
    }

    fn step(self, segment: &Segment) -> Option<Self> {
        match (&self.node().value, segment) {
            (Value::Map(map), Segment::Key(key)) => map.entry(key).map(Self::Entry),
            (Value::Seq(items), Segment::Index(index)) => items.get(*index).map(Self::Item),
            _ => None,
        }
    }
}

impl Provenance {
    /// Of a canonical tree.
    pub(super) fn new(root: Node) -> Self {
        Self { root }
    }

    /// The canonical tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    fn place(&self, path: &KeyPath) -> Option<Place<'_>> {
        path.0.iter().try_fold(Place::Item(&self.root), Place::step)
    }

    /// The place of the key at `path`; of the value where there is no key (items of a list).
    pub fn key(&self, path: &KeyPath) -> Option<Span> {
        self.place(path).map(Place::key)
    }

    /// The place of the value at `path`.
    pub fn value(&self, path: &KeyPath) -> Option<Span> {
        self.place(path).map(|p| p.node().span)
    }

    /// The place of the key at `path`, or of the nearest key above it: never nothing while the document has a place.
    pub fn nearest(&self, path: &KeyPath) -> Option<Span> {
        let mut place = Place::Item(&self.root);
        for segment in &path.0 {
            match place.step(segment) {
                Some(next) => place = next,
                None => break,
            }
        }
        Some(place.key())
    }

    /// The variables whose values stand in the scalar at `path`.
    pub fn variables(&self, path: &KeyPath) -> &[String] {
        self.place(path).map_or(&[], |p| &p.node().variables)
    }

    /// The value at `path`, in canonical form.
    pub fn find(&self, path: &KeyPath) -> Option<&Node> {
        self.place(path).map(Place::node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceId;
    use crate::yaml::Mapping;

    #[test]
    fn the_nearest_place_stands_in_for_a_missing_one() {
        let span = |n| Span::new(SourceId(0), n, n + 1);
        let entry = |key: &str, at, value| Entry { key: key.to_owned(), key_span: span(at), value };
        let map = |at, entries: Vec<Entry>| Node::new(span(at), Value::Map(entries.into_iter().collect::<Mapping>()));
        let mut image = Node::new(span(9), Value::String("a".into()));
        image.variables.push("TAG".into());
        let ports = Node::new(span(13), Value::Seq(vec![Node::new(span(14), Value::Int(80))]));
        let service = map(5, vec![entry("image", 7, image), entry("ports", 11, ports)]);
        let provenance = Provenance::new(map(0, vec![entry("services", 1, map(2, vec![entry("web", 3, service)]))]));
        let web = KeyPath::of(["services", "web"]);
        assert_eq!(provenance.key(&web), Some(span(3)));
        assert_eq!(provenance.value(&web), Some(span(5)));
        assert_eq!(provenance.value(&web.key("image")), Some(span(9)));
        assert_eq!(provenance.variables(&web.key("image")), ["TAG"]);
        assert_eq!(provenance.key(&web.key("ports").index(0)), Some(span(14)));
        assert_eq!(provenance.value(&web.key("ports").index(1)), None);
        assert_eq!(provenance.nearest(&web.key("ports").index(1)), Some(span(11)));
        assert_eq!(provenance.nearest(&web.key("restart")), Some(span(3)));
    }
}
