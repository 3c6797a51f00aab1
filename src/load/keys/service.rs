//! `services.<name>`.

use super::deploy::{BUILD, DEPLOY, GPU};
use super::shapes::{
    ANY_SCALAR, BOOL, BYTES, COMMAND, DURATION, FLOAT, HOSTS, INT, KEY_VALUES, MODE, NUMBER, OPTIONS, SIZE, STRICT_BOOL, STRICT_NUMBER, TEXT,
    TEXT_OR_NUMBER, TEXT_OR_TEXTS, TEXTS, UNIQUE_TEXTS, int, list, map, named, one_of, text,
};
use super::{Form, Format, Identity, Kinds, List, MapOf, Merge, Names, Object, Others, Scalar, Shape, key};

/// A service.
pub static SERVICE: Object = Object {
    what: "a service",
    keys: &[
        key("annotations", KEY_VALUES, "OCI annotations of its containers.").form(Form::KeyValues).merge(Merge::Values),
        key("attach", BOOL, "Whether `up` shows its logs."),
        key("blkio_config", Shape::Object(&BLKIO), "Limits of block I/O."),
        key("build", Shape::Either(&[TEXT, Shape::Object(&BUILD)]), "How its image is built.")
            // Where an image is missing, the plan says at this line that it isn't built.
            .form(Form::Under("context")),
        key("cap_add", TEXTS, "Capabilities that are added.").unique(Identity::BeforeEquals),
        key("cap_drop", TEXTS, "Capabilities that are dropped.").unique(Identity::BeforeEquals),
        key("cgroup", one_of(&["host", "private"]), "Cgroup namespace."),
        key("cgroup_parent", TEXT, "Parent cgroup."),
        key("command", COMMAND, "Command; the image's if absent.").form(Form::Words).merge(Merge::Replace),
        key("configs", FILE_REFERENCES, "Configs that it sees as files.").form(Form::ItemsUnder("source")).unique(Identity::TargetIn("")),
        key("container_name", text(Format::Name(container_name, CONTAINER_NAME)), "Name of its one container."),
        key("cpu_count", int(0, i64::MAX), "Usable processors (Windows)."),
        key("cpu_percent", int(0, 100), "Usable part of the processors (Windows)."),
        key("cpu_shares", NUMBER, "Relative weight on a busy processor."),
        key("cpu_quota", NUMBER, "CFS quota in microseconds."),
        key("cpu_period", NUMBER, "CFS period in microseconds."),
        key("cpu_rt_period", NUMBER, "Real-time period in microseconds."),
        key("cpu_rt_runtime", NUMBER, "Real-time runtime in microseconds."),
        key("cpus", FLOAT, "Processors, with fractions."),
        key("cpuset", TEXT, "Processors by number."),
        key("credential_spec", Shape::Object(&CREDENTIAL_SPEC), "Credentials of a managed service account.").ignored("it is for Windows containers"),
        key("depends_on", Shape::Either(&[UNIQUE_TEXTS, named(&Shape::Object(&DEPENDENCY))]), "Services that must be there before it starts.")
            .form(Form::DependsOn),
        key("deploy", Shape::Either(&[Shape::Null, Shape::Object(&DEPLOY)]), "Number of containers, resources, updates."),
        key("develop", Shape::Either(&[Shape::Null, Shape::Object(&DEVELOP)]), "What `watch` does.").ignored("files are not watched yet"),
        key("device_cgroup_rules", UNIQUE_TEXTS, "Rules for devices.").merge(Merge::Missing),
        key("devices", list(&Shape::Either(&[TEXT, Shape::Object(&DEVICE)])), "Devices of the host that it sees.")
            .form(Form::Devices)
            .unique(Identity::Target),
        key("dns", TEXT_OR_TEXTS, "DNS servers.").form(Form::List).unique(Identity::BeforeEquals),
        key("dns_opt", UNIQUE_TEXTS, "Options of the resolver.").unique(Identity::Text),
        key("dns_search", TEXT_OR_TEXTS, "Search domains.").form(Form::OneOrMore).unique(Identity::BeforeEquals),
        key("domainname", TEXT, "Domain name."),
        key("entrypoint", COMMAND, "Entry point; the image's if absent.").form(Form::Words).merge(Merge::Replace),
        key("env_file", Shape::Either(&[TEXT, list(&Shape::Either(&[TEXT, Shape::Object(&ENV_FILE)]))]), "Files with variables for it.")
            .form(Form::EnvFiles)
            .unique(Identity::Path),
        key("environment", KEY_VALUES, "Variables of its processes.").form(Form::Environment).merge(Merge::Values),
        key("expose", list(&TEXT_OR_WHOLE), "Ports that it opens to other services.").unique(Identity::Text),
        key("extends", Shape::Either(&[TEXT, Shape::Object(&EXTENDS)]), "Service that it takes everything from that it doesn't say itself.")
            .form(Form::Under("service")),
        key("external_links", UNIQUE_TEXTS, "Links to containers outside the project.").merge(Merge::Missing),
        key("extra_hosts", HOSTS, "More host names.").form(Form::Hosts).merge(Merge::Missing),
        key("gpus", Shape::Either(&[one_of(&["all"]), list(&Shape::Object(&GPU))]), "GPUs that it sees.").form(Form::Gpus),
        key("group_add", Shape::List(List { item: &TEXT_OR_NUMBER, unique: true }), "More groups of its user.").merge(Merge::Missing),
        key("healthcheck", Shape::Object(&HEALTHCHECK), "How its health is found out."),
        key("hostname", TEXT, "Host name."),
        key("image", TEXT, "Image that its containers are created from."),
        key("init", BOOL, "Runs a small init as process 1."),
        key("ipc", TEXT, "IPC namespace."),
        key("isolation", TEXT, "Isolation technology."),
        key("label_file", Shape::Either(&[TEXT, TEXTS]), "Files with labels of its containers.").form(Form::List),
        key("labels", KEY_VALUES, "Labels of its containers.").form(Form::KeyValues).merge(Merge::Values),
        key("links", TEXTS, "Services that it sees under other names.").unique(Identity::BeforeEquals),
        key("logging", Shape::Object(&LOGGING), "Log driver.").merge(Merge::Logging),
        key("mac_address", TEXT, "MAC address on its first network."),
        key("mem_limit", BYTES, "Memory limit."),
        key("mem_reservation", BYTES, "Memory that it can count on."),
        key("mem_swappiness", BYTES, "Swappiness, 0 to 100."),
        key("memswap_limit", BYTES, "Limit of memory and swap; -1 for none."),
        key("models", Shape::Either(&[UNIQUE_TEXTS, named(&Shape::Either(&[Shape::Null, Shape::Object(&MODEL)]))]), "AI models that it uses.")
            .form(Form::Names)
            .refused("models are not run yet"),
        key("network_mode", TEXT, "`none`, `host`, `bridge`, `service:x`, `container:x`, or the name of a network."),
        key("networks", Shape::Either(&[UNIQUE_TEXTS, named(&Shape::Either(&[Shape::Null, Shape::Object(&NETWORK)]))]), "Networks that it joins.")
            .form(Form::Names),
        key("oom_kill_disable", BOOL, "Never killed when memory runs out."),
        key("oom_score_adj", int(-1000, 1000), "How early it is killed when memory runs out."),
        key("pid", Shape::Either(&[Shape::Null, TEXT]), "PID namespace."),
        key("pids_limit", NUMBER, "Limit of processes."),
        key("platform", TEXT, "Platform of its image: `os/arch[/variant]`."),
        key("ports", list(&Shape::Either(&[PORT_NUMBER, TEXT, Shape::Object(&PORT)])), "Ports published on the host.")
            .form(Form::Ports)
            .unique(Identity::Port),
        key("post_start", list(&Shape::Object(&HOOK)), "Commands run inside after each start."),
        key("pre_stop", list(&Shape::Object(&HOOK)), "Commands run inside before each stop."),
        key("privileged", BOOL, "Runs with all privileges."),
        key("profiles", UNIQUE_TEXTS, "Profiles that enable it; always enabled if absent.").unique(Identity::BeforeEquals),
        key("provider", Shape::Object(&PROVIDER), "External program that provides it.").refused("provider programs are not run yet"),
        key("pull_policy", text(Format::Name(pull_policy, PULL_POLICY)), "When its image is pulled."),
        key("pull_refresh_after", TEXT, "Age at which the image is pulled again.").ignored("say `pull_policy: every_…` instead"),
        key("read_only", BOOL, "Its root file system can't be written."),
        key("restart", TEXT, "`no`, `always`, `on-failure[:n]` or `unless-stopped`."),
        key("runtime", TEXT, "OCI runtime."),
        key("scale", int(0, i64::MAX), "Number of containers."),
        key("secrets", FILE_REFERENCES, "Secrets that it sees as files.").form(Form::ItemsUnder("source")).unique(Identity::TargetIn("/run/secrets")),
        key("security_opt", UNIQUE_TEXTS, "Security options.").merge(Merge::Missing),
        key("shm_size", BYTES, "Size of /dev/shm."),
        key("stdin_open", BOOL, "Keeps standard input open."),
        key("stop_grace_period", DURATION, "Time between the stop signal and SIGKILL."),
        key("stop_signal", TEXT, "Signal that asks it to stop."),
        key("storage_opt", map(&STORAGE_OPTION), "Options of the storage driver."),
        key("sysctls", KEY_VALUES, "Kernel parameters.").form(Form::KeyValues).merge(Merge::Values),
        key("tmpfs", TEXT_OR_TEXTS, "Temporary file systems.").form(Form::OneOrMore).unique(Identity::BeforeEquals),
        key("tty", BOOL, "Gives process 1 a terminal."),
        key("ulimits", ULIMITS, "Limits of processes."),
        key("use_api_socket", STRICT_BOOL, "Gives it the engine's socket and the user's credentials.")
            .refused("the socket is not handed in yet; mount it with `volumes`"),
        key("user", TEXT, "User `name|uid[:group|gid]`."),
        key("userns_mode", TEXT, "User namespace."),
        key("uts", TEXT, "UTS namespace."),
        key("volumes", list(&Shape::Either(&[TEXT, Shape::Object(&MOUNT)])), "What is mounted in it.").form(Form::Mounts).unique(Identity::Target),
        key("volumes_from", UNIQUE_TEXTS, "Services and containers whose mounts it gets too.").merge(Merge::Missing),
        key("working_dir", TEXT, "Working directory."),
    ],
    required: &[],
    others: Others::Extensions,
};

