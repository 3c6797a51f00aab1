//! `deploy`, `gpus` and `build` of a service.

use super::service::{FILE_REFERENCES, ULIMITS};
use super::shapes::{
    BOOL, BOOL_OR_TEXT, BYTES, BYTES_TEXT, DURATION, FLOAT, HOSTS, INT, KEY_TEXTS, KEY_VALUES, NUMBER, TEXT, TEXT_OR_TEXTS, TEXTS, UNIQUE_TEXTS, int,
    list, one_of,
};
use super::{Form, Format, Identity, Key, Kinds, Merge, Object, Others, Scalar, Shape, key};

const SWARM: &str = "only a cluster acts on it";

/// `deploy`.
pub(super) static DEPLOY: Object = Object {
    what: "deploy",
    keys: &[
        key("mode", TEXT, "`replicated`, or `global` for one on each node.").ignored(SWARM),
        key("endpoint_mode", TEXT, "`vip` or `dnsrr`.").ignored(SWARM),
        key("replicas", int(0, i64::MAX), "Number of containers."),
        key("labels", KEY_VALUES, "Labels of the service, not of its containers.").form(Form::KeyValues).merge(Merge::Values).ignored(SWARM),
        key("rollback_config", Shape::Object(&UPDATE), "How a rollback goes.").ignored(SWARM),
        key("update_config", Shape::Object(&UPDATE), "How an update goes.").ignored("updates are not staged; the old container stops first"),
        key("resources", Shape::Object(&RESOURCES), "Limits and reservations."),
        key("restart_policy", Shape::Object(&RESTART_POLICY), "When a container is started again; it goes before `restart`."),
        key("placement", Shape::Object(&PLACEMENT), "Nodes that containers may run on.").ignored(SWARM),
    ],
    required: &[],
    others: Others::Extensions,
};

static UPDATE: Object = Object {
    what: "an update",
    keys: &[
        key("parallelism", int(0, i64::MAX), "How many at once; 0 means all."),
        key("delay", DURATION, "Time between two groups."),
        key("failure_action", TEXT, "`continue`, `rollback` or `pause`."),
        key("monitor", DURATION, "How long a new container is watched."),
        key("max_failure_ratio", FLOAT, "Part of failures that is tolerated."),
        key("order", one_of(&["start-first", "stop-first"]), "Whether the new one starts before the old one stops."),
    ],
    required: &[],
    others: Others::Extensions,
};

static RESOURCES: Object = Object {
    what: "resources",
    keys: &[
        key("limits", Shape::Object(&LIMITS), "Never more than this."),
        key("reservations", Shape::Object(&RESERVATIONS), "Never less than this."),
    ],
    required: &[],
    others: Others::Extensions,
};

static LIMITS: Object = Object {
    what: "limits",
    keys: &[key("cpus", FLOAT, "Processors."), key("memory", BYTES_TEXT, "Memory."), key("pids", INT, "Processes.")],
    required: &[],
    others: Others::Extensions,
};

static RESERVATIONS: Object = Object {
    what: "reservations",
    keys: &[
        key("cpus", FLOAT, "Processors.").ignored("no engine here reserves processors"),
        key("memory", BYTES_TEXT, "Memory."),
        key("generic_resources", list(&Shape::Object(&GENERIC)), "Anything countable.").ignored(SWARM),
        key("devices", list(&Shape::Object(&DEVICE_REQUEST)), "Devices by capability."),
    ],
    required: &[],
    others: Others::Extensions,
};

static GENERIC: Object = Object {
    what: "a generic resource",
    keys: &[key("discrete_resource_spec", Shape::Object(&DISCRETE), "Kind and number.")],
    required: &[],
    others: Others::Extensions,
};

static DISCRETE: Object = Object {
    what: "a discrete resource",
    keys: &[key("kind", TEXT, "Kind."), key("value", NUMBER, "Number.")],
    required: &[],
    others: Others::Extensions,
};

