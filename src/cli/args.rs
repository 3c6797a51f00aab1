//! The command line. The only place that knows clap.

pub use super::args_stores::*;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Compose-style multi-container orchestrator with pluggable engines.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "consort",
    bin_name = "consort",
    disable_version_flag = true,
    disable_help_subcommand = true,
    infer_long_args = false,
    args_override_self = true,
    max_term_width = 100,
    subcommand_value_name = "COMMAND",
    override_usage = "consort [OPTIONS] COMMAND [ARGS]...",
    after_help = "Options of this list go before the command. `consort COMMAND --help` says more on a command."
)]
pub struct Args {
    /// Options that go before the command.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that go before the command.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Globals {
    /// Compose file, several times to merge several; `-` reads standard input [env: COMPOSE_FILE]
    #[arg(short, long = "file", value_name = "FILE", action = ArgAction::Append)]
    pub files: Vec<String>,
    /// Project name [env: COMPOSE_PROJECT_NAME]
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Profile to enable, several times for several; `*` enables all [env: COMPOSE_PROFILES]
    #[arg(long = "profile", value_name = "PROFILE", action = ArgAction::Append)]
    pub profiles: Vec<String>,
    /// Environment file instead of `.env`; later ones win [env: COMPOSE_ENV_FILES]
    #[arg(long = "env-file", value_name = "FILE", action = ArgAction::Append)]
    pub env_files: Vec<String>,
    /// Directory that relative paths start from [default: that of the first file]
    #[arg(long, value_name = "DIR", alias = "workdir")]
    pub project_directory: Option<String>,
    /// How progress is shown [env: COMPOSE_PROGRESS]
    #[arg(long, value_name = "auto|tty|plain|json|quiet")]
    pub progress: Option<String>,
    /// When colours and cursor control are used [env: COMPOSE_ANSI]
    #[arg(long, value_name = "never|always|auto", conflicts_with = "no_ansi")]
    pub ansi: Option<String>,
    /// How faults in files are shown
    #[arg(long, value_name = "full|short|json")]
    pub errors: Option<String>,
    /// Keep networks, volumes, secrets and configs that no service uses
    #[arg(long)]
    pub all_resources: bool,
    /// `_` instead of `-` in names of containers [env: COMPOSE_COMPATIBILITY]
    #[arg(long)]
    pub compatibility: bool,
    /// Engine calls at the same time; -1 is no limit [default: 8] [env: COMPOSE_PARALLEL_LIMIT]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub parallel: Option<i64>,
    /// Show what would be done and why; nothing is changed
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Engine: docker, podman, embedded, sim, or auto [env: CONSORT_ENGINE]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// OCI runtime of services that name none under `runtime:`, by path or name: runc, crun, youki [env: CONSORT_RUNTIME]
    #[arg(long, value_name = "PATH")]
    pub runtime: Option<String>,
    /// Address of the engine [env: DOCKER_HOST]
    #[arg(short = 'H', long, value_name = "URL", hide = true)]
    pub host: Option<String>,
    /// Docker context [env: DOCKER_CONTEXT]
    #[arg(short = 'c', long, value_name = "NAME", hide = true, conflicts_with = "host")]
    pub context: Option<String>,
    /// Colours off (the old way)
    #[arg(long, hide = true)]
    pub no_ansi: bool,
    /// Accepted for old scripts
    #[arg(long, short = 'D', visible_alias = "debug", hide = true)]
    pub verbose: bool,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    pub version: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
#[allow(missing_docs, reason = "each command's help text is its documentation and stands at its arguments")]
pub enum Command {
    Up(Up),
    Down(Down),
    Ps(Ps),
    Logs(Logs),
    Exec(Exec),
    Start(Start),
    Stop(Stop),
    Restart(Restart),
    Kill(Kill),
    Rm(Rm),
    Pull(Pull),
    Ls(Ls),
    Config(Config),
    Check(Check),
    Create(Create),
    Pause(Pause),
    Unpause(Unpause),
    Image(Image),
    Volume(Volume),
    System(System),
    Schema(Schema),
    Version(Version),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Create and start containers
///
/// Brings the project to what the files say: what is as it should be stays untouched, what has changed is
/// recreated. Attached (without -d) it shows the logs until the containers have ended or Ctrl-C stops them: once
/// gracefully, twice at once, a third time leaves them as they are.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "\
Differences from Docker Compose:
  --dry-run prints each step with its reason and never touches the engine.
  A gate that can't be passed is explained: the probe, its last outputs, the exit code in words, the last log lines.
  --wait counts a one-shot service (restart: no) that exited with 0 as done.
  The embedded engine doesn't wait an interval before the first probe; a healthcheck with start_interval does.
  Files from elsewhere (Git, registries) are shown and asked about once, whichever way they are named; -y accepts them.
  Paused containers are resumed instead of failing.")]
pub struct Up {
    /// Services; none means all that the profiles enable
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Build images before starting
    #[arg(long, conflicts_with = "no_build")]
    pub build: bool,
    /// Never build; a missing image is an error
    #[arg(long)]
    pub no_build: bool,
    /// Recreate containers even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    pub force_recreate: bool,
    /// Keep existing containers whatever has changed
    #[arg(long, conflicts_with_all = ["always_recreate_deps", "renew_anon_volumes"])]
    pub no_recreate: bool,
    /// Recreate dependencies too
    #[arg(long)]
    pub always_recreate_deps: bool,
    /// Recreate with new anonymous volumes instead of taking over the old ones' data
    #[arg(short = 'V', long)]
    pub renew_anon_volumes: bool,
    /// Remove containers of services that the files no longer have [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub remove_orphans: Option<bool>,
    /// Number of containers of a service, several times for several services
    #[arg(long, value_name = "SERVICE=N", action = ArgAction::Append)]
    pub scale: Vec<String>,
    /// Leave dependencies alone
    #[arg(long)]
    pub no_deps: bool,
    /// Create, don't start
    #[arg(long)]
    pub no_start: bool,
    /// When to pull images, whatever the files say
    #[arg(long, value_name = "always|missing|never|build|policy")]
    pub pull: Option<String>,
    /// Pull without showing progress
    #[arg(long)]
    pub quiet_pull: bool,
    /// Build without showing progress
    #[arg(long)]
    pub quiet_build: bool,
    /// Seconds to wait when a container is stopped, before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
    /// Wait until everything runs or is healthy; implies -d
    #[arg(long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "attach", "attach_dependencies", "watch"])]
    pub wait: bool,
    /// Seconds that --wait may take; 0 is no limit
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub wait_timeout: Option<u64>,
    /// Stop everything as soon as one container exits
    #[arg(long, conflicts_with = "abort_on_container_failure", conflicts_with = "detach")]
    pub abort_on_container_exit: bool,
    /// Stop everything as soon as one container fails
    #[arg(long, conflicts_with = "detach")]
    pub abort_on_container_failure: bool,
    /// Stop everything when this service exits, and return its exit code
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    pub exit_code_from: Option<String>,
    /// Show only this service's logs, several times for several
    #[arg(long, value_name = "SERVICE", action = ArgAction::Append, conflicts_with = "attach_dependencies", conflicts_with = "detach")]
    pub attach: Vec<String>,
    /// Don't show this service's logs, several times for several
    #[arg(long, value_name = "SERVICE", action = ArgAction::Append)]
    pub no_attach: Vec<String>,
    /// Show logs of dependencies too
    #[arg(long, conflicts_with = "detach")]
    pub attach_dependencies: bool,
    /// Log lines without colours
    #[arg(long)]
    pub no_color: bool,
    /// Log lines without the service's name
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Log lines with the time
    #[arg(long)]
    pub timestamps: bool,
    /// Not available yet
    #[arg(short, long, hide = true, conflicts_with = "no_build", conflicts_with = "detach")]
    pub watch: bool,
    /// Accepted; there is no menu
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub menu: Option<bool>,
    /// Answer yes to questions
    #[arg(short, long, alias = "y")]
    pub yes: bool,
}

/// Create containers without starting them
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Create {
    /// Services; none means all that the profiles enable
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Build images before creating
    #[arg(long, conflicts_with = "no_build")]
    pub build: bool,
    /// Never build; a missing image is an error
    #[arg(long)]
    pub no_build: bool,
    /// Recreate containers even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    pub force_recreate: bool,
    /// Keep existing containers whatever has changed
    #[arg(long)]
    pub no_recreate: bool,
    /// Remove containers of services that the files no longer have [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub remove_orphans: Option<bool>,
    /// Number of containers of a service, several times for several services
    #[arg(long, value_name = "SERVICE=N", action = ArgAction::Append)]
    pub scale: Vec<String>,
    /// When to pull images, whatever the files say
    #[arg(long, value_name = "always|missing|never|build|policy")]
    pub pull: Option<String>,
    /// Pull without showing progress
    #[arg(long)]
    pub quiet_pull: bool,
    /// Answer yes to questions
    #[arg(short, long, alias = "y")]
    pub yes: bool,
}

/// Stop and remove containers and networks
///
/// Works from the containers' labels too: with -p, or when the file is gone.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "\
Differences from Docker Compose:
  Each volume that -v deletes is named; volumes that the project doesn't own are never deleted.
  A failing pre_stop hook is reported and the container is stopped all the same.")]
pub struct Down {
    /// Services; none means the whole project
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Remove containers of services that the files no longer have [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub remove_orphans: Option<bool>,
    /// Remove named volumes of the project and anonymous volumes too: their data is lost
    #[arg(short, long, alias = "volume")]
    pub volumes: bool,
    /// Remove images too: `local` those without a name of their own, `all` every one
    #[arg(long, value_name = "all|local")]
    pub rmi: Option<Rmi>,
    /// Seconds to wait for a container before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
}

/// Which images `down` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rmi {
    /// All.
    All,
    /// Those without a name of their own.
    Local,
}

/// List containers
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "\
Differences from Docker Compose: containers are sorted by number (w-2 before w-10).")]
pub struct Ps {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Stopped containers and those of `run` too
    #[arg(short, long)]
    pub all: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Only names of services
    #[arg(long = "services")]
    pub only_services: bool,
    /// Only containers in this state, several times for several; implies -a
    #[arg(long, value_name = "STATE", action = ArgAction::Append)]
    pub status: Vec<String>,
    /// Only containers that match: `status=running`
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Option<String>,
    /// `table`, `json`, `raw`, or a Go template such as `table {{.Name}}\t{{.State}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Don't shorten
    #[arg(long)]
    pub no_trunc: bool,
    /// Containers of services that the files no longer have too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub orphans: Option<bool>,
}