const CONTAINER_NAME: &str = "two or more letters, digits, `_`, `.` or `-`, and no `_`, `.` or `-` in front";

fn container_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

const PULL_POLICY: &str = "`always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_<time>`";

fn pull_policy(policy: &str) -> bool {
    let every = |time: &str| {
        !time.is_empty() && time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with(['w', 'd', 'h', 'm', 's']) && {
            time.bytes().zip(time.bytes().skip(1)).all(|(a, b)| a.is_ascii_digit() || b.is_ascii_digit())
                && time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'w' | b'd' | b'h' | b'm' | b's'))
        }
    };
    matches!(policy, "always" | "missing" | "if_not_present" | "never" | "build" | "refresh" | "daily" | "weekly")
        || policy.strip_prefix("every_").is_some_and(every)
}

/// A port, a range of ports, either with a protocol.
const TEXT_OR_WHOLE: Shape = Shape::Scalar(Scalar { kinds: Kinds::STRING.or(Kinds::WHOLE), format: Format::Text });

/// The reference takes nearly anything, and makes a text of it.
const STORAGE_OPTION: Shape = Shape::Either(&[Shape::Null, ANY_SCALAR]);

/// A whole number: a port of the container.
const PORT_NUMBER: Shape = Shape::Scalar(Scalar { kinds: Kinds::WHOLE, format: Format::Int(0, 65535) });

