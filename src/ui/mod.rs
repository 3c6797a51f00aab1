//! What a user sees: events and findings in, bytes out. The only place that prints.

mod console;
pub mod diagnostics;
pub mod human;
mod live;
mod logs;
mod output;
mod screen;
mod style;
pub mod table;
mod terminal;
mod view;

pub use console::{Asker, Console, Shown};
pub use logs::LogStyle;
pub use output::{Captured, Output, Size, Writer};
pub use screen::{Look, ProgressMode};
pub use style::Paint;
pub use terminal::{RawMode, restore, resume, suspend};
