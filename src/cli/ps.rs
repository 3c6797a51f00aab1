//! `ps`.

use super::app::App;
use super::args;
use super::change::containers;
use super::fault::{Fault, usage};
use crate::exit::Exit;
use crate::ui::human::{ago, ellipsis, ports};
use crate::ui::table::{Columns, Row, formatted, json_line, table};
use crate::units::Timestamp;
use crate::world::{Container, State};
use serde_json::{Map, Value, json};

/// How much of a command line a table shows.
const COMMAND_WIDTH: usize = 20;

/// `ps`.
pub(crate) async fn run(app: &mut App, args: &args::Ps) -> Result<Exit, Fault> {
    let states = states(args)?;
    let known = app.load_or_name(&args.services).await?;
    let engine = app.connect().await?;
    let observed = app.observe(&engine, &containers(&known.name)).await?;
    known.require(&args.services, &observed)?;
    let all = args.all || !states.is_empty();
    let orphan = |c: &Container| known.project().is_some_and(|p| p.service(c.service()).is_none());
    let mut shown: Vec<&Container> = observed
        .containers
        .iter()
        .filter(|c| all || (!c.is_oneoff() && c.is_alive()))
        .filter(|c| states.is_empty() || states.contains(&c.state))
        .filter(|c| args.services.is_empty() || args.services.iter().any(|s| s == c.service()))
        .filter(|c| args.orphans.unwrap_or(true) || !orphan(c))
        .collect();
    shown.sort_by_key(|c| natural(&c.name));
    let text = if args.quiet {
        shown.iter().map(|c| format!("{}\n", c.id)).collect()
    } else if args.only_services {
        let mut names: Vec<&str> = shown.iter().map(|c| c.service()).collect();
        names.sort_unstable();
        names.dedup();
        names.iter().map(|n| format!("{n}\n")).collect()
    } else {
        let rows: Vec<Row> = shown.iter().map(|c| row(c, app.now, args.no_trunc)).collect();
        format(args.format.as_deref().unwrap_or("table"), &rows).map_err(usage)?
    };
    app.print(&text).await
}

/// States that are asked for.
fn states(args: &args::Ps) -> Result<Vec<State>, Fault> {
    let mut words: Vec<&str> = args.status.iter().map(String::as_str).collect();
    if let Some(filter) = &args.filter {
        match filter.split_once('=') {
            Some(("status", state)) => words.push(state),
            Some((key, _)) => return Err(usage(format!("unknown filter {key:?}")).help("the filter is `status=STATE`").into()),
            None => {
                return Err(usage(format!("--filter {filter:?} is not of the form KEY=VALUE")).help("for example: --filter status=running").into());
            }
        }
    }
    const ALL: [State; 7] = [State::Paused, State::Restarting, State::Removing, State::Running, State::Dead, State::Created, State::Exited];
    let find = |word: &&str| ALL.into_iter().find(|s| s.as_str() == word.to_lowercase());
    words
        .iter()
        .map(|word| {
            find(word).ok_or_else(|| {
                let known: Vec<&str> = ALL.iter().map(|s| s.as_str()).collect();
                usage(format!("unknown state {word:?}")).help(format!("it can be {}", known.join(", "))).into()
            })
        })
        .collect()
}

/// One container with all fields that formats can have.
fn row(container: &Container, now: Timestamp, whole: bool) -> Row {
    let joined = |items: Vec<String>| Value::String(items.join(","));
    let quoted = format!("{:?}", if whole { container.command.clone() } else { ellipsis(&container.command, COMMAND_WIDTH) });
    let command = quoted.replace("\\'", "'");
    let id = if whole { container.id.as_str() } else { container.id.get(..12).unwrap_or(&container.id) };
    let publishers: Vec<Value> = container
        .ports
        .iter()
        .map(|p| json!({ "URL": p.host_ip, "TargetPort": p.target, "PublishedPort": p.host_port, "Protocol": p.protocol }))
        .collect();
    let mount = |m: &crate::world::MountPoint| if m.name.is_empty() { m.source.clone() } else { m.name.clone() };
    let ended = matches!(container.state, State::Exited | State::Dead);
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    put("Command", command.into());
    put("CreatedAt", created_at(container.created).into());
    put("ExitCode", container.exit_code.filter(|_| ended).unwrap_or(0).into());
    put("Health", container.health.map_or("", |h| h.as_str()).into());
    put("ID", id.into());
    put("Image", container.image.as_str().into());
    put("Labels", joined(container.labels.iter().map(|(k, v)| format!("{k}={v}")).collect()));
    put("LocalVolumes", container.mounts.iter().filter(|m| m.driver == "local").count().to_string().into());
    put("Mounts", joined(container.mounts.iter().map(mount).collect()));
    put("Name", container.name.as_str().into());
    put("Names", container.name.as_str().into());
    put("Networks", joined(container.networks.iter().map(|n| n.network.clone()).collect()));
    put("Ports", ports(&container.ports).into());
    put("Project", container.project().into());
    put("Publishers", publishers.into());
    put("RunningFor", format!("{} ago", ago(now, container.created)).into());
    if !container.runtime.is_empty() {
        put("Runtime", container.runtime.as_str().into());
    }
    put("Service", container.service().into());
    put("Size", "0B".into());
    put("State", container.state.as_str().into());
    put("Status", container.status.as_str().into());
    Row { fields, labels: container.labels.clone() }
}