const COUNT: Shape = Shape::Scalar(Scalar { kinds: Kinds::STRING.or(Kinds::WHOLE), format: Format::Count });
const CAPABILITIES: Key = key("capabilities", UNIQUE_TEXTS, "Capabilities that the device must have.");
const COUNT_KEY: Key = key("count", COUNT, "How many, or `all`.");
const IDS: Key = key("device_ids", UNIQUE_TEXTS, "These very devices.");
const DRIVER: Key = key("driver", TEXT, "Driver of the device.");
const OPTIONS: Key = key("options", KEY_VALUES, "Options for the driver.").form(Form::KeyValues).merge(Merge::Values);

static DEVICE_REQUEST: Object = Object {
    what: "a device request",
    keys: &[CAPABILITIES, COUNT_KEY, IDS, DRIVER, OPTIONS],
    required: &["capabilities"],
    others: Others::Extensions,
};

/// One item of `gpus`.
pub(super) static GPU: Object =
    Object { what: "a GPU", keys: &[CAPABILITIES, COUNT_KEY, IDS, DRIVER, OPTIONS], required: &[], others: Others::Overlooked };

static RESTART_POLICY: Object = Object {
    what: "a restart policy",
    keys: &[
        key("condition", TEXT, "`none`, `on-failure` or `any`."),
        key("delay", DURATION, "Time between two attempts.").ignored("the engine sets its own delays"),
        key("max_attempts", int(0, i64::MAX), "How many attempts."),
        key("window", DURATION, "How long a container must live to count as started.").ignored("the engine decides what counts as started"),
    ],
    required: &[],
    others: Others::Extensions,
};

static PLACEMENT: Object = Object {
    what: "placement",
    keys: &[
        key("constraints", TEXTS, "Conditions on nodes."),
        key("preferences", list(&Shape::Object(&PREFERENCE)), "What to spread over."),
        key("max_replicas_per_node", int(0, i64::MAX), "Most containers on one node."),
    ],
    required: &[],
    others: Others::Extensions,
};

static PREFERENCE: Object =
    Object { what: "a preference", keys: &[key("spread", TEXT, "Label of nodes to spread over.")], required: &[], others: Others::Extensions };

/// `build`.
pub(super) static BUILD: Object = Object {
    what: "build",
    keys: &[
        key("context", TEXT, "Folder or URL of the build context; the project directory if absent."),
        key("dockerfile", TEXT, "Path of the Dockerfile in the context."),
        key("dockerfile_inline", TEXT, "The Dockerfile itself."),
        key("entitlements", TEXTS, "Extra privileges of the build."),
        key("args", KEY_VALUES, "Build arguments.").form(Form::KeyValues).merge(Merge::Values),
        key("ssh", KEY_VALUES, "SSH agents and keys.").form(Form::Pairs("default")).merge(Merge::Values),
        key("labels", KEY_VALUES, "Labels of the image.").form(Form::KeyValues).merge(Merge::Values),
        key("cache_from", TEXTS, "Where cached layers come from."),
        key("cache_to", TEXTS, "Where layers are cached to."),
        key("no_cache", BOOL, "Builds without the cache."),
        key("no_cache_filter", TEXT_OR_TEXTS, "Stages that are built without the cache.").form(Form::OneOrMore),
        key("additional_contexts", KEY_TEXTS, "Named contexts.").form(Form::Pairs("")).merge(Merge::Values),
        key("network", TEXT, "Network of `RUN`."),
        key("provenance", BOOL_OR_TEXT, "Provenance attestation.").form(Form::Stringify),
        key("sbom", BOOL_OR_TEXT, "SBOM attestation.").form(Form::Stringify),
        key("pull", BOOL, "Always pulls the base images."),
        key("target", TEXT, "Stage to build."),
        key("shm_size", BYTES, "Size of /dev/shm."),
        key("extra_hosts", HOSTS, "More host names.").form(Form::Hosts).merge(Merge::Missing),
        key("isolation", TEXT, "Isolation technology."),
        key("privileged", BOOL, "Builds with all privileges."),
        key("secrets", FILE_REFERENCES, "Secrets of the build.").form(Form::ItemsUnder("source")),
        key("tags", TEXTS, "More names of the image.").unique(Identity::BeforeEquals),
        key("ulimits", ULIMITS, "Limits of processes."),
        key("platforms", TEXTS, "Platforms to build for."),
    ],
    required: &[],
    others: Others::Extensions,
};
