//! The bad input of `crates/admission/tests/corpus` at a real API server: refused by the webhook; and without it a matter of
//! the host alone, which says what is wrong.

use std::fs;

use kube::api::DeleteParams;
use metal3_testkit::{events, wait, workspace};
use serde_json::{Value, json};

use crate::webhook::{create, register};
use crate::world::{World, condition, summary};

struct Case {
    name: String,
    refused: String,
    /// The field of which the CRD complains.
    schema: Option<String>,
    /// What the host says of it without the webhook.
    told: Option<String>,
    object: Value,
}

fn corpus() -> Vec<Case> {
    let folder = workspace().join("crates/admission/tests/corpus");
    let entries = fs::read_dir(folder).unwrap();
    let read = |path: std::path::PathBuf| {
        let case: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let text = |field: &str| case[field].as_str().map(str::to_owned);
        Case {
            name: case["object"]["metadata"]["name"].as_str().unwrap().to_owned(),
            refused: text("refused").unwrap(),
            schema: text("schema"),
            told: text("told"),
            object: case["object"].clone(),
        }
    };
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

#[tokio::test]
async fn bad_input_is_refused_with_the_reason() {
    let world = World::start("wh-bad").await;
    register(&world).await;
    for case in corpus() {
        let message = create(&world, "BareMetalHost", "baremetalhosts", &case.object)
            .await
            .unwrap_err();
        let (by, part) = match &case.schema {
            Some(field) => ("is invalid", field),
            None => ("denied the request", &case.refused),
        };
        assert!(
            message.contains(by) && message.contains(part),
            "{}: {part:?} is missing in {message}",
            case.name
        );
    }
    assert!(
        world
            .hosts()
            .list(&Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn without_the_webhook_bad_input_is_told_on_the_host_and_harms_no_other() {
    let world = World::start("bad-input").await;
    let mut secret = world.host("bad").secret();
    secret.metadata.name = Some("bad-bmc".into());
    world
        .secrets()
        .create(&Default::default(), &secret)
        .await
        .unwrap();
    let mut applied = Vec::new();
    for case in corpus() {
        match create(&world, "BareMetalHost", "baremetalhosts", &case.object).await {
            Ok(_) => {
                assert_eq!(case.schema, None, "{} was not refused", case.name);
                applied.push(case);
            }
            Err(message) => {
                let field = case.schema.expect(&message);
                assert!(message.contains(&field), "{}: {message}", case.name);
            }
        }
    }
    // One that came after all of them.
    world.available(&["good"]).await;
    for case in &applied {
        wait::until(
            &format!("host {} to say {:?}", case.name, case.told),
            wait::LONG,
            async || says(&world, case).await,
        )
        .await;
    }
    assert!(world.bmo.process.ended().is_none());
    for case in &applied {
        world
            .hosts()
            .delete(&case.name, &DeleteParams::default())
            .await
            .unwrap();
    }
    // Whether it may be deleted without cleaning is not guessed from one that cannot be read.
    let corrected = json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": null}}});
    for case in applied.iter().filter(|case| case.name.starts_with("detached")) {
        world.patch(&case.name, corrected.clone()).await;
    }
    for case in &applied {
        world.is_gone(&case.name).await;
    }
}

/// In a condition or an event.
async fn says(world: &World, case: &Case) -> Result<(), String> {
    let host = world
        .hosts()
        .get(&case.name)
        .await
        .map_err(|error| error.to_string())?;
    let conditions = host.status.iter().flat_map(|status| &status.conditions);
    let mut texts: Vec<String> = conditions.map(|condition| condition.message.clone()).collect();
    let events = events::about(&world.client(), &world.namespace, &case.name)
        .await
        .map_err(|error| error.to_string())?;
    texts.extend(events.into_iter().filter_map(|event| event.message));
    let found = match &case.told {
        Some(told) => texts.iter().any(|text| text.contains(told.as_str())),
        None => condition(&host, "Ready").is_some(),
    };
    found
        .then_some(())
        .ok_or_else(|| format!("{}; {}", summary(&host), json!(texts)))
}
