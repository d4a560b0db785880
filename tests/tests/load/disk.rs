//! A full disk, before, during and after a run.

use std::process::Stdio;

use anyhow::{Context, Result};
use harness::{Scratch, wsgw};
use tokio::process::Command;

use super::rig::{Ended, Gateway, SOON, load, nats, simulate};

/// Whether this system lets us mount a disk of our own; where it does not (containers, AppArmor), `/dev/full` has to do.
async fn can_mount() -> Result<bool> {
    let ended = on_a_disk_of(64, "true", "").await?;
    if ended.code != Some(0) {
        eprintln!("no disk of our own, only /dev/full: {}", ended.stderr.trim());
    }
    Ok(ended.code == Some(0))
}

/// Runs a script of sh in a mount namespace of its own, where `$DISK` is a disk of so many KiB, and `"$@"` wsgw with these
/// arguments. The disk ends with the script.
async fn on_a_disk_of(kib: u32, script: &str, arguments: &str) -> Result<Ended> {
    let disk = Scratch::new("load-disk")?;
    let wsgw = wsgw()?;
    let program = wsgw.as_std().get_program().to_owned();
    let mount = format!("mount -t tmpfs -o size={kib}k none \"$DISK\" && {script}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"])
        .arg(program)
        .args(arguments.replace("$DISK", &disk.path().display().to_string()).split_whitespace())
        .env("DISK", disk.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, output).await.context("it does not end")??;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

#[tokio::test]
async fn a_disk_that_is_full_before_the_run_is_said_at_once_with_what_to_do() -> Result<()> {
    if !can_mount().await? {
        return Ok(());
    }
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let (url, admin) = (gateway.url(), gateway.admin);
    for arguments in [
        format!("load {url} -c 5 --duration 1h --json $DISK/report.json"),
        format!(
            "simulate {url} --profile custom -c 5 --duration 1h --health http://{admin}/health --html $DISK/r.html"
        ),
    ] {
        let ended =
            on_a_disk_of(64, "\"$@\"; code=$?; ls -A $DISK; exit $code", &arguments).await?;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("cannot write the report to /"), "{ended:?}");
        assert!(ended.stderr.contains("No space left") && ended.stderr.contains("make room there"));
        assert_eq!(ended.stdout, "", "no run, and no file is left behind");
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_becomes_full_during_the_run_takes_the_report() -> Result<()> {
    if !can_mount().await? {
        return Ok(());
    }
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let fill = "\"$@\" & until [ -n \"$(find $DISK -name '*.part' -size +1000k)\" ]; do :; done; \
                dd if=/dev/zero of=$DISK/others 2>/dev/null; [ $(stat -f -c %a $DISK) = 0 ] || exit 99; \
                wait $!; code=$?; cat $DISK/report.json; exit $code";
    let arguments =
        format!("load {} -c 5 --ramp 0s --duration 2s --json $DISK/report.json", gateway.url());
    let ended = on_a_disk_of(2_048, fill, &arguments).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let json = ended.stdout.find("\n{\n").and_then(|at| ended.stdout.get(at..));
    let report: serde_json::Value = serde_json::from_str(json.context("no report")?)?;
    assert_eq!(report["peak"], 5, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_device_that_takes_nothing_costs_the_file_and_not_the_result() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let (url, admin) = (gateway.url(), gateway.admin);
    let kept = gateway.file("kept.md");
    std::fs::write(&kept, "the last report")?;
    for form in ["--json", "--html"] {
        let runs = [
            load(&format!(
                "{url} -c 5 --ramp 0s --duration 1s {form} /dev/full --markdown {kept}"
            ))
            .await?,
            simulate(&format!(
                "{url} --profile custom -c 5 --ramp 0s --duration 1s --health http://{admin}/health {form} /dev/full \
                 --markdown {kept}"
            ))
            .await?,
        ];
        for ended in runs {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains("cannot write the report to /dev/full"), "{ended:?}");
            assert!(ended.stderr.contains("make room there"), "{ended:?}");
            assert!(ended.stdout.contains("| Lost | 0 |"), "{ended:?}");
            let other = std::fs::read_to_string(&kept)?;
            assert!(other.starts_with("# ") && !other.contains('\0'), "the other file is written");
        }
    }
    Ok(())
}
