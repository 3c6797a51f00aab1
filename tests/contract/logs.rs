//! Logs: streams, times, parts of them, following.

use crate::lab::{Lab, between, joined, moment, text};
use consort::world::{EventKind, LogQuery, Op, Stream};
use futures::stream::StreamExt;

crate::cases![
    streams_are_kept_apart,
    times_grow,
    a_container_that_never_ran_has_none,
    the_tail_is_the_last_lines,
    since_and_until_cut,
    following_ends_with_the_container,
    following_from_now_on_shows_only_what_comes,
    a_last_line_without_its_end_is_there,
    a_long_line_is_whole,
    many_lines_are_all_there_in_order,
    many_lines_can_be_followed,
    a_tail_can_be_followed,
    runs_follow_each_other_in_the_log,
    a_new_run_can_be_followed_from_its_start,
    a_terminal_has_one_stream,
    bytes_are_not_touched,
    a_slow_reader_loses_nothing,
];

async fn streams_are_kept_apart(lab: &Lab) {
    let ran = lab.ran(&lab.spec("web", "echo out 1; echo err 1 >&2; echo out 2; echo err 2 >&2")).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out 1\nout 2\n", "err 1\nerr 2\n"));
}

async fn times_grow(lab: &Lab) {
    let target = lab.run("web", "for i in 1 2 3; do echo $i; sleep 0.05; done").await;
    lab.exited(&target).await;
    let chunks = lab.chunks(&target, &LogQuery::default()).await;
    let times: Vec<_> = chunks.iter().map(|c| c.time.expect("each line has its time")).collect();
    assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
    let details = lab.inspect(&target).await;
    assert!(details.started.unwrap().0 - times[0].0 < 2_000_000_000, "times are those of the engine's clock");
}

async fn a_container_that_never_ran_has_none(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "true")).await;
    assert!(lab.chunks(&target, &LogQuery::default()).await.is_empty());
}

async fn the_tail_is_the_last_lines(lab: &Lab) {
    let target = lab.run("web", "for i in 1 2 3 4 5; do echo line $i; done").await;
    lab.exited(&target).await;
    for (tail, expected) in [(0, ""), (2, "line 4\nline 5\n"), (100, "line 1\nline 2\nline 3\nline 4\nline 5\n")] {
        let chunks = lab.chunks(&target, &LogQuery { tail: Some(tail), ..LogQuery::default() }).await;
        assert_eq!(joined(&chunks, Stream::Stdout), expected, "tail {tail}");
    }
}

async fn since_and_until_cut(lab: &Lab) {
    let target = lab.run("web", "for i in 1 2 3; do echo $i; sleep 0.2; done").await;
    lab.exited(&target).await;
    let all = lab.chunks(&target, &LogQuery::default()).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let cut = between(all[0].time.unwrap(), all[1].time.unwrap());
    let late = lab.chunks(&target, &LogQuery { since: Some(cut), ..LogQuery::default() }).await;
    assert_eq!(joined(&late, Stream::Stdout), "2\n3\n");
    let early = lab.chunks(&target, &LogQuery { until: Some(cut), ..LogQuery::default() }).await;
    assert_eq!(joined(&early, Stream::Stdout), "1\n");
    let exact = lab.chunks(&target, &LogQuery { since: all[1].time, ..LogQuery::default() }).await;
    assert_eq!(joined(&exact, Stream::Stdout), "2\n3\n", "since means from that very time on");
}

async fn following_ends_with_the_container(lab: &Lab) {
    let target = lab.run("web", "for i in 1 2 3 4; do echo $i; sleep 0.1; done; echo end >&2").await;
    let chunks = lab.chunks(&target, &LogQuery { follow: true, ..LogQuery::default() }).await;
    assert_eq!(joined(&chunks, Stream::Stdout), "1\n2\n3\n4\n");
    assert_eq!(joined(&chunks, Stream::Stderr), "end\n");
}

async fn following_from_now_on_shows_only_what_comes(lab: &Lab) {
    let target = lab.run_ready("web", "echo old; echo ready; trap 'echo new; exit 0' TERM; sleep 300 & wait; sleep 1").await;
    moment().await;
    let query = LogQuery { follow: true, tail: Some(0), ..LogQuery::default() };
    let stream = lab.engine.logs(&target, &query).await.unwrap();
    lab.kill(&target, "SIGTERM").await;
    let chunks: Vec<_> = stream.map(|c| c.unwrap()).collect().await;
    assert_eq!(joined(&chunks, Stream::Stdout), "new\n");
}

async fn a_last_line_without_its_end_is_there(lab: &Lab) {
    let ran = lab.ran(&lab.spec("web", "echo one; printf two")).await;
    assert_eq!(ran.stdout, "one\ntwo");
}

