//! One target of `targets.rs` under libFuzzer, which looks at what the code does with each input. `run` starts it.

#![no_main]
#![allow(missing_docs, reason = "a program without a library")]

mod mutate;
mod targets;

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::sync::OnceLock;
use targets::Target;

/// `CONSORT_FUZZ_TARGET`.
fn target() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("CONSORT_FUZZ_TARGET").unwrap_or_default();
        Target::ALL.into_iter().find(|t| t.name() == name).unwrap_or_else(|| panic!("no target {name:?}"))
    })
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    if let Err(finding) = target().run(text) {
        panic!("{finding}");
    }
    Corpus::Keep
});

// Half of the mutations know that the input is text with lines and indentation.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let text = String::from_utf8_lossy(&data[..size]).into_owned();
    let changed = mutate::mutate(&text, "", &mut mutate::Dice::new(u64::from(seed)));
    let size = changed.len().min(max_size);
    data[..size].copy_from_slice(&changed.as_bytes()[..size]);
    size
});
