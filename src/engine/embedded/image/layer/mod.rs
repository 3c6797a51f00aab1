//! Layers: archives of files, and the folders that they become.
//!
//! Archives come from strangers. Whatever is in one stays in its folder: [`tree`] opens every path with
//! `openat2(RESOLVE_IN_ROOT)`, so that links lead within the folder at most, and [`Limits`] end what grows without end.

mod entries;
mod limits;
mod pack;
pub mod recipe;
pub mod stream;
mod tree;
mod unpack;

pub use limits::Limits;
pub use pack::pack;
pub use unpack::{explain, unpack};

#[cfg(test)]
mod tests;
