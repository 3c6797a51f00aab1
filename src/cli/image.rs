//! `image ls`, `pull`, `load`, `save`, `import`, `tag`, `rm`, `prune`.

use super::app::{App, Unread};
use super::args;
use super::fault::{Fault, usage};
use super::hints::engine_finding;
use super::prompt::Prompt;
use super::stores::{blocking, embedded, listing, row, sure};
use crate::engine::embedded::Embedded;
use crate::engine::embedded::image::{Files, Limits, Listed, Removed};
use crate::engine::{Engine, OpProgress};
use crate::exit::Exit;
use crate::ui::human::{ago, size};
use crate::ui::table::Row;
use crate::ui::{LogStyle, Output};
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, Event, Op, Subject, SubjectKind, TaskState};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use tokio::io::AsyncReadExt;

/// How many digits of an id a table shows.
const SHORT: usize = 12;

/// `image`.
pub(crate) async fn run(app: &mut App, command: &args::Image) -> Result<Exit, Fault> {
    match &command.command {
        args::ImageCommand::Ls(args) => ls(app, args).await,
        args::ImageCommand::Pull(args) => pull(app, args).await,
        args::ImageCommand::Load(args) => load(app, args).await,
        args::ImageCommand::Save(args) => save(app, args).await,
        args::ImageCommand::Import(args) => import(app, args).await,
        args::ImageCommand::Tag(args) => {
            let engine = embedded(app, "image tag").await?;
            engine.images().tag(&args.reference, &args.name)?;
            Ok(Exit::Success)
        }
        args::ImageCommand::Rm(args) => rm(app, args).await,
        args::ImageCommand::Prune(args) => prune(app, args).await,
    }
}

/// The id without the name of its digest, short or in full.
fn short(id: &str, whole: bool) -> &str {
    if whole { id } else { id.trim_start_matches("sha256:").get(..SHORT).unwrap_or(id) }
}

async fn ls(app: &mut App, args: &args::ImageLs) -> Result<Exit, Fault> {
    let engine = embedded(app, "image ls").await?;
    let mut rows = Vec::new();
    for image in engine.images().list()? {
        let names = if image.names.is_empty() { vec![String::new()] } else { image.names.clone() };
        for name in names {
            let (repository, tag) = parted(&name);
            let wanted = args.name.as_ref().is_none_or(|wanted| *wanted == name || *wanted == repository);
            if wanted {
                rows.push(fields(&image, &repository, &tag, app.now, args.no_trunc));
            }
        }
    }
    if args.quiet {
        let mut ids: Vec<String> = rows.iter().map(|r| r.fields.get("ID").and_then(|v| v.as_str()).unwrap_or_default().to_owned()).collect();
        ids.dedup();
        return app.print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()).await;
    }
    let columns = [("REPOSITORY", "Repository"), ("TAG", "Tag"), ("IMAGE ID", "ID"), ("CREATED", "CreatedSince"), ("SIZE", "Size")];
    app.print(&listing(args.format.as_deref(), &columns, &rows)?).await
}

/// Name and tag; what is no name of a registry's has none.
fn parted(name: &str) -> (String, String) {
    let none = || "<none>".to_owned();
    match name.rsplit_once(':') {
        _ if name.is_empty() => (none(), none()),
        Some((repository, tag)) if !tag.contains('/') && !repository.is_empty() => (repository.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), none()),
    }
}

fn fields(image: &Listed, repository: &str, tag: &str, now: Timestamp, whole: bool) -> Row {
    let digest = image.digests.iter().find_map(|d| d.strip_prefix(repository)?.strip_prefix('@'));
    let created = image.created.or(image.tagged);
    row(&[
        ("Containers", image.containers.len().to_string()),
        ("CreatedAt", created.map_or_else(|| "N/A".to_owned(), |t| t.to_string())),
        ("CreatedSince", created.map_or_else(|| "N/A".to_owned(), |t| format!("{} ago", ago(now, t)))),
        ("Digest", digest.unwrap_or("<none>").to_owned()),
        ("ID", short(&image.id, whole).to_owned()),
        ("Platform", image.platform.to_string()),
        ("Repository", repository.to_owned()),
        ("SharedSize", size(image.size - image.unique.min(image.size))),
        ("Size", size(image.size)),
        ("Tag", tag.to_owned()),
        ("UniqueSize", size(image.unique)),
    ])
}