/// Show logs of containers
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "\
Differences from Docker Compose: lines are merged by time across containers, the column of names has one width from
the first line on, and a last line without newline is shown.")]
pub struct Logs {
    /// Services; none means all but those with `attach: false`
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on with what is written later
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many last lines of each container; `all` is no limit
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<String>,
    /// Only since then: a time such as 2026-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only until then: a time such as 2026-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show the time of each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// No colours
    #[arg(long)]
    pub no_color: bool,
    /// Without the service's name
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Only the container of this number; needs one service
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
}

/// Run a command in a running container
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(trailing_var_arg = true)]
#[command(after_long_help = "\
Differences from Docker Compose: a terminal is allocated only if both standard input and standard output are
terminals, so that `consort exec db pg_dump > file` and `echo sql | consort exec db psql` work without -T.
A container of `run` is never picked.")]
pub struct Exec {
    /// Service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Command and its arguments
    #[arg(value_name = "COMMAND", required = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
    /// Don't wait for the command
    #[arg(short, long)]
    pub detach: bool,
    /// Environment variable; without a value it is taken from ours
    #[arg(short, long, value_name = "KEY[=VALUE]", action = ArgAction::Append)]
    pub env: Vec<String>,
    /// Number of the container [default: the lowest that runs]
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// No terminal [default: a terminal if standard input and output are one]
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    pub no_tty: bool,
    /// User
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Directory the command starts in
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// With all privileges
    #[arg(long)]
    pub privileged: bool,
    /// Keep standard input open (it always is)
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub interactive: Option<bool>,
    /// A terminal
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", conflicts_with = "no_tty")]
    pub tty: Option<bool>,
}

