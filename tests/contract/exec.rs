//! Commands inside containers: codes, streams, input, terminals.

use crate::lab::{Lab, Verdict, read_all, text};
use consort::world::{ErrorKind, ExecSession, ExecSpec, HookSpec, Op, Stream};
use futures::stream::StreamExt;
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt;

crate::cases![
    exit_codes_come_back,
    streams_come_apart,
    input_reaches_the_command_and_ends,
    much_data_goes_both_ways,
    without_input_the_command_sees_the_end,
    a_terminal_has_a_size_that_can_change,
    a_terminal_is_one_stream,
    environment_user_and_folder,
    the_containers_own_environment_is_kept,
    an_absent_command_is_127,
    what_cannot_be_run_is_126,
    nothing_runs_in_a_stopped_container,
    a_detached_command_runs,
    the_end_of_the_container_ends_the_command,
    hooks_run,
    a_failed_hook_says_how,
];

fn spec(command: &[&str]) -> ExecSpec {
    ExecSpec { command: command.iter().map(|c| (*c).to_owned()).collect(), ..ExecSpec::default() }
}

async fn exit_codes_come_back(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    for code in [0, 3, 200] {
        assert_eq!(lab.sh(&target, &format!("exit {code}")).await.code, code);
    }
}

async fn streams_come_apart(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let ran = lab.sh(&target, "echo out; echo err >&2; echo more").await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nmore\n", "err\n"));
}

async fn input_reaches_the_command_and_ends(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let spec = ExecSpec { stdin: true, ..spec(&["cat"]) };
    let ran = lab.exec_with(&target, &spec, b"one\ntwo").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\ntwo"));
    // What comes after the end of input still arrives.
    let spec = ExecSpec { stdin: true, ..self::spec(&["sh", "-c", "cat; echo done"]) };
    let ran = lab.exec_with(&target, &spec, b"in\n").await;
    assert_eq!(ran.stdout, "in\ndone\n");
}

async fn much_data_goes_both_ways(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let data: Vec<u8> = (0..2_000_000_u32).map(|n| b'a' + u8::try_from(n * 7 % 26).unwrap()).collect();
    let spec = ExecSpec { stdin: true, ..spec(&["cat"]) };
    let ran = lab.exec_with(&target, &spec, &data).await;
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.as_bytes() == data, "{} bytes came back of {}", ran.stdout.len(), data.len());
}

async fn without_input_the_command_sees_the_end(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let ran = lab.exec_with(&target, &spec(&["cat"]), b"").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
}

async fn a_terminal_has_a_size_that_can_change(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    // A size may reach the terminal a little after it was told.
    let wait_for = |size: &str| format!("until [ \"$(stty size)\" = \"{size}\" ]; do sleep 0.05; done; echo now {size}");
    let script = &format!("{}; read x; {}", wait_for("40 100"), wait_for("23 81"));
    let spec = ExecSpec { tty: Some((100, 40)), stdin: true, ..spec(&["sh", "-c", script]) };
    let ExecSession { mut output, mut input, control } = lab.exec(&target, &spec).await;
    control.resize(100, 40).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("now 40 100") {
        seen.push_str(&text(&output.next().await.expect("the terminal's size").unwrap().1));
    }
    control.resize(81, 23).await.unwrap();
    input.write_all(b"\n").await.unwrap();
    let (rest, _) = read_all(output).await;
    assert!(text(&rest).contains("now 23 81"), "{seen} {}", text(&rest));
    assert_eq!(control.exit_code().await.unwrap(), 0);
}

async fn a_terminal_is_one_stream(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let spec = ExecSpec { tty: Some((80, 24)), ..spec(&["sh", "-c", "echo out; echo err >&2; test -t 1"]) };
    let ExecSession { output, control, .. } = lab.exec(&target, &spec).await;
    let pieces: Vec<_> = output.map(|p| p.unwrap()).collect().await;
    assert!(pieces.iter().all(|(stream, _)| *stream == Stream::Stdout));
    let all: String = pieces.iter().map(|(_, bytes)| text(bytes)).collect();
    assert_eq!(all, "out\r\nerr\r\n");
    assert_eq!(control.exit_code().await.unwrap(), 0);
}

