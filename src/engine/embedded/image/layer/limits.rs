//! How much a layer may grow to.

use crate::units::Bytes;
use crate::world::{EngineError, ErrorKind};
use std::collections::BTreeMap;

/// What a layer may have. Beyond, it is taken for an attack on the disk and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, unpacked: `CONSORT_LAYER_MAX_SIZE`.
    pub size: u64,
    /// Entries: `CONSORT_LAYER_MAX_ENTRIES`.
    pub entries: u64,
    /// Unpacked bytes per packed one, once [`Limits::RATIO_FROM`] bytes are unpacked: `CONSORT_LAYER_MAX_RATIO`.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 128 << 30, entries: 4_000_000, ratio: 200 }
    }
}

impl Limits {
    /// Small layers may be as dense as they like: a gigabyte of zeros hurts nobody.
    pub const RATIO_FROM: u64 = 1 << 30;

    /// Those of the environment.
    ///
    /// # Errors
    /// A value that is no number or size.
    pub fn of(environment: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let mut limits = Self::default();
        for (name, limit) in [
            ("CONSORT_LAYER_MAX_SIZE", &mut limits.size),
            ("CONSORT_LAYER_MAX_ENTRIES", &mut limits.entries),
            ("CONSORT_LAYER_MAX_RATIO", &mut limits.ratio),
        ] {
            if let Some(text) = environment.get(name).filter(|t| !t.is_empty()) {
                let wrong = |why: String| EngineError::new(ErrorKind::Refused, format!("{name} can't be used")).because(why);
                let value: Bytes = text.parse().map_err(|e: crate::units::UnitError| wrong(e.message))?;
                *limit = u64::try_from(value.0).map_err(|_| wrong(format!("`{text}` is less than nothing")))?;
            }
        }
        Ok(limits)
    }

    /// An error that says what is too much, and how to allow it.
    pub(super) fn exceeded(what: &str, limit: u64, variable: &str) -> EngineError {
        EngineError::new(ErrorKind::Refused, format!("the layer has {what} {limit}"))
            .because(format!("if you trust the image, say how much is allowed in {variable}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_sets_limits() {
        let environment = |v: &str| BTreeMap::from([("CONSORT_LAYER_MAX_SIZE".to_owned(), v.to_owned())]);
        assert_eq!(Limits::of(&environment("2g")).unwrap().size, 2 << 30);
        assert_eq!(Limits::of(&environment("")).unwrap(), Limits::default());
        assert!(Limits::of(&environment("-1")).is_err() && Limits::of(&environment("much")).is_err());
    }
}
