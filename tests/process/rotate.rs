//! `muster rotate` as a program: against Microsoft over TCP, with real waits made short.

use std::path::Path;

use harness::{CLIENT, HOME, SECRET, TENANT};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::clock::Clock;
use simulator::{CredentialPropagation, Tenant};

use crate::{
    microsoft::{Microsoft, vault_entry},
    programs::{Start, until},
};

const USAGE: i32 = 64;

/// The application may change itself, and a change is everywhere within two seconds.
fn microsoft() -> Microsoft {
    let microsoft = Microsoft::new();
    microsoft.simulator.world(|world| {
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let right = ["Application.ReadWrite.OwnedBy"];
        world.add_tenant(Tenant::new(HOME, "Provider").consented(CLIENT, &right, yesterday));
        world.registration(CLIENT).owners.push(CLIENT.to_owned());
        let seconds = SignedDuration::from_secs;
        world.credential_propagation = CredentialPropagation { least: seconds(1), most: seconds(2) };
    });
    microsoft
}

fn rotate(microsoft: &Microsoft, data: &Path, spacing: &str) -> Start {
    microsoft.muster(&["rotate", "app"], data).env("MUSTER_CANARY_SPACING_SECONDS", spacing)
}

/// The texts of all the application's secrets but the first.
fn made(microsoft: &Microsoft) -> Vec<String> {
    microsoft.simulator.world(|world| {
        let secrets = &world.application(CLIENT).unwrap().secrets;
        secrets.iter().map(|secret| secret.value.clone()).filter(|value| value != SECRET).collect()
    })
}

fn platform(data: &Path) -> embedded::Platform {
    embedded::open(data, &Clock::System).unwrap()
}

#[test]
fn a_secret_is_renewed_while_one_waits_and_is_never_printed() {
    let microsoft = microsoft();
    let data = microsoft.data_folder();
    let rotated = rotate(&microsoft, data.path(), "1").env("RUST_LOG", "trace").finish().exits(0);
    let rotated = rotated.says(&["known everywhere: 5 of 5 tokens", "muster/app is rotated"]);
    let made = made(&microsoft);
    assert_eq!(made.len(), 1);
    assert!(!rotated.stderr.contains(&made[0]) && !rotated.stdout.contains(&made[0]), "the new secret was printed");
    assert!(!rotated.stderr.contains("eyJ"), "a bearer token was printed");
    assert_eq!(rotated.stdout, "");
    let listed = microsoft.muster(&["vault", "list"], data.path()).finish().exits(0).stdout;
    assert!(listed.contains("AWSCURRENT") && listed.contains("AWSPREVIOUS"), "{listed}");
    // The new one alone opens every door.
    microsoft.simulator.world(|world| {
        world.application(CLIENT).unwrap().secrets.retain(|secret| secret.value != SECRET);
    });
    microsoft.muster(&["connect", TENANT, "--account", "Contoso"], data.path()).finish().exits(0);
}

#[test]
fn a_rotation_that_was_killed_is_resumed_under_its_own_token() {
    let microsoft = microsoft();
    let data = microsoft.data_folder();
    let killed = rotate(&microsoft, data.path(), "300").run();
    until("the first token is earned", || killed.stderr().contains("1 of 5").then_some(()));
    killed.kill();
    let open = futures::executor::block_on(platform(data.path()).ports.vault.describe("muster/app")).unwrap();
    let open = open.open_rotation().unwrap().to_owned();
    rotate(&microsoft, data.path(), "0").finish().exits(0);
    assert_eq!(made(&microsoft).len(), 1, "it was created once");
    let after = futures::executor::block_on(platform(data.path()).ports.vault.describe("muster/app")).unwrap();
    assert_eq!(after.version(shared::ports::vault::Stage::Current), Some(open.as_str()));
}

#[test]
fn a_name_that_is_none_is_wrong_usage_and_what_cannot_be_rotated_says_why() {
    let microsoft = microsoft();
    let data = microsoft.data_folder();
    let rotate = |name: &str| microsoft.muster(&["rotate", name], data.path()).finish();
    for name in ["App", "signing", "apps/", "apps/a/b", "tenants/contoso", "../app", "muster/app", ""] {
        rotate(name).exits(USAGE).says(&["app, apps/NAME, console, or tenants/TENANT_ID"]);
    }
    Start::muster(&["rotate", "app"]).finish().exits(USAGE).says(&["--data"]);
    rotate("console").exits(1).says(&["muster/console", "muster vault put console"]);
    let nowhere = data.path().join("nowhere");
    microsoft.muster(&["rotate", "app"], &nowhere).finish().exits(1).says(&["no data folder"]);
    assert!(!nowhere.exists());
    let mut federated = vault_entry();
    federated["credential"] = json!({"kind": "federated"});
    microsoft.muster(&["vault", "put", "console"], data.path()).input(&federated.to_string()).finish().exits(0);
    rotate("console").exits(1).says(&["nothing to rotate", "muster doctor"]);
    let listed = microsoft.muster(&["vault", "list"], data.path()).finish().exits(0).stdout;
    assert!(!listed.contains("AWSPENDING"), "{listed}");
}

#[test]
fn without_the_right_the_operator_reads_what_to_grant_and_nothing_is_left_open() {
    let microsoft = microsoft();
    microsoft.simulator.world(|world| world.registration(CLIENT).owners.clear());
    let data = microsoft.data_folder();
    let refused = rotate(&microsoft, data.path(), "0").finish().exits(1);
    refused.says(&["muster/app is not rotated", "Application.ReadWrite.OwnedBy", "owner", "muster vault put app"]);
    let listed = microsoft.muster(&["vault", "list"], data.path()).finish().exits(0).stdout;
    assert!(!listed.contains("AWSPENDING"), "{listed}");
}