async fn environment_user_and_folder(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let spec = ExecSpec {
        environment: vec!["GREETING=hello there".into()],
        user: "1234:99".into(),
        working_dir: "/tmp".into(),
        ..spec(&["sh", "-c", "echo $GREETING; id -u; id -g; pwd"])
    };
    let ran = lab.exec_with(&target, &spec, b"").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "hello there\n1234\n99\n/tmp\n"));
}

async fn the_containers_own_environment_is_kept(lab: &Lab) {
    let mut container = lab.spec("web", "sleep 300");
    container.environment = BTreeMap::from([("COLOR".to_owned(), Some("blue".to_owned()))]);
    let target = lab.up(&container).await;
    assert_eq!(lab.sh(&target, "echo $COLOR").await.stdout, "blue\n");
}

/// What a command that can't be run gives: its exit code, or the refusal.
async fn failed_code(lab: &Lab, command: &str) -> i64 {
    let target = lab.run("web", "sleep 300").await;
    match lab.engine.exec(&target, &spec(&[command])).await {
        Ok(ExecSession { output, control, .. }) => {
            let _ = read_all(output).await;
            control.exit_code().await.expect("exit code")
        }
        Err(error) => {
            assert!(error.to_string().contains(command), "{error}");
            if error.kind == ErrorKind::NotFound { 127 } else { 126 }
        }
    }
}

async fn an_absent_command_is_127(lab: &Lab) -> Verdict {
    match failed_code(lab, "no-such-program").await {
        126 if lab.real => Verdict::NotCapable("telling an absent command (127) from one that can't be run (126)"),
        code => {
            assert_eq!(code, 127);
            Verdict::Good
        }
    }
}

async fn what_cannot_be_run_is_126(lab: &Lab) {
    assert_eq!(failed_code(lab, "/etc").await, 126);
}

async fn nothing_runs_in_a_stopped_container(lab: &Lab) {
    let target = lab.run("web", "exit 0").await;
    lab.exited(&target).await;
    let error = lab.engine.exec(&target, &spec(&["true"])).await.expect_err("nothing can run there");
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

async fn a_detached_command_runs(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let spec = ExecSpec { detach: true, ..spec(&["sh", "-c", "echo ready > /proc/1/fd/1"]) };
    lab.exec(&target, &spec).await;
    lab.wait_for_line(&target, "ready").await;
}

async fn the_end_of_the_container_ends_the_command(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let ExecSession { mut output, control, .. } = lab.exec(&target, &spec(&["sh", "-c", "echo begun; sleep 300"])).await;
    assert_eq!(text(&output.next().await.unwrap().unwrap().1), "begun\n");
    lab.kill(&target, "SIGKILL").await;
    let (rest, _) = read_all(output).await;
    assert_eq!(text(&rest), "");
    // Some engines forget the command with its container.
    if let Ok(code) = control.exit_code().await {
        assert_eq!(code, 137);
    }
}

async fn hooks_run(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let hook = HookSpec {
        command: ["sh", "-c", "echo $NAME $(id -u) $(pwd) > /tmp/hook"].map(str::to_owned).to_vec(),
        user: "0".into(),
        working_dir: "/tmp".into(),
        environment: BTreeMap::from([("NAME".to_owned(), Some("consort".to_owned()))]),
        ..HookSpec::default()
    };
    lab.good(&Op::RunHook { container: target.clone(), hook }).await;
    assert_eq!(lab.sh(&target, "cat /tmp/hook").await.stdout, "consort 0 /tmp\n");
}

async fn a_failed_hook_says_how(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let hook = HookSpec { command: ["sh", "-c", "echo broken pipe dream; exit 3"].map(str::to_owned).to_vec(), ..HookSpec::default() };
    let error = lab.bad(&Op::RunHook { container: target, hook }).await;
    let text = error.to_string();
    assert!(text.contains('3') && text.contains("broken pipe dream"), "{text}");
}
