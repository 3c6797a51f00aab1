//! The labels by which Compose-style tools recognise what is theirs. Equal to Docker Compose's, so that either tool
//! takes over what the other started.

/// Project name.
pub const PROJECT: &str = "com.docker.compose.project";
/// Service name.
pub const SERVICE: &str = "com.docker.compose.service";
/// Number of the replica; absent on one-off containers.
pub const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `True` on containers of `run`, else `False`.
pub const ONEOFF: &str = "com.docker.compose.oneoff";
/// Random id of a one-off container.
pub const SLUG: &str = "com.docker.compose.slug";
/// Version of the tool that created it.
pub const VERSION: &str = "com.docker.compose.version";
/// SHA-256 of the canonical configuration.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Id of the image the container was created from.
pub const IMAGE: &str = "com.docker.compose.image";
/// Dependencies, `name:condition:restart`, comma-separated.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Absolute paths of the Compose files, comma-separated.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// Absolute path of the project directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// Absolute paths of the `--env-file` files, comma-separated; absent without.
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// Name of the container this one replaced.
pub const REPLACE: &str = "com.docker.compose.replace";
/// Key of a network.
pub const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume.
pub const VOLUME: &str = "com.docker.compose.volume";
/// The image as the file names it, where the engine has it under another name.
pub const IMAGE_FILE: &str = "consort.image";
