//! An application of the customer's own.

use crate::{console::page::form::Form, tenant::Feed};

pub fn form() -> Form {
    let form = Form::new("own").with("kind", "client_secret");
    [Feed::Alerts, Feed::Machines].iter().fold(form, |form, feed| form.with("feeds", feed.name()))
}
