//! What is deployed as a function: a package whose `bootstrap` starts the binary that was just built.

use std::{fs, path::Path, process::Command};

use laboratory::Tools;

use crate::programs::program;

/// Canaries: what a function signs with must appear nowhere.
pub const CANARY_SECRET_KEY: &str = "canary-secret-key-9e07";
pub const CANARY_SESSION: &str = "canary-session-token-41bd";

/// What ministack's own process has in its environment and hands on, unlike Lambda.
const NOT_LAMBDAS: [&str; 9] = [
    "AWS_EC2_METADATA_DISABLED",
    "BIND_HOST",
    "GATEWAY_PORT",
    "IOT_MTLS_ENABLED",
    "MINISTACK_ACCOUNT_ID",
    "MINISTACK_REGION",
    "S3_DATA_DIR",
    "SFTP_ENABLED",
    "STATE_DIR",
];

/// The package of a function that takes this endpoint for AWS, and writes beside its neighbours into a folder.
pub fn of(function: &str, endpoint: &str, folder: &Path) -> Vec<u8> {
    let home = folder.join(function);
    fs::create_dir(&home).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         # Lambda sets these and ministack does not, or ministack does and Lambda does not.\n\
         unset {unset}\n\
         export AWS_LAMBDA_LOG_FORMAT=JSON AWS_LAMBDA_LOG_LEVEL=DEBUG\n\
         export AWS_SECRET_ACCESS_KEY={CANARY_SECRET_KEY} AWS_SESSION_TOKEN={CANARY_SESSION}\n\
         export AWS_ENDPOINT_URL={endpoint}\n\
         echo $$ >>'{pids}'\n\
         exec '{program}' >>'{output}' 2>&1\n",
        unset = NOT_LAMBDAS.join(" "),
        pids = folder.join(format!("{function}.pids")).display(),
        program = program(function).display(),
        output = folder.join(format!("{function}.log")).display(),
    );
    fs::write(home.join("bootstrap"), script).unwrap();
    let package = home.join("package.zip");
    let zipped = Command::new(Tools::Ministack.programs().join("python"))
        .args(["-m", "zipfile", "--create"])
        .args([&package, &home.join("bootstrap")])
        .status()
        .unwrap();
    assert!(zipped.success());
    fs::read(package).unwrap()
}
