//! The query of a request to one of Entra's pages, with every name known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::application::Application;
use crate::dice::Dice;
use crate::login_page;
use crate::refusal::Refused;
use crate::world::World;

#[derive(Clone, Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn read(query: &str, known: &[&str]) -> Result<Self, Refused> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Refused::NotModelled(format!("the parameter {name} of this page")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refused::NotModelled(format!("the parameter {name} given twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// `None` also when it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The page about a parameter that is not there.
    pub(crate) fn missing(&self, name: &str, now: Timestamp, dice: &mut Dice) -> Refused {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Refused::Answer(login_page::error(&Aadsts::new(900144, text), now, dice))
    }

    /// The application that asks; one that nobody knows is told to the person alone.
    pub(crate) fn application(&self, world: &mut World, dice: &mut Dice) -> Result<Application, Refused> {
        let now = world.now;
        let Some(client_id) = self.get("client_id") else { return Err(self.missing("client_id", now, dice)) };
        if let Some(application) = world.application(client_id) {
            return Ok(application.clone());
        }
        let text = format!("Application with identifier '{client_id}' was not found in the directory.");
        Err(Refused::Answer(login_page::error(&Aadsts::new(700016, text), now, dice)))
    }
}
