//! `logs`.

use super::app::{App, Unread};
use super::args;
use super::change::containers;
use super::fault::{Fault, usage};
use super::prompt::Prompt;
use crate::exit::Exit;
use crate::run::{self, LogsRequest};
use crate::units::{Duration, Timestamp};
use crate::world::LogQuery;

/// `logs`.
pub(crate) async fn run(app: &mut App, args: &args::Logs) -> Result<Exit, Fault> {
    if args.index.is_some() && args.services.len() != 1 {
        return Err(usage("--index needs exactly one service").into());
    }
    let query = LogQuery {
        follow: args.follow,
        since: args.since.as_deref().map(|t| time(t, app.now, "--since")).transpose()?,
        until: args.until.as_deref().map(|t| time(t, app.now, "--until")).transpose()?,
        tail: tail(args.tail.as_deref())?,
    };
    let known = app.load_or_name(&args.services).await?;
    let engine = app.connect().await?;
    let mut services = args.services.clone();
    if !services.is_empty() {
        let observed = app.observe(&engine, &containers(&known.name)).await?;
        known.require(&services, &observed)?;
        if let (Some(number), [service]) = (args.index, services.as_slice())
            && !observed.containers.iter().any(|c| c.service() == service && c.number() == Some(number))
        {
            return Err(usage(format!("service {service:?} has no container #{number}")).help("`consort ps -a` lists those that there are").into());
        }
        let notes = known.without_containers(&services, &observed);
        app.console.findings(&notes).await;
    } else if let Some(project) = known.project()
        && project.services.values().any(|s| s.attach == Some(false))
    {
        services = project.services.values().filter(|s| s.attach != Some(false)).map(|s| s.name.clone()).collect();
    }
    let request = LogsRequest { services, index: args.index, query };
    let style = app.log_style(args.no_log_prefix, args.timestamps, args.no_color, false);
    app.show("logs", style, &engine, &known.name, Unread::End, async |context, interrupts, _: &mut Prompt| {
        run::logs(&context, &request, &interrupts).await
    })
    .await??;
    // Ctrl-C is how a user ends `logs -f`; the shell is told all the same.
    Ok(if app.interrupts.level() > 0 { Exit::Interrupted } else { Exit::Success })
}

/// `all` or a number.
fn tail(given: Option<&str>) -> Result<Option<u64>, Fault> {
    match given {
        None | Some("all" | "") => Ok(None),
        // Negative numbers mean all, as they do for the engine.
        Some(text) if text.parse::<i64>().is_ok_and(|n| n < 0) => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| usage(format!("--tail {text:?} is not a number")).help("give a number of lines, or `all`").into())
        }
    }
}

/// A time: RFC 3339 with less and less of it (a date alone is midnight), seconds since 1970, or how long ago.
fn time(text: &str, now: Timestamp, option: &str) -> Result<Timestamp, Fault> {
    let seconds = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let nanos = format!("{fraction:0<9}").get(..9)?.parse::<i64>().ok()?;
        Some(Timestamp::from_parts(whole.parse().ok()?, nanos))
    };
    let date = || {
        let padded = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            19 => format!("{text}Z"),
            _ => text.to_owned(),
        };
        Timestamp::parse_rfc3339(&padded)
    };
    let ago = || text.parse::<Duration>().ok().map(|d| Timestamp(now.0.saturating_sub(d.0)));
    seconds(text).or_else(date).or_else(ago).ok_or_else(|| {
        usage(format!("{option} {text:?} is not a time")).help("give a time such as 2026-01-02T13:23:37Z, or 42m for 42 minutes ago").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_users_write() {
        let now = Timestamp::from_parts(1_795_320_356, 0);
        let read = |text: &str| time(text, now, "--since").ok().map(|t| t.to_string());
        assert_eq!(read("42m").as_deref(), Some("2026-11-22T03:23:56.000000000Z"));
        assert_eq!(read("1h30m").as_deref(), Some("2026-11-22T02:35:56.000000000Z"));
        assert_eq!(read("2026-11-22").as_deref(), Some("2026-11-22T00:00:00.000000000Z"));
        assert_eq!(read("2026-11-22T04:05").as_deref(), Some("2026-11-22T04:05:00.000000000Z"));
        assert_eq!(read("2026-11-22T04:05:06+01:00").as_deref(), Some("2026-11-22T03:05:06.000000000Z"));
        assert_eq!(read("1795320356.5").as_deref(), Some("2026-11-22T04:05:56.500000000Z"));
        assert_eq!(read("yesterday"), None);
    }
}
