//! ESM2: entire-space decomposition of what follows a click.
//!
//! Wen et al., "Entire Space Multi-Task Modeling via Post-Click Behavior
//! Decomposition for Conversion Rate Prediction", SIGIR 2020; methods 5.
//!
//! ```text
//! y1 = p(click | impression)             y2 = p(action | click)
//! y3 = p(buy | click, action)            y4 = p(buy | click, no action)
//! logit of each y = MLP of its own over the shared embeddings e
//! pCTAVR = y1 y2
//! pCVR   = y2 y3 + (1 - y2) y4
//! pCTCVR = y1 pCVR
//! L      = Σ ℓ(click, pCTR) + Σ ℓ(click & action, pCTAVR) + Σ ℓ(click & buy, pCTCVR)
//! ```
//!
//! The decomposition is `[objective.via]`, the products and losses are its
//! space `product`: any other model can be trained that way too.
//!
//! # Deviations and reconstructions
//! - Equations at one remove: methods 5 has them from a third party.
//! - The paper has one conversion, and so has this; tasks outside of it follow
//!   ESMM. Which, the papers' readers know and a schema does not tell: unless
//!   `conversion` names it, it is the last of the action's siblings, of those that
//!   happen without the click too (`direct`) if there are any, since that is what
//!   AEM2TL's install is. `[objective.via]` splits others.
//! - Without a pair of siblings there is no action, and this is ESMM.
//! - Sizes are ours.
//! - Where the schema has fields of the role `bias`, a shallow tower over them is
//!   added to every logit (methods 3.2); the paper has none.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declare::{About, Declared, Model, Needs};
use super::esmm::Esmm;
use super::inputs::Inputs;
use crate::error::{Error, Result};
use crate::layer::Net;
use crate::objective::Space;
use crate::schema::Schema;
use crate::spelling;

pub(super) const ABOUT: About = About {
    name: "esm2",
    paper: "Wen et al., SIGIR 2020",
    when: "as esmm, where a more frequent action after the click (cart, wish list) leads to the rare conversion",
    needs: Needs::Parent,
};

/// Settings of ESM2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Esm2 {
    /// Hidden layers of each head's network.
    pub units: Vec<usize>,
    /// The task that the others come after; the root with most children if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<String>,
    /// The action on the way to the conversion; the first task after the click
    /// in the schema if absent, none if empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The conversion; the last other task after the click in the schema if absent,
    /// of those that are `direct` if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion: Option<String>,
}

impl Default for Esm2 {
    fn default() -> Esm2 {
        Esm2 { units: vec![128, 64], click: None, action: None, conversion: None }
    }
}

impl Model for Esm2 {
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared> {
        Esmm { units: self.units.clone() }.declare(net, inputs)
    }

    fn space(&self) -> Space {
        Space::Product
    }

    fn via(&self, schema: &Schema) -> Result<BTreeMap<String, String>> {
        via(schema, self.click.as_deref(), self.action.as_deref(), self.conversion.as_deref())
    }
}