/// Start existing containers and what they depend on
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Start {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Wait until everything runs or is healthy
    #[arg(long)]
    pub wait: bool,
    /// Seconds that --wait may take; 0 is no limit
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub wait_timeout: Option<u64>,
}

/// Stop containers without removing them
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Stop {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Seconds to wait for a container before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
}

/// Stop and start containers
///
/// Doesn't apply changes of the files: `consort up` does. If there are any, it says so.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Restart {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Seconds to wait for a container before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
    /// Leave services alone that depend on these with `restart: true`
    #[arg(long)]
    pub no_deps: bool,
}

/// Send a signal to running containers
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Kill {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Signal, name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL", allow_negative_numbers = true)]
    pub signal: String,
    /// Containers of services that the files no longer have too [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub remove_orphans: Option<bool>,
}

/// Remove stopped containers
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Rm {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
    /// Stop them first
    #[arg(short, long)]
    pub stop: bool,
    /// Their anonymous volumes too
    #[arg(short, long)]
    pub volumes: bool,
    /// Accepted for old scripts
    #[arg(short, long, hide = true)]
    pub all: bool,
}

/// Pull images
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Pull {
    /// Services; none means all that the profiles enable
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Without progress
    #[arg(short, long)]
    pub quiet: bool,
    /// `missing` pulls only what isn't there
    #[arg(long, value_name = "always|missing")]
    pub policy: Option<String>,
    /// Images of dependencies too
    #[arg(long)]
    pub include_deps: bool,
    /// An image that can't be pulled is no failure
    #[arg(long)]
    pub ignore_pull_failures: bool,
    /// Leave out images that can be built
    #[arg(long)]
    pub ignore_buildable: bool,
    /// Accepted for old scripts
    #[arg(long, hide = true)]
    pub parallel: bool,
    /// Accepted for old scripts
    #[arg(long, hide = true)]
    pub no_parallel: bool,
}