/// Paths in references are relative to where the command was called.
fn absolute(app: &App, reference: &str) -> String {
    for kind in ["docker-archive:", "oci-archive:", "oci:", "rootfs:"] {
        if let Some(path) = reference.strip_prefix(kind).filter(|p| !p.starts_with('/')) {
            return format!("{kind}{}", app.cwd.join(path).display());
        }
    }
    reference.to_owned()
}

async fn pull(app: &mut App, args: &args::ImagePull) -> Result<Exit, Fault> {
    let engine: Arc<dyn Engine> = Arc::new(embedded(app, "image pull").await?);
    let reference = absolute(app, &args.reference);
    if args.quiet {
        app.console.look().progress = crate::ui::ProgressMode::Quiet;
    }
    let op = Op::PullImage { reference: reference.clone(), platform: args.platform.clone() };
    let subject = Subject::new(SubjectKind::Image, &reference);
    let done = app
        .show("pull", LogStyle::default(), &engine, "", Unread::End, async |context, _, _: &mut Prompt| {
            let (sink, mut reports) = tokio::sync::mpsc::channel::<OpProgress>(64);
            let task = |state, text: &str, part: Option<String>, progress| Event::Task {
                subject: subject.clone(),
                state,
                text: text.to_owned(),
                part,
                progress,
            };
            let tell = async {
                while let Some(report) = reports.recv().await {
                    let part = Some(report.part).filter(|p| !p.is_empty());
                    // Nobody may be reading.
                    let _ = context.out.send(task(TaskState::Working, &report.text, part, report.progress)).await;
                }
            };
            let work = async {
                let sink = sink;
                context.engine.apply(&op, &sink).await
            };
            let _ = context.out.send(task(TaskState::Working, "Pulling", None, None)).await;
            let (result, ()) = tokio::join!(work, tell);
            let (state, word) = if result.is_ok() { (TaskState::Done, "Pulled") } else { (TaskState::Error, "Error") };
            let _ = context.out.send(task(state, word, None, None)).await;
            result
        })
        .await??;
    if args.quiet {
        return app.print(&format!("{}\n", done.id.unwrap_or_default())).await;
    }
    Ok(Exit::Success)
}

