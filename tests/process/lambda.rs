//! The Lambda programs before their first event: what they say of an environment that is not right.

use harness::functions;

use crate::programs::Start;

#[test]
fn a_function_without_its_configuration_exits_with_64_and_says_why() {
    for program in functions() {
        let program = program.as_str();
        // Nobody listens there; a function that gets so far fails otherwise.
        let start = || Start::new(program).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9");
        let missing = start().finish().exits(64);
        missing.says(&[
            program,
            "MUSTER_TABLE is not set",
            "MUSTER_BUCKET is not set",
            "MUSTER_ALERTS_QUEUE_URL is not set",
        ]);
        let wrong = start()
            .env("MUSTER_TABLE", "muster state")
            .env("MUSTER_BUCKET", "")
            .env("MUSTER_ALERTS_QUEUE_URL", "http://sqs.example.com/alerts")
            .env("MUSTER_CLOUD", "mars")
            .env("MUSTER_PAGE_SIZE", "0")
            .finish()
            .exits(64);
        wrong.says(&[program, "7 mistake(s)", "MUSTER_CLOUD", "MUSTER_PAGE_SIZE", "`muster state`", "sqs.example.com"]);
    }
}
