//! All models, each said once.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::declare::{About, Model};

macro_rules! models {
    ($($file:ident::$Config:ident),* $(,)?) => {
        /// The `[model]` section: a name, and the settings of that model.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        #[schemars(transform = describe)]
        #[allow(missing_docs)]
        pub enum ModelConfig {
            $($Config(super::$Config)),*
        }

        /// All models, in the order in which users read of them.
        pub const MODELS: &[About] = &[$(super::$file::ABOUT),*];

        impl ModelConfig {
            /// The model of a name, with its default settings.
            pub fn named(name: &str) -> Option<ModelConfig> {
                $(if name == super::$file::ABOUT.name {
                    return Some(ModelConfig::$Config(Default::default()));
                })*
                None
            }

            /// What a user reads about it.
            pub fn about(&self) -> &'static About {
                match self {
                    $(ModelConfig::$Config(_) => &super::$file::ABOUT),*
                }
            }

            /// Its name in the config.
            pub fn name(&self) -> &'static str {
                self.about().name
            }

            /// The model itself.
            pub fn model(&self) -> &dyn Model {
                match self {
                    $(ModelConfig::$Config(model) => model),*
                }
            }
        }
    };
}

/// Says of every model when to use it, by whom it is and where it counts losses.
fn describe(schema: &mut Schema) {
    let Some(Value::Array(models)) = schema.get_mut("oneOf") else { return };
    for model in models {
        let name = model["properties"]["name"]["const"].as_str().unwrap_or_default();
        let (Some(about), Some(config)) = (MODELS.iter().find(|about| about.name == name), ModelConfig::named(name))
        else {
            continue;
        };
        let space = serde_json::to_value(config.model().space()).unwrap_or_default();
        model["description"] = Value::String(format!(
            "Source: {}.\n\nFor: {}.\n\nLosses are counted in the space `{}`, unless `objective.space` says otherwise.",
            about.paper,
            about.when,
            space.as_str().unwrap_or_default()
        ));
    }
}

models! {
    single_task::SingleTask,
    shared_bottom::SharedBottom,
    esmm::Esmm,
    mmoe::Mmoe,
    cgc::Cgc,
    ple::Ple,
    adatt::Adatt,
    stem::Stem,
    esm2::Esm2,
    aitm::Aitm,
    calibration::Calibration,
    aem2tl::Aem2tl,
    ektm::Ektm,
    ncs4cvr::Ncs4cvr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_name_in_the_list_in_the_config_and_when_asked() {
        for About { name, .. } in MODELS {
            let config: ModelConfig = toml::from_str(&format!("name = '{name}'")).unwrap();
            assert_eq!((config.name(), Some(&config)), (*name, ModelConfig::named(name).as_ref()));
            let written = toml::Value::try_from(&config).unwrap();
            assert_eq!(written["name"].as_str(), Some(*name));
        }
        assert_eq!(ModelConfig::named("mixture"), None);
    }
}