/// `secrets` and `configs` of a service or a build.
pub(super) const FILE_REFERENCES: Shape = Shape::List(List { item: &FILE_OR_REFERENCE, unique: false });
const FILE_OR_REFERENCE: Shape = Shape::Either(&[TEXT, Shape::Object(&FILE_REFERENCE)]);

static FILE_REFERENCE: Object = Object {
    what: "a reference to a file",
    keys: &[
        key("source", TEXT, "Its key at the top level."),
        key("target", TEXT, "Path in the container."),
        key("uid", TEXT, "Owner."),
        key("gid", TEXT, "Group."),
        key("mode", MODE, "File mode."),
    ],
    required: &[],
    others: Others::Extensions,
};

/// `ulimits` of a service or a build.
pub(super) const ULIMITS: Shape = Shape::Map(MapOf { value: &Shape::Either(&[INT, Shape::Object(&ULIMIT)]), names: Names::Any });

static ULIMIT: Object = Object {
    what: "a limit",
    keys: &[key("soft", INT, "What a process starts with."), key("hard", INT, "What it may raise it to.")],
    required: &["soft", "hard"],
    others: Others::Extensions,
};

static BLKIO: Object = Object {
    what: "blkio_config",
    keys: &[
        key("device_read_bps", list(&Shape::Object(&THROTTLE)), "Bytes read a second."),
        key("device_read_iops", list(&Shape::Object(&THROTTLE)), "Reads a second."),
        key("device_write_bps", list(&Shape::Object(&THROTTLE)), "Bytes written a second."),
        key("device_write_iops", list(&Shape::Object(&THROTTLE)), "Writes a second."),
        key("weight", int(0, 65535), "Weight, 10 to 1000."),
        key("weight_device", list(&Shape::Object(&WEIGHT)), "Weight by device."),
    ],
    required: &[],
    others: Others::Refused,
};

