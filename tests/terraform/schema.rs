//! What the providers publish of the resources that we use (`tests/fixtures/terraform`).

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Provider {
    /// The provider's own version, which `required_providers` must name.
    pub version: String,
    pub provider: Members,
    pub resources: BTreeMap<String, Members>,
    pub data: BTreeMap<String, Members>,
}

/// What may and must stand in a block.
#[derive(Debug, Deserialize)]
pub struct Members {
    pub attributes: BTreeMap<String, Attribute>,
    pub blocks: BTreeMap<String, Nested>,
    /// What can be read of a resource.
    #[serde(default)]
    pub exports: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Attribute {
    pub required: bool,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Deserialize)]
pub struct Nested {
    pub required: bool,
    /// Whether there may be several.
    pub many: bool,
    #[serde(flatten)]
    pub members: Members,
}

/// By provider.
pub fn published() -> &'static BTreeMap<String, Provider> {
    static SCHEMAS: OnceLock<BTreeMap<String, Provider>> = OnceLock::new();
    SCHEMAS.get_or_init(|| serde_json::from_str(include_str!("../fixtures/terraform/schemas.json")).unwrap())
}

/// A resource's or data source's, by its type.
pub fn of(kind: &str, type_name: &str) -> Option<&'static Members> {
    let provider = published().get(type_name.split('_').next()?)?;
    if kind == "data" { provider.data.get(type_name) } else { provider.resources.get(type_name) }
}