async fn a_long_line_is_whole(lab: &Lab) {
    // 16 KiB is where engines cut.
    let target = lab.run("web", "head -c 100000 /dev/zero; echo; echo after").await;
    lab.exited(&target).await;
    let chunks = lab.chunks(&target, &LogQuery { follow: true, ..LogQuery::default() }).await;
    let all = joined(&chunks, Stream::Stdout);
    assert_eq!(all.len(), 100_001 + "after\n".len());
    assert!(all[..100_000].bytes().all(|b| b == 0) && all.ends_with("\nafter\n"));
}

async fn many_lines_are_all_there_in_order(lab: &Lab) {
    let target = lab.run("web", "seq 1 20000").await;
    lab.exited(&target).await;
    let all = lab.output(&target).await.0;
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let wrong = all.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert!(all == expected, "{} bytes came of {}; the first wrong line: {wrong:?}", all.len(), expected.len());
}

async fn many_lines_can_be_followed(lab: &Lab) {
    let target = lab.run("web", "seq 1 20000").await;
    let chunks = lab.chunks(&target, &LogQuery { follow: true, ..LogQuery::default() }).await;
    let all = joined(&chunks, Stream::Stdout);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let wrong = all.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert!(all == expected, "{} bytes came of {}; the first wrong line: {wrong:?}", all.len(), expected.len());
}

async fn a_tail_can_be_followed(lab: &Lab) {
    let script = "seq 1 5000; echo ready; trap 'seq 5001 10000; exit 0' TERM; sleep 300 & wait";
    let target = lab.run_ready("web", script).await;
    let query = LogQuery { follow: true, tail: Some(3), ..LogQuery::default() };
    let mut stream = lab.engine.logs(&target, &query).await.unwrap();
    let mut all = String::new();
    while !all.ends_with("ready\n") {
        all.push_str(&text(&stream.next().await.expect("the tail").unwrap().bytes));
    }
    lab.kill(&target, "SIGTERM").await;
    let rest: Vec<_> = stream.map(|c| c.unwrap()).collect().await;
    all.push_str(&joined(&rest, Stream::Stdout));
    let expected: String = (5001..=10_000).map(|n| format!("{n}\n")).collect();
    assert!(all == format!("4999\n5000\nready\n{expected}"), "{} bytes: {:?}…", all.len(), &all[..all.len().min(80)]);
}

async fn runs_follow_each_other_in_the_log(lab: &Lab) {
    let target = lab.run("web", "echo hello; exit 1").await;
    lab.exited(&target).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    events.until(|e| matches!(e.kind, EventKind::Died { .. })).await;
    assert_eq!(lab.output(&target).await.0, "hello\nhello\n");
}

async fn a_new_run_can_be_followed_from_its_start(lab: &Lab) {
    let target = lab.run_ready("web", "echo ready; trap 'exit 0' TERM; sleep 300 & wait").await;
    let first = lab.engine.logs(&target, &LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    moment().await;
    lab.good(&Op::RestartContainer { container: target.clone(), timeout: Some(5) }).await;
    // Not since its start: some engines note that after the first line was printed.
    let ended = lab.inspect(&target).await.finished;
    let query = LogQuery { follow: true, since: ended, ..LogQuery::default() };
    let mut second = lab.engine.logs(&target, &query).await.unwrap();
    assert_eq!(text(&second.next().await.unwrap().unwrap().bytes), "ready\n", "the new run's first line is not lost");
    lab.stop(&target, Some(5)).await;
    assert!(second.next().await.is_none());
    // The first stream has the first line, and ends at the latest now.
    let all: Vec<_> = first.map(|c| c.unwrap()).collect().await;
    assert!(joined(&all, Stream::Stdout).starts_with("ready\n"));
}

async fn a_terminal_has_one_stream(lab: &Lab) {
    let mut spec = lab.spec("web", "echo out; echo err >&2");
    spec.tty = true;
    let ran = lab.ran(&spec).await;
    // A terminal ends lines with a carriage return, which engines may leave out.
    assert_eq!((ran.stdout.replace("\r\n", "\n").as_str(), ran.stderr.as_str()), ("out\nerr\n", ""));
}

async fn bytes_are_not_touched(lab: &Lab) {
    let target = lab.run("web", "printf 'tab\\there \\033[31mred\\033[0m grüße\\n'").await;
    lab.exited(&target).await;
    let all = lab.output(&target).await.0;
    assert_eq!(all, "tab\there \u{1b}[31mred\u{1b}[0m grüße\n");
}

async fn a_slow_reader_loses_nothing(lab: &Lab) {
    let target = lab.run("web", "seq 1 3000").await;
    let mut stream = lab.engine.logs(&target, &LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.push(chunk.unwrap());
        if all.len() % 500 == 0 {
            moment().await;
        }
    }
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    assert_eq!(joined(&all, Stream::Stdout), expected);
}
