//! The Terraform of `infra/azure`, judged without Terraform, providers or a cloud: its layout, every resource and argument
//! beside the providers' published schemas, and what it would make beside what the product needs.
//!
//! What this cannot know stands in `infra/azure/README.md`.

#[cfg(test)]
mod application;
#[cfg(test)]
mod credential;
#[cfg(test)]
mod evaluate;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod module;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod right;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod storage;