/// Standard input for a thread that waits for it.
struct Pieces {
    pieces: mpsc::Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = Read::read(&mut self.rest, buffer)?;
            if n > 0 {
                return Ok(n);
            }
            match self.pieces.recv() {
                Ok(piece) => self.rest = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Does work that reads standard input.
async fn with_input<T: Send + 'static>(
    app: &mut App,
    work: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Fault> {
    let (sender, pieces) = mpsc::sync_channel(4);
    let mut input = app.prompt.take_input();
    let pump = async move {
        while let Some(input) = &mut input {
            let mut piece = vec![0; 64 * 1024];
            match input.read(&mut piece).await {
                Ok(n) if n > 0 => {
                    piece.truncate(n);
                    let sender = sender.clone();
                    if tokio::task::spawn_blocking(move || sender.send(piece)).await.is_ok_and(|sent| sent.is_err()) {
                        break;
                    }
                }
                _ => break,
            }
        }
    };
    let pump = tokio::spawn(pump);
    let result = blocking(app, move || work(&mut Pieces { pieces, rest: io::Cursor::default() })).await;
    pump.abort();
    result
}

async fn load(app: &mut App, args: &args::ImageLoad) -> Result<Exit, Fault> {
    let engine = embedded(app, "image load").await?;
    let limits = Limits::of(&app.environment)?;
    // Nobody shows the progress of it: it takes as long as copying the file.
    let (progress, _) = tokio::sync::mpsc::channel(1);
    let store = engine.images().clone();
    let names = match &args.input {
        Some(file) => {
            let file = app.cwd.join(file);
            blocking(app, move || store.load(&file, limits, &progress)).await?
        }
        None if app.terminals.stdin => return Err(usage("standard input is a terminal").help("name the archive: -i FILE").into()),
        None => with_input(app, move |input| store.load_from(input, limits, &progress)).await?,
    };
    if args.quiet {
        return Ok(Exit::Success);
    }
    app.print(&names.iter().map(|n| format!("Loaded image: {n}\n")).collect::<String>()).await
}

/// Standard output for a thread.
struct Out(Output);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_now(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn save(app: &mut App, args: &args::ImageSave) -> Result<Exit, Fault> {
    let engine = embedded(app, "image save").await?;
    if args.output.is_none() && app.terminals.stdout {
        return Err(usage("an archive is nothing for a terminal").help("name a file: -o FILE").into());
    }
    let references: Vec<String> = args.references.iter().map(|r| absolute(app, r)).collect();
    let (store, stdout) = (engine.images().clone(), app.stdout.clone());
    let file = args.output.as_ref().map(|file| app.cwd.join(file));
    blocking(app, move || {
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        match file {
            Some(file) => written(&file, |out| store.save(&references, out)),
            None => store.save(&references, &mut io::BufWriter::with_capacity(64 * 1024, Out(stdout))),
        }
    })
    .await?;
    Ok(Exit::Success)
}

/// Writes a file, whole or not at all.
fn written(file: &PathBuf, work: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>) -> Result<(), EngineError> {
    let beside = file.with_extension("partial");
    let cant = |e: io::Error| EngineError::new(ErrorKind::Refused, format!("{} can't be written", file.display())).because(e.to_string());
    let mut out = io::BufWriter::new(std::fs::File::create(&beside).map_err(cant)?);
    let done = work(&mut out).and_then(|()| out.flush().and_then(|()| std::fs::rename(&beside, file)).map_err(cant));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

async fn import(app: &mut App, args: &args::ImageImport) -> Result<Exit, Fault> {
    let engine = embedded(app, "image import").await?;
    let limits = Limits::of(&app.environment)?;
    let (store, name) = (engine.images().clone(), args.name.clone());
    let id = if args.source == "-" {
        with_input(app, move |input| store.import(Files::Archive(input), name.as_deref(), limits)).await?
    } else {
        let source = app.cwd.join(&args.source);
        blocking(app, move || {
            if source.is_dir() {
                return store.import(Files::Folder(&source), name.as_deref(), limits);
            }
            let mut file = std::fs::File::open(&source)
                .map_err(|e| EngineError::new(ErrorKind::NotFound, format!("{} can't be read", source.display())).because(e.to_string()))?;
            store.import(Files::Archive(&mut file), name.as_deref(), limits)
        })
        .await?
    };
    app.print(&format!("{id}\n")).await
}

/// What was removed, in Docker's words.
fn told(removed: &Removed) -> String {
    let untagged = removed.untagged.iter().map(|n| format!("Untagged: {n}\n"));
    untagged.chain(removed.deleted.iter().map(|id| format!("Deleted: {id}\n"))).collect()
}

async fn rm(app: &mut App, args: &args::ImageRm) -> Result<Exit, Fault> {
    let engine = embedded(app, "image rm").await?;
    let mut findings = Vec::new();
    for reference in &args.references {
        let (store, reference, force) = (engine.images().clone(), absolute(app, reference), args.force);
        match blocking(app, move || store.remove(&reference, force)).await {
            Ok(removed) => drop(app.print(&told(&removed)).await?),
            Err(Fault::Engine(error)) if force && error.kind == ErrorKind::NotFound => {}
            Err(Fault::Engine(error)) => findings.push(engine_finding(&error)),
            Err(fault) => return Err(fault),
        }
    }
    if findings.is_empty() { Ok(Exit::Success) } else { Err(findings.into()) }
}

async fn prune(app: &mut App, args: &args::ImagePrune) -> Result<Exit, Fault> {
    let engine: Embedded = embedded(app, "image prune").await?;
    let what = if args.all { "all images without at least one container associated to them" } else { "all images without a name" };
    if !sure(app, args.force, &format!("This will remove {what}.")).await {
        return Ok(Exit::Failure);
    }
    let (store, all) = (engine.images().clone(), args.all);
    let removed = blocking(app, move || store.prune(all)).await?;
    let list = told(&removed);
    let list = if list.is_empty() { list } else { format!("Deleted Images:\n{list}\n") };
    app.print(&format!("{list}Total reclaimed space: {}\n", size(removed.bytes))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_repository_and_tag() {
        for (name, repository, tag) in [
            ("busybox:latest", "busybox", "latest"),
            ("127.0.0.1:5000/team/app:1", "127.0.0.1:5000/team/app", "1"),
            ("rootfs:/", "rootfs:/", "<none>"),
            ("docker-archive:/x.tar", "docker-archive:/x.tar", "<none>"),
            ("", "<none>", "<none>"),
        ] {
            assert_eq!(parted(name), (repository.to_owned(), tag.to_owned()), "{name}");
        }
    }
}
