//! The layout of Terraform: HashiCorp's own formatter of HCL, which `terraform fmt` is made of, compiled to WebAssembly.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::npm::Package;

/// From standard input to standard output. A program of Go's goes on running, so its end is said.
const SCRIPT: &str = "const { format } = require(process.argv[1]); \
                      const text = require('node:fs').readFileSync(0, 'utf8'); \
                      format(text).then((laid) => process.stdout.write(laid, () => process.exit(0)));";

/// The text as it should be laid out.
///
/// # Panics
/// When the formatter cannot be installed or run; the message says what to do.
pub fn formatted(text: &str) -> String {
    let mut node = Command::new("node")
        .args(["-e", SCRIPT])
        .arg(Package::HclTools.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node, which was there when the formatter was installed");
    // It reads everything before it writes anything.
    node.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a formatter that listens");
    let laid = node.wait_with_output().expect("a formatter that ends");
    assert!(laid.status.success(), "the formatter of Terraform failed: {}", laid.status);
    String::from_utf8(laid.stdout).expect("text, as it was given")
}
