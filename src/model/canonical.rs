//! The canonical JSON of the model, byte for byte the reference's: what configuration hashes are taken of.

use super::{Network, Service, Volume};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io::{self, Write};

/// Compact JSON as of Go's encoder: `<`, `>`, `&` and the two line separators of Unicode are escaped, and floats have an
/// exponent below a millionth and from 1e21 on.
pub fn json<T: Serialize>(value: &T) -> String {
    written(value, CompactFormatter)
}

/// As [`json`], with line breaks and two spaces of indent.
pub fn pretty_json<T: Serialize>(value: &T) -> String {
    written(value, PrettyFormatter::new())
}

fn written<T: Serialize>(value: &T, layout: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let done = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Go(layout)));
    done.expect("the model has string keys only and no fallible serializer");
    escape(String::from_utf8(bytes).expect("JSON of strings is text"))
}

/// Floats as Go writes them, all else as the layout does.
struct Go<F>(F);

impl<F: Formatter> Formatter for Go<F> {
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        writer.write_all(if value.abs() < 1.0 { text } else { text.replace('e', "e+") }.as_bytes())
    }
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
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
    // The reference writes an env file that is required as its path alone.
    service.env_file.iter_mut().filter(|file| file.required).for_each(|file| file.format.clear());
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
    use crate::model::EnvFile;
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

    #[test]
    fn floats_are_written_as_by_go() {
        let texts =
            [(0.5, "0.5"), (1.0, "1"), (-0.0, "-0"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1e20, "100000000000000000000"), (1.5e21, "1.5e+21")];
        for (value, text) in texts {
            assert_eq!(json(&value), text);
        }
        assert_eq!(pretty_json(&serde_json::json!({ "a": [1e21, {}] })), "{\n  \"a\": [\n    1e+21,\n    {}\n  ]\n}");
    }

    #[test]
    fn a_required_env_file_counts_by_its_path_alone() {
        let file = |required, format: &str| EnvFile { path: "/a.env".into(), required, format: format.into() };
        let text = |file| service_json(&Service { env_file: vec![file], ..Service::default() });
        assert_eq!(text(file(true, "raw")), text(file(true, "")));
        assert!(text(file(false, "raw")).contains(r#"{"path":"/a.env","required":false,"format":"raw"}"#));
    }
}