/// `2026-11-22 04:05:55 +0000 UTC`.
fn created_at(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {} +0000 UTC", text.get(..10).unwrap_or(""), text.get(11..19).unwrap_or(""))
}

fn format(format: &str, rows: &[Row]) -> Result<String, String> {
    let field = |row: &Row, name: &str| match row.fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match format {
        "table" | "" => {
            let heads = ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"];
            let names = ["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"];
            let mut lines = vec![heads.map(str::to_owned).to_vec()];
            lines.extend(rows.iter().map(|row| names.map(|n| field(row, n)).to_vec()));
            Ok(table(&lines, Columns::CONTAINERS))
        }
        "json" => Ok(rows.iter().map(|row| format!("{}\n", json_line(&Value::Object(row.fields.clone())))).collect()),
        "pretty" => self::format("table", rows),
        "raw" => Ok(rows
            .iter()
            .map(|row| {
                let line = |(key, name): &(&str, &str)| format!("{key}: {}\n", field(row, name));
                let keys = [("container_id", "ID"), ("image", "Image"), ("command", "Command"), ("created_at", "CreatedAt"), ("state", "State")];
                let more = [("status", "Status"), ("names", "Names"), ("labels", "Labels"), ("ports", "Ports")];
                keys.iter().chain(&more).map(line).chain(["\n".to_owned()]).collect::<String>()
            })
            .collect()),
        custom => formatted(rows, custom, Columns::CONTAINERS),
    }
}

/// What sorts `w-2` before `w-10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].bytes().take_while(u8::is_ascii_digit).count();
        parts.push((rest[..text].to_owned(), rest[text..text + digits].parse().unwrap_or(u64::MAX)));
        rest = &rest[text + digits..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Health, PublishedPort, label};
    use std::collections::BTreeMap;

    fn container(name: &str) -> Container {
        Container {
            runtime: String::new(),
            id: "0123456789abcdef0123".into(),
            name: name.into(),
            image: "busybox".into(),
            image_id: String::new(),
            command: "sh -c 'echo hello; sleep 100'".into(),
            created: Timestamp::from_parts(1_795_320_355, 0),
            state: State::Running,
            health: Some(Health::Healthy),
            exit_code: None,
            status: "Up 2 minutes (healthy)".into(),
            labels: BTreeMap::from([(label::SERVICE.to_owned(), "web".to_owned()), (label::PROJECT.to_owned(), "p".to_owned())]),
            ports: vec![PublishedPort { host_ip: "127.0.0.1".into(), host_port: 18080, target: 80, protocol: "tcp".into() }],
            mounts: Vec::new(),
            networks: Vec::new(),
        }
    }

    #[test]
    fn a_table_as_users_know_it() {
        let rows = [row(&container("p-web-1"), Timestamp::from_parts(1_795_320_358, 0), false)];
        assert_eq!(
            format("table", &rows).unwrap(),
            "\
NAME      IMAGE     COMMAND                  SERVICE   CREATED         STATUS                   PORTS
p-web-1   busybox   \"sh -c 'echo hello; …\"   web       3 seconds ago   Up 2 minutes (healthy)   127.0.0.1:18080->80/tcp
"
        );
        let json: Value = serde_json::from_str(&format("json", &rows).unwrap()).unwrap();
        assert_eq!(json["CreatedAt"], "2026-11-22 04:05:55 +0000 UTC");
        assert_eq!((&json["ID"], &json["Service"], &json["ExitCode"]), (&json!("0123456789ab"), &json!("web"), &json!(0)));
        assert_eq!(format("table {{.Name}}\t{{.State}}", &rows).unwrap(), "NAME      STATE\np-web-1   running\n");
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let mut names = ["w-10", "w-2", "w-1", "a", "w", "w-2-x"];
        names.sort_by_key(|n| natural(n));
        assert_eq!(names, ["a", "w", "w-1", "w-2", "w-2-x", "w-10"]);
    }
}
