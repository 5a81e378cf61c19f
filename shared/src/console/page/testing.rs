//! What stands around a page of the console in its tests.

use super::{Chrome, Section, Who};
use crate::{
    config::Config,
    page::{Audience, Pages, testing},
    web,
};

/// What people put into names.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=a>\u{202e}";

/// What stands around a page.
pub struct Scene {
    config: Config,
    request: web::Request,
    name: String,
}

impl Scene {
    pub fn new() -> Self {
        let name = |key: &str| (key == "MUSTER_PROVIDER_NAME").then(|| "Example Security".to_owned());
        Self {
            config: Config::from_lookup(name).unwrap(),
            request: web::Request { id: "Jx1=".to_owned(), ..web::Request::default() },
            name: "Ada Lovelace".to_owned(),
        }
    }

    pub fn hostile() -> Self {
        Self { name: HOSTILE.to_owned(), ..Self::new() }
    }

    pub fn chrome(&self, at: Section) -> Chrome<'_> {
        self.chrome_of(at, true)
    }

    pub fn chrome_of(&self, at: Section, is_operator: bool) -> Chrome<'_> {
        let frame = Pages::new(&self.config, Audience::Operators, &self.request).frame();
        Chrome { frame, who: Some(Who { name: &self.name, is_operator, token: "the-token", at, is_front: true }) }
    }
}

/// Checks a page, and hands it back.
pub fn check(name: &str, page: &str) -> String {
    testing::check(name, page, 1)
}
