//! The canonical JSON of the model, byte for byte the reference's: what configuration hashes are taken of.

use super::{Network, Service, Volume};
use serde::Serialize;

/// Compact JSON with the escapes of Go's encoder: `<`, `>`, `&` and the two line separators of Unicode.
pub fn json<T: Serialize>(value: &T) -> String {
    escape(serde_json::to_string(value).expect("the model has string keys only and no fallible serializer"))
}

/// A JSON text with the escapes of Go's encoder. The five characters occur in strings only, so the whole text can be
/// escaped at once.
pub fn escape(text: String) -> String {
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// The text whose SHA-256 is the configuration hash of a service: all but what does not show in a container.
pub fn service_json(service: &Service) -> String {
    let mut service = service.clone();
    service.build = None;
    service.pull_policy.clear();
    service.scale = None;
    if let Some(deploy) = &mut service.deploy {
        deploy.replicas = None;
    }
    service.depends_on.clear();
    service.profiles.clear();
    json(&service)
}

/// The text whose SHA-256 is the configuration hash of a network.
pub fn network_json(network: &Network) -> String {
    json(network)
}

/// The text whose SHA-256 is the configuration hash of a volume, whose driver is `local` if none is named.
pub fn volume_json(volume: &Volume) -> String {
    if volume.driver.is_empty() { json(&Volume { driver: "local".into(), ..volume.clone() }) } else { json(volume) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Deploy, Ulimit};

    #[test]
    fn a_service_is_hashed_without_what_no_container_shows() {
        let mut service = Service { image: "a<b&c>".into(), scale: Some(3), pull_policy: "always".into(), cpus: 1.1, ..Service::default() };
        service.deploy = Some(Deploy { replicas: Some(3), ..Deploy::default() });
        service.profiles = vec!["debug".into()];
        service.extensions.insert("x-note".into(), serde_json::json!(1));
        service.ulimits.insert("nofile".into(), Ulimit::Pair { soft: 1, hard: 2 });
        assert_eq!(
            service_json(&service),
            r#"{"cpus":1.1,"command":null,"deploy":{"resources":{},"placement":{}},"entrypoint":null,"image":"a\u003cb\u0026c\u003e","ulimits":{"nofile":{"soft":1,"hard":2}}}"#
        );
    }

    #[test]
    fn networks_and_volumes_have_their_defaults() {
        assert_eq!(network_json(&Network { name: "p_default".into(), ..Network::default() }), r#"{"name":"p_default","ipam":{}}"#);
        assert_eq!(volume_json(&Volume { name: "p_v".into(), ..Volume::default() }), r#"{"name":"p_v","driver":"local"}"#);
    }

    #[test]
    fn whole_floats_have_no_fraction() {
        let service = Service { cpus: 2.0, ..Service::default() };
        assert_eq!(service_json(&service), r#"{"cpus":2,"command":null,"entrypoint":null}"#);
    }
}
