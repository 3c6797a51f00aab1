//! What a user sees: events and findings in, bytes out. The only place that prints.

mod output;

pub use output::{Captured, Output, Size};
