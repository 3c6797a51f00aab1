//! What containers are called in front of their lines.

use std::sync::Arc;

/// `web-1` for the container `p-web-1` of project `p`; the whole name where the user chose it.
pub(in crate::run) fn source(project: &str, service: &str, container: &str) -> Arc<str> {
    let short = own(container).strip_prefix(project).and_then(|rest| rest.strip_prefix(['-', '_']));
    let number = |rest: &str| {
        rest.strip_prefix(service).and_then(|n| n.strip_prefix(['-', '_'])).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    match short {
        Some(rest) if number(rest) => rest.into(),
        _ => own(container).into(),
    }
}

/// A container's own name: while it replaces another one, the id of that stands before it.
fn own(container: &str) -> &str {
    match container.split_once('_') {
        Some((id, name)) if id.len() == 12 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => name,
        _ => container,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_left_out_of_names_that_we_made() {
        for (service, container, name) in [
            ("web", "p-web-1", "web-1"),
            ("web", "p_web_12", "web_12"),
            ("web", "0123456789ab_p-web-1", "web-1"),
            ("web", "p-web-one", "p-web-one"),
            ("web", "my-nginx", "my-nginx"),
            ("web", "p-web-run-0123456789ab", "p-web-run-0123456789ab"),
            ("", "p-web-1", "p-web-1"),
        ] {
            assert_eq!(&*source("p", service, container), name);
        }
    }
}