static THROTTLE: Object = Object {
    what: "a limit of a device",
    keys: &[key("path", TEXT, "Path of the device."), key("rate", BYTES, "Bytes or operations a second.")],
    required: &[],
    others: Others::Refused,
};

static WEIGHT: Object = Object {
    what: "a weight of a device",
    keys: &[key("path", TEXT, "Path of the device."), key("weight", int(0, 65535), "Weight, 10 to 1000.")],
    required: &[],
    others: Others::Refused,
};

static CREDENTIAL_SPEC: Object = Object {
    what: "credential_spec",
    keys: &[key("config", TEXT, "Key of a config."), key("file", TEXT, "File."), key("registry", TEXT, "Key of the registry.")],
    required: &[],
    others: Others::Extensions,
};

static DEPENDENCY: Object = Object {
    what: "a dependency",
    keys: &[
        key("restart", BOOL, "Whether it is restarted when the dependency is."),
        key("required", STRICT_BOOL, "Whether it can't go without."),
        key("condition", one_of(&["service_started", "service_healthy", "service_completed_successfully"]), "What must be true of the dependency."),
    ],
    required: &["condition"],
    others: Others::Extensions,
};

static DEVELOP: Object = Object {
    what: "develop",
    keys: &[key("watch", list(&Shape::Object(&TRIGGER)), "What happens when files change.")],
    required: &[],
    others: Others::Extensions,
};

static TRIGGER: Object = Object {
    what: "a trigger",
    keys: &[
        key("path", text(Format::Name(|p| !p.is_empty(), "a path")), "Path that is watched."),
        key("action", one_of(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]), "What is done."),
        key("target", TEXT, "Path in the container."),
        key("exec", Shape::Object(&HOOK), "Command of `sync+exec`."),
        key("include", TEXT_OR_TEXTS, "Only files that match.").form(Form::List),
        key("ignore", TEXT_OR_TEXTS, "No files that match.").form(Form::List),
        key("initial_sync", STRICT_BOOL, "Copies existing files at the start."),
    ],
    required: &["path", "action"],
    others: Others::Extensions,
};

static HOOK: Object = Object {
    what: "a hook",
    keys: &[
        key("command", COMMAND, "Command.").form(Form::Words).merge(Merge::Replace),
        key("user", TEXT, "User."),
        key("privileged", BOOL, "Runs with all privileges."),
        key("working_dir", TEXT, "Working directory."),
        key("environment", KEY_VALUES, "Variables.").form(Form::Environment).merge(Merge::Values),
    ],
    required: &["command"],
    others: Others::Extensions,
};

static DEVICE: Object = Object {
    what: "a device",
    keys: &[
        key("source", TEXT, "Path on the host, or a CDI name."),
        key("target", TEXT, "Path in the container."),
        key("permissions", TEXT, "Some of `rwm`."),
    ],
    required: &["source", "target"],
    others: Others::Extensions,
};

static ENV_FILE: Object = Object {
    what: "an env file",
    keys: &[
        key("path", TEXT, "Path."),
        key("format", one_of(&["raw"]), "`raw`: no quotes, no variables."),
        key("required", BOOL, "Whether it must exist."),
    ],
    required: &["path"],
    others: Others::Refused,
};

static EXTENDS: Object = Object {
    what: "extends",
    keys: &[key("service", TEXT, "Service."), key("file", TEXT, "File that it is in; the same one if absent.")],
    required: &["service"],
    others: Others::Overlooked,
};

static HEALTHCHECK: Object = Object {
    what: "a healthcheck",
    keys: &[
        key("disable", BOOL, "Switches off what the image brings."),
        key("interval", DURATION, "Time between two probes."),
        key("retries", int(0, i64::MAX), "Failures in a row that make it unhealthy."),
        key("test", Shape::Either(&[TEXT, TEXTS]), "The probe.").form(Form::Test).merge(Merge::Replace),
        key("timeout", DURATION, "How long one probe may take."),
        key("start_period", DURATION, "Time in which failures don't count."),
        key("start_interval", DURATION, "Time between two probes during the start period."),
    ],
    required: &[],
    others: Others::Extensions,
};

