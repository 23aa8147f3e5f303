//! The recipes of `docs/grpc.md`, run as they stand by bash and grpcurl; and that there is one for each call.

use std::fs::{self, File};

use metal3_testkit::page::{self, Block};
use metal3_testkit::{scratch, tools, workspace};
use prost::Message as _;
use tokio::process::Command;

use crate::world::{VERBS, World};

const PAGE: &str = "docs/grpc.md";
/// What blocks need that only a whole installation has; `hack/quickstart.sh check grpc` runs them there.
const ELSEWHERE: [&str; 2] = ["kubectl", "localhost:8443"];

fn is_for_here(block: &Block) -> bool {
    !ELSEWHERE.iter().any(|word| block.commands.contains(word))
}

#[tokio::test]
async fn the_recipes_of_the_page_do_what_it_promises() {
    // The names that the page uses.
    let world = World::start("metal3").await;
    world.available(&["host-1", "host-2"]).await;
    world.caller("debug", &VERBS).await;
    let token = world.plane.token("metal3", "debug", &[]).await.unwrap();

    let text = fs::read_to_string(workspace().join(PAGE)).unwrap();
    let all = page::blocks(&text).unwrap();
    let blocks: Vec<&Block> = all.iter().filter(|block| is_for_here(block)).collect();
    let folder = scratch::dir("grpc-page").unwrap();
    let before = format!(
        "TOKEN={token} BMO={}\ncp {} ca.crt",
        world.bmo.address(),
        world.bmo.certificates.ca_file.display()
    );
    fs::write(folder.join("run.sh"), page::script(&before, &blocks)).unwrap();
    let log = File::create(folder.join("log")).unwrap();
    let grpcurl = tools::find("grpcurl").unwrap();
    let path = std::env::var("PATH").unwrap();
    let status = Command::new("bash")
        .arg("run.sh")
        .current_dir(&folder)
        .env("PATH", format!("{}:{path}", grpcurl.parent().unwrap().display()))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    let answers = fs::read_to_string(folder.join("log")).unwrap();
    let kept = page::judge(PAGE, &blocks, status, &answers).unwrap();
    println!("{} blocks, {kept} promises", blocks.len());

    let unseen: Vec<String> = calls()
        .into_iter()
        .filter(|call| !blocks.iter().any(|block| shows(block, call)))
        .collect();
    assert!(unseen.is_empty(), "{PAGE} has no recipe of {unseen:?}");
    for host in world.hosts().list(&Default::default()).await.unwrap() {
        assert_eq!(host.spec.consumer_ref, None, "nothing is left behind");
        assert_eq!(host.spec.image, None);
    }
}

fn shows(block: &Block, call: &str) -> bool {
    let command = format!("call {call} ");
    block
        .commands
        .lines()
        .any(|line| line.trim_start().starts_with(&command))
}

/// All calls of the contract.
fn calls() -> Vec<String> {
    let contract = prost_types::FileDescriptorSet::decode(metal3_rpc::DESCRIPTOR).unwrap();
    let services = contract.file.iter().flat_map(|file| &file.service);
    let service = services
        .into_iter()
        .find(|service| service.name() == "HostService")
        .unwrap();
    service
        .method
        .iter()
        .map(|method| method.name().to_owned())
        .collect()
}
