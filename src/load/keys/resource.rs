//! The top level, and everything on it but services.

use super::service::SERVICE;
use super::shapes::{BOOL, KEY_VALUES, OPTIONS, STRICT_INT, TEXT, TEXT_OR_TEXTS, TEXTS, map, named, scalar};
use super::{Form, Format, Identity, Key, Kinds, List, Merge, Object, Others, Shape, key};

/// The top level of a Compose file.
pub static ROOT: Object = Object {
    what: "a Compose file",
    keys: &[
        key("version", TEXT, "Obsolete, and without meaning."),
        key("name", TEXT, "Name of the project."),
        key(
            "include",
            Shape::List(List { item: &Shape::Either(&[Shape::Null, TEXT, Shape::Object(&INCLUDE_ENTRY)]), unique: false }),
            "Other Compose files whose resources join this project.",
        )
        .form(Form::ItemsUnder("path")),
        key("services", named(&Shape::Object(&SERVICE)), "The containers of the project, by name."),
        key("networks", named(&Shape::Either(&[Shape::Null, Shape::Object(&NETWORK)])), "Networks that services join."),
        key("volumes", named(&Shape::Either(&[Shape::Null, Shape::Object(&VOLUME)])), "Volumes that services share and that outlive them."),
        key("secrets", named(&Shape::Object(&SECRET)), "Sensitive files for services."),
        key("configs", named(&Shape::Object(&CONFIG)), "Configuration files for services."),
        key("models", named(&Shape::Object(&MODEL)), "AI models that services use."),
    ],
    required: &[],
    others: Others::Extensions,
};

/// One entry of `include` in its long form.
pub static INCLUDE_ENTRY: Object = Object {
    what: "an entry of include",
    keys: &[
        key("path", TEXT_OR_TEXTS, "The file; later ones of a list override earlier ones.").form(Form::List),
        key(
            "project_directory",
            Shape::Either(&[Shape::Null, scalar(Kinds::STRING.or(Kinds::WHOLE), Format::Text)]),
            "Folder that relative paths in it start from; the folder of the first file if absent.",
        )
        .form(Form::Stringify),
        key("env_file", TEXT_OR_TEXTS, "Files with variables for it; `.env` of its folder if absent.").form(Form::List),
    ],
    required: &["path"],
    others: Others::Overlooked,
};

const OLD_NAME: Key = key("name", TEXT, "Deprecated; `name` beside `external: true` says it.");
static EXTERNAL_NAME: Object = Object { what: "an external resource", keys: &[OLD_NAME], required: &[], others: Others::Extensions };
static EXTERNAL_FILE_NAME: Object = Object { what: "external", keys: &[OLD_NAME], required: &[], others: Others::Overlooked };

const fn external(forms: Shape) -> Key {
    key("external", forms, "It exists already and is neither created nor removed.").form(Form::External)
}

/// Of networks and volumes.
const EXTERNAL: Key = external(EXTERNAL_FORMS);
const EXTERNAL_FORMS: Shape = Shape::Either(&[BOOL, Shape::Object(&EXTERNAL_NAME)]);
/// Of secrets and configs, where the reference overlooks other keys.
const EXTERNAL_FILE: Key = external(EXTERNAL_FILE_FORMS);
const EXTERNAL_FILE_FORMS: Shape = Shape::Either(&[BOOL, Shape::Object(&EXTERNAL_FILE_NAME)]);
const NAME: Key = key("name", TEXT, "Its real name; the project's name and the key if absent.");
const LABELS: Key = key("labels", KEY_VALUES, "Labels.").form(Form::KeyValues).merge(Merge::Values);
const DRIVER_OPTS: Key = key("driver_opts", OPTIONS, "Options for the driver.");

static NETWORK: Object = Object {
    what: "a network",
    keys: &[
        NAME,
        key("driver", TEXT, "Network driver; the engine's default if absent."),
        DRIVER_OPTS,
        key("ipam", Shape::Object(&IPAM), "Addresses of the network."),
        EXTERNAL,
        key("internal", BOOL, "No way from it to the outside."),
        key("enable_ipv4", BOOL, "Whether containers get IPv4 addresses."),
        key("enable_ipv6", BOOL, "Whether containers get IPv6 addresses."),
        key("attachable", BOOL, "Whether other containers may join."),
        LABELS,
    ],
    required: &[],
    others: Others::Extensions,
};

static IPAM: Object = Object {
    what: "ipam",
    keys: &[
        key("driver", TEXT, "IPAM driver."),
        key("config", Shape::List(List { item: &Shape::Object(&POOL), unique: false }), "Address pools.").merge(Merge::Unique(Identity::Subnet)),
        key("options", map(&TEXT), "Options for the IPAM driver."),
    ],
    required: &[],
    others: Others::Extensions,
};

static POOL: Object = Object {
    what: "an address pool",
    keys: &[
        key("subnet", TEXT, "Subnet in CIDR form."),
        key("ip_range", TEXT, "Part of the subnet that addresses are taken from."),
        key("gateway", TEXT, "Address of the gateway."),
        key("aux_addresses", map(&TEXT), "Addresses that are kept free, by host name."),
    ],
    required: &[],
    others: Others::Extensions,
};

static VOLUME: Object = Object {
    what: "a volume",
    keys: &[NAME, key("driver", TEXT, "Volume driver; `local` if absent."), DRIVER_OPTS, EXTERNAL, LABELS],
    required: &[],
    others: Others::Extensions,
};

// Secrets and configs from a store or a driver are refused by the plan of the services that use them.
const FILE: Key = key("file", TEXT, "File that holds it.");
const ENVIRONMENT: Key = key("environment", TEXT, "Variable of the project's environment that holds it.");
const DRIVER: Key = key("driver", TEXT, "Driver that holds it.");
const OPTS: Key = key("driver_opts", OPTIONS, "Options for the driver.").ignored("no engine here has drivers for it");
const TEMPLATE_DRIVER: Key = key("template_driver", TEXT, "Template language of its content.");

static SECRET: Object = Object {
    what: "a secret",
    keys: &[NAME, ENVIRONMENT, FILE, EXTERNAL_FILE, LABELS, DRIVER, OPTS, TEMPLATE_DRIVER],
    required: &[],
    others: Others::Extensions,
};

static CONFIG: Object = Object {
    what: "a config",
    keys: &[NAME, key("content", TEXT, "The content itself."), ENVIRONMENT, FILE, EXTERNAL_FILE, LABELS, TEMPLATE_DRIVER],
    required: &[],
    others: Others::Extensions,
};

static MODEL: Object = Object {
    what: "a model",
    keys: &[
        NAME,
        key("model", TEXT, "Reference of the model."),
        key("context_size", STRICT_INT, "Context length in tokens."),
        key("runtime_flags", TEXTS, "Flags for the program that runs it."),
    ],
    required: &["model"],
    others: Others::Extensions,
};
