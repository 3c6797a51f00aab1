//! Names of containers become ids, once the containers are there.

use super::{ConfigHash, ContainerSpec, NetworkMode};
use crate::digest::sha256;

/// Replaces the names of containers of the project that `spec` refers to (`network_mode`, `pid`, `ipc`, `volumes_from`)
/// by their ids and finishes the configuration hash. A name without an id is left as it is: engines take names too.
///
/// # Errors
/// The name of a container that the hash needs and that has no id.
pub fn bind(spec: &mut ContainerSpec, id_of: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    if let NetworkMode::Container(container) = &mut spec.network_mode {
        replace(container, id_of);
    }
    for namespace in [&mut spec.security.pid, &mut spec.security.ipc] {
        if let Some(name) = namespace.strip_prefix("container:") {
            let mut name = name.to_owned();
            replace(&mut name, id_of);
            *namespace = format!("container:{name}");
        }
    }
    for container in &mut spec.volumes_from {
        let (name, mode) = container.split_once(':').map_or((container.as_str(), None), |(name, mode)| (name, Some(mode)));
        if let Some(id) = id_of(name) {
            *container = mode.map_or_else(|| id.clone(), |mode| format!("{id}:{mode}"));
        }
    }
    if let ConfigHash::Pending(json) = &spec.config_hash {
        spec.config_hash = ConfigHash::Known(sha256(with_ids(json, id_of)?));
    }
    Ok(())
}

fn replace(name: &mut String, id_of: &dyn Fn(&str) -> Option<String>) {
    if let Some(id) = id_of(name) {
        *name = id;
    }
}

/// `json` with each `\u{1}NAME\u{1}` replaced.
fn with_ids(json: &str, id_of: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    json.split('\u{1}').enumerate().try_fold(String::with_capacity(json.len()), |mut text, (i, part)| {
        if i % 2 == 0 {
            text.push_str(part);
        } else {
            text.push_str(&id_of(part).ok_or(part)?);
        }
        Ok(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_ids() {
        let id_of = |name: &str| (name == "p-a-1").then(|| "cafe".to_owned());
        assert_eq!(with_ids("{\"network_mode\":\"container:\u{1}p-a-1\u{1}\"}", &id_of).unwrap(), "{\"network_mode\":\"container:cafe\"}");
        assert_eq!(with_ids("\u{1}p-b-1\u{1}", &id_of), Err("p-b-1".to_owned()));
        assert_eq!(with_ids("{}", &id_of).unwrap(), "{}");
    }
}
