//! Events as kubectl shows them, written with the right that the chart gives for it and no other.

use serde_json::Value;

use crate::manifests::{server, server_with};
use crate::world::{World, until};

/// In every URL here; it may be in no output.
const CANARY: &str = "hunter2-canary";

fn events(world: &World) -> Vec<Value> {
    world.get("events")["items"].as_array().expect("items").clone()
}

#[test]
#[ignore = "needs an API server: run tests/cluster/run"]
fn refusals_and_skipped_injections_are_events_once_and_never_on_a_dry_run() {
    let mut world = World::bare("events");
    // The account has to be there before the guard that uses it.
    std::fs::write(world.folder.path().join("ca.crt"), crate::foreign::throw_away_ca()).expect("a file");
    let values = ["--set", "events.enabled=true"];
    world.register(&values);
    let account = world.account(&world.name);
    world.start_guard_as(&["--events"], &account);
    world.register(&values);
    world.wait_for_webhooks();
    assert_eq!(events(&world), Vec::<Value>::new(), "what was tried so far was a dry run");

    let bad = |name: &str| server_with(name, &format!("postgresql://prefect:{CANARY}@db:5432/prefect"));
    for _ in 0..3 {
        world.apply(&bad("refused")).refused();
    }
    // An ordinary proxy beside the server: no initContainer could reach the database.
    let proxied = server_with("proxied", "postgresql+asyncpg://prefect@127.0.0.1:5432/prefect")
        + "        - {name: cloud-sql-proxy, image: 'gcr.io/cloud-sql-connectors/cloud-sql-proxy:2', args: ['p:r:i']}\n";
    world.apply(&proxied).done();
    world.apply(&server("good")).done();
    until("both events are there", || events(&world).len() >= 2);
    // An object that is there, refused as it changes.
    world.apply(&bad("good")).refused();
    until("the third event is there", || events(&world).len() >= 3);

    let all = events(&world);
    assert_eq!(all.len(), 3, "{all:#?}");
    let of = |name: &str| all.iter().find(|event| event["involvedObject"]["name"] == name).expect(name);
    assert_eq!(of("refused")["reason"], "PrefectServerRefused");
    assert!(of("refused")["involvedObject"].get("uid").is_none(), "it never existed");
    assert_eq!(of("proxied")["reason"], "PrefectMigrationNotInjected");
    for name in ["proxied", "good"] {
        let object = world.get(&format!("deployment/{name}"));
        assert_eq!(of(name)["involvedObject"]["uid"], object["metadata"]["uid"], "{name}");
        let described = world.kubectl(&["describe", "deployment", name]).done();
        assert!(described.contains(of(name)["reason"].as_str().expect("text")), "{described}");
    }
    let shown = world.kubectl(&["events", "--for=deployment/refused"]).done();
    assert!(shown.contains("PSG103"), "{shown}");
    assert!(!format!("{all:?}{shown}").contains(CANARY));
}
