//! Text → `Project`.

pub mod dotenv;
pub mod interpolate;
pub mod words;