/// Which conversions go by way of which action, from the names in the config
/// and, where there are none, from the shape of the forest of tasks.
pub(super) fn via(
    schema: &Schema,
    click: Option<&str>,
    action: Option<&str>,
    conversion: Option<&str>,
) -> Result<BTreeMap<String, String>> {
    let names: Vec<&str> = schema.tasks.iter().map(|task| task.name.as_str()).collect();
    let place = |key: &str, name: Option<&str>| -> Result<Option<usize>> {
        let Some(name) = name else { return Ok(None) };
        let found = names.iter().position(|other| *other == name);
        let hint = spelling::hint(name, names.iter().copied());
        found.map(Some).ok_or_else(|| Error::Config(format!("model.{key}: there is no task `{name}`{hint}")))
    };
    if action == Some("") {
        return Ok(BTreeMap::new());
    }
    let (click, action) = (place("click", click)?, place("action", action)?);
    let conversion = place("conversion", conversion)?;
    let children = |parent: usize| (0..names.len()).filter(move |task| schema.parent(*task) == Some(parent));
    let click = match (click, action.or(conversion)) {
        (Some(click), _) => click,
        (None, Some(task)) => schema.parent(task).ok_or_else(|| {
            let name = names[task];
            Error::Config(format!("model.action, model.conversion: `{name}` comes after no other task, so no click"))
        })?,
        (None, None) => {
            let roots = (0..names.len()).filter(|task| schema.parent(*task).is_none());
            let counts: Vec<(usize, usize)> = roots.map(|root| (children(root).count(), root)).collect();
            let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
            let clicks: Vec<usize> = counts.iter().filter(|(count, _)| *count == most).map(|(_, root)| *root).collect();
            match clicks[..] {
                _ if most < 2 => return Ok(BTreeMap::new()),
                [click] => click,
                _ => {
                    let found: Vec<String> = clicks.iter().map(|root| format!("`{}`", names[*root])).collect();
                    let message = format!("which task is the click? set model.click to one of {}", found.join(", "));
                    return Err(Error::Config(message));
                }
            }
        }
    };
    for (key, task) in [("action", action), ("conversion", conversion)] {
        if let Some(task) = task.filter(|task| schema.parent(*task) != Some(click)) {
            let message = format!("model.{key}: `{}` does not come right after `{}`", names[task], names[click]);
            return Err(Error::Config(message));
        }
    }
    let Some(action) = action.or_else(|| children(click).find(|task| Some(*task) != conversion)) else {
        return Ok(BTreeMap::new());
    };
    if conversion == Some(action) {
        return Err(Error::Config(format!("model.action and model.conversion are both `{}`", names[action])));
    }
    let others = || children(click).filter(|task| *task != action);
    let conversion =
        conversion.or_else(|| others().rfind(|task| schema.tasks[*task].direct).or_else(|| others().next_back()));
    Ok(conversion.map(|task| (names[task].to_string(), names[action].to_string())).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name` or `name<parent` for each task.
    fn schema(tasks: &[&str]) -> Schema {
        let mut text = String::from("[[field]]\nname = \"x\"\nkind = \"numeric\"\n");
        for task in tasks {
            let (name, parent) = task.split_once('<').unwrap_or((task, ""));
            text += &format!("[[task]]\nname = \"{name}\"\n");
            if !parent.is_empty() {
                text += &format!("after = \"{parent}\"\n");
            }
        }
        Schema::parse(&text).unwrap()
    }

    fn found(tasks: &[&str], settings: &str) -> Result<Vec<(String, String)>> {
        let model: Esm2 = toml::from_str(settings).unwrap();
        Ok(model.via(&schema(tasks))?.into_iter().collect())
    }

    fn pair(task: &str, action: &str) -> (String, String) {
        (task.into(), action.into())
    }

    const SHOP: [&str; 5] = ["view", "click", "cart<click", "buy<click", "like<click"];

    #[test]
    fn the_tasks_are_found_where_the_forest_decides() {
        assert_eq!(found(&SHOP, "").unwrap(), [pair("like", "cart")]);
        assert_eq!(found(&SHOP, "action = 'like'").unwrap(), [pair("buy", "like")]);
        assert_eq!(found(&SHOP, "conversion = 'cart'").unwrap(), [pair("cart", "buy")]);
        assert_eq!(found(&SHOP, "action = 'like'\nconversion = 'buy'").unwrap(), [pair("buy", "like")]);
        assert_eq!(found(&SHOP, "action = ''").unwrap(), []);
        assert_eq!(found(&["income", "married"], "").unwrap(), []);
        assert_eq!(found(&["click", "cart<click", "buy<cart"], "").unwrap(), []);
    }

    #[test]
    fn of_several_conversions_the_last_direct_one_is_split_and_no_other() {
        let direct = |names: &[&str]| {
            let mut schema = schema(&SHOP);
            let chosen = schema.tasks.iter_mut().filter(|task| names.contains(&task.name.as_str()));
            chosen.for_each(|task| task.direct = true);
            Esm2::default().via(&schema).unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(direct(&["buy"]), [pair("buy", "cart")]);
        assert_eq!(direct(&["cart", "buy", "like"]), [pair("like", "cart")]);
        assert_eq!(direct(&["cart"]), [pair("like", "cart")], "the action itself is no conversion");
    }

    #[test]
    fn two_clicks_and_wrong_names_are_refused_by_name() {
        let refused = |tasks: &[&str], settings: &str| found(tasks, settings).unwrap_err().to_string();
        let two = ["click", "cart<click", "buy<click", "open", "read<open", "reply<open"];
        assert!(refused(&two, "").contains("set model.click to one of `click`, `open`"));
        assert_eq!(found(&two, "click = 'open'").unwrap(), [pair("reply", "read")]);
        assert!(refused(&SHOP, "action = 'crat'").contains("did you mean `cart`?"));
        assert!(refused(&SHOP, "click = 'view'\naction = 'cart'").contains("`cart` does not come right after `view`"));
        assert!(refused(&SHOP, "action = 'click'").contains("`click` comes after no other task"));
        assert!(refused(&SHOP, "action = 'buy'\nconversion = 'buy'").contains("both `buy`"));
    }
}