/// List running projects
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "\
Differences from Docker Compose: every engine that can be found is asked, all at once: that of DOCKER_HOST or the context in
use, the sockets of Docker and Podman, those of all contexts. A project on another engine than the one that other commands
use is shown with a column ENGINE. --host, --context and --engine ask one alone; --verbose says which don't answer.")]
pub struct Ls {
    /// Stopped projects too
    #[arg(short, long)]
    pub all: bool,
    /// Only names
    #[arg(short, long)]
    pub quiet: bool,
    /// Only projects that match: `name=REGEX`
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub filter: Vec<String>,
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// Check the files and print them in canonical form
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = config_help())]
pub struct Config {
    /// Services; none means all that the profiles enable
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// `yaml`, the default, or `json`; of `--variables` also `table`, its default
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    pub format: String,
    /// Only check; print nothing
    #[arg(short, long)]
    pub quiet: bool,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,
    /// Print names of services
    #[arg(long = "services")]
    pub list_services: bool,
    /// Print names of volumes
    #[arg(long = "volumes")]
    pub list_volumes: bool,
    /// Print names of networks
    #[arg(long = "networks")]
    pub list_networks: bool,
    /// Print names of images
    #[arg(long = "images")]
    pub list_images: bool,
    /// Print names of profiles
    #[arg(long = "profiles")]
    pub list_profiles: bool,
    /// Print names of models
    #[arg(long = "models")]
    pub list_models: bool,
    /// Print the environment that variables are taken from
    #[arg(long)]
    pub environment: bool,
    /// Print the variables of the files with their defaults
    #[arg(long)]
    pub variables: bool,
    /// Print configuration hashes of services: names, comma-separated, or `*`
    #[arg(long, value_name = "SERVICES")]
    pub hash: Option<String>,
    /// Write behind each value where it comes from
    #[arg(long)]
    pub annotate: bool,
    /// Say why a variable (TAG) or a value (services.web.image) is what it is, and what lost; also as `--format json`
    #[arg(long, value_name = "VAR|PATH", conflicts_with = "annotate")]
    pub explain: Option<String>,
    /// Leave variables as they are written
    #[arg(long)]
    pub no_interpolate: bool,
    /// Don't fill in defaults
    #[arg(long)]
    pub no_normalize: bool,
    /// Leave paths relative
    #[arg(long)]
    pub no_path_resolution: bool,
    /// Don't check what refers to what
    #[arg(long)]
    pub no_consistency: bool,
    /// Leave `env_file` as it is
    #[arg(long)]
    pub no_env_resolution: bool,
    /// Pin images to digests
    #[arg(long)]
    pub resolve_image_digests: bool,
    /// Print an override file with pinned images
    #[arg(long)]
    pub lock_image_digests: bool,
}

