//! Where each part of the merged document was written.

use crate::diag::{KeyPath, Segment, Span};
use std::collections::BTreeMap;

/// Places of the keys and values of the merged document, in canonical form: `services.web.ports[0]` has a place, however
/// the port was written.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    root: Place,
}

/// One key or item and what lies under it.
#[derive(Clone, Debug, Default)]
struct Place {
    key: Option<Span>,
    value: Option<Span>,
    variables: Vec<String>,
    children: BTreeMap<Segment, Place>,
}

impl Provenance {
    /// Records a place. `key` is absent for items of a list.
    pub fn record(&mut self, path: &KeyPath, key: Option<Span>, value: Option<Span>, variables: &[String]) {
        let mut place = &mut self.root;
        for segment in &path.0 {
            place = place.children.entry(segment.clone()).or_default();
        }
        *place = Place { key, value, variables: variables.to_vec(), children: std::mem::take(&mut place.children) };
    }

    fn find(&self, path: &KeyPath) -> Option<&Place> {
        path.0.iter().try_fold(&self.root, |place, segment| place.children.get(segment))
    }

    /// The place of the key at `path`; of the value where there is no key (items of a list).
    pub fn key(&self, path: &KeyPath) -> Option<Span> {
        let place = self.find(path)?;
        place.key.or(place.value)
    }

    /// The place of the value at `path`.
    pub fn value(&self, path: &KeyPath) -> Option<Span> {
        let place = self.find(path)?;
        place.value.or(place.key)
    }

    /// The place of the key at `path`, or of the nearest key above it: never nothing while the document has a place.
    pub fn nearest(&self, path: &KeyPath) -> Option<Span> {
        let mut place = &self.root;
        let mut best = place.key.or(place.value);
        for segment in &path.0 {
            match place.children.get(segment) {
                Some(next) => place = next,
                None => break,
            }
            best = place.key.or(place.value).or(best);
        }
        best
    }

    /// The variables whose values stand in the scalar at `path`.
    pub fn variables(&self, path: &KeyPath) -> &[String] {
        self.find(path).map_or(&[], |place| &place.variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceId;

    #[test]
    fn the_nearest_place_stands_in_for_a_missing_one() {
        let span = |n| Span::new(SourceId(0), n, n + 1);
        let mut provenance = Provenance::default();
        let web = KeyPath::of(["services", "web"]);
        provenance.record(&web, Some(span(3)), Some(span(5)), &[]);
        provenance.record(&web.key("image"), Some(span(7)), Some(span(9)), &["TAG".into()]);
        assert_eq!(provenance.key(&web), Some(span(3)));
        assert_eq!(provenance.value(&web.key("image")), Some(span(9)));
        assert_eq!(provenance.variables(&web.key("image")), ["TAG"]);
        assert_eq!(provenance.value(&web.key("ports").index(0)), None);
        assert_eq!(provenance.nearest(&web.key("ports").index(0)), Some(span(3)));
    }
}
