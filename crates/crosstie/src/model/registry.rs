//! All models, each said once.

use serde::{Deserialize, Serialize};

use super::declare::{About, Model};

macro_rules! models {
    ($($file:ident::$Config:ident),* $(,)?) => {
        /// The `[model]` section: a name, and the settings of that model.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "kebab-case")]
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

            /// Its name in the config.
            pub fn name(&self) -> &'static str {
                match self {
                    $(ModelConfig::$Config(_) => super::$file::ABOUT.name),*
                }
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

models! {
    single_task::SingleTask,
    shared_bottom::SharedBottom,
    esmm::Esmm,
    mmoe::Mmoe,
    cgc::Cgc,
    ple::Ple,
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