/// Check the files without an engine: faults, and traps that people fall into
///
/// Prints every error and warning with its place and cure. The exit code is 0 where all is well, with warnings too; 1 if
/// there are errors, or warnings under --strict. Notes are worth knowing and never count.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = check_help())]
pub struct Check {
    /// Services whose profiles are enabled too; none means what the profiles enable
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Warnings make the exit code 1
    #[arg(long)]
    pub strict: bool,
    /// Leave a warning or note out by its code, several times for several
    #[arg(long, value_name = "CODE", action = ArgAction::Append)]
    pub allow: Vec<String>,
    /// Print one JSON document, for editors
    #[arg(long)]
    pub json: bool,
    /// Print nothing; the exit code says it
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `config --help` says beside the flags.
fn config_help() -> String {
    format!(
        "\
Differences from Docker Compose: all faults are shown at once, each with its place; lists (--volumes, --networks,
--images) are sorted.

--explain VAR goes through what could set the variable, in the order that counts: the shell, env files (a later
--env-file before an earlier one, the project's before that of an included file), the default of each expression; and
lists every place that uses it, with what it gives there. It works while the files are broken, too.

--explain PATH goes through all that says something about the value: each file, included files, the services that one
extends, env files, merge keys, !reset and !override. Items of lists are [0], keys with dots may be quoted.

Limits: {}",
        crate::load::limits()
    )
}

/// What `check --help` says beside the flags.
fn check_help() -> String {
    let codes: String = crate::load::traps::TRAPS.iter().map(|t| format!("  {:<27} {}\n", t.code, t.about)).collect();
    format!(
        "Traps, by the code that stands in brackets:\n{codes}\n\
Files can allow codes themselves, at the top level or at one service:\n  x-consort: {{allow: [image-latest]}}\n\n\
With --json: {{\"diagnostics\": […], \"errors\": n, \"warnings\": n, \"notes\": n}}. Each diagnostic has severity (error, warning, \
note), code, message, and where known file, line, column, end_line, end_column, label, help; related is a list of places, each \
with a message. Lines and columns count from 1, columns in characters; the end is one past the last character. A diagnostic \
about no file has no place."
    )
}

/// Freeze running containers
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Pause {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// Resume frozen containers
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Unpause {
    /// Services; none means all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// Print what Consort knows of the Compose format: every key, what it may be, what it means
///
/// Without flags it is a JSON schema (draft 2020-12) for editors. It is made from the table that the loader itself
/// checks files by.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub struct Schema {
    /// As a document to read
    #[arg(long)]
    pub markdown: bool,
}

/// Print the version
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Version {
    /// `pretty` or `json`
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty")]
    pub format: String,
    /// Only the number
    #[arg(long)]
    pub short: bool,
}
