//! `wsgw check` of several files and documents.

use anyhow::Result;
use harness::Scratch;

use super::{demo, with_input};

/// Three documents of which two are wrong, each in several ways, and something that is no YAML.
const WRONG: &str = "kind: Namespace\n---\nDEMO---\nBROKEN---\nkind: Secret\n---\nOTHER---\na: [\n";

#[tokio::test]
async fn check_lists_every_error_of_every_document_of_every_file() -> Result<()> {
    let scratch = Scratch::new("check")?;
    let demo = demo()?;
    let broken = demo
        .replace("maxAge: 30s", "maxAge: soon")
        .replace("maxBytes:", "maxbytes:")
        .replace("Pod: 10000", "Pod: many")
        .replace("nats://nats.messaging:4222", "nats");
    let other = demo.replace("Pod: 10000", "Pod: 0");
    let text = WRONG.replace("DEMO", &demo).replace("BROKEN", &broken).replace("OTHER", &other);
    let wrong = scratch.write("wrong.yaml", &text)?.display().to_string();
    let good = scratch.write("good.yaml", format!("{demo}---\n{demo}"))?.display().to_string();
    let nothing = scratch.path().join("nothing.yaml").display().to_string();

    let files = ["check", "-f", &wrong, &good, "-f", &nothing, "-"];
    let (code, output, errors) = with_input(&files, &broken).await?;

    assert_eq!(code, Some(1));
    assert_eq!(output.matches("is valid").count(), 3, "{output}");
    let count = |text: &str| errors.matches(text).count();
    for path in ["stream.maxAge: ", "stream.maxbytes: ", "connectionsPerPod: inv", "nats.servers"] {
        assert_eq!(count(path), 2, "{path}: {errors}");
    }
    assert_eq!(count("must be 1 to 1000000; got 0"), 1, "{errors}");
    assert_eq!((count(&format!("{wrong}, line ")), count("standard input: ")), (2, 1), "{errors}");
    assert_eq!((count(&nothing), count(&format!("{wrong}: "))), (1, 1), "{errors}");
    let (code, _, errors) = with_input(&["check", "-f", &good], "").await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    Ok(())
}
