//! The part of the command line that is about what the embedded engine keeps.

use clap::{ArgAction, Args as ClapArgs, Subcommand};

/// Images of the embedded engine
#[derive(Clone, Debug, ClapArgs)]
pub struct Image {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What can be done with images.
#[derive(Clone, Debug, Subcommand)]
#[allow(missing_docs, reason = "each command's help text is its documentation and stands at its arguments")]
pub enum ImageCommand {
    #[command(alias = "list")]
    Ls(ImageLs),
    Pull(ImagePull),
    Load(ImageLoad),
    Save(ImageSave),
    Import(ImageImport),
    Tag(ImageTag),
    #[command(alias = "remove")]
    Rm(ImageRm),
    Prune(ImagePrune),
}

/// List images
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageLs {
    /// Only those of this name
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Ids in full
    #[arg(long)]
    pub no_trunc: bool,
    /// `table`, `json`, or a template
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Fetch an image
///
/// From a registry, or `docker-archive:FILE`, `oci:DIR`, `oci-archive:FILE`, `rootfs:DIR` (an unpacked machine).
///
/// Mirrors in CONSORT_REGISTRY_MIRRORS, between commas, are asked before Docker Hub (`URL`) or another registry
/// (`REGISTRY=URL`). Registries on this machine, and those in CONSORT_INSECURE_REGISTRIES, may do without TLS. What
/// /etc/docker/daemon.json says of both counts too. Layers larger than CONSORT_LAYER_MAX_SIZE (128 GiB), with more than
/// CONSORT_LAYER_MAX_ENTRIES files, or packed more than CONSORT_LAYER_MAX_RATIO times, are refused.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImagePull {
    /// Reference
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// For this platform, `os/arch[/variant]` [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Load images from an archive
///
/// One that `docker save` wrote, an OCI archive, or a folder with an OCI layout.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageLoad {
    /// Read from this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<String>,
    /// Print nothing
    #[arg(short, long)]
    pub quiet: bool,
}

/// Save images to an archive that `docker load` reads
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageSave {
    /// References
    #[arg(value_name = "REFERENCE", required = true)]
    pub references: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,
}

/// Make an image of an archive of files, or of a folder
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageImport {
    /// Archive or folder; `-` reads standard input
    #[arg(value_name = "FILE|DIR|-")]
    pub source: String,
    /// Name for it
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}

/// Give an image one more name
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageTag {
    /// Reference or id
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

/// Remove images
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImageRm {
    /// References or ids
    #[arg(value_name = "REFERENCE", required = true)]
    pub references: Vec<String>,
    /// By id although it has several names; absent ones are no fault
    #[arg(short, long)]
    pub force: bool,
}

/// Remove images without a name
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ImagePrune {
    /// All that no container uses
    #[arg(short, long)]
    pub all: bool,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

/// Volumes of the embedded engine
#[derive(Clone, Debug, ClapArgs)]
pub struct Volume {
    /// What to do.
    #[command(subcommand)]
    pub command: VolumeCommand,
}

/// What can be done with volumes.
#[derive(Clone, Debug, Subcommand)]
#[allow(missing_docs, reason = "each command's help text is its documentation and stands at its arguments")]
pub enum VolumeCommand {
    #[command(alias = "list")]
    Ls(VolumeLs),
    #[command(alias = "remove")]
    Rm(VolumeRm),
    Prune(VolumePrune),
}

/// List volumes
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct VolumeLs {
    /// Only names
    #[arg(short, long)]
    pub quiet: bool,
    /// Only those: name=PART, driver=NAME, label=KEY[=VALUE], dangling=BOOL
    #[arg(short, long, value_name = "FILTER", action = ArgAction::Append)]
    pub filter: Vec<String>,
    /// `table`, `json`, or a template
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Remove volumes and what is in them
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct VolumeRm {
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
    /// Absent ones are no fault
    #[arg(short, long)]
    pub force: bool,
}

/// Remove anonymous volumes that no container has
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct VolumePrune {
    /// Those with a name too
    #[arg(short, long)]
    pub all: bool,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

/// The embedded engine as a whole
#[derive(Clone, Debug, ClapArgs)]
pub struct System {
    /// What to do.
    #[command(subcommand)]
    pub command: SystemCommand,
}

/// What can be done with the engine as a whole.
#[derive(Clone, Debug, Subcommand)]
#[allow(missing_docs, reason = "each command's help text is its documentation and stands at its arguments")]
pub enum SystemCommand {
    Df(SystemDf),
    Prune(SystemPrune),
    Unit(SystemUnit),
    Boot(SystemBoot),
}

/// Show how much room everything takes
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct SystemDf {
    /// `table`, `json`, or a template
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Remove what nothing uses
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct SystemPrune {
    /// All images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Anonymous volumes too
    #[arg(long)]
    pub volumes: bool,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
}

/// Print a systemd unit that starts projects when the machine starts
///
/// Containers come back whose restart policy is `always` or `unless-stopped`, project by project.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(after_long_help = "To install it:
  consort system unit > /etc/systemd/system/consort.service
  systemctl enable consort.service")]
pub struct SystemUnit {}

/// Start what should run after the machine was started
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(hide = true)]
pub struct SystemBoot {}
