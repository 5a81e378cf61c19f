//! The Terraform of `infra/azure`, judged without Terraform, providers or a cloud: its layout, every resource and argument
//! beside the providers' published schemas, and what it has in common with the product beside the product.
//!
//! What this cannot know stands in `infra/azure/README.md`.

#[cfg(test)]
mod judge;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod module;
#[cfg(test)]
mod product;
#[cfg(test)]
mod schema;