static LOGGING: Object = Object {
    what: "logging",
    keys: &[key("driver", TEXT, "Log driver."), key("options", map(&Shape::Either(&[Shape::Null, TEXT_OR_NUMBER])), "Options for the driver.")],
    required: &[],
    others: Others::Extensions,
};

static MODEL: Object = Object {
    what: "a use of a model",
    keys: &[key("endpoint_var", TEXT, "Variable for the endpoint."), key("model_var", TEXT, "Variable for the model.")],
    required: &[],
    others: Others::Extensions,
};

static NETWORK: Object = Object {
    what: "a place on a network",
    keys: &[
        key("aliases", UNIQUE_TEXTS, "More names on this network.").unique(Identity::BeforeEquals),
        key("interface_name", TEXT, "Name of the interface inside."),
        key("ipv4_address", TEXT, "Fixed IPv4 address."),
        key("ipv6_address", TEXT, "Fixed IPv6 address."),
        key("link_local_ips", UNIQUE_TEXTS, "Link-local addresses.").unique(Identity::BeforeEquals),
        key("mac_address", TEXT, "MAC address."),
        key("driver_opts", OPTIONS, "Options for the driver."),
        key("priority", STRICT_NUMBER, "Order of connection; highest first."),
        key("gw_priority", STRICT_NUMBER, "Which network's gateway is the default; highest wins."),
    ],
    required: &[],
    others: Others::Extensions,
};

static PORT: Object = Object {
    what: "a port",
    keys: &[
        key("name", TEXT, "Name."),
        key("mode", one_of(&["ingress", "host"]), "`ingress` or `host`."),
        key("host_ip", text(Format::Address), "Address on the host."),
        key("target", int(0, 65535), "Port in the container."),
        key("published", Shape::Scalar(Scalar { kinds: Kinds::STRING.or(Kinds::INT), format: Format::Text }), "Port or range on the host."),
        key("protocol", one_of(&["tcp", "udp", "sctp"]), "`tcp`, `udp` or `sctp`."),
        key("app_protocol", TEXT, "Protocol of the application."),
    ],
    required: &["target"],
    others: Others::Extensions,
};

static PROVIDER: Object = Object {
    what: "a provider",
    keys: &[key("type", TEXT, "Which program."), key("options", map(&Shape::Either(&[ANY_SCALAR, list(&ANY_SCALAR)])), "Its options.")],
    required: &["type"],
    others: Others::Extensions,
};

static MOUNT: Object = Object {
    what: "a mount",
    keys: &[
        key("type", one_of(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]), "Kind."),
        key("source", TEXT, "Host path, volume or image."),
        key("target", TEXT, "Path in the container."),
        key("read_only", BOOL, "Read-only."),
        key("consistency", TEXT, "Consistency of the view (macOS)."),
        key("bind", Shape::Object(&BIND), "Options of `bind`."),
        key("volume", Shape::Object(&VOLUME), "Options of `volume`."),
        key("tmpfs", Shape::Object(&TMPFS), "Options of `tmpfs`."),
        key("image", Shape::Object(&IMAGE), "Options of `image`."),
    ],
    required: &["type", "target"],
    others: Others::Extensions,
};

static BIND: Object = Object {
    what: "bind",
    keys: &[
        key("propagation", TEXT, "Propagation of mounts."),
        key("create_host_path", BOOL, "Creates a missing host folder."),
        key("recursive", one_of(&["enabled", "disabled", "writable", "readonly"]), "How mounts below it come along."),
        key("selinux", one_of(&["z", "Z"]), "SELinux label: `z` shared, `Z` private."),
    ],
    required: &[],
    others: Others::Extensions,
};

static VOLUME: Object = Object {
    what: "volume",
    keys: &[
        key("labels", KEY_VALUES, "Labels of an anonymous volume.").form(Form::KeyValues).merge(Merge::Values),
        key("nocopy", BOOL, "Doesn't copy the files of the image in."),
        key("subpath", TEXT, "Path within the volume."),
    ],
    required: &[],
    others: Others::Extensions,
};

static TMPFS: Object =
    Object { what: "tmpfs", keys: &[key("size", SIZE, "Size."), key("mode", MODE, "File mode.")], required: &[], others: Others::Extensions };

static IMAGE: Object = Object { what: "image", keys: &[key("subpath", TEXT, "Path within the image.")], required: &[], others: Others::Extensions };
